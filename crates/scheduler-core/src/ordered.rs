//! An ordered map of small entries in runs of memory: what moves from one place in an order to another with every job
//! costs less here than in a tree, whose nodes are allocated and searched one below the other.

use alloc::vec::Vec;

/// Entries of one run at the most: moving half of them is what an insertion costs.
const RUN: usize = 128;

#[derive(Debug)]
pub(crate) struct OrderedMap<K, V> {
    /// In order, none of them empty.
    runs: Vec<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self { runs: Vec::new(), len: 0 }
    }
}

impl<K: Copy + Ord, V: Copy> OrderedMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn first(&self) -> Option<&(K, V)> {
        self.runs.first()?.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.runs.iter().flatten()
    }

    /// The first answer to be had from the entries in their order. Loops, because every decision asks: an iterator of
    /// iterators costs more.
    pub(crate) fn find_map<R>(&self, mut ask: impl FnMut(&K, &V) -> Option<R>) -> Option<R> {
        for run in &self.runs {
            for (key, value) in run {
                let answer = ask(key, value);
                if answer.is_some() {
                    return answer;
                }
            }
        }
        None
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let (run, place) = self.find(key);
        let found = self.runs.get(run)?.get(place?)?;
        Some(&found.1)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (run, place) = self.find(key);
        let found = self.runs.get_mut(run)?.get_mut(place?)?;
        Some(&mut found.1)
    }

    /// Puts an entry in. The key must not be there.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.len += 1;
        // What comes behind everything is put into the last run.
        let index = self.run_of(key).min(self.runs.len().saturating_sub(1));
        let Some(run) = self.runs.get_mut(index) else {
            let mut run = Vec::with_capacity(4);
            run.push((key, value));
            self.runs.push(run);
            return;
        };
        let place = run.partition_point(|(other, _)| *other < key);
        run.insert(place, (key, value));
        if run.len() > RUN {
            let behind = run.split_off(RUN / 2);
            self.runs.insert(index + 1, behind);
        }
    }

    /// Moves an entry, which must be there, to another place in the order, where it has this value.
    pub(crate) fn shift(&mut self, from: K, to: K, value: V) {
        let (index, place) = self.find(from);
        match place {
            Some(place) if self.is_within(index, to) => {
                let run = &mut self.runs[index];
                // What lies between makes room: nothing else moves.
                let target = if from < to {
                    let passed = run[place + 1..].partition_point(|(other, _)| *other < to);
                    run.copy_within(place + 1..=place + passed, place);
                    place + passed
                } else {
                    let target = run[..place].partition_point(|(other, _)| *other < to);
                    run.copy_within(target..place, target + 1);
                    target
                };
                run[target] = (to, value);
            }
            place => {
                place.into_iter().for_each(|place| self.remove_at(index, place));
                self.insert(to, value);
            }
        }
    }

    /// Whether the key belongs into this run.
    fn is_within(&self, index: usize, key: K) -> bool {
        let is_last = index + 1 == self.runs.len();
        let ends_behind = || self.runs[index].last().is_some_and(|(last, _)| key <= *last);
        let begins_before = || self.runs[index - 1].last().is_some_and(|(last, _)| *last < key);
        (is_last || ends_behind()) && (index == 0 || begins_before())
    }

    /// Takes the entry out, if it is there.
    pub(crate) fn remove(&mut self, key: K) {
        if let (index, Some(place)) = self.find(key) {
            self.remove_at(index, place);
        }
    }

    fn remove_at(&mut self, index: usize, place: usize) {
        self.len -= 1;
        let run = &mut self.runs[index];
        run.remove(place);
        if run.is_empty() {
            self.runs.remove(index);
        }
    }

    /// The first run whose last entry is not before the key; as many as there are runs if none is.
    fn run_of(&self, key: K) -> usize {
        if let [run] = &self.runs[..] {
            return usize::from(run.last().is_some_and(|(last, _)| *last < key));
        }
        self.runs.partition_point(|run| run.last().is_some_and(|(last, _)| *last < key))
    }

    fn find(&self, key: K) -> (usize, Option<usize>) {
        let index = self.run_of(key);
        let found = self.runs.get(index).map(|run| run.binary_search_by_key(&key, |(key, _)| *key));
        (index, found.and_then(Result::ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    #[test]
    fn it_holds_what_a_tree_holds_in_the_same_order() {
        let (mut map, mut model) = (OrderedMap::default(), BTreeMap::new());
        let mut state = 1u64;
        for round in 0..30_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (state >> 33) % 2_000;
            // It grows to many runs, and is emptied again.
            let other = (state >> 45) % 2_000;
            if model.contains_key(&key) && !model.contains_key(&other) && (state >> 25).is_multiple_of(2) {
                map.shift(key, other, round);
                model.remove(&key);
                model.insert(other, round);
            } else if model.contains_key(&key) && (round > 20_000 || (state >> 20).is_multiple_of(3)) {
                map.remove(key);
                model.remove(&key);
            } else if !model.contains_key(&key) && round < 20_000 {
                map.insert(key, round);
                model.insert(key, round);
            }
            assert_eq!(map.len(), model.len());
            assert_eq!(map.first().copied(), model.first_key_value().map(|(&key, &value)| (key, value)));
            assert_eq!(map.get(key), model.get(&key));
            assert_eq!(map.get_mut(key), model.get_mut(&key));
            if round % 500 == 0 {
                assert!(map.iter().copied().eq(model.iter().map(|(&key, &value)| (key, value))));
            }
        }
        map.remove(5_000);
        assert_eq!(map.len(), model.len());
    }
}
