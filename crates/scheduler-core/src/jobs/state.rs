//! What a job waits for, and which waits may follow which.

use model::ids::{Attempt, JobId, WorkerId};

use crate::action::LocalReason;
use crate::explain::Placement;

/// A job's state: named for what it waits for, holding only what exists in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobState {
    /// For a worker of an earlier server to say that it runs it. Every job enters here, most leave in the same step.
    AwaitingAdoption,
    /// For a worker, in the queue. None of its attempts is anywhere.
    Waiting,
    /// For the end of its attempt.
    Held(Hold),
    /// For the end of attempts that must not go on, or (after a restart) of the time in which workers tell of attempts
    /// that we do not know; then comes what `next` says. Nothing may start before.
    Cancelling {
        /// What comes then.
        next: Next,
    },
}

/// The current attempt of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Where it is.
    pub(crate) worker: WorkerId,
    /// Which try it is.
    pub(crate) number: u32,
    /// How far it is.
    pub(crate) progress: Progress,
    /// Why it is there.
    pub(crate) placement: Placement,
}

impl Hold {
    pub(crate) fn attempt(&self, job: JobId) -> Attempt {
        Attempt { job, number: self.number }
    }

    pub(crate) fn is(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.worker == worker && self.number == attempt.number
    }
}

/// How far an attempt is, as far as we heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Sent, and not reported as started.
    Sent,
    /// The connection broke in between: a report of its start may have been lost.
    Unsure,
    /// Reported as started.
    Started,
}

/// What comes when nothing of a job is left anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: its launcher took it back.
    Forget,
    /// Another attempt.
    Queue {
        /// Before its build's other jobs: it had been given to a worker and came back untouched.
        in_front: bool,
    },
    /// The cluster does not take it.
    SendHome(LocalReason),
    /// The outcome of the attempt with this number.
    Complete(u32),
}

/// What a launcher was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The outcome of the attempt with this number.
    Complete(u32),
    /// Run it yourself.
    SentHome(LocalReason),
}

impl JobState {
    /// The legal moves, all of them; from each state a job may be answered, and is then no job any more but
    /// [`crate::retention::Finished`].
    pub(crate) fn may_become(&self, next: &Self) -> bool {
        use JobState::{AwaitingAdoption, Cancelling, Held, Waiting};
        match (self, next) {
            // A worker's report tells more about the attempt, or the job's second attempt takes the place of the first.
            (Held(_), Held(_)) => true,
            (AwaitingAdoption | Waiting | Cancelling { next: Next::Queue { .. } }, Held(_)) => true,
            (AwaitingAdoption | Held(_) | Cancelling { .. }, Waiting | Cancelling { .. }) => true,
            // Nothing of a waiting job is anywhere, so nothing need be cancelled.
            (Waiting, Waiting | Cancelling { .. }) | (Cancelling { .. }, Held(_)) => false,
            (_, AwaitingAdoption) => false,
        }
    }

    /// Whether the launcher still waits for an answer.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self, Self::Cancelling { next: Next::Forget })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_one_try_at_one_worker() {
        let (here, elsewhere, job) = (WorkerId::new(1), WorkerId::new(2), JobId::from_bytes([1; 16]));
        let hold = Hold { worker: here, number: 2, progress: Progress::Sent, placement: Placement::default() };
        let is = |worker, number| hold.is(worker, Attempt { job, number });

        assert!(is(here, 2));
        assert!(!is(here, 1) && !is(elsewhere, 2) && !is(elsewhere, 1));
    }
}
