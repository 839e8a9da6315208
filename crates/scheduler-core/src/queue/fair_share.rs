//! Whose turn it is: the one least recently served goes first. Used for users, and for the builds of each user.
//! The door to shares and priorities: whoever weighs turns differently does it here.

use alloc::collections::{BTreeMap, BTreeSet};

/// Those who wait for a turn, in the order in which they get it.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    order: BTreeSet<(u64, K)>,
    turn: BTreeMap<K, u64>,
    next: u64,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), turn: BTreeMap::new(), next: 0 }
    }
}

impl<K: Copy + Ord> Turns<K> {
    /// A newcomer stands at the end of the line; who stands there already keeps the place.
    pub(crate) fn join(&mut self, key: K) {
        if !self.turn.contains_key(&key) {
            self.queue_up(key);
        }
    }

    pub(crate) fn leave(&mut self, key: K) {
        if let Some(turn) = self.turn.remove(&key) {
            self.order.remove(&(turn, key));
        }
    }

    /// Whoever was served goes to the end of the line.
    pub(crate) fn served(&mut self, key: K) {
        if self.turn.contains_key(&key) {
            self.leave(key);
            self.queue_up(key);
        }
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = K> + '_ {
        self.order.iter().map(|&(_, key)| key)
    }

    fn queue_up(&mut self, key: K) {
        self.turn.insert(key, self.next);
        self.order.insert((self.next, key));
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn whoever_was_served_goes_queue_up() {
        let mut turns = Turns::default();
        ["ann", "bob", "cid"].into_iter().for_each(|name| turns.join(name));

        turns.served("ann");
        turns.join("bob");

        assert_eq!(turns.in_order().collect::<Vec<_>>(), ["bob", "cid", "ann"]);
    }
}
