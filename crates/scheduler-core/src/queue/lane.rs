//! The waiting jobs of one build that make the same demands on a worker. One question a lane ("has anybody room for
//! this class?") answers for all jobs in it.

use alloc::collections::{BTreeMap, BTreeSet};

use model::ids::{DirKey, JobId};
use model::time::Timestamp;

use super::opening::{Open, Readiness};

const WAY_BITS: u32 = 54;
const LONGEST_WAY: u64 = (1 << WAY_BITS) - 1;

/// The order inside a build: what was handed back, then by priority, then links, then the longest way to the end (its own
/// time and that of those that wait for it), then the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// All but the arrival in the bits of one number, because ranks are compared all the time: 1 for a newcomer, 8 of
    /// niceness, 1 for what is no link, 54 of how far the microseconds of its way lie below the most.
    merit: u64,
    pub(crate) arrival: u64,
}

impl Rank {
    /// Its way to the end, in microseconds, counts up to 570 years.
    pub(crate) fn new(is_newcomer: bool, nice: i8, is_link: bool, way: u64, arrival: u64) -> Self {
        #[expect(clippy::cast_sign_loss, reason = "moved to where all are positive")]
        let nice = (i16::from(nice) + 128) as u64;
        let class = u64::from(is_newcomer) << 9 | nice << 1 | u64::from(!is_link);
        Self { merit: class << WAY_BITS | (LONGEST_WAY - way.min(LONGEST_WAY)), arrival }
    }

    /// Microseconds to the end.
    pub(crate) fn way(self) -> u64 {
        LONGEST_WAY - (self.merit & LONGEST_WAY)
    }

    /// The first that could be its kin and has no longer a way than this.
    pub(crate) fn no_longer_than(self, micros: u64) -> Self {
        Self { arrival: 0, ..self.of_way(micros) }
    }

    /// What it would be with this way, in microseconds.
    fn of_way(self, micros: u64) -> Self {
        Self { merit: (self.merit & !LONGEST_WAY) | (LONGEST_WAY - micros.min(LONGEST_WAY)), ..self }
    }

    pub(crate) fn nice(self) -> i32 {
        i32::from((self.merit >> (WAY_BITS + 1)) as u8) - 128
    }

    pub(crate) fn is_newcomer(self) -> bool {
        self.merit >> (WAY_BITS + 9) == 1
    }

    /// Whether they differ in nothing but their ways and when they came.
    pub(crate) fn is_kin_of(self, other: Self) -> bool {
        self.merit >> WAY_BITS == other.merit >> WAY_BITS
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
    /// How long it is expected to run, in microseconds.
    pub(crate) expected: u64,
    /// The most jobs of one dispatch that this one asks for.
    pub(crate) company: u32,
    /// Waits for company, and may still have it.
    pub(crate) green: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    jobs: BTreeMap<Rank, Entry>,
    by_age: BTreeSet<(Timestamp, Rank)>,
    /// Those for which others wait, by the ranks that they would have if nobody did: a short one has a long way.
    awaited: BTreeMap<Rank, (Rank, JobId)>,
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
        if entry.expected < rank.way() {
            self.awaited.insert(rank.of_way(entry.expected), (rank, entry.job));
        }
        self.jobs.insert(rank, entry);
        self.note_ends();
    }

