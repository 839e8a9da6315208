//! The jobs that wait, by user, build and lane. A link that no idle worker may take never blocks the compiles behind
//! it. A decision costs by those whose turn it is and who cannot be served, not by the jobs that wait.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{BuildId, JobId, UserId};
use model::job::{JobKind, Priority};
use model::time::Timestamp;

use super::lane::{Entry, Lane, Rank, Standing};
use super::shares::Shares;
use super::weights;
use crate::idmap::IdMap;
use crate::workers::ClassId;

/// The least that a turn costs, so that jobs of no length take turns too; microseconds.
const LEAST_COST: u64 = 1_000;
/// How much more of its user's slot time an interactive build gets.
const INTERACTIVE_BOOST: u64 = 4;

/// Lanes of a build that may be closed one after the other before all are asked.
const FEW_CLOSED: usize = 4;

/// Where a waiting job stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    user: UserId,
    build: BuildId,
    class: ClassId,
    since: Timestamp,
    rank: Rank,
}

#[derive(Debug, Default)]
struct Build {
    lanes: BTreeMap<ClassId, Lane>,
    ripe_lanes: usize,
    waiting: u32,
    held: u32,
}

#[derive(Debug)]
struct User {
    builds: IdMap<BuildId, Build>,
    shares: Shares<BuildId>,
    ripe_builds: usize,
    waiting: usize,
}

impl User {
    fn new(seed: u64) -> Self {
        Self { builds: IdMap::with_seed(seed), shares: Shares::new(seed), ripe_builds: 0, waiting: 0 }
    }

    /// One of the builds begins or ceases to have something ripe. If the user does by that: which of them.
    fn note_ripe(&mut self, build: BuildId, ripened: Option<bool>) -> Option<bool> {
        let is_ripe = ripened?;
        self.shares.set_ripe(build, is_ripe);
        let had_ripe = self.ripe_builds > 0;
        self.ripe_builds = if is_ripe { self.ripe_builds + 1 } else { self.ripe_builds - 1 };
        let has_ripe = self.ripe_builds > 0;
        (had_ripe != has_ripe).then_some(has_ripe)
    }
}

impl Build {
    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.held == 0
    }

    /// Changes a lane. If the build begins or ceases to have something ripe by that: which of them.
    fn change_lane(&mut self, class: ClassId, change: impl FnOnce(&mut Lane)) -> Option<bool> {
        let lane = self.lanes.entry(class).or_default();
        let was_ripe = !lane.is_empty() && lane.is_ripe();
        change(lane);
        let is_ripe = !lane.is_empty() && lane.is_ripe();
        if lane.is_empty() {
            self.lanes.remove(&class);
        }
        let had_ripe = self.ripe_lanes > 0;
        self.ripe_lanes = self.ripe_lanes + usize::from(is_ripe) - usize::from(was_ripe);
        let has_ripe = self.ripe_lanes > 0;
        (had_ripe != has_ripe).then_some(has_ripe)
    }
}

/// Which jobs of a lane may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Any: a slot is idle, and nobody waits for company then.
    Any,
    /// Only those that need not wait for company.
    Ripe,
}

/// A job as the queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) user: UserId,
    pub(crate) build: BuildId,
    pub(crate) kind: JobKind,
    pub(crate) priority: Priority,
    pub(crate) class: ClassId,
    /// How long it is expected to run.
    pub(crate) expected: Duration,
    /// The most jobs of one dispatch that it asks for.
    pub(crate) company: u32,
    /// When it came first.
    pub(crate) since: Timestamp,
    /// Before the others of its build: it was to run already and came back.
    pub(crate) in_front: bool,
}

/// What a turn cost the job's user and build, in their virtual times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    user: u64,
    build: u64,
    /// Of how many microseconds of slot time.
    micros: u64,
    /// How many the prediction said.
    expected: u64,
}

/// How shares are parted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sharing {
    /// Hundredths of the usual share; who is not named has 100.
    pub(crate) user_weights: BTreeMap<UserId, u32>,
    /// Who may be more urgent than others, beside root.
    pub(crate) urgent_users: BTreeSet<UserId>,
    pub(crate) interactive_jobs: u32,
    pub(crate) ageing: Duration,
}

impl Sharing {
    /// Whether a user may take slots from others by calling the own jobs urgent: as with `nice`, root and whom root
    /// allows it.
    fn may_be_urgent(&self, user: UserId) -> bool {
        user.uid() == 0 || self.urgent_users.contains(&user)
    }
}

