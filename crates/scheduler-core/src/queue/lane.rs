//! The waiting jobs of one build that make the same demands on a worker. One question a lane ("has anybody room for
//! this class?") answers for all jobs in it.

use alloc::collections::{BTreeMap, BTreeSet};

use model::ids::{DirKey, JobId};
use model::time::Timestamp;

use super::opening::Open;

const EXPECTED_BITS: u32 = 54;
const MOST_EXPECTED: u64 = (1 << EXPECTED_BITS) - 1;

/// The order inside a build: what was handed back, then by priority, then links, then the longest expected, then the
/// order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// All but the arrival in the bits of one number, because ranks are compared all the time: 1 for a newcomer, 8 of
    /// niceness, 1 for what is no link, 54 of how far the expected microseconds lie below the most.
    merit: u64,
    pub(crate) arrival: u64,
}

impl Rank {
    /// What is expected, in microseconds, counts up to 570 years.
    pub(crate) fn new(is_newcomer: bool, nice: i8, is_link: bool, expected: u64, arrival: u64) -> Self {
        #[expect(clippy::cast_sign_loss, reason = "moved to where all are positive")]
        let nice = (i16::from(nice) + 128) as u64;
        let class = u64::from(is_newcomer) << 9 | nice << 1 | u64::from(!is_link);
        Self { merit: class << EXPECTED_BITS | (MOST_EXPECTED - expected.min(MOST_EXPECTED)), arrival }
    }

    /// Microseconds.
    pub(crate) fn expected(self) -> u64 {
        MOST_EXPECTED - (self.merit & MOST_EXPECTED)
    }

    /// The first that could be its kin and is expected to take no more than this.
    pub(crate) fn no_longer_than(self, micros: u64) -> Self {
        Self { merit: (self.merit & !MOST_EXPECTED) | (MOST_EXPECTED - micros.min(MOST_EXPECTED)), arrival: 0 }
    }

    pub(crate) fn nice(self) -> i32 {
        i32::from((self.merit >> (EXPECTED_BITS + 1)) as u8) - 128
    }

    pub(crate) fn is_newcomer(self) -> bool {
        self.merit >> (EXPECTED_BITS + 9) == 1
    }

    /// Whether they differ in nothing but what is expected and when they came.
    pub(crate) fn is_kin_of(self, other: Self) -> bool {
        self.merit >> EXPECTED_BITS == other.merit >> EXPECTED_BITS
    }
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
    /// Where it writes.
    pub(crate) dir: Option<DirKey>,
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
    /// Nobody can take its class now.
    pub(crate) shut: Open,
    /// The first by rank, with the company that it asks for, and the oldest: copies, because every lane of a build is
    /// asked for them in every decision.
    first: Option<(Rank, JobId, u32)>,
    oldest: Option<(Timestamp, Rank, JobId)>,
}

impl Lane {
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn insert(&mut self, since: Timestamp, rank: Rank, entry: Entry) {
        self.green += u32::from(entry.green);
        self.by_age.insert((since, rank));
        self.jobs.insert(rank, entry);
        self.note_ends();
    }

    pub(crate) fn remove(&mut self, since: Timestamp, rank: Rank) {
        if let Some(entry) = self.jobs.remove(&rank) {
            self.green -= u32::from(entry.green);
            self.by_age.remove(&(since, rank));
            self.note_ends();
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

    /// What of it may go.
    pub(crate) fn open(&self) -> Open {
        let waits = !self.is_empty();
        Open { any: waits && !self.shut.any, ripe: waits && !self.shut.ripe && self.is_ripe() }
    }

    /// The next job, and how it compares with the next of other lanes: the oldest if it came before `overdue`, else
    /// the first by rank.
    pub(crate) fn head(&self, overdue: Timestamp) -> Option<(Standing, JobId)> {
        if let Some((since, rank, job)) = self.oldest
            && since < overdue
        {
            return Some((Standing::Overdue(since, rank.arrival), job));
        }
        self.first.map(|(rank, job, _)| (Standing::InTime(rank), job))
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
        self.oldest.map(|(since, _, _)| since)
    }

    /// The longest of its kin that is expected to take no more than this.
    pub(crate) fn shorter(&self, rank: Rank, micros: u64) -> Option<JobId> {
        let (&next, entry) = self.jobs.range(rank.no_longer_than(micros)..).next()?;
        next.is_kin_of(rank).then_some(entry.job)
    }

    /// The jobs by rank.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (Rank, JobId)> + '_ {
        self.jobs.iter().map(|(&rank, entry)| (rank, entry.job))
    }

    /// This job and those behind it, by rank.
    pub(crate) fn from(&self, rank: Rank) -> impl Iterator<Item = (Rank, &Entry)> {
        self.jobs.range(rank..).map(|(&rank, entry)| (rank, entry))
    }

    /// How many jobs stand before this one by rank. Looks at all of them.
    pub(crate) fn before(&self, rank: Rank) -> usize {
        self.jobs.range(..rank).count()
    }

    fn has_company(&self) -> bool {
        self.first.is_some_and(|(_, _, company)| self.jobs.len() >= company as usize)
    }

    fn note_ends(&mut self) {
        self.first = self.jobs.first_key_value().map(|(&rank, entry)| (rank, entry.job, entry.company));
        let oldest = self.by_age.first().copied();
        if self.oldest.map(|(since, rank, _)| (since, rank)) != oldest {
            self.oldest = oldest.and_then(|(since, rank)| self.jobs.get(&rank).map(|entry| (since, rank, entry.job)));
        }
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.jobs.len(), self.by_age.len(), "jobs of a lane by rank and by age");
        let first = self.jobs.first_key_value().map(|(&rank, entry)| (rank, entry.job, entry.company));
        assert_eq!(first, self.first, "the first job of a lane");
        let oldest = self.oldest.map(|(since, rank, _)| (since, rank));
        assert_eq!(oldest, self.by_age.first().copied(), "the oldest job of a lane");
        assert_eq!(self.jobs.values().filter(|entry| entry.green).count(), self.green as usize, "green jobs");
    }
}
