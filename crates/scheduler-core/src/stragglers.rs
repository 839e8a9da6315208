//! Which jobs run far longer than they should: longer than predicted, and than the jobs of their build do against their
//! predictions. One timer looks, and only at jobs that have run for a while at all.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{Attempt, BuildId, UserId, WorkerId};
use model::time::Timestamp;

use crate::history::{Basis, Prediction};
use crate::idmap::IdMap;
use crate::jobs::{Job, Progress};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// How often jobs for whose second attempt there is no slot are looked at again.
const RETRY: Duration = Duration::from_millis(100);
/// Builds whose jobs' times are remembered; of more, those that ended something longest ago are forgotten.
const MAX_BUILDS: usize = 1_024;
/// Jobs of a build that are remembered, the last ones.
const SAMPLES: usize = 32;
/// Fewer than these say nothing about a build.
const ENOUGH: usize = 8;

/// Why a job may need a second attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It runs far longer than it should.
    Late,
    /// Its worker is not connected.
    Silent,
}

/// Jobs that run, as far as they may get second attempts, and how long the others of their builds took.
#[derive(Debug)]
pub(crate) struct Stragglers {
    /// By the time of their start; those that ended meanwhile are dropped when their time comes.
    young: VecDeque<(Timestamp, Attempt)>,
    /// By when to look again, with the time of their start.
    old: BTreeMap<(Timestamp, Attempt), Timestamp>,
    suspects: BTreeMap<Attempt, Suspicion>,
    /// Where among the suspects the last look ended.
    looked_at: Option<Attempt>,
    is_due: bool,
    is_armed: bool,
    spreads: IdMap<(UserId, BuildId), Spread>,
}

/// What the last jobs of a build took, in hundredths of what was predicted.
#[derive(Clone, Debug)]
struct Spread {
    ratios: Vec<u32>,
    next: usize,
    at: Timestamp,
}

impl Stragglers {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            young: VecDeque::new(),
            old: BTreeMap::new(),
            suspects: BTreeMap::new(),
            looked_at: None,
            is_due: false,
            is_armed: false,
            spreads: IdMap::with_seed(seed),
        }
    }

    /// The time to look has come.
    pub(crate) fn on_time(&mut self) {
        (self.is_due, self.is_armed) = (true, false);
    }

    pub(crate) fn take_due(&mut self) -> bool {
        core::mem::take(&mut self.is_due)
    }

    /// Up to `most` suspects, going round.
    pub(crate) fn next_suspects(&mut self, most: usize) -> Vec<(Attempt, Suspicion)> {
        let after = |&(attempt, _): &(&Attempt, &Suspicion)| self.looked_at.is_none_or(|last| *attempt > last);
        let (behind, before) = (self.suspects.iter().filter(after), self.suspects.iter().filter(|it| !after(it)));
        let next: Vec<_> = behind.chain(before).take(most).map(|(&attempt, &why)| (attempt, why)).collect();
        self.looked_at = next.last().map(|&(attempt, _)| attempt);
        next
    }

    pub(crate) fn acquit(&mut self, attempt: Attempt) {
        self.suspects.remove(&attempt);
    }

    /// A job of the build took so long, and was predicted to take that.
    pub(crate) fn learn(&mut self, build: (UserId, BuildId), predicted: Duration, took: Duration, now: Timestamp) {
        let ratio = took.as_micros().saturating_mul(100) / predicted.as_micros().max(1);
        let ratio = u32::try_from(ratio).unwrap_or(u32::MAX);
        if let Some(spread) = self.spreads.get_mut(build) {
            spread.add(ratio, now);
            return;
        }
        if self.spreads.len() >= MAX_BUILDS {
            let oldest = self.spreads.first_by(|spread| spread.at);
            oldest.map(|build| self.spreads.remove(build));
        }
        let mut spread = Spread { ratios: Vec::new(), next: 0, at: now };
        spread.add(ratio, now);
        self.spreads.insert(build, spread);
    }

    /// After how long a job of this build has run too long; `None` while nobody can say.
    fn limit(&self, build: (UserId, BuildId), prediction: &Prediction, factor: u32) -> Option<Duration> {
        let usual = match self.spreads.get(build).and_then(Spread::usual) {
            Some(usual) => usual.max(100),
            None if prediction.basis == Basis::Output => 100,
            None => return None,
        };
        let hundredths = u64::from(usual) * u64::from(factor) / 100;
        Some(prediction.duration.saturating_mul(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100)
    }

    pub(crate) fn check(&self, timer_is_set: bool) {
        assert_eq!(self.is_armed, timer_is_set, "the timer of stragglers");
        let waits = !self.young.is_empty() || !self.old.is_empty() || !self.suspects.is_empty();
        assert!(timer_is_set || self.is_due || !waits, "nobody looks for stragglers");
    }
}

