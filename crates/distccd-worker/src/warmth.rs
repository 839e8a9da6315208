//! Which directories this worker has lately touched, most recent last: there its page cache and its filesystem
//! capabilities are worth something to the next job.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

/// Least-recently-used list of directories with a bound.
#[derive(Debug)]
pub(crate) struct Warmth {
    bound: usize,
    clock: u64,
    touched_at: BTreeMap<Bytes, u64>,
    by_age: BTreeMap<u64, Bytes>,
    unreported: VecDeque<u64>,
}

impl Warmth {
    /// Remembers at most `bound` directories.
    #[must_use]
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, clock: 0, touched_at: BTreeMap::new(), by_age: BTreeMap::new(), unreported: VecDeque::new() }
    }

    /// An attempt works in these, the most important first.
    pub(crate) fn touch(&mut self, dirs: &[Bytes]) {
        for dir in dirs.iter().rev() {
            self.touch_one(dir);
        }
    }

    fn touch_one(&mut self, dir: &Bytes) {
        self.clock += 1;
        if let Some(before) = self.touched_at.insert(dir.clone(), self.clock) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.clock, dir.clone());
        self.unreported.push_back(self.clock);
        while self.by_age.len() > self.bound {
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.touched_at.remove(&oldest);
            }
        }
        // Older entries than the bound are superseded or forgotten by now.
        while self.unreported.len() > self.bound * 2 {
            self.unreported.pop_front();
        }
    }

    /// What was touched since the last report of either kind, most recent last, each once.
    pub(crate) fn take_changes(&mut self) -> Vec<Bytes> {
        self.unreported.drain(..).filter_map(|at| self.by_age.get(&at).cloned()).collect()
    }

    /// All that is remembered, most recent first; counts as a report.
    pub(crate) fn take_all(&mut self) -> Vec<Bytes> {
        self.unreported.clear();
        self.by_age.values().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(names: &[&'static str]) -> Vec<Bytes> {
        names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect()
    }

    #[test]
    fn the_least_recent_is_forgotten() {
        let mut warmth = Warmth::new(2);

        warmth.touch(&dirs(&["a"]));
        warmth.touch(&dirs(&["b"]));
        warmth.touch(&dirs(&["a"]));
        warmth.touch(&dirs(&["c"]));

        assert_eq!(warmth.take_all(), dirs(&["c", "a"]));
    }

    #[test]
    fn changes_come_once_and_most_recent_last() {
        let mut warmth = Warmth::new(10);
        warmth.touch(&dirs(&["out", "src"]));
        warmth.touch(&dirs(&["src"]));

        assert_eq!(warmth.take_changes(), dirs(&["out", "src"]));
        assert_eq!(warmth.take_changes(), dirs(&[]));
        assert_eq!(warmth.take_all(), dirs(&["src", "out"]));
    }

    #[test]
    fn a_bound_of_zero_tracks_nothing() {
        let mut warmth = Warmth::new(0);

        warmth.touch(&dirs(&["a"]));

        assert_eq!(warmth.take_changes(), dirs(&[]));
        assert_eq!(warmth.take_all(), dirs(&[]));
    }
}
