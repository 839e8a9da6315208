//! The reference model: what becomes of jobs, told the simple and slow way. No indices, no timers, nothing incremental:
//! whatever is wanted is looked for among all jobs and workers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{Attempt, JobId, WorkerId};
use model::job::JobFacts;
use model::outcome::{AttemptFailure, Blame};
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Config, LocalReason, SubmittedJob};

use super::fleet::Worker;

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    Held {
        worker: WorkerId,
        number: u32,
        progress: Progress,
    },
    /// For the end of everything that is at workers; then comes what is said here.
    Ending(Next),
    Done {
        answer: Answer,
        until: Timestamp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Sent,
    /// Its connection broke: it may have started.
    Unsure,
    Started,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Forget,
    Queue { in_front: bool },
    Answer(Answer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Complete(u32),
    Home(LocalReason),
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) client: ClientId,
    pub(crate) facts: JobFacts,
    pub(crate) state: State,
    pub(crate) arrived: Timestamp,
    pub(crate) in_front: bool,
    /// The highest attempt number that anybody has heard of.
    pub(crate) last_number: u32,
    /// And whether that may have been forgotten when it was submitted again.
    pub(crate) may_be_forgotten: bool,
    pub(crate) tried: BTreeSet<WorkerId>,
    pub(crate) last_failure: Option<AttemptFailure>,
    spent: u32,
    losses: u32,
    unpublished: u32,
    half_done: bool,
}

/// The model of the whole scheduler.
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) now: Timestamp,
    pub(crate) last_loss: Timestamp,
    pub(crate) stopping: bool,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// The numbers of jobs that were forgotten, until when they are remembered, and whether they may have been forgotten
    /// once before already.
    graves: BTreeMap<JobId, (u32, Timestamp, bool)>,
    /// Attempts that were asked back.
    pub(crate) asked_back: BTreeSet<JobId>,
    /// What has to be ordered in this step, assignments and recalls for idle slots aside.
    pub(crate) orders: Vec<Action>,
}

impl Model {
    /// A scheduler whose first step was at this time.
    pub(crate) fn new(config: Config, now: Timestamp) -> Self {
        Self {
            config,
            now,
            last_loss: now,
            stopping: false,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            graves: BTreeMap::new(),
            asked_back: BTreeSet::new(),
            orders: Vec::new(),
        }
    }

    // --- launchers ---

    pub(crate) fn on_submitted(&mut self, client: ClientId, jobs: Vec<SubmittedJob>) {
        for SubmittedJob { id, facts, resubmitted } in jobs {
            if self.jobs.contains_key(&id) {
                self.on_asked_again(client, id);
            } else if let Some(answer) = self.refusal(client, id, &facts) {
                self.orders.extend([answer, Action::Forget { job: id }]);
            } else {
                let (last_number, until, may_have_been) = self.graves.remove(&id).unwrap_or_default();
                let is_surely_forgotten = until + self.slack() <= self.now;
                let job = Job {
                    client,
                    facts,
                    state: State::Queued,
                    arrived: self.now,
                    in_front: false,
                    last_number: if is_surely_forgotten { 0 } else { last_number },
                    may_be_forgotten: may_have_been || until <= self.now,
                    tried: BTreeSet::new(),
                    last_failure: None,
                    spent: 0,
                    losses: 0,
                    unpublished: 0,
                    // Nobody knows what was done with it before.
                    half_done: resubmitted,
                };
                self.jobs.insert(id, job);
                self.settle(id, Next::Queue { in_front: false });
            }
        }
    }

    fn on_asked_again(&mut self, client: ClientId, id: JobId) {
        let until = self.now + self.config.retain;
        let job = self.jobs.get_mut(&id).expect("known");
        job.client = client;
        match &mut job.state {
            State::Ending(next @ Next::Forget) => *next = Next::Queue { in_front: false },
            State::Done { answer, until: before } => {
                *before = until;
                let answer = answer.clone();
                self.give(id, &answer);
            }
            _ => {}
        }
    }

