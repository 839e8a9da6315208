//! One command, from what was typed to how the compiler ended.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use model::ids::JobId;
use model::job::JobKind;
use model::outcome::ExitStatus;
use proto::convert::job_id_from;
use proto::v1;

use crate::answer::{Answer, Done};
use crate::breaker::Breaker;
use crate::decide::{Invocation, Travels};
use crate::exit::{self, End};
use crate::fallback;
use crate::link;
use crate::log::Log;
use crate::output::Unprinted;
use crate::session::Session;
use crate::settings::{Fallback, Settings};
use crate::signals::Signals;
use crate::slots::{LocalSlot, LocalSlots};
use crate::{not_found, system_files, times, visibility};

/// What the flow of a command needs to know.
pub struct Context<'a> {
    /// Our own name.
    pub name: &'static str,
    /// Name and version.
    pub software: &'static str,
    /// What the launcher was told.
    pub settings: &'a Settings,
    /// Where notes go.
    pub log: &'a Log,
    /// The user's runtime directory, for the locks of local runs.
    pub runtime_dir: Option<std::path::PathBuf>,
}

impl Context<'_> {
    /// What is remembered of the server's silence. Who may not run anything here has to ask in any case.
    #[must_use]
    pub fn breaker(&self) -> Breaker {
        match self.settings.fallback {
            Fallback::Never => Breaker::default(),
            Fallback::Limited | Fallback::Always => Breaker::of(&self.settings.server_addr, self.runtime_dir.clone()),
        }
    }
}

/// How the cluster's part of a command ended.
enum Ending {
    /// Workers ran all of it, in the order of the sources.
    Done(Vec<Done>),
    /// It is to be run here; with the right to do so unless runs are not throttled.
    Here(Option<LocalSlot>),
    /// It cannot be run here either.
    Refused(String),
    /// It was run, and what it wrote is not to be seen from here; running it again would do more.
    Unseen(String),
    /// A signal came.
    Interrupted(i32),
}

/// Runs a command that may leave the machine.
#[must_use]
pub fn run(context: &Context<'_>, invocation: &Invocation, travels: Travels) -> End {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            context.log.note(|| format!("no event loop ({error}): runs here"));
            return run_here(context, invocation);
        }
    };
    let kind = travels.kind;
    // Where all that a command makes is what it prints, doing it again is doing it once.
    let only_prints = travels.whole.outputs.is_empty() && travels.whole.repeatable;
    let ending = runtime.block_on(at_cluster(context, travels));
    match ending {
        Ending::Done(parts) => match print(context, kind, parts) {
            // A full disk behind `gcc -E a.c >a.i`: the compiler has words of its own for that.
            Err(unprinted) if only_prints && !unprinted.anything => run_here(context, invocation),
            Err(unprinted) => {
                exit::complain(context.name, &unprinted.to_string());
                End::Code(1)
            }
            Ok(end) => end,
        },
        Ending::Interrupted(number) => End::Signal(number),
        Ending::Refused(why) => {
            exit::complain(context.name, &format!("{why}; `--fallback=never` forbids to run it here"));
            End::Code(exit::UNAVAILABLE)
        }
        Ending::Unseen(why) => {
            exit::complain(context.name, &unseen(&why));
            End::Code(exit::OS_ERROR)
        }
        Ending::Here(slot) => {
            if let Some(Err(error)) = slot.map(LocalSlot::keep_across_exec) {
                context.log.note(|| format!("the local slot is not kept: {error}"));
            }
            run_here(context, invocation)
        }
    }
}

/// What is said of a command that was done, must not be done twice, and left nothing that we see.
pub(crate) fn unseen(why: &str) -> String {
    format!("a worker has run the command, but {why}; it is not run again, for it adds to what is there")
}

/// Becomes the command.
#[must_use]
pub fn run_here(context: &Context<'_>, invocation: &Invocation) -> End {
    let error = fallback::exec(invocation);
    exit::complain(context.name, &format!("{}: {error}", invocation.program.display()));
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    End::Code(if missing { 127 } else { 126 })
}

async fn at_cluster(context: &Context<'_>, travels: Travels) -> Ending {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            context.log.note(|| format!("no signal handlers ({error}): runs here"));
            return Ending::Here(None);
        }
    };
    let addresses = match link::resolve(&context.settings.server_addr) {
        Ok(addresses) => addresses,
        Err(error) => return here(context, &mut signals, travels.kind, &error.to_string()).await,
    };
    let mut session =
        Session::new(context.settings, context.log, context.software, addresses).remembering(context.breaker());
    let order = ids(&travels.jobs);
    let (kind, repeatable) = (travels.kind, travels.whole.repeatable);
    session.submit(travels.jobs);
    let mut parts: BTreeMap<JobId, Done> = BTreeMap::new();
    let mut home = None;
    while session.outstanding() > 0 {
        let (id, answer) = tokio::select! { biased;
            number = signals.next() => {
                session.cancel().await;
                return Ending::Interrupted(number);
            }
            (id, (answer, report)) = next_seen(context, &mut session) => {
                if let Some(report) = report {
                    session.report(report).await;
                }
                (id, answer)
            }
        };
        match answer {
            Ok(done) => drop(parts.insert(id, done)),
            Err(Missed::Unseen(why)) if !repeatable => {
                context.log.note(|| why.clone());
                return Ending::Unseen(why);
            }
            Err(Missed::Unseen(why) | Missed::Locally(why)) => home = home.or(Some(why)),
        }
    }
    match home {
        Some(why) => here(context, &mut signals, kind, &why).await,
        None => Ending::Done(order.iter().filter_map(|id| parts.remove(id)).collect()),
    }
}