/// The waiting jobs.
#[derive(Debug)]
pub(crate) struct ReadyQueue {
    users: IdMap<UserId, User>,
    shares: Shares<UserId>,
    places: IdMap<JobId, Place>,
    by_class: IdMap<ClassId, usize>,
    /// What jobs lately took of what was expected, in 1024ths: turns are charged in advance, and a newcomer must not
    /// wait until the others' charges for what they will never use are given back.
    truth: u64,
    arrivals: u64,
    sharing: Sharing,
    seed: u64,
}

impl ReadyQueue {
    pub(crate) fn new(sharing: Sharing, seed: u64) -> Self {
        let (users, shares, places) = (IdMap::with_seed(seed), Shares::new(seed), IdMap::with_seed(seed));
        Self { users, shares, places, by_class: IdMap::with_seed(seed), truth: 1024, arrivals: 0, sharing, seed }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.places.contains(job)
    }

    /// How many jobs of this user wait.
    pub(crate) fn len_of(&self, user: UserId) -> usize {
        self.users.get(user).map_or(0, |user| user.waiting)
    }

    pub(crate) fn push(&mut self, job: JobId, asking: Asking) {
        let expected = u64::try_from(asking.expected.as_micros()).unwrap_or(u64::MAX);
        let is_link = asking.kind == JobKind::Link;
        let rank = Rank::new(!asking.in_front, asking.priority.nice(), is_link, expected, self.arrivals);
        self.arrivals += 1;
        let Asking { user, build, class, since, .. } = asking;
        let place = Place { user, build, class, since, rank };
        self.places.insert(job, place);
        *self.by_class.get_or_insert_with(class, || 0) += 1;
        let account = self.users.get_or_insert_with(user, || User::new(self.seed));
        if account.waiting == 0 {
            self.shares.join(user);
        }
        let entry = Entry { job, company: asking.company, green: asking.company > 1 && !asking.in_front };
        account.waiting += 1;
        let its_build = account.builds.get_or_insert_with(build, Build::default);
        if its_build.waiting == 0 {
            account.shares.join(build);
        }
        its_build.waiting += 1;
        let ripened = its_build.change_lane(class, |lane| lane.insert(since, rank, entry));
        if let Some(is_ripe) = account.note_ripe(build, ripened) {
            self.shares.set_ripe(user, is_ripe);
        }
    }

    /// The job's wait for company is over.
    pub(crate) fn ripen(&mut self, job: JobId) {
        let Some(place) = self.places.get(job).copied() else { return };
        let Some(account) = self.users.get_mut(place.user) else { return };
        let Some(build) = account.builds.get_mut(place.build) else { return };
        let ripened = build.change_lane(place.class, |lane| lane.ripen(place.rank));
        if let Some(is_ripe) = account.note_ripe(place.build, ripened) {
            self.shares.set_ripe(place.user, is_ripe);
        }
    }

    /// The job whose turn it is, among those whose class is `open`. It stays queued until it is served or removed.
    pub(crate) fn next(
        &self,
        which: Readiness,
        now: Timestamp,
        mut open: impl FnMut(ClassId) -> bool,
    ) -> Option<JobId> {
        let overdue = self.overdue(now);
        let mut of_user = |user: UserId| {
            let user = self.users.get(user)?;
            let mut of_build = |build| next_of(user.builds.get(build)?, which, overdue, &mut open);
            match which {
                Readiness::Any => user.shares.in_order().find_map(&mut of_build),
                Readiness::Ripe => user.shares.ripe_in_order().find_map(&mut of_build),
            }
        };
        match which {
            Readiness::Any => self.shares.in_order().find_map(&mut of_user),
            Readiness::Ripe => self.shares.ripe_in_order().find_map(&mut of_user),
        }
    }

    /// Up to `most` jobs that may share a dispatch with this one: the next of its lane.
    pub(crate) fn company_of(&self, job: JobId, most: usize) -> Vec<JobId> {
        let Some(place) = self.places.get(job).filter(|_| most > 0) else { return Vec::new() };
        let others = self.lane(place).into_iter().flat_map(Lane::jobs).map(|(_, other)| other);
        others.filter(|&other| other != job).take(most).collect()
    }

    /// This job and up to `most` more that could as well go in its place: those behind it that are of its kind, as
    /// urgent, and at least half as long. None if it has waited too long or came back.
    pub(crate) fn equals_of(&self, job: JobId, most: usize, now: Timestamp) -> Vec<JobId> {
        let Some(place) = self.places.get(job) else { return Vec::new() };
        let first = place.rank;
        let is_equal =
            |rank: &Rank| rank.is_newcomer() && rank.is_kin_of(first) && rank.expected() >= first.expected() / 2;
        if !is_equal(&first) || place.since < self.overdue(now) {
            return Vec::new();
        }
        let behind = self.lane(place).into_iter().flat_map(Lane::jobs).skip_while(|(rank, _)| *rank < first);
        behind.take(most + 1).take_while(|(rank, _)| is_equal(rank)).map(|(_, job)| job).collect()
    }

