//! Attempts that were asked back, and for whom: so that an idle slot has at most one of them on its way.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};

/// The recalls not yet answered.
#[derive(Debug, Default)]
pub(crate) struct Recalls {
    /// Of whom, and for which idle worker, or for none: the server is stopping.
    asked: BTreeMap<JobId, (WorkerId, Option<WorkerId>)>,
    asked_of: BTreeMap<WorkerId, u32>,
    due: BTreeMap<WorkerId, u32>,
    /// Idle workers for which less is on its way than before, and who were not looked at since.
    freed: Vec<WorkerId>,
}

impl Recalls {
    pub(crate) fn add(&mut self, job: JobId, holder: WorkerId, idle_worker: Option<WorkerId>) {
        self.clear(job);
        self.asked.insert(job, (holder, idle_worker));
        *self.asked_of.entry(holder).or_default() += 1;
        if let Some(worker) = idle_worker {
            *self.due.entry(worker).or_default() += 1;
        }
    }

    /// The recall was answered, or there is nothing to hand back any more. Says of whom it was asked.
    pub(crate) fn clear(&mut self, job: JobId) -> Option<WorkerId> {
        let (holder, idle_worker) = self.asked.remove(&job)?;
        count_down(&mut self.asked_of, holder);
        if let Some(worker) = idle_worker {
            count_down(&mut self.due, worker);
            self.freed.push(worker);
        }
        Some(holder)
    }

    /// One of the workers for which less is on its way than before; each change is told once.
    pub(crate) fn pop_freed(&mut self) -> Option<WorkerId> {
        self.freed.pop()
    }

    pub(crate) fn is_asked(&self, job: JobId) -> bool {
        self.asked.contains_key(&job)
    }

    /// How many attempts this worker was asked for.
    pub(crate) fn asked_of(&self, worker: WorkerId) -> u32 {
        self.asked_of.get(&worker).copied().unwrap_or(0)
    }

    /// How many attempts are on their way back for this worker.
    pub(crate) fn due(&self, worker: WorkerId) -> u32 {
        self.due.get(&worker).copied().unwrap_or(0)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.asked.keys().copied()
    }
}

fn count_down(counts: &mut BTreeMap<WorkerId, u32>, worker: WorkerId) {
    let Some(count) = counts.get_mut(&worker) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(&worker);
    }
}
