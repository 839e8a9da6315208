//! Who waits for a worker to say that it has made a file: people who measure when they see it.

use std::collections::BTreeMap;

use model::ids::WorkerId;
use proto::v1;
use tokio::sync::oneshot;

/// More are not waited for at a time.
const MANY: usize = 64;

/// Those who wait, by the worker and the file's name.
#[derive(Default)]
pub struct Appearances {
    waiting: BTreeMap<(WorkerId, String), oneshot::Sender<v1::Appeared>>,
}

impl Appearances {
    /// Somebody waits for this file of this worker. Where too many do, his channel closes.
    pub fn await_word(&mut self, worker: WorkerId, name: String, answer: oneshot::Sender<v1::Appeared>) {
        self.waiting.retain(|_, answer| !answer.is_closed());
        if self.waiting.len() < MANY {
            self.waiting.entry((worker, name)).or_insert(answer);
        }
    }

    /// A worker has made a file, or could not.
    pub fn on_word(&mut self, worker: WorkerId, word: v1::Appeared) {
        if let Some(answer) = self.waiting.remove(&(worker, word.name.clone())) {
            // Whoever asked may have left.
            let _ = answer.send(word);
        }
    }

    /// Nothing more comes from this worker.
    pub fn forget(&mut self, worker: WorkerId) {
        self.waiting.retain(|(whose, _), _| *whose != worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(name: &str) -> v1::Appeared {
        v1::Appeared { name: name.to_owned(), problem: String::new() }
    }

    #[test]
    fn an_answer_reaches_whoever_asked_this_worker_for_this_file() {
        let mut book = Appearances::default();
        let (ash, birch) = (WorkerId::new(1), WorkerId::new(2));
        let (answer, mut asked) = oneshot::channel();
        book.await_word(ash, "a".to_owned(), answer);

        book.on_word(birch, word("a"));
        book.on_word(ash, word("b"));
        assert!(asked.try_recv().is_err());
        book.on_word(ash, word("a"));

        assert_eq!(asked.try_recv().unwrap(), word("a"));
    }

    #[test]
    fn whoever_asked_a_worker_that_left_is_let_go() {
        let mut book = Appearances::default();
        let (answer, mut asked) = oneshot::channel();
        book.await_word(WorkerId::new(1), "a".to_owned(), answer);

        book.forget(WorkerId::new(1));

        assert_eq!(asked.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn only_so_many_wait_and_those_who_left_count_no_more() {
        let mut book = Appearances::default();
        let mut asked = Vec::new();
        for number in 0..=MANY {
            let (answer, waits) = oneshot::channel();
            book.await_word(WorkerId::new(1), number.to_string(), answer);
            asked.push(waits);
        }
        let mut turned_away = asked.pop().unwrap();
        assert_eq!(turned_away.try_recv(), Err(oneshot::error::TryRecvError::Closed));

        asked.clear();
        let (answer, mut waits) = oneshot::channel();
        book.await_word(WorkerId::new(1), "again".to_owned(), answer);
        assert_eq!(waits.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
