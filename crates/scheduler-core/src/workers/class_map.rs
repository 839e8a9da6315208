//! Ids of classes, and a table by them. An id says where in such tables the class lies, because every decision asks for
//! some; and which of all the classes that ever lay there it is, so that nobody takes one for another.

use alloc::vec::Vec;

/// How many bits of an id say where the class lies: for far more classes than jobs fit into memory.
const SLOT_BITS: u32 = 24;

/// A class of equal demands. The order is that in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u64);

impl ClassId {
    /// Before any of them.
    pub(crate) const FIRST: Self = Self(0);

    fn new(serial: u64, slot: usize) -> Self {
        debug_assert!(slot < 1 << SLOT_BITS, "more classes than memory holds");
        Self(serial << SLOT_BITS | slot as u64)
    }

    fn slot(self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "masked to some bits")]
        let whole = self.0 as usize;
        whole & ((1 << SLOT_BITS) - 1)
    }
}

/// Gives out ids.
#[derive(Debug, Default)]
pub(crate) struct ClassIds {
    made: u64,
    slots: usize,
    free: Vec<usize>,
}

impl ClassIds {
    pub(crate) fn make(&mut self) -> ClassId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.made += 1;
        ClassId::new(self.made, slot)
    }

    /// The class is gone: another may lie in its place.
    pub(crate) fn recycle(&mut self, id: ClassId) {
        self.free.push(id.slot());
    }
}

/// A table by class.
#[derive(Debug)]
pub(crate) struct ClassMap<V> {
    slots: Vec<Option<(ClassId, V)>>,
}

impl<V> Default for ClassMap<V> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<V> ClassMap<V> {
    pub(crate) fn get(&self, id: ClassId) -> Option<&V> {
        let (of, value) = self.slots.get(id.slot())?.as_ref()?;
        (*of == id).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, id: ClassId) -> Option<&mut V> {
        let (of, value) = self.slots.get_mut(id.slot())?.as_mut()?;
        (*of == id).then_some(value)
    }

    pub(crate) fn contains(&self, id: ClassId) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn insert(&mut self, id: ClassId, value: V) {
        let slot = id.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some((id, value));
    }

    /// The value of this class, which is put in if there is none.
    pub(crate) fn get_or_insert_with(&mut self, id: ClassId, value: impl FnOnce() -> V) -> &mut V {
        if !self.contains(id) {
            self.insert(id, value());
        }
        match &mut self.slots[id.slot()] {
            Some((_, value)) => value,
            None => unreachable!("it was there or put there"),
        }
    }

    pub(crate) fn remove(&mut self, id: ClassId) -> Option<V> {
        let slot = self.slots.get_mut(id.slot())?;
        slot.take_if(|(of, _)| *of == id).map(|(_, value)| value)
    }

    /// The classes in their own order. Looks at everything.
    pub(crate) fn sorted_keys(&self) -> Vec<ClassId> {
        let mut keys: Vec<_> = self.slots.iter().flatten().map(|&(id, _)| id).collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lies_where_another_lay_is_not_taken_for_it() {
        let (mut ids, mut map) = (ClassIds::default(), ClassMap::default());
        let (first, second) = (ids.make(), ids.make());
        map.insert(first, "first");
        map.insert(second, "second");

        assert_eq!(map.remove(first), Some("first"));
        ids.recycle(first);
        let third = ids.make();
        map.insert(third, "third");

        assert_eq!((third.slot(), map.get(first), map.get(third)), (first.slot(), None, Some(&"third")));
        assert_eq!((map.remove(first), map.contains(third)), (None, true));
        assert_eq!(map.sorted_keys(), [second, third], "in the order in which they were made");
    }
}
