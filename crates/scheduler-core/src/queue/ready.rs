//! The jobs that wait, by user, build and lane. A link that no idle worker may take never blocks the compiles behind
//! it. A decision costs by those whose turn it is and who cannot be served, not by the jobs that wait.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{BuildId, DirKey, JobId, UserId};
use model::job::{JobKind, Priority};
use model::time::Timestamp;

use super::build::Build;
use super::lane::{Entry, Lane, Rank};
use super::opening::{Open, OpenParts, Readiness};
use super::shares::Shares;
use super::weights;
use crate::idmap::IdMap;
use crate::workers::{ClassId, ClassMap};

/// The least that a turn costs, so that jobs of no length take turns too; microseconds.
const LEAST_COST: u64 = 1_000;
/// How much more of its user's slot time an interactive build gets.
const INTERACTIVE_BOOST: u64 = 4;

/// Where a waiting job stands. The job keeps it, so that nobody need look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    user: UserId,
    build: BuildId,
    class: ClassId,
    since: Timestamp,
    rank: Rank,
    /// How long the job is expected to run, in microseconds.
    expected: u64,
}

#[derive(Debug)]
struct User {
    builds: IdMap<BuildId, Build>,
    shares: Shares<BuildId>,
    open_builds: OpenParts,
    waiting: usize,
}

impl User {
    fn new(seed: u64) -> Self {
        Self {
            builds: IdMap::with_seed(seed),
            shares: Shares::new(seed),
            open_builds: OpenParts::default(),
            waiting: 0,
        }
    }

    /// What of one of the builds may go has changed. If it has for the user by that: what it is.
    fn note_open(&mut self, build: BuildId, change: Option<(Open, Open)>) -> Option<Open> {
        let (before, after) = change?;
        self.shares.set_open(build, after);
        let was = self.open_builds.open();
        self.open_builds.replace(before, after);
        let is = self.open_builds.open();
        (was != is).then_some(is)
    }
}

/// A class of which jobs wait.
#[derive(Debug, Default)]
struct Waiting {
    jobs: usize,
    /// What is reserved for each of them.
    memory: u64,
    /// Nobody can take it now.
    shut: Open,
    /// Where they wait, in no order that means anything.
    lanes: Vec<(UserId, BuildId)>,
}

/// A job as the queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    pub(crate) user: UserId,
    pub(crate) build: BuildId,
    pub(crate) kind: JobKind,
    pub(crate) priority: Priority,
    pub(crate) class: ClassId,
    /// What the class reserves, in bytes.
    pub(crate) memory: u64,
    /// How long it is expected to run.
    pub(crate) expected: Duration,
    /// How long those run that wait for it.
    pub(crate) tail: Duration,
    /// Where it writes.
    pub(crate) dir: Option<DirKey>,
    /// The most jobs of one dispatch that it asks for.
    pub(crate) company: u32,
    /// How long it waits for them.
    pub(crate) timeout: Duration,
    /// When it came first.
    pub(crate) since: Timestamp,
    /// Before the others of its build: it was to run already and came back.
    pub(crate) in_front: bool,
}

impl Asking {
    /// How long it waits for company, if it does.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.company > 1 && !self.in_front).then_some(self.timeout)
    }
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
    waiting: usize,
    by_class: ClassMap<Waiting>,
    /// How many of these classes reserve so much memory.
    by_memory: BTreeMap<u64, usize>,
    /// The least of that: every decision asks for it.
    least_memory: Option<u64>,
    /// Classes that were shut when their last job ceased to wait.
    left_shut: Vec<ClassId>,
    /// What jobs lately took of what was expected, in 1024ths: turns are charged in advance, and a newcomer must not
    /// wait until the others' charges for what they will never use are given back.
    truth: u64,
    arrivals: u64,
    sharing: Sharing,
    seed: u64,
}

