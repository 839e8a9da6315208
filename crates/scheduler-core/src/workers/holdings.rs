//! Which attempts are at which worker, as far as we know: sent and not ended, or named by the worker when it
//! registered. Whatever stands here may be executing, and a job with an attempt here gets no other.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::{Attempt, JobId, WorkerId};

/// An attempt's number and its worker: after a restart of the server two workers may hold the same number.
pub(crate) type Live = (u32, WorkerId);

/// Attempts at workers, by job and by worker.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// The value says whether a Cancel was ordered.
    by_job: BTreeMap<JobId, BTreeMap<Live, bool>>,
    /// In the order of their being sent.
    by_worker: BTreeMap<WorkerId, Vec<Attempt>>,
}

impl Holdings {
    pub(crate) fn add(&mut self, worker: WorkerId, attempt: Attempt) {
        if !self.contains(worker, attempt) {
            self.by_job.entry(attempt.job).or_default().insert((attempt.number, worker), false);
            self.by_worker.entry(worker).or_default().push(attempt);
        }
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, worker: WorkerId, attempt: Attempt) -> bool {
        let Some(live) = self.by_job.get_mut(&attempt.job) else { return false };
        if live.remove(&(attempt.number, worker)).is_none() {
            return false;
        }
        if live.is_empty() {
            self.by_job.remove(&attempt.job);
        }
        if let Some(held) = self.by_worker.get_mut(&worker) {
            held.retain(|other| *other != attempt);
            if held.is_empty() {
                self.by_worker.remove(&worker);
            }
        }
        true
    }

    /// Notes that this attempt was cancelled; whether that is news.
    pub(crate) fn mark_cancelled(&mut self, worker: WorkerId, attempt: Attempt) -> bool {
        let live = self.by_job.get_mut(&attempt.job).and_then(|live| live.get_mut(&(attempt.number, worker)));
        live.is_some_and(|cancelled| !core::mem::replace(cancelled, true))
    }

    pub(crate) fn is_cancelled(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.by_job.get(&attempt.job).and_then(|live| live.get(&(attempt.number, worker))).is_some_and(|c| *c)
    }

    pub(crate) fn contains(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.by_job.get(&attempt.job).is_some_and(|live| live.contains_key(&(attempt.number, worker)))
    }

    /// The attempts of a job that may be executing, by number, and whether a Cancel was ordered for each.
    pub(crate) fn of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = (Live, bool)> + '_ {
        self.by_job.get(&job).into_iter().flatten().map(|(&live, &cancelled)| (live, cancelled))
    }

    pub(crate) fn has_live(&self, job: JobId) -> bool {
        self.by_job.contains_key(&job)
    }

    /// What this worker was given, in the order of its being sent.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> &[Attempt] {
        self.by_worker.get(&worker).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn count(&self, worker: WorkerId) -> u32 {
        u32::try_from(self.of_worker(worker).len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.by_job.keys().copied()
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.by_worker.keys().copied()
    }

    /// The two views agree.
    pub(crate) fn check(&self) {
        let listed: usize = self.by_worker.values().map(Vec::len).sum();
        let indexed: usize = self.by_job.values().map(BTreeMap::len).sum();
        assert_eq!(listed, indexed, "attempts by worker and by job");
        for (&worker, held) in &self.by_worker {
            assert!(held.iter().all(|&attempt| self.contains(worker, attempt)), "{worker:?} holds {held:?}");
        }
    }
}
