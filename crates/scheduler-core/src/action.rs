//! What the scheduler orders. The driver carries actions out in order; none may be dropped.

use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{Attempt, JobId, WorkerId};
use model::outcome::AttemptFailure;

use crate::input::{ClientId, Commit};

/// An order to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these attempts to the worker in one message. It starts as many as it has slots, in this order, and keeps
    /// the rest as its prefetch.
    Assign {
        /// Whom.
        worker: WorkerId,
        /// What, the first to start first.
        attempts: Vec<Attempt>,
        /// When they may commit.
        commit: Commit,
    },
    /// Tell the worker that this attempt, which was assigned [`Commit::WhenPermitted`], may commit as soon as it is
    /// done, or now if it is.
    PermitCommit {
        /// Whom.
        worker: WorkerId,
        /// What.
        attempt: Attempt,
    },
    /// Tell the worker to kill this attempt, or forget it if it has not started. It answers with `AttemptEnded`.
    Cancel {
        /// Whom.
        worker: WorkerId,
        /// What.
        attempt: Attempt,
    },
    /// Ask the worker to hand this attempt back if it has not started. It answers `HandedBack`, or not at all when
    /// it has started meanwhile (it then reports the start and the end as usual).
    Recall {
        /// Whom.
        worker: WorkerId,
        /// What.
        attempt: Attempt,
    },
    /// Give the launcher the outcome that this attempt reported.
    Complete {
        /// Whom.
        client: ClientId,
        /// Whose outcome.
        attempt: Attempt,
    },
    /// Tell the launcher that the cluster does not take this job. `Forget` of the job follows at once.
    RunLocally {
        /// Whom.
        client: ClientId,
        /// Which job.
        job: JobId,
        /// Why.
        reason: LocalReason,
    },
    /// Tell the launcher that its user has as many jobs waiting as one user may, or that as many jobs of earlier servers
    /// wait for news of them as may wait at all, or an attempt that was given up has come back with its worker: it
    /// shall submit this one again after `delay`. `Forget` of the job follows at once, unless its outcome is kept.
    Wait {
        /// Whom.
        client: ClientId,
        /// Which job.
        job: JobId,
        /// How long to wait.
        delay: Duration,
    },
    /// Keep what this attempt was told to run and what it wrote, which has been reported, until [`Action::EndAudit`].
    KeepForAudit {
        /// Whose outcome was delivered.
        of: Attempt,
    },
    /// Have the worker do once more what attempt `of` did, so that nobody sees what it writes: as
    /// [`Commit::WhenPermitted`] without a permission ever. It reports what it would have written.
    Audit {
        /// Whom.
        worker: WorkerId,
        /// The shadow: an attempt of no submitted job.
        attempt: Attempt,
        /// What it repeats.
        of: Attempt,
    },
    /// An audit is over.
    EndAudit {
        /// What was audited.
        of: Attempt,
        /// What came of it.
        verdict: AuditVerdict,
    },
    /// Drop what the driver keeps for this job (its command, its outcomes): nobody will ask for it any more. May come
    /// more than once for a job, and for one of which the driver never heard but through a worker.
    Forget {
        /// Which job.
        job: JobId,
    },
    /// Drop what the driver keeps for this worker: it will not be named again.
    ForgetWorker {
        /// Which worker.
        worker: WorkerId,
    },
}

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditVerdict {
    /// The same bytes.
    Same,
    /// Two workers disagree, and the first one agrees with itself: an alarm. Neither is benched for it, since nobody
    /// knows which of them is wrong.
    Differs {
        /// Who did the job.
        first: WorkerId,
        /// Who did it again.
        other: WorkerId,
    },
    /// The command does not write the same bytes twice, or what it reads has been edited.
    NotRepeatable,
    /// Nobody knows: there was no slot for it in time, or its worker failed.
    Dropped,
}

/// Why the cluster does not take a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalReason {
    /// No registered worker can ever take it; what is missing on the best of them.
    NoEligibleWorker(Unmet),
    /// Every attempt failed for reasons that are not the command's; the last of them.
    AttemptsExhausted(AttemptFailure),
    /// Too many jobs wait.
    QueueFull,
    /// The job asks for more of this than anybody may ask for.
    Unreasonable {
        /// Of what.
        what: &'static str,
    },
    /// The server is stopping.
    Stopping,
}

/// The first demand of a job that no worker meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmet {
    /// There is no worker at all.
    NoWorkers,
    /// No worker has the mount.
    Mount,
    /// No worker runs commands for this user.
    User,
    /// No worker has the toolchain.
    Toolchain,
    /// No worker is of the CPU class.
    CpuClass,
    /// No worker takes links.
    Linking,
    /// No worker has the memory that the job is known to need.
    Memory,
    /// Those that could are draining, benched, or were tried before.
    Exhausted,
}
