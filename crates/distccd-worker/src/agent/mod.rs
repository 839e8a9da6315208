//! The agent: one task that owns everything about this worker's work. It takes orders, fills slots, reports, renews
//! its lease, and drains.
//!
//! Three sources speak to it, the link, the attempts' threads and the clock; it writes down what they say in the
//! [`Books`] and then sends whatever the books have to say, as far as the connection takes it. Nothing it does waits,
//! except in the one `select!` of [`Agent::run`].

mod draining;
mod intake;
mod speaking;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use daemon_kit::shutdown::Stop;
use daemon_kit::systemd;
use model::ids::Attempt;
use proto::v1::{self, worker_message::Message, worker_order};
use proto::version::{asks_for_output, check_hello};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::appearances::Appearances;
use crate::books::{AttemptResult, Books};
use crate::config::{Config, ServerAddr};
use crate::exec::{Executor, Word};
use crate::facts::ForeignLoad;
use crate::lease::{Lease, Moment};
use crate::lease_page::boot_time;
use crate::link::{self, LinkEvent};
use crate::mounts::MountView;
use crate::obituary::LastWords;
use crate::registration::Registration;
use crate::retained::Space;
use crate::runner::{Event, Slot};
use crate::toolchains::{self, Toolchain};
use crate::warmth::Warmth;
use crate::whereabouts::Whereabouts;
use crate::{Error, Exit, SOFTWARE, wire};
use draining::Drain;
use speaking::{Rhythm, room};

/// Events of attempts that may wait to be written down; more makes the printing attempt wait.
const EVENTS: usize = 256;

/// The connection as the agent sees it.
struct Up {
    outgoing: mpsc::Sender<v1::WorkerMessage>,
    hang_up: CancellationToken,
    welcome: Option<Rhythm>,
}

pub(crate) struct Agent {
    config: Config,
    executor: Executor,
    registration: Registration,
    books: Books,
    warmth: Warmth,
    foreign_load: ForeignLoad,
    lease: Lease,
    /// Slots in use, by attempts whose thread has not said its last word; also those that the books have forgotten.
    busy: usize,
    /// Slots that something holds which no signal ends.
    lost: u32,
    up: Option<Up>,
    /// What goes out before anything of the books.
    first: VecDeque<Message>,
    drain: Drain,
    /// Told by an operator to take nothing and stay.
    resting: bool,
    /// Who is told when this worker is killed.
    last_words: LastWords,
    events: mpsc::Sender<Event>,
    rescanned: mpsc::Sender<Vec<Toolchain>>,
    /// A scan is under way.
    rescanning: bool,
    appearances: Appearances,
}

impl Agent {
    pub(crate) fn new(
        config: Config,
        executor: Executor,
        registration: Registration,
        last_words: LastWords,
        mounts: mpsc::Receiver<Vec<MountView>>,
    ) -> (Self, Inboxes) {
        let (events, attempts) = mpsc::channel(EVENTS);
        let (rescanned, scans) = mpsc::channel(1);
        let (appearances, appeared) = Appearances::new(&config.mounts);
        let agent = Self {
            warmth: Warmth::new(config.max_dirs_tracked),
            config,
            executor,
            registration,
            books: Books::default(),
            foreign_load: ForeignLoad::default(),
            lease: Lease::default(),
            busy: 0,
            lost: 0,
            up: None,
            first: VecDeque::new(),
            drain: Drain::No,
            resting: false,
            last_words,
            events,
            rescanned,
            rescanning: false,
            appearances,
        };
        (agent, Inboxes { attempts, scans, mounts, appeared })
    }

