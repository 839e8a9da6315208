//! The scheduler itself: routes facts to the parts that absorb them, and decides nothing here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::{Attempt, DirKey, JobId, WorkerId};
use model::time::Timestamp;

use crate::action::Action;
use crate::adoption::Adoption;
use crate::audits::Audits;
use crate::closing::Closings;
use crate::config::{Config, ConfigError};
use crate::dispatch::Sending;
use crate::endings::OrphanEnd;
use crate::history::{History, HistoryEntry};
use crate::input::{Commit, Input};
use crate::jobs::{Job, JobTable, Note};
use crate::locality::Affinity;
use crate::queue::ReadyQueue;
use crate::queue::ready::Sharing;
use crate::recalls::Recalls;
use crate::retention::Retention;
use crate::retry::RetryPolicy;
use crate::second_attempts::SecondAttempts;
use crate::stragglers::Stragglers;
use crate::taking_back::Spare;
use crate::timers::{Timer, Timers};
use crate::workers::{BenchPolicy, ClassId, Classes, Holdings, WorkerTable};

/// Every decision of the server. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) retry: RetryPolicy,
    pub(crate) benching: BenchPolicy,
    pub(crate) now: Timestamp,
    /// What earlier servers left running.
    pub(crate) adoption: Adoption,
    /// When the fleet last lost something, or the server started.
    pub(crate) last_loss: Timestamp,
    pub(crate) stopping: bool,
    pub(crate) jobs: JobTable,
    pub(crate) queue: ReadyQueue,
    pub(crate) workers: WorkerTable,
    pub(crate) holdings: Holdings,
    pub(crate) classes: Classes,
    pub(crate) affinity: Affinity,
    pub(crate) recalls: Recalls,
    pub(crate) spare: Spare,
    /// Workers of which `spare` is out of date.
    pub(crate) changed: Vec<WorkerId>,
    pub(crate) timers: Timers,
    /// How attempts of jobs that nobody has submitted to us ended.
    pub(crate) orphan_ends: BTreeMap<JobId, OrphanEnd>,
    /// What is kept of jobs that are done.
    pub(crate) retention: Retention,
    /// What jobs took before.
    pub(crate) history: History,
    /// Attempts beside the first ones of jobs.
    pub(crate) seconds: SecondAttempts,
    /// Jobs that may need them.
    pub(crate) stragglers: Stragglers,
    /// Jobs that are done twice, to be compared.
    pub(crate) audits: Audits,
    /// Workers that are kept free for jobs that have waited too long for memory.
    pub(crate) kept: BTreeMap<ClassId, WorkerId>,
    /// What nobody can take now.
    pub(crate) closings: Closings,
    /// Empty between steps: memory for what a step sends.
    pub(crate) sending: Sending,
    /// When to send ahead again; at once when a worker gets room.
    pub(crate) ahead_again: Timestamp,
}

