//! The whole world of one seed: a server, workers, launchers, the network between them, and an agenda. Time jumps
//! from event to event. First things go wrong, then everything heals and has to come to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{Attempt, DirKey, Incarnation, JobId, ToolchainKey, UserId};
use model::time::Timestamp;
use scheduler_core::{Config, WorkerFacts};

use crate::checks::Checks;
use crate::driver::{Driver, Wish};
use crate::fake_launcher::FakeLauncher;
use crate::fake_worker::{Effect, FakeWorker, Surroundings, WorkerTimer};
use crate::faults::Fault;
use crate::messages::{Message, WorkerSays};
use crate::network::{LinkId, Network, Peer};
use crate::rng::Rng;

/// How long everything may take to come to an end once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
enum Event {
    Arrival(LinkId, Message),
    /// The server finds out that a link is broken.
    ServerLosesLink(LinkId, Peer),
    /// The other end does, or wants to try again.
    Connect(Peer),
    Worker {
        host: usize,
        run: u64,
        timer: WorkerTimer,
    },
    /// A dead daemon's guardian has killed what it left.
    Guardian {
        host: usize,
        left: Vec<Attempt>,
    },
    WorkerComesUp(usize),
    LauncherThinks(usize),
    ServerWakes,
    ServerDies {
        back_after: Duration,
    },
    ServerComesUp,
    Heals(Peer),
    SomethingGoesWrong,
    EverythingHeals,
}

#[derive(Debug)]
struct Host {
    facts: WorkerFacts,
    /// Which run of the daemon this is, or was.
    run: u64,
    worker: Option<FakeWorker>,
}

/// What became of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that were started on workers.
    pub started: u64,
    /// Jobs answered with an outcome.
    pub completed: u64,
    /// Jobs that the launchers had to run themselves.
    pub sent_home: u64,
    /// Things that went wrong.
    pub faults: u64,
    /// How long it all took, in the world's time.
    pub lasted: Duration,
}

/// A world.
pub(crate) struct World {
    rng: Rng,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    events: u64,
    config: Config,
    network: Network,
    driver: Option<Driver>,
    hosts: Vec<Host>,
    launchers: Vec<FakeLauncher>,
    unrepeatable: BTreeSet<JobId>,
    checks: Checks,
    /// Things still go wrong.
    faulty: bool,
    faults: u64,
    /// The wake-up that stands in the agenda.
    wake_at: Option<Timestamp>,
}

