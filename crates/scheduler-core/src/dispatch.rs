//! Who gets what: idle slots first, then prefetch and batches, then taking back for slots that stay idle.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use model::ids::{Attempt, JobId, WorkerId};
use model::job::JobKind;

use crate::action::{Action, LocalReason, Unmet};
use crate::jobs::{Hold, Job, JobState, Next, Progress};
use crate::placement::{self, Candidate};
use crate::queue::ready::Readiness;
use crate::scheduler::Scheduler;
use crate::timers::Timer;
use crate::workers::ClassId;

/// Candidates laid before the ranking, from each side: so many by warmth, so many by room.
const MAX_CANDIDATES: usize = 32;
/// Directories of a job that are asked for warm workers.
const MAX_DIRS: usize = 8;
/// Warm workers looked at for one directory, busy ones included.
const MAX_WARM: usize = 128;

/// What goes to each worker in this step, in one message.
type Sending = BTreeMap<WorkerId, Vec<Attempt>>;

impl Scheduler {
    /// Gives out what can be given out. Afterwards no job waits that a worker with an idle slot could take.
    pub(crate) fn place_ready_jobs(&mut self, out: &mut Vec<Action>) {
        let mut sending = Sending::new();
        self.fill_idle_slots(&mut sending);
        self.send_ahead(&mut sending);
        out.extend(sending.into_iter().map(|(worker, attempts)| Action::Assign { worker, attempts }));
        self.recall_for_idle_slots(out);
    }

    /// Jobs that no registered worker can take go home once the fleet has had its time to come back.
    pub(crate) fn send_stranded_home(&mut self, out: &mut Vec<Action>) {
        if self.queue.is_empty() || self.now < self.last_loss + self.config.fleet_grace {
            return;
        }
        let stranded: Vec<_> = self.classes.stranded().collect();
        for id in stranded.into_iter().flat_map(|class| self.queue.of_class(class)).collect::<Vec<_>>() {
            let reason = self.why_stranded(id);
            self.unqueue(id);
            self.settle(id, Next::SendHome(reason), out);
        }
    }

    pub(crate) fn enqueue(&mut self, id: JobId, in_front: bool) {
        self.jobs.move_to(id, JobState::Waiting);
        let Some(job) = self.jobs.get(id) else { return };
        self.queue.push(id, &job.facts, job.class, in_front);
        if in_front {
            self.queue.ripen(id);
        } else if job.facts.batch.size > 1 && self.config.prefetch > 0 {
            self.timers.set(Timer::Company(id), self.now + job.facts.batch.timeout);
        }
    }

    /// Takes a job out of the queue, if it is there, without giving it to anybody.
    pub(crate) fn unqueue(&mut self, id: JobId) {
        self.timers.clear(Timer::Company(id));
        self.queue.remove(id);
    }

    fn fill_idle_slots(&mut self, sending: &mut Sending) {
        // A class that found nobody idle finds nobody for the rest of the step.
        let mut closed = BTreeSet::new();
        while self.workers.idle().len() > 0 {
            let next = self.queue.next(Readiness::Any, |class| self.is_open(&mut closed, class, Self::first_idle));
            let Some(id) = next else { break };
            let Some(worker) = self.best_idle(id) else { break };
            self.assign(id, worker, sending);
        }
    }

    /// Prefetch: sends workers more than they can start, so that a slot that falls free need not ask.
    fn send_ahead(&mut self, sending: &mut Sending) {
        let mut closed = BTreeSet::new();
        while self.workers.roomy().len() > 0 {
            let next = self.queue.next(Readiness::Ripe, |class| self.is_open(&mut closed, class, Self::first_roomy));
            let Some(id) = next else { break };
            let Some(job) = self.jobs.get(id) else { break };
            let (class, size) = (job.class, job.facts.batch.size.max(1));
            let Some(worker) = self.first_roomy(class) else { break };
            let room = self.room_for_batch(worker, size);
            let company = self.queue.company_of(id, room.saturating_sub(1));
            self.assign(id, worker, sending);
            company.into_iter().for_each(|other| self.assign(other, worker, sending));
        }
    }

    fn is_open(
        &self,
        closed: &mut BTreeSet<ClassId>,
        class: ClassId,
        first: impl Fn(&Self, ClassId) -> Option<WorkerId>,
    ) -> bool {
        if closed.contains(&class) {
            return false;
        }
        let open = first(self, class).is_some();
        if !open {
            closed.insert(class);
        }
        open
    }

    /// Some worker that could start a job of this class at once.
    fn first_idle(&self, class: ClassId) -> Option<WorkerId> {
        let able = self.classes.able(class)?;
        if able.len() < self.workers.idle().len() {
            able.iter().copied().find(|&worker| self.workers.get(worker).is_some_and(|worker| worker.idle() > 0))
        } else {
            self.workers.idle().find(|worker| able.contains(worker))
        }
    }

    /// The worker with least to do for its size that may be sent a job of this class ahead.
    fn first_roomy(&self, class: ClassId) -> Option<WorkerId> {
        let able = self.classes.able(class)?;
        if able.len() < self.workers.roomy().len() {
            self.workers.first_roomy_of(able)
        } else {
            self.workers.roomy().find(|worker| able.contains(worker))
        }
    }