impl Scheduler {
    /// A scheduler that knows no workers and no jobs.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let seed = config.hash_seed;
        Ok(Self {
            retry: RetryPolicy { max_attempts: config.max_attempts, max_losses: config.max_losses },
            benching: BenchPolicy {
                strikes: config.bench_after,
                first_term: config.bench_time,
                longest_term: config.max_bench_time,
            },
            workers: WorkerTable::new(config.prefetch),
            jobs: JobTable::new(seed),
            queue: ReadyQueue::new(sharing(&config), seed),
            holdings: Holdings::new(seed),
            retention: Retention::default(),
            history: History::new(config.history_entries, seed),
            config,
            now: Timestamp::ZERO,
            adoption: Adoption::default(),
            last_loss: Timestamp::ZERO,
            stopping: false,
            classes: Classes::new(seed),
            affinity: Affinity::new(seed),
            recalls: Recalls::default(),
            spare: Spare::default(),
            changed: Vec::new(),
            timers: Timers::new(seed),
            orphan_ends: BTreeMap::new(),
            seconds: SecondAttempts::default(),
            stragglers: Stragglers::new(seed),
            audits: Audits::default(),
            kept: BTreeMap::new(),
            closings: Closings::default(),
            sending: Sending::new(),
            ahead_again: Timestamp::ZERO,
        })
    }

    /// Absorbs one fact and appends the orders that follow from it, in the order in which to carry them out.
    ///
    /// Deadlines that are due fire first, whatever the fact is, so a late wake-up changes nothing. The first step is
    /// the server's start.
    pub fn step(&mut self, now: Timestamp, input: Input, out: &mut Vec<Action>) {
        self.advance_to(now);
        self.fire_due_timers(out);
        self.absorb(input, out);
        self.send_stranded_home(out);
        self.place_ready_jobs(out);
        self.make_second_attempts(out);
        self.make_audits(out);
    }

    /// When [`Input::Wake`] is wanted if nothing else happens before; `None` while only facts can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What jobs took, for the next server: see [`Scheduler::import_history`].
    #[must_use]
    pub fn export_history(&self) -> Vec<HistoryEntry> {
        self.history.export()
    }

    /// Remembers what an earlier server learned; of too much, the last entries.
    pub fn import_history(&mut self, entries: &[HistoryEntry]) {
        self.history.import(entries);
    }

    fn advance_to(&mut self, now: Timestamp) {
        debug_assert!(self.now <= now, "the driver must never run time backwards");
        self.now = self.now.max(now);
        if self.adoption.on_step(self.now, self.config.lease) {
            self.timers.set(Timer::AdoptionOver, self.now + self.config.lease);
            self.note_loss();
        }
    }

    fn fire_due_timers(&mut self, out: &mut Vec<Action>) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Lease(worker) => self.lose_worker(worker, out),
                Timer::AdoptionOver => self.on_adoption_over(out),
                Timer::FleetGraceOver => {} // Every step asks whether it is over; this one only had to happen.
                Timer::Company(job) => {
                    self.place_of(job).into_iter().for_each(|place| self.queue.ripen(place));
                }
                Timer::Orphan(job) => self.on_orphan_unclaimed(job, out),
                Timer::Retention => self.on_retention_over(out),
                Timer::BenchOver(worker) => self.on_bench_over(worker),
                Timer::Ageing => self.keep_for_the_overdue(),
                Timer::Patience => {} // Every step asks who is patient.
                Timer::Gathered => {} // What it kept back is placed in the same step.
                Timer::Stragglers => self.stragglers.on_time(),
            }
        }
    }

    fn absorb(&mut self, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::JobsSubmitted { client, jobs } => self.on_jobs_submitted(client, jobs, out),
            Input::JobsCancelled { client, jobs } => self.on_jobs_cancelled(client, &jobs, out),
            Input::ClientGone { client } => self.on_client_gone(client, out),
            Input::WorkerRegistered { worker, facts, holding } => {
                self.on_worker_registered(worker, facts, &holding, out);
            }
            Input::WorkerAlive { worker, load } => self.on_worker_alive(worker, load),
            Input::WorkerWarmth { worker, dirs } => self.on_worker_warmth(worker, &dirs),
            Input::WorkerDisconnected { worker } => self.on_worker_disconnected(worker),
            Input::WorkerDraining { worker } => self.on_worker_draining(worker),
            Input::WorkerResumed { worker } => self.on_worker_resumed(worker),
            Input::WorkerGone { worker } => self.lose_worker(worker, out),
            Input::AttemptStarted { worker, attempt } => self.on_attempt_started(worker, attempt),
            Input::AttemptInPlace { worker, attempt } => self.on_attempt_in_place(worker, attempt, out),
            Input::AttemptReady { worker, attempt } => self.on_attempt_ready(worker, attempt, out),
            Input::AttemptDigested { worker, attempt, digest } => self.on_attempt_digested(worker, attempt, digest),
            Input::AttemptEnded { worker, attempt, result } => self.on_attempt_ended(worker, attempt, result, out),
            Input::Roster { expected, lease } => self.on_roster(expected, lease),
            Input::RosterDoubted => self.on_roster_doubted(),
            Input::WorkerDied { incarnation } => self.on_awaited_heard_of(incarnation, out),
            Input::Stopping => self.on_stopping(out),
            Input::Wake => {}
        }
    }

    /// From now on the attempt may be executing at the worker.
    pub(crate) fn put_attempt(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) {
        let job = self.jobs.get(attempt.job);
        let memory = job.and_then(|job| job.class).map_or(0, |class| self.classes.memory(class));
        let dir = job.and_then(|job| job.facts.dirs.first().copied());
        let count = self.hold(worker, attempt, commit, memory, dir);
        self.recount_to(worker, count);
    }

    /// Notes the attempt, for which the worker has so much memory reserved and which writes into this directory. Says
    /// what the worker holds then.
    pub(crate) fn hold(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        commit: Commit,
        memory: u64,
        dir: Option<DirKey>,
    ) -> (u32, u64) {
        if self.jobs.add_attempt(attempt.job, Note::new(worker, attempt, commit, memory, dir)) {
            self.holdings.add(worker, attempt, memory, dir)
        } else {
            self.holdings.count(worker)
        }
    }

    /// Notes that the attempt is over. If there was such a one: whether it had been cancelled, and what the worker holds
    /// then.
    pub(crate) fn release(&mut self, worker: WorkerId, attempt: Attempt) -> Option<(bool, (u32, u64))> {
        let note = self.jobs.remove_attempt(worker, attempt)?;
        Some((note.cancelled, self.holdings.remove(worker, attempt, &note)))
    }

    /// The attempt is not at the worker any more. If it was, as far as we know: whether it had been cancelled.
    pub(crate) fn take_attempt(&mut self, worker: WorkerId, attempt: Attempt) -> Option<bool> {
        let (cancelled, count) = self.release(worker, attempt)?;
        self.recount_to(worker, count);
        Some(cancelled)
    }

    pub(crate) fn recount(&mut self, worker: WorkerId) {
        self.recount_to(worker, self.holdings.count(worker));
    }

    /// The worker holds so many attempts now, with so much memory reserved.
    pub(crate) fn recount_to(&mut self, worker: WorkerId, (held, reserved): (u32, u64)) {
        if self.workers.set_held(worker, held, reserved) {
            self.changed.push(worker);
        }
    }

    pub(crate) fn class_of(&self, job: JobId) -> Option<ClassId> {
        self.jobs.get(job).and_then(|job: &Job| job.class)
    }
}

fn sharing(config: &Config) -> Sharing {
    Sharing {
        user_weights: config.user_weights.clone(),
        urgent_users: config.urgent_users.clone(),
        interactive_jobs: config.interactive_jobs,
        ageing: config.ageing,
    }
}