    fn refusal(&self, client: ClientId, job: JobId, facts: &JobFacts) -> Option<Action> {
        let of_user = self.queued().filter(|(_, other)| other.facts.user == facts.user).count();
        let home = |reason| Some(Action::RunLocally { client, job, reason });
        if self.stopping {
            home(LocalReason::Stopping)
        } else if self.queued().count() >= self.config.max_queued {
            home(LocalReason::QueueFull)
        } else if of_user >= self.config.max_queued_per_user {
            Some(Action::Wait { client, job, delay: self.config.ask_again })
        } else {
            None
        }
    }

    pub(crate) fn on_unwanted(&mut self, client: ClientId, is_meant: impl Fn(JobId) -> bool) {
        let is_open = |job: &Job| !matches!(job.state, State::Done { .. } | State::Ending(Next::Forget));
        let wanted = |(&id, job): (&JobId, &Job)| (job.client == client && is_open(job) && is_meant(id)).then_some(id);
        for id in self.jobs.iter().filter_map(wanted).collect::<Vec<_>>() {
            self.settle(id, Next::Forget);
        }
    }

    pub(crate) fn on_stopping(&mut self) {
        self.stopping = true;
        for id in self.queued().map(|(id, _)| id).collect::<Vec<_>>() {
            self.settle(id, Next::Answer(Answer::Home(LocalReason::Stopping)));
        }
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.ask_back(id);
        }
    }

    pub(crate) fn queued(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.state == State::Queued).map(|(&id, job)| (id, job))
    }

    // --- how attempts end ---

    pub(crate) fn on_started(&mut self, at: WorkerId, attempt: Attempt) {
        if self.is_current(at, attempt) {
            self.asked_back.remove(&attempt.job);
            self.set_progress(attempt.job, Progress::Started);
        }
    }

    pub(crate) fn on_ended(&mut self, at: WorkerId, attempt: Attempt, result: Result<(), AttemptFailure>) {
        if self.workers.get_mut(&at).is_none_or(|worker| worker.held.remove(&attempt).is_none()) {
            // Nobody knows of it. What the driver keeps of a job that nobody knows either can go.
            if !self.jobs.contains_key(&attempt.job) {
                self.orders.push(Action::Forget { job: attempt.job });
            }
            return;
        }
        self.on_gone(at, attempt, result);
    }

    /// The attempt is not at the worker any more.
    pub(crate) fn on_gone(&mut self, at: WorkerId, attempt: Attempt, result: Result<(), AttemptFailure>) {
        let id = attempt.job;
        let is_current = self.is_current(at, attempt);
        let job = self.jobs.get_mut(&id).expect("only attempts of known jobs are at workers");
        if is_current {
            match result {
                Ok(()) => self.settle(id, Next::Answer(Answer::Complete(attempt.number))),
                Err(failure) => self.on_failed(id, at, failure),
            }
            return;
        }
        job.half_done |= result.as_ref().is_err_and(|failure| may_have_begun(failure, true));
        let State::Ending(next) = job.state.clone() else { return };
        let is_redone = matches!(next, Next::Queue { .. } | Next::Answer(Answer::Home(_)));
        // Its outcome is as good as any other.
        let next = if result.is_ok() && is_redone { Next::Answer(Answer::Complete(attempt.number)) } else { next };
        self.settle(id, next);
    }

    fn on_failed(&mut self, id: JobId, at: WorkerId, failure: AttemptFailure) {
        let is_known = self.workers.get(&at).is_some_and(|worker| !worker.is_lost);
        let job = self.jobs.get_mut(&id).expect("known");
        let State::Held { progress, .. } = job.state else { panic!("{job:?} fails and is nowhere") };
        let started = progress != Progress::Sent;
        let has_begun = may_have_begun(&failure, started);
        job.half_done |= has_begun;
        job.spent += u32::from(failure == AttemptFailure::Cancelled || failure.blame() != Blame::Nobody);
        job.losses += u32::from(failure == AttemptFailure::WorkerLost && started);
        job.unpublished += u32::from(matches!(failure, AttemptFailure::CommitFailed(_)));
        job.last_failure = Some(failure.clone());
        let was_handed_back = failure == AttemptFailure::HandedBack;
        let is_over = job.spent >= self.config.max_attempts
            || failure == AttemptFailure::WorkerLost && job.losses >= self.config.max_losses
            || matches!(failure, AttemptFailure::CommitFailed(_)) && job.unpublished >= 2;
        if !job.facts.repeatable && has_begun || is_over && !was_handed_back {
            return self.settle(id, Next::Answer(Answer::Home(LocalReason::AttemptsExhausted(failure))));
        }
        if is_known && !was_handed_back && failure != AttemptFailure::Cancelled {
            job.tried.insert(at);
        }
        self.settle(id, Next::Queue { in_front: was_handed_back });
    }

    /// Comes to `next` when nothing of the job is at any worker.
    pub(crate) fn settle(&mut self, id: JobId, next: Next) {
        self.asked_back.remove(&id);
        let next = self.last_word(id, next);
        self.cancel_all_but(id, None);
        if self.places_of(id).next().is_some() {
            self.jobs.get_mut(&id).expect("known").state = State::Ending(next);
            return;
        }
        match next {
            Next::Forget => self.forget(id),
            Next::Queue { in_front } => {
                let job = self.jobs.get_mut(&id).expect("known");
                (job.state, job.in_front) = (State::Queued, in_front);
            }
            Next::Answer(answer) => {
                self.give(id, &answer);
                let until = self.now + self.config.retain;
                self.jobs.get_mut(&id).expect("known").state = State::Done { answer, until };
            }
        }
    }

    /// What cannot be repeated is not, and a server that stops begins nothing.
    fn last_word(&self, id: JobId, next: Next) -> Next {
        let job = &self.jobs[&id];
        match next {
            Next::Queue { .. } if job.half_done && !job.facts.repeatable => {
                let failure = job.last_failure.clone().unwrap_or(AttemptFailure::WorkerLost);
                Next::Answer(Answer::Home(LocalReason::AttemptsExhausted(failure)))
            }
            Next::Queue { .. } if self.stopping => Next::Answer(Answer::Home(LocalReason::Stopping)),
            next => next,
        }
    }

    fn give(&mut self, job: JobId, answer: &Answer) {
        let client = self.jobs[&job].client;
        match answer.clone() {
            Answer::Complete(number) => {
                self.orders.push(Action::Complete { client, attempt: Attempt { job, number } });
            }
            Answer::Home(reason) => {
                self.orders.extend([Action::RunLocally { client, job, reason }, Action::Forget { job }]);
            }
        }
    }

    fn forget(&mut self, job: JobId) {
        self.orders.push(Action::Forget { job });
        self.let_go(job);
    }

    /// Answers that need not be kept any more go when it suits the scheduler: this one has gone.
    pub(crate) fn let_go(&mut self, job: JobId) {
        let Job { last_number, may_be_forgotten, .. } = self.jobs.remove(&job).expect("known");
        if last_number > 0 {
            self.graves.insert(job, (last_number, self.now + self.config.retain, may_be_forgotten));
        }
    }

    /// How much longer than promised answers and numbers may be kept, so that many go at once.
    pub(crate) fn slack(&self) -> Duration {
        self.config.retain / 32
    }
}

/// Whether the command may have done part of its work.
fn may_have_begun(failure: &AttemptFailure, started: bool) -> bool {
    match failure {
        AttemptFailure::HandedBack
        | AttemptFailure::SpawnFailed(_)
        | AttemptFailure::InputsNotVisible(_)
        | AttemptFailure::Refused(_) => false,
        AttemptFailure::NoSpace(_) | AttemptFailure::Cancelled => started,
        _ => true,
    }
}