    /// Takes the job out because it gets its turn, which its user and build are charged for.
    pub(crate) fn serve(&mut self, job: JobId) -> Charge {
        let Some(place) = self.places.remove(job) else { return Charge::default() };
        let (truth, sharing) = (self.truth, &self.sharing);
        let Some(account) = self.users.get_mut(place.user) else { return Charge::default() };
        let Some(build) = account.builds.get_mut(place.build) else { return Charge::default() };
        let charge = cost(&place, build, truth, sharing);
        self.shares.charge(place.user, charge.user);
        account.shares.charge(place.build, charge.build);
        build.held += 1;
        self.clear_place(&place);
        charge
    }

    /// A turn is over: the user and the build pay for the slot time it really took.
    pub(crate) fn settle(&mut self, user: UserId, build: BuildId, charge: Charge, used: Duration) {
        if charge.micros == 0 {
            return;
        }
        let used = u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
        // In the proportion of what was charged: the weights are those of the time when the turn began.
        let real = |charged: u64| {
            let real = u128::from(charged) * u128::from(used) / u128::from(charge.micros);
            u64::try_from(real).unwrap_or(u64::MAX)
        };
        if used > 0 {
            let truth = (u128::from(used) * 1024 / u128::from(charge.expected.max(1))).clamp(64, 16_384);
            self.truth = self.truth - self.truth / 8 + u64::try_from(truth).unwrap_or(1024) / 8;
        }
        self.shares.settle(user, charge.user, real(charge.user));
        let Some(account) = self.users.get_mut(user) else { return };
        account.shares.settle(build, charge.build, real(charge.build));
        let Some(served) = account.builds.get_mut(build) else { return };
        served.held = served.held.saturating_sub(1);
        if served.is_idle() {
            self.drop_build(user, build);
        }
    }

    /// Takes the job out without its having had a turn.
    pub(crate) fn remove(&mut self, job: JobId) {
        if let Some(place) = self.places.remove(job) {
            self.clear_place(&place);
        }
    }

    /// Nobody stands there any more.
    fn clear_place(&mut self, place: &Place) {
        if let Some(waiting) = self.by_class.get_mut(place.class) {
            *waiting -= 1;
            if *waiting == 0 {
                self.by_class.remove(place.class);
            }
        }
        let Some(account) = self.users.get_mut(place.user) else { return };
        let Some(build) = account.builds.get_mut(place.build) else { return };
        let ripened = build.change_lane(place.class, |lane| lane.remove(place.since, place.rank));
        build.waiting -= 1;
        let (build_waits, is_idle) = (build.waiting > 0, build.is_idle());
        if let Some(is_ripe) = account.note_ripe(place.build, ripened) {
            self.shares.set_ripe(place.user, is_ripe);
        }
        account.waiting -= 1;
        if !build_waits {
            account.shares.leave(place.build);
        }
        if account.waiting == 0 {
            self.shares.leave(place.user);
        }
        if is_idle {
            self.drop_build(place.user, place.build);
        }
    }

