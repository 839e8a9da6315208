//! What goes wrong, when, and for how long: all of it drawn from the seed. (When a fault *meets* a build is up to the
//! machine: a seed repeats the faults, not the interleaving.)

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::fleet::{CLIENT, Fleet, SERVER};

/// Between two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 500..6_000;
/// How long something stays stopped or cut off, in milliseconds: shorter and longer than a lease.
const LAST_MS: std::ops::Range<u64> = 1_000..20_000;
/// How long a link is cut, or one of its ways: within a lease, beyond it, and beyond all patience.
const CUT_MS: [u64; 3] = [1_000, 10_000, 60_000];
/// How long a daemon that was killed stays away.
const AWAY_MS: std::ops::Range<u64> = 0..3_000;
/// So many things may be wrong at a time.
const AT_A_TIME: usize = 3;
/// What a filled scratch has left.
const PIECE: usize = 1 << 20;
/// The file that fills a scratch.
const FILLER: &str = "filler";

/// A sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL to a worker's daemon.
    KillWorker,
    /// SIGKILL to all that runs on a worker's host.
    LoseHost,
    /// SIGSTOP to a worker's daemon; its commands go on.
    StopWorker,
    /// SIGSTOP to all that runs on a worker's host.
    FreezeHost,
    /// A worker's link is silent.
    CutWorker,
    /// What a worker sends is lost.
    MuteWorker,
    /// What the server sends to a worker is lost.
    DeafenWorker,
    /// The link of the machine where the build runs is silent.
    CutClient,
    /// What that machine sends to the server is lost.
    MuteClient,
    /// What the server sends to it is lost.
    DeafenClient,
    /// A worker's scratch is full.
    FillScratch,
    /// A worker is asked to drain, ends, and is started again: an upgrade.
    DrainWorker,
    /// SIGKILL to the server.
    KillServer,
    /// SIGSTOP to the server.
    StopServer,
    /// Every connection of the launchers is reset.
    ResetLaunchers,
}

/// How often each comes, out of the sum of all.
const WEIGHTS: &[(Fault, u32)] = &[
    (Fault::KillWorker, 4),
    (Fault::LoseHost, 2),
    (Fault::StopWorker, 2),
    (Fault::FreezeHost, 3),
    (Fault::CutWorker, 2),
    (Fault::MuteWorker, 1),
    (Fault::DeafenWorker, 1),
    (Fault::CutClient, 1),
    (Fault::MuteClient, 1),
    (Fault::DeafenClient, 1),
    (Fault::FillScratch, 2),
    (Fault::DrainWorker, 2),
    (Fault::KillServer, 2),
    (Fault::StopServer, 1),
    (Fault::ResetLaunchers, 2),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillWorker => "worker killed",
            Self::LoseHost => "host lost",
            Self::StopWorker => "worker stopped",
            Self::FreezeHost => "host frozen",
            Self::CutWorker => "worker cut off",
            Self::MuteWorker => "worker unheard",
            Self::DeafenWorker => "worker told nothing",
            Self::CutClient => "client cut off",
            Self::MuteClient => "client unheard",
            Self::DeafenClient => "client told nothing",
            Self::FillScratch => "scratch filled",
            Self::DrainWorker => "worker drained",
            Self::KillServer => "server killed",
            Self::StopServer => "server stopped",
            Self::ResetLaunchers => "launchers' connections reset",
        })
    }
}

/// A fault that was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drawn {
    fault: Fault,
    /// The daemon: 0 is the server.
    post: usize,
    lasts: Duration,
    /// Until the next one.
    pause: Duration,
}

/// The faults of a seed, without end.
struct Forecast {
    random: fastrand::Rng,
    workers: usize,
}

impl Forecast {
    fn next(&mut self) -> Drawn {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.u32(0..total);
        let fault = WEIGHTS.iter().find(|(_, weight)| match left.checked_sub(*weight) {
            Some(less) => {
                left = less;
                false
            }
            None => true,
        });
        let fault = fault.map_or(Fault::KillWorker, |(fault, _)| *fault);
        let worker = 1 + self.random.usize(0..self.workers);
        let post = match fault {
            Fault::KillServer | Fault::StopServer | Fault::ResetLaunchers => 0,
            Fault::CutClient | Fault::MuteClient | Fault::DeafenClient => 0,
            _ => worker,
        };
        let lasts = match fault {
            Fault::KillWorker | Fault::LoseHost | Fault::KillServer => self.random.u64(AWAY_MS),
            Fault::ResetLaunchers => 0,
            Fault::CutWorker | Fault::MuteWorker | Fault::DeafenWorker => CUT_MS[self.random.usize(0..CUT_MS.len())],
            Fault::CutClient | Fault::MuteClient | Fault::DeafenClient => CUT_MS[self.random.usize(0..CUT_MS.len())],
            _ => self.random.u64(LAST_MS),
        };
        let lasts = Duration::from_millis(lasts);
        Drawn { fault, post, lasts, pause: Duration::from_millis(self.random.u64(PAUSE_MS)) }
    }
}

/// Something that is wrong now.
struct Active {
    fault: Fault,
    post: usize,
    until: Instant,
}

/// The faults of one seed, done to a fleet.
pub(super) struct Storm {
    forecast: Forecast,
    next: Drawn,
    due: Option<Instant>,
    active: Vec<Active>,
    began: Instant,
    /// How many faults there were.
    pub(super) faults: usize,
}

impl Storm {
    /// What `seed` says about a fleet of so many workers.
    pub(super) fn new(seed: u64, workers: usize) -> Self {
        let mut forecast = Forecast { random: fastrand::Rng::with_seed(seed), workers };
        let next = forecast.next();
        Self { forecast, next, due: None, active: Vec::new(), began: Instant::now(), faults: 0 }
    }

