//! What one server knows to be at its workers, kept apart from the scheduler, and what it therefore must not order.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use scheduler_core::{Commit, HeldAttempt, WorkerFacts};

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
    /// Second attempts at once at the most, in hundredths of the jobs at workers.
    share: usize,
    /// Jobs that were given second attempts, until it is known which of the two is to be the only one.
    doubled: BTreeSet<JobId>,
    /// Attempts that wait for the permission to commit.
    unpermitted: BTreeSet<(WorkerId, Attempt)>,
    /// Attempts of which the worker has said how they ended. It names them again in a new registration as long as it has
    /// not heard that this was received.
    ended: BTreeSet<(WorkerId, Attempt)>,
}

impl Ledger {
    pub(crate) fn new(ahead: usize, share: usize) -> Self {
        Self {
            accounts: BTreeMap::new(),
            ahead,
            share,
            doubled: BTreeSet::new(),
            unpermitted: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    pub(crate) fn on_registered(&mut self, worker: WorkerId, facts: &WorkerFacts, holding: &[HeldAttempt]) {
        let new = || Account { facts: facts.clone(), connected: true, draining: false, held: BTreeMap::new() };
        let account = self.accounts.entry(worker).or_insert_with(new);
        account.facts = facts.clone();
        account.connected = true;
        self.unpermitted.retain(|(at, _)| *at != worker);
        let waiting = holding.iter().filter(|held| held.commit == Commit::WhenPermitted);
        self.unpermitted.extend(waiting.map(|held| (worker, held.attempt)));
        let reserved = |held: &Attempt| account.held.get(held).copied().unwrap_or(0);
        account.held = holding.iter().map(|held| (held.attempt, reserved(&held.attempt))).collect();
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
        self.unpermitted.remove(&(worker, attempt));
        self.ended.insert((worker, attempt));
        if let Some(account) = self.accounts.get_mut(&worker) {
            account.held.remove(&attempt);
        }
    }

    pub(crate) fn on_forgotten(&mut self, worker: WorkerId) {
        self.accounts.remove(&worker);
        self.unpermitted.retain(|(at, _)| *at != worker);
        self.ended.retain(|(at, _)| *at != worker);
    }

    /// Whether a worker may publish what an attempt wrote, for all that this server has heard.
    fn may_commit(&self, worker: WorkerId, attempt: Attempt) -> bool {
        !self.unpermitted.contains(&(worker, attempt)) && !self.ended.contains(&(worker, attempt))
    }

    /// `reserved` says how much memory is set aside for a job.
    pub(crate) fn on_assigned(
        &mut self,
        worker: WorkerId,
        attempts: &[Attempt],
        commit: Commit,
        reserved: impl Fn(JobId) -> u64,
    ) {
        for attempt in attempts {
            let others =
                self.accounts.iter().filter(|(_, account)| account.held.keys().any(|it| it.job == attempt.job));
            let others: Vec<_> = others.map(|(&other, account)| (other, account.facts.isolates)).collect();
            if commit == Commit::WhenPermitted {
                self.check_second(worker, *attempt, &others);
            } else {
                assert_eq!(others, [], "{attempt} is assigned while another attempt of its job is at a worker");
            }
            self.credit(worker, *attempt, reserved(attempt.job));
            if commit == Commit::WhenPermitted {
                self.doubled.insert(attempt.job);
                self.unpermitted.insert((worker, *attempt));
            }
        }
    }

    /// A shadow is nobody else's, goes where a slot is idle and writes are held back, and is never permitted.
    pub(crate) fn on_shadowed(&mut self, worker: WorkerId, attempt: Attempt) {
        let isolates = self.accounts.get(&worker).is_some_and(|account| account.facts.isolates);
        let idle = self.idle().any(|(id, _, _)| id == worker);
        assert!(
            isolates && idle,
            "{attempt} is a shadow at {worker:?}, which isolates: {isolates}, and is idle: {idle}"
        );
        let others = self.accounts.values().flat_map(|account| account.held.keys()).filter(|it| it.job == attempt.job);
        assert_eq!(others.count(), 0, "{attempt} is a shadow beside another");
        self.credit(worker, attempt, 0);
    }

    /// Whatever else of the job is at a worker that is not lost waits too.
    pub(crate) fn on_permitted(&mut self, worker: WorkerId, attempt: Attempt) {
        assert!(self.unpermitted.remove(&(worker, attempt)), "{attempt} is permitted what it may do already");
        for (&holder, account) in &self.accounts {
            let mut held = account.held.keys().filter(|held| held.job == attempt.job);
            let other = held.find(|&&it| (holder, it) != (worker, attempt) && self.may_commit(holder, it));
            assert_eq!(other, None, "{attempt} may commit while {holder:?} has another that may");
        }
    }

    /// The job's launcher is answered: whatever is still at a worker that is not lost has to wait for a permission that
    /// never comes.
    pub(crate) fn on_settled(&self, job: JobId) {
        for (&holder, account) in &self.accounts {
            let mut held = account.held.keys().filter(|held| held.job == job);
            let live = held.find(|&&it| self.may_commit(holder, it));
            assert_eq!(live, None, "{job:?} is settled while {holder:?} has an attempt of it that may commit");
        }
    }

    /// One other, elsewhere, and both isolated; and not too many of them.
    fn check_second(&self, worker: WorkerId, attempt: Attempt, others: &[(WorkerId, bool)]) {
        let isolates = self.accounts.get(&worker).is_some_and(|account| account.facts.isolates);
        let is_second = matches!(others, [(other, true)] if *other != worker);
        assert!(isolates && is_second, "{attempt} is assigned as a second attempt beside {others:?}");
        let idle = self.idle().any(|(id, _, _)| id == worker);
        assert!(idle, "{attempt} is a second attempt for a slot that is not idle");
        let holders = |job| self.accounts.values().filter(move |it| it.held.keys().any(|held| held.job == job)).count();
        let doubled = self.doubled.iter().filter(|&&job| holders(job) > 1).count();
        let most = (self.jobs().len() * self.share / 100).max(1);
        assert!(doubled < most, "{attempt} is a second attempt beside {doubled} others");
    }

    /// One of the job's attempts is cancelled or ready, or the job is over.
    pub(crate) fn on_decided(&mut self, job: JobId) {
        self.doubled.remove(&job);
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

#[cfg(test)]
mod tests {
    use model::ids::Incarnation;

    use super::*;

    const ASH: WorkerId = WorkerId::new(1);

    const ATTEMPT: Attempt = Attempt { job: JobId::from_bytes([7; 16]), number: 1 };

    fn facts() -> WorkerFacts {
        WorkerFacts {
            incarnation: Incarnation::from_bytes([1; 16]),
            slots: 1,
            linking: true,
            toolchains: vec![],
            mounts: vec![],
            only_user: None,
            memory: 0,
            cpu_class: None,
            isolates: true,
            speed: None,
        }
    }

    /// What the ledger says of an attempt at a worker when its job is answered.
    fn settled_with(commit: Commit) {
        let mut ledger = Ledger::new(0, 10);
        ledger.on_registered(ASH, &facts(), &[HeldAttempt { attempt: ATTEMPT, commit }]);
        ledger.on_settled(ATTEMPT.job);
    }

    #[test]
    #[should_panic(expected = "is settled while")]
    fn a_job_is_not_settled_while_an_attempt_of_it_may_commit() {
        settled_with(Commit::WhenDone);
    }

    #[test]
    fn an_attempt_that_waits_for_permission_hinders_nobody() {
        settled_with(Commit::WhenPermitted);
    }

    #[test]
    fn an_attempt_that_has_ended_is_named_again_by_a_worker_that_does_not_know_that_this_was_heard() {
        let holding = [HeldAttempt { attempt: ATTEMPT, commit: Commit::WhenDone }];
        let mut ledger = Ledger::new(0, 10);
        ledger.on_registered(ASH, &facts(), &holding);
        ledger.on_ended(ASH, ATTEMPT);
        ledger.on_disconnected(ASH);
        ledger.on_registered(ASH, &facts(), &holding);
        ledger.on_settled(ATTEMPT.job);
    }
}
