//! What goes wrong, and how often.

use std::time::Duration;

use crate::rng::Rng;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A link breaks; both ends find out.
    BreakWorkerLink(usize),
    BreakLauncherLink(usize),
    /// Nothing gets through to this worker for so long, and nobody is told.
    CutOff(usize, Duration),
    /// The worker daemon dies, and another run of it comes up so much later.
    CrashWorker(usize, Duration),
    /// The worker is asked to leave; another run of it comes up after it left.
    Drain(usize),
    /// A launcher takes some of its jobs back.
    ChangeMind(usize),
    /// A launcher is killed.
    KillLauncher(usize),
    /// The server dies, and another comes up so much later.
    CrashServer(Duration),
    /// The server is asked to stop; it is killed so much later, and another comes up.
    StopServer(Duration),
}

impl Fault {
    /// Something for a world of this size.
    pub(crate) fn some(workers: usize, launchers: usize, lease: Duration, rng: &mut Rng) -> Self {
        let worker = pick_below(workers, rng);
        let launcher = pick_below(launchers, rng);
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        match rng.between(1, 100) {
            1..=25 => Self::BreakWorkerLink(worker),
            26..=38 => Self::BreakLauncherLink(launcher),
            39..=54 => Self::CutOff(worker, rng.millis(lease / 4, lease * 2)),
            55..=68 => Self::CrashWorker(worker, rng.millis(lease / 4, lease * 2)),
            69..=75 => Self::Drain(worker),
            76..=87 => Self::ChangeMind(launcher),
            88..=91 => Self::KillLauncher(launcher),
            92..=97 => Self::CrashServer(rng.millis(10, lease)),
            _ => Self::StopServer(rng.millis(10, lease)),
        }
    }
}

fn pick_below(count: usize, rng: &mut Rng) -> usize {
    usize::try_from(rng.between(0, count as u64 - 1)).unwrap_or(0)
}
