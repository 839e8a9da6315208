//! The machines of a simulated build, and what running there costs.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ids::DirKey;

use crate::graph::Edge;
use crate::rng::Rng;

/// What a command pays for each of its directories (output, source) that its worker has not touched before: names and
/// capabilities to be fetched from the filesystem's servers.
pub const COLD_DIR: Duration = Duration::from_millis(100);

/// CPUs of the machine that runs ninja, for what cannot leave it.
pub const CLIENT_CPUS: usize = 8;

/// A worker.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Commands at once.
    pub slots: usize,
    /// Hundredths of the recording machine's speed.
    pub speed: u32,
    /// What it measured of itself when it started: thousandths of the recording machine's speed, and up to a tenth off.
    pub says: u32,
    /// One way between it and the server.
    pub one_way: Duration,
    /// Bytes.
    pub memory: u64,
}

/// Workers, and the way to them.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The workers, in the order in which they register.
    pub machines: Vec<Machine>,
    /// One way between the client and the server.
    pub client_one_way: Duration,
}

impl Fleet {
    /// So many workers of 2 to 8 slots and speeds from 0.6 to 1.6, at 0.1 to 2 ms from the server.
    #[must_use]
    pub fn mixed(workers: usize, seed: u64) -> Self {
        // What they say is drawn apart: the fleets are those of before they said anything.
        let (mut rng, mut errors) = (Rng::new(seed), Rng::new(seed ^ 0x5a15));
        let machine = |_| {
            let slots = rng.pick(&[2, 4, 4, 8]).unwrap_or(4);
            let speed = u32::try_from(rng.between(60, 160)).unwrap_or(100);
            Machine {
                slots,
                speed,
                says: speed * u32::try_from(errors.between(900, 1_100)).unwrap_or(1_000) / 100,
                one_way: Duration::from_micros(rng.between(100, 2_000)),
                memory: (slots as u64) << 31,
            }
        };
        Self { machines: (0..workers).map(machine).collect(), client_one_way: Duration::from_micros(500) }
    }

    /// Slots of all workers.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.machines.iter().map(|machine| machine.slots).sum()
    }

    /// How many machines like the recording one all slots together are worth.
    #[must_use]
    pub fn power(&self) -> f64 {
        self.machines.iter().map(|machine| machine.slots as f64 * f64::from(machine.speed) / 100.0).sum()
    }

    /// The highest speed, in hundredths.
    #[must_use]
    pub fn top_speed(&self) -> u32 {
        self.machines.iter().map(|machine| machine.speed).max().unwrap_or(100)
    }
}

impl Machine {
    /// What `work` takes here.
    #[must_use]
    pub fn time_for(&self, work: Duration) -> Duration {
        work * 100 / self.speed
    }
}

/// Which directories each worker has touched, in truth.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    touched: Vec<BTreeSet<DirKey>>,
}

impl Caches {
    /// Cold ones.
    #[must_use]
    pub fn cold(workers: usize) -> Self {
        Self { touched: vec![BTreeSet::new(); workers] }
    }

    /// The directories of this edge that the worker has not touched.
    #[must_use]
    pub fn missing(&self, worker: usize, edge: &Edge) -> u32 {
        let missing = edge.dirs.iter().filter(|dir| !self.touched[worker].contains(dir)).count();
        u32::try_from(missing).unwrap_or(u32::MAX)
    }

    /// Whether the worker has touched the directory of the edge's output.
    #[must_use]
    pub fn is_warm(&self, worker: usize, edge: &Edge) -> bool {
        edge.dirs.first().is_some_and(|dir| self.touched[worker].contains(dir))
    }

    /// The worker runs this edge.
    pub fn touch(&mut self, worker: usize, edge: &Edge) {
        self.touched[worker].extend(&edge.dirs);
    }
}
