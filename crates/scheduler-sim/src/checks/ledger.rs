//! What one server knows to be at its workers, kept apart from the scheduler, and what it therefore must not order.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use scheduler_core::WorkerFacts;

#[derive(Debug)]
struct Account {
    facts: WorkerFacts,
    connected: bool,
    draining: bool,
    /// With what was reserved for each when it was sent; nothing for what the worker had already.
    held: BTreeMap<Attempt, u64>,
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
        let new = || Account { facts: facts.clone(), connected: true, draining: false, held: BTreeMap::new() };
        let account = self.accounts.entry(worker).or_insert_with(new);
        account.facts = facts.clone();
        account.connected = true;
        account.held = holding.iter().map(|held| (*held, account.held.get(held).copied().unwrap_or(0))).collect();
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

    /// `reserved` says how much memory is set aside for a job.
    pub(crate) fn on_assigned(&mut self, worker: WorkerId, attempts: &[Attempt], reserved: impl Fn(JobId) -> u64) {
        for attempt in attempts {
            let mut others = self.accounts.values().flat_map(|account| account.held.keys());
            let other = others.find(|held| held.job == attempt.job);
            assert_eq!(other, None, "{attempt} is assigned while another attempt of its job is at a worker");
            self.credit(worker, *attempt, reserved(attempt.job));
        }
    }

    /// Jobs of which a worker has an attempt.
    pub(crate) fn jobs(&self) -> BTreeSet<JobId> {
        self.accounts.values().flat_map(|account| account.held.keys()).map(|attempt| attempt.job).collect()
    }

    /// Workers that could start something at once, and how much they hold.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (WorkerId, &WorkerFacts, usize)> {
        let is_idle = |account: &Account| {
            account.connected && !account.draining && account.held.len() < account.facts.slots as usize
        };
        let idle = self.accounts.iter().filter(move |(_, account)| is_idle(account));
        idle.map(|(&id, account)| (id, &account.facts, account.held.len()))
    }

    /// No worker needs to be known by, or to hold, anything that a worker at rest does not.
    pub(crate) fn is_quiet(&self) -> bool {
        self.accounts.values().all(|account| account.held.is_empty())
    }

    fn credit(&mut self, worker: WorkerId, attempt: Attempt, reserved: u64) {
        let account = self.accounts.get_mut(&worker);
        let Some(account) = account else { panic!("{attempt} is assigned to {worker:?}, which is lost") };
        assert!(account.connected, "{attempt} is assigned to {worker:?}, which is not connected");
        assert!(!account.draining, "{attempt} is assigned to {worker:?}, which drains");
        account.held.insert(attempt, reserved);
        let (held, limit) = (account.held.len(), account.facts.slots as usize + self.ahead);
        assert!(held <= limit, "{worker:?} holds {held} attempts and may hold {limit}");
        let (has, needed) = (account.facts.memory, account.held.values().sum::<u64>());
        let fits = has == 0 || reserved == 0 || needed <= has;
        assert!(fits, "{attempt} goes to {worker:?} of {has} bytes, which then holds what needs {needed}");
    }
}
