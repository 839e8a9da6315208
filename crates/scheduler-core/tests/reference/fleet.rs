//! The reference model: workers, and what is at them.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::AttemptFailure;
use model::time::Timestamp;
use scheduler_core::input::MAX_SLOTS;
use scheduler_core::{Action, LocalReason, Unmet, WorkerFacts};

use super::jobs::{Answer, Job, Model, Next, Progress, State};

/// A registered worker.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) facts: WorkerFacts,
    pub(crate) is_up: bool,
    pub(crate) draining: bool,
    /// It is about to be forgotten.
    pub(crate) is_lost: bool,
    pub(crate) lease: Timestamp,
    /// What may be executing there, and whether a cancellation was ordered; in the order of their being sent.
    pub(crate) held: BTreeMap<Attempt, bool>,
}

impl Worker {
    pub(crate) fn slots(&self) -> usize {
        self.facts.slots.clamp(1, MAX_SLOTS) as usize
    }

    /// What it lacks that the job demands.
    pub(crate) fn lacks(&self, job: &JobFacts) -> Option<Unmet> {
        let facts = &self.facts;
        if job.mounts.iter().any(|mount| !facts.mounts.contains(mount)) {
            Some(Unmet::Mount)
        } else if facts.only_user.is_some_and(|user| user != job.user) {
            Some(Unmet::User)
        } else if job.toolchain.is_some_and(|toolchain| !facts.toolchains.contains(&toolchain)) {
            Some(Unmet::Toolchain)
        } else if job.kind == JobKind::Link && !facts.linking {
            Some(Unmet::Linking)
        } else {
            None
        }
    }
}

