//! Deadlines ordered by (time, key): one deadline a key, due ones leave in an order that never depends on chance.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

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
            Self::AdoptionOver => (0, 3),
            Self::FleetGraceOver => (0, 4),
            Self::Retention => (0, 5),
            Self::Ageing => (0, 6),
            Self::Stragglers => (0, 7),
            Self::Gathered => (0, 8),
        }
    }
}

/// The pending deadlines.
#[derive(Debug)]
pub(crate) struct Timers {
    order: BTreeSet<(Timestamp, Timer)>,
    when: IdMap<Timer, Timestamp>,
}

impl Timers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { order: BTreeSet::new(), when: IdMap::with_seed(seed) }
    }

    /// Sets the key's only deadline, replacing an earlier one.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.clear(timer);
        self.when.insert(timer, at);
        self.order.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.when.remove(timer) {
            self.order.remove(&(at, timer));
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
        self.when.contains(timer)
    }

    /// All of them, in order.
    pub(crate) fn pending(&self) -> Vec<Timer> {
        self.when.sorted_keys()
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
