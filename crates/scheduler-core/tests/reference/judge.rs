//! The reference model as a judge: what has to be ordered is ordered, and no more; of assignments, which are a choice,
//! none is wrong and none is missing; and what the scheduler tells of itself is so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use model::job::JobKind;
use model::time::Timestamp;
use scheduler_core::{Action, Commit, Condition, Explanation, Obstacles, PlacementKind, Scheduler, Unmet};

use super::jobs::{Job, Model, Progress, State};

impl Model {
    /// Judges what was ordered in a step, and takes note of it.
    pub(crate) fn judge(&mut self, actions: &[Action], scheduler: &Scheduler) {
        self.judge_what_follows(actions);
        let before = self.jobs.clone();
        for action in actions {
            if let Action::Assign { worker, attempts, commit } = action {
                assert_eq!(*commit, Commit::WhenDone, "{attempts:?} are second attempts");
                self.judge_assignment(*worker, attempts, scheduler);
            }
        }
        self.judge_turns(&before, scheduler);
        self.judge_recalls(actions);
        self.judge_what_waits();
        self.judge_words(scheduler);
    }

    fn judge_what_follows(&mut self, actions: &[Action]) {
        let is_choice = |action: &&Action| matches!(action, Action::Assign { .. } | Action::Recall { .. });
        let sorted = |actions: Vec<&Action>| {
            let mut told: Vec<_> = actions.into_iter().map(|action| format!("{action:?}")).collect();
            told.sort_unstable();
            told
        };
        let gone = self.let_go_of_the_old(actions);
        self.orders.extend(gone.into_iter().map(|job| Action::Forget { job }));
        let expected = sorted(self.orders.iter().filter(|action| !is_choice(action)).collect());
        let ordered = sorted(actions.iter().filter(|action| !is_choice(action)).collect());
        assert_eq!(ordered, expected, "what was ordered, and what had to be");
    }

    /// Answers that were kept long enough, and which the scheduler has let go of in this step.
    fn let_go_of_the_old(&mut self, actions: &[Action]) -> Vec<JobId> {
        let (now, slack) = (self.now, self.slack());
        let count = |actions: &[Action], id| actions.iter().filter(|it| **it == Action::Forget { job: id }).count();
        let is_gone = |id: JobId| count(actions, id) > count(&self.orders, id);
        let old = self.jobs.iter().filter_map(|(&id, job)| match job.state {
            State::Done { until, .. } if until <= now => Some((id, until)),
            _ => None,
        });
        let (gone, kept): (Vec<_>, Vec<_>) = old.partition(|&(id, _)| is_gone(id));
        assert!(kept.iter().all(|&(_, until)| now < until + slack), "{kept:?} are kept for ever");
        let gone: Vec<_> = gone.into_iter().map(|(id, _)| id).collect();
        gone.iter().for_each(|&id| self.let_go(id));
        gone
    }

    fn judge_assignment(&mut self, at: WorkerId, attempts: &[Attempt], scheduler: &Scheduler) {
        assert!(attempts.iter().collect::<BTreeSet<_>>().len() == attempts.len(), "{attempts:?} has one twice");
        let batch = attempts.iter().filter_map(|it| self.jobs.get(&it.job)).map(|job| job.facts.batch.size).max();
        let ahead = self.config.prefetch.max(if self.config.prefetch > 0 { batch.unwrap_or(0) } else { 0 });
        for &attempt in attempts {
            let job = self.jobs.get(&attempt.job).unwrap_or_else(|| panic!("{attempt} is of an unknown job"));
            assert_eq!(job.state, State::Queued, "{attempt} is assigned");
            let is_next = attempt.number == job.last_number + 1 || job.may_be_forgotten && attempt.number == 1;
            assert!(is_next, "{attempt} is assigned after number {}", job.last_number);
            assert!(self.is_able(at, job) && self.workers[&at].is_up, "{attempt} is nothing for {at:?}");
            let worker = &self.workers[&at];
            let (held, slots) = (worker.held.len(), worker.slots());
            assert!(held < slots + ahead as usize, "{attempt} is one too many for {at:?}");
            let was_idle = held < slots;
            let Some(Condition::Placed { placement, .. }) = scheduler.explain(attempt.job).map(|it| it.state) else {
                panic!("{attempt} is assigned and not placed");
            };
            assert_eq!(placement.kind == PlacementKind::IdleSlot, was_idle, "{attempt} is there as {placement:?}");
            let job = self.jobs.get_mut(&attempt.job).expect("known");
            (job.last_number, job.may_be_forgotten) = (attempt.number, false);
            job.state = State::Held { worker: at, number: attempt.number, progress: Progress::Sent };
            self.workers.get_mut(&at).expect("known").held.insert(attempt, false);
        }
    }

    /// Nobody of its build who asks for the same goes before it and still waits, if there was a slot for it.
    fn judge_turns(&self, before: &BTreeMap<JobId, Job>, scheduler: &Scheduler) {
        let rank = |id: JobId, job: &Job| {
            let expected = scheduler.explain(id).map(|it| it.prediction.duration).unwrap_or_default();
            let is_link = job.facts.kind == JobKind::Link;
            (!job.in_front, job.facts.priority.nice(), !is_link, Reverse(expected))
        };
        let asks = |job: &Job| {
            let (facts, mounts) = (&job.facts, job.facts.mounts.iter().copied().collect::<BTreeSet<_>>());
            (facts.user, facts.build, facts.toolchain, facts.kind == JobKind::Link, mounts, job.tried.clone())
        };
        let was_placed = |id: &JobId, was: &Job| was.state == State::Queued && self.jobs[id].state != State::Queued;
        for (&id, job) in before.iter().filter(|(id, was)| was_placed(id, was)) {
            let Some(Condition::Placed { placement, .. }) = scheduler.explain(id).map(|it| it.state) else { continue };
            if placement.kind != PlacementKind::IdleSlot {
                continue; // Others may have waited for company.
            }
            let first =
                self.queued().filter(|(_, other)| asks(other) == asks(job)).map(|(id, job)| (rank(id, job), id)).min();
            let passed = first.filter(|(first, _)| *first < rank(id, job));
            assert_eq!(passed, None, "{id:?} goes before it");
        }
    }