    /// Every waiting job, in the order of their ids. Looks at all of them.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        self.places.sorted_keys()
    }

    /// Whether jobs of this class wait.
    pub(crate) fn has_class(&self, class: ClassId) -> bool {
        self.by_class.contains(class)
    }

    /// The classes of waiting jobs, with when the oldest job of each came. Looks at every lane.
    pub(crate) fn classes(&self) -> BTreeMap<ClassId, Timestamp> {
        let mut classes = BTreeMap::new();
        for (&class, lane) in self.builds().flat_map(|build| &build.lanes) {
            let Some(oldest) = lane.oldest() else { continue };
            classes.entry(class).and_modify(|known: &mut Timestamp| *known = oldest.min(*known)).or_insert(oldest);
        }
        classes
    }

    /// The waiting jobs of one class, in no order that means anything but always the same.
    pub(crate) fn of_class(&self, class: ClassId) -> Vec<JobId> {
        let lanes = self.builds().filter_map(|build| build.lanes.get(&class));
        lanes.flat_map(Lane::jobs).map(|(_, job)| job).collect()
    }

    /// All builds, by user and by id.
    fn builds(&self) -> impl Iterator<Item = &Build> {
        let users = self.users.sorted_keys().into_iter().filter_map(|user| self.users.get(user));
        users.flat_map(|user| user.builds.sorted_keys().into_iter().filter_map(|build| user.builds.get(build)))
    }

    /// Users, builds of the user, and jobs of the lane that have their turn before this job does.
    pub(crate) fn ahead_of(&self, job: JobId) -> Option<(usize, usize, usize)> {
        let place = self.places.get(job)?;
        let user = self.users.get(place.user)?;
        let users = self.shares.in_order().position(|other| other == place.user)?;
        let builds = user.shares.in_order().position(|other| other == place.build)?;
        Some((users, builds, self.lane(place)?.before(place.rank)))
    }

    /// Whoever came before this has waited too long.
    pub(crate) fn overdue(&self, now: Timestamp) -> Timestamp {
        let ageing = u64::try_from(self.sharing.ageing.as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(now.as_micros().saturating_sub(ageing))
    }

    fn lane(&self, place: &Place) -> Option<&Lane> {
        self.users.get(place.user)?.builds.get(place.build)?.lanes.get(&place.class)
    }

    /// Nothing of the build waits or runs any more.
    fn drop_build(&mut self, user: UserId, build: BuildId) {
        let Some(account) = self.users.get_mut(user) else { return };
        account.builds.remove(build);
        if account.builds.is_empty() {
            self.users.remove(user);
        }
    }

    /// The counts and lists agree.
    pub(crate) fn check(&self) {
        self.shares.check(|user| self.users.get(user).is_some_and(|it| it.waiting > 0));
        let by_class = self.by_class.sorted_keys().into_iter().filter_map(|class| self.by_class.get(class));
        assert_eq!(by_class.sum::<usize>(), self.places.len(), "waiting jobs by class");
        let users = || self.users.sorted_keys().into_iter().filter_map(|user| self.users.get(user));
        assert_eq!(users().map(|user| user.waiting).sum::<usize>(), self.places.len(), "waiting jobs");
        for user in users() {
            user.shares.check(|build| user.builds.get(build).is_some_and(|it| it.waiting > 0));
            let builds = || user.builds.sorted_keys().into_iter().filter_map(|build| user.builds.get(build));
            let ripe = builds().filter(|build| build.ripe_lanes > 0).count();
            assert_eq!(ripe, user.ripe_builds, "ripe builds");
            for build in builds() {
                build.lanes.values().for_each(Lane::check);
                let ripe = build.lanes.values().filter(|lane| lane.is_ripe()).count();
                assert_eq!(ripe, build.ripe_lanes, "ripe lanes");
            }
        }
    }
}

/// What a turn of this job costs.
fn cost(place: &Place, build: &Build, truth: u64, sharing: &Sharing) -> Charge {
    let expected = place.rank.expected().clamp(LEAST_COST, u64::MAX >> 32);
    let micros = (expected * truth / 1024).max(LEAST_COST);
    let priority = Priority::from_nice(place.rank.nice());
    let weight = u64::from(sharing.user_weights.get(&place.user).copied().unwrap_or(100)).max(1);
    let is_interactive = build.waiting + build.held <= sharing.interactive_jobs;
    let boost = if is_interactive { INTERACTIVE_BOOST } else { 1 };
    let among_users = weights::among_users(priority, sharing.may_be_urgent(place.user));
    Charge {
        // Whoever paid nothing would always be next.
        user: (micros * weights::USUAL / among_users * 100 / weight).max(1),
        build: micros * weights::USUAL / weights::among_builds(priority) / boost,
        micros,
        expected,
    }
}

fn next_of(
    build: &Build,
    which: Readiness,
    overdue: Timestamp,
    open: &mut impl FnMut(ClassId) -> bool,
) -> Option<JobId> {
    let heads = || {
        build.lanes.iter().filter_map(|(&class, lane)| {
            let head = if which == Readiness::Any { lane.head(overdue) } else { lane.ripe_head(overdue) };
            head.map(|(standing, job)| (standing, job, class))
        })
    };
    // Asking lanes is cheaper than asking the fleet: mostly the first one that is asked for is open.
    let mut passed = None;
    for _ in 0..FEW_CLOSED {
        let behind = heads().filter(|(standing, ..)| passed.is_none_or(|passed| *standing > passed));
        let (standing, job, class): (Standing, JobId, ClassId) = behind.min()?;
        if open(class) {
            return Some(job);
        }
        passed = Some(standing);
    }
    heads().filter(|&(.., class)| open(class)).min().map(|(_, job, _)| job)
}
