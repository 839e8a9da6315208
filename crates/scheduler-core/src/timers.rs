//! Deadlines ordered by (time, key): one deadline a key, due ones leave in an order that never depends on chance.

use alloc::collections::BTreeSet;

use model::ids::{JobId, WorkerId};
use model::time::Timestamp;

use crate::idmap::{IdMap, Identity};

/// What a deadline is about. The order breaks ties between deadlines of the same microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A worker has been silent for a whole lease.
    Lease(WorkerId),
    /// Workers of an earlier server have had the time to say what they run.
    AdoptionOver,
    /// Jobs that no present worker can take have waited long enough for another.
    FleetGraceOver,
    /// A job has waited long enough for company.
    Company(JobId),
    /// Nobody claimed an attempt, or the result of one, whose job is unknown.
    Orphan(JobId),
    /// The oldest delivered answer, or the oldest attempt numbers of a forgotten job, need not be kept any more.
    Retention,
    /// A benched worker may be tried again.
    BenchOver(WorkerId),
    /// Jobs that wait for memory may have waited too long.
    Ageing,
    /// The jobs that came at the same time are together.
    Gathered,
    /// A job has waited long enough for a faster worker than those that are idle.
    Patience,
    /// Jobs may have run too long, and slots for second attempts be idle.
    Stragglers,
}

impl Identity for Timer {
    fn bits(&self) -> (u64, u64) {
        match self {
            Self::Lease(worker) => (u64::from(worker.number()), 1),
            Self::BenchOver(worker) => (u64::from(worker.number()), 2),
            Self::Company(job) => job.bits(),
            Self::Orphan(job) => (job.bits().0, !job.bits().1),
            single => (single.single().unwrap_or(0) as u64, 3),
        }
    }
}

/// How many timers there are of which each is the only one of its kind.
const SINGLE: usize = 7;

impl Timer {
    /// Its place among those that are the only ones of their kinds.
    fn single(self) -> Option<usize> {
        match self {
            Self::Lease(_) | Self::Company(_) | Self::Orphan(_) | Self::BenchOver(_) => None,
            Self::AdoptionOver => Some(0),
            Self::FleetGraceOver => Some(1),
            Self::Retention => Some(2),
            Self::Ageing => Some(3),
            Self::Gathered => Some(4),
            Self::Patience => Some(5),
            Self::Stragglers => Some(6),
        }
    }
}

/// The pending deadlines.
#[derive(Debug)]
pub(crate) struct Timers {
    order: BTreeSet<(Timestamp, Timer)>,
    when: IdMap<Timer, Timestamp>,
    /// Of those that are the only ones of their kinds: every step asks for some.
    single: [Option<Timestamp>; SINGLE],
}

impl Timers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { order: BTreeSet::new(), when: IdMap::with_seed(seed), single: [None; SINGLE] }
    }

    /// Sets the key's only deadline, replacing an earlier one.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(before) = self.note(timer, Some(at)) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
    }

    /// The same, unless it has an earlier one.
    pub(crate) fn set_no_later(&mut self, timer: Timer, at: Timestamp) {
        if self.deadline(timer).is_none_or(|set| at < set) {
            self.set(timer, at);
        }
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(before) = self.note(timer, None) {
            self.order.remove(&(before, timer));
        }
    }

    /// Takes out one deadline that is not after `now`, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let &(at, timer) = self.order.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|&(at, _)| at)
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadline(timer).is_some()
    }

    fn deadline(&self, timer: Timer) -> Option<Timestamp> {
        match timer.single() {
            Some(place) => self.single[place],
            None => self.when.get(timer).copied(),
        }
    }

    /// All of them, in the order of their deadlines.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Timer> {
        self.order.iter().map(|&(_, timer)| timer)
    }

    /// Notes the key's deadline. Says which one it had before.
    fn note(&mut self, timer: Timer, at: Option<Timestamp>) -> Option<Timestamp> {
        match (timer.single(), at) {
            (Some(place), at) => core::mem::replace(&mut self.single[place], at),
            (None, Some(at)) => self.when.insert(timer, at),
            (None, None) => self.when.remove(timer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASH: Timer = Timer::Lease(WorkerId::new(1));
    const BIRCH: Timer = Timer::Lease(WorkerId::new(2));

    #[test]
    fn deadlines_of_one_moment_leave_in_the_order_of_their_keys() {
        let mut timers = Timers::new(7);
        timers.set(BIRCH, Timestamp::from_millis(5));
        timers.set(ASH, Timestamp::from_millis(5));

        let now = Timestamp::from_millis(5);

        assert_eq!([timers.pop_due(now), timers.pop_due(now), timers.pop_due(now)], [Some(ASH), Some(BIRCH), None]);
    }

    #[test]
    fn setting_a_deadline_again_replaces_it() {
        let mut timers = Timers::new(7);
        timers.set(ASH, Timestamp::from_millis(5));

        timers.set(ASH, Timestamp::from_millis(9));

        assert_eq!(timers.pop_due(Timestamp::from_millis(8)), None);
        assert_eq!(timers.next(), Some(Timestamp::from_millis(9)));
    }
}
