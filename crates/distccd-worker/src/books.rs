//! The books: every attempt that this worker holds, from its assignment until the server has its result, and what of
//! it still has to be said to the server. Pure: it never waits and never sends.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use model::ids::Attempt;
use model::outcome::AttemptFailure;
use proto::convert::attempt_ref;
use proto::limits::OUTPUT_WINDOW;
use proto::v1::{self, attempt_result, worker_message::Message};

use crate::exec::{Canceller, Stream, Word};
use crate::retained::{Retained, Space};
use crate::wire::Task;

/// How an attempt ended, as it travels.
pub(crate) type AttemptResult = attempt_result::Result;

#[derive(Debug)]
enum State {
    /// Assigned; waits for a slot.
    Waiting(Box<Task>),
    /// Has a thread of its own. When we end it, `ending` says what to report, whatever it did itself, unless it was told
    /// to commit before and has.
    Running { canceller: Canceller, ending: Option<AttemptFailure>, told_to_commit: bool },
    /// Waits for the server to say that it has the result.
    Ended { result: AttemptResult, sent: bool },
}

#[derive(Debug)]
struct Entry {
    state: State,
    output: Retained,
    sent_chunks: usize,
    /// How many of them the server has asked for. Only where it asks.
    asked_chunks: usize,
    /// Its process has started, and whether that was said.
    started: Option<Said>,
    /// What it writes is seen at once, though others are isolated here.
    in_place: bool,
    /// Whether it may commit, and be heard. One that may not yet is second to another attempt, whose output it is that
    /// the server keeps.
    permitted: bool,
    /// Its command has ended, and whether that was said; only of those that wait for permission.
    ready: Option<Said>,
}

type Said = bool;

/// How much is sent ahead of what the server says.
const WINDOW: usize = OUTPUT_WINDOW as usize;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Books {
    entries: BTreeMap<Attempt, Entry>,
    waiting: VecDeque<Attempt>,
    /// The server says how much output it can take; older ones are sent all.
    is_asked: bool,
    /// Whose output was sent last, so that one who prints much does not keep the others from being heard.
    last_heard: Option<Attempt>,
}

impl Books {
    /// Takes an assignment; false if it is held already (an echo).
    pub(crate) fn on_assigned(&mut self, attempt: Attempt, task: Task) -> bool {
        if self.entries.contains_key(&attempt) {
            return false;
        }
        let permitted = !task.when_permitted;
        self.insert(attempt, State::Waiting(Box::new(task)), permitted);
        self.waiting.push_back(attempt);
        true
    }

    /// Takes an assignment that ends before it begins.
    pub(crate) fn on_refused(&mut self, attempt: Attempt, failure: &AttemptFailure) {
        if !self.entries.contains_key(&attempt) {
            self.insert(attempt, ended(failure), true);
        }
    }

    fn insert(&mut self, attempt: Attempt, state: State, permitted: bool) {
        let output = Retained::default();
        self.entries.insert(
            attempt,
            Entry {
                state,
                output,
                sent_chunks: 0,
                asked_chunks: WINDOW,
                started: None,
                in_place: false,
                permitted,
                ready: None,
            },
        );
    }

    /// The next to start, in the order of assignment. Its permission to commit may have come meanwhile.
    pub(crate) fn next_waiting(&mut self) -> Option<(Attempt, Task)> {
        let attempt = self.waiting.pop_front()?;
        let entry = self.entries.remove(&attempt)?;
        match entry.state {
            State::Waiting(task) => Some((attempt, Task { when_permitted: !entry.permitted, ..*task })),
            State::Running { .. } | State::Ended { .. } => unreachable!("only waiting attempts are in the queue"),
        }
    }

    pub(crate) fn on_running(&mut self, attempt: Attempt, canceller: Canceller, when_permitted: bool) {
        self.insert(attempt, State::Running { canceller, ending: None, told_to_commit: false }, !when_permitted);
    }

    pub(crate) fn on_started(&mut self, attempt: Attempt, in_place: bool) {
        if let Some(entry) = self.entries.get_mut(&attempt) {
            (entry.started, entry.in_place) = (Some(false), in_place);
        }
    }

