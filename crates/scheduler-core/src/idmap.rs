//! A hash table by identity: what is looked up several times a step stays cheap however many jobs there are. It cannot
//! be walked in the order of its hashes, so no decision can come to depend on them; the seed changes nothing but who
//! could make lookups slow on purpose.

use alloc::vec::Vec;
use core::borrow::Borrow;

use model::ids::{BuildId, DirKey, JobId, UserId, WorkerId};

use crate::input::ClientId;

/// What a table can be keyed by.
pub(crate) trait Identity: Clone + Ord {
    /// The bits that tell keys apart, or a digest of them.
    fn bits(&self) -> (u64, u64);
}

impl Identity for JobId {
    fn bits(&self) -> (u64, u64) {
        let whole = u128::from_le_bytes(*self.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let halves = (whole as u64, (whole >> 64) as u64);
        halves
    }
}

impl Identity for u64 {
    fn bits(&self) -> (u64, u64) {
        (*self, 0)
    }
}

impl Identity for ClientId {
    fn bits(&self) -> (u64, u64) {
        (self.0, 0)
    }
}

impl Identity for UserId {
    fn bits(&self) -> (u64, u64) {
        (u64::from(self.uid()), 0)
    }
}

impl Identity for BuildId {
    fn bits(&self) -> (u64, u64) {
        (self.digest(), 0)
    }
}

impl Identity for (UserId, BuildId) {
    fn bits(&self) -> (u64, u64) {
        (self.1.digest(), self.0.uid().into())
    }
}

impl Identity for WorkerId {
    fn bits(&self) -> (u64, u64) {
        (u64::from(self.number()), 0)
    }
}

impl Identity for DirKey {
    fn bits(&self) -> (u64, u64) {
        (self.digest(), 0)
    }
}

/// Open addressing with linear probing; a removal closes its gap, so there are no tombstones. At the most half full: to
/// find out that a key is not there takes a look at 2.5 cells then, and 8.5 at three quarters (Knuth, The Art of Computer
/// Programming, 6.4).
#[derive(Debug)]
pub(crate) struct IdMap<K, V> {
    cells: Vec<Option<(K, V)>>,
    len: usize,
    seed: u64,
}

impl<K: Identity, V> IdMap<K, V> {
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self { cells: Vec::new(), len: 0, seed }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: impl Borrow<K>) -> Option<&V> {
        let key = key.borrow();
        let mut index = self.home(key);
        // Nothing but `find`, without its looking at the cell once more.
        while let Some((other, value)) = self.cells.get(index)? {
            if other == key {
                return Some(value);
            }
            index = (index + 1) & self.mask();
        }
        None
    }

    pub(crate) fn get_mut(&mut self, key: impl Borrow<K>) -> Option<&mut V> {
        let index = self.find(key.borrow()).ok()?;
        self.cells[index].as_mut().map(|(_, value)| value)
    }

