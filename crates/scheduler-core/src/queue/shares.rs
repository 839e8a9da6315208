//! Fair shares of slot time: who has had least, for his weight, goes first. Used for users, and for the builds of each
//! user. (Start-time fair queueing: each account has a virtual time that a charge moves on; a newcomer starts where
//! the others are, so neither absence nor coming and going earns credit.)

use alloc::collections::{BTreeMap, BTreeSet};

/// Accounts that are kept for those who have nothing waiting; the ones furthest behind are forgotten first.
const MAX_RESTING: usize = 4_096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// Virtual time: slot time had, by weight.
    passed: u64,
    /// Has jobs in the queue.
    waits: bool,
    /// Has jobs in the queue that need not wait for company.
    ripe: bool,
}

/// The accounts, and those who wait in the order of their turns.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    accounts: BTreeMap<K, Account>,
    waiting: BTreeSet<(u64, K)>,
    ripe: BTreeSet<(u64, K)>,
    resting: BTreeSet<(u64, K)>,
    /// Where the one who was least served stands; only grows.
    floor: u64,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        let (waiting, ripe, resting) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { accounts: BTreeMap::new(), waiting, ripe, resting, floor: 0 }
    }
}

impl<K: Copy + Ord> Shares<K> {
    /// Has something waiting from now on.
    pub(crate) fn join(&mut self, key: K) {
        // A refund may have moved whoever is next back below the floor.
        let floor = self.waiting.first().map_or(self.floor, |&(least, _)| least);
        self.change(key, |account| {
            if !account.waits {
                account.waits = true;
                account.passed = account.passed.max(floor);
            }
        });
    }

    /// Has nothing waiting any more.
    pub(crate) fn leave(&mut self, key: K) {
        if self.accounts.contains_key(&key) {
            self.change(key, |account| {
                account.waits = false;
                account.ripe = false;
            });
            self.forget_resting();
        }
    }

    pub(crate) fn set_ripe(&mut self, key: K, ripe: bool) {
        if self.accounts.get(&key).is_some_and(|account| account.ripe != ripe) {
            self.change(key, |account| account.ripe = ripe);
        }
    }

    /// Slot time was, or will be, used.
    pub(crate) fn charge(&mut self, key: K, amount: u64) {
        if self.accounts.contains_key(&key) {
            self.change(key, |account| account.passed = account.passed.saturating_add(amount));
        }
    }

    /// Slot time that had been charged was not used.
    pub(crate) fn refund(&mut self, key: K, amount: u64) {
        if self.accounts.contains_key(&key) {
            self.change(key, |account| account.passed = account.passed.saturating_sub(amount));
        }
    }

    /// Those who wait, the one whose turn it is first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = K> + '_ {
        self.waiting.iter().map(|&(_, key)| key)
    }

    /// Those of [`Self::in_order`] who have something ripe.
    pub(crate) fn ripe_in_order(&self) -> impl Iterator<Item = K> + '_ {
        self.ripe.iter().map(|&(_, key)| key)
    }

    fn change(&mut self, key: K, change: impl FnOnce(&mut Account)) {
        let before = self.accounts.get(&key).copied();
        let mut account = before.unwrap_or_default();
        change(&mut account);
        if before == Some(account) {
            return;
        }
        if let Some(before) = before {
            self.delist(key, before);
        }
        self.accounts.insert(key, account);
        match account.waits {
            true => self.waiting.insert((account.passed, key)),
            false => self.resting.insert((account.passed, key)),
        };
        if account.ripe {
            self.ripe.insert((account.passed, key));
        }
        if let Some(&(least, _)) = self.waiting.first() {
            self.floor = self.floor.max(least);
        }
    }

    fn delist(&mut self, key: K, account: Account) {
        self.waiting.remove(&(account.passed, key));
        self.ripe.remove(&(account.passed, key));
        self.resting.remove(&(account.passed, key));
    }

    /// Who rests at or below the floor would come back at the floor anyway.
    fn forget_resting(&mut self) {
        let floor = self.waiting.first().map_or(self.floor, |&(least, _)| least);
        while let Some(&(passed, key)) = self.resting.first() {
            if passed > floor && self.resting.len() <= MAX_RESTING {
                return;
            }
            self.resting.remove(&(passed, key));
            self.accounts.remove(&key);
        }
    }

    /// Whoever waits is listed once, and nobody else is.
    pub(crate) fn check(&self, waits: impl Fn(K) -> bool) {
        let listed = self.accounts.iter().filter(|(_, account)| account.waits);
        assert_eq!(listed.count(), self.waiting.len(), "accounts that wait");
        assert!(self.in_order().all(&waits), "an account without jobs waits");
        assert!(self.ripe.is_subset(&self.waiting), "an account is ripe and waits for nothing");
        assert!(self.resting.len() <= MAX_RESTING + 1, "accounts are kept for ever");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn order(shares: &Shares<&'static str>) -> Vec<&'static str> {
        shares.in_order().collect()
    }

    #[test]
    fn who_has_had_least_goes_first() {
        let mut shares = Shares::default();
        ["ann", "bob", "cid"].into_iter().for_each(|name| shares.join(name));

        shares.charge("ann", 30);
        shares.charge("bob", 10);

        assert_eq!(order(&shares), ["cid", "bob", "ann"]);
    }

    #[test]
    fn absence_earns_nothing() {
        let mut shares = Shares::default();
        shares.join("ann");
        shares.charge("ann", 100);

        shares.join("bob");
        shares.charge("bob", 1);

        assert_eq!(order(&shares), ["ann", "bob"], "bob starts where ann is");
    }

    #[test]
    fn coming_and_going_forgives_nothing() {
        let mut shares = Shares::default();
        ["ann", "bob"].into_iter().for_each(|name| shares.join(name));
        shares.charge("ann", 100);

        shares.leave("ann");
        shares.join("ann");

        assert_eq!(order(&shares), ["bob", "ann"]);
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let mut shares = Shares::default();
        ["ann", "bob"].into_iter().for_each(|name| shares.join(name));
        shares.charge("ann", 100);
        shares.charge("bob", 50);

        shares.refund("ann", 100);

        assert_eq!(order(&shares), ["ann", "bob"]);
    }
}
