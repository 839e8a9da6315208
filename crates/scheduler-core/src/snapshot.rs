//! What an operator may see of the scheduler.

use alloc::vec::Vec;

use model::ids::WorkerId;
use model::speed::Speed;

use crate::jobs::{JobState, Progress};
use crate::scheduler::Scheduler;
use crate::workers::Worker;
use crate::workers::table::Liveness;

/// The scheduler's beliefs at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every registered worker, by id.
    pub workers: Vec<WorkerStatus>,
    /// Jobs that are at no worker: queued, or awaiting adoption after a restart.
    pub waiting: usize,
    /// Jobs that were sent to a worker and are not known to have started.
    pub sent: usize,
    /// Jobs whose attempt is known to have started.
    pub running: usize,
    /// Of both, jobs that have a second attempt beside the first.
    pub doubled: usize,
    /// Jobs that wait for the end of an attempt that must not go on.
    pub cancelling: usize,
}

/// One registered worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Which.
    pub worker: WorkerId,
    /// Whether it is given jobs.
    pub state: WorkerState,
    /// Attempts that it can run at once.
    pub slots: u32,
    /// Attempts that are there, running or not; more than its slots when some are prefetched.
    pub held: u32,
    /// Bytes of its memory that are reserved for them.
    pub reserved: u64,
    /// Directories for which it is believed to be warm.
    pub warm_dirs: usize,
    /// How fast jobs are believed to run there: what it said of itself, and what they took.
    pub pace: Speed,
}

/// Whether a worker is given jobs, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Connected.
    Up,
    /// Connected, and takes no more.
    Draining,
    /// Not connected; lost when its lease runs out.
    Silent,
    /// Connected, and given nothing for a while because it failed what others do.
    Benched,
    /// Connected, and given one job at a time until it has done one, because it was benched.
    OnProbation,
}

impl Scheduler {
    /// What the scheduler believes now. Looks at every job and worker: meant for people and metrics, not for loops.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let workers = self.workers.iter().map(|(id, worker)| self.status(id, worker)).collect();
        let mut snapshot = Snapshot { workers, doubled: self.seconds.len(), ..Snapshot::default() };
        for (_, job) in self.jobs.iter() {
            match job.state() {
                JobState::AwaitingAdoption | JobState::Waiting => snapshot.waiting += 1,
                JobState::Held(hold) if hold.progress == Progress::Started => snapshot.running += 1,
                JobState::Held(_) => snapshot.sent += 1,
                JobState::Cancelling { .. } => snapshot.cancelling += 1,
            }
        }
        snapshot
    }

    fn status(&self, id: WorkerId, worker: &Worker) -> WorkerStatus {
        let state = match worker.liveness {
            Liveness::Silent => WorkerState::Silent,
            Liveness::Up if worker.draining => WorkerState::Draining,
            Liveness::Up if worker.health.is_benched() => WorkerState::Benched,
            Liveness::Up if worker.is_on_probation() => WorkerState::OnProbation,
            Liveness::Up => WorkerState::Up,
        };
        let warm_dirs = self.affinity.count(id);
        WorkerStatus {
            worker: id,
            state,
            slots: worker.slots(),
            held: worker.held(),
            reserved: worker.reserved(),
            warm_dirs,
            pace: worker.pace.speed(),
        }
    }
}
