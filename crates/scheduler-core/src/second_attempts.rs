//! Second attempts beside first ones that go on: who gets one, where, and how one of the two comes to commit. At no
//! time may both. A first attempt that has to work in place gets none.
//!
//! A second attempt waits with its commit. It takes the first one's place when it is ready, or when the first has
//! failed; it is permitted when no other attempt of the job that may commit is at any worker.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use model::ids::{Attempt, JobId, WorkerId};
use model::job::JobKind;
use model::outcome::AttemptFailure;

use crate::action::Action;
use crate::dispatch::MAX_LOOKS;
use crate::explain::{Placement, PlacementKind};
use crate::input::Commit;
use crate::jobs::{Hold, Job, JobState, Next, Progress};
use crate::placement;
use crate::scheduler::Scheduler;
use crate::stragglers::Suspicion;

/// Workers that are compared for a second attempt, of each group.
const MAX_CANDIDATES: usize = 8;

/// The second attempts, by job.
#[derive(Debug, Default)]
pub(crate) struct SecondAttempts {
    of: BTreeMap<JobId, Hold>,
    /// Jobs for which to ask again whether a commit is safe, when a worker has said all that it holds.
    postponed: Option<BTreeSet<JobId>>,
}

impl SecondAttempts {
    pub(crate) fn get(&self, job: JobId) -> Option<Hold> {
        self.of.get(&job).copied()
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<Hold> {
        self.of.remove(&job)
    }

    pub(crate) fn on_progress(&mut self, job: JobId, progress: Progress) {
        if let Some(hold) = self.of.get_mut(&job) {
            hold.progress = progress;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, Hold)> + '_ {
        self.of.iter().map(|(&job, &hold)| (job, hold))
    }
}

impl Job {
    /// Whether executing it twice at once is harmless if neither is seen before it commits. What edits files in place
    /// would read what the other one commits.
    pub(crate) fn allows_second_attempt(&self) -> bool {
        self.facts.repeatable && self.facts.kind != JobKind::Archive && !self.inherited
    }
}

impl Scheduler {
    /// Gives idle slots that nobody waits for to jobs that need a second attempt, when it is time to look for them.
    pub(crate) fn make_second_attempts(&mut self, out: &mut Vec<Action>) {
        if self.is_gathering() || !self.stragglers.take_due() {
            return;
        }
        self.sift_stragglers();
        for (first, why) in self.stragglers.next_suspects(MAX_LOOKS) {
            if !self.needs_second(first, why) {
                self.stragglers.acquit(first);
                continue;
            }
            let place = if self.may_make_another() { self.place_second(first.job) } else { None };
            if let Some((worker, placement)) = place {
                self.stragglers.acquit(first);
                self.assign_second(first.job, worker, placement, out);
            }
        }
        self.look_for_stragglers_again();
    }

    /// The second attempt has come to its end: the first must go.
    pub(crate) fn on_attempt_ready(&mut self, worker: WorkerId, attempt: Attempt, out: &mut Vec<Action>) {
        if self.audits.is_shadow(attempt.job) {
            // Its worker takes it for a second attempt: it is older than audits, and would wait for ever.
            return self.drop_audit(attempt.job, out);
        }
        if self.seconds.get(attempt.job).is_some_and(|hold| hold.is(worker, attempt)) {
            self.seconds.on_progress(attempt.job, Progress::Started);
            self.promote(attempt.job, out);
        }
    }

    /// The second attempt takes the place of the first, which has ended or must; false if there is none.
    pub(crate) fn promote(&mut self, id: JobId, out: &mut Vec<Action>) -> bool {
        let Some(second) = self.seconds.remove(id) else { return false };
        self.clear_recall(id);
        let first = self.jobs.get(id).and_then(Job::hold);
        self.jobs.move_to(id, JobState::Held(second));
        self.cancel_all_but(id, Some((second.number, second.worker)), out);
        for holder in first.into_iter().chain([second]) {
            self.refresh_spare(holder.worker);
        }
        self.permit_if_safe(id, out);
        if self.stopping {
            self.recall_for_stop(id, out);
        }
        true
    }

    /// Lets the job's attempt commit if it waits for that and no other of the job may be committing. Those that wait too
    /// never get their permission.
    pub(crate) fn permit_if_safe(&mut self, id: JobId, out: &mut Vec<Action>) {
        if let Some(postponed) = &mut self.seconds.postponed {
            postponed.insert(id);
            return;
        }
        let Some(job) = self.jobs.get(id).filter(|job| !job.inherited) else { return };
        let Some(hold) = job.hold() else { return };
        let (worker, attempt) = (hold.worker, hold.attempt(id));
        if self.jobs.awaits_permission(worker, attempt) && self.jobs.only_it_may_commit(worker, attempt) {
            self.jobs.set_commit(worker, attempt, Commit::WhenDone);
            // A worker that is not connected says when it is what it has not heard.
            if self.is_up(worker) {
                out.push(Action::PermitCommit { worker, attempt });
            }
        }
    }

    /// Permits nothing until [`Scheduler::permit_again`]: more attempts may be named that may commit.
    pub(crate) fn postpone_permits(&mut self) {
        self.seconds.postponed = Some(BTreeSet::new());
    }

