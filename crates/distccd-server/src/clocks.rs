//! How far the clocks of workers are off. Files bear the time of whoever writes them, and build tools compare them with
//! times of another machine. Launchers put the times of outputs right, so a wrong clock breaks no build; but it is a fault
//! of its machine that somebody should hear of, and beyond a limit the worker gets no jobs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::ids::WorkerId;
use proto::v1;

/// Heartbeats that are compared. Each is late by its way and by what queued before it, never early: the one that makes
/// the clock look furthest ahead was the least late.
const COMPARED: usize = 8;
/// With fewer nothing is said: the first may have waited for the connection.
const FEWEST: usize = 4;
/// More is said; `make` and `ninja` take old files for new ones by less than a second only by chance.
const WORTH_A_WORD: i64 = 1_000_000;

/// What there is to say of a clock that was found to be otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is right again.
    Right,
    /// It is off, within the limit.
    Off,
    /// It is off by more than the limit: no jobs.
    TooFar,
}

#[derive(Default)]
struct Clock {
    /// Microseconds ahead of ours, the latest last.
    seen: VecDeque<i64>,
    standing: Option<Change>,
}

impl Clock {
    fn ahead_us(&self) -> i64 {
        self.seen.iter().copied().max().unwrap_or_default()
    }
}

/// The clocks of all workers.
pub struct Clocks {
    limit_us: i64,
    of: BTreeMap<WorkerId, Clock>,
}

impl Clocks {
    /// Those that are off by more than `limit` are told apart.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { limit_us: i64::try_from(limit.as_micros()).unwrap_or(i64::MAX), of: BTreeMap::new() }
    }

    /// A worker says what time it is; `ours` when we heard it. In microseconds since 1970. What has changed, if anything.
    pub fn on_word(&mut self, worker: WorkerId, theirs: u64, ours: u64) -> Option<Change> {
        let clock = self.of.entry(worker).or_default();
        let micros = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        clock.seen.push_back(micros(theirs).saturating_sub(micros(ours)));
        if clock.seen.len() > COMPARED {
            clock.seen.pop_front();
        }
        if clock.seen.len() < FEWEST {
            return None;
        }
        let off = clock.ahead_us().saturating_abs();
        let now = match off {
            off if off > self.limit_us => Change::TooFar,
            off if off > WORTH_A_WORD => Change::Off,
            _ => Change::Right,
        };
        let before = clock.standing.replace(now).unwrap_or(Change::Right);
        (before != now).then_some(now)
    }

    /// It speaks in a new conversation: what was compared may be long ago.
    pub fn on_return(&mut self, worker: WorkerId) {
        if let Some(clock) = self.of.get_mut(&worker) {
            clock.seen.clear();
        }
    }

    /// Nothing more comes from it.
    pub fn forget(&mut self, worker: WorkerId) {
        self.of.remove(&worker);
    }

    /// Whether its clock is off by more than the limit.
    #[must_use]
    pub fn is_too_far(&self, worker: WorkerId) -> bool {
        self.of.get(&worker).is_some_and(|clock| clock.standing == Some(Change::TooFar))
    }

    /// How far it is ahead of ours, in microseconds; 0 when that is not known.
    #[must_use]
    pub fn ahead_us(&self, worker: WorkerId) -> i64 {
        self.of.get(&worker).map_or(0, Clock::ahead_us)
    }

    /// For people.
    pub fn show(&self, workers: &mut [v1::WorkerStatus]) {
        for status in workers {
            let worker = WorkerId::new(status.id);
            status.clock_skew_us = self.ahead_us(worker);
            if self.is_too_far(worker) && status.state == "draining" {
                "wrong clock".clone_into(&mut status.state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASH: WorkerId = WorkerId::new(1);
    const NOW: u64 = 1_000_000_000;

    fn clocks() -> Clocks {
        Clocks::new(Duration::from_secs(30))
    }

    /// A worker that is ahead by so many seconds says so often what time it is; all that changed.
    fn hear(clocks: &mut Clocks, ahead: i64, times: usize) -> Vec<Change> {
        let theirs = NOW.checked_add_signed(ahead * 1_000_000).unwrap();
        (0..times).filter_map(|_| clocks.on_word(ASH, theirs, NOW)).collect()
    }

    #[test]
    fn a_clock_that_is_off_is_worth_one_word_and_one_beyond_the_limit_another() {
        let mut clocks = clocks();
        assert_eq!(hear(&mut clocks, 0, 10), []);
        assert_eq!(hear(&mut clocks, 5, 10), [Change::Off]);
        assert_eq!(hear(&mut clocks, 31, 10), [Change::TooFar]);
        assert!(clocks.is_too_far(ASH));
        assert_eq!(clocks.ahead_us(ASH), 31_000_000);
    }

    #[test]
    fn one_that_is_behind_is_found_when_no_heartbeat_says_otherwise() {
        let mut clocks = clocks();
        assert_eq!(hear(&mut clocks, 0, COMPARED), []);
        assert_eq!(hear(&mut clocks, -40, COMPARED - 1), [], "they may be late");
        assert_eq!(hear(&mut clocks, -40, 1), [Change::TooFar]);
        assert_eq!(hear(&mut clocks, 0, 1), [Change::Right]);
        assert!(!clocks.is_too_far(ASH));
    }

    #[test]
    fn a_few_words_are_not_enough_after_a_return_either() {
        let mut clocks = clocks();
        assert_eq!(hear(&mut clocks, -40, FEWEST - 1), []);
        clocks.on_return(ASH);
        assert_eq!(hear(&mut clocks, -40, FEWEST - 1), []);
        assert_eq!(hear(&mut clocks, -40, 1), [Change::TooFar]);
    }

    #[test]
    fn a_worker_that_returns_with_a_wrong_clock_is_not_let_back_by_that() {
        let mut clocks = clocks();
        assert_eq!(hear(&mut clocks, 90, FEWEST), [Change::TooFar]);
        clocks.on_return(ASH);
        assert!(clocks.is_too_far(ASH));
        assert_eq!(hear(&mut clocks, 0, FEWEST), [Change::Right]);
    }

    #[test]
    fn nonsense_is_taken_for_what_it_is() {
        let mut clocks = clocks();
        let changes: Vec<Change> = (0..FEWEST).filter_map(|_| clocks.on_word(ASH, u64::MAX, 0)).collect();
        assert_eq!(changes, [Change::TooFar]);
        clocks.forget(ASH);
        assert_eq!(clocks.ahead_us(ASH), 0);
    }

    #[test]
    fn people_see_how_far_it_is_off_and_why_it_gets_nothing() {
        let mut clocks = clocks();
        hear(&mut clocks, -45, FEWEST);
        let draining = v1::WorkerStatus { id: 1, state: "draining".to_owned(), ..Default::default() };
        let mut shown = [draining.clone(), v1::WorkerStatus { id: 2, ..draining }];

        clocks.show(&mut shown);

        assert_eq!((shown[0].state.as_str(), shown[0].clock_skew_us), ("wrong clock", -45_000_000));
        assert_eq!((shown[1].state.as_str(), shown[1].clock_skew_us), ("draining", 0));
    }
}
