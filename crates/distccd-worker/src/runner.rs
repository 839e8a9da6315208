//! One attempt from its slot to its result, on a thread of its own; see `exec` for why.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use model::ids::Attempt;
use model::outcome::AttemptFailure;
use proto::v1;
use tokio::sync::mpsc;

use crate::books::AttemptResult;
use crate::exec::{Canceller, Executor, Stream, Witness, Work, cancellation};
use crate::revalidation;
use crate::stamps;
use crate::toolchains::{self, Toolchain, Wanted};
use crate::wire::Task;

/// What an attempt's thread tells the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its process runs.
    Started(Attempt),
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
        if let Err(failure) = see_what_others_did(&task, &executor, &|| watch.is_cancelled()) {
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
            return;
        }
        if let Err(what) = stamps::await_inputs(&cwd, &task.inputs, || watch.is_cancelled()) {
            let failure = AttemptFailure::InputsNotVisible(what);
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
            return;
        }
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let program = path(&task.command.program);
        let linker = task.linker.map(|(linker, fingerprint)| (path(&linker), fingerprint));
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
            never_in_place: task.when_permitted,
            is_audited: task.is_audited,
            is_shadow: task.is_shadow,
        };
        let mut reporter = Reporter { attempt, events: &events, is_right: &is_right };
        let finished = executor.run(&work, &watch, &mut reporter);
        let result = match &finished.result {
            Ok(outcome) => AttemptResult::Outcome(v1::Outcome {
                exit: Some(outcome.exit.into()),
                usage: Some(outcome.usage.into()),
                chunks: 0, // the books count
                // Of a shadow nobody will see any.
                outputs: if task.is_shadow { Vec::new() } else { stamps::of_outputs(&cwd, &task.outputs) },
                digests: finished.digests.clone(),
                worker,
            }),
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

/// Makes this machine see what was committed and edited before the job was submitted.
fn see_what_others_did(task: &Task, executor: &Executor, given_up: &dyn Fn() -> bool) -> Result<(), AttemptFailure> {
    let revalidation = &executor.revalidation;
    let cwd = Path::new(OsStr::from_bytes(&task.command.cwd));
    let of_dirs = || task.dirs.iter().map(|dir| cwd.join(OsStr::from_bytes(dir)));
    let of_searched = || task.searched.iter().map(|stamp| PathBuf::from(OsStr::from_bytes(&stamp.path)));
    if !of_dirs().chain(of_searched()).any(|dir| revalidation.may_hide(&dir)) && !revalidation.may_hide(cwd) {
        return Ok(());
    }
    let identity = executor.identity_for(&task.command)?;
    let uid = task.command.identity.uid;
    let for_it = revalidation::Attempt { uid, identity: identity.as_ref(), arrived: task.arrived, given_up };
    let look = || {
        revalidation.look_at_told(&for_it)?;
        if task.is_unsure {
            revalidation.look_at(of_dirs().chain(of_searched()), &for_it)?;
        }
        revalidation.await_searched(&task.searched, &for_it)
    };
    look().map_err(AttemptFailure::InputsNotVisible)
}

struct Reporter<'a> {
    attempt: Attempt,
    events: &'a mpsc::Sender<Event>,
    /// Whether the toolchain is still the one that the attempt is for.
    is_right: &'a dyn Fn() -> Result<(), AttemptFailure>,
}

impl Witness for Reporter<'_> {
    fn on_start(&mut self) {
        let _ = self.events.blocking_send(Event::Started(self.attempt));
    }

    fn on_output(&mut self, stream: Stream, data: Bytes) -> bool {
        self.events.blocking_send(Event::Output(self.attempt, stream, data)).is_ok()
    }

    /// An upgrade while the command ran: nobody knows which halves of which compiler it met.
    fn on_ready(&mut self, is_isolated: bool) -> Result<(), AttemptFailure> {
        (self.is_right)()?;
        if is_isolated {
            let _ = self.events.blocking_send(Event::Ready(self.attempt));
        }
        Ok(())
    }
}

fn failed(failure: &AttemptFailure) -> AttemptResult {
    AttemptResult::Failure(failure.into())
}
