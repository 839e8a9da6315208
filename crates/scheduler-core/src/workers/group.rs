//! Workers of equal abilities, and the standing answers about them: who has idle slots, who has most memory left, who
//! may be sent more than it can start. Kept in order, so that no decision looks at the whole fleet.

use alloc::collections::BTreeSet;
use core::cmp::Reverse;

use model::ids::WorkerId;

use super::demand::{Abilities, Demand};
use super::table::Worker;

/// A group of workers with equal abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u32);

/// Fast workers first, then those with most idle slots, then the least loaded by others, then the lowest id.
type IdleKey = (i8, Reverse<u32>, u32, WorkerId);

/// Under which keys a worker is listed now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    idle: Option<IdleKey>,
    free_memory: Option<(u64, WorkerId)>,
    room: Option<(u64, WorkerId)>,
    present: Option<(u64, WorkerId)>,
    /// In eighths of an octave, of those that may be given something.
    slowness: Option<i8>,
}

impl Listing {
    pub(crate) fn of(id: WorkerId, worker: &Worker, prefetch: u32) -> Self {
        let idle = worker.idle();
        // Kept for one class: nobody else is to find it.
        let is_idle = idle > 0 && worker.kept_for.is_none();
        let has_room = worker.has_room(prefetch) && worker.kept_for.is_none();
        Self {
            idle: is_idle.then(|| (worker.pace.eighths_slow(), Reverse(idle), worker.load.foreign_load_centi, id)),
            free_memory: is_idle.then(|| (worker.free_memory(), id)),
            room: has_room.then(|| (worker.fullness(), id)),
            present: worker.is_present().then(|| (worker.memory(), id)),
            slowness: worker.is_placeable().then(|| worker.pace.eighths_slow()),
        }
    }

    pub(crate) fn slowness(&self) -> Option<i8> {
        self.slowness
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    pub(crate) fn idle_slots(&self) -> u32 {
        self.idle.map_or(0, |(_, Reverse(slots), _, _)| slots)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room.is_some()
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
}

impl Group {
    pub(crate) fn new(abilities: Abilities) -> Self {
        let (idle, free_memory, room, present) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { abilities, members: 0, idle, free_memory, room, present }
    }

    pub(crate) fn relist(&mut self, before: Listing, after: Listing) {
        replace(&mut self.idle, before.idle, after.idle);
        replace(&mut self.free_memory, before.free_memory, after.free_memory);
        replace(&mut self.room, before.room, after.room);
        replace(&mut self.present, before.present, after.present);
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
        let enough = self.free_memory.iter().rev().take_while(|(free, _)| *free >= demand.memory);
        enough.map(|&(_, id)| id).filter(|id| demand.avoid.binary_search(id).is_err())
    }

    /// Workers that may be sent more than they can start, the one with least to do for its size first.
    pub(crate) fn roomy(&self) -> impl ExactSizeIterator<Item = (u64, WorkerId)> + '_ {
        self.room.iter().copied()
    }

    /// The most memory that is left to any worker with idle slots.
    pub(crate) fn most_free(&self) -> Option<u64> {
        self.free_memory.last().map(|&(free, _)| free)
    }

    /// The most memory that any present worker has.
    pub(crate) fn largest(&self) -> Option<u64> {
        self.present.last().map(|&(memory, _)| memory)
    }

    /// Present workers that could take a job of this demand when they have nothing else to do, the largest first.
    pub(crate) fn able<'a>(&'a self, demand: &'a Demand) -> impl Iterator<Item = WorkerId> + 'a {
        let enough = self.present.iter().rev().take_while(|(memory, _)| *memory >= demand.memory);
        enough.map(|&(_, id)| id).filter(|id| demand.avoid.binary_search(id).is_err())
    }
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
