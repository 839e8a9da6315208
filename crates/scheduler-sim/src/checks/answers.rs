//! What launchers were told: each job once, and only what is true.

use std::collections::BTreeSet;

use model::ids::JobId;

use super::executions::Executions;
use crate::messages::Answer;

/// The answers that reached a launcher which waited for them.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    answered: BTreeSet<JobId>,
    completed: u64,
    sent_home: u64,
}

impl Answers {
    pub(crate) fn on_delivered(&mut self, answer: &Answer, executions: &mut Executions) {
        let job = answer.job();
        assert!(self.answered.insert(job), "{job:?} is answered twice: {answer:?}");
        executions.on_settled(job);
        match answer {
            Answer::Complete(attempt) => {
                assert!(executions.has_completed(*attempt), "{attempt} is reported complete and was not");
                self.completed += 1;
            }
            Answer::RunLocally(..) => self.sent_home += 1,
            Answer::Wait(..) => panic!("{job:?} is not answered by being told to wait"),
        }
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    pub(crate) fn sent_home(&self) -> u64 {
        self.sent_home
    }
}
