//! The registered workers, each in the group of its abilities.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::WorkerId;

use super::ClassId;
use super::demand::Abilities;
use super::group::{Group, GroupId, Groups, Listing};
use super::health::Health;
use super::pace::Pace;
use crate::idmap::IdMap;
use crate::input::{WorkerFacts, WorkerLoad};

/// Whether a worker is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Connected, and heard from within its lease.
    Up,
    /// Not connected. What it runs goes on until its lease runs out; it is given nothing.
    Silent,
}

/// One registered worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// By themselves: no decision looks at more of them than the two that follow.
    pub(crate) facts: Box<WorkerFacts>,
    slots: u32,
    /// In bytes; without limit if it does not say.
    memory: u64,
    pub(crate) load: WorkerLoad,
    pub(crate) liveness: Liveness,
    pub(crate) draining: bool,
    pub(crate) health: Health,
    pub(crate) pace: Pace,
    /// It is given nothing else until a job of this class, which waits for its memory, has it.
    pub(crate) kept_for: Option<ClassId>,
    /// The class of the attempt that would be recalled next, if it has any to spare.
    pub(crate) spare: Option<ClassId>,
    /// That is out of date.
    pub(crate) changed: bool,
    /// It holds, or held, what we had not given it, or has less memory than when it got it: what is reserved may be more
    /// than it has, until it holds nothing.
    pub(crate) excused: bool,
    /// Attempts at the worker; a copy of what the holdings say.
    held: u32,
    /// Bytes reserved for them.
    reserved: u64,
    group: GroupId,
    /// Where it is listed.
    listing: Listing,
}

impl Worker {
    pub(crate) fn new(facts: WorkerFacts) -> Self {
        let pace = Pace::of(facts.speed);
        let (slots, memory) = sizes(&facts);
        Self {
            facts: Box::new(facts),
            slots,
            memory,
            load: WorkerLoad::default(),
            liveness: Liveness::Up,
            draining: false,
            health: Health::default(),
            pace,
            kept_for: None,
            spare: None,
            changed: false,
            excused: false,
            held: 0,
            reserved: 0,
            group: GroupId(0),
            listing: Listing::default(),
        }
    }

    fn set_facts(&mut self, facts: WorkerFacts) {
        (self.slots, self.memory) = sizes(&facts);
        *self.facts = facts;
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Slots with nothing to run, by our account; of any use only while it is placeable.
    pub(crate) fn idle(&self) -> u32 {
        if self.is_placeable() { self.usable_slots().saturating_sub(self.held) } else { 0 }
    }

    /// Attempts that can only wait there.
    pub(crate) fn surplus(&self) -> u32 {
        self.held.saturating_sub(self.slots())
    }

    /// The memory that it has; without limit if it does not say.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// What of it is not reserved.
    pub(crate) fn free_memory(&self) -> u64 {
        self.memory().saturating_sub(self.reserved)
    }

    /// What a job could really have now: programs that are not ours need some too.
    pub(crate) fn headroom(&self) -> u64 {
        let available = if self.load.memory_available > 0 { self.load.memory_available } else { u64::MAX };
        self.free_memory().min(available)
    }

    /// Whether it may be given anything.
    pub(crate) fn is_placeable(&self) -> bool {
        self.liveness == Liveness::Up && self.is_present()
    }

    /// Whether jobs may count on it: a silent worker may be back in a moment.
    pub(crate) fn is_present(&self) -> bool {
        !self.draining && !self.health.is_benched()
    }

    pub(crate) fn has_room(&self, prefetch: u32) -> bool {
        let ahead = if self.is_on_probation() { 0 } else { self.pace.prefetch(self.slots(), prefetch) };
        self.is_placeable() && self.held < self.usable_slots().saturating_add(ahead)
    }

    pub(crate) fn is_on_probation(&self) -> bool {
        self.health.standing() == super::health::Standing::Probation
    }

    /// Held attempts a slot, in 2^20ths, so that workers of different size compare without floating point.
    pub(crate) fn fullness(&self) -> u64 {
        self.pace.stretched(u64::from(self.held) << 20) / u64::from(self.slots())
    }

    /// Whether it is news that what it has to spare may be another attempt now.
    fn set_held(&mut self, held: u32, reserved: u64) -> bool {
        self.held = held;
        self.reserved = reserved;
        self.excused &= held > 0;
        !core::mem::replace(&mut self.changed, true)
    }

    fn usable_slots(&self) -> u32 {
        if self.is_on_probation() { 1 } else { self.slots() }
    }
}

/// The slots, and the memory or no limit.
fn sizes(facts: &WorkerFacts) -> (u32, u64) {
    (facts.slots, if facts.memory == 0 { u64::MAX } else { facts.memory })
}

/// A worker has got room that it had not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gain {
    pub(crate) group: GroupId,
    /// Bytes that are free there.
    pub(crate) memory: u64,
    /// An idle slot, or more memory for it.
    pub(crate) idle: bool,
    /// It may be sent more than before.
    pub(crate) room: bool,
}