    pub(crate) fn remove(&mut self, since: Timestamp, rank: Rank) {
        if let Some(entry) = self.jobs.remove(&rank) {
            self.green -= u32::from(entry.green);
            self.by_age.remove(&(since, rank));
            if entry.expected < rank.way() {
                self.awaited.remove(&rank.of_way(entry.expected));
            }
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

    /// The next job that may go, and how it compares with the next of other lanes.
    pub(crate) fn next(&self, which: Readiness, overdue: Timestamp) -> Option<(Standing, JobId)> {
        let (rank, job) = self.first_in_time(which)?;
        // Who waits for company is not overdue before that.
        let has_all = which == Readiness::Any || self.green == 0 || self.has_company();
        match self.oldest {
            Some((since, rank, job)) if has_all && since < overdue => {
                Some((Standing::Overdue(since, rank.arrival), job))
            }
            _ => Some((Standing::InTime(rank), job)),
        }
    }

    /// The first job by rank that may go.
    pub(crate) fn first_in_time(&self, which: Readiness) -> Option<(Rank, JobId)> {
        if self.shut.get(which) {
            return None;
        }
        if which == Readiness::Any || self.green == 0 || self.has_company() {
            return self.first.map(|(rank, job, _)| (rank, job));
        }
        // Fewer than the company that the first one waits for: not many.
        let ripe = self.jobs.iter().find(|(_, entry)| !entry.green);
        ripe.map(|(&rank, entry)| (rank, entry.job))
    }

    /// When the oldest job came.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.oldest.map(|(since, _, _)| since)
    }

    /// The oldest job, and when it came.
    pub(crate) fn oldest_job(&self) -> Option<(Timestamp, JobId)> {
        self.oldest.map(|(since, _, job)| (since, job))
    }

    /// Of its kin that are expected to take no more than this, the longest one, or the longest of those for which others
    /// wait, whichever goes first.
    pub(crate) fn shorter(&self, rank: Rank, micros: u64) -> Option<JobId> {
        let limit = rank.no_longer_than(micros);
        let alone = self.jobs.range(limit..).next().map(|(&rank, entry)| (rank, entry.job));
        let awaited = self.awaited.range(limit..).next().map(|(_, &found)| found);
        let kin = [alone, awaited].into_iter().flatten().filter(|(found, _)| found.is_kin_of(rank));
        kin.min().map(|(_, job)| job)
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
        let awaited = self.jobs.iter().filter(|(rank, entry)| entry.expected < rank.way());
        let awaited: BTreeMap<_, _> =
            awaited.map(|(rank, entry)| (rank.of_way(entry.expected), (*rank, entry.job))).collect();
        assert_eq!(awaited, self.awaited, "the jobs of a lane for which others wait");
        let first = self.jobs.first_key_value().map(|(&rank, entry)| (rank, entry.job, entry.company));
        assert_eq!(first, self.first, "the first job of a lane");
        let oldest = self.oldest.map(|(since, rank, _)| (since, rank));
        assert_eq!(oldest, self.by_age.first().copied(), "the oldest job of a lane");
        assert_eq!(self.jobs.values().filter(|entry| entry.green).count(), self.green as usize, "green jobs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Timestamp = Timestamp::from_micros(1);
    const LATE: Timestamp = Timestamp::from_micros(2);

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    fn rank(micros: u64, arrival: u64) -> Rank {
        Rank::new(true, 0, false, micros, arrival)
    }

    /// Of a job that asks for two others.
    fn entry(number: u8, green: bool) -> Entry {
        Entry { job: job(number), dir: None, expected: 10, company: 3, green }
    }

    #[test]
    fn a_rank_says_what_it_was_made_of() {
        let parts = |rank: Rank| (rank.is_newcomer(), rank.nice(), rank.way(), rank.arrival);

        assert_eq!(parts(Rank::new(true, -3, true, 70, 9)), (true, -3, 70, 9));
        assert_eq!(parts(Rank::new(false, 4, false, u64::MAX, 0)), (false, 4, LONGEST_WAY, 0));
    }

    #[test]
    fn kin_differ_in_nothing_but_their_ways_and_when_they_came() {
        let rank = Rank::new(true, -3, true, 70, 9);

        assert_eq!(rank.of_way(30), Rank::new(true, -3, true, 30, 9));
        assert!(rank.is_kin_of(Rank::new(true, -3, true, 30, 8)));
        let others = [(false, -3, true), (true, -4, true), (true, -3, false)];
        assert!(!others.iter().any(|&(new, nice, link)| Rank::new(new, nice, link, 70, 9).is_kin_of(rank)));
    }

    #[test]
    fn who_waits_for_company_is_not_overdue_before_that() {
        let mut lane = Lane::default();
        lane.insert(EARLY, rank(30, 1), entry(1, true));
        lane.insert(EARLY, rank(20, 2), entry(2, false));
        let next = |lane: &Lane, which| lane.next(which, LATE);
        let overdue = Some((Standing::Overdue(EARLY, 1), job(1)));

        assert_eq!(next(&lane, Readiness::Any), overdue, "for an idle slot nobody waits for company");
        assert_eq!(next(&lane, Readiness::Ripe), Some((Standing::InTime(rank(20, 2)), job(2))));
        lane.insert(EARLY, rank(10, 3), entry(3, true));
        assert_eq!(next(&lane, Readiness::Ripe), overdue, "it has company");
        lane.remove(EARLY, rank(10, 3));
        lane.ripen(rank(30, 1));
        assert_eq!(next(&lane, Readiness::Ripe), overdue, "it waits for none any more");
    }

    #[test]
    fn a_lane_is_open_for_what_of_it_may_go() {
        let mut lane = Lane::default();
        let open = |lane: &Lane| (lane.open().any, lane.open().ripe);
        assert_eq!(open(&lane), (false, false));

        lane.insert(EARLY, rank(30, 1), entry(1, true));
        assert_eq!(open(&lane), (true, false), "it waits for company");
        lane.ripen(rank(30, 1));
        assert_eq!(open(&lane), (true, true));
        lane.shut.set(Readiness::Ripe, true);
        assert_eq!(open(&lane), (true, false));
        lane.shut.set(Readiness::Any, true);
        assert_eq!(open(&lane), (false, false));
    }

    #[test]
    fn of_those_in_time_rank_decides_and_of_the_overdue_age() {
        let mut lane = Lane::default();
        lane.insert(EARLY, rank(10, 1), entry(1, false));
        lane.insert(LATE, rank(20, 2), entry(2, false));

        assert_eq!(lane.next(Readiness::Any, EARLY), Some((Standing::InTime(rank(20, 2)), job(2))));
        assert_eq!(lane.next(Readiness::Any, LATE), Some((Standing::Overdue(EARLY, 1), job(1))));
    }

    #[test]
    fn a_job_of_just_that_length_is_short_enough_though_it_came_first() {
        let mut lane = Lane::default();
        let mut push = |number: u8, micros: u64| {
            let rank = rank(micros, number.into());
            lane.insert(EARLY, rank, Entry { expected: micros, ..entry(number, false) });
            (job(number), rank)
        };
        let (short, _) = push(1, 10);
        let (_, long) = push(2, 20);

        assert_eq!(lane.shorter(long, 10), Some(short));
        assert_eq!(lane.shorter(long, 9), None);
    }
}