    pub(crate) fn permit_again(&mut self, out: &mut Vec<Action>) {
        let postponed = self.seconds.postponed.take();
        postponed.into_iter().flatten().for_each(|id| self.permit_if_safe(id, out));
    }

    /// The second attempt ended without an outcome, or is lost: the first goes on as if it had never been. The worker
    /// is blamed as always.
    pub(crate) fn on_second_failed(
        &mut self,
        id: JobId,
        second: Hold,
        failure: &AttemptFailure,
        out: &mut Vec<Action>,
    ) {
        self.seconds.remove(id);
        self.blame(id, second.worker, failure, out);
        self.learn_from(id, second.worker, failure);
        if *failure == AttemptFailure::WorkerLost
            && second.progress != Progress::Sent
            && let Some(job) = self.jobs.get_mut(id)
        {
            job.troubles_mut().losses += 1;
        }
    }

    /// An attempt that had to end has ended, and its job goes on with another. If it was faster than its cancellation,
    /// its outcome is as good as the other's, which never may commit then.
    pub(crate) fn on_predecessor_ended(&mut self, attempt: Attempt, is_done: bool, out: &mut Vec<Action>) {
        let id = attempt.job;
        let Some(hold) = self.jobs.get(id).and_then(Job::hold) else { return };
        if is_done && self.jobs.awaits_permission(hold.worker, hold.attempt(id)) {
            self.settle(id, Next::Complete(attempt.number), out);
        } else {
            self.permit_if_safe(id, out);
        }
    }

    fn needs_second(&self, first: Attempt, why: Suspicion) -> bool {
        let Some(job) = self.jobs.get(first.job) else { return false };
        let Some(hold) = job.hold().filter(|hold| hold.number == first.number) else { return false };
        let still = match why {
            Suspicion::Late => hold.progress == Progress::Started,
            Suspicion::Silent => !self.is_up(hold.worker),
        };
        let alone = self.jobs.attempts_of(first.job).count() == 1;
        let may_commit = !self.jobs.awaits_permission(hold.worker, first);
        let isolated = self.is_isolated(first, hold) && job.allows_second_attempt();
        still && alone && may_commit && isolated && !self.stopping
    }

    /// Whether nothing that it writes is seen, as far as it is sure: one of which nobody has heard since it was sent may
    /// have begun, and in place.
    fn is_isolated(&self, attempt: Attempt, hold: Hold) -> bool {
        let Some(worker) = self.workers.get(hold.worker) else { return false };
        let isolates = match hold.progress {
            Progress::Started => worker.facts.isolates,
            Progress::Sent | Progress::Unsure => worker.facts.isolates_whatever_it_runs(),
        };
        isolates && !self.jobs.is_in_place(hold.worker, attempt)
    }

    /// What this attempt writes is seen as it is written, so nothing may read it or do the same beside it.
    pub(crate) fn on_attempt_in_place(&mut self, worker: WorkerId, attempt: Attempt, out: &mut Vec<Action>) {
        self.jobs.mark_in_place(worker, attempt);
        let is_first = self.jobs.get(attempt.job).and_then(Job::hold).is_some_and(|hold| hold.is(worker, attempt));
        if is_first && self.seconds.remove(attempt.job).is_some() {
            self.cancel_all_but(attempt.job, Some((attempt.number, worker)), out);
        }
    }

    fn may_make_another(&self) -> bool {
        let share = self.jobs.jobs_held() * self.config.speculation_share as usize / 100;
        self.seconds.len() < share.max(1) && self.workers.idle() > 0
    }

    /// The best of the idle workers that isolate. Nobody who waits could use its slot: the queue was served before.
    fn place_second(&self, id: JobId) -> Option<(WorkerId, Placement)> {
        let job = self.jobs.get(id)?;
        let (class, first) = (job.class?, job.hold()?.worker);
        let demand = self.classes.demand(class)?;
        let is_free = |&id: &WorkerId| {
            let idle = self.workers.get(id).map_or(0, crate::workers::Worker::idle);
            // What is on its way back from elsewhere is for somebody who has not begun at all.
            id != first && idle > self.recalls.due(id) && self.fits(demand, id)
        };
        let mut candidates = Vec::new();
        for group in self.classes.groups(class, &self.workers).filter(|group| group.abilities.isolates) {
            candidates.extend(group.idle().take(MAX_LOOKS).filter(is_free).take(MAX_CANDIDATES));
        }
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let best = placement::best(demand.memory > 0, candidates.into_iter().filter_map(|it| self.candidate(job, it)))?;
        let placement = Placement {
            kind: PlacementKind::SecondAttempt,
            candidates: count,
            warmth: best.warmth,
            octaves_slow: best.octaves_slow,
            out_of_turn: false,
        };
        Some((best.worker, placement))
    }

    fn assign_second(&mut self, id: JobId, worker: WorkerId, placement: Placement, out: &mut Vec<Action>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.last_number += 1;
        let hold = Hold { worker, number: job.last_number, progress: Progress::Sent, placement };
        self.affinity.visit(worker, &job.facts.dirs);
        self.seconds.of.insert(id, hold);
        let (attempt, commit) = (hold.attempt(id), Commit::WhenPermitted);
        self.put_attempt(worker, attempt, commit);
        out.push(Action::Assign { worker, attempts: Vec::from([attempt]), commit });
    }
}