    /// Works until drained, or until the server refuses for good.
    pub(crate) async fn run(mut self, mut inboxes: Inboxes, stop: Stop, rescan: Arc<Notify>) -> Result<Exit, Error> {
        // Which of the mounts are sound is part of the registration. The first look takes a bounded time.
        if let Some(seen) = inboxes.mounts.recv().await {
            self.registration.replace_mounts(seen);
        }
        let (link_events, mut link) = mpsc::channel(64);
        let leaving = CancellationToken::new();
        let connecting = link::keep_connected(Whereabouts::new(&self.config), link_events, leaving.clone());
        let _ends_with_us = AbortOnDropHandle::new(tokio::spawn(connecting));
        let mut watchdog = systemd::watchdog_interval().map(interval);
        let (mut asked_to_drain, mut asked_to_kill) = (false, false);
        loop {
            // First, for what starts now looks at it.
            self.executor.spawner.page().set(self.lease.boot_deadline());
            self.fill_slots();
            let full = self.speak();
            self.advance_drain();
            if self.is_done() {
                leaving.cancel();
                self.say_goodbye(&mut link).await;
                return Ok(Exit::Drained);
            }
            tokio::select! { biased;
                () = until(self.lease.deadline()) => self.on_lease_expired(),
                () = stop.asked.cancelled(), if !asked_to_drain => {
                    asked_to_drain = true;
                    self.on_drain();
                }
                () = stop.insisted.cancelled(), if !asked_to_kill => {
                    asked_to_kill = true;
                    self.books.kill_running();
                }
                () = until(self.next_heartbeat()) => self.on_heartbeat_due(),
                () = until(self.next_report()) => self.on_report_due(),
                () = until(self.drain_deadline()) => self.on_drain_deadline(),
                // From this very loop: what it proves alive is the agent.
                () = tick(watchdog.as_mut()) => systemd::alive(),
                () = rescan.notified() => self.rescan(),
                Some(seen) = inboxes.mounts.recv() => self.on_mounts_seen(seen),
                Some(word) = inboxes.appeared.recv() => self.on_appeared(word),
                Some(found) = inboxes.scans.recv() => self.on_rescanned(found),
                event = link.recv() => match event {
                    Some(event) => self.on_link(event)?,
                    None => return Err(Error::Internal("the connection task ended".to_owned())),
                },
                Some(event) = inboxes.attempts.recv() => self.on_events(event, &mut inboxes.attempts),
                () = room(self.up.as_ref()), if full => {}
            }
        }
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), Error> {
        self.look_at_lease();
        match event {
            LinkEvent::Connected { server, outgoing, hang_up } => {
                self.note_server(server);
                let draining = self.takes_nothing();
                let register = self.registration.message(&self.config, &self.books, draining, self.lost);
                self.lease.on_register_sent(Moment::now());
                self.first = [Message::Register(register)].into();
                self.up = Some(Up { outgoing, hang_up, welcome: None });
            }
            LinkEvent::Order(order) => match order.message {
                Some(order) => self.on_order(order)?,
                None => tracing::warn!("the server sent an order that this release does not know"),
            },
            LinkEvent::Lost => {
                self.up = None;
                self.first.clear();
            }
            LinkEvent::Refused(why) => return Err(Error::Refused(why)),
        }
        Ok(())
    }

    fn on_order(&mut self, order: worker_order::Message) -> Result<(), Error> {
        use worker_order::Message as Order;
        match order {
            Order::Welcome(welcome) => self.on_welcome(&welcome)?,
            Order::Assign(batch) => batch.assignments.into_iter().for_each(|wire| self.on_assignment(wire)),
            Order::Cancel(list) => wire::attempts(&list).into_iter().for_each(|attempt| {
                tracing::info!(%attempt, "cancelled by the server");
                self.books.on_cancel(attempt);
            }),
            Order::Recall(list) => wire::attempts(&list).into_iter().for_each(|attempt| {
                let back = self.books.on_recall(attempt);
                tracing::debug!(%attempt, back, "recalled by the server");
            }),
            Order::Drain(order) => self.on_drain_order(&order),
            Order::Appear(order) => self.appearances.make(order),
            Order::HeartbeatAck(ack) => self.lease.on_heartbeat_ack(ack.sequence),
            Order::PermitCommit(list) => wire::attempts(&list).into_iter().for_each(|attempt| {
                tracing::info!(%attempt, "may commit");
                if self.books.on_permitted(attempt) {
                    self.give_word(attempt);
                }
            }),
            Order::OutputTaken(word) => {
                if let Some(attempt) = wire::attempt(word.attempt.as_ref()) {
                    self.books.on_output_taken(attempt, word.chunks);
                }
            }
            Order::ResultsReceived(list) => {
                wire::attempts(&list).into_iter().for_each(|attempt| self.books.on_results_received(attempt));
            }
        }
        Ok(())
    }

    fn on_welcome(&mut self, welcome: &v1::Welcome) -> Result<(), Error> {
        check_hello(welcome.hello.as_ref(), SOFTWARE).map_err(|error| Error::Refused(error.to_string()))?;
        let Some(up) = &mut self.up else { return Ok(()) };
        self.registration.on_welcome(welcome.hello.as_ref().map(|hello| hello.incarnation.clone()).unwrap_or_default());
        self.executor.revalidation.on_welcome();
        let now = Instant::now();
        let heartbeat = micros_or(welcome.heartbeat_us, Duration::from_secs(1)).max(Duration::from_millis(5));
        self.lease.on_welcome(micros_or(welcome.lease_us, Duration::from_secs(10)));
        up.welcome = Some(Rhythm { heartbeat, next_heartbeat: now, last_sequence: 0, next_report: now });
        if self.takes_nothing() {
            self.first.push_back(Message::Draining(v1::Draining {}));
        }
        for refused in &welcome.refused_mounts {
            let mount = String::from_utf8_lossy(&refused.path);
            tracing::error!(%mount, "the server gives no jobs of this mount: {}", refused.problem);
        }
        self.books.say_again(welcome.hello.as_ref().is_some_and(asks_for_output));
        let server = &self.last_words.server;
        tracing::info!(worker_id = welcome.worker_id, slots = self.config.slots, "registered with {server}");
        systemd::status(&format!("registered with {server} as worker {}", welcome.worker_id));
        Ok(())
    }

