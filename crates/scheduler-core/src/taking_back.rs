//! Slots are idle and nothing waits for them: takes back what can only wait elsewhere, the last sent first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};

use crate::action::Action;
use crate::jobs::{Job, Progress};
use crate::scheduler::Scheduler;
use crate::workers::ClassId;
use crate::workers::table::Liveness;

/// Idle workers looked at for one that nothing is on its way to, in one step.
const MAX_LOOKS: usize = 64;

/// Workers with attempts to spare, by the class of the one that would be taken back first.
pub(crate) type Spare = BTreeMap<ClassId, BTreeSet<WorkerId>>;

impl Scheduler {
    pub(crate) fn recall_for_idle_slots(&mut self, out: &mut Vec<Action>) {
        if self.workers.idle() == 0 {
            return;
        }
        self.list_spare();
        for class in self.spare.keys().copied().collect::<Vec<_>>() {
            while let Some(idle_worker) = self.first_expecting_nothing(class) {
                let Some(&victim) = self.spare.get(&class).and_then(BTreeSet::first) else { break };
                let Some((id, _)) = self.next_spare(victim) else { break };
                self.recall(id, Some(idle_worker), out);
                self.list_spare();
            }
        }
    }

    /// Asks an attempt back, for an idle worker or for none in particular.
    pub(crate) fn recall(&mut self, id: JobId, idle_worker: Option<WorkerId>, out: &mut Vec<Action>) {
        let Some(hold) = self.jobs.get(id).and_then(Job::hold) else { return };
        self.recalls.add(id, hold.worker, idle_worker);
        self.refresh_spare(hold.worker);
        out.push(Action::Recall { worker: hold.worker, attempt: hold.attempt(id) });
    }

    /// The recall was answered, or there is nothing to hand back any more.
    pub(crate) fn clear_recall(&mut self, id: JobId) {
        if let Some(holder) = self.recalls.clear(id) {
            self.refresh_spare(holder);
        }
    }

    /// Something changed about what the worker holds. What it has to spare is asked for when a slot is idle, and not
    /// before: in a busy cluster never.
    pub(crate) fn refresh_spare(&mut self, worker: WorkerId) {
        if self.workers.note_change(worker) {
            self.changed.push(worker);
        }
    }

    /// Lists what the workers have to spare that changed since the last time.
    fn list_spare(&mut self) {
        while let Some(worker) = self.changed.pop() {
            self.workers.forget_change(worker);
            self.relist_spare(worker);
        }
    }

    fn relist_spare(&mut self, worker: WorkerId) {
        let before = self.workers.get(worker).and_then(|worker| worker.spare);
        let after = self.next_spare(worker).map(|(_, class)| class);
        if before == after {
            return;
        }
        self.workers.set_spare(worker, after);
        self.strike_spare(worker, before);
        if let Some(class) = after {
            self.spare.entry(class).or_default().insert(worker);
        }
    }

    /// The worker, which had something of this class to spare, is not listed for it any more.
    pub(crate) fn strike_spare(&mut self, worker: WorkerId, class: Option<ClassId>) {
        let Some(class) = class else { return };
        let Some(workers) = self.spare.get_mut(&class) else { return };
        workers.remove(&worker);
        if workers.is_empty() {
            self.spare.remove(&class);
        }
    }

    /// The attempts at a worker that were not heard to start and not asked back, the last sent first.
    pub(crate) fn unstarted_at(&self, worker: WorkerId) -> impl Iterator<Item = (JobId, ClassId)> + '_ {
        self.holdings.of_worker(worker).iter().rev().filter_map(move |&attempt| {
            let job = self.jobs.get(attempt.job)?;
            job.hold().filter(|hold| hold.is(worker, attempt) && hold.progress != Progress::Started)?;
            let class = job.class.filter(|_| !self.recalls.is_asked(attempt.job))?;
            Some((attempt.job, class))
        })
    }

    /// What would be taken back from this worker next: those asked back already use up its surplus too.
    pub(crate) fn next_spare(&self, id: WorkerId) -> Option<(JobId, ClassId)> {
        let worker = self.workers.get(id)?;
        let has_spare = worker.liveness == Liveness::Up && !worker.draining;
        if !has_spare || worker.surplus() <= self.recalls.asked_of(id) {
            return None;
        }
        self.unstarted_at(id).next()
    }

    /// A worker that could start a job of this class at once and for which nothing is on its way back.
    fn first_expecting_nothing(&self, class: ClassId) -> Option<WorkerId> {
        let demand = self.classes.demand(class)?;
        let is_free = |&id: &WorkerId| {
            self.workers.get(id).is_some_and(|worker| worker.idle() > self.recalls.due(id))
                && self.could_start(class, id)
        };
        self.classes.groups(class, &self.workers).find_map(|group| {
            let by_memory = group.by_free_memory(demand).take(MAX_LOOKS);
            group.idle().take(MAX_LOOKS).chain(by_memory.filter(|_| demand.memory > 0)).find(is_free)
        })
    }
}
