//! One attempt from its slot to its result, on a thread of its own; see `exec` for why.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use model::ids::Attempt;
use model::outcome::AttemptFailure;
use proto::v1;
use tokio::sync::mpsc;

use crate::books::AttemptResult;
use crate::exec::{Canceller, Executor, Stream, Witness, Work, cancellation};
use crate::looks::Looks;
use crate::stamps::{self, Span};
use crate::toolchains::{self, Parts, Toolchain, Wanted};
use crate::wire::Task;
use crate::{asked, dependencies};

/// What an attempt's thread tells the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its process runs, and whether what it writes is seen at once.
    Started(Attempt, bool),
    /// It printed something.
    Output(Attempt, Stream, Bytes),
    /// Its command has ended by itself, and what it wrote waits for a word: commit or discard.
    Ready(Attempt),
    /// The toolchain that it was meant for is another by now: how.
    ToolchainChanged(String),
    /// The last word about it.
    Ended(Attempt, AttemptResult, Slot),
    /// What survived an attempt that ended long ago is gone.
    Recovered,
}

/// What becomes of the slot of an attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing of it runs any more.
    Free,
    /// Something of it survives SIGKILL, on a filesystem that hangs, until [`Event::Recovered`] says otherwise.
    Lost,
}

/// Everything runs in these few frames, and a compiler is forked from them; the system's modules for the user database
/// (LDAP, sssd) run here too and are the ones that need room.
const STACK: usize = 1 << 20;

/// Starts the thread.
///
/// # Errors
/// When the machine has no thread or descriptor left for it.
pub(crate) fn spawn(
    attempt: Attempt,
    task: Task,
    worker: String,
    tools: Arc<[Toolchain]>,
    executor: Executor,
    events: mpsc::Sender<Event>,
) -> io::Result<Canceller> {
    let (canceller, watch) = cancellation()?;
    let run = move || {
        let cwd = Path::new(OsStr::from_bytes(&task.command.cwd)).to_owned();
        let given_up = || watch.is_cancelled();
        let looking = executor.journals.begin(&cwd);
        let looks = Looks::of(&task, &executor, &given_up).and_then(|mut looks| {
            looks.as_mut().map_or(Ok(()), Looks::before)?;
            Ok(looks)
        });
        let looks = match looks {
            Ok(looks) => looks,
            Err(failure) => {
                let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
                return;
            }
        };
        let may_hide = |path: &Path| executor.revalidation.may_hide(path);
        if let Err(what) = stamps::await_inputs(&cwd, &task.inputs, may_hide, || watch.is_cancelled()) {
            let failure = AttemptFailure::InputsNotVisible(what);
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
            return;
        }
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let program = path(&task.command.program);
        let linker = task.linker.map(|(linker, fingerprint)| (path(&linker), fingerprint));
        drop(looking);
        let is_right = || {
            let linker = linker.as_ref().map(|(path, fingerprint)| (path.as_path(), &fingerprint[..]));
            let wanted = Wanted { program: &program, fingerprint: &task.toolchain, linker };
            let Some(why) = toolchains::mismatch(&tools, &wanted) else { return Ok(()) };
            let _ = events.blocking_send(Event::ToolchainChanged(why.clone()));
            Err(AttemptFailure::SpawnFailed(format!("the toolchain changed: {why}")))
        };
        if let Err(failure) = is_right() {
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
            return;
        }
        let outputs = task.outputs.iter().map(|output| cwd.join(OsStr::from_bytes(output))).collect();
        let work = Work {
            attempt,
            command: task.command,
            outputs,
            redirects: task.redirects,
            never_in_place: task.when_permitted,
            is_audited: task.is_audited,
            is_shadow: task.is_shadow,
        };
        let began = SystemTime::now();
        let mut reporter = Reporter::new(attempt, &events, looks.as_ref(), &is_right);
        let mut finished = executor.run(&work, &watch, &mut reporter);
        if reporter.begin_again() {
            tracing::info!(%attempt, "what it read was out of date: once more");
            finished = executor.run(&work, &watch, &mut reporter);
        }
        reporter.flush();
        let published = &finished.published;
        let result = match &finished.result {
            Ok(outcome) => {
                // Of a shadow nobody will see any.
                let written = || stamps::of_written(&cwd, &task.outputs, &published.stamps, &Span::since(began));
                let outputs = if task.is_shadow { Vec::new() } else { written() };
                let read = dependencies::told_in(&outputs, &cwd);
                if let Some(looks) = &looks {
                    looks.learn(&read);
                }
                let programs = [Some(program.as_path()), linker.as_ref().map(|(path, _)| path.as_path())];
                let parts = Parts::of(&tools, &programs.into_iter().flatten().collect::<Vec<_>>());
                let askers = asked::askers(&cwd, &executor.isolation.mounts, &task.inputs, read, &finished.opened);
                AttemptResult::Outcome(v1::Outcome {
                    exit: Some(outcome.exit.into()),
                    usage: Some(outcome.usage.into()),
                    chunks: 0, // the books count
                    outputs,
                    removed: published.removed.clone(),
                    made: published.made.clone(),
                    digests: finished.digests.clone(),
                    system_files: toolchains::files_beyond(&parts, &finished.opened),
                    asked: asked::headers(askers, Instant::now(), |facts| parts.have(facts)),
                    worker,
                })
            }
            Err(failure) => failed(failure),
        };
        let lost = finished.has_stragglers();
        let slot = if lost { Slot::Lost } else { Slot::Free };
        let _ = events.blocking_send(Event::Ended(attempt, result, slot));
        finished.await_stragglers();
        if lost {
            let _ = events.blocking_send(Event::Recovered);
        }
    };
    thread::Builder::new().name(format!("run-{:?}", attempt.job)).stack_size(STACK).spawn(run)?;
    Ok(canceller)
}

