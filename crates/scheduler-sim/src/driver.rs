//! One run of the server around the scheduler under test: numbers workers, keeps outcomes, acknowledges, and turns
//! orders into messages. It does what the real driver must do, in the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::Writer;
use model::ids::{Attempt, Incarnation, JobId, WorkerId};
use model::time::Timestamp;
use scheduler_core::{Action, AuditRate, ClientId, Config, Input, Scheduler, Snapshot};

use crate::checks::audits::Audits;
use crate::checks::ledger::Ledger;
use crate::checks::waiting::Waiting;
use crate::clock::Clock;
use crate::fake_launcher::MAX_BATCH;
use crate::messages::{Answer, LauncherSays, Message, Order, WorkerSays};
use crate::network::LinkId;
use crate::roster::Roster;

/// What the driver wants done in the world.
#[derive(Debug)]
pub(crate) enum Wish {
    Send(LinkId, Message),
    Close(LinkId),
}

/// What a server does besides serving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// It keeps a journal.
    pub(crate) recorded: bool,
    /// Its scheduler checks its own books after each step.
    pub(crate) checks_itself: bool,
    /// Its own time.
    pub(crate) clock: Clock,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Driver {
    checks_itself: bool,
    lease: Duration,
    roster: Roster,
    /// Workers whose death was told while their links were still there.
    dead: BTreeSet<WorkerId>,
    scheduler: Scheduler,
    clock: Clock,
    numbers: BTreeMap<Incarnation, WorkerId>,
    hosts: BTreeMap<usize, WorkerId>,
    links: BTreeMap<WorkerId, LinkId>,
    next_worker: u32,
    outcomes: BTreeSet<Attempt>,
    /// Answers given since the launcher last asked.
    given: BTreeSet<(ClientId, JobId)>,
    /// Who asked last for each job that a worker has, or that waits.
    askers: BTreeMap<JobId, ClientId>,
    ledger: Ledger,
    rate: AuditRate,
    pub(crate) audits: Audits,
    waiting: Waiting,
    journal: Option<Writer<Vec<u8>>>,
}

impl Driver {
    /// A new run of the server. Its scheduler is told `first` before anything else.
    pub(crate) fn start(config: Config, now: Timestamp, habits: Habits, roster: Roster, first: Input) -> Self {
        let journal = habits.recorded.then(|| Writer::start(Vec::new(), &config, &[])).transpose();
        let journal = journal.unwrap_or_else(|error| panic!("memory takes everything: {error}"));
        let lease = config.lease;
        let waiting = Waiting::new(lease, config.gather);
        let ahead = u64::from(config.prefetch).max(if config.prefetch > 0 { MAX_BATCH } else { 0 });
        let rate = AuditRate(config.audit_rate);
        let share = config.speculation_share as usize;
        let scheduler = Scheduler::new(config).unwrap_or_else(|error| panic!("impossible settings: {error}"));
        let mut driver = Self {
            checks_itself: habits.checks_itself,
            lease,
            roster,
            dead: BTreeSet::new(),
            scheduler,
            clock: habits.clock,
            numbers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            next_worker: 1,
            outcomes: BTreeSet::new(),
            given: BTreeSet::new(),
            askers: BTreeMap::new(),
            ledger: Ledger::new(usize::try_from(ahead).unwrap_or(0), share),
            rate,
            audits: Audits::default(),
            waiting,
            journal,
        };
        driver.feed(now, first);
        driver
    }