impl World {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = some_config(&mut rng);
        let hosts = (0..rng.between(1, 6)).map(|_| some_host(&mut rng)).collect();
        let launchers = (0..rng.between(1, 4)).map(|_| rng.between(1, 30)).collect::<Vec<_>>();
        let launchers = launchers.into_iter().map(|jobs| FakeLauncher::new(&mut rng, jobs)).collect();
        let mut world = Self {
            rng,
            now: Timestamp::ZERO,
            agenda: BTreeMap::new(),
            events: 0,
            config,
            network: Network::default(),
            driver: None,
            hosts,
            launchers,
            unrepeatable: BTreeSet::new(),
            checks: Checks::default(),
            faulty: true,
            faults: 0,
            wake_at: None,
        };
        world.set_up();
        world
    }

    /// Lives through everything, and checks.
    pub(crate) fn run(mut self) -> Report {
        while let Some(((now, _), event)) = self.agenda.pop_first() {
            self.now = now;
            self.happen(event);
            if !self.faulty && self.is_over() {
                return self.finish();
            }
            let late = !self.faulty && self.now > Timestamp::ZERO + PATIENCE;
            assert!(!late, "jobs are never answered: {:?}", self.unanswered());
        }
        panic!("the agenda ran dry");
    }

    fn set_up(&mut self) {
        self.after(Duration::ZERO, Event::ServerComesUp);
        for host in 0..self.hosts.len() {
            let delay = self.rng.millis(0, 1_000);
            self.after(delay, Event::WorkerComesUp(host));
        }
        for launcher in 0..self.launchers.len() {
            let delay = self.rng.millis(1, 2_000);
            self.after(delay, Event::Connect(Peer::Launcher(launcher)));
            self.after(delay, Event::LauncherThinks(launcher));
        }
        let (first, quiet) = (self.rng.millis(500, 3_000), self.rng.millis(5_000, 25_000));
        self.after(first, Event::SomethingGoesWrong);
        self.after(quiet, Event::EverythingHeals);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(link, message) => self.on_arrival(link, message),
            Event::ServerLosesLink(link, peer) => self.on_server_loses_link(link, peer),
            Event::Connect(peer) => self.connect(peer),
            Event::Worker { host, run, timer } => {
                if self.hosts[host].run == run {
                    self.with_worker(host, |worker, world| worker.on_timer(timer, world));
                }
            }
            Event::Guardian { host, left } => {
                for attempt in left {
                    self.checks.executions.on_ended(host, attempt, false);
                }
            }
            Event::WorkerComesUp(host) => self.on_worker_comes_up(host),
            Event::LauncherThinks(launcher) => self.on_launcher_thinks(launcher),
            Event::ServerWakes => {
                self.wake_at = None;
                self.with_driver(Driver::wake);
            }
            Event::ServerDies { back_after } => self.on_server_dies(back_after),
            Event::ServerComesUp => self.on_server_comes_up(),
            Event::Heals(peer) => self.heal(peer),
            Event::SomethingGoesWrong => self.on_something_goes_wrong(),
            Event::EverythingHeals => self.on_everything_heals(),
        }
    }

    // The network.

    fn send(&mut self, link: LinkId, message: Message) {
        if let Some(at) = self.network.arrival(link, message.is_to_server(), self.now, &mut self.rng) {
            self.at(at, Event::Arrival(link, message));
        }
    }

    fn on_arrival(&mut self, link: LinkId, message: Message) {
        let Some(peer) = self.network.deliver(link) else { return };
        match (peer, message) {
            (Peer::Worker(host), Message::FromWorker(what)) => {
                let leaves = matches!(what, WorkerSays::Goodbye);
                self.with_driver(|driver, now| driver.on_worker(now, host, link, what));
                if leaves {
                    self.retire(host);
                }
            }
            (Peer::Worker(host), Message::ToWorker(order)) => {
                if self.hosts[host].worker.as_ref().is_some_and(|worker| worker.link == Some(link)) {
                    self.with_worker(host, |worker, world| worker.on_order(order, world));
                }
            }
            (Peer::Launcher(_), Message::FromLauncher(what)) => {
                self.with_driver(|driver, now| driver.on_launcher(now, link, what));
            }
            (Peer::Launcher(launcher), Message::ToLauncher(answer)) => {
                if self.launchers[launcher].on_answer(&answer) {
                    let Checks { executions, answers } = &mut self.checks;
                    answers.on_delivered(&answer, executions);
                }
            }
            (peer, message) => panic!("{message:?} on a link with {peer:?}"),
        }
    }

    fn break_link(&mut self, link: LinkId) {
        let Some(peer) = self.network.break_link(link) else { return };
        let (server_delay, peer_delay) = (self.rng.millis(0, 300), self.rng.millis(1, 500));
        if self.driver.is_some() {
            self.after(server_delay, Event::ServerLosesLink(link, peer));
        }
        match peer {
            Peer::Worker(host) => {
                if let Some(worker) = self.hosts[host].worker.as_mut().filter(|worker| worker.link == Some(link)) {
                    worker.link = None;
                }
            }
            Peer::Launcher(launcher) => self.launchers[launcher].link = None,
        }
        self.after(peer_delay, Event::Connect(peer));
    }

    fn connect(&mut self, peer: Peer) {
        let wants = match peer {
            Peer::Worker(host) => self.hosts[host].worker.as_ref().is_some_and(|worker| worker.link.is_none()),
            Peer::Launcher(launcher) => self.launchers[launcher].link.is_none() && !self.launchers[launcher].is_dead,
        };
        if !wants {
            return;
        }
        if self.driver.is_none() || self.network.is_cut_off(peer) {
            self.after(Duration::from_millis(150), Event::Connect(peer));
            return;
        }
        let link = self.network.connect(peer);
        match peer {
            Peer::Worker(host) => self.with_worker(host, |worker, world| worker.on_connected(link, world)),
            Peer::Launcher(launcher) => {
                if let Some(what) = self.launchers[launcher].on_connected(link) {
                    self.send(link, Message::FromLauncher(what));
                }
            }
        }
    }

    fn heal(&mut self, peer: Peer) {
        for link in self.network.heal(peer) {
            self.break_link(link);
        }
    }

    // The server.

    fn with_driver(&mut self, act: impl FnOnce(&mut Driver, Timestamp) -> Vec<Wish>) {
        let Some(driver) = &mut self.driver else { return };
        for wish in act(driver, self.now) {
            match wish {
                Wish::Send(link, message) => self.send(link, message),
                Wish::Close(link) => self.break_link(link),
            }
        }
        self.plan_wake();
    }

    fn plan_wake(&mut self) {
        let Some(deadline) = self.driver.as_ref().and_then(Driver::next_deadline) else { return };
        let deadline = deadline.max(self.now);
        if self.wake_at.is_none_or(|planned| deadline < planned) {
            self.wake_at = Some(deadline);
            self.at(deadline, Event::ServerWakes);
        }
    }

    fn on_server_loses_link(&mut self, link: LinkId, peer: Peer) {
        match peer {
            Peer::Worker(_) => self.with_driver(|driver, now| driver.on_worker_link_lost(now, link)),
            Peer::Launcher(_) => self.with_driver(|driver, now| driver.on_launcher_link_lost(now, link)),
        }
    }

    fn on_server_dies(&mut self, back_after: Duration) {
        if self.driver.take().is_none() {
            return;
        }
        for link in self.network.all() {
            self.break_link(link);
        }
        self.after(back_after, Event::ServerComesUp);
    }

    fn on_server_comes_up(&mut self) {
        if self.driver.is_none() {
            self.driver = Some(Driver::start(self.config.clone(), self.now));
            self.wake_at = None;
            self.plan_wake();
        }
    }

    // Workers and launchers.

    fn with_worker(&mut self, host: usize, act: impl FnOnce(&mut FakeWorker, &mut Surroundings<'_>)) {
        let Some(worker) = &mut self.hosts[host].worker else { return };
        let mut surroundings = Surroundings {
            now: self.now,
            lease: self.config.lease,
            rng: &mut self.rng,
            checks: &mut self.checks,
            unrepeatable: &self.unrepeatable,
            faulty: self.faulty,
            effects: Vec::new(),
        };
        act(worker, &mut surroundings);
        let (effects, link, run) = (surroundings.effects, worker.link, self.hosts[host].run);
        for effect in effects {
            match (effect, link) {
                (Effect::Say(what), Some(link)) => self.send(link, Message::FromWorker(what)),
                (Effect::Say(_), None) => {} // Said again on the next link.
                (Effect::After(delay, timer), _) => self.after(delay, Event::Worker { host, run, timer }),
            }
        }
    }

    fn on_worker_comes_up(&mut self, host: usize) {
        if self.hosts[host].worker.is_none() {
            let facts = self.hosts[host].facts.clone();
            self.hosts[host].run += 1;
            self.hosts[host].worker = Some(FakeWorker::new(host, facts, &mut self.rng));
            self.connect(Peer::Worker(host));
        }
    }

    fn crash(&mut self, host: usize, back_after: Duration) {
        let Some(worker) = self.hosts[host].worker.take() else { return };
        let (left, dies_within) = (worker.running(), self.config.lease / 5);
        self.after(dies_within / 2, Event::Guardian { host, left });
        self.after(back_after.max(dies_within), Event::WorkerComesUp(host));
        for link in self.network.of_peer(Peer::Worker(host)) {
            self.break_link(link);
        }
    }

    /// A worker that said goodbye, and was heard, is gone; another run of it comes up.
    fn retire(&mut self, host: usize) {
        if self.hosts[host].worker.as_ref().is_some_and(FakeWorker::is_quiet) {
            self.crash(host, Duration::from_millis(700));
        }
    }

    fn on_launcher_thinks(&mut self, launcher: usize) {
        if self.launchers[launcher].is_dead {
            return;
        }
        let unrepeatable = self.launchers[launcher].think(&mut self.rng);
        self.unrepeatable.extend(unrepeatable);
        if let Some(link) = self.launchers[launcher].link
            && let Some(what) = self.launchers[launcher].submit_new()
        {
            self.send(link, Message::FromLauncher(what));
        }
        if self.launchers[launcher].has_more_to_come() {
            let pause = self.rng.millis(0, 1_500);
            self.after(pause, Event::LauncherThinks(launcher));
        }
    }

    // What goes wrong.

    fn on_something_goes_wrong(&mut self) {
        if !self.faulty {
            return;
        }
        let fault = Fault::some(self.hosts.len(), self.launchers.len(), self.config.lease, &mut self.rng);
        self.faults += 1;
        self.inflict(fault);
        let pause = self.rng.millis(1, 1_500);
        self.after(pause, Event::SomethingGoesWrong);
    }

    fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::BreakWorkerLink(host) => self.break_links_of(Peer::Worker(host)),
            Fault::BreakLauncherLink(launcher) => self.break_links_of(Peer::Launcher(launcher)),
            Fault::CutOff(host, time) => {
                self.network.cut_off(Peer::Worker(host));
                self.after(time, Event::Heals(Peer::Worker(host)));
            }
            Fault::CrashWorker(host, back_after) => self.crash(host, back_after),
            Fault::Drain(host) => self.with_worker(host, FakeWorker::drain),
            Fault::ChangeMind(launcher) => {
                let what = self.launchers[launcher].change_mind(&mut self.rng);
                if let (Some(what), Some(link)) = (what, self.launchers[launcher].link) {
                    self.send(link, Message::FromLauncher(what));
                }
            }
            Fault::KillLauncher(launcher) => {
                self.launchers[launcher].die();
                self.break_links_of(Peer::Launcher(launcher));
            }
            Fault::CrashServer(back_after) => self.on_server_dies(back_after),
            Fault::StopServer(grace) => {
                self.with_driver(Driver::stop);
                self.after(grace, Event::ServerDies { back_after: Duration::from_millis(100) });
            }
        }
    }

    fn break_links_of(&mut self, peer: Peer) {
        for link in self.network.of_peer(peer) {
            self.break_link(link);
        }
    }

    fn on_everything_heals(&mut self) {
        self.faulty = false;
        for host in 0..self.hosts.len() {
            self.heal(Peer::Worker(host));
        }
    }

    // The end.

    fn unanswered(&self) -> Vec<JobId> {
        self.launchers.iter().flat_map(FakeLauncher::unanswered).collect()
    }

    /// Everybody has what they wanted, nothing runs, and whoever has something to tell has been heard.
    fn is_over(&self) -> bool {
        let launchers_done = self.launchers.iter().all(|l| !l.has_more_to_come() && l.unanswered().is_empty());
        let workers_done = self.hosts.iter().all(|host| host.worker.as_ref().is_some_and(FakeWorker::is_quiet));
        launchers_done && workers_done && self.driver.is_some() && self.checks.executions.is_quiet()
    }

    /// Waits until nothing need be kept, and sees that nothing is.
    fn finish(mut self) -> Report {
        let lasted = self.now.since(Timestamp::ZERO);
        let (lease, retain) = (self.config.lease, self.config.retain);
        let end = self.now + lease * 2 + retain;
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.happen(event);
        }
        match &self.driver {
            Some(driver) => driver.assert_at_rest(),
            None => panic!("the server is down though nothing goes wrong any more"),
        }
        let Checks { executions, answers } = &self.checks;
        let (started, completed, sent_home) = (executions.count(), answers.completed(), answers.sent_home());
        Report { started, completed, sent_home, faults: self.faults, lasted }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Events of one moment happen in the order in which they were planned.
    fn at(&mut self, at: Timestamp, event: Event) {
        self.events += 1;
        self.agenda.insert((at, self.events), event);
    }
}

fn some_config(rng: &mut Rng) -> Config {
    Config {
        lease: Duration::from_secs(2),
        max_attempts: u32::try_from(rng.between(1, 4)).unwrap_or(3),
        prefetch: u32::try_from(rng.between(0, 3)).unwrap_or(1),
        fleet_grace: rng.millis(100, 3_000),
        max_queued: if rng.percent(20) { 5 } else { 1_000 },
        retain: Duration::from_secs(6),
        ..Config::default()
    }
}

fn some_host(rng: &mut Rng) -> Host {
    let toolchains = (1..=2).filter(|_| rng.percent(85)).map(ToolchainKey::new).collect();
    let facts = WorkerFacts {
        incarnation: Incarnation::from_bytes([0; 16]),
        slots: u32::try_from(rng.between(1, 4)).unwrap_or(1),
        linking: rng.percent(75),
        toolchains,
        cpu_class: None,
        mounts: if rng.percent(80) { vec![DirKey::new(100)] } else { vec![] },
        only_user: rng.percent(15).then(|| UserId::new(1)),
        memory: rng.between(1, 64),
    };
    Host { facts, run: 0, worker: None }
}
