//! A world out of a seed: settings, hosts, launchers, and the first entries of the agenda.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{DirKey, Incarnation, ToolchainKey, UserId};
use model::speed::Speed;
use model::time::Timestamp;
use scheduler_core::{Config, WorkerFacts};

use super::{Character, Event, Host, World};
use crate::Manner;
use crate::checks::Checks;
use crate::clock::Clock;
use crate::fake_launcher::FakeLauncher;
use crate::network::{Network, Peer};
use crate::rng::Rng;

impl World {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        // Without a draw, so that worlds without audits are what they were.
        let config = Config { audit_rate: [0, 1, 3][(seed % 3) as usize], ..some_config(&mut rng) };
        let hosts = (0..rng.between(1, 6)).map(|_| some_host(&mut rng)).collect();
        let launchers = (0..rng.between(1, 4)).map(|_| rng.between(1, 30)).collect::<Vec<_>>();
        let launchers = launchers.into_iter().map(|jobs| FakeLauncher::new(&mut rng, jobs)).collect();
        let mut world = Self {
            rng,
            fates: Rng::new(!seed),
            stops: Rng::new(seed.rotate_left(32)),
            has_stops: seed.is_multiple_of(2),
            server_stops_until: None,
            plant: None,
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
            disk: None,
            manner: Manner::default(),
            recorded: false,
            journals: Vec::new(),
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        self.after(Duration::ZERO, Event::ServerComesUp);
        for host in 0..self.hosts.len() {
            let delay = self.rng.millis(0, 1_000);
            self.after(delay, Event::WorkerComesUp(host));
            let distance = if self.rng.percent(30) { self.rng.millis(1, 40) } else { Duration::ZERO };
            self.network.move_away(Peer::Worker(host), distance);
            if self.hosts[host].character == Character::Flapping {
                self.after(delay, Event::Flaps(host));
            }
        }
        for launcher in 0..self.launchers.len() {
            let delay = self.rng.millis(1, 2_000);
            self.after(delay, Event::Connect(Peer::Launcher(launcher)));
            self.after(delay, Event::LauncherThinks(launcher));
        }
        let (first, quiet) = (self.rng.millis(500, 3_000), self.rng.millis(5_000, 25_000));
        self.after(first, Event::SomethingGoesWrong);
        if self.has_stops {
            self.after(first, Event::SomebodyStops);
        }
        self.after(quiet, Event::EverythingHeals);
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
        // Often, and soon: there are not many jobs.
        speculation: rng.percent(80),
        speculation_factor: 120,
        speculation_after: rng.millis(100, 1_500),
        speculation_share: if rng.percent(50) { 10 } else { 100 },
        ..Config::default()
    }
}

fn some_host(rng: &mut Rng) -> Host {
    // Any figure, whatever it can do, and none; looked up without a draw, so that old seeds are the worlds that they were.
    let speed = rng.clone().pick(&[0, 0, 1, 600, 1_000, 1_600, u32::MAX]).and_then(Speed::new);
    let toolchains = (1..=2).filter(|_| rng.percent(85)).map(ToolchainKey::new).collect();
    let facts = WorkerFacts {
        incarnation: Incarnation::from_bytes([0; 16]),
        slots: u32::try_from(rng.between(1, 4)).unwrap_or(1),
        linking: rng.percent(75),
        toolchains,
        mounts: if rng.percent(80) { vec![DirKey::new(100)] } else { vec![] },
        only_user: rng.percent(15).then(|| UserId::new(1)),
        memory: rng.between(1, 64),
        cpu_class: None,
        isolates: rng.percent(70),
        speed,
    };
    let character = match rng.between(1, 100) {
        1..=6 => Character::BlackHole,
        7..=12 => Character::Flapping,
        _ => Character::Sound,
    };
    Host { facts, character, run: 0, worker: None, clock: Clock::default(), stop: None }
}
