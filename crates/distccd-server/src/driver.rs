//! The one task that owns the scheduler: it turns facts into inputs, steps, and has the actions performed.
//!
//! All waiting is in [`Driver::run`]; everything else returns at once. If this task ends, the process ends; if it
//! hangs, the watchdog ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster_file::mount_id::MountId;
use daemon_kit::clock::Clock;
use daemon_kit::shutdown::Stop;
use daemon_kit::systemd;
use model::ids::{Attempt, DirKey, Incarnation, UserId, WorkerId};
use model::job::JobFacts;
use model::outcome::{AttemptFailure, Outcome};
use model::time::Timestamp;
use proto::convert::{Sameness, attempt_from, cpu_class, dir_keys, speed};
use proto::v1::{self, worker_message};
use scheduler_core::{
    Action, AuditRate, ClientId, Config as SchedulerConfig, Input, Scheduler, SubmittedJob, WorkerFacts, WorkerLoad,
};
use tokio::sync::mpsc;

use crate::Error;
use crate::appearances::Appearances;
use crate::audits;
use crate::clocks::{Change, Clocks};
use crate::config::Config;
use crate::dispatch::{Dispatch, worker_incarnation};
use crate::explanation;
use crate::fact::{Checked, Fact, Seat};
use crate::history::Store;
use crate::journal::Journal;
use crate::mount_check;
use crate::roster::{Inherited, Roster};
use crate::toolchains;

/// The driver.
pub struct Driver {
    scheduler: Scheduler,
    dispatch: Dispatch,
    sameness: Sameness,
    /// After how long a launcher asks again for whose job there is no room.
    ask_again: Duration,
    clock: Clock,
    actions: Vec<Action>,
    journal: Option<Journal>,
    history: Option<Store>,
    /// Whom an earlier server had let in, with the keys of their obituaries.
    inherited: Option<Inherited>,
    /// When whoever has not come is dead.
    settle_at: Option<Timestamp>,
    /// What the server's own mounts are known by.
    mounts: BTreeMap<PathBuf, MountId>,
    appearances: Appearances,
    clocks: Clocks,
    /// Workers that have said that they take nothing more.
    resting: BTreeSet<WorkerId>,
}

impl Driver {
    /// A driver with nothing to do yet. It knows what the run before learned, and writes down what its scheduler is
    /// told if a journal is wanted. `port` is where it listens: several servers may keep their state in one directory.
    ///
    /// # Errors
    /// When the scheduler's configuration is impossible, or the journal cannot be begun.
    pub fn new(config: &Config, port: u16, clock: Clock) -> Result<Self, Error> {
        let settings = SchedulerConfig { hash_seed: random_seed(), ..config.scheduler.clone() };
        let mut scheduler = Scheduler::new(settings)?;
        let (history, entries) = config.state_dir.path().map(Store::open).unwrap_or_default();
        scheduler.import_history(&entries);
        let journal = config.journal.as_ref().map(|path| {
            Journal::create(path, &config.scheduler, &entries).map_err(|error| Error::Journal(path.clone(), error))
        });
        let journal = journal.transpose()?;
        let (incarnation, lease) = (fresh_incarnation(), config.scheduler.lease);
        let file = config.state_dir.path().map(|dir| dir.join(format!("roster-{port}")));
        let (roster, inherited) = Roster::open(file.as_deref(), incarnation, lease);
        let longest = inherited.as_ref().map_or(lease, |before| before.lease.max(lease));
        let settle_at = Some(clock.now() + longest);
        let sameness = config.toolchain_match;
        let rate = AuditRate(config.scheduler.audit_rate);
        let most_kept = usize::try_from(config.max_kept_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        let dispatch =
            Dispatch::new(incarnation, lease, config.heartbeat, sameness, config.coherence_horizon, roster, rate)
                .keeping(most_kept);
        Ok(Self {
            scheduler,
            dispatch,
            sameness,
            ask_again: config.scheduler.ask_again,
            clock,
            actions: Vec::new(),
            journal,
            history,
            inherited,
            settle_at,
            mounts: BTreeMap::new(),
            appearances: Appearances::default(),
            clocks: Clocks::new(config.max_clock_skew),
            resting: BTreeSet::new(),
        })
    }

    /// Which run of the server this is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.dispatch.incarnation()
    }