    /// How many jobs of a batch of this size may go to a worker that has room for at least one.
    fn room_for_batch(&self, worker: WorkerId, size: u32) -> usize {
        let Some(worker) = self.workers.get(worker) else { return 0 };
        let limit = worker.slots().saturating_add(self.config.prefetch.max(size));
        limit.saturating_sub(worker.held()).min(size) as usize
    }

    fn best_idle(&self, id: JobId) -> Option<WorkerId> {
        let job = self.jobs.get(id)?;
        let able = self.classes.able(job.class)?;
        let is_free = |worker: WorkerId| self.workers.get(worker).is_some_and(|worker| worker.idle() > 0);
        let by_dir = job.facts.dirs.iter().take(MAX_DIRS);
        let warm = by_dir.flat_map(|&dir| self.affinity.warm_for(dir).take(MAX_WARM));
        let warm = warm.filter(|&worker| able.contains(&worker) && is_free(worker)).take(MAX_CANDIDATES);
        let roomy = self.workers.idle().filter(|worker| able.contains(worker)).take(MAX_CANDIDATES);
        let candidates = warm.chain(roomy).filter_map(|worker| self.candidate(job, worker));
        placement::best(job.facts.kind == JobKind::Link, candidates)
    }

    fn candidate(&self, job: &Job, id: WorkerId) -> Option<Candidate> {
        let worker = self.workers.get(id)?;
        Some(Candidate {
            worker: id,
            warmth: self.affinity.warmth(id, &job.facts.dirs),
            idle: worker.idle(),
            foreign_load: worker.load.foreign_load_centi,
            memory: worker.memory(),
        })
    }

    fn assign(&mut self, id: JobId, worker: WorkerId, sending: &mut Sending) {
        self.queue.serve(id);
        self.timers.clear(Timer::Company(id));
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.last_number += 1;
        let hold = Hold { worker, number: job.last_number, progress: Progress::Sent };
        job.facts.dirs.iter().rev().for_each(|&dir| self.affinity.touch(worker, dir));
        self.jobs.move_to(id, JobState::Held(hold));
        self.put_attempt(worker, hold.attempt(id));
        sending.entry(worker).or_default().push(hold.attempt(id));
    }

    /// Slots are idle and nothing waits for them: takes back what can only wait elsewhere, the last sent first.
    fn recall_for_idle_slots(&mut self, out: &mut Vec<Action>) {
        if self.workers.idle().len() == 0 {
            return;
        }
        let mut closed = BTreeSet::new();
        for victim in self.workers.surplus().collect::<Vec<_>>() {
            let Some(worker) = self.workers.get(victim).filter(|worker| !worker.draining) else { continue };
            if self.recalls.asked_of(victim) >= worker.surplus() {
                continue;
            }
            let spare = worker.surplus() as usize;
            // Those asked back already use up the surplus too.
            let waiting: Vec<_> = self.waiting_at(victim).take(spare).collect();
            for (id, class) in waiting {
                if self.recalls.is_asked(id) || !self.is_open(&mut closed, class, Self::first_expecting_nothing) {
                    continue;
                }
                self.recall(id, class, out);
            }
        }
    }

    fn recall(&mut self, id: JobId, class: ClassId, out: &mut Vec<Action>) {
        let idle_worker = self.first_expecting_nothing(class);
        let Some(hold) = self.jobs.get(id).and_then(Job::hold) else { return };
        self.recalls.add(id, hold.worker, idle_worker);
        out.push(Action::Recall { worker: hold.worker, attempt: hold.attempt(id) });
    }

    /// The current attempts at a worker that have not started as far as we know, the last sent first.
    fn waiting_at(&self, worker: WorkerId) -> impl Iterator<Item = (JobId, ClassId)> + '_ {
        self.holdings.of_worker(worker).iter().rev().filter_map(move |&attempt| {
            let job = self.jobs.get(attempt.job)?;
            let hold = job.hold().filter(|hold| hold.is(worker, attempt) && hold.progress != Progress::Started)?;
            Some((hold.attempt(attempt.job).job, job.class))
        })
    }

    /// A worker that could start a job of this class at once and for which nothing is on its way back.
    fn first_expecting_nothing(&self, class: ClassId) -> Option<WorkerId> {
        let able = self.classes.able(class)?;
        let is_expecting =
            |id: WorkerId| self.workers.get(id).is_none_or(|worker| worker.idle() <= self.recalls.due(id));
        self.workers.idle().find(|&worker| able.contains(&worker) && !is_expecting(worker))
    }

    /// What nobody has that the job needs; or that those who have it have failed it.
    fn why_stranded(&self, id: JobId) -> LocalReason {
        let Some(job) = self.jobs.get(id) else { return LocalReason::NoEligibleWorker(Unmet::NoWorkers) };
        let Some(demand) = self.classes.demand(job.class) else {
            return LocalReason::NoEligibleWorker(Unmet::NoWorkers);
        };
        let unmet = |facts| demand.unmet_by(facts).unwrap_or(Unmet::Exhausted);
        let best = self.workers.iter().map(|(_, worker)| unmet(&worker.facts)).max();
        let was_tried = demand.avoid.iter().any(|&worker| self.workers.get(worker).is_some());
        match (best, &job.last_failure) {
            (Some(Unmet::Exhausted), Some(failure)) if was_tried => LocalReason::AttemptsExhausted(failure.clone()),
            (best, _) => LocalReason::NoEligibleWorker(best.unwrap_or(Unmet::NoWorkers)),
        }
    }
}
