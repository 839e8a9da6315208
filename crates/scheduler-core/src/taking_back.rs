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
#[derive(Debug, Default)]
pub(crate) struct Spare {
    by_class: BTreeMap<ClassId, BTreeSet<WorkerId>>,
    /// Those of the classes that somebody idle may be able to take: of the others it is known that nobody can now.
    open: BTreeSet<ClassId>,
}

impl Spare {
    fn insert(&mut self, class: ClassId, worker: WorkerId) {
        let workers = self.by_class.entry(class).or_default();
        if workers.is_empty() {
            self.open.insert(class);
        }
        workers.insert(worker);
    }

    /// Whether it was the last worker with something of the class to spare.
    fn remove(&mut self, class: ClassId, worker: WorkerId) -> bool {
        let Some(workers) = self.by_class.get_mut(&class) else { return false };
        workers.remove(&worker);
        let is_over = workers.is_empty();
        if is_over {
            self.by_class.remove(&class);
            self.open.remove(&class);
        }
        is_over
    }

    fn first(&self, class: ClassId) -> Option<WorkerId> {
        self.by_class.get(&class)?.first().copied()
    }

    /// Somebody idle may be able to take the class again.
    pub(crate) fn open(&mut self, class: ClassId) {
        if self.by_class.contains_key(&class) {
            self.open.insert(class);
        }
    }

    /// Nobody idle can take the class now. Whether that was not known.
    pub(crate) fn close(&mut self, class: ClassId) -> bool {
        self.open.remove(&class)
    }

    /// The classes that nobody idle can take now.
    pub(crate) fn closed(&self) -> impl Iterator<Item = &ClassId> {
        self.by_class.keys().filter(|class| !self.open.contains(class))
    }

    /// Which worker has something to spare of which class.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClassId, WorkerId)> + '_ {
        self.by_class.iter().flat_map(|(&class, workers)| workers.iter().map(move |&worker| (class, worker)))
    }
}

impl Scheduler {
    pub(crate) fn recall_for_idle_slots(&mut self, out: &mut Vec<Action>) {
        if self.workers.idle() == 0 {
            return;
        }
        self.list_spare();
        self.reopen_by_room();
        for class in self.spare.open.iter().copied().collect::<Vec<_>>() {
            self.recall_for_class(class, out);
        }
    }

    /// Opens what may be taken again: workers have got room, or less is on its way to them.
    pub(crate) fn reopen_by_room(&mut self) {
        while let Some(worker) = self.recalls.pop_freed() {
            self.workers.note_freed(worker);
        }
        self.reopen_by_gains();
    }

    /// Takes back what there is to spare of the class, as far as somebody idle can take it.
    fn recall_for_class(&mut self, class: ClassId, out: &mut Vec<Action>) {
        while let Some(idle_worker) = self.first_expecting_nothing(class) {
            let Some(victim) = self.spare.first(class) else { return };
            let Some((id, _)) = self.next_spare(victim) else { return };
            self.recall(id, Some(idle_worker), out);
            self.list_spare();
        }
        self.closings.looks += 1;
        if self.were_all_looked_at(class) {
            self.close_spare(class);
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
            self.spare.insert(class, worker);
        }
    }

    /// The worker, which had something of this class to spare, is not listed for it any more.
    pub(crate) fn strike_spare(&mut self, worker: WorkerId, class: Option<ClassId>) {
        if let Some(class) = class.filter(|&class| self.spare.remove(class, worker)) {
            self.forget_spare(class);
        }
    }

    /// The attempts at a worker that were not heard to start and not asked back, the last sent first.
    pub(crate) fn unstarted_at(&self, worker: WorkerId) -> impl Iterator<Item = (JobId, ClassId)> + '_ {
        self.holdings.of_worker(worker).rev().filter_map(move |attempt| {
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
    pub(crate) fn first_expecting_nothing(&self, class: ClassId) -> Option<WorkerId> {
        let demand = self.classes.demand(class)?;
        let is_free = |&id: &WorkerId| {
            self.workers.get(id).is_some_and(|worker| worker.idle() > self.recalls.due(id))
                && self.could_start(class, id)
        };
        // Where nobody idle has the memory, nobody need be asked.
        let mut groups = self.classes.groups(class, &self.workers).filter(|group| group.first_idle(demand).is_some());
        groups.find_map(|group| {
            let by_memory = group.by_free_memory(demand).take(MAX_LOOKS);
            group.idle().take(MAX_LOOKS).chain(by_memory.filter(|_| demand.memory > 0)).find(is_free)
        })
    }

    /// Whether a search for somebody idle for the class leaves nobody out.
    fn were_all_looked_at(&self, class: ClassId) -> bool {
        let Some(demand) = self.classes.demand(class) else { return true };
        self.classes.groups(class, &self.workers).all(|group| {
            let with_memory = || group.by_free_memory(demand).nth(MAX_LOOKS);
            group.idle().len() <= MAX_LOOKS || (demand.memory > 0 && with_memory().is_none())
        })
    }
}