fn ids(jobs: &[v1::Job]) -> Vec<JobId> {
    jobs.iter().filter_map(|job| job_id_from(&job.id).ok()).collect()
}

async fn next_seen(context: &Context<'_>, session: &mut Session<'_>) -> (JobId, Look) {
    let (id, answer) = session.next().await;
    (id, seen(answer, context.settings.visibility_timeout).await)
}

/// Why there is no outcome that this machine can vouch for.
#[derive(Debug)]
pub enum Missed {
    /// The cluster does not take the job.
    Locally(String),
    /// A worker has run it, and its files do not look from here as the worker left them.
    Unseen(String),
}

/// What this machine can vouch for, and what the server is to be told of how long that took.
pub type Look = (Result<Done, Missed>, Option<v1::Seen>);

/// Turns an answer into what this machine can vouch for: an outcome whose files it sees; or says that there is none.
pub async fn seen(answer: Answer, patience: Duration) -> Look {
    let done = match answer {
        Answer::Done(done) => *done,
        Answer::Locally(why) => return (Err(Missed::Locally(why)), None),
    };
    match visibility::wait(&done, patience).await {
        Ok(waited) => {
            let report = visibility::report(&done.mount, waited, false);
            if let Some(why) = of_another_system(&done) {
                return (Err(Missed::Locally(why)), report);
            }
            let times = times::put_right(&done.stamps, done.handed_over);
            (Ok(Done { waited, times, ..done }), report)
        }
        Err(why) => (Err(Missed::Unseen(why)), visibility::report(&done.mount, patience, true)),
    }
}

/// Why what a worker made need not be what this machine would have made, as far as that lies in their systems.
fn of_another_system(done: &Done) -> Option<String> {
    let worker = &done.worker;
    if let Some(difference) = system_files::difference(&done.command, &done.system_files, &done.asked) {
        return Some(difference.in_words(worker));
    }
    let look = || not_found::here(&done.output.tail_of_stderr(), &done.command, &done.mount);
    let missed = (done.exit != ExitStatus::Code(0)).then(look)?;
    missed.map(|path| format!("{worker} has no {}", path.display()))
}

/// The cluster does not take it: what `--fallback` says.
async fn here(context: &Context<'_>, signals: &mut Signals, kind: JobKind, why: &str) -> Ending {
    let settings = context.settings;
    context.log.note(|| format!("not at the cluster: {why}"));
    match settings.fallback {
        Fallback::Never => return Ending::Refused(format!("the cluster does not take the job: {why}")),
        Fallback::Always => return Ending::Here(None),
        Fallback::Limited => {}
    }
    let slots = match LocalSlots::open(settings.local_slots, settings.local_memory, context.runtime_dir.clone()) {
        Ok(slots) => slots,
        Err(error) => {
            context.log.note(|| format!("local runs are not throttled: {error}"));
            return Ending::Here(None);
        }
    };
    tokio::select! { biased;
        number = signals.next() => Ending::Interrupted(number),
        slot = slots.take(kind) => match slot {
            Ok(slot) => Ending::Here(Some(slot)),
            Err(error) => {
                context.log.note(|| format!("local runs are not throttled: {error}"));
                Ending::Here(None)
            }
        },
    }
}

/// Prints what the compiler printed, and tells how it ended.
fn print(context: &Context<'_>, kind: JobKind, parts: Vec<Done>) -> Result<End, Unprinted> {
    exit::restore_sigpipe();
    let mut worst = ExitStatus::Code(0);
    for mut done in parts {
        context.log.note(|| format!("ran on {} ({})", done.worker, kind.name()));
        context.log.note(|| done.seen());
        if let Some(about) = done.about_times() {
            context.log.note(|| about);
        }
        exit::obey_file_limit();
        let printed = done.output.print(std::io::stdout().as_fd(), std::io::stderr().as_fd());
        exit::outlive_file_limit();
        printed.inspect_err(|error| context.log.note(|| error.to_string()))?;
        worst = worse(worst, done.exit);
    }
    Ok(worst.into())
}

/// Of a command with several sources the compiler driver returns the greatest code of its parts (`gcc.c`, `greatest_status`);
/// a part that died of a signal outweighs codes.
fn worse(left: ExitStatus, right: ExitStatus) -> ExitStatus {
    match (left, right) {
        (ExitStatus::Signal(_), _) => left,
        (_, ExitStatus::Signal(_)) => right,
        (ExitStatus::Code(a), ExitStatus::Code(b)) => ExitStatus::Code(a.max(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_part_decides_how_a_command_ends() {
        let (fine, failed, died) = (ExitStatus::Code(0), ExitStatus::Code(1), ExitStatus::Signal(11));

        assert_eq!(worse(fine, failed), failed);
        assert_eq!(worse(failed, fine), failed);
        assert_eq!(worse(failed, died), died);
        assert_eq!(worse(died, failed), died);
    }
}