    /// Keeps what an attempt printed. When there is no space for it the attempt is ended: a lost diagnostic is worse
    /// than a second execution.
    pub(crate) fn on_output(&mut self, attempt: Attempt, stream: Stream, data: Bytes, space: Space<'_>) {
        let Some(entry) = self.entries.get_mut(&attempt) else { return };
        if let Err(why) = entry.output.push(stream, data, space) {
            entry.sent_chunks = 0; // as many as are kept
            tracing::warn!(%attempt, "cannot keep its output: {why}");
            self.end(attempt, AttemptFailure::NoSpace(why.to_string()), Canceller::kill);
        }
    }

    /// An attempt's command has ended; answers whether it may commit now. One that may not waits, and says that it does.
    pub(crate) fn on_ready(&mut self, attempt: Attempt) -> bool {
        let Some(entry) = self.entries.get_mut(&attempt) else { return false };
        entry.ready = (!entry.permitted).then_some(false);
        entry.permitted
    }

    /// The server lets an attempt commit; answers whether it is ready to. What is not yet will not ask any more.
    pub(crate) fn on_permitted(&mut self, attempt: Attempt) -> bool {
        let Some(entry) = self.entries.get_mut(&attempt) else { return false };
        entry.permitted = true;
        entry.ready.take().is_some()
    }

    /// What an attempt wrote may be published or not. Forgotten and cancelled ones have been told by their canceller.
    pub(crate) fn decide(&mut self, attempt: Attempt, word: Word) {
        let entry = self.entries.get_mut(&attempt);
        if let Some(State::Running { canceller, ending: None, told_to_commit }) = entry.map(|entry| &mut entry.state) {
            *told_to_commit = word == Word::Commit;
            canceller.decide(word);
        }
    }

    /// An attempt's thread is done; false if it was forgotten meanwhile.
    pub(crate) fn on_ended(&mut self, attempt: Attempt, result: AttemptResult) -> bool {
        let Some(entry) = self.entries.get_mut(&attempt) else { return false };
        // What has committed has happened: were that denied, another attempt would commit too.
        let has_committed = matches!((&entry.state, &result),
            (State::Running { ending, told_to_commit: true, .. }, AttemptResult::Outcome(_))
                if !matches!(ending, Some(AttemptFailure::NoSpace(_))));
        let result = match (&mut entry.state, result) {
            (State::Running { ending: Some(failure), .. }, _) if !has_committed => {
                AttemptResult::Failure((&*failure).into())
            }
            (_, AttemptResult::Outcome(outcome)) => {
                AttemptResult::Outcome(v1::Outcome { chunks: entry.output.len() as u64, ..outcome })
            }
            (_, failure @ AttemptResult::Failure(_)) => failure,
        };
        entry.ready = None;
        if !entry.permitted || matches!(result, AttemptResult::Failure(_)) {
            // It was second to another, or is to be tried again: nobody wants to hear it now.
            (entry.output, entry.sent_chunks) = (Retained::default(), 0);
        }
        entry.state = State::Ended { result, sent: false };
        true
    }

    /// The server cancels: what runs is ended gently, what waits is forgotten; both are reported.
    pub(crate) fn on_cancel(&mut self, attempt: Attempt) {
        if !self.end_unstarted(attempt, &AttemptFailure::Cancelled) {
            self.end(attempt, AttemptFailure::Cancelled, Canceller::cancel);
        }
        // Nobody will listen to what it has left to say, and ask for that.
        self.on_output_taken(attempt, u64::MAX);
    }

    /// The server has taken so many of its chunks, and asks for the next ones.
    pub(crate) fn on_output_taken(&mut self, attempt: Attempt, chunks: u64) {
        if let Some(entry) = self.entries.get_mut(&attempt) {
            let asked = usize::try_from(chunks).unwrap_or(usize::MAX).saturating_add(WINDOW);
            entry.asked_chunks = entry.asked_chunks.max(asked);
        }
    }

    /// The server wants back what has not started; false if it has.
    pub(crate) fn on_recall(&mut self, attempt: Attempt) -> bool {
        self.end_unstarted(attempt, &AttemptFailure::HandedBack)
    }

    /// Hands back all that has not started.
    pub(crate) fn hand_back_waiting(&mut self) {
        for attempt in self.waiting.clone() {
            self.end_unstarted(attempt, &AttemptFailure::HandedBack);
        }
    }

    /// Kills all that runs, because this worker goes: another one may try.
    pub(crate) fn kill_running(&mut self) {
        let running: Vec<Attempt> = self.entries.keys().copied().collect();
        for attempt in running {
            self.end(attempt, AttemptFailure::WorkerLost, Canceller::kill);
        }
    }