    /// When the driver wants to be woken, on the world's clock.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        Some(self.clock.when(self.scheduler.next_deadline()?))
    }

    pub(crate) fn wake(&mut self, now: Timestamp) -> Vec<Wish> {
        self.feed(now, Input::Wake)
    }

    pub(crate) fn stop(&mut self, now: Timestamp) -> Vec<Wish> {
        self.feed(now, Input::Stopping)
    }

    pub(crate) fn on_launcher(&mut self, now: Timestamp, link: LinkId, what: LauncherSays) -> Vec<Wish> {
        let client = ClientId(link.0);
        let input = match what {
            LauncherSays::Submit(jobs) => {
                self.waiting.on_submitted(&jobs);
                self.given.retain(|(asker, given)| *asker != client || jobs.iter().all(|job| job.id != *given));
                self.askers.extend(jobs.iter().map(|job| (job.id, client)));
                Input::JobsSubmitted { client, jobs }
            }
            LauncherSays::Cancel(jobs) => {
                self.on_unwanted(client, |job| jobs.contains(&job));
                Input::JobsCancelled { client, jobs }
            }
        };
        self.feed(now, input)
    }

    pub(crate) fn on_launcher_link_lost(&mut self, now: Timestamp, link: LinkId) -> Vec<Wish> {
        let client = ClientId(link.0);
        self.on_unwanted(client, |_| true);
        self.feed(now, Input::ClientGone { client })
    }

    /// Neither attempt of such a job is to go on, though workers that are out of reach cannot be told.
    fn on_unwanted(&mut self, client: ClientId, is_meant: impl Fn(JobId) -> bool) {
        let its = self.askers.iter().filter(|&(&job, &asker)| asker == client && is_meant(job));
        its.for_each(|(&job, _)| self.ledger.on_decided(job));
    }

    pub(crate) fn on_worker_link_lost(&mut self, now: Timestamp, link: LinkId) -> Vec<Wish> {
        // A link that was replaced means nothing any more.
        let Some(worker) = self.worker_on(link) else { return Vec::new() };
        self.links.remove(&worker);
        self.ledger.on_disconnected(worker);
        match self.dead.remove(&worker) {
            true => self.feed(now, Input::WorkerGone { worker }),
            false => self.feed(now, Input::WorkerDisconnected { worker }),
        }
    }

    pub(crate) fn on_worker(&mut self, now: Timestamp, host: usize, link: LinkId, what: WorkerSays) -> Vec<Wish> {
        if let WorkerSays::Register { sequence, facts, holding } = what {
            let mut wishes = self.retire_other_run(now, host, facts.incarnation);
            self.write_down(now, facts.incarnation);
            let worker = self.number(host, facts.incarnation);
            if let Some(old) = self.links.insert(worker, link) {
                wishes.push(Wish::Close(old));
            }
            self.ledger.on_registered(worker, &facts, &holding);
            wishes.push(Wish::Send(link, Message::ToWorker(Order::Heard(sequence))));
            wishes.append(&mut self.feed(now, Input::WorkerRegistered { worker, facts, holding }));
            return wishes;
        }
        // Who does not register first, or was forgotten, is not listened to.
        let Some(worker) = self.worker_on(link) else { return vec![Wish::Close(link)] };
        match what {
            WorkerSays::Register { .. } => Vec::new(),
            WorkerSays::Heartbeat { sequence, load } => {
                let mut wishes = self.feed(now, Input::WorkerAlive { worker, load });
                // Only now is it certain that the step did not take the worker for lost.
                if self.worker_on(link).is_some() {
                    wishes.insert(0, Wish::Send(link, Message::ToWorker(Order::Heard(sequence))));
                }
                wishes
            }
            WorkerSays::Warmth(dirs) => self.feed(now, Input::WorkerWarmth { worker, dirs }),
            WorkerSays::Started(attempt) => self.feed(now, Input::AttemptStarted { worker, attempt }),
            WorkerSays::Ready(attempt) => {
                self.ledger.on_decided(attempt.job);
                self.feed(now, Input::AttemptReady { worker, attempt })
            }
            WorkerSays::Ended(attempt, result) => {
                match &result {
                    Ok(_) => drop(self.outcomes.insert(attempt)),
                    Err(failure) => self.waiting.on_failed(attempt.job, worker, failure),
                }
                self.ledger.on_ended(worker, attempt);
                let is_shadow = self.audits.is_shadow(attempt);
                let is_asked = result.is_ok() && (is_shadow || self.rate.chooses(attempt.job));
                let digest = is_asked.then(|| self.audits.written(host, attempt));
                let told = digest.map(|digest| Input::AttemptDigested { worker, attempt, digest });
                let mut wishes = told.map(|told| self.feed(now, told)).unwrap_or_default();
                wishes.append(&mut self.feed(now, Input::AttemptEnded { worker, attempt, result }));
                wishes.insert(0, Wish::Send(link, Message::ToWorker(Order::Received(attempt))));
                wishes
            }
            WorkerSays::Draining => {
                self.ledger.on_draining(worker);
                self.feed(now, Input::WorkerDraining { worker })
            }
            WorkerSays::Goodbye => self.feed(now, Input::WorkerGone { worker }),
        }
    }

    /// Nothing of this worker runs any more.
    pub(crate) fn on_obituary(&mut self, now: Timestamp, incarnation: Incarnation) -> Vec<Wish> {
        match self.numbers.get(&incarnation) {
            Some(&worker) if self.links.contains_key(&worker) => {
                self.dead.insert(worker);
                Vec::new()
            }
            Some(&worker) => self.feed(now, Input::WorkerGone { worker }),
            None if self.roster.leave(incarnation) => self.feed(now, Input::WorkerDied { incarnation }),
            None => Vec::new(),
        }
    }

    /// Before a worker is welcomed.
    pub(crate) fn write_down(&mut self, now: Timestamp, incarnation: Incarnation) {
        self.roster.enter(self.own_time(now), incarnation);
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    /// Nothing is under way, and nothing is kept for anybody.
    pub(crate) fn assert_at_rest(&self) {
        let snapshot = self.snapshot();
        let under_way = snapshot.waiting + snapshot.sent + snapshot.running + snapshot.cancelling;
        assert_eq!(under_way, 0, "jobs are under way and nobody asked: {snapshot:?}");
        assert!(self.ledger.is_quiet(), "attempts are at workers and nobody asked: {:?}", self.ledger);
        assert!(self.audits.is_quiet(), "audits go on for ever: {:?}", self.audits);
        assert!(self.outcomes.is_empty(), "outcomes are kept for ever: {:?}", self.outcomes);
    }

    /// Another run of a host has registered: of the run before nothing is left.
    fn retire_other_run(&mut self, now: Timestamp, host: usize, incarnation: Incarnation) -> Vec<Wish> {
        match self.hosts.get(&host) {
            Some(&old) if self.numbers.get(&incarnation) != Some(&old) => {
                self.feed(now, Input::WorkerGone { worker: old })
            }
            _ => Vec::new(),
        }
    }

    fn number(&mut self, host: usize, incarnation: Incarnation) -> WorkerId {
        let next = WorkerId::new(self.next_worker);
        let worker = *self.numbers.entry(incarnation).or_insert(next);
        if worker == next {
            self.next_worker += 1;
        }
        self.hosts.insert(host, worker);
        self.audits.on_numbered(worker, host);
        worker
    }

    fn worker_on(&self, link: LinkId) -> Option<WorkerId> {
        self.links.iter().find(|(_, on)| **on == link).map(|(&worker, _)| worker)
    }

    fn own_time(&self, now: Timestamp) -> Timestamp {
        self.clock.at(now)
    }

    fn feed(&mut self, now: Timestamp, input: Input) -> Vec<Wish> {
        let now = self.own_time(now);
        self.roster.on_time(now, self.lease);
        let mut actions = Vec::new();
        let step = self.journal.as_ref().map(|journal| journal.before(now, &input));
        self.scheduler.step(now, input, &mut actions);
        if self.checks_itself {
            self.scheduler.check_invariants();
        }
        if let (Some(journal), Some(step)) = (&mut self.journal, step) {
            journal.after(step, &actions).unwrap_or_else(|error| panic!("memory takes everything: {error}"));
        }
        let wishes = actions.into_iter().filter_map(|action| self.carry_out(action)).collect();
        self.waiting.check(now, &self.ledger, &self.scheduler);
        wishes
    }

    /// What it has written down, when it is over.
    pub(crate) fn into_journal(self) -> Option<Vec<u8>> {
        self.journal.map(Writer::into_inner)
    }

    fn carry_out(&mut self, action: Action) -> Option<Wish> {
        match action {
            Action::Assign { worker, attempts, commit } => {
                let reserved = |job| self.scheduler.explain(job).map_or(0, |explanation| explanation.reserved);
                self.ledger.on_assigned(worker, &attempts, commit, reserved);
                self.tell(worker, Order::Assign(attempts, commit))
            }
            Action::PermitCommit { worker, attempt } => {
                self.ledger.on_permitted(worker, attempt);
                self.tell(worker, Order::Permit(attempt))
            }
            Action::Cancel { worker, attempt } => {
                self.ledger.on_decided(attempt.job);
                self.tell(worker, Order::Cancel(attempt))
            }
            Action::Recall { worker, attempt } => self.tell(worker, Order::Recall(attempt)),
            Action::Complete { client, attempt } => {
                self.ledger.on_decided(attempt.job);
                self.waiting.on_closed(attempt.job);
                assert!(self.outcomes.contains(&attempt), "{attempt} is to be completed without an outcome");
                self.give(client, attempt.job);
                Some(Wish::Send(LinkId(client.0), Message::ToLauncher(Answer::Complete(attempt))))
            }
            Action::RunLocally { client, job, .. } => {
                self.give(client, job);
                Some(Wish::Send(LinkId(client.0), Message::ToLauncher(Answer::RunLocally(job))))
            }
            // No answer: it may run somewhere, and is asked for again.
            Action::Wait { client, job, delay } => {
                Some(Wish::Send(LinkId(client.0), Message::ToLauncher(Answer::Wait(job, delay))))
            }
            Action::KeepForAudit { of } => {
                self.audits.on_kept(of);
                None
            }
            Action::Audit { worker, attempt, of } => {
                self.audits.on_audit(worker, attempt, of);
                self.ledger.on_shadowed(worker, attempt);
                self.tell(worker, Order::Shadow(attempt))
            }
            Action::EndAudit { of, verdict } => {
                self.audits.on_end(of, verdict);
                None
            }
            Action::Forget { job } => {
                self.askers.remove(&job);
                self.ledger.on_decided(job);
                self.waiting.on_closed(job);
                self.outcomes.retain(|attempt| attempt.job != job);
                None
            }
            Action::ForgetWorker { worker } => {
                if let Some((&gone, _)) = self.numbers.iter().find(|(_, number)| **number == worker) {
                    self.roster.leave(gone);
                }
                self.dead.remove(&worker);
                self.numbers.retain(|_, number| *number != worker);
                self.hosts.retain(|_, number| *number != worker);
                self.ledger.on_forgotten(worker);
                self.links.remove(&worker).map(Wish::Close)
            }
        }
    }

    /// Whoever asked is answered once.
    fn give(&mut self, client: ClientId, job: JobId) {
        self.ledger.on_settled(job);
        assert!(self.given.insert((client, job)), "{job:?} is answered twice to {client:?}, which asked once");
    }

    fn tell(&self, worker: WorkerId, order: Order) -> Option<Wish> {
        self.links.get(&worker).map(|&link| Wish::Send(link, Message::ToWorker(order)))
    }
}
