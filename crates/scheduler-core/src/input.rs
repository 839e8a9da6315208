//! What the scheduler is told. With [`crate::action`] this is the whole public language.

use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{Attempt, CpuClass, DirKey, Incarnation, JobId, ToolchainKey, WorkerId};
use model::job::JobFacts;
use model::outcome::{AttemptFailure, Outcome};
use model::speed::Speed;

/// A launcher's conversation with the server; several jobs may come over one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A dated fact. The date is handed to [`crate::Scheduler::step`] beside it.
#[derive(Clone, Debug)]
pub enum Input {
    /// A launcher asks for jobs to be done, all in one message. Each is answered exactly once by
    /// [`crate::Action::Complete`] or [`crate::Action::RunLocally`], unless cancelled.
    /// A job whose id is known already is the same job: it is now answered to this client.
    JobsSubmitted {
        /// Who asks, and gets the answers.
        client: ClientId,
        /// The jobs, in the launcher's order.
        jobs: Vec<SubmittedJob>,
    },
    /// A launcher takes jobs back (Ctrl-C). Nothing is answered for them any more.
    JobsCancelled {
        /// Who asks; only a job's present client may cancel it.
        client: ClientId,
        /// Which jobs.
        jobs: Vec<JobId>,
    },
    /// A launcher's conversation ended, whyever: what it still had open is cancelled.
    ClientGone {
        /// Which launcher.
        client: ClientId,
    },
    /// A worker introduced itself: a new one, or a known incarnation that reconnected. One that drained still does.
    WorkerRegistered {
        /// The number that the server gave this incarnation.
        worker: WorkerId,
        /// What it can do.
        facts: WorkerFacts,
        /// Every attempt that it holds: waiting, running, or ended with the end not yet acknowledged.
        holding: Vec<HeldAttempt>,
    },
    /// A worker was heard from; its lease runs anew.
    WorkerAlive {
        /// Which worker.
        worker: WorkerId,
        /// Its present condition.
        load: WorkerLoad,
    },
    /// A worker reports the directories it has lately touched, the warmest first; replaces what it said before.
    WorkerWarmth {
        /// Which worker.
        worker: WorkerId,
        /// The directories, most recently used first.
        dirs: Vec<DirKey>,
    },
    /// The connection to a worker broke. Its attempts may well go on: they are lost only when its lease runs out.
    WorkerDisconnected {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker takes no more jobs: it finishes what runs and hands back what does not.
    WorkerDraining {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker that drained takes jobs again.
    WorkerResumed {
        /// Which worker.
        worker: WorkerId,
    },
    /// A worker is gone for good and nothing of it runs any more (it said goodbye, or another incarnation of the
    /// same host has registered).
    WorkerGone {
        /// Which worker.
        worker: WorkerId,
    },
    /// What the server before this one knew of its workers: these and no others may run something that this server does
    /// not know of. Only as the very first fact; later it is passed over.
    Roster {
        /// All that were welcomed by an earlier server and may be alive.
        expected: Vec<Incarnation>,
        /// The longest lease that any of them was given.
        lease: Duration,
    },
    /// The roster was not the last server's after all: whoever may run something has a whole lease to say so.
    RosterDoubted,
    /// A worker that has not registered with this server is dead, and nothing of it runs any more.
    WorkerDied {
        /// Which run of which worker.
        incarnation: Incarnation,
    },
    /// An attempt was started by its worker.
    AttemptStarted {
        /// Where.
        worker: WorkerId,
        /// Which.
        attempt: Attempt,
    },
    /// An attempt has to work in place, though its worker isolates otherwise: what it writes is seen as it is written.
    /// Comes right before the [`Input::AttemptStarted`].
    AttemptInPlace {
        /// Where.
        worker: WorkerId,
        /// Which.
        attempt: Attempt,
    },
    /// An attempt that was assigned [`Commit::WhenPermitted`] has come to its end and waits for the permission to
    /// commit. Said again on every connection until it has it.
    AttemptReady {
        /// Where.
        worker: WorkerId,
        /// Which.
        attempt: Attempt,
    },
    /// What an attempt wrote and how it ended, in one number. Comes right before the [`Input::AttemptEnded`] of an attempt
    /// whose worker was asked for it: the attempts of jobs that [`crate::AuditRate`] chooses, and shadows.
    AttemptDigested {
        /// Where.
        worker: WorkerId,
        /// Which.
        attempt: Attempt,
        /// The same for the same files with the same bytes and the same exit status.
        digest: crate::audits::Digest,
    },
    /// An attempt ended, one way or another. Late and repeated reports are recognised and dropped.
    AttemptEnded {
        /// Where.
        worker: WorkerId,
        /// Which.
        attempt: Attempt,
        /// How.
        result: Result<Outcome, AttemptFailure>,
    },
    /// The server is stopping: no new jobs; what waits is sent home, what runs may finish.
    Stopping,
    /// Only time passed.
    Wake,
}

/// When an attempt may make its outputs visible to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commit {
    /// When it is done.
    #[default]
    WhenDone,
    /// When it is done and [`crate::Action::PermitCommit`] has come: another attempt of the job may be executing.
    /// Only workers that isolate are given such an attempt.
    WhenPermitted,
}

/// An attempt as a worker names it when it registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: Attempt,
    /// Whether it may commit without our saying so: what was permitted counts as [`Commit::WhenDone`].
    pub commit: Commit,
}

