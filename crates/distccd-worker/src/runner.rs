//! One attempt from its slot to its result, on a thread of its own; see `exec` for why.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use model::ids::Attempt;
use model::outcome::AttemptFailure;
use proto::v1;
use tokio::sync::mpsc;

use crate::books::AttemptResult;
use crate::exec::{Canceller, Executor, Stream, cancellation};
use crate::stamps;
use crate::wire::Task;

/// What an attempt's thread tells the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its process runs.
    Started(Attempt),
    /// It printed something.
    Output(Attempt, Stream, Bytes),
    /// Nothing of it runs any more; the last word about it.
    Ended(Attempt, AttemptResult),
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
    executor: Executor,
    events: mpsc::Sender<Event>,
) -> io::Result<Canceller> {
    let (canceller, watch) = cancellation()?;
    let run = move || {
        let cwd = Path::new(OsStr::from_bytes(&task.command.cwd));
        if let Err(what) = stamps::await_inputs(cwd, &task.inputs, || watch.is_cancelled()) {
            let failure = AttemptFailure::InputsNotVisible(what);
            let _ = events.blocking_send(Event::Ended(attempt, failed(&failure)));
            return;
        }
        let finished = executor.run(
            &task.command,
            &watch,
            || drop(events.blocking_send(Event::Started(attempt))),
            |stream, data| events.blocking_send(Event::Output(attempt, stream, data)).is_ok(),
        );
        let result = match &finished.result {
            Ok(outcome) => AttemptResult::Outcome(v1::Outcome {
                exit: Some(outcome.exit.into()),
                usage: Some(outcome.usage.into()),
                chunks: 0, // the books count
                outputs: stamps::of_outputs(cwd, &task.outputs),
                worker,
            }),
            Err(failure) => failed(failure),
        };
        let _ = events.blocking_send(Event::Ended(attempt, result));
        finished.reap_stragglers();
    };
    thread::Builder::new().name(format!("run-{:?}", attempt.job)).stack_size(STACK).spawn(run)?;
    Ok(canceller)
}

fn failed(failure: &AttemptFailure) -> AttemptResult {
    AttemptResult::Failure(failure.into())
}
