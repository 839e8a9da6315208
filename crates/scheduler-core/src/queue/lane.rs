//! The waiting jobs of one build that make the same demands on a worker. One question a lane ("has anybody room for
//! this class?") answers for all jobs in it.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

use model::ids::JobId;
use model::time::Timestamp;

/// The order inside a build: what was handed back, then by priority, then links, then the longest expected, then the
/// order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) newcomer: bool,
    pub(crate) nice: i8,
    pub(crate) not_link: bool,
    /// Microseconds.
    pub(crate) expected: Reverse<u64>,
    pub(crate) arrival: u64,
}

/// How the next jobs of the lanes of a build compare; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It has waited too long: in the order in which these came.
    Overdue(Timestamp, u64),
    /// By rank.
    InTime(Rank),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) job: JobId,
    /// The most jobs of one dispatch that this one asks for.
    pub(crate) company: u32,
    /// Waits for company, and may still have it.
    pub(crate) green: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    jobs: BTreeMap<Rank, Entry>,
    by_age: BTreeSet<(Timestamp, Rank)>,
    green: u32,
}

impl Lane {
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn insert(&mut self, since: Timestamp, rank: Rank, entry: Entry) {
        self.green += u32::from(entry.green);
        self.by_age.insert((since, rank));
        self.jobs.insert(rank, entry);
    }

    pub(crate) fn remove(&mut self, since: Timestamp, rank: Rank) {
        if let Some(entry) = self.jobs.remove(&rank) {
            self.green -= u32::from(entry.green);
            self.by_age.remove(&(since, rank));
        }
    }

    /// The job's wait for company is over.
    pub(crate) fn ripen(&mut self, rank: Rank) {
        if let Some(entry) = self.jobs.get_mut(&rank) {
            self.green -= u32::from(core::mem::take(&mut entry.green));
        }
    }

    /// Whether one of its jobs may be sent beyond a worker's slots.
    pub(crate) fn is_ripe(&self) -> bool {
        self.has_company() || (self.green as usize) < self.jobs.len()
    }

    /// The next job, and how it compares with the next of other lanes: the oldest if it came before `overdue`, else
    /// the first by rank.
    pub(crate) fn head(&self, overdue: Timestamp) -> Option<(Standing, JobId)> {
        if let Some(&(since, rank)) = self.by_age.first()
            && since < overdue
        {
            return self.jobs.get(&rank).map(|entry| (Standing::Overdue(since, rank.arrival), entry.job));
        }
        self.jobs.first_key_value().map(|(&rank, entry)| (Standing::InTime(rank), entry.job))
    }

    /// The first job that may be sent beyond a worker's slots: its wait for company is over, or it has company.
    pub(crate) fn ripe_head(&self, overdue: Timestamp) -> Option<(Standing, JobId)> {
        if self.has_company() || self.green == 0 {
            return self.head(overdue);
        }
        // Fewer than the company that the first one waits for: not many.
        let ripe = self.jobs.iter().find(|(_, entry)| !entry.green);
        ripe.map(|(&rank, entry)| (Standing::InTime(rank), entry.job))
    }

    /// When the oldest job came.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.by_age.first().map(|&(since, _)| since)
    }

    /// The jobs by rank.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (Rank, JobId)> + '_ {
        self.jobs.iter().map(|(&rank, entry)| (rank, entry.job))
    }

    /// How many jobs stand before this one by rank. Looks at all of them.
    pub(crate) fn before(&self, rank: Rank) -> usize {
        self.jobs.range(..rank).count()
    }

    fn has_company(&self) -> bool {
        self.jobs.first_key_value().is_some_and(|(_, first)| self.jobs.len() >= first.company as usize)
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.jobs.len(), self.by_age.len(), "jobs of a lane by rank and by age");
        assert_eq!(self.jobs.values().filter(|entry| entry.green).count(), self.green as usize, "green jobs");
    }
}
