//! What is kept of jobs that are done: the answer for a while, in case the launcher lost it; then the attempt numbers
//! for a while longer, so that the same job submitted again has attempts that no late echo can be taken for.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use model::ids::JobId;
use model::time::Timestamp;

use crate::action::Action;
use crate::idmap::IdMap;
use crate::jobs::JobState;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

#[derive(Debug)]
pub(crate) struct Retention {
    /// In the order of their time; one whose job has another time by now means nothing.
    answers: VecDeque<(Timestamp, JobId)>,
    tombs: VecDeque<(Timestamp, JobId)>,
    /// The highest attempt numbers of jobs forgotten not long ago.
    numbers: IdMap<JobId, (Timestamp, u32)>,
}

impl Retention {
    pub(crate) fn new(seed: u64) -> Self {
        Self { answers: VecDeque::new(), tombs: VecDeque::new(), numbers: IdMap::with_seed(seed) }
    }

    /// The highest number of the job's attempts, if it was forgotten not long ago; forgotten now.
    pub(crate) fn exhume(&mut self, job: JobId) -> Option<u32> {
        self.numbers.remove(job).map(|(_, number)| number)
    }

    fn next(&self) -> Option<Timestamp> {
        let fronts = [self.answers.front(), self.tombs.front()];
        fronts.into_iter().flatten().map(|&(at, _)| at).min()
    }

    pub(crate) fn check(&self, timer_is_set: bool) {
        assert!(timer_is_set || self.next().is_none(), "answers are kept for ever");
        assert!(self.numbers.len() <= self.tombs.len(), "attempt numbers are kept for ever");
    }
}

impl Scheduler {
    /// The job was answered, or asked for again: its answer is kept from now. Returns until when.
    pub(crate) fn retain_answer(&mut self, id: JobId) -> Timestamp {
        let until = self.now + self.config.retain;
        self.retention.answers.push_back((until, id));
        self.wake_for_retention();
        until
    }

    pub(crate) fn bury(&mut self, id: JobId, last_number: u32) {
        let until = self.now + self.config.retain;
        self.retention.numbers.insert(id, (until, last_number));
        self.retention.tombs.push_back((until, id));
        self.wake_for_retention();
    }

    pub(crate) fn on_retention_over(&mut self, out: &mut Vec<Action>) {
        while let Some(&(until, id)) = self.retention.answers.front().filter(|&&(until, _)| until <= self.now) {
            self.retention.answers.pop_front();
            self.let_go(id, until, out);
        }
        while let Some(&(until, id)) = self.retention.tombs.front().filter(|&&(until, _)| until <= self.now) {
            self.retention.tombs.pop_front();
            self.level(id, until);
        }
        self.wake_for_retention();
    }

    /// Keeps no more than is configured.
    pub(crate) fn bound_retention(&mut self, out: &mut Vec<Action>) {
        while self.retention.answers.len() > self.config.max_retained {
            let Some((until, id)) = self.retention.answers.pop_front() else { return };
            self.let_go(id, until, out);
        }
        while self.retention.tombs.len() > self.config.max_retained {
            let Some((until, id)) = self.retention.tombs.pop_front() else { return };
            self.level(id, until);
        }
    }

    /// Nobody asked for the answer again. Also of a job that was sent home: a late outcome may have come in since.
    fn let_go(&mut self, id: JobId, at: Timestamp, out: &mut Vec<Action>) {
        let is_due = |state: &JobState| matches!(state, JobState::Done { until, .. } if *until == at);
        if self.jobs.get(id).is_some_and(|job| is_due(job.state())) {
            self.forget(id, out);
        }
    }

    fn level(&mut self, id: JobId, at: Timestamp) {
        if self.retention.numbers.get(id).is_some_and(|&(until, _)| until == at) {
            self.retention.numbers.remove(id);
        }
    }

    fn wake_for_retention(&mut self) {
        match self.retention.next() {
            Some(_) if self.timers.is_set(Timer::Retention) => {}
            Some(at) => self.timers.set(Timer::Retention, at),
            None => self.timers.clear(Timer::Retention),
        }
    }
}