impl Gain {
    /// What a worker has to offer more than it had; before, it was listed like this and had so much memory free. Room
    /// that it had meanwhile counts.
    fn of(worker: &Worker, before: Listing, free_before: u64, had_room: bool) -> Option<Self> {
        let (memory, now) = (worker.free_memory(), worker.listing);
        let idle = now.is_idle() && (now.idle_slots() > before.idle_slots() || memory > free_before);
        let room = (now.has_room() || had_room) && (!before.has_room() || memory > free_before);
        (idle || room).then_some(Self { group: worker.group, memory, idle, room })
    }
}

/// All registered workers.
#[derive(Debug)]
pub(crate) struct WorkerTable {
    workers: IdMap<WorkerId, Worker>,
    groups: Groups,
    by_abilities: BTreeMap<Abilities, GroupId>,
    next_group: u32,
    prefetch: u32,
    idle: usize,
    roomy: usize,
    /// Since they were last asked for.
    gains: Vec<Gain>,
}

impl WorkerTable {
    /// An empty fleet whose workers may hold up to `prefetch` attempts beyond their slots.
    pub(crate) fn new(prefetch: u32) -> Self {
        // The server numbers workers itself: nobody can choose numbers that are slow to look up.
        let (workers, groups, by_abilities) = (IdMap::with_seed(0), Groups::default(), BTreeMap::new());
        Self { workers, groups, by_abilities, next_group: 0, prefetch, idle: 0, roomy: 0, gains: Vec::new() }
    }

    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    /// All workers, in the order of their ids. Costs a sorted list of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.sorted_keys().into_iter().filter_map(|id| Some((id, self.workers.get(id)?)))
    }

    /// Adds a worker, or takes note of other abilities. A group that is new is named: classes have to judge it.
    pub(crate) fn register(&mut self, id: WorkerId, facts: WorkerFacts) -> (Option<GroupId>, Option<GroupId>) {
        let abilities = Abilities::new(&facts);
        let before = self.workers.get(id).map(|worker| worker.group);
        let is_same = before.is_some_and(|group| self.groups.get(group).is_some_and(|it| it.abilities == abilities));
        if is_same {
            self.update(id, |worker| {
                worker.set_facts(facts);
                worker.liveness = Liveness::Up;
                worker.excused = worker.held > 0;
            });
            return (None, None);
        }
        let mut worker = match self.detach(id) {
            Some(mut worker) => {
                worker.set_facts(facts);
                Worker { liveness: Liveness::Up, excused: worker.held > 0, ..worker }
            }
            None => Worker::new(facts),
        };
        let (group, is_new) = self.group_of(abilities);
        worker.group = group;
        let listing = Listing::of(&worker, self.prefetch);
        worker.listing = listing;
        self.gains.extend(Gain::of(&worker, Listing::default(), 0, false));
        self.workers.insert(id, worker);
        self.relist(id, group, Listing::default(), listing);
        if let Some(group) = self.groups.get_mut(group) {
            group.members += 1;
        }
        (is_new.then_some(group), before.and_then(|before| self.drop_if_empty(before)))
    }

    /// Takes a worker out. A group that went with it is named.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<(Worker, Option<GroupId>)> {
        let worker = self.detach(id)?;
        let gone = self.drop_if_empty(worker.group);
        Some((worker, gone))
    }

    /// Changes a worker and whatever follows from it. Nothing happens if there is no such worker.
    pub(crate) fn update(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        self.update_by_steps(id, |worker| {
            change(worker);
            false
        });
    }

    /// The same for a change of several steps, which says whether the worker had room between them: what that is of use
    /// for is not to be forgotten, though the worker is listed once.
    fn update_by_steps(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> bool) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let free_before = worker.free_memory();
        let had_room = change(worker);
        let after = Listing::of(worker, self.prefetch);
        let before = core::mem::replace(&mut worker.listing, after);
        self.gains.extend(Gain::of(worker, before, free_before, had_room));
        if before != after {
            let group = worker.group;
            self.relist(id, group, before, after);
        }
    }

    /// What was on its way to the worker is not any more: its idle slots are for others.
    pub(crate) fn note_freed(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.listing.is_idle()) else { return };
        let (group, memory) = (worker.group, worker.free_memory());
        self.gains.push(Gain { group, memory, idle: true, room: false });
    }

    /// One of the gains since the last call.
    pub(crate) fn pop_gain(&mut self) -> Option<Gain> {
        self.gains.pop()
    }

    /// Notes what the worker holds; what it has to spare may be another attempt now. Whether that is news.
    pub(crate) fn set_held(&mut self, id: WorkerId, held: u32, reserved: u64) -> bool {
        let mut is_news = false;
        self.update(id, |worker| is_news = worker.set_held(held, reserved));
        is_news
    }

    /// The same when an attempt there has given an outcome, by which more is known of the worker.
    pub(crate) fn on_done(
        &mut self,
        id: WorkerId,
        (held, reserved): (u32, u64),
        learn: impl FnOnce(&mut Worker),
    ) -> bool {
        let (prefetch, mut is_news) = (self.prefetch, false);
        self.update_by_steps(id, |worker| {
            is_news = worker.set_held(held, reserved);
            let had_room = worker.has_room(prefetch) && worker.kept_for.is_none();
            learn(worker);
            had_room
        });
        is_news
    }

    pub(crate) fn excuse(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.excused = true;
        }
    }

    /// For what no list depends on.
    pub(crate) fn set_spare(&mut self, id: WorkerId, spare: Option<ClassId>) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.spare = spare;
        }
    }

    /// What the worker has to spare may be another attempt now; whether that is news.
    pub(crate) fn note_change(&mut self, id: WorkerId) -> bool {
        self.workers.get_mut(id).is_some_and(|worker| !core::mem::replace(&mut worker.changed, true))
    }

    pub(crate) fn forget_change(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.changed = false;
        }
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter()
    }

    /// Workers with idle slots that are kept for nobody.
    pub(crate) fn idle(&self) -> usize {
        self.idle
    }

    /// Workers that may be sent more.
    pub(crate) fn roomy(&self) -> usize {
        self.roomy
    }

    fn group_of(&mut self, abilities: Abilities) -> (GroupId, bool) {
        if let Some(&id) = self.by_abilities.get(&abilities) {
            return (id, false);
        }
        let id = GroupId(self.next_group);
        self.next_group += 1;
        self.by_abilities.insert(abilities.clone(), id);
        self.groups.insert(id, Group::new(abilities));
        (id, true)
    }

    fn detach(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(id)?;
        self.relist(id, worker.group, worker.listing, Listing::default());
        if let Some(group) = self.groups.get_mut(worker.group) {
            group.members -= 1;
        }
        Some(worker)
    }

    fn drop_if_empty(&mut self, id: GroupId) -> Option<GroupId> {
        if self.groups.get(id)?.members > 0 {
            return None;
        }
        let group = self.groups.remove(id)?;
        self.by_abilities.remove(&group.abilities);
        Some(id)
    }

    fn relist(&mut self, id: WorkerId, group: GroupId, before: Listing, after: Listing) {
        self.idle = self.idle + usize::from(after.is_idle()) - usize::from(before.is_idle());
        self.roomy = self.roomy + usize::from(after.has_room()) - usize::from(before.has_room());
        if let Some(group) = self.groups.get_mut(group) {
            group.relist(id, before, after);
        }
    }

    /// The standing answers are the ones that asking everybody would give.
    pub(crate) fn check(&self) {
        let mut expected: BTreeMap<GroupId, Group> = BTreeMap::new();
        for (id, worker) in self.iter() {
            let abilities = Abilities::new(&worker.facts);
            let group = expected.entry(worker.group).or_insert_with(|| Group::new(abilities.clone()));
            assert_eq!(group.abilities, abilities, "{id:?} is in the wrong group");
            assert_eq!(worker.listing, Listing::of(worker, self.prefetch), "{id:?} is listed wrongly");
            group.members += 1;
            group.relist(id, Listing::default(), Listing::of(worker, self.prefetch));
        }
        assert!(expected.iter().map(|(&id, group)| (id, group)).eq(self.groups()), "the groups' lists");
        let listings = || self.iter().map(|(_, worker)| Listing::of(worker, self.prefetch));
        assert_eq!(self.idle, listings().filter(Listing::is_idle).count(), "idle workers");
        assert_eq!(self.roomy, listings().filter(Listing::has_room).count(), "roomy workers");
    }
}
