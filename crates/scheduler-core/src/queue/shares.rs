//! Fair shares of slot time: who has had least, for his weight, goes first. Used for users, and for the builds of each
//! user. (Start-time fair queueing: each account has a virtual time that a charge moves on; a newcomer starts where
//! the others are, so neither absence nor coming and going earns credit.)

use alloc::collections::BTreeSet;
use core::cmp::Ordering;

use super::opening::{Open, Readiness};
use crate::idmap::{IdMap, Identity};
use crate::ordered::OrderedMap;

/// Accounts that are kept for those who have nothing waiting; the ones furthest behind are forgotten first.
const MAX_RESTING: usize = 4_096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// Virtual time: slot time had, by weight.
    passed: u64,
    /// Has jobs in the queue.
    waits: bool,
    /// What kinds of its jobs may go.
    open: Open,
}

/// Where an account stands among others: by what it had, and then by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing<K> {
    passed: u64,
    key: K,
}

impl<K: Copy + Identity> Standing<K> {
    /// Both in one number: standings are compared all the time, and ids are numbers.
    fn whole(self) -> u128 {
        u128::from(self.passed) << 64 | u128::from(self.key.bits().0)
    }
}

impl<K: Copy + Identity> PartialOrd for Standing<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Copy + Identity> Ord for Standing<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.whole().cmp(&other.whole())
    }
}

/// The accounts, and those who wait in the order of their turns.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    accounts: IdMap<K, Account>,
    /// And what of each may go.
    waiting: OrderedMap<Standing<K>, Open>,
    resting: BTreeSet<Standing<K>>,
    /// Where the one who was least served stands; only grows.
    floor: u64,
}

