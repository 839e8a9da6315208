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
use crate::stamps;
use crate::toolchains::{self, Toolchain};
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
    /// The compiler that it was meant for is another by now.
    ToolReplaced(PathBuf),
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
        if let Err(what) = stamps::await_inputs(&cwd, &task.inputs, || watch.is_cancelled()) {
            let failure = AttemptFailure::InputsNotVisible(what);
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure), Slot::Free));
            return;
        }
        let program = Path::new(OsStr::from_bytes(&task.command.program));
        if let Some(tool) = toolchains::replaced(&tools, program) {
            let failure = AttemptFailure::SpawnFailed(format!("{} was replaced by another", tool.display()));
            let _ = events.blocking_send(Event::ToolReplaced(tool));
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
        let mut reporter = Reporter { attempt, events: &events };
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

struct Reporter<'a> {
    attempt: Attempt,
    events: &'a mpsc::Sender<Event>,
}

impl Witness for Reporter<'_> {
    fn on_start(&mut self) {
        let _ = self.events.blocking_send(Event::Started(self.attempt));
    }

    fn on_output(&mut self, stream: Stream, data: Bytes) -> bool {
        self.events.blocking_send(Event::Output(self.attempt, stream, data)).is_ok()
    }

    fn on_ready(&mut self) {
        let _ = self.events.blocking_send(Event::Ready(self.attempt));
    }
}

fn failed(failure: &AttemptFailure) -> AttemptResult {
    AttemptResult::Failure(failure.into())
}
