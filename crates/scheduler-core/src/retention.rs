//! What is kept of jobs that are done: the answer for a while, in case the launcher lost it; then the attempt numbers
//! for a while longer, so that the same job submitted again has attempts that no late echo can be taken for. Which of
//! these is kept of a job, its entry among all jobs says.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use model::ids::JobId;
use model::time::Timestamp;

use crate::action::Action;
use crate::history::Prediction;
use crate::input::ClientId;
use crate::jobs::{Answer, JobTable, Past};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// What is over is let go within this part of the time for which it is kept.
const GRAIN: u32 = 64;

/// A job that was answered, as far as anybody may ask about it again.
#[derive(Clone, Debug)]
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

/// Which of all that were ever kept an answered job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt(u64);

#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// In the order of their time. One that was asked for again is here twice, and the one before means nothing.
    answers: VecDeque<(JobId, Finished)>,
    /// How many were kept before these.
    gone: u64,
    /// Jobs that are buried, in the order of their time; one that has another time by now means nothing.
    tombs: VecDeque<(Timestamp, JobId)>,
    /// The timer is set.
    is_awaited: bool,
}

impl Retention {
    /// What is kept under this receipt.
    pub(crate) fn get(&self, receipt: Receipt) -> Option<&Finished> {
        self.answers.get(self.place(receipt)).map(|(_, finished)| finished)
    }

    pub(crate) fn get_mut(&mut self, receipt: Receipt) -> Option<&mut Finished> {
        let place = self.place(receipt);
        self.answers.get_mut(place).map(|(_, finished)| finished)
    }

    /// What the next one that is kept will be.
    pub(crate) fn next_receipt(&self) -> Receipt {
        Receipt(self.gone + self.answers.len() as u64)
    }

    fn place(&self, Receipt(receipt): Receipt) -> usize {
        usize::try_from(receipt.wrapping_sub(self.gone)).unwrap_or(usize::MAX)
    }

    fn next(&self) -> Option<Timestamp> {
        let answer = self.answers.front().map(|(_, finished)| finished.until);
        let tomb = self.tombs.front().map(|&(until, _)| until);
        answer.into_iter().chain(tomb).min()
    }

    pub(crate) fn check(&self, timer_is_set: bool, jobs: &JobTable) {
        assert_eq!(timer_is_set, self.is_awaited, "the timer of what is kept");
        assert!(timer_is_set || self.next().is_none(), "answers are kept for ever");
        let (mut answered, mut buried) = (0, 0);
        for (id, past) in jobs.pasts() {
            match past {
                Past::Answered(receipt) => {
                    let kept = self.answers.get(self.place(receipt)).map(|&(of, _)| of);
                    assert_eq!(kept, Some(id), "the receipt of {id:?}");
                    answered += 1;
                }
                Past::Buried { .. } => buried += 1,
            }
        }
        assert!(answered <= self.answers.len(), "answers are kept for ever");
        assert!(buried <= self.tombs.len(), "attempt numbers are kept for ever");
    }
}

impl Scheduler {
    /// Whether anything is known of the job: it waits for its answer, or that is not forgotten yet.
    pub(crate) fn is_known(&self, id: JobId) -> bool {
        self.jobs.get(id).is_some() || self.finished(id).is_some()
    }

    /// The job, if it was answered and that is not forgotten yet.
    pub(crate) fn finished(&self, id: JobId) -> Option<&Finished> {
        let Past::Answered(receipt) = self.jobs.past(id)? else { return None };
        self.retention.get(receipt)
    }

    /// The job was answered, or asked for again: it is kept from now, under the next receipt.
    pub(crate) fn retain(&mut self, id: JobId, finished: Finished) {
        let until = self.now + self.config.retain;
        self.retention.answers.push_back((id, Finished { until, ..finished }));
        self.wake_for_retention();
    }

    /// The job, which was answered, is asked for by this launcher. An attempt of it that was given up with its worker may have
    /// come back with that since: it has been told to end, and until it has, the answer is not true again.
    pub(crate) fn answer_again(&mut self, id: JobId, client: ClientId, out: &mut Vec<Action>) {
        let Some(finished) = self.finished(id).cloned() else { return };
        if self.jobs.may_commit(id) {
            out.push(Action::Wait { client, job: id, delay: self.config.ask_again });
            // Of who was sent home nothing is kept.
            out.extend(matches!(finished.answer, Answer::SentHome(_)).then_some(Action::Forget { job: id }));
            return;
        }
        self.give(id, client, &finished.answer, out);
        let receipt = self.retention.next_receipt();
        self.jobs.revise(id, |_| Some(Past::Answered(receipt)));
        self.retain(id, finished);
    }

    /// The job was buried just now.
    pub(crate) fn mark_grave(&mut self, id: JobId) {
        self.retention.tombs.push_back((self.now + self.config.retain, id));
        self.wake_for_retention();
    }

    pub(crate) fn on_retention_over(&mut self, out: &mut Vec<Action>) {
        self.retention.is_awaited = false;
        while self.retention.answers.front().is_some_and(|(_, finished)| finished.until <= self.now) {
            self.let_go_of_first(out);
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
            self.let_go_of_first(out);
        }
        while self.retention.tombs.len() > self.config.max_retained {
            let Some((until, id)) = self.retention.tombs.pop_front() else { return };
            self.level(id, until);
        }
    }

    /// Nobody asked for the answer again. Also of a job that was sent home: a late outcome may have come in since.
    fn let_go_of_first(&mut self, out: &mut Vec<Action>) {
        let Some(&(id, Finished { until, .. })) = self.retention.answers.front() else { return };
        let (retention, buried_until) = (&self.retention, self.now + self.config.retain);
        let mut last_number = None;
        self.jobs.revise(id, |past| {
            let Past::Answered(receipt) = past else { return Some(past) };
            let Some(over) = retention.get(receipt).filter(|finished| finished.until == until) else {
                return Some(past);
            };
            last_number = Some(over.last_number);
            grave(over.last_number, buried_until)
        });
        self.retention.answers.pop_front();
        self.retention.gone += 1;
        let Some(last_number) = last_number else { return };
        out.push(Action::Forget { job: id });
        if last_number > 0 {
            self.mark_grave(id);
        }
    }

    fn level(&mut self, id: JobId, at: Timestamp) {
        self.jobs.revise(id, |past| match past {
            Past::Buried { until, .. } if until == at => None,
            past => Some(past),
        });
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

/// What is known of a job that is forgotten, whose attempts had numbers up to this.
pub(crate) fn grave(last_number: u32, until: Timestamp) -> Option<Past> {
    (last_number > 0).then_some(Past::Buried { until, last_number })
}
