//! `--jobs-from`: many commands over one conversation, in batches (design.md section 6).

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use model::ids::JobId;
use model::job::JobKind;
use model::outcome::ExitStatus;
use proto::convert::job_id_from;
use proto::v1;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Launch;
use crate::answer::Done;
use crate::decide::{Invocation, Judge, Travels};
use crate::exit::{self, End};
use crate::fallback;
use crate::link;
use crate::list::{Listed, Source, SourceError};
use crate::program;
use crate::session::Session;
use crate::settings::Fallback;
use crate::signals::Signals;
use crate::single::{Look, Missed, seen, unseen};
use crate::slots::LocalSlots;

/// Most jobs at the server at once: enough for a large cluster, bounded for ours and the server's memory.
const WINDOW: usize = 4096;

/// Runs every command of a list; the code of the first that failed, in the list's order.
#[must_use]
pub fn run(launch: &Launch<'_>, from: &Path, explain: bool) -> End {
    let source = match Source::open(from) {
        Ok(source) => source,
        Err(error) => return unreadable(launch, &error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(run_list(launch, source, explain)));
    ended.unwrap_or_else(|error| {
        exit::complain(launch.context.name, &format!("the list cannot be run: {error}"));
        End::Code(exit::OS_ERROR)
    })
}

fn unreadable(launch: &Launch<'_>, error: &SourceError) -> End {
    exit::complain(launch.context.name, &error.to_string());
    End::Code(exit::USAGE)
}

async fn run_list(launch: &Launch<'_>, mut source: Source, explain: bool) -> io::Result<End> {
    let mut signals = Signals::listen()?;
    let context = &launch.context;
    // Without an address every job is sent home by the session; here is why.
    let addresses = link::resolve(&context.settings.server_addr).unwrap_or_else(|error| {
        context.log.note(|| error.to_string());
        Vec::new()
    });
    let session = Session::new(context.settings, context.log, context.software, addresses);
    let session = session.remembering(context.breaker());
    let slots =
        LocalSlots::open(context.settings.local_slots, context.settings.local_memory, context.runtime_dir.clone())?;
    let mut desk = Desk::new(launch, session, Arc::new(slots), explain);
    loop {
        desk.submit_if_due();
        if source.is_exhausted() && desk.is_done() {
            return Ok(desk.verdict.end());
        }
        // A list in memory is always ready: without a pause in between nothing else would ever be heard.
        tokio::task::yield_now().await;
        let room = desk.outstanding() < WINDOW;
        let (due, gathering) = (desk.due_or_now(), !desk.batch.is_empty());
        tokio::select! { biased;
            number = signals.next() => {
                desk.session.cancel().await;
                return Ok(End::Signal(number));
            }
            (id, answer) = desk.session.next(), if desk.session.outstanding() > 0 => {
                let patience = context.settings.visibility_timeout;
                desk.looked_for.spawn(async move { (id, seen(answer, patience).await) });
            }
            Some(Ok((id, (answer, report)))) = desk.looked_for.join_next() => {
                if let Some(report) = report {
                    desk.session.report(report).await;
                }
                desk.on_answer(id, answer);
            }
            Some(ended) = desk.locals.join_next() => desk.on_local_end(ended),
            next = source.next(), if room && !source.is_exhausted() => match next {
                Ok(Some(listed)) => desk.on_command(listed),
                Ok(None) => {}
                Err(error) => {
                    exit::complain(context.name, &error.to_string());
                    desk.verdict.note(usize::MAX, ExitStatus::Code(exit::USAGE));
                }
            },
            () = tokio::time::sleep_until(due), if gathering => {}
        }
    }
}

/// The first failure in the list's order.
#[derive(Default)]
struct Verdict(BTreeMap<usize, ExitStatus>);

impl Verdict {
    fn note(&mut self, number: usize, exit: ExitStatus) {
        if !exit.is_success() {
            self.0.insert(number, exit);
        }
    }

    fn end(&self) -> End {
        self.0.values().next().map_or(End::Code(0), |&exit| exit.into())
    }
}

/// A command of the list under its place in it.
struct Numbered {
    number: usize,
    invocation: Invocation,
}

/// A command of the list that a worker may run.
struct Remote {
    kind: JobKind,
    repeatable: bool,
    numbered: Numbered,
}

/// What is on the way: the batch being gathered, jobs at the server, runs here.
struct Desk<'a> {
    launch: &'a Launch<'a>,
    session: Session<'a>,
    slots: Arc<LocalSlots>,
    explain: bool,
    batch: VecDeque<v1::Job>,
    due: Option<Instant>,
    remote: BTreeMap<JobId, Remote>,
    /// Jobs whose outputs this machine is to see yet.
    looked_for: JoinSet<(JobId, Look)>,
    locals: JoinSet<(usize, io::Result<ExitStatus>)>,
    verdict: Verdict,
    count: usize,
}

impl<'a> Desk<'a> {
    fn new(launch: &'a Launch<'a>, session: Session<'a>, slots: Arc<LocalSlots>, explain: bool) -> Self {
        Self {
            launch,
            session,
            slots,
            explain,
            batch: VecDeque::new(),
            due: None,
            remote: BTreeMap::new(),
            looked_for: JoinSet::new(),
            locals: JoinSet::new(),
            verdict: Verdict::default(),
            count: 0,
        }
    }

    fn outstanding(&self) -> usize {
        self.remote.len() + self.locals.len()
    }

    fn is_done(&self) -> bool {
        self.outstanding() == 0 && self.session.outstanding() == 0 && self.batch.is_empty()
    }

    fn due_or_now(&self) -> Instant {
        self.due.unwrap_or_else(Instant::now)
    }