impl Spread {
    fn add(&mut self, ratio: u32, now: Timestamp) {
        self.at = now;
        if self.ratios.len() < SAMPLES {
            self.ratios.push(ratio);
        } else {
            self.ratios[self.next] = ratio;
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// What nine of ten did not exceed.
    fn usual(&self) -> Option<u32> {
        if self.ratios.len() < ENOUGH {
            return None;
        }
        let mut ratios = self.ratios.clone();
        ratios.sort_unstable();
        ratios.get(ratios.len() * 9 / 10).copied()
    }
}

impl Scheduler {
    /// The attempt runs from now on: it is looked at when it has run for a while.
    pub(crate) fn watch(&mut self, attempt: Attempt, worker: WorkerId) {
        let may = self.config.speculation && self.isolates(worker);
        if may && self.jobs.get(attempt.job).is_some_and(Job::allows_second_attempt) {
            self.stragglers.young.push_back((self.now, attempt));
            self.arm(self.now + self.config.speculation_after);
        }
    }

    /// The worker's connection broke: what it holds need not wait until its lease is over.
    pub(crate) fn suspect_all_of(&mut self, worker: WorkerId) {
        if !self.config.speculation || !self.isolates(worker) {
            return;
        }
        for attempt in self.holdings.of_worker(worker) {
            self.stragglers.suspects.entry(attempt).or_insert(Suspicion::Silent);
            self.stragglers.is_due = true;
        }
    }

    pub(crate) fn isolates(&self, worker: WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.facts.isolates)
    }

    /// Finds those that have run too long by now.
    pub(crate) fn sift_stragglers(&mut self) {
        let (now, after) = (self.now, self.config.speculation_after);
        while let Some(&(began, attempt)) = self.stragglers.young.front().filter(|(began, _)| *began + after <= now) {
            self.stragglers.young.pop_front();
            self.stragglers.old.insert((now, attempt), began);
        }
        while let Some(entry) = self.stragglers.old.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, attempt), began) = entry.remove_entry();
            let Some(job) = self.jobs.get(attempt.job) else { continue };
            let runs = job.hold().is_some_and(|it| it.number == attempt.number && it.progress == Progress::Started);
            if !runs {
                continue;
            }
            let build = (job.facts.user, job.facts.build);
            let limit = self.stragglers.limit(build, &job.prediction, self.config.speculation_factor);
            match limit.map(|limit| began + limit.max(after)) {
                Some(at) if at <= now => drop(self.stragglers.suspects.insert(attempt, Suspicion::Late)),
                // What is usual in the build may change meanwhile; and what ends is not kept for long.
                at => drop(self.stragglers.old.insert((at.unwrap_or(now + after).min(now + after), attempt), began)),
            }
        }
    }

    /// Looks again when there may be something to see.
    pub(crate) fn look_for_stragglers_again(&mut self) {
        let (now, after) = (self.now, self.config.speculation_after);
        // Not for each job alone: they start one after the other.
        let young = self.stragglers.young.front().map(|&(began, _)| (began + after).max(now + after / 8));
        let old = self.stragglers.old.first_key_value().map(|(&(at, _), _)| at);
        let suspect = (!self.stragglers.suspects.is_empty()).then(|| now + RETRY);
        if let Some(at) = [young, old, suspect].into_iter().flatten().min() {
            self.stragglers.is_armed = false;
            self.arm(at);
        }
    }

    fn arm(&mut self, at: Timestamp) {
        if !self.stragglers.is_armed {
            self.stragglers.is_armed = true;
            self.timers.set(Timer::Stragglers, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: (UserId, BuildId) = (UserId::new(1), BuildId::new(1));
    const SECOND: Duration = Duration::from_secs(1);

    fn prediction(basis: Basis) -> Prediction {
        Prediction { duration: SECOND, memory: 0, memory_known: false, basis, tail: Duration::ZERO }
    }

    fn after(times: [u64; ENOUGH]) -> Stragglers {
        let mut stragglers = Stragglers::new(7);
        let times = times.map(|seconds| SECOND * u32::try_from(seconds).expect("small"));
        times.into_iter().for_each(|took| stragglers.learn(BUILD, SECOND, took, Timestamp::ZERO));
        stragglers
    }

    #[test]
    fn what_is_usual_in_the_build_is_not_too_long() {
        let slow = after([1, 5, 1, 5, 1, 5, 1, 5]);
        assert_eq!(slow.limit(BUILD, &prediction(Basis::Output), 200), Some(SECOND * 10));

        let fast = after([1; ENOUGH]);
        assert_eq!(fast.limit(BUILD, &prediction(Basis::Guess), 200), Some(SECOND * 2));
    }

    #[test]
    fn a_guess_alone_says_nothing_and_what_was_seen_before_says_enough() {
        let nobody = Stragglers::new(7);

        assert_eq!(nobody.limit(BUILD, &prediction(Basis::Guess), 200), None);
        assert_eq!(nobody.limit(BUILD, &prediction(Basis::Output), 200), Some(SECOND * 2));
    }

    #[test]
    fn only_so_many_jobs_of_a_build_are_remembered_the_last_ones() {
        let mut stragglers = Stragglers::new(7);
        let times = [1, 7].into_iter().flat_map(|seconds| [SECOND * seconds; SAMPLES]);
        times.for_each(|took| stragglers.learn(BUILD, SECOND, took, Timestamp::ZERO));

        assert_eq!(stragglers.limit(BUILD, &prediction(Basis::Output), 100), Some(SECOND * 7));
        assert_eq!(
            stragglers.spreads.get(BUILD).map(|it| &it.ratios[..]),
            Some(&[700; SAMPLES][..]),
            "each of the old ones is gone"
        );
    }

    #[test]
    fn only_so_many_builds_are_remembered_the_last_ones() {
        let mut stragglers = Stragglers::new(7);
        for build in 0..=MAX_BUILDS as u64 {
            let key = (UserId::new(1), BuildId::new(build));
            stragglers.learn(key, SECOND, SECOND, Timestamp::from_millis(build));
        }

        assert_eq!(stragglers.spreads.len(), MAX_BUILDS);
        assert!(stragglers.spreads.get((UserId::new(1), BuildId::new(0))).is_none());
    }
}