    /// Writes down this event and all that are ready, so that what ended together is reported together.
    fn on_events(&mut self, event: Event, more: &mut mpsc::Receiver<Event>) {
        self.on_event(event);
        for _ in 0..EVENTS {
            let Ok(event) = more.try_recv() else { return };
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Started(attempt, in_place) => {
                tracing::debug!(%attempt, in_place, "started");
                self.books.on_started(attempt, in_place && self.executor.isolation.is_on());
            }
            Event::Output(attempt, stream, data) => {
                let space = Space { scratch: &self.config.scratch, max_output: self.config.max_output };
                self.books.on_output(attempt, stream, data, space);
            }
            Event::Ready(attempt) => {
                if self.books.on_ready(attempt) {
                    self.give_word(attempt);
                } else {
                    tracing::debug!(%attempt, "ready, and waits for permission");
                }
            }
            // One scan is enough for all that meet it meanwhile.
            Event::ToolchainChanged(_) if self.rescanning => {}
            Event::ToolchainChanged(why) => {
                tracing::warn!("{why}: looking for toolchains again");
                self.rescan();
            }
            Event::Ended(attempt, result, slot) => {
                self.look_at_lease();
                self.busy -= 1;
                if slot == Slot::Lost {
                    self.lost += 1;
                    tracing::error!(%attempt, lost = self.lost, "something of it survives SIGKILL: its slot is lost");
                    self.register_again();
                }
                log_end(attempt, &result);
                self.books.on_ended(attempt, result);
            }
            Event::Recovered => {
                self.lost -= 1;
                tracing::info!(lost = self.lost, "a lost slot is back");
                self.register_again();
            }
        }
    }

    /// What an attempt wrote is published while the lease holds; without one, the attempt is dead already.
    fn give_word(&mut self, attempt: Attempt) {
        let word =
            if self.lease.deadline().is_some_and(|end| Instant::now() < end) { Word::Commit } else { Word::Discard };
        self.books.decide(attempt, word);
    }

    /// Keepers have a timer of their own at the end of the lease, and it may be earlier than ours by a moment. An attempt
    /// that has ended for that is forgotten, and not the job's fault; and no heartbeat renews what has run out.
    fn look_at_lease(&mut self) {
        if self.lease.has_run_out(boot_time()) {
            self.on_lease_expired();
        }
    }

    /// Our attempts may be another's from now on. A server that does not answer on a living connection is left, so that
    /// the next registration says what we still hold.
    fn on_lease_expired(&mut self) {
        self.lease.on_expired();
        let forgotten = self.books.forget_unfinished();
        tracing::warn!(forgotten, "the lease ran out: killed what was running");
        if let Some(up) = &self.up {
            up.hang_up.cancel();
        }
    }

    /// Should it be killed, the server to which it is attached is told.
    fn note_server(&mut self, server: ServerAddr) {
        if self.last_words.server != server {
            self.last_words.server = server;
            if let Err(error) = self.executor.spawner.will().write(&self.last_words) {
                tracing::warn!(%error, "should this worker be killed, the server will only notice when its lease is over");
            }
        }
    }

    /// Which mounts are sound travels with the registration, so a change makes a new one.
    fn on_mounts_seen(&mut self, seen: Vec<MountView>) {
        self.registration.replace_mounts(seen);
        self.register_again();
    }

    /// Said to whichever server listens: one that has not asked passes it over.
    fn on_appeared(&mut self, word: v1::Appeared) {
        if self.rhythm().is_some() {
            self.first.push_back(Message::Appeared(word));
        }
    }

    /// Says anew what travels with the registration: mounts, toolchains, how many slots there are.
    fn register_again(&self) {
        if let Some(up) = &self.up {
            up.hang_up.cancel();
        }
    }

    fn rescan(&mut self) {
        self.rescanning = true;
        let (found, further) = (self.rescanned.clone(), self.config.allowed_tools.clone());
        tokio::task::spawn_blocking(move || drop(found.blocking_send(toolchains::scan(&further))));
    }

    /// Toolchains travel with the registration, so a change makes a new one.
    fn on_rescanned(&mut self, found: Vec<Toolchain>) {
        self.rescanning = false;
        tracing::info!(tools = found.len(), "looked for toolchains again");
        if self.registration.replace_toolchains(found) {
            self.register_again();
        }
    }
}

/// What speaks to the agent from inside this process.
pub(crate) struct Inboxes {
    attempts: mpsc::Receiver<Event>,
    scans: mpsc::Receiver<Vec<Toolchain>>,
    mounts: mpsc::Receiver<Vec<MountView>>,
    appeared: mpsc::Receiver<v1::Appeared>,
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}

fn micros_or(micros: u64, unspecified: Duration) -> Duration {
    if micros == 0 { unspecified } else { Duration::from_micros(micros) }
}

fn log_end(attempt: Attempt, result: &AttemptResult) {
    match result {
        AttemptResult::Outcome(outcome) => {
            let wall_us = outcome.usage.map_or(0, |usage| usage.wall_us);
            let exit = outcome.exit.and_then(|exit| exit.how);
            tracing::info!(%attempt, ?exit, wall_us, "ended");
        }
        AttemptResult::Failure(failure) => {
            tracing::info!(%attempt, kind = ?failure.kind(), detail = failure.detail, "failed");
        }
    }
}
