//! What is true after every step, checked the slow way.

use alloc::collections::BTreeSet;

use model::ids::JobId;

use crate::jobs::{Job, JobState, Progress};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

impl Scheduler {
    /// Checks everything that is promised to be true after every step. Looks at all jobs and workers: for debug
    /// builds, the simulation and the properties.
    ///
    /// # Panics
    /// If a promise is broken: that is a bug of the scheduler.
    pub fn check_invariants(&self) {
        self.jobs.check();
        self.holdings.check(&self.jobs);
        self.workers.check();
        self.queue.check();
        self.classes.check(&self.workers);
        for (id, job) in self.jobs.iter() {
            self.check_job(id, job);
        }
        self.check_second_attempts();
        self.check_audits();
        self.check_workers();
        self.check_nobody_waits_in_vain();
        self.check_timers();
        self.check_closings();
    }

    fn check_job(&self, id: JobId, job: &Job) {
        let waits = matches!(job.state(), JobState::Waiting);
        let is_queued = job.place.is_some_and(|place| self.queue.holds(id, &place));
        assert_eq!((waits, waits), (is_queued, job.place.is_some()), "{id:?} is {:?}: queued or not", job.state());
        let has_live = self.jobs.has_live(id);
        match job.state() {
            JobState::AwaitingAdoption | JobState::Waiting => {
                assert!(!has_live, "{id:?} waits while an attempt may be executing");
            }
            JobState::Held(hold) => {
                let attempt = hold.attempt(id);
                assert!(self.jobs.has_attempt(hold.worker, attempt), "{attempt} is not where it is said to be");
                assert!(!self.jobs.is_cancelled(hold.worker, attempt), "{attempt} is current and cancelled");
            }
            JobState::Cancelling { .. } => {
                assert!(has_live || job.inherited, "{id:?} waits for the end of nothing");
            }
        }
        assert!(!job.inherited || self.is_adoption_open(), "{id:?} is inherited for ever");
        let current = job.hold().map(|hold| (hold.number, hold.worker));
        let second = self.seconds.get(id).map(|hold| (hold.number, hold.worker));
        for (live, cancelled) in self.jobs.attempts_of(id) {
            let is_known = Some(live) == current || Some(live) == second;
            assert!(cancelled || is_known, "{id:?} has another live attempt {live:?}");
            assert!(live.0 <= job.last_number, "{id:?} may reuse the number of {live:?}");
        }
    }

    /// Of two attempts that go on one may commit, and whoever alone is left is not kept waiting.
    fn check_second_attempts(&self) {
        for (id, second) in self.seconds.iter() {
            let Some(first) = self.jobs.get(id).and_then(Job::hold) else { panic!("{id:?} has a second attempt only") };
            let attempt = second.attempt(id);
            assert!(self.jobs.awaits_permission(second.worker, attempt), "{attempt} may commit beside the first");
            assert!(!self.jobs.is_cancelled(second.worker, attempt), "{attempt} is the second and cancelled");
            let waits = self.jobs.awaits_permission(first.worker, first.attempt(id));
            assert!(!waits, "neither attempt of {id:?} may commit");
            assert_ne!(first.worker, second.worker, "{id:?} is twice at one worker");
        }
        for (id, job) in self.jobs.iter() {
            let Some(hold) = job.hold() else { continue };
            let waits = self.jobs.awaits_permission(hold.worker, hold.attempt(id));
            let safe = self.jobs.only_it_may_commit(hold.worker, hold.attempt(id));
            assert!(!waits || !safe || job.inherited, "{id:?} waits for nobody's end with its commit");
        }
    }

