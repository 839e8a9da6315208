//! What workers tell about themselves: that they are there, what they hold, how they fare, that they go.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::{Attempt, DirKey, JobId, WorkerId};
use model::outcome::AttemptFailure;

use crate::action::Action;
use crate::explain::{Placement, PlacementKind};
use crate::input::{Commit, HeldAttempt, WorkerFacts, WorkerLoad};
use crate::jobs::{Hold, Job, JobState, Next, Past, Progress};
use crate::scheduler::Scheduler;
use crate::timers::Timer;
use crate::workers::table::Liveness;

impl Scheduler {
    pub(crate) fn on_worker_registered(
        &mut self,
        id: WorkerId,
        facts: WorkerFacts,
        holding: &[HeldAttempt],
        out: &mut Vec<Action>,
    ) {
        let incarnation = facts.incarnation;
        let (new_group, gone_group) = self.workers.register(id, facts.within_reason());
        for group in new_group.into_iter().chain(gone_group) {
            self.reopen_all();
            self.classes.on_group_changed(group, &self.workers);
        }
        self.on_heard_from(id);
        self.classes.on_fleet_changed(&self.workers);
        self.postpone_permits();
        self.reconcile(id, holding, out);
        self.on_awaited_registered(incarnation, out);
        self.permit_again(out);
        self.refresh_spare(id);
    }

    pub(crate) fn on_worker_alive(&mut self, id: WorkerId, load: WorkerLoad) {
        if self.workers.get(id).is_some() {
            self.workers.update(id, |worker| worker.load = load);
            self.on_heard_from(id);
        }
    }

    pub(crate) fn on_worker_warmth(&mut self, id: WorkerId, dirs: &[DirKey]) {
        if self.workers.get(id).is_none() {
            return;
        }
        self.affinity.replace(id, dirs);
        // What it was given since it wrote the report is going to be warm too.
        for attempt in self.holdings.of_worker(id) {
            if let Some(job) = self.jobs.get(attempt.job) {
                self.affinity.visit(id, &job.facts.dirs);
            }
        }
    }

    /// The lease goes on running from when the worker was last heard from.
    pub(crate) fn on_worker_disconnected(&mut self, id: WorkerId) {
        if self.is_up(id) {
            self.workers.update(id, |worker| worker.liveness = Liveness::Silent);
            self.refresh_spare(id);
            self.note_loss();
            self.suspect_all_of(id);
        }
    }

    pub(crate) fn on_worker_draining(&mut self, id: WorkerId) {
        if self.workers.get(id).is_some_and(|worker| !worker.draining) {
            self.workers.update(id, |worker| worker.draining = true);
            self.refresh_spare(id);
            self.classes.on_fleet_changed(&self.workers);
            self.note_loss();
        }
    }

    pub(crate) fn on_worker_resumed(&mut self, id: WorkerId) {
        if self.workers.get(id).is_some_and(|worker| worker.draining) {
            self.workers.update(id, |worker| worker.draining = false);
            self.refresh_spare(id);
            self.classes.on_fleet_changed(&self.workers);
        }
    }

    /// Nothing of this worker runs any more: it said so, or its lease is over and it has killed what it ran.
    pub(crate) fn lose_worker(&mut self, id: WorkerId, out: &mut Vec<Action>) {
        let Some((worker, gone_group)) = self.workers.remove(id) else { return };
        self.timers.clear(Timer::Lease(id));
        self.timers.clear(Timer::BenchOver(id));
        self.strike_spare(id, worker.spare);
        self.changed.retain(|&other| other != id);
        if let Some(group) = gone_group {
            self.reopen_all();
            self.classes.on_group_changed(group, &self.workers);
        }
        self.classes.on_fleet_changed(&self.workers);
        if let Some(class) = worker.kept_for {
            self.stop_keeping(class);
        }
        self.affinity.forget(id);
        self.note_loss();
        // First: what follows counts on its being gone.
        out.push(Action::ForgetWorker { worker: id });
        for attempt in self.holdings.of_worker(id).collect::<Vec<_>>() {
            self.on_attempt_lost(id, attempt, AttemptFailure::WorkerLost, out);
        }
        self.holdings.forget(id);
    }

    /// A job that nobody can take waits from now for somebody to come (back).
    pub(crate) fn note_loss(&mut self) {
        self.last_loss = self.now;
        self.timers.set(Timer::FleetGraceOver, self.now + self.config.fleet_grace);
    }

