//! A bounded set of estimates. When it is full the next one takes the place of one that was not used since the hand
//! last came by (the "clock" approximation of least recently used): constant cost, and nothing left to chance.

use alloc::vec::Vec;

use super::estimate::Estimate;
use super::readers::Reader;
use crate::idmap::scattered;

/// No place at all.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    key: u64,
    /// The key of who reads what is made; 0 for nobody.
    reader: u64,
    estimate: Estimate,
    /// Of the reader.
    others: u8,
    used: bool,
}

#[derive(Debug)]
pub(crate) struct Recollections {
    slots: Vec<Slot>,
    /// Where in `slots` a key stands: open addressing, at the most half full. Four bytes for each and no more: this is
    /// looked up for every job, and the slot has to be looked at anyway.
    index: Vec<u32>,
    seed: u64,
    capacity: usize,
    hand: usize,
}

impl Recollections {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.min(NOWHERE as usize);
        Self { slots: Vec::new(), index: Vec::new(), seed, capacity, hand: 0 }
    }

    /// The estimate of this key, and the key of who reads what is made under it, if anybody does.
    pub(crate) fn get(&self, key: u64) -> Option<(Estimate, Option<u64>)> {
        let slot = &self.slots[self.find(key).ok()?];
        Some((slot.estimate, (slot.reader != 0).then_some(slot.reader)))
    }

    /// Who reads what is made under this key; `None` if nothing is remembered of it.
    pub(super) fn reader(&self, key: u64) -> Option<Reader> {
        let slot = &self.slots[self.find(key).ok()?];
        Some(Reader { key: slot.reader, others: slot.others })
    }

    /// Who reads what is made under this key, of which something is remembered.
    pub(super) fn set_reader(&mut self, key: u64, reader: Reader) {
        if let Ok(place) = self.find(key) {
            let slot = &mut self.slots[place];
            (slot.reader, slot.others) = (reader.key, reader.others);
        }
    }

    /// Changes the estimate of this key, which is made if there is none.
    pub(crate) fn update(&mut self, key: u64, change: impl FnOnce(&mut Estimate)) {
        let place = match self.find(key) {
            Ok(place) => {
                self.slots[place].used = true;
                place
            }
            Err(cell) => match self.occupy(cell, key) {
                Some(place) => place,
                None => return,
            },
        };
        change(&mut self.slots[place].estimate);
    }

    /// Every estimate, with the key of who reads the output, those first that would have to go first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (u64, Estimate, u64)> + '_ {
        let (newer, older) = self.slots.split_at(self.hand.min(self.slots.len()));
        let in_turn = || older.iter().chain(newer);
        let unused = in_turn().filter(|slot| !slot.used);
        unused.chain(in_turn().filter(|slot| slot.used)).map(|slot| (slot.key, slot.estimate, slot.reader))
    }

    /// Where the key stands, or else the cell of the index that is free for it.
    fn find(&self, key: u64) -> Result<usize, usize> {
        let mut cell = self.home(key);
        loop {
            match self.index.get(cell) {
                Some(&place) if place != NOWHERE => {
                    if self.slots[place as usize].key == key {
                        return Ok(place as usize);
                    }
                    cell = (cell + 1) & self.mask();
                }
                // Or there are no cells at all.
                _ => return Err(cell),
            }
        }
    }

    /// Gives a place to a key that has none, for which this cell of the index is free. `None` if nothing at all may be
    /// remembered.
    fn occupy(&mut self, mut cell: usize, key: u64) -> Option<usize> {
        let place = self.make_room()?;
        let slot = Slot { key, reader: 0, estimate: Estimate::default(), others: 0, used: false };
        if place < self.slots.len() {
            // Whoever had it has left the index, where others may have moved.
            self.slots[place] = slot;
            cell = self.free_cell(key);
        } else {
            self.slots.push(slot);
            if self.slots.len() * 2 > self.index.len() {
                self.rebuild_index();
                return Some(place);
            }
        }
        self.index[cell] = u32::try_from(place).unwrap_or(NOWHERE);
        Some(place)
    }

    fn free_cell(&self, key: u64) -> usize {
        let mut cell = self.home(key);
        while self.index[cell] != NOWHERE {
            cell = (cell + 1) & self.mask();
        }
        cell
    }

    #[cold]
    fn rebuild_index(&mut self) {
        let size = (self.index.len() * 2).max(8);
        self.index.clear();
        self.index.resize(size, NOWHERE);
        for place in 0..self.slots.len() {
            let cell = self.free_cell(self.slots[place].key);
            self.index[cell] = u32::try_from(place).unwrap_or(NOWHERE);
        }
    }

    /// Takes the key that stands in this place out of the index, and closes the gap.
    fn unlist(&mut self, place: usize) {
        let mut gap = self.home(self.slots[place].key);
        while self.index[gap] as usize != place {
            gap = (gap + 1) & self.mask();
        }
        self.index[gap] = NOWHERE;
        let mut next = (gap + 1) & self.mask();
        while self.index[next] != NOWHERE {
            // It may move back to the gap unless its own cell lies between the gap and it.
            let home = self.home(self.slots[self.index[next] as usize].key);
            if next.wrapping_sub(home) & self.mask() >= next.wrapping_sub(gap) & self.mask() {
                self.index.swap(gap, next);
                gap = next;
            }
            next = (next + 1) & self.mask();
        }
    }

    fn home(&self, key: u64) -> usize {
        scattered(key, self.seed) & self.mask()
    }

    /// Of no meaning while there are no cells.
    fn mask(&self) -> usize {
        self.index.len().wrapping_sub(1)
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
                self.unlist(place);
                return Some(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::estimate::Measured;
    use super::*;
    use core::time::Duration;

    fn touch(all: &mut Recollections, key: u64) {
        all.update(key, |estimate| estimate.learn(Measured::new(Some(Duration::from_secs(1)), 0)));
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
    fn every_key_is_found_whatever_came_and_went() {
        let mut all = Recollections::new(100, 7);
        for step in 0..2_000u64 {
            touch(&mut all, step * step % 257);

            let known: Vec<_> = all.slots.iter().map(|slot| slot.key).collect();
            assert!(known.iter().all(|&key| all.get(key).is_some()), "after {step}");
            assert_eq!((0..257).filter(|&key| all.get(key).is_some()).count(), known.len());
        }
        assert_eq!(all.slots.len(), 100);
    }

    #[test]
    fn nothing_is_remembered_where_nothing_may_be() {
        let mut all = Recollections::new(0, 0);
        touch(&mut all, 1);
        assert!(all.slots.is_empty());
    }
}
