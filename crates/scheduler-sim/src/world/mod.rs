//! The whole world of one seed: a server, workers, launchers, the network between them, and an agenda. Time jumps
//! from event to event. First things go wrong, then everything heals and has to come to an end.

mod making;
mod people;
mod server;
mod stops;
mod trouble;
mod wiring;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{Attempt, Incarnation, JobId};
use model::time::Timestamp;
use scheduler_core::{Config, WorkerFacts};

use crate::Manner;
use crate::checks::Checks;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::fake_launcher::FakeLauncher;
use crate::fake_worker::{FakeWorker, Plant, WorkerTimer};
use crate::messages::{Message, WorkerSays};
use crate::network::{LinkId, Network, Peer};
use crate::rng::Rng;
use crate::roster::Roster;
use stops::Stop;

/// How long everything may take to come to an end once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long an audit may go on that begins when all jobs are answered: two waits for a slot, and two long commands on the
/// slowest host.
const AUDITS_LAST: Duration = Duration::from_secs(40);

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
    /// A daemon that stood still says what happened meanwhile.
    Speaks {
        host: usize,
        link: LinkId,
        what: WorkerSays,
    },
    /// Somebody is stopped for a while.
    SomebodyStops,
    /// What stood still until now goes on.
    GoesOn(Stop),
    ServerGoesOn,
    /// A dead daemon's spawner has killed what it left.
    Guardian {
        host: usize,
        left: Vec<Attempt>,
        incarnation: Incarnation,
    },
    /// A guardian tells the server that its worker is dead.
    Obituary {
        incarnation: Incarnation,
        tries: u32,
    },
    WorkerComesUp(usize),
    LauncherThinks(usize),
    /// A launcher that was told to wait with a job asks for it again.
    ComesAgain {
        launcher: usize,
        link: LinkId,
        job: JobId,
    },
    ServerWakes,
    ServerDies {
        back_after: Duration,
    },
    ServerComesUp,
    Heals(Peer),
    SomethingGoesWrong,
    /// A flapping host's link breaks again.
    Flaps(usize),
    EverythingHeals,
}

/// What is wrong with a host until everything heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Character {
    Sound,
    /// It fails whatever it is given, at once.
    BlackHole,
    /// Its connection breaks all the time.
    Flapping,
}

#[derive(Debug)]
struct Host {
    facts: WorkerFacts,
    character: Character,
    /// Which run of the daemon this is, or was.
    run: u64,
    worker: Option<FakeWorker>,
    clock: Clock,
    stop: Option<Stop>,
}

/// What became of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that were started on workers.
    pub started: u64,
    /// Those of them that started beside another attempt of their job.
    pub doubled: u64,
    /// Audits in which two workers differed, as they had to.
    pub alarms: u64,
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
    /// Chance of its own for what was added later: what happened in a world before still does.
    fates: Rng,
    /// The same for clocks that drift and what stands still, which every other world has.
    stops: Rng,
    has_stops: bool,
    server_stops_until: Option<Timestamp>,
    /// Workers have that bug.
    pub(crate) plant: Option<Plant>,
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
    /// What the last server left on its disk.
    disk: Option<Roster>,
    /// What is other than usual.
    pub(crate) manner: Manner,
    /// Servers keep journals.
    pub(crate) recorded: bool,
    /// Those of the servers that are no more.
    journals: Vec<Vec<u8>>,
}

impl World {
    /// Lives through everything, and checks.
    pub(crate) fn run(mut self) -> (Report, Vec<Vec<u8>>) {
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

    fn happen(&mut self, event: Event) {
        let Some(event) = self.unless_it_stands_still(event) else { return };
        match event {
            Event::Arrival(link, message) => self.on_arrival(link, message),
            Event::ServerLosesLink(link, peer) => self.on_server_loses_link(link, peer),
            Event::Connect(peer) => self.connect(peer),
            Event::Worker { host, run, timer } => {
                if self.hosts[host].run == run {
                    self.with_worker(host, |worker, world| worker.on_timer(timer, world));
                }
            }
            Event::Speaks { host, link, what } => self.on_speaks(host, link, what),
            Event::SomebodyStops => self.on_somebody_stops(),
            Event::GoesOn(stop) => self.on_goes_on(stop),
            Event::ServerGoesOn => self.on_server_goes_on(),
            Event::Guardian { host, left, incarnation } => self.on_guardian(host, left, incarnation),
            Event::Obituary { incarnation, tries } => self.on_obituary(incarnation, tries),
            Event::WorkerComesUp(host) => self.on_worker_comes_up(host),
            Event::LauncherThinks(launcher) => self.on_launcher_thinks(launcher),
            Event::ComesAgain { launcher, link, job } => {
                if let Some(what) = self.launchers[launcher].come_again(link, job) {
                    self.send(link, Message::FromLauncher(what));
                }
            }
            Event::ServerWakes => {
                self.wake_at = None;
                self.with_driver(Driver::wake);
            }
            Event::ServerDies { back_after } => self.on_server_dies(back_after),
            Event::ServerComesUp => self.on_server_comes_up(),
            Event::Heals(peer) => self.heal(peer),
            Event::SomethingGoesWrong => self.on_something_goes_wrong(),
            Event::Flaps(host) => self.flap(host),
            Event::EverythingHeals => self.on_everything_heals(),
        }
    }

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
    fn finish(mut self) -> (Report, Vec<Vec<u8>>) {
        let lasted = self.now.since(Timestamp::ZERO);
        let (lease, retain) = (self.config.lease, self.config.retain);
        let audits = if self.config.audit_rate > 0 { AUDITS_LAST } else { Duration::ZERO };
        let end = self.now + lease * 2 + retain + audits;
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.happen(event);
        }
        let Some(driver) = self.driver else { panic!("the server is down though nothing goes wrong any more") };
        driver.assert_at_rest();
        let alarms = driver.audits.alarms;
        self.journals.extend(driver.into_journal());
        let Checks { executions, answers } = &self.checks;
        let (started, completed, sent_home) = (executions.count(), answers.completed(), answers.sent_home());
        let doubled = executions.doubled();
        (Report { started, doubled, alarms, completed, sent_home, faults: self.faults, lasted }, self.journals)
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
