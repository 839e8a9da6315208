//! Workers of equal abilities, and the standing answers about them: who has idle slots, who has most memory left, who
//! may be sent more than it can start. Kept in order, so that no decision looks at the whole fleet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use model::ids::WorkerId;

use super::demand::{Abilities, Demand};
use super::table::Worker;

/// A group of workers with equal abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u32);

/// Fast workers first, then those with most idle slots, then the least loaded by others, then the lowest id.
type IdleKey = (i8, Reverse<u32>, u32, WorkerId);

/// How a worker is listed now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Idle slots for whoever comes, and what else orders those who have some; zero if there are none.
    idle_slots: u32,
    foreign_load: u32,
    free_memory: u64,
    /// How full it is, if it may be sent more.
    room: Option<u64>,
    /// Its memory, unless it drains or is benched.
    present: Option<u64>,
    /// In eighths of an octave, of those that may be given something.
    slowness: Option<i8>,
}

impl Listing {
    pub(crate) fn of(worker: &Worker, prefetch: u32) -> Self {
        // Kept for one class: nobody else is to find it.
        let is_free = worker.kept_for.is_none();
        let idle_slots = if is_free { worker.idle() } else { 0 };
        let if_idle = |amount: u64| if idle_slots > 0 { amount } else { 0 };
        Self {
            idle_slots,
            foreign_load: if idle_slots > 0 { worker.load.foreign_load_centi } else { 0 },
            free_memory: if_idle(worker.free_memory()),
            room: (is_free && worker.has_room(prefetch)).then(|| worker.fullness()),
            present: worker.is_present().then(|| worker.memory()),
            slowness: worker.is_placeable().then(|| worker.pace.eighths_slow()),
        }
    }

    pub(crate) fn slowness(&self) -> Option<i8> {
        self.slowness
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle_slots > 0
    }

    pub(crate) fn idle_slots(&self) -> u32 {
        self.idle_slots
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room.is_some()
    }

    /// Whoever is idle may be given something.
    fn idle_key(&self, id: WorkerId) -> Option<IdleKey> {
        let slowness = self.slowness.filter(|_| self.is_idle())?;
        Some((slowness, Reverse(self.idle_slots), self.foreign_load, id))
    }

    /// Of the idle.
    fn memory_key(&self, id: WorkerId) -> Option<(u64, WorkerId)> {
        self.is_idle().then_some((self.free_memory, id))
    }
}

/// How many workers are how slow, in eighths of an octave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Paces {
    counts: BTreeMap<i8, usize>,
    /// The least of them, because every decision asks for it.
    fastest: Option<i8>,
}

impl Paces {
    fn replace(&mut self, before: Option<i8>, after: Option<i8>) {
        if before == after {
            return;
        }
        if let Some(after) = after {
            *self.counts.entry(after).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
            }
        }
        self.fastest = self.counts.first_key_value().map(|(&slowness, _)| slowness);
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) abilities: Abilities,
    /// Registered workers, present or not.
    pub(crate) members: usize,
    idle: BTreeSet<IdleKey>,
    free_memory: BTreeSet<(u64, WorkerId)>,
    room: BTreeSet<(u64, WorkerId)>,
    /// Those that are neither draining nor benched, by the memory that they have.
    present: BTreeSet<(u64, WorkerId)>,
    paces: Paces,
}

impl Group {
    pub(crate) fn new(abilities: Abilities) -> Self {
        let [free_memory, room, present] = [const { BTreeSet::new() }; 3];
        Self { abilities, members: 0, idle: BTreeSet::new(), free_memory, room, present, paces: Paces::default() }
    }

    pub(crate) fn relist(&mut self, id: WorkerId, before: Listing, after: Listing) {
        if before.is_idle() || after.is_idle() {
            replace(&mut self.idle, before.idle_key(id), after.idle_key(id));
            replace(&mut self.free_memory, before.memory_key(id), after.memory_key(id));
        }
        let key = |amount: Option<u64>| amount.map(|amount| (amount, id));
        if before.room != after.room {
            replace(&mut self.room, key(before.room), key(after.room));
        }
        if before.present != after.present {
            replace(&mut self.present, key(before.present), key(after.present));
        }
        self.paces.replace(before.slowness(), after.slowness());
    }

    /// How slow the fastest is of those that may be given something, in eighths of an octave.
    pub(crate) fn fastest(&self) -> Option<i8> {
        self.paces.fastest
    }

    /// Some worker that could start a job of this demand at once; not one that is kept for somebody.
    pub(crate) fn first_idle(&self, demand: &Demand) -> Option<WorkerId> {
        if demand.memory == 0 && demand.avoid.is_empty() {
            return self.idle.first().map(|&(_, _, _, id)| id);
        }
        self.by_free_memory(demand).next()
    }

    /// Workers with idle slots, the best first; some may not have the memory.
    pub(crate) fn idle(&self) -> impl ExactSizeIterator<Item = WorkerId> + '_ {
        self.idle.iter().map(|&(_, _, _, id)| id)
    }

    /// Workers that could start a job of this demand at once, those with most memory first.
    pub(crate) fn by_free_memory<'a>(&'a self, demand: &'a Demand) -> impl Iterator<Item = WorkerId> + 'a {
        with_memory_for(&self.free_memory, demand)
    }

    /// Workers that may be sent more than they can start, the one with least to do for its size first.
    pub(crate) fn roomy(&self) -> impl ExactSizeIterator<Item = (u64, WorkerId)> + '_ {
        self.room.iter().copied()
    }

    /// The most memory that is left to any worker with idle slots.
    pub(crate) fn most_free(&self) -> Option<u64> {
        self.free_memory.last().map(|&(amount, _)| amount)
    }

    /// The most memory that any present worker has.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.present.last().map(|&(amount, _)| amount)
    }

    /// Present workers that could take a job of this demand when they have nothing else to do, the largest first.
    pub(crate) fn able<'a>(&'a self, demand: &'a Demand) -> impl Iterator<Item = WorkerId> + 'a {
        with_memory_for(&self.present, demand)
    }
}

/// All groups by their ids, side by side: every decision looks at some of them, and they are few.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<(GroupId, Group)>);

impl Groups {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.0.iter().map(|&(id, ref group)| (id, group))
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&Group> {
        self.place(id).ok().map(|place| &self.0[place].1)
    }

    pub(crate) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.place(id).ok().map(|place| &mut self.0[place].1)
    }

    pub(crate) fn insert(&mut self, id: GroupId, group: Group) {
        match self.place(id) {
            Ok(place) => self.0[place].1 = group,
            Err(place) => self.0.insert(place, (id, group)),
        }
    }

    pub(crate) fn remove(&mut self, id: GroupId) -> Option<Group> {
        self.place(id).ok().map(|place| self.0.remove(place).1)
    }

    /// Where the group is, or would be.
    fn place(&self, id: GroupId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |&(of, _)| of)
    }
}

/// Those of the workers that have the memory for this demand and that it may try, those with most memory first.
fn with_memory_for<'a>(
    workers: &'a BTreeSet<(u64, WorkerId)>,
    demand: &'a Demand,
) -> impl Iterator<Item = WorkerId> + 'a {
    let enough = workers.iter().rev().take_while(|(memory, _)| *memory >= demand.memory);
    enough.map(|&(_, id)| id).filter(|id| demand.avoid.binary_search(id).is_err())
}

fn replace<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, after: Option<T>) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        set.remove(&before);
    }
    if let Some(after) = after {
        set.insert(after);
    }
}
