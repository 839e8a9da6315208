//! Patience: a long job does not take a slow worker's idle slot at once. Where slots are many, a faster one falls free
//! within a fraction of what the job would lose, and one long job on a slow worker is what a whole build then waits for.
//!
//! The wait is bounded by [`crate::Config::patience`], counted from the job's arrival, and the slot is not kept from
//! anybody else: whoever loses less there goes first, and whoever stands behind a patient job of the same demands no
//! longer than that.

use core::time::Duration;

use model::ids::{JobId, WorkerId};

use crate::jobs::Job;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// How many times its patience a job must lose on a slow worker to wait for a faster one.
const GAIN: u32 = 8;

/// So many jobs may be patient at a time: every step looks at them again while a slot is idle beside them.
const MOST: usize = 2;

/// Jobs that were found to be patient in a step: those behind them that make the same demands in the same build are not
/// asked either.
#[derive(Debug, Default)]
pub(crate) struct Patient {
    jobs: [Option<JobId>; MOST],
    count: usize,
}

impl Patient {
    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs[..self.count].contains(&Some(job))
    }

    /// Whether no more may be patient.
    pub(crate) fn is_full(&self) -> bool {
        self.count == MOST
    }

    fn push(&mut self, job: JobId) {
        self.jobs[self.count] = Some(job);
        self.count += 1;
    }
}

impl Scheduler {
    /// Whether the job had better wait for a faster worker than this one.
    pub(crate) fn is_patient(&self, job: &Job, worker: WorkerId) -> bool {
        // What is not even that long loses less than eight times as much: no worker is so slow.
        job.prediction.duration > self.config.patience
            && self.loss(job, worker).is_some_and(|loss| self.is_patient_for(job, loss))
    }

    /// Whether a job that loses so much on a worker had better wait for a faster one.
    pub(crate) fn is_patient_for(&self, job: &Job, loss: Duration) -> bool {
        let patience = self.config.patience;
        job.prediction.duration > patience
            && loss >= patience * GAIN
            && self.now.since(job.arrived) < patience
            && job.place.is_some_and(|place| self.queue.may_be_passed(&place, self.now))
    }

    /// Whether a patient job of the same build and demands has the turn before this one, which has not waited long either.
    pub(crate) fn stands_behind_patient(&self, job: &Job, worker: WorkerId) -> bool {
        let before = job.place.into_iter().flat_map(|place| self.queue.before_in_lane(place));
        let mut before = before.filter_map(|id| self.jobs.get(id));
        self.now.since(job.arrived) < self.config.patience && before.any(|other| self.is_patient(other, worker))
    }

    /// Who takes the slot of a worker that is too slow for the job whose turn it is, which would lose so much there: the
    /// longest that loses little, or one that has stood behind others for too long.
    pub(crate) fn instead_of_patient(&self, job: &Job, loss: Duration) -> Option<JobId> {
        let place = job.place?;
        // What is lost goes with the length.
        let [length, bearable, loss] =
            [job.prediction.duration, self.config.patience * GAIN, loss].map(|time| time.as_micros());
        let little = u64::try_from(length * bearable / loss.max(1)).unwrap_or(u64::MAX);
        self.queue.shorter_or_since(&place, Duration::from_micros(little), self.now, self.config.patience)
    }

    /// The step in which the job's patience is over comes by itself.
    pub(crate) fn wait_for_faster(&mut self, id: JobId, patient: &mut Patient) {
        if let Some(job) = self.jobs.get(id) {
            self.timers.set_no_later(Timer::Patience, job.arrived + self.config.patience);
            patient.push(id);
        }
    }
}
