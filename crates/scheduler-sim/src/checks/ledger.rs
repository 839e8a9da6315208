//! What one server knows to be at its workers, kept apart from the scheduler, and what it therefore must not order.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use scheduler_core::WorkerFacts;

#[derive(Debug)]
struct Account {
    facts: WorkerFacts,
    connected: bool,
    draining: bool,
    held: BTreeSet<Attempt>,
}

/// The accounts of one server's workers.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: BTreeMap<WorkerId, Account>,
    /// Attempts that any worker may be sent beyond its slots.
    ahead: usize,
}

impl Ledger {
    pub(crate) fn new(ahead: usize) -> Self {
        Self { accounts: BTreeMap::new(), ahead }
    }

    pub(crate) fn on_registered(&mut self, worker: WorkerId, facts: &WorkerFacts, holding: &[Attempt]) {
        let new = || Account { facts: facts.clone(), connected: true, draining: false, held: BTreeSet::new() };
        let account = self.accounts.entry(worker).or_insert_with(new);
        account.facts = facts.clone();
        account.connected = true;
        account.held = holding.iter().copied().collect();
    }

    pub(crate) fn on_disconnected(&mut self, worker: WorkerId) {
        if let Some(account) = self.accounts.get_mut(&worker) {
            account.connected = false;
        }
    }

    pub(crate) fn on_draining(&mut self, worker: WorkerId) {
        if let Some(account) = self.accounts.get_mut(&worker) {
            account.draining = true;
        }
    }

    pub(crate) fn on_ended(&mut self, worker: WorkerId, attempt: Attempt) {
        if let Some(account) = self.accounts.get_mut(&worker) {
            account.held.remove(&attempt);
        }
    }

    pub(crate) fn on_forgotten(&mut self, worker: WorkerId) {
        self.accounts.remove(&worker);
    }

    pub(crate) fn on_assigned(&mut self, worker: WorkerId, attempts: &[Attempt]) {
        for attempt in attempts {
            let mut others = self.accounts.values().flat_map(|account| &account.held);
            let other = others.find(|held| held.job == attempt.job);
            assert_eq!(other, None, "{attempt} is assigned while another attempt of its job is at a worker");
            self.credit(worker, *attempt);
        }
    }

    /// Jobs of which a worker has an attempt.
    pub(crate) fn jobs(&self) -> BTreeSet<JobId> {
        self.accounts.values().flat_map(|account| &account.held).map(|attempt| attempt.job).collect()
    }

    /// Workers that could start something at once, and how much they hold.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (WorkerId, &WorkerFacts, usize)> {
        let is_idle = |account: &Account| {
            account.connected && !account.draining && account.held.len() < account.facts.slots as usize
        };
        let idle = self.accounts.iter().filter(move |(_, account)| is_idle(account));
        idle.map(|(&id, account)| (id, &account.facts, account.held.len()))
    }

    /// What is reserved for the attempts at each worker is within what it has, as long as a worker says what it has.
    pub(crate) fn check_memory(&self, reserved: impl Fn(JobId) -> u64) {
        for (worker, account) in self.accounts.iter().filter(|(_, account)| account.facts.memory > 0) {
            let sum: u64 = account.held.iter().map(|attempt| reserved(attempt.job)).sum();
            let has = account.facts.memory;
            assert!(sum <= has, "{worker:?} has {has} bytes and holds jobs that need {sum}: {:?}", account.held);
        }
    }

    /// No worker needs to be known by, or to hold, anything that a worker at rest does not.
    pub(crate) fn is_quiet(&self) -> bool {
        self.accounts.values().all(|account| account.held.is_empty())
    }

    fn credit(&mut self, worker: WorkerId, attempt: Attempt) {
        let account = self.accounts.get_mut(&worker);
        let Some(account) = account else { panic!("{attempt} is assigned to {worker:?}, which is lost") };
        assert!(account.connected, "{attempt} is assigned to {worker:?}, which is not connected");
        assert!(!account.draining, "{attempt} is assigned to {worker:?}, which drains");
        account.held.insert(attempt);
        let (held, limit) = (account.held.len(), account.facts.slots as usize + self.ahead);
        assert!(held <= limit, "{worker:?} holds {held} attempts and may hold {limit}");
    }
}