impl From<Attempt> for HeldAttempt {
    /// One that may commit when it is done, as most do.
    fn from(attempt: Attempt) -> Self {
        Self { attempt, commit: Commit::WhenDone }
    }
}

/// A job as submitted.
#[derive(Clone, Debug)]
pub struct SubmittedJob {
    /// The launcher's random id.
    pub id: JobId,
    /// What scheduling may look at.
    pub facts: JobFacts,
    /// The launcher had submitted it before, to this server or an earlier incarnation: a worker may already be
    /// running it, and will say so when it reconnects. A job that is not repeatable and that nobody knows of although
    /// it was submitted before is sent home: it may be half done.
    pub resubmitted: bool,
}

/// What a worker can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Which run of the worker daemon.
    pub incarnation: Incarnation,
    /// How many attempts it runs at once; what is not between 1 and [`MAX_SLOTS`] counts as the nearer end.
    pub slots: u32,
    /// Whether it takes link jobs.
    pub linking: bool,
    /// Toolchains installed on it.
    pub toolchains: Vec<ToolchainKey>,
    /// Its CPU class; `None` when it has none to speak of.
    pub cpu_class: Option<CpuClass>,
    /// Shared mounts it has (digests of their paths).
    pub mounts: Vec<DirKey>,
    /// The uid it runs commands for, or `None` when it can become any user.
    pub only_user: Option<model::ids::UserId>,
    /// Its memory in bytes; 0 when unknown. More than [`MAX_MEMORY`] counts as that.
    pub memory: u64,
    /// Whether nothing that its attempts write is seen by others before they commit, but for those of which it says
    /// otherwise ([`Input::AttemptInPlace`]).
    pub isolates: bool,
    /// How fast it says it is, until its jobs say more; `None` when it has not measured.
    pub speed: Option<Speed>,
}

/// The most slots that a worker is believed to have.
pub const MAX_SLOTS: u32 = 4_096;
/// The most memory that a worker is believed to have, or a job to need: 1 PiB.
pub const MAX_MEMORY: u64 = 1 << 50;
/// The most toolchains, and the most mounts, of a worker that are looked at.
pub const MAX_OFFERS: usize = 4_096;
/// The most mounts that a job may demand.
pub const MAX_DEMANDED_MOUNTS: usize = 64;
/// The most directories of a job that are looked at, the first ones.
pub const MAX_JOB_DIRS: usize = 16;
/// The most inputs of a job that are looked at, the first ones: each costs a few look-ups in the history.
pub const MAX_JOB_INPUTS: usize = 4_096;
/// The largest batch that is made.
pub const MAX_BATCH: u32 = 1_024;

impl WorkerFacts {
    /// Whether that needs no asking of each attempt: by the rights of root every command can be isolated, by those of a
    /// user not what writes into files of others.
    #[must_use]
    pub(crate) const fn isolates_whatever_it_runs(&self) -> bool {
        self.isolates && self.only_user.is_none()
    }

    /// What of these claims is believed.
    #[must_use]
    pub(crate) fn within_reason(mut self) -> Self {
        self.slots = self.slots.clamp(1, MAX_SLOTS);
        self.memory = self.memory.min(MAX_MEMORY);
        self.toolchains.truncate(MAX_OFFERS);
        self.mounts.truncate(MAX_OFFERS);
        self
    }
}

/// A worker's present condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Available memory in bytes; 0 when unknown.
    pub memory_available: u64,
    /// Run-queue length that is not ours, in hundredths.
    pub foreign_load_centi: u32,
}