    /// Where workers are to be written down before they are let in.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.dispatch.roster()
    }

    /// What the server's own mounts are known by, which workers are held to.
    pub fn know_mounts(&mut self, mounts: BTreeMap<PathBuf, MountId>) {
        self.mounts = mounts;
    }

    /// Absorbs facts until the stop is over. What still runs then goes on at the workers: the next incarnation of the
    /// server adopts it, or the lease ends it.
    pub async fn run(mut self, inbox: mpsc::Receiver<Fact>, stop: &Stop, grace: Duration) {
        if let Some(before) = &self.inherited {
            let expected = before.workers.keys().copied().collect();
            self.step(Input::Roster { expected, lease: before.lease });
        }
        self.serve(inbox, stop, grace).await;
        let Some(history) = self.history.take() else { return };
        tokio::select! { biased;
            () = stop.insisted.cancelled() => {}
            () = history.finish(self.clock.now(), self.scheduler.export_history()) => {}
        }
    }

    async fn serve(&mut self, mut inbox: mpsc::Receiver<Fact>, stop: &Stop, grace: Duration) {
        let mut watchdog = systemd::watchdog_interval().map(tokio::time::interval);
        let mut stop_at = None;
        loop {
            tokio::select! { biased;
                () = stop.insisted.cancelled() => return,
                () = stop.asked.cancelled(), if stop_at.is_none() => {
                    tracing::info!(grace = ?grace, "stopping: no new jobs, running ones may finish");
                    systemd::stopping("waiting for running jobs");
                    stop_at = Some(self.clock.now() + grace);
                    self.step(Input::Stopping);
                }
                () = self.clock.sleep_until(stop_at), if stop_at.is_some() => {
                    tracing::warn!("the grace is over; what still runs is left to the next server or to its lease");
                    return;
                }
                () = tick(&mut watchdog) => systemd::alive(),
                () = self.clock.sleep_until(self.scheduler.next_deadline()) => self.step(Input::Wake),
                () = self.clock.sleep_until(self.settle_at), if self.settle_at.is_some() => self.settle_roster(),
                () = self.clock.sleep_until(self.history.as_ref().and_then(Store::save_at)) => self.save_history(),
                fact = inbox.recv() => match fact {
                    Some(fact) => self.absorb(fact),
                    None => return,
                },
            }
            if stop_at.is_some() && self.is_at_rest() {
                return;
            }
        }
    }

    fn save_history(&mut self) {
        if let Some(history) = &mut self.history {
            history.save(self.clock.now(), self.scheduler.export_history());
        }
    }

    /// On a thread of its own: it writes a file.
    fn settle_roster(&mut self) {
        (self.settle_at, self.inherited) = (None, None);
        let roster = self.roster();
        tokio::task::spawn_blocking(move || roster.settle());
    }

    fn is_at_rest(&self) -> bool {
        let now = self.scheduler.snapshot();
        now.waiting + now.sent + now.running + now.cancelling == 0
    }

    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        self.dispatch.advance(now);
        let step = self.journal.as_ref().and_then(|journal| journal.before(now, &input));
        self.scheduler.step(now, input, &mut self.actions);
        if let Some(journal) = &mut self.journal {
            journal.after(step, &self.actions);
        }
        for action in self.actions.drain(..) {
            if let Action::ForgetWorker { worker } = action {
                self.clocks.forget(worker);
                self.resting.remove(&worker);
            }
            self.dispatch.perform(action);
        }
    }

    /// What the scheduler is told of a submitted job, if it is taken: one after the other, for each takes room.
    fn take_in(&mut self, client: ClientId, checked: Checked) -> Option<SubmittedJob> {
        if !self.dispatch.admits(client, checked.id, &checked.job, self.ask_again) {
            return None;
        }
        let resubmitted = checked.job.resubmitted;
        let toolchain = checked.job.toolchain.as_ref().map(|wanted| self.sameness.key(wanted));
        self.dispatch.note_job(client, checked.id, checked.job);
        let facts = JobFacts { toolchain, ..checked.facts };
        Some(SubmittedJob { id: checked.id, facts, resubmitted })
    }

    fn absorb(&mut self, fact: Fact) {
        self.dispatch.advance(self.clock.now());
        match fact {
            Fact::ClientJoined { client, replies, knows_waiting } => {
                self.dispatch.admit_client(client, replies, knows_waiting);
            }
            Fact::Submitted { client, batch } => {
                let jobs = batch.into_iter().filter_map(|checked| self.take_in(client, checked)).collect();
                self.step(Input::JobsSubmitted { client, jobs });
                self.dispatch.catch_up(client);
            }
            Fact::Cancelled { client, jobs } => {
                self.dispatch.note_cancelled(client, &jobs);
                self.step(Input::JobsCancelled { client, jobs });
            }
            Fact::Seen { seen } => self.dispatch.note_seen(seen),
            Fact::LittleWaits { client } => self.dispatch.let_go_on(client),
            Fact::ClientLeft { client } => {
                if self.dispatch.dismiss_client(client) {
                    self.step(Input::ClientGone { client });
                }
            }
            Fact::WorkerJoined { mut register, entered, holding, orders, seat } => {
                mount_check::judge(&mut register, &self.mounts);
                if entered.is_doubtful {
                    self.step(Input::RosterDoubted);
                }
                let given = self.dispatch.seat_worker(&register, entered.entry, orders);
                // A session that is gone already says so next.
                let _ = seat.send(given);
                let draining = register.draining;
                let facts = worker_facts(&register, self.sameness);
                self.dispatch.note_held(&holding);
                // Before its first assignments: without a lease it would hand them back.
                self.dispatch.welcome(given.worker);
                self.step(Input::WorkerRegistered { worker: given.worker, facts, holding });
                let worker = given.worker;
                self.clocks.on_return(worker);
                if draining {
                    self.resting.insert(worker)
                } else {
                    self.resting.remove(&worker)
                };
                self.allow_jobs(worker);
            }
            Fact::WorkerSaid { seat, message } => {
                if self.dispatch.is_current(seat) {
                    self.on_worker_message(seat, *message);
                }
            }
            Fact::WorkerLeft { seat } => {
                if self.dispatch.unseat_worker(seat) {
                    let worker = seat.worker;
                    self.appearances.forget(worker);
                    self.step(match self.dispatch.is_dead(worker) {
                        true => Input::WorkerGone { worker },
                        false => Input::WorkerDisconnected { worker },
                    });
                }
            }
            Fact::WorkerDied { obituary } => {
                // What it had still sent is on its way: its conversation ends after that.
                match self.dispatch.note_death(&obituary) {
                    Some(worker) if self.dispatch.is_seated(worker) => {}
                    Some(worker) => self.step(Input::WorkerGone { worker }),
                    None => self.on_stranger_died(&obituary),
                }
            }
            Fact::ExplanationAsked { job, answer } => {
                let now = self.clock.now();
                let said = self.scheduler.explain(job);
                let told = said.map(|said| explanation::told(&said, now, |worker| self.dispatch.worker_name(worker)));
                // Whoever asked may have left.
                let _ = answer.send(told);
            }
            Fact::JobsAsked { limit, answer } => {
                let now = self.clock.now();
                let name_of = |worker| self.dispatch.worker_name(worker);
                let explain = |job| Some(explanation::told(&self.scheduler.explain(job)?, now, name_of));
                // Whoever asked may have left.
                let _ = answer.send(self.dispatch.jobs(limit, explain));
            }
            Fact::DrainAsked { worker, order, answer } => {
                // Whoever asked may have left.
                let _ = answer.send(self.dispatch.drain(&worker, order));
            }
            Fact::AppearanceAsked { worker, appear, answer } => {
                let name = appear.name.clone();
                if let Some(worker) = self.dispatch.have_appear(&worker, appear) {
                    self.appearances.await_word(worker, name, answer);
                }
            }
            Fact::StatusAsked { answer } => {
                let mut status = self.dispatch.status(&self.scheduler.snapshot());
                self.clocks.show(&mut status.workers);
                // Whoever asked may have left.
                let _ = answer.send(v1::Status { mounts: mount_check::reports(&self.mounts), ..status });
            }
        }
    }

    /// Lets the scheduler give jobs to a worker, or not.
    fn allow_jobs(&mut self, worker: WorkerId) {
        let rests = self.resting.contains(&worker) || self.clocks.is_too_far(worker);
        self.step(if rests { Input::WorkerDraining { worker } } else { Input::WorkerResumed { worker } });
    }

    fn on_clock(&mut self, worker: WorkerId, theirs_us: u64) {
        let Some(change) = self.clocks.on_word(worker, theirs_us, unix_us()) else { return };
        let (name, ahead_us) = (self.dispatch.worker_name(worker), self.clocks.ahead_us(worker));
        match change {
            Change::Right => tracing::info!(name, ahead_us, "the worker's clock is right again"),
            Change::Off => tracing::warn!(name, ahead_us, "the worker's clock is off; launchers put file times right"),
            Change::TooFar => tracing::error!(name, ahead_us, "the worker's clock is off too far: it gets no jobs"),
        }
        self.allow_jobs(worker);
    }

    /// A worker has died that has not come to this server; perhaps an earlier one had let it in.
    fn on_stranger_died(&mut self, obituary: &v1::Obituary) {
        let Ok(incarnation) = obituary.incarnation.as_ref().try_into().map(Incarnation::from_bytes) else { return };
        let key = self.inherited.as_ref().and_then(|before| before.workers.get(&incarnation));
        if key.is_some_and(|key| !key.is_empty() && *key == obituary.key) {
            tracing::info!(%incarnation, "a worker of the server before was killed, and nothing of it runs any more");
            self.step(Input::WorkerDied { incarnation });
            // Nobody has entered it again: it would have its number.
            self.roster().leave(incarnation, 0);
        }
    }

    fn on_worker_message(&mut self, seat: Seat, message: worker_message::Message) {
        let worker = seat.worker;
        match message {
            worker_message::Message::Register(_) => {}
            worker_message::Message::Heartbeat(heartbeat) => {
                let load = WorkerLoad {
                    memory_available: heartbeat.memory_available,
                    foreign_load_centi: heartbeat.foreign_load_centi,
                };
                self.step(Input::WorkerAlive { worker, load });
                if let Some(dirs) = self.dispatch.touch_dirs(worker, &heartbeat.dirs_touched) {
                    self.step(Input::WorkerWarmth { worker, dirs });
                }
                self.dispatch.acknowledge_heartbeat(seat, heartbeat.sequence);
                if heartbeat.clock_us > 0 {
                    self.on_clock(worker, heartbeat.clock_us);
                }
            }
            worker_message::Message::Directories(report) => {
                let dirs = dir_keys(&report.dirs);
                self.dispatch.set_dirs(worker, dirs.clone());
                self.step(Input::WorkerWarmth { worker, dirs });
            }
            worker_message::Message::Started(started) => {
                for attempt in started.in_place.iter().filter_map(|attempt| attempt_from(Some(attempt)).ok()) {
                    self.step(Input::AttemptInPlace { worker, attempt });
                }
                for attempt in started.attempts.iter().filter_map(|attempt| attempt_from(Some(attempt)).ok()) {
                    self.step(Input::AttemptStarted { worker, attempt });
                }
            }
            worker_message::Message::Ready(ready) => {
                for attempt in ready.attempts.iter().filter_map(|attempt| attempt_from(Some(attempt)).ok()) {
                    self.step(Input::AttemptReady { worker, attempt });
                }
            }
            worker_message::Message::Output(chunk) => {
                if let Ok(attempt) = attempt_from(chunk.attempt.as_ref()) {
                    self.dispatch.pass_output(worker, attempt, chunk);
                }
            }
            worker_message::Message::Results(results) => {
                results.results.into_iter().for_each(|result| self.on_result(seat, result));
            }
            worker_message::Message::Appeared(word) => self.appearances.on_word(worker, word),
            worker_message::Message::Draining(_) => {
                self.resting.insert(worker);
                self.step(Input::WorkerDraining { worker });
            }
            worker_message::Message::Goodbye(_) => {
                self.dispatch.note_goodbye(worker);
                self.step(Input::WorkerGone { worker });
            }
        }
    }

    fn on_result(&mut self, seat: Seat, result: v1::AttemptResult) {
        let Ok(attempt) = attempt_from(result.attempt.as_ref()) else { return };
        if let Some(v1::attempt_result::Result::Outcome(outcome)) = &result.result
            && let Some(digest) = audits::digest_of(outcome)
        {
            self.step(Input::AttemptDigested { worker: seat.worker, attempt, digest });
        }
        let result = self.take_result(seat, attempt, result.result);
        self.step(Input::AttemptEnded { worker: seat.worker, attempt, result });
        if let Some(history) = &mut self.history {
            history.note_change();
        }
        self.dispatch.settle(seat, attempt);
    }

    fn take_result(
        &mut self,
        seat: Seat,
        attempt: Attempt,
        result: Option<v1::attempt_result::Result>,
    ) -> Result<Outcome, AttemptFailure> {
        let garbled = |error: &dyn std::fmt::Display| {
            AttemptFailure::SpawnFailed(format!("the worker's report is garbled: {error}"))
        };
        match result {
            Some(v1::attempt_result::Result::Outcome(outcome)) => {
                let facts = Outcome::try_from(&outcome).map_err(|error| garbled(&error))?;
                self.dispatch.keep_outcome(seat, attempt, outcome);
                Ok(facts)
            }
            Some(v1::attempt_result::Result::Failure(failure)) => {
                let failure = AttemptFailure::try_from(failure).unwrap_or_else(|error| garbled(&error));
                tracing::info!(%attempt, worker = seat.worker.number(), %failure, "an attempt gave no outcome");
                self.dispatch.note_failure(attempt, &failure);
                Err(failure)
            }
            None => Err(garbled(&"it holds neither outcome nor failure")),
        }
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn worker_facts(register: &v1::Register, sameness: Sameness) -> WorkerFacts {
    WorkerFacts {
        incarnation: worker_incarnation(register),
        slots: register.slots.max(1),
        linking: register.linking,
        toolchains: toolchains::offered(register, sameness),
        cpu_class: cpu_class(register.cpu_class),
        mounts: register.mounts.iter().map(|mount| DirKey::of_path(mount)).collect(),
        only_user: (!register.any_user).then(|| UserId::new(register.uid)),
        memory: register.memory,
        isolates: register.isolates,
        speed: speed(register.speed),
    }
}

/// So that nobody can choose job ids that make the scheduler's lookups slow.
fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("getrandom(2) works on every Linux that runs this");
    u64::from_ne_bytes(bytes)
}

fn fresh_incarnation() -> Incarnation {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("getrandom(2) works on every Linux that runs this");
    Incarnation::from_bytes(bytes)
}

/// The time of day in microseconds since 1970.
fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