impl<K: Copy + Identity> Shares<K> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { accounts: IdMap::with_seed(seed), waiting: OrderedMap::default(), resting: BTreeSet::new(), floor: 0 }
    }

    /// Has something waiting from now on.
    pub(crate) fn join(&mut self, key: K) {
        // A refund may have moved whoever is next back below the floor.
        let floor = self.waiting.first().map_or(self.floor, |(first, _)| first.passed);
        self.change(key, |account| {
            if !account.waits {
                account.waits = true;
                account.passed = account.passed.max(floor);
            }
        });
    }

    /// Has nothing waiting any more.
    pub(crate) fn leave(&mut self, key: K) {
        let is_known = self.change_known(key, |account| {
            account.waits = false;
            account.open = Open::default();
        });
        if is_known {
            self.forget_resting();
        }
    }

    pub(crate) fn set_open(&mut self, key: K, open: Open) {
        self.change_known(key, |account| account.open = open);
    }

    /// Slot time was, or will be, used.
    pub(crate) fn charge(&mut self, key: K, amount: u64) {
        self.change_known(key, |account| account.passed = account.passed.saturating_add(amount));
    }

    /// Of the slot time that had been charged, so much was really used.
    pub(crate) fn settle(&mut self, key: K, charged: u64, used: u64) {
        self.change_known(key, |account| {
            account.passed = account.passed.saturating_sub(charged).saturating_add(used);
        });
    }

    /// Those who wait, the one whose turn it is first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = K> + '_ {
        self.waiting.iter().map(|(standing, _)| standing.key)
    }

    /// The first answer of those of [`Self::in_order`] who have something that may go.
    pub(crate) fn ask_open<R>(&self, which: Readiness, mut ask: impl FnMut(K) -> Option<R>) -> Option<R> {
        self.waiting.find_map(|standing, open| if open.get(which) { ask(standing.key) } else { None })
    }

    fn change(&mut self, key: K, change: impl FnOnce(&mut Account)) {
        self.accounts.get_or_insert_with(key, || {
            self.resting.insert(Standing { passed: 0, key });
            Account::default()
        });
        self.change_known(key, change);
    }

    /// Whether there is such an account.
    fn change_known(&mut self, key: K, change: impl FnOnce(&mut Account)) -> bool {
        let Some(account) = self.accounts.get_mut(key) else { return false };
        let before = *account;
        change(account);
        let after = *account;
        if before == after {
            return true;
        }
        if (before.passed, before.waits) == (after.passed, after.waits) {
            if let Some(open) = self.waiting.get_mut(Standing { passed: after.passed, key }) {
                *open = after.open;
            }
            return true;
        }
        self.relist(key, before, after);
        if let Some((first, _)) = self.waiting.first() {
            self.floor = self.floor.max(first.passed);
        }
        true
    }

    fn relist(&mut self, key: K, before: Account, after: Account) {
        let [from, to] = [before, after].map(|account| Standing { passed: account.passed, key });
        if before.waits && after.waits {
            return self.waiting.shift(from, to, after.open);
        }
        match before.waits {
            true => self.waiting.remove(from),
            false => drop(self.resting.remove(&from)),
        }
        match after.waits {
            true => self.waiting.insert(to, after.open),
            false => drop(self.resting.insert(to)),
        }
    }

    /// Who rests at or below the floor would come back at the floor anyway.
    fn forget_resting(&mut self) {
        let floor = self.waiting.first().map_or(self.floor, |(first, _)| first.passed);
        while let Some(&Standing { passed, key }) = self.resting.first() {
            if passed > floor && self.resting.len() <= MAX_RESTING {
                return;
            }
            self.resting.remove(&Standing { passed, key });
            self.accounts.remove(key);
        }
    }

    /// Whoever waits is listed once, and nobody else is.
    pub(crate) fn check(&self, waits: impl Fn(K) -> bool) {
        let keys = self.accounts.sorted_keys();
        let listed = keys.iter().filter_map(|key| self.accounts.get(key)).filter(|account| account.waits);
        assert_eq!(listed.count(), self.waiting.len(), "accounts that wait");
        assert!(self.in_order().all(&waits), "an account without jobs waits");
        let accounts = || keys.iter().filter_map(|&key| Some((key, self.accounts.get(key)?)));
        assert!(
            accounts().all(|(_, account)| account.waits || account.open == Open::default()),
            "open, and waits for nothing"
        );
        let listed = |key, account: &Account| {
            self.waiting.get(Standing { passed: account.passed, key }).copied().unwrap_or_default()
        };
        assert!(accounts().all(|(key, account)| account.open == listed(key, account)), "open or not");
        assert!(self.resting.len() <= MAX_RESTING + 1, "accounts are kept for ever");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    impl Identity for &'static str {
        fn bits(&self) -> (u64, u64) {
            // In the order of the names.
            (self.bytes().fold(0, |bits, byte| bits << 8 | u64::from(byte)), 0)
        }
    }

    fn order(shares: &Shares<&'static str>) -> Vec<&'static str> {
        shares.in_order().collect()
    }

    #[test]
    fn who_has_had_least_goes_first() {
        let mut shares = Shares::new(7);
        ["ann", "bob", "cid"].into_iter().for_each(|name| shares.join(name));

        shares.charge("ann", 30);
        shares.charge("bob", 10);

        assert_eq!(order(&shares), ["cid", "bob", "ann"]);
    }

    #[test]
    fn absence_earns_nothing() {
        let mut shares = Shares::new(7);
        shares.join("ann");
        shares.charge("ann", 100);

        shares.join("bob");
        shares.charge("bob", 1);

        assert_eq!(order(&shares), ["ann", "bob"], "bob starts where ann is");
    }

    #[test]
    fn coming_and_going_forgives_nothing() {
        let mut shares = Shares::new(7);
        ["ann", "bob"].into_iter().for_each(|name| shares.join(name));
        shares.charge("ann", 100);

        shares.leave("ann");
        shares.join("ann");

        assert_eq!(order(&shares), ["bob", "ann"]);
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let mut shares = Shares::new(7);
        ["ann", "bob"].into_iter().for_each(|name| shares.join(name));
        shares.charge("ann", 100);
        shares.charge("bob", 50);

        shares.settle("ann", 100, 10);

        assert_eq!(order(&shares), ["ann", "bob"]);
    }

    #[test]
    fn who_rests_at_the_floor_is_forgotten_and_who_still_owes_is_not() {
        let mut shares = Shares::new(7);
        ["ann", "bob", "cid", "dan"].into_iter().for_each(|name| shares.join(name));
        shares.charge("bob", 51);
        ["cid", "dan"].into_iter().for_each(|name| shares.charge(name, 50));

        ["ann", "bob", "dan"].into_iter().for_each(|name| shares.leave(name));

        assert_eq!(shares.resting.iter().map(|it| it.key).collect::<Vec<_>>(), ["bob"]);
        assert!(["ann", "dan"].iter().all(|name| shares.accounts.get(name).is_none()));
    }
}