    /// The lease has run out: kills and forgets all that has not ended, and says how many that were. Dropping a
    /// canceller kills.
    pub(crate) fn forget_unfinished(&mut self) -> usize {
        let before = self.entries.len();
        self.waiting.clear();
        self.entries.retain(|_, entry| matches!(entry.state, State::Ended { .. }));
        before - self.entries.len()
    }

    fn end_unstarted(&mut self, attempt: Attempt, failure: &AttemptFailure) -> bool {
        let Some(entry) = self.entries.get_mut(&attempt) else { return false };
        if !matches!(entry.state, State::Waiting(_)) {
            return false;
        }
        entry.state = ended(failure);
        self.waiting.retain(|waiting| *waiting != attempt);
        true
    }

    fn end(&mut self, attempt: Attempt, why: AttemptFailure, how: impl Fn(&Canceller)) {
        if let Some(Entry { state: State::Running { canceller, ending, .. }, .. }) = self.entries.get_mut(&attempt) {
            how(canceller);
            ending.get_or_insert(why);
        }
    }

    /// The server has the results: nothing of these is needed any more.
    pub(crate) fn on_results_received(&mut self, attempt: Attempt) {
        if matches!(self.entries.get(&attempt), Some(Entry { state: State::Ended { .. }, .. })) {
            self.entries.remove(&attempt);
        }
    }

    /// All that is held: waiting, running, or ended and not acknowledged.
    pub(crate) fn holding(&self) -> Vec<v1::AttemptRef> {
        self.entries.keys().map(|attempt| attempt_ref(*attempt)).collect()
    }