    pub(crate) fn is_up(&self, id: WorkerId) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.liveness == Liveness::Up)
    }

    /// This attempt, which a worker has, is the job's current one from now on; others must end.
    pub(crate) fn adopt(&mut self, job: JobId, worker: WorkerId, number: u32, out: &mut Vec<Action>) {
        self.unqueue(job);
        let placement = Placement { kind: PlacementKind::Adopted, ..Placement::default() };
        self.jobs.move_to(job, JobState::Held(Hold { worker, number, progress: Progress::Unsure, placement }));
        self.refresh_spare(worker);
        self.cancel_all_but(job, Some((number, worker)), out);
        self.permit_if_safe(job, out);
        if self.stopping {
            self.recall_for_stop(job, out);
        }
    }

    fn on_heard_from(&mut self, id: WorkerId) {
        self.timers.set(Timer::Lease(id), self.now + self.config.lease);
    }

    /// Compares what a worker says it holds with what we believed, and believes the worker.
    fn reconcile(&mut self, id: WorkerId, holding: &[HeldAttempt], out: &mut Vec<Action>) {
        let holding: BTreeMap<_, _> = holding.iter().map(|held| (held.attempt, held.commit)).collect();
        for attempt in self.holdings.of_worker(id).collect::<Vec<_>>() {
            match holding.get(&attempt) {
                Some(&commit) => self.on_still_held(id, attempt, commit, out),
                None => self.on_missing(id, attempt, out),
            }
        }
        for (attempt, commit) in holding {
            if !self.jobs.has_attempt(id, attempt) {
                self.on_found(id, attempt, commit, out);
            }
        }
    }

    /// We were right; but what was said while the connection broke may be lost.
    fn on_still_held(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit, out: &mut Vec<Action>) {
        if self.audits.is_shadow(attempt.job) {
            return; // It has no permission to lose, whatever is said of it.
        }
        // What it knows; a permission that was lost on its way is given anew, if it still can be.
        self.jobs.set_commit(worker, attempt, commit);
        self.permit_if_safe(attempt.job, out);
        if self.jobs.is_cancelled(worker, attempt) {
            out.push(Action::Cancel { worker, attempt });
            return;
        }
        if let Some(second) = self.seconds.get(attempt.job).filter(|hold| hold.is(worker, attempt)) {
            if commit == Commit::WhenDone {
                // It must not: it has not been told, and yet it says so.
                self.seconds.remove(attempt.job);
                let first = self.jobs.get(attempt.job).and_then(Job::hold).map(|hold| (hold.number, hold.worker));
                self.cancel_all_but(attempt.job, first, out);
            } else if second.progress == Progress::Sent {
                self.seconds.on_progress(attempt.job, Progress::Unsure);
            }
            return;
        }
        let Some(hold) = self.jobs.get(attempt.job).and_then(Job::hold) else { return };
        self.clear_recall(attempt.job);
        if hold.progress == Progress::Sent {
            self.jobs.move_to(attempt.job, JobState::Held(Hold { progress: Progress::Unsure, ..hold }));
        }
        if self.stopping {
            self.recall_for_stop(attempt.job, out);
        }
    }

    /// The worker never got it, and then it is as good as handed back; or it lost it.
    fn on_missing(&mut self, worker: WorkerId, attempt: Attempt, out: &mut Vec<Action>) {
        let second = self.seconds.get(attempt.job).filter(|hold| hold.is(worker, attempt));
        let hold = second.or_else(|| self.jobs.get(attempt.job).and_then(Job::hold));
        let never_arrived = hold.is_some_and(|hold| hold.is(worker, attempt) && hold.progress == Progress::Sent);
        let failure = if never_arrived { AttemptFailure::HandedBack } else { AttemptFailure::WorkerLost };
        self.on_attempt_lost(worker, attempt, failure, out);
    }

    /// The worker has something that this server did not give it: work of an earlier server, or of an earlier lease.
    fn on_found(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit, out: &mut Vec<Action>) {
        self.put_attempt(worker, attempt, commit);
        self.workers.excuse(worker);
        let id = attempt.job;
        if self.audits.is_shadow(id) {
            // An earlier server sent it, for an audit that is over: it goes, and that of this server stays.
            self.jobs.mark_cancelled(worker, attempt);
            out.push(Action::Cancel { worker, attempt });
            return;
        }
        if let Some(Past::Answered(receipt)) = self.jobs.past(id) {
            if let Some(finished) = self.retention.get_mut(receipt) {
                finished.last_number = finished.last_number.max(attempt.number);
            }
            return self.cancel_all_but(id, None, out);
        }
        let Some(job) = self.jobs.get_mut(id) else {
            self.timers.set(Timer::Orphan(id), self.now + self.config.lease.saturating_mul(2));
            return;
        };
        job.last_number = job.last_number.max(attempt.number);
        match job.state().clone() {
            JobState::AwaitingAdoption | JobState::Waiting => self.adopt(id, worker, attempt.number, out),
            // What failed was an older attempt, and this is the one that followed it.
            JobState::Cancelling { next: Next::Queue { .. } } if self.jobs.attempts_of(id).count() == 1 => {
                self.adopt(id, worker, attempt.number, out);
            }
            JobState::Held(hold) => {
                let (current, held) = ((hold.number, hold.worker), hold.attempt(id));
                // Who may commit goes before who may not.
                if commit == Commit::WhenDone && self.jobs.awaits_permission(hold.worker, held) {
                    return self.adopt(id, worker, attempt.number, out);
                }
                self.seconds.remove(id);
                self.cancel_all_but(id, Some(current), out);
            }
            JobState::Cancelling { .. } => self.cancel_all_but(id, None, out),
        }
    }
}