    fn check_workers(&self) {
        for (id, worker) in self.workers.iter() {
            let (held, reserved) = self.holdings.count(id);
            assert_eq!((worker.held(), worker.reserved()), (held, reserved), "attempts at {id:?}");
            assert_eq!(worker.changed, self.changed.contains(&id), "{id:?} is to be asked what it has to spare");
            let spare = if worker.changed { worker.spare } else { self.next_spare(id).map(|(_, class)| class) };
            assert_eq!(worker.spare, spare, "what {id:?} has to spare");
            assert!(worker.excused || reserved <= worker.memory(), "more memory is reserved than {id:?} has");
            if let Some(class) = worker.kept_for {
                assert_eq!(self.kept.get(&class), Some(&id), "{id:?} is kept for nobody");
            }
        }
        let listed = self.workers.iter().filter_map(|(id, worker)| Some((worker.spare?, id)));
        assert!(listed.collect::<BTreeSet<_>>() == self.spare.iter().collect(), "attempts to spare");
        for (&class, &worker) in &self.kept {
            assert_eq!(self.classes.kept(class), Some(worker), "{worker:?} is kept for {class:?} in vain");
        }
        for id in self.holdings.workers() {
            assert!(self.workers.get(id).is_some(), "{id:?} is lost and still holds attempts");
        }
        for id in self.recalls.jobs() {
            let hold = self.jobs.get(id).and_then(Job::hold);
            assert!(hold.is_some_and(|hold| hold.progress != Progress::Started), "{id:?} is recalled in vain");
        }
    }

    /// No job waits that a worker with an idle slot could take, but for the others of a burst; nobody waits in a stopping server.
    fn check_nobody_waits_in_vain(&self) {
        assert!(!self.stopping || self.queue.is_empty(), "jobs are queued in a stopping server");
        if self.is_gathering() {
            return;
        }
        let queued = || self.jobs.iter().filter(|(_, job)| job.place.is_some());
        assert_eq!(queued().count(), self.queue.len(), "jobs are queued and unknown");
        for (id, job) in queued() {
            let Some(class) = job.class else { panic!("{id:?} is queued and demands nothing") };
            let may_wait = |worker| self.is_patient(job, worker) || self.stands_behind_patient(job, worker);
            let takers = self.workers.iter().filter(|&(worker, _)| self.could_start(class, worker));
            let taker = takers.map(|(id, _)| id).find(|&worker| !may_wait(worker));
            assert_eq!(taker, None, "{id:?} waits while a worker that could take it idles");
        }
    }

    /// Every deadline is about something that exists, and what must end in time has a deadline.
    fn check_timers(&self) {
        for timer in self.timers.pending() {
            let has_owner = match timer {
                Timer::Lease(worker) => self.workers.get(worker).is_some(),
                Timer::AdoptionOver | Timer::FleetGraceOver => true,
                Timer::Company(job) => self.place_of(job).is_some(),
                Timer::Orphan(job) => !self.is_known(job),
                Timer::Retention | Timer::Ageing | Timer::Gathered | Timer::Patience | Timer::Stragglers => true,
                Timer::BenchOver(worker) => self.workers.get(worker).is_some_and(|it| it.health.is_benched()),
            };
            assert!(has_owner, "{timer:?} is about nothing");
        }
        let has = |timer: Timer| self.timers.is_set(timer);
        assert!(self.workers.iter().all(|(id, _)| has(Timer::Lease(id))), "a worker without a lease");
        assert!(self.orphan_ends.keys().all(|&id| has(Timer::Orphan(id))), "a result that is never let go of");
        self.retention.check(has(Timer::Retention), &self.jobs);
        self.stragglers.check(has(Timer::Stragglers));
        let benched = self.workers.iter().filter(|(_, worker)| worker.health.is_benched());
        assert!(benched.map(|(id, _)| id).all(|id| has(Timer::BenchOver(id))), "a worker is benched for ever");
        let orphans = self.jobs.held_jobs().into_iter().filter(|&id| !self.is_known(id) && !self.audits.is_shadow(id));
        for id in orphans {
            let cancelled = self.jobs.attempts_of(id).all(|(_, cancelled)| cancelled);
            assert!(cancelled || has(Timer::Orphan(id)), "{id:?} is an orphan for ever");
        }
    }
}