    /// Sends the batch when it is full or its first job has waited long enough.
    fn submit_if_due(&mut self) {
        let full = self.batch.len() >= self.launch.context.settings.batch_size as usize;
        let waited = self.due.is_some_and(|due| due <= Instant::now());
        if !self.batch.is_empty() && (full || waited) {
            self.due = None;
            let jobs = self.batch.drain(..).collect();
            self.session.submit(jobs);
        }
    }

    fn on_command(&mut self, listed: Listed) {
        let number = self.count;
        self.count += 1;
        if !listed.directory.is_dir() {
            let text = format!("{}: the directory of a listed command does not exist", listed.directory.display());
            exit::complain(self.launch.context.name, &text);
            self.verdict.note(number, ExitStatus::Code(126));
            return;
        }
        let environment = self.launch.environment.in_directory(&listed.directory);
        let program = match program::find_in(&listed.directory, &listed.argv[0], environment.get("PATH").as_deref()) {
            Ok(program) => program,
            Err(error) => {
                exit::complain(self.launch.context.name, &error.to_string());
                self.verdict.note(number, ExitStatus::Code(error.exit_code()));
                return;
            }
        };
        let invocation = Invocation { argv: listed.argv, program, cwd: listed.directory, path: None };
        let judge = Judge { environment: &environment, ..self.launch.judge() };
        let decision = judge.decide(&invocation);
        if self.explain {
            let text = crate::explain::text(self.launch, &invocation, &decision);
            println!("{text}");
            return;
        }
        let numbered = Numbered { number, invocation };
        match decision {
            // A list is parallel enough: a command with several sources stays one job, with one answer.
            Ok(travels) => self.on_remote(numbered, travels),
            Err(why) => {
                self.launch.context.log.note(|| format!("runs here: {why}"));
                // What it does may be unknown; links are what needs memory, and those that stay are few.
                self.start_local(numbered, JobKind::Compile);
            }
        }
    }

    fn on_remote(&mut self, numbered: Numbered, travels: Travels) {
        let job = travels.whole;
        let Ok(id) = job_id_from(&job.id) else { return };
        self.remote.insert(id, Remote { kind: travels.kind, repeatable: job.repeatable, numbered });
        let patience = self.launch.context.settings.batch_timeout;
        self.due.get_or_insert_with(|| Instant::now() + patience);
        self.batch.push_back(job);
    }

    fn on_answer(&mut self, id: JobId, answer: Result<Done, Missed>) {
        let Some(Remote { kind, repeatable, numbered }) = self.remote.remove(&id) else { return };
        match answer {
            Ok(mut done) => {
                self.launch.context.log.note(|| format!("ran on {} ({})", done.worker, kind.name()));
                self.launch.context.log.note(|| done.seen());
                if let Some(about) = done.about_times() {
                    self.launch.context.log.note(|| about);
                }
                if let Err(error) = done.output.print(io::stdout().as_fd(), io::stderr().as_fd()) {
                    self.launch.context.log.note(|| format!("cannot print: {error}"));
                    self.verdict.note(numbered.number, ExitStatus::Code(1));
                }
                self.verdict.note(numbered.number, done.exit);
            }
            Err(Missed::Unseen(why)) if !repeatable => {
                exit::complain(self.launch.context.name, &unseen(&why));
                self.verdict.note(numbered.number, ExitStatus::Code(exit::OS_ERROR));
            }
            Err(Missed::Unseen(why) | Missed::Locally(why))
                if self.launch.context.settings.fallback == Fallback::Never =>
            {
                let text =
                    format!("the cluster does not take the job: {why}; `--fallback=never` forbids to run it here");
                exit::complain(self.launch.context.name, &text);
                self.verdict.note(numbered.number, ExitStatus::Code(exit::UNAVAILABLE));
            }
            Err(Missed::Unseen(why) | Missed::Locally(why)) => {
                self.launch.context.log.note(|| format!("not at the cluster: {why}"));
                self.start_local(numbered, kind);
            }
        }
    }

    fn start_local(&mut self, numbered: Numbered, kind: JobKind) {
        let throttled = self.launch.context.settings.fallback != Fallback::Always;
        let slots = throttled.then(|| Arc::clone(&self.slots));
        self.locals.spawn(async move {
            let ended = run_local(&numbered.invocation, slots.as_deref(), kind).await;
            (numbered.number, ended)
        });
    }

    fn on_local_end(&mut self, ended: Result<(usize, io::Result<ExitStatus>), tokio::task::JoinError>) {
        match ended {
            Ok((number, Ok(exit))) => self.verdict.note(number, exit),
            Ok((number, Err(error))) => {
                exit::complain(self.launch.context.name, &format!("a local run failed: {error}"));
                self.verdict.note(number, ExitStatus::Code(126));
            }
            Err(error) => {
                exit::complain(self.launch.context.name, &format!("a local run was lost: {error}"));
                self.verdict.note(usize::MAX, ExitStatus::Code(exit::OS_ERROR));
            }
        }
    }
}

/// Runs a command here, throttled if there are `slots` to wait for.
async fn run_local(invocation: &Invocation, slots: Option<&LocalSlots>, kind: JobKind) -> io::Result<ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let slot = match slots {
        Some(slots) => Some(slots.take(kind).await?),
        None => None,
    };
    let mut command = fallback::command(invocation);
    command.current_dir(&invocation.cwd).env("PWD", OsString::from(&invocation.cwd));
    let status = tokio::process::Command::from(command).kill_on_drop(true).status().await?;
    drop(slot);
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    Ok(match status.signal() {
        Some(signal) => ExitStatus::Signal(byte(signal)),
        None => ExitStatus::Code(byte(status.code().unwrap_or(1))),
    })
}