impl ReadyQueue {
    pub(crate) fn new(sharing: Sharing, seed: u64) -> Self {
        Self {
            users: IdMap::with_seed(seed),
            shares: Shares::new(seed),
            waiting: 0,
            by_class: ClassMap::default(),
            by_memory: BTreeMap::new(),
            least_memory: None,
            left_shut: Vec::new(),
            truth: 1024,
            arrivals: 0,
            sharing,
            seed,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the job stands in this place.
    pub(crate) fn holds(&self, job: JobId, place: &Place) -> bool {
        self.lane(place).is_some_and(|lane| lane.from(place.rank).next().is_some_and(|(_, entry)| entry.job == job))
    }

    /// Whether jobs of this build had their turn and are at workers.
    pub(crate) fn is_serving(&self, user: UserId, build: BuildId) -> bool {
        self.users.get(user).and_then(|user| user.builds.get(build)).is_some_and(|build| build.held > 0)
    }

    /// How many jobs of this user wait.
    pub(crate) fn len_of(&self, user: UserId) -> usize {
        self.users.get(user).map_or(0, |user| user.waiting)
    }

    /// Puts the job in, which is not there, and says where.
    pub(crate) fn push(&mut self, job: JobId, asking: Asking) -> Place {
        let [expected, tail] = [asking.expected, asking.tail].map(micros);
        let is_link = asking.kind == JobKind::Link;
        let way = expected.saturating_add(tail);
        let rank = Rank::new(!asking.in_front, asking.priority.nice(), is_link, way, self.arrivals);
        self.arrivals += 1;
        let Asking { user, build, class, memory, since, .. } = asking;
        let place = Place { user, build, class, since, rank, expected };
        self.waiting += 1;
        let waiting = self.by_class.get_or_insert_with(class, || {
            *self.by_memory.entry(memory).or_default() += 1;
            self.least_memory = Some(self.least_memory.map_or(memory, |least| least.min(memory)));
            Waiting { memory, ..Waiting::default() }
        });
        waiting.jobs += 1;
        let account = self.users.get_or_insert_with(user, || User::new(self.seed));
        if account.waiting == 0 {
            self.shares.join(user);
        }
        let entry =
            Entry { job, dir: asking.dir, expected, company: asking.company, green: asking.patience().is_some() };
        account.waiting += 1;
        let its_build = account.builds.get_or_insert_with(build, Build::default);
        if its_build.waiting == 0 {
            account.shares.join(build);
        }
        its_build.waiting += 1;
        let changed = its_build.change_lane(class, |lane| {
            if lane.is_empty() {
                waiting.lanes.push((user, build));
                lane.shut = waiting.shut;
            }
            lane.insert(since, rank, entry);
        });
        if let Some(open) = account.note_open(build, changed) {
            self.shares.set_open(user, open);
        }
        place
    }

    /// The job's wait for company is over.
    pub(crate) fn ripen(&mut self, place: Place) {
        self.change_lane(place.user, place.build, place.class, |lane| lane.ripen(place.rank));
    }

    /// Nobody can take the class now, or perhaps somebody can again.
    pub(crate) fn set_shut(&mut self, class: ClassId, which: Readiness, shut: bool) {
        let Some(waiting) = self.by_class.get_mut(class) else { return };
        waiting.shut.set(which, shut);
        let lanes = core::mem::take(&mut waiting.lanes);
        for &(user, build) in &lanes {
            self.change_lane(user, build, class, |lane| lane.shut.set(which, shut));
        }
        if let Some(waiting) = self.by_class.get_mut(class) {
            waiting.lanes = lanes;
        }
    }

    /// A class that was shut when its last job ceased to wait: nobody remembers that here any more.
    pub(crate) fn pop_left_shut(&mut self) -> Option<ClassId> {
        self.left_shut.pop()
    }

    /// Whether it is known that nobody can take this class now.
    pub(crate) fn is_shut(&self, class: ClassId, which: Readiness) -> bool {
        self.by_class.get(class).is_some_and(|waiting| waiting.shut.get(which))
    }

    fn change_lane(&mut self, user: UserId, build: BuildId, class: ClassId, change: impl FnOnce(&mut Lane)) {
        let Some(account) = self.users.get_mut(user) else { return };
        let Some(its_build) = account.builds.get_mut(build) else { return };
        let changed = its_build.change_lane(class, change);
        if let Some(open) = account.note_open(build, changed) {
            self.shares.set_open(user, open);
        }
    }

    /// The job whose turn it is, among the first ones of their lanes that are `open`, and its class. It stays queued until
    /// it is served or removed.
    pub(crate) fn next(
        &self,
        which: Readiness,
        now: Timestamp,
        mut open: impl FnMut(ClassId, JobId) -> bool,
    ) -> Option<(JobId, ClassId)> {
        let overdue = self.overdue(now);
        self.shares.ask_open(which, |user| {
            let user = self.users.get(user)?;
            user.shares.ask_open(which, |build| user.builds.get(build)?.next(which, overdue, &mut open))
        })
    }

    /// Up to `most` jobs that may share a dispatch with this one: the next of its lane.
    pub(crate) fn company_of(&self, job: JobId, place: &Place, most: usize) -> Vec<JobId> {
        let others = self.lane(place).into_iter().flat_map(Lane::jobs).map(|(_, other)| other);
        others.filter(|&other| other != job).take(most).collect()
    }

    /// A job of its build, kind and urgency that is expected to take no more than this, rather one for which much waits
    /// than another; none if the job has waited too long or came back.
    pub(crate) fn shorter_than(&self, place: &Place, limit: Duration, now: Timestamp) -> Option<JobId> {
        if !self.may_be_passed(place, now) {
            return None;
        }
        self.lane(place)?.shorter(place.rank, micros(limit))
    }

    /// The same, or else the oldest job of the lane, if it has waited so long.
    pub(crate) fn shorter_or_since(
        &self,
        place: &Place,
        limit: Duration,
        now: Timestamp,
        long: Duration,
    ) -> Option<JobId> {
        let lane = self.lane(place)?;
        let shorter = if self.may_be_passed(place, now) { lane.shorter(place.rank, micros(limit)) } else { None };
        let oldest = || lane.oldest_job().filter(|&(since, _)| now.since(since) >= long).map(|(_, job)| job);
        shorter.or_else(oldest)
    }

    /// Up to `most` jobs that could as well go in the place of this one, and where they write: those behind it that are
    /// of its kind, as urgent, and with at least half as long a way to the end. None if it has waited too long or came back.
    pub(crate) fn equals_of(
        &self,
        place: &Place,
        most: usize,
        now: Timestamp,
    ) -> impl Iterator<Item = (JobId, Option<DirKey>)> {
        let (first, lane) = (place.rank, self.lane(place).filter(|_| self.may_be_passed(place, now)));
        lane.into_iter().flat_map(move |lane| {
            let is_equal = move |rank: Rank| rank.is_kin_of(first) && rank.way() >= first.way() / 2;
            let behind = lane.from(first).skip(1).take(most).take_while(move |&(rank, _)| is_equal(rank));
            behind.map(|(_, entry)| (entry.job, entry.dir))
        })
    }

    pub(crate) fn may_be_passed(&self, place: &Place, now: Timestamp) -> bool {
        place.rank.is_newcomer() && place.since >= self.overdue(now)
    }

    /// Takes the job out because it gets its turn, which its user and build are charged for.
    pub(crate) fn serve(&mut self, place: Place) -> Charge {
        self.clear_place(&place, true)
    }

    /// A turn is over: the user and the build pay for the slot time it really took.
    pub(crate) fn settle(&mut self, user: UserId, build: BuildId, charge: Charge, used: Duration) {
        if charge.micros == 0 {
            return;
        }
        let used = micros(used);
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
    pub(crate) fn remove(&mut self, place: Place) {
        self.clear_place(&place, false);
    }

    /// Nobody stands there any more. What that costs, if it was for a turn.
    fn clear_place(&mut self, place: &Place, is_served: bool) -> Charge {
        let mut charge = Charge::default();
        let Some(account) = self.users.get_mut(place.user) else { return charge };
        let Some(build) = account.builds.get_mut(place.build) else { return charge };
        if is_served {
            charge = cost(place, build, self.truth, &self.sharing);
            self.shares.charge(place.user, charge.user);
            account.shares.charge(place.build, charge.build);
            build.held += 1;
        }
        self.waiting -= 1;
        let mut is_last = false;
        let changed = build.change_lane(place.class, |lane| {
            lane.remove(place.since, place.rank);
            is_last = lane.is_empty();
        });
        build.waiting -= 1;
        let (build_waits, is_idle) = (build.waiting > 0, build.is_idle());
        if let Some(open) = account.note_open(place.build, changed) {
            self.shares.set_open(place.user, open);
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
        self.leave_class(place, is_last);
        charge
    }

    /// One job of the class does not wait any more; perhaps it was the last of its build's.
    fn leave_class(&mut self, place: &Place, is_last: bool) {
        let Some(waiting) = self.by_class.get_mut(place.class) else { return };
        waiting.jobs -= 1;
        if is_last && let Some(at) = waiting.lanes.iter().position(|lane| *lane == (place.user, place.build)) {
            waiting.lanes.swap_remove(at);
        }
        if waiting.jobs > 0 {
            return;
        }
        if waiting.shut != Open::default() {
            self.left_shut.push(place.class);
        }
        if let Some(classes) = self.by_memory.get_mut(&waiting.memory) {
            *classes -= 1;
            if *classes == 0 {
                self.by_memory.remove(&waiting.memory);
                self.least_memory = self.by_memory.first_key_value().map(|(&memory, _)| memory);
            }
        }
        self.by_class.remove(place.class);
    }

    /// What the least demanding of the waiting jobs needs, in bytes; `None` if none waits.
    pub(crate) fn least_memory(&self) -> Option<u64> {
        self.least_memory
    }

    /// Whether jobs of this class wait.
    pub(crate) fn has_class(&self, class: ClassId) -> bool {
        self.by_class.contains(class)
    }

    /// The classes of waiting jobs, with when the oldest job of each came. Looks at every lane.
    pub(crate) fn classes(&self) -> BTreeMap<ClassId, Timestamp> {
        let mut classes = BTreeMap::new();
        for (class, lane) in self.builds().flat_map(Build::lanes) {
            let Some(oldest) = lane.oldest() else { continue };
            classes.entry(class).and_modify(|known: &mut Timestamp| *known = oldest.min(*known)).or_insert(oldest);
        }
        classes
    }

    /// The waiting jobs of one class, in no order that means anything but always the same.
    pub(crate) fn of_class(&self, class: ClassId) -> Vec<JobId> {
        let lanes = self.builds().filter_map(|build| build.lane(class));
        lanes.flat_map(Lane::jobs).map(|(_, job)| job).collect()
    }

    /// All builds, by user and by id.
    fn builds(&self) -> impl Iterator<Item = &Build> {
        let users = self.users.sorted_keys().into_iter().filter_map(|user| self.users.get(user));
        users.flat_map(|user| user.builds.sorted_keys().into_iter().filter_map(|build| user.builds.get(build)))
    }

    /// Users, builds of the user, and jobs of the lane that have their turn before this job does.
    pub(crate) fn ahead_of(&self, place: &Place) -> Option<(usize, usize, usize)> {
        let user = self.users.get(place.user)?;
        let users = self.shares.in_order().position(|other| other == place.user)?;
        let builds = user.shares.in_order().position(|other| other == place.build)?;
        Some((users, builds, self.lane(place)?.before(place.rank)))
    }

    /// The jobs that go before it in its build and make the same demands. Looks at all of them.
    pub(crate) fn before_in_lane(&self, place: Place) -> impl Iterator<Item = JobId> {
        let jobs = self.lane(&place).into_iter().flat_map(Lane::jobs);
        jobs.take_while(move |&(rank, _)| rank < place.rank).map(|(_, job)| job)
    }

    /// Whoever came before this has waited too long.
    pub(crate) fn overdue(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_micros(now.as_micros().saturating_sub(micros(self.sharing.ageing)))
    }

    fn lane(&self, place: &Place) -> Option<&Lane> {
        self.users.get(place.user)?.builds.get(place.build)?.lane(place.class)
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
        assert_eq!(by_class.map(|it| it.jobs).sum::<usize>(), self.waiting, "waiting jobs by class");
        let classes = self.by_class.sorted_keys().into_iter().filter_map(|class| self.by_class.get(class));
        let mut by_memory = BTreeMap::new();
        classes.for_each(|waiting| *by_memory.entry(waiting.memory).or_default() += 1);
        assert_eq!(by_memory, self.by_memory, "classes by memory");
        assert_eq!(by_memory.keys().next().copied(), self.least_memory, "the least memory");
        for class in self.by_class.sorted_keys() {
            let Some(waiting) = self.by_class.get(class) else { continue };
            let lanes =
                waiting.lanes.iter().filter_map(|&(user, build)| self.users.get(user)?.builds.get(build)?.lane(class));
            assert_eq!(lanes.clone().map(|lane| lane.jobs().count()).sum::<usize>(), waiting.jobs, "lanes of a class");
            assert!(lanes.clone().all(|lane| lane.shut == waiting.shut), "lanes of a class, shut or not");
        }
        let users = || self.users.sorted_keys().into_iter().filter_map(|user| self.users.get(user));
        assert_eq!(users().map(|user| user.waiting).sum::<usize>(), self.waiting, "waiting jobs");
        for user in users() {
            user.shares.check(|build| user.builds.get(build).is_some_and(|it| it.waiting > 0));
            let builds = || user.builds.sorted_keys().into_iter().filter_map(|build| user.builds.get(build));
            let open = OpenParts::of(builds().map(Build::open));
            assert_eq!(open, user.open_builds, "open builds");
            for build in builds() {
                build.check();
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a turn of this job costs.
fn cost(place: &Place, build: &Build, truth: u64, sharing: &Sharing) -> Charge {
    let expected = place.expected.clamp(LEAST_COST, u64::MAX >> 32);
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

#[cfg(test)]
mod tests;