    fn judge_recalls(&mut self, actions: &[Action]) {
        let mut due: Vec<_> = self.orders.drain(..).filter(|order| matches!(order, Action::Recall { .. })).collect();
        for action in actions {
            let &Action::Recall { worker: at, attempt } = action else { continue };
            if let Some(place) = due.iter().position(|order| order == action) {
                due.remove(place);
                continue;
            }
            let job = self.jobs.get(&attempt.job).unwrap_or_else(|| panic!("{attempt} is of an unknown job"));
            let has_not_begun = !matches!(job.state, State::Held { progress: Progress::Started, .. });
            assert!(self.is_current(at, attempt) && has_not_begun, "{attempt} of {job:?} is asked back");
            let worker = &self.workers[&at];
            assert!(worker.is_up && worker.held.len() > worker.slots(), "{attempt} is asked back of {worker:?}");
            assert!(self.asked_back.insert(attempt.job), "{attempt} is asked back twice");
        }
        assert_eq!(due, [], "not asked back in a stopping server");
    }

    /// No job waits that somebody idle could take, and none lies where it can only wait if nothing is on its way back.
    fn judge_what_waits(&self) {
        let idle = |job: &Job| self.workers.keys().copied().find(|&id| self.could_start(id, job));
        for (id, job) in self.queued() {
            assert_eq!(idle(job), None, "{id:?} waits beside an idle slot");
        }
        if !self.asked_back.is_empty() {
            return;
        }
        for worker in self.workers.values().filter(|it| it.is_up && !it.draining && it.held.len() > it.slots()) {
            // All that it could give back: which of them it is asked for is a matter of taste.
            let is_sent =
                |job: &&Job| matches!(job.state, State::Held { progress, .. } if progress != Progress::Started);
            let spare =
                worker.held.iter().filter(|(_, cancelled)| !**cancelled).map(|(attempt, _)| &self.jobs[&attempt.job]);
            let spare: Vec<_> = spare.filter(is_sent).collect();
            let all_could_go = !spare.is_empty() && spare.iter().all(|job| idle(job).is_some());
            assert!(!all_could_go, "{spare:?} lie at {worker:?} while others idle");
        }
    }

    fn judge_words(&self, scheduler: &Scheduler) {
        for id in self.jobs.keys() {
            assert!(scheduler.explain(*id).is_some(), "{id:?} is not known");
        }
        for (&id, job) in &self.jobs {
            let Some(Explanation { state, arrived, .. }) = scheduler.explain(id) else { continue };
            let is_so = match (state, &job.state) {
                (Condition::Waiting { obstacles, .. }, State::Queued) => obstacles == self.obstacles(job),
                (Condition::Cancelling, State::Ending(_)) | (Condition::Done, State::Done { .. }) => true,
                (Condition::Placed { worker, number, started, awaits_permission: false, second: None, .. }, held) => {
                    let is_at = |progress| *held == State::Held { worker, number, progress };
                    if started { is_at(Progress::Started) } else { is_at(Progress::Sent) || is_at(Progress::Unsure) }
                }
                _ => false,
            };
            assert!(is_so && arrived == job.arrived, "{id:?} is {job:?} and said to be {state:?}");
        }
        let snapshot = scheduler.snapshot();
        let told = snapshot.workers.iter().map(|it| (it.worker, it.held as usize));
        assert!(told.eq(self.workers.iter().map(|(&id, worker)| (id, worker.held.len()))), "{:?}", snapshot.workers);
        let count = |is_meant: fn(&State) -> bool| self.jobs.values().filter(|job| is_meant(&job.state)).count();
        assert_eq!(snapshot.waiting, self.queued().count(), "waiting jobs");
        let running = count(|state| matches!(state, State::Held { progress: Progress::Started, .. }));
        let held = count(|state| matches!(state, State::Held { .. }));
        assert_eq!((snapshot.running, snapshot.sent), (running, held - running), "running jobs, and those only sent");
        assert_eq!(snapshot.cancelling, count(|state| matches!(state, State::Ending(_))), "jobs that wait for an end");
        let deadline = scheduler.next_deadline().unwrap_or(Timestamp::from_micros(u64::MAX));
        let leases = self.workers.values().map(|worker| worker.lease);
        let answers = self.jobs.values().filter_map(|job| match job.state {
            State::Done { until, .. } => Some(until + self.slack()),
            _ => None,
        });
        assert!(leases.chain(answers).all(|due| deadline <= due), "nobody wakes in time: {deadline:?}");
    }

    fn obstacles(&self, job: &Job) -> Obstacles {
        let mut seen = Obstacles { workers: self.workers.len(), ..Obstacles::default() };
        for (id, worker) in &self.workers {
            *match worker.lacks(&job.facts) {
                Some(Unmet::Mount) => &mut seen.mount,
                Some(Unmet::User) => &mut seen.user,
                Some(Unmet::Toolchain) => &mut seen.toolchain,
                Some(_) => &mut seen.linking,
                None if job.tried.contains(id) => &mut seen.tried,
                None if worker.draining => &mut seen.draining,
                None if !worker.is_up => &mut seen.silent,
                None if worker.held.len() >= worker.slots() => &mut seen.busy,
                None => &mut seen.free,
            } += 1;
        }
        seen
    }
}
