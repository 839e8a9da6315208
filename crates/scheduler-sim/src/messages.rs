//! What is said in the simulated world. The same conversations as on the wire, without the bytes.

use std::time::Duration;

use model::ids::{Attempt, DirKey, JobId};
use model::outcome::{AttemptFailure, Outcome};
use scheduler_core::{Commit, HeldAttempt, SubmittedJob, WorkerFacts, WorkerLoad};

/// How an attempt ended.
pub(crate) type Ending = Result<Outcome, AttemptFailure>;

/// From a worker to the server.
#[derive(Clone, Debug)]
pub(crate) enum WorkerSays {
    /// Always first on a link.
    Register {
        sequence: u64,
        facts: WorkerFacts,
        holding: Vec<HeldAttempt>,
    },
    Heartbeat {
        sequence: u64,
        load: WorkerLoad,
    },
    Warmth(Vec<DirKey>),
    Started(Attempt),
    /// It is done and waits for the permission to commit.
    Ready(Attempt),
    Ended(Attempt, Ending),
    Draining,
    Goodbye,
}

/// From the server to a worker.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// The server has heard this heartbeat or registration, and the lease runs from when it was sent.
    Heard(u64),
    Assign(Vec<Attempt>, Commit),
    /// Do this, never commit it, and say what it would have written.
    Shadow(Attempt),
    /// It may commit.
    Permit(Attempt),
    Cancel(Attempt),
    Recall(Attempt),
    /// The end of this attempt need not be told again.
    Received(Attempt),
}

/// From a launcher to the server.
#[derive(Clone, Debug)]
pub(crate) enum LauncherSays {
    Submit(Vec<SubmittedJob>),
    Cancel(Vec<JobId>),
}

/// From the server to a launcher.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Complete(Attempt),
    RunLocally(JobId),
    /// To be asked for again after so long.
    Wait(JobId, Duration),
}

impl Answer {
    pub(crate) fn job(&self) -> JobId {
        match self {
            Self::Complete(attempt) => attempt.job,
            Self::RunLocally(job) | Self::Wait(job, _) => *job,
        }
    }
}

/// Anything that travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    FromWorker(WorkerSays),
    ToWorker(Order),
    FromLauncher(LauncherSays),
    ToLauncher(Answer),
}

impl WorkerSays {
    /// What may reach the server a second time, late and out of order. A connection's first and last words cannot.
    pub(crate) fn may_echo(&self) -> bool {
        !matches!(self, Self::Register { .. } | Self::Goodbye)
    }
}

impl Message {
    pub(crate) fn is_to_server(&self) -> bool {
        matches!(self, Self::FromWorker(_) | Self::FromLauncher(_))
    }
}