    /// Does what is due, and ends what has lasted long enough. `raging`: whether anything new may go wrong.
    pub(super) fn tick(&mut self, fleet: &mut Fleet<'_>, raging: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        self.relieve(fleet, |active| active.until <= now)?;
        let due = *self.due.get_or_insert(now + self.next.pause);
        if raging && now >= due {
            let next = self.forecast.next();
            let drawn = std::mem::replace(&mut self.next, next);
            self.due = Some(now + drawn.pause);
            self.strike(fleet, &drawn, now)?;
        }
        Ok(())
    }

    /// Ends everything that is wrong.
    pub(super) fn calm(&mut self, fleet: &mut Fleet<'_>) -> anyhow::Result<()> {
        self.relieve(fleet, |active| active.fault != Fault::DrainWorker)?;
        let now = Instant::now();
        self.relieve(fleet, |active| active.until <= now)
    }

    /// Whether all is well.
    pub(super) fn is_over(&self) -> bool {
        self.active.is_empty()
    }

    fn strike(&mut self, fleet: &mut Fleet<'_>, drawn: &Drawn, now: Instant) -> anyhow::Result<()> {
        let Drawn { fault, post, lasts, .. } = *drawn;
        // One thing at a time for each daemon: what was killed cannot be stopped.
        if self.active.len() >= AT_A_TIME || self.active.iter().any(|active| active.post == post) || !fleet.runs(post) {
            return Ok(());
        }
        let host = fleet.host(post);
        match fault {
            Fault::KillWorker | Fault::KillServer => fleet.kill(post),
            Fault::LoseHost => {
                fleet.network.signal_all(host, libc::SIGKILL)?;
                fleet.kill(post);
            }
            Fault::StopWorker | Fault::StopServer => fleet.signal(post, libc::SIGSTOP),
            Fault::FreezeHost => fleet.network.signal_all(host, libc::SIGSTOP)?,
            Fault::CutWorker => fleet.network.cut(host)?,
            Fault::MuteWorker => fleet.network.mute(host, SERVER)?,
            Fault::DeafenWorker => fleet.network.mute(SERVER, host)?,
            Fault::CutClient => fleet.network.cut(CLIENT)?,
            Fault::MuteClient => fleet.network.mute(CLIENT, SERVER)?,
            Fault::DeafenClient => fleet.network.mute(SERVER, CLIENT)?,
            Fault::FillScratch => fill(&fleet.scratch(post))?,
            Fault::DrainWorker => fleet.dismiss(post),
            Fault::ResetLaunchers => fleet.network.reset_connections(CLIENT)?,
        }
        self.faults += 1;
        let whom = if host == SERVER { "" } else { fleet.name(post) };
        println!("  {:6.1} s  {fault} {whom} {lasts:.1?}", self.began.elapsed().as_secs_f64());
        self.active.push(Active { fault, post, until: now + lasts });
        Ok(())
    }

    fn relieve(&mut self, fleet: &mut Fleet<'_>, which: impl Fn(&Active) -> bool) -> anyhow::Result<()> {
        let (over, on): (Vec<_>, Vec<_>) = std::mem::take(&mut self.active).into_iter().partition(which);
        self.active = on;
        for active in over {
            if !relieved(&active, fleet)? {
                self.active.push(active);
            }
        }
        Ok(())
    }
}

/// Ends one fault; false when it cannot be ended yet.
fn relieved(active: &Active, fleet: &mut Fleet<'_>) -> anyhow::Result<bool> {
    let Active { fault, post, .. } = *active;
    let host = fleet.host(post);
    match fault {
        Fault::KillWorker | Fault::LoseHost | Fault::KillServer => fleet.restart(post)?,
        Fault::StopWorker | Fault::StopServer => fleet.signal(post, libc::SIGCONT),
        Fault::FreezeHost => fleet.network.signal_all(host, libc::SIGCONT)?,
        Fault::CutWorker => fleet.network.heal(host)?,
        Fault::MuteWorker => fleet.network.unmute(host, SERVER)?,
        Fault::DeafenWorker => fleet.network.unmute(SERVER, host)?,
        Fault::CutClient => fleet.network.heal(CLIENT)?,
        Fault::MuteClient => fleet.network.unmute(CLIENT, SERVER)?,
        Fault::DeafenClient => fleet.network.unmute(SERVER, CLIENT)?,
        Fault::FillScratch => std::fs::remove_file(fleet.scratch(post).join(FILLER))?,
        Fault::DrainWorker if fleet.runs(post) => return Ok(false),
        Fault::DrainWorker => fleet.restart(post)?,
        Fault::ResetLaunchers => {}
    }
    Ok(true)
}

fn fill(scratch: &Path) -> anyhow::Result<()> {
    let path = scratch.join(FILLER);
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let piece = vec![0_u8; PIECE];
    loop {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot fill {}", scratch.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(seed: u64) -> Vec<Drawn> {
        let mut forecast = Forecast { random: fastrand::Rng::with_seed(seed), workers: 4 };
        (0..500).map(|_| forecast.next()).collect()
    }

    #[test]
    fn a_seed_says_what_happens() {
        assert_eq!(forecast(7), forecast(7));
        assert_ne!(forecast(7), forecast(8));
    }

    #[test]
    fn every_sort_of_fault_comes_and_every_worker_has_its_share() {
        let drawn = forecast(1);

        for (fault, _) in WEIGHTS {
            assert!(drawn.iter().any(|drawn| drawn.fault == *fault), "{fault}");
        }
        for post in 0..=4 {
            assert!(drawn.iter().any(|drawn| drawn.post == post), "{post}");
        }
        assert!(drawn.iter().all(|drawn| drawn.post <= 4 && drawn.lasts <= Duration::from_secs(60)));
    }
}