impl Model {
    /// Whether the worker could take the job if it had nothing else to do.
    pub(crate) fn is_able(&self, id: WorkerId, job: &Job) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|it| !it.draining && it.lacks(&job.facts).is_none() && !job.tried.contains(&id))
    }

    /// Whether it could start it at once.
    pub(crate) fn could_start(&self, id: WorkerId, job: &Job) -> bool {
        self.is_able(id, job) && self.workers.get(&id).is_some_and(|it| it.is_up && it.held.len() < it.slots())
    }

    pub(crate) fn is_current(&self, at: WorkerId, attempt: Attempt) -> bool {
        let state = self.jobs.get(&attempt.job).map(|job| &job.state);
        matches!(state, Some(&State::Held { worker, number, .. }) if (worker, number) == (at, attempt.number))
    }

    pub(crate) fn set_progress(&mut self, id: JobId, to: Progress) {
        if let Some(Job { state: State::Held { progress, .. }, .. }) = self.jobs.get_mut(&id) {
            *progress = to;
        }
    }

    /// Where attempts of the job may be executing.
    pub(crate) fn places_of(&self, id: JobId) -> impl Iterator<Item = (WorkerId, Attempt)> + '_ {
        let of_worker = move |(&at, worker): (&WorkerId, &Worker)| {
            let its: Vec<_> = worker.held.keys().filter(|attempt| attempt.job == id).map(|&it| (at, it)).collect();
            its
        };
        self.workers.iter().flat_map(of_worker)
    }

    pub(crate) fn cancel_all_but(&mut self, id: JobId, keep: Option<(WorkerId, Attempt)>) {
        for (at, attempt) in self.places_of(id).filter(|&place| Some(place) != keep).collect::<Vec<_>>() {
            let worker = self.workers.get_mut(&at).expect("it holds something");
            let was_cancelled = worker.held.insert(attempt, true);
            if was_cancelled == Some(false) && worker.is_up {
                self.orders.push(Action::Cancel { worker: at, attempt });
            }
        }
    }

    /// In a server that stops: what need not have started is asked back.
    pub(crate) fn ask_back(&mut self, id: JobId) {
        let Some(&State::Held { worker, number, progress }) = self.jobs.get(&id).map(|job| &job.state) else { return };
        let is_up = self.workers.get(&worker).is_some_and(|worker| worker.is_up);
        if progress != Progress::Started && is_up && self.asked_back.insert(id) {
            self.orders.push(Action::Recall { worker, attempt: Attempt { job: id, number } });
        }
    }

    // --- what workers say ---

    pub(crate) fn on_registered(&mut self, id: WorkerId, facts: WorkerFacts, holding: &BTreeSet<Attempt>) {
        let lease = self.now + self.config.lease;
        let new = || Worker {
            facts: facts.clone(),
            is_up: true,
            draining: false,
            is_lost: false,
            lease,
            held: BTreeMap::new(),
        };
        let worker = self.workers.entry(id).or_insert_with(new);
        (worker.facts, worker.is_up, worker.lease) = (facts.clone(), true, lease);
        let believed = worker.held.clone();
        for &attempt in believed.keys() {
            if holding.contains(&attempt) { self.on_still_held(id, attempt) } else { self.on_missing(id, attempt) }
        }
        for &attempt in holding.iter().filter(|attempt| !believed.contains_key(attempt)) {
            self.on_found(id, attempt);
        }
    }

    fn on_still_held(&mut self, at: WorkerId, attempt: Attempt) {
        if self.workers[&at].held[&attempt] {
            // It may not have heard.
            self.orders.push(Action::Cancel { worker: at, attempt });
        } else if self.is_current(at, attempt) {
            self.asked_back.remove(&attempt.job);
            if matches!(self.jobs[&attempt.job].state, State::Held { progress: Progress::Sent, .. }) {
                self.set_progress(attempt.job, Progress::Unsure);
            }
            if self.stopping {
                self.ask_back(attempt.job);
            }
        }
    }

    /// It never got it, or lost it.
    fn on_missing(&mut self, at: WorkerId, attempt: Attempt) {
        let is_sent = matches!(self.jobs[&attempt.job].state, State::Held { progress: Progress::Sent, .. });
        let never_came = is_sent && self.is_current(at, attempt);
        self.workers.get_mut(&at).expect("it registers").held.remove(&attempt);
        let failure = if never_came { AttemptFailure::HandedBack } else { AttemptFailure::WorkerLost };
        self.on_gone(at, attempt, Err(failure));
    }

    /// It has what we did not send it, or what was given up.
    fn on_found(&mut self, at: WorkerId, attempt: Attempt) {
        let id = attempt.job;
        self.workers.get_mut(&at).expect("it registers").held.insert(attempt, false);
        let is_alone = self.places_of(id).count() == 1;
        let job = self.jobs.get_mut(&id).expect("workers name known jobs");
        job.last_number = job.last_number.max(attempt.number);
        let keep = match job.state {
            State::Queued => Some((at, attempt)),
            State::Ending(Next::Queue { .. }) if is_alone => Some((at, attempt)),
            State::Held { worker, number, .. } => {
                return self.cancel_all_but(id, Some((worker, Attempt { job: id, number })));
            }
            State::Ending(_) | State::Done { .. } => None,
        };
        if keep.is_some() {
            job.state = State::Held { worker: at, number: attempt.number, progress: Progress::Unsure };
        }
        self.cancel_all_but(id, keep);
        if keep.is_some() && self.stopping {
            self.ask_back(id);
        }
    }

    pub(crate) fn on_alive(&mut self, id: WorkerId) {
        let lease = self.now + self.config.lease;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.lease = lease;
        }
    }

    pub(crate) fn on_disconnected(&mut self, id: WorkerId) {
        if self.workers.get_mut(&id).is_some_and(|worker| std::mem::replace(&mut worker.is_up, false)) {
            self.last_loss = self.now;
        }
    }

    pub(crate) fn on_draining(&mut self, id: WorkerId, draining: bool) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let was_draining = std::mem::replace(&mut worker.draining, draining);
        if draining && !was_draining {
            self.last_loss = self.now;
        }
    }

    pub(crate) fn on_lost(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        (worker.is_up, worker.is_lost) = (false, true);
        self.last_loss = self.now;
        self.orders.push(Action::ForgetWorker { worker: id });
        for attempt in worker.held.keys().copied().collect::<Vec<_>>() {
            self.workers.get_mut(&id).expect("it was there").held.remove(&attempt);
            self.on_gone(id, attempt, Err(AttemptFailure::WorkerLost));
        }
        self.workers.remove(&id);
    }

    // --- time ---

    /// Time passes, to `now`.
    pub(crate) fn on_time(&mut self, now: Timestamp) {
        self.now = now;
        let over = self.workers.iter().filter(|(_, worker)| worker.lease <= now).map(|(&id, _)| id);
        over.collect::<Vec<_>>().into_iter().for_each(|id| self.on_lost(id));
    }

    /// Whom nobody can take goes home, when the fleet has had its time to come back.
    pub(crate) fn send_stranded_home(&mut self) {
        if self.now < self.last_loss + self.config.fleet_grace {
            return;
        }
        let is_stranded = |job: &Job| !self.workers.keys().any(|&id| self.is_able(id, job));
        let stranded = self.queued().filter(|(_, job)| is_stranded(job)).map(|(id, job)| (id, self.why_stranded(job)));
        for (id, reason) in stranded.collect::<Vec<_>>() {
            self.settle(id, Next::Answer(Answer::Home(reason)));
        }
    }

    /// What the best of the workers lacks.
    fn why_stranded(&self, job: &Job) -> LocalReason {
        let lacking = self.workers.values().map(|worker| worker.lacks(&job.facts).unwrap_or(Unmet::Exhausted));
        let was_tried = job.tried.iter().any(|id| self.workers.contains_key(id));
        match (lacking.max(), &job.last_failure) {
            (Some(Unmet::Exhausted), Some(failure)) if was_tried => LocalReason::AttemptsExhausted(failure.clone()),
            (lacking, _) => LocalReason::NoEligibleWorker(lacking.unwrap_or(Unmet::NoWorkers)),
        }
    }
}