    /// Puts a value in; the one that was there comes out.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(index) => self.cells[index].replace((key, value)).map(|(_, before)| before),
            Err(free) => {
                self.add(free, key, value);
                None
            }
        }
    }

    /// The value of this key, which is put in if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let index = self.find(&key).unwrap_or_else(|free| self.add(free, key, value()));
        match &mut self.cells[index] {
            Some((_, value)) => value,
            None => unreachable!("it was found or put there"),
        }
    }

    pub(crate) fn remove(&mut self, key: impl Borrow<K>) -> Option<V> {
        let index = self.find(key.borrow()).ok()?;
        self.remove_at(index)
    }

    /// Changes the value of this key, if there is one, and takes it out if that says so.
    pub(crate) fn remove_if(&mut self, key: impl Borrow<K>, is_over: impl FnOnce(&mut V) -> bool) -> Option<V> {
        let index = self.find(key.borrow()).ok()?;
        let (_, value) = self.cells[index].as_mut()?;
        if is_over(value) { self.remove_at(index) } else { None }
    }

    fn remove_at(&mut self, mut gap: usize) -> Option<V> {
        let (_, value) = self.cells[gap].take()?;
        self.len -= 1;
        let mask = self.mask();
        let mut next = (gap + 1) & mask;
        while let Some((key, _)) = &self.cells[next] {
            // It may move back to the gap unless its own place lies between the gap and it.
            let home = self.home(key);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(gap) & mask {
                self.cells.swap(gap, next);
                gap = next;
            }
            next = (next + 1) & mask;
        }
        Some(value)
    }

    /// The keys in their own order. Looks at everything.
    pub(crate) fn sorted_keys(&self) -> Vec<K> {
        let mut keys: Vec<K> = self.cells.iter().flatten().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// The key that comes first by this of its value, and then in its own order. Looks at everything.
    pub(crate) fn first_by<R: Ord>(&self, rank: impl Fn(&V) -> R) -> Option<K> {
        self.cells.iter().flatten().min_by_key(|(key, value)| (rank(value), key)).map(|(key, _)| key.clone())
    }

    /// The cell in which the key is, or else the one in which it would be put.
    fn find(&self, key: &K) -> Result<usize, usize> {
        let mut index = self.home(key);
        // Where there are no cells, there is none to begin with.
        while let Some(Some((other, _))) = self.cells.get(index) {
            if other == key {
                return Ok(index);
            }
            index = (index + 1) & self.mask();
        }
        Err(index)
    }

    /// Puts in a key that is not there, for which this cell is free.
    fn add(&mut self, free: usize, key: K, value: V) -> usize {
        self.len += 1;
        if self.len * 2 > self.cells.len() {
            self.grow();
            return self.put(key, value);
        }
        self.cells[free] = Some((key, value));
        free
    }

    fn put(&mut self, key: K, value: V) -> usize {
        let mut index = self.home(&key);
        while self.cells[index].is_some() {
            index = (index + 1) & self.mask();
        }
        self.cells[index] = Some((key, value));
        index
    }

    fn grow(&mut self) {
        let size = (self.cells.len() * 2).max(8);
        let before = core::mem::take(&mut self.cells);
        self.cells.resize_with(size, || None);
        before.into_iter().flatten().for_each(|(key, value)| {
            self.put(key, value);
        });
    }

    fn home(&self, key: &K) -> usize {
        let (low, high) = key.bits();
        let mixed = fold(low ^ self.seed, high ^ 0x9e37_79b9_7f4a_7c15);
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table's size")]
        let index = mixed as usize;
        index & self.mask()
    }

    /// Of no meaning while there are no cells.
    fn mask(&self) -> usize {
        self.cells.len().wrapping_sub(1)
    }
}

/// Where a key belongs in a table, which masks it to its size.
pub(crate) fn scattered(key: u64, seed: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "masked to the table's size")]
    let scattered = fold(key ^ seed, 0x9e37_79b9_7f4a_7c15) as usize;
    scattered
}

/// Both halves of the whole product: every bit of the operands reaches every bit of the result.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn it_holds_what_an_ordered_map_holds_whatever_is_put_in_and_taken_out() {
        let (mut map, mut model) = (IdMap::with_seed(7), BTreeMap::new());
        let mut state = 1u64;
        for round in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (state >> 33) % 300;
            if (state >> 20) % 5 < 3 {
                assert_eq!(map.insert(key, round), model.insert(key, round));
            } else {
                assert_eq!(map.remove(key), model.remove(&key));
            }
            if state.is_multiple_of(7) {
                let (here, there) = (map.get_or_insert_with(key + 1, || round), model.entry(key + 1).or_insert(round));
                assert_eq!(here, there);
            }
            assert_eq!(map.len(), model.len());
            assert_eq!(map.get(key), model.get(&key));
        }
        assert_eq!(map.sorted_keys(), model.keys().copied().collect::<Vec<_>>());
        assert!(model.iter().all(|(&key, value)| map.get(key) == Some(value)));
    }
}