    /// Those of them that must not commit before they are permitted.
    pub(crate) fn unpermitted(&self) -> Vec<v1::AttemptRef> {
        let waits = self.entries.iter().filter(|(_, entry)| !entry.permitted);
        waits.map(|(attempt, _)| attempt_ref(*attempt)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A new stream: everything has to be said again. `is_asked`: its server says how much output it can take.
    pub(crate) fn say_again(&mut self, is_asked: bool) {
        self.is_asked = is_asked;
        for entry in self.entries.values_mut() {
            (entry.sent_chunks, entry.asked_chunks) = (0, WINDOW);
            entry.started = entry.started.map(|_| false);
            entry.ready = entry.ready.map(|_| false);
            if let State::Ended { sent, .. } = &mut entry.state {
                *sent = false;
            }
        }
    }

    /// What to tell the server next: starts, then who waits for permission, then results, each all in one message, then
    /// one piece of output.
    pub(crate) fn next_message(&mut self) -> Option<Message> {
        let ready =
            |books: &mut Self| Some(Message::Ready(v1::Attempts { attempts: books.unsaid(|it| &mut it.ready)? }));
        self.starts().or_else(|| ready(self)).or_else(|| self.results()).or_else(|| self.output())
    }

    fn starts(&mut self) -> Option<Message> {
        let unsaid = self.entries.iter().filter(|(_, entry)| entry.in_place && entry.started == Some(false));
        let in_place = unsaid.map(|(attempt, _)| attempt_ref(*attempt)).collect();
        let attempts = self.unsaid(|entry| &mut entry.started)?;
        Some(Message::Started(v1::AttemptsStarted { attempts, in_place }))
    }

    /// Those of whom this is still to be said; it counts as said from now on.
    fn unsaid(&mut self, of: impl Fn(&mut Entry) -> &mut Option<Said>) -> Option<Vec<v1::AttemptRef>> {
        let unsaid = self.entries.iter_mut().filter_map(|(attempt, entry)| {
            let said = of(entry).as_mut().filter(|said| !**said)?;
            *said = true;
            Some(attempt_ref(*attempt))
        });
        let attempts: Vec<_> = unsaid.collect();
        (!attempts.is_empty()).then_some(attempts)
    }

    /// Results whose output has been sent to the end.
    fn results(&mut self) -> Option<Message> {
        let ready = self.entries.iter_mut().filter_map(|(attempt, entry)| match &mut entry.state {
            State::Ended { result, sent } if !*sent && entry.sent_chunks == entry.output.len() => {
                *sent = true;
                Some(v1::AttemptResult { attempt: Some(attempt_ref(*attempt)), result: Some(result.clone()) })
            }
            _ => None,
        });
        let results: Vec<_> = ready.collect();
        (!results.is_empty()).then_some(Message::Results(v1::Results { results }))
    }

    fn output(&mut self) -> Option<Message> {
        let attempt = self.next_heard()?;
        self.last_heard = Some(attempt);
        let entry = self.entries.get_mut(&attempt)?;
        let sequence = entry.sent_chunks;
        match entry.output.chunk(sequence) {
            Ok(chunk) => {
                let (stream, data) = chunk?;
                entry.sent_chunks += 1;
                let stream = match stream {
                    Stream::Stdout => v1::OutputStream::Stdout,
                    Stream::Stderr => v1::OutputStream::Stderr,
                };
                Some(Message::Output(v1::OutputChunk {
                    attempt: Some(attempt_ref(attempt)),
                    sequence: sequence as u64,
                    stream: stream.into(),
                    data,
                }))
            }
            Err(error) => {
                self.on_output_unreadable(attempt, &error);
                self.next_message()
            }
        }
    }

    fn on_output_unreadable(&mut self, attempt: Attempt, error: &std::io::Error) {
        tracing::error!(%attempt, "its output cannot be read back: {error}");
        let failure = AttemptFailure::NoSpace(format!("its output cannot be read back: {error}"));
        self.end(attempt, failure.clone(), Canceller::kill);
        if let Some(entry) = self.entries.get_mut(&attempt) {
            entry.sent_chunks = entry.output.len();
            if let State::Ended { result, .. } = &mut entry.state {
                *result = AttemptResult::Failure((&failure).into());
            }
        }
    }

    /// The next attempt with output to be sent, going round.
    fn next_heard(&self) -> Option<Attempt> {
        let after = self.last_heard.map_or(Bound::Unbounded, Bound::Excluded);
        let unsent = |(_, entry): &(&Attempt, &Entry)| {
            let most = if self.is_asked { entry.asked_chunks } else { usize::MAX };
            entry.permitted && entry.sent_chunks < entry.output.len().min(most)
        };
        let later = self.entries.range((after, Bound::Unbounded)).find(unsent);
        later.or_else(|| self.entries.iter().find(unsent)).map(|(attempt, _)| *attempt)
    }
}

fn ended(failure: &AttemptFailure) -> State {
    State::Ended { result: AttemptResult::Failure(failure.into()), sent: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec;
    use model::ids::JobId;
    use std::path::Path;

    fn attempt(number: u8) -> Attempt {
        Attempt { job: JobId::from_bytes([number; 16]), number: 1 }
    }

    fn running(books: &mut Books, number: u8) {
        books.on_running(attempt(number), exec::cancellation().unwrap().0, false);
    }

    fn outcome() -> AttemptResult {
        AttemptResult::Outcome(v1::Outcome::default())
    }

    fn space(max_output: u64) -> Space<'static> {
        Space { scratch: Path::new("/nonexistent"), max_output }
    }

    fn print(books: &mut Books, number: u8, text: &'static str) {
        books.on_output(attempt(number), Stream::Stderr, Bytes::from_static(text.as_bytes()), space(1 << 30));
    }

    /// What is said, in words.
    fn said(books: &mut Books) -> Vec<String> {
        std::iter::from_fn(|| books.next_message())
            .map(|message| match message {
                Message::Started(started) if started.in_place.is_empty() => {
                    format!("started {}", started.attempts.len())
                }
                Message::Started(it) => format!("started {}, {} in place", it.attempts.len(), it.in_place.len()),
                Message::Output(chunk) => format!("{}:{}", chunk.sequence, String::from_utf8_lossy(&chunk.data)),
                Message::Results(results) => format!("results {}", results.results.len()),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_result_follows_all_of_its_output_and_ready_ones_travel_together() {
        let mut books = Books::default();
        running(&mut books, 1);
        running(&mut books, 2);
        books.on_started(attempt(1), false);
        books.on_started(attempt(2), false);
        print(&mut books, 1, "a");
        books.on_ended(attempt(1), outcome());
        books.on_ended(attempt(2), outcome());

        assert_eq!(said(&mut books), ["started 2", "results 1", "0:a", "results 1"]);
    }

    #[test]
    fn who_works_in_place_is_said_with_the_start_on_every_stream() {
        let mut books = Books::default();
        running(&mut books, 1);
        running(&mut books, 2);
        books.on_started(attempt(1), false);
        books.on_started(attempt(2), true);

        assert_eq!(said(&mut books), ["started 2, 1 in place"]);
        books.say_again(true);
        assert_eq!(said(&mut books), ["started 2, 1 in place"]);
    }

    #[test]
    fn a_new_stream_hears_everything_again_until_it_is_acknowledged() {
        let mut books = Books::default();
        running(&mut books, 1);
        books.on_started(attempt(1), false);
        print(&mut books, 1, "a");
        books.on_ended(attempt(1), outcome());
        let first = said(&mut books);

        books.say_again(true);
        assert_eq!(said(&mut books), first);

        books.on_results_received(attempt(1));
        books.say_again(true);
        assert!(said(&mut books).is_empty() && books.is_empty());
    }

    /// An attempt has printed so much, and as much of it was sent as is sent without the server's word.
    fn held_up(printed: u64) -> Books {
        let mut books = Books::default();
        books.say_again(true);
        running(&mut books, 1);
        (0..printed).for_each(|_| print(&mut books, 1, "x"));
        assert_eq!(said(&mut books).len(), WINDOW);
        books
    }

    #[test]
    fn no_more_output_is_sent_than_the_server_asks_for() {
        let mut books = held_up(3 * OUTPUT_WINDOW);
        books.on_ended(attempt(1), outcome());
        assert_eq!(books.next_message(), None);

        books.on_output_taken(attempt(1), OUTPUT_WINDOW / 2);
        books.on_output_taken(attempt(1), 1);
        assert_eq!(said(&mut books).len(), WINDOW / 2, "an older word comes late");

        books.on_output_taken(attempt(1), 2 * OUTPUT_WINDOW);
        assert_eq!(said(&mut books).last().unwrap(), "results 1");
        books.say_again(true);
        assert_eq!(said(&mut books).len(), WINDOW, "a new stream begins anew");
        books.say_again(false);
        assert_eq!(said(&mut books).len(), 3 * WINDOW + 1, "an older server does not ask");
    }

    #[test]
    fn a_failure_waits_for_no_launcher() {
        let mut books = held_up(2 * OUTPUT_WINDOW);

        books.on_cancel(attempt(1));
        books.on_ended(attempt(1), outcome());

        assert_eq!(said(&mut books), ["results 1"]);
    }

    #[test]
    fn what_has_ended_and_is_cancelled_is_asked_by_nobody() {
        let mut books = held_up(2 * OUTPUT_WINDOW);
        books.on_ended(attempt(1), outcome());
        assert_eq!(books.next_message(), None);

        books.on_cancel(attempt(1));

        assert_eq!(said(&mut books).len(), WINDOW + 1);
    }

    #[test]
    fn one_who_prints_much_does_not_silence_the_others() {
        let mut books = Books::default();
        running(&mut books, 1);
        running(&mut books, 2);
        for text in ["a", "b"] {
            print(&mut books, 1, text);
        }
        print(&mut books, 2, "c");

        assert_eq!(said(&mut books), ["0:a", "0:c", "1:b"]);
    }

    #[test]
    fn only_what_has_not_started_can_be_recalled() {
        let mut books = Books::default();
        running(&mut books, 1);
        books.on_assigned(attempt(2), Task::default());

        assert!(!books.on_recall(attempt(1)));
        assert!(books.on_recall(attempt(2)));
        assert!(books.next_waiting().is_none());
        assert_eq!(said(&mut books), ["results 1"]);
    }

    #[test]
    fn an_assignment_heard_twice_is_one() {
        let mut books = Books::default();

        assert!(books.on_assigned(attempt(1), Task::default()));
        assert!(!books.on_assigned(attempt(1), Task::default()));
    }

    #[test]
    fn an_expired_lease_forgets_all_but_what_has_ended() {
        let mut books = Books::default();
        running(&mut books, 1);
        books.on_assigned(attempt(2), Task::default());
        books.on_refused(attempt(3), &AttemptFailure::HandedBack);

        assert_eq!(books.forget_unfinished(), 2);

        assert_eq!(books.holding(), [attempt_ref(attempt(3))]);
        assert!(!books.on_ended(attempt(1), outcome()), "its thread ends later, and is nobody's");
    }

    #[test]
    fn what_we_ended_is_reported_as_such_whatever_it_did_itself() {
        let mut books = Books::default();
        running(&mut books, 1);

        books.on_cancel(attempt(1));
        books.on_ended(attempt(1), outcome());

        let Some(Message::Results(results)) = books.next_message() else { panic!("no result") };
        let Some(AttemptResult::Failure(failure)) = &results.results[0].result else { panic!("no failure") };
        assert_eq!(failure.kind(), v1::FailureKind::Cancelled);
    }

    #[test]
    fn what_was_told_to_commit_before_it_was_cancelled_and_has_is_reported_as_done() {
        let mut books = Books::default();
        running(&mut books, 1);
        assert!(books.on_ready(attempt(1)));

        books.decide(attempt(1), Word::Commit);
        books.on_cancel(attempt(1));
        books.on_ended(attempt(1), outcome());

        let Some(Message::Results(results)) = books.next_message() else { panic!("no result") };
        assert!(matches!(results.results[0].result, Some(AttemptResult::Outcome(_))), "{results:?}");
    }

    #[test]
    fn one_who_may_not_commit_yet_says_that_it_is_ready_and_is_not_heard() {
        let mut books = Books::default();
        books.on_running(attempt(1), exec::cancellation().unwrap().0, true);
        print(&mut books, 1, "a");

        assert!(!books.on_ready(attempt(1)));
        assert!(matches!(books.next_message(), Some(Message::Ready(ready)) if ready.attempts.len() == 1));
        assert!(books.next_message().is_none() && books.unpermitted() == books.holding());
        books.say_again(true);
        assert!(matches!(books.next_message(), Some(Message::Ready(_))), "a new stream hears it again");

        assert!(books.on_permitted(attempt(1)));
        books.on_ended(attempt(1), outcome());
        assert_eq!(said(&mut books), ["0:a", "results 1"]);
        assert!(books.unpermitted().is_empty());
    }

    #[test]
    fn a_permission_that_comes_early_is_remembered_even_by_one_who_waits_for_a_slot() {
        let mut books = Books::default();
        books.on_assigned(attempt(1), Task { when_permitted: true, ..Task::default() });
        assert_eq!(books.unpermitted(), books.holding());

        assert!(!books.on_permitted(attempt(1)), "not ready yet");
        let (_, task) = books.next_waiting().unwrap();
        books.on_running(attempt(1), exec::cancellation().unwrap().0, task.when_permitted);

        assert!(books.on_ready(attempt(1)));
        assert!(books.next_message().is_none());
    }

    #[test]
    fn what_one_printed_that_never_was_permitted_is_not_sent() {
        let mut books = Books::default();
        books.on_running(attempt(1), exec::cancellation().unwrap().0, true);
        print(&mut books, 1, "a");
        books.on_ready(attempt(1));

        books.on_cancel(attempt(1));
        books.on_ended(attempt(1), AttemptResult::Failure((&AttemptFailure::Cancelled).into()));

        assert_eq!(said(&mut books), ["results 1"]);
    }

    #[test]
    fn output_that_cannot_be_kept_ends_the_attempt() {
        let mut books = Books::default();
        running(&mut books, 1);
        let large = Bytes::from(vec![0; 2 << 20]);

        books.on_output(attempt(1), Stream::Stdout, large, space(1 << 30));
        books.on_ended(attempt(1), outcome());

        let Some(Message::Results(results)) = books.next_message() else { panic!("no result") };
        let Some(AttemptResult::Failure(failure)) = &results.results[0].result else { panic!("no failure") };
        assert_eq!(failure.kind(), v1::FailureKind::NoSpace);
    }

    #[test]
    fn one_who_prints_too_much_is_ended_and_what_it_printed_is_let_go() {
        let mut books = Books::default();
        running(&mut books, 1);
        let chunk = || Bytes::from_static(b"12345");

        books.on_output(attempt(1), Stream::Stdout, chunk(), space(9));
        books.on_output(attempt(1), Stream::Stdout, chunk(), space(9));
        books.on_output(attempt(1), Stream::Stdout, chunk(), space(9));
        books.on_ended(attempt(1), outcome());

        let Some(Message::Results(results)) = books.next_message() else { panic!("output of a failed attempt") };
        let Some(AttemptResult::Failure(failure)) = &results.results[0].result else { panic!("no failure") };
        assert_eq!(failure.kind(), v1::FailureKind::NoSpace);
        assert!(failure.detail.contains("`max_output`"), "{failure:?}");
    }
}
