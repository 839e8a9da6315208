//! The registered workers, and three standing answers about them: who has idle slots, who has room for more than its
//! slots, and who holds more than its slots. They are kept in order, so that no decision looks at the whole fleet.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;

use model::ids::WorkerId;

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
    pub(crate) facts: WorkerFacts,
    pub(crate) load: WorkerLoad,
    pub(crate) liveness: Liveness,
    pub(crate) draining: bool,
    /// Attempts at the worker; a copy of what the holdings say.
    held: u32,
}

impl Worker {
    pub(crate) fn new(facts: WorkerFacts) -> Self {
        let load = WorkerLoad::default();
        Self { facts, load, liveness: Liveness::Up, draining: false, held: 0 }
    }

    /// Slots, at least one whatever the worker said.
    pub(crate) fn slots(&self) -> u32 {
        self.facts.slots.max(1)
    }

    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    /// Slots with nothing to run, by our account; of any use only while it is placeable.
    pub(crate) fn idle(&self) -> u32 {
        if self.is_placeable() { self.slots().saturating_sub(self.held) } else { 0 }
    }

    /// Attempts that can only wait there.
    pub(crate) fn surplus(&self) -> u32 {
        self.held.saturating_sub(self.slots())
    }

    /// Memory that a link could use: what the worker says is available, else what it has.
    pub(crate) fn memory(&self) -> u64 {
        if self.load.memory_available > 0 { self.load.memory_available } else { self.facts.memory }
    }

    /// Whether it may be given anything.
    pub(crate) fn is_placeable(&self) -> bool {
        self.liveness == Liveness::Up && !self.draining
    }

    fn has_room(&self, prefetch: u32) -> bool {
        self.is_placeable() && self.held < self.slots().saturating_add(prefetch)
    }

    fn has_surplus(&self) -> bool {
        self.liveness == Liveness::Up && self.surplus() > 0
    }

    fn idle_key(&self, id: WorkerId) -> IdleKey {
        (Reverse(self.idle()), self.load.foreign_load_centi, id)
    }

    /// Held attempts a slot, in 2^20ths, so that workers of different size compare without floating point.
    fn room_key(&self, id: WorkerId) -> (u64, WorkerId) {
        ((u64::from(self.held) << 20) / u64::from(self.slots()), id)
    }
}

type IdleKey = (Reverse<u32>, u32, WorkerId);

/// All registered workers.
#[derive(Debug)]
pub(crate) struct WorkerTable {
    workers: BTreeMap<WorkerId, Worker>,
    prefetch: u32,
    idle: BTreeSet<IdleKey>,
    room: BTreeSet<(u64, WorkerId)>,
    surplus: BTreeSet<WorkerId>,
}

impl WorkerTable {
    /// An empty fleet whose workers may hold `prefetch` attempts beyond their slots.
    pub(crate) fn new(prefetch: u32) -> Self {
        let (workers, idle, room, surplus) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { workers, prefetch, idle, room, surplus }
    }

    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(&id, worker)| (id, worker))
    }

    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.remove(id);
        self.workers.insert(id, worker);
        self.enlist(id);
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.delist(id);
        self.workers.remove(&id)
    }

    /// Changes a worker and whatever follows from it. Nothing happens if there is no such worker.
    pub(crate) fn update(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        self.delist(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            change(worker);
        }
        self.enlist(id);
    }

    pub(crate) fn set_held(&mut self, id: WorkerId, held: u32) {
        self.update(id, |worker| worker.held = held);
    }

    /// Workers with idle slots: most idle slots first, then the least loaded by others, then the lowest id.
    pub(crate) fn idle(&self) -> impl ExactSizeIterator<Item = WorkerId> + '_ {
        self.idle.iter().map(|&(_, _, id)| id)
    }

    /// Workers that may be sent more than they can start, the one with least to do for its size first.
    pub(crate) fn roomy(&self) -> impl ExactSizeIterator<Item = WorkerId> + '_ {
        self.room.iter().map(|&(_, id)| id)
    }

    /// The first of [`Self::roomy`] among a few.
    pub(crate) fn first_roomy_of(&self, few: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let keys = few.iter().filter_map(|&id| {
            let worker = self.workers.get(&id)?;
            worker.has_room(self.prefetch).then(|| worker.room_key(id))
        });
        keys.min().map(|(_, id)| id)
    }

    /// Connected workers that hold more than their slots.
    pub(crate) fn surplus(&self) -> impl ExactSizeIterator<Item = WorkerId> + '_ {
        self.surplus.iter().copied()
    }

    fn delist(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id) {
            self.idle.remove(&worker.idle_key(id));
            self.room.remove(&worker.room_key(id));
            self.surplus.remove(&id);
        }
    }

    fn enlist(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.idle() > 0 {
            self.idle.insert(worker.idle_key(id));
        }
        if worker.has_room(self.prefetch) {
            self.room.insert(worker.room_key(id));
        }
        if worker.has_surplus() {
            self.surplus.insert(id);
        }
    }

    /// The standing answers are the ones that asking everybody would give.
    pub(crate) fn check(&self) {
        let idle = self.iter().filter(|(_, worker)| worker.idle() > 0);
        assert!(idle.map(|(id, worker)| worker.idle_key(id)).collect::<BTreeSet<_>>() == self.idle, "idle workers");
        let room = self.iter().filter(|(_, worker)| worker.has_room(self.prefetch));
        assert!(room.map(|(id, worker)| worker.room_key(id)).collect::<BTreeSet<_>>() == self.room, "roomy workers");
        let surplus = self.iter().filter(|(_, worker)| worker.has_surplus());
        assert!(surplus.map(|(id, _)| id).eq(self.surplus.iter().copied()), "workers with surplus");
    }
}
