//! A bounded set of estimates. When it is full the next one takes the place of one that was not used since the hand
//! last came by (the "clock" approximation of least recently used): constant cost, and nothing left to chance.

use alloc::vec::Vec;

use super::estimate::Estimate;
use crate::idmap::IdMap;

#[derive(Debug)]
struct Slot {
    key: u64,
    estimate: Estimate,
    used: bool,
}

#[derive(Debug)]
pub(crate) struct Recollections {
    slots: Vec<Slot>,
    index: IdMap<u64, u32>,
    capacity: usize,
    hand: usize,
}

impl Recollections {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        Self { slots: Vec::new(), index: IdMap::with_seed(seed), capacity, hand: 0 }
    }

    pub(crate) fn get(&self, key: u64) -> Option<Estimate> {
        let &place = self.index.get(key)?;
        self.slots.get(place as usize).map(|slot| slot.estimate)
    }

    /// Changes the estimate of this key, which is made if there is none.
    pub(crate) fn update(&mut self, key: u64, change: impl FnOnce(&mut Estimate)) {
        let known = self.index.get(key).copied();
        let place = match known {
            Some(place) => place as usize,
            None => match self.make_room() {
                Some(place) => self.occupy(place, key),
                None => return,
            },
        };
        let slot = &mut self.slots[place];
        slot.used |= known.is_some();
        change(&mut slot.estimate);
    }

    /// Every estimate, those first that would have to go first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (u64, Estimate)> + '_ {
        let (newer, older) = self.slots.split_at(self.hand.min(self.slots.len()));
        let in_turn = || older.iter().chain(newer);
        let unused = in_turn().filter(|slot| !slot.used);
        unused.chain(in_turn().filter(|slot| slot.used)).map(|slot| (slot.key, slot.estimate))
    }

    fn occupy(&mut self, place: usize, key: u64) -> usize {
        let slot = Slot { key, estimate: Estimate::default(), used: false };
        if place == self.slots.len() {
            self.slots.push(slot)
        } else {
            self.slots[place] = slot
        }
        self.index.insert(key, u32::try_from(place).unwrap_or(u32::MAX));
        place
    }

    /// A free place; `None` if nothing at all may be remembered.
    fn make_room(&mut self) -> Option<usize> {
        if self.slots.len() < self.capacity {
            return Some(self.slots.len());
        }
        if self.capacity == 0 {
            return None;
        }
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[place];
            if !core::mem::take(&mut slot.used) {
                self.index.remove(slot.key);
                return Some(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn touch(all: &mut Recollections, key: u64) {
        all.update(key, |estimate| estimate.learn_duration(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut all = Recollections::new(3, 0);
        [1, 2, 3, 1].into_iter().for_each(|key| touch(&mut all, key));

        touch(&mut all, 4);

        assert_eq!(all.slots.len(), 3);
        assert!(all.get(1).is_some() && all.get(4).is_some());
        assert!(all.get(2).is_none());
    }

    #[test]
    fn nothing_is_remembered_where_nothing_may_be() {
        let mut all = Recollections::new(0, 0);
        touch(&mut all, 1);
        assert!(all.slots.is_empty());
    }
}