/// So much of what a command prints is held back until it has ended, where it may have to run again.
const MOST_HELD: usize = 1 << 20;

struct Reporter<'a> {
    attempt: Attempt,
    events: &'a mpsc::Sender<Event>,
    /// Whether the toolchain is still the one that the attempt is for.
    is_right: &'a dyn Fn() -> Result<(), AttemptFailure>,
    /// Where what the command read may turn out to have been out of date.
    looks: Option<&'a Looks<'a>>,
    /// What it printed and nobody has been told; nothing when it is passed on as it comes.
    held: Option<Vec<(Stream, Bytes)>>,
    held_bytes: usize,
    has_started: bool,
    is_second: bool,
    is_void: bool,
}

impl<'a> Reporter<'a> {
    fn new(
        attempt: Attempt,
        events: &'a mpsc::Sender<Event>,
        looks: Option<&'a Looks<'a>>,
        is_right: &'a dyn Fn() -> Result<(), AttemptFailure>,
    ) -> Self {
        let held = looks.map(|_| Vec::new());
        Self {
            attempt,
            events,
            is_right,
            looks,
            held,
            held_bytes: 0,
            has_started: false,
            is_second: false,
            is_void: false,
        }
    }

    /// Whether the command is to run again, once.
    fn begin_again(&mut self) -> bool {
        let is_again = self.is_void && !self.is_second;
        if is_again {
            (self.held, self.held_bytes) = (Some(Vec::new()), 0);
            (self.is_second, self.is_void) = (true, false);
        }
        is_again
    }

    /// Passes on what was held back; from now on nothing is.
    fn flush(&mut self) -> bool {
        let held = self.held.take().filter(|_| !self.is_void);
        let mut held = held.into_iter().flatten();
        held.all(|(stream, data)| self.events.blocking_send(Event::Output(self.attempt, stream, data)).is_ok())
    }
}

impl Witness for Reporter<'_> {
    fn on_start(&mut self, in_place: bool) {
        if !std::mem::replace(&mut self.has_started, true) {
            let _ = self.events.blocking_send(Event::Started(self.attempt, in_place));
        }
    }

    fn on_output(&mut self, stream: Stream, data: Bytes) -> bool {
        if let Some(held) = &mut self.held {
            self.held_bytes += data.len();
            held.push((stream, data));
            return self.held_bytes <= MOST_HELD || self.flush();
        }
        self.events.blocking_send(Event::Output(self.attempt, stream, data)).is_ok()
    }

    fn is_void(&mut self, said: &[u8]) -> bool {
        // What has been told cannot be taken back.
        self.is_void = self.held.is_some() && self.looks.is_some_and(|looks| looks.doubts(said).refute(self.is_second));
        self.is_void
    }

    /// An upgrade while the command ran: nobody knows which halves of which compiler it met.
    fn on_ready(&mut self, is_isolated: bool) -> Result<(), AttemptFailure> {
        (self.is_right)()?;
        self.flush();
        if is_isolated {
            let _ = self.events.blocking_send(Event::Ready(self.attempt));
        }
        Ok(())
    }
}

fn failed(failure: &AttemptFailure) -> AttemptResult {
    AttemptResult::Failure(failure.into())
}
