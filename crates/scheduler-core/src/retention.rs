//! What is kept of jobs that are done: the answer for a while, in case the launcher lost it; then the attempt numbers
//! for a while longer, so that the same job submitted again has attempts that no late echo can be taken for.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use model::ids::JobId;
use model::time::Timestamp;

use crate::action::Action;
use crate::history::Prediction;
use crate::idmap::IdMap;
use crate::input::ClientId;
use crate::jobs::Answer;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// What is over is let go within this part of the time for which it is kept.
const GRAIN: u32 = 64;

/// A job that was answered, as far as anybody may ask about it again.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) answer: Answer,
    /// Until when it is kept.
    pub(crate) until: Timestamp,
    /// The highest number that any attempt of it had.
    pub(crate) last_number: u32,
    /// Attempts that failed so as to count.
    pub(crate) failed: u32,
    pub(crate) arrived: Timestamp,
    /// What was expected of it.
    pub(crate) prediction: Prediction,
}

#[derive(Debug)]
pub(crate) struct Retention {
    finished: IdMap<JobId, Finished>,
    /// In the order of their time; one whose job has another time by now means nothing.
    answers: VecDeque<(Timestamp, JobId)>,
    tombs: VecDeque<(Timestamp, JobId)>,
    /// The highest attempt numbers of jobs forgotten not long ago.
    numbers: IdMap<JobId, (Timestamp, u32)>,
    /// The timer is set.
    is_awaited: bool,
}

impl Retention {
    pub(crate) fn new(seed: u64) -> Self {
        let (finished, numbers) = (IdMap::with_seed(seed), IdMap::with_seed(seed));
        Self { finished, answers: VecDeque::new(), tombs: VecDeque::new(), numbers, is_awaited: false }
    }

    /// The job, if it was answered and that is not forgotten yet.
    pub(crate) fn finished(&self, job: JobId) -> Option<&Finished> {
        self.finished.get(job)
    }

    pub(crate) fn finished_mut(&mut self, job: JobId) -> Option<&mut Finished> {
        self.finished.get_mut(job)
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
        assert_eq!(timer_is_set, self.is_awaited, "the timer of what is kept");
        assert!(timer_is_set || self.next().is_none(), "answers are kept for ever");
        assert!(self.finished.len() <= self.answers.len(), "answers are kept for ever");
        assert!(self.numbers.len() <= self.tombs.len(), "attempt numbers are kept for ever");
    }
}

impl Scheduler {
    /// Whether anything is known of the job: it waits for its answer, or that is not forgotten yet.
    pub(crate) fn is_known(&self, id: JobId) -> bool {
        self.jobs.get(id).is_some() || self.retention.finished(id).is_some()
    }

    /// The job was answered, or asked for again: it is kept from now.
    pub(crate) fn retain(&mut self, id: JobId, finished: Finished) {
        let until = self.now + self.config.retain;
        self.retention.finished.insert(id, Finished { until, ..finished });
        self.retention.answers.push_back((until, id));
        self.wake_for_retention();
    }

    /// The job, which was answered, is asked for by this launcher.
    pub(crate) fn answer_again(&mut self, id: JobId, client: ClientId, out: &mut Vec<Action>) {
        let Some(finished) = self.retention.finished.remove(id) else { return };
        self.give(id, client, &finished.answer, out);
        self.retain(id, finished);
    }

    pub(crate) fn bury(&mut self, id: JobId, last_number: u32) {
        let until = self.now + self.config.retain;
        self.retention.numbers.insert(id, (until, last_number));
        self.retention.tombs.push_back((until, id));
        self.wake_for_retention();
    }

    pub(crate) fn on_retention_over(&mut self, out: &mut Vec<Action>) {
        self.retention.is_awaited = false;
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
        if self.retention.finished(id).is_none_or(|finished| finished.until != at) {
            return;
        }
        let Some(Finished { last_number, .. }) = self.retention.finished.remove(id) else { return };
        out.push(Action::Forget { job: id });
        if last_number > 0 {
            self.bury(id, last_number);
        }
    }

    fn level(&mut self, id: JobId, at: Timestamp) {
        if self.retention.numbers.get(id).is_some_and(|&(until, _)| until == at) {
            self.retention.numbers.remove(id);
        }
    }

    /// Some time after the first that is over, so that many go at once.
    fn wake_for_retention(&mut self) {
        let is_set = self.retention.is_awaited;
        self.retention.is_awaited = match self.retention.next() {
            Some(at) if !is_set => {
                self.timers.set(Timer::Retention, at + self.config.retain / GRAIN);
                true
            }
            Some(_) => true,
            None => false,
        };
        if is_set && !self.retention.is_awaited {
            self.timers.clear(Timer::Retention);
        }
    }
}
