//! The worker: runs compilers, linkers and archivers of other machines where their files already are, and reports.
//!
//! A program drives it in four steps: read the [`config`], start the [`spawner`] while there is one thread, make a
//! [`Stop`], and [`run`] until it is drained. A test starts the spawner [from the built program](spawner::Spawner::start_from),
//! hands over a [`config::Config`], and cancels the tokens of its `Stop` itself.
//!
//! Inside, `link` keeps the connection, `agent` owns all state and is the only one to decide, `books` knows what is
//! held and what is still to be said, `runner` and `exec` follow one command on one thread, `spawner` and `keeper` are
//! the processes that it runs under, and the rest are facts about the machine. Wire types are met in `link`, `agent`, `books` and `wire`, and become model types before anything
//! runs.
//!
//! Absent on purpose: no time limit on a command (what is timed is silence), no shell, no retry (the server judges).

mod agent;
mod appearances;
mod asked;
mod backoff;
mod books;
pub mod cli;
pub mod config;
mod dependencies;
pub mod exec;
pub mod facts;
mod fds;
mod groups;
mod journals;
mod keeper;
mod lease;
pub mod lease_page;
mod link;
mod looks;
mod mounts;
mod obituary;
pub mod probe;
mod registration;
mod regular;
mod retained;
mod revalidation;
mod runner;
pub mod spawner;
mod stamps;
mod startup;
mod system_files;
pub mod toolchains;
pub mod tools;
pub mod users;
mod warmth;
mod whereabouts;
mod wire;

use std::sync::Arc;

use daemon_kit::shutdown::Stop;
use daemon_kit::{exit, systemd};
use model::ids::Incarnation;
use model::speed::Speed;
use tokio::sync::Notify;

use crate::agent::Agent;
use crate::config::{Config, IsolationWish};
use crate::exec::{Congestion, Directories, Executor, OomWatch};
use crate::facts::Host;
use crate::journals::Journals;
use crate::obituary::LastWords;
use crate::probe::Probe;
use crate::registration::Registration;
use crate::revalidation::Revalidation;
use crate::spawner::Spawner;
use crate::users::Users;

/// Name and version, as peers are told.
pub const SOFTWARE: &str = concat!("distccd-worker ", env!("CARGO_PKG_VERSION"));

/// Why [`run`] ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to, and nothing of it runs any more.
    Drained,
}

/// Why [`run`] ended badly, by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operator: something about this machine is not as the configuration says. One line a problem.
    #[error("{}", .0.join("\n"))]
    Machine(Vec<String>),
    /// The operator: the server does not take this worker, most likely because it is of another release.
    #[error("{0}")]
    Refused(String),
    /// Whoever killed the process that starts commands. Without it a worker is good for nothing; started again, it has
    /// another.
    #[error("the spawner process is gone: start this worker again (systemd does)")]
    SpawnerGone,
    /// Us.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The exit code that goes with it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Machine(_) => exit::CONFIG,
            Self::Refused(_) => exit::UNAVAILABLE,
            Self::SpawnerGone => exit::OS,
            Self::Internal(_) => exit::SOFTWARE,
        }
    }
}

/// Runs the worker until `stop` asks it to end: asked, it takes nothing new, hands back what has not started and
/// finishes what runs; when `stop` insists it kills that. `rescan` makes it look for toolchains again.
///
/// # Errors
/// When the machine lacks what the configuration names, or the server refuses this worker for good. A server that
/// cannot be reached is no error: it is tried for ever.
pub async fn run(config: Config, spawner: Spawner, stop: Stop, rescan: Arc<Notify>) -> Result<Exit, Error> {
    let (for_checks, for_trials) = (config.clone(), spawner.clone());
    let checks = move || {
        let toolchains = startup::check(&for_checks)?;
        let speed = facts::speed::of_this_machine();
        let probe = Probe::of(&for_checks, &for_trials);
        match for_checks.isolation {
            IsolationWish::Overlay if !probe.isolates() => Err(Error::Machine(probe.obstacles())),
            _ => match probe.unbounded() {
                Some(why) => Err(Error::Machine(vec![why])),
                None => Ok((toolchains, probe, speed)),
            },
        }
    };
    let (toolchains, probe, speed) =
        tokio::task::spawn_blocking(checks).await.map_err(|error| Error::Internal(error.to_string()))??;
    probe.log();
    tracing::info!(speed = speed.map_or(0, Speed::per_second), "measured this machine");
    let last_words = LastWords { server: config.server_addr.clone(), incarnation: draw()?, key: draw()? };
    if let Err(error) = spawner.will().write(&last_words) {
        tracing::warn!(%error, "should this worker be killed, the server will only notice when its lease is over");
    }
    let watched = spawner.clone();
    let isolation = probe.isolation(&config);
    let journals = Journals::of(&isolation.slow_rename, &Incarnation::from_bytes(last_words.incarnation).to_string());
    let executor = Executor {
        spawner,
        kill_grace: config.kill_grace,
        users: Users::of_this_machine(),
        oom: OomWatch::start(),
        isolation,
        congestion: Congestion::default(),
        journals: journals.map_err(|error| Error::Internal(format!("cannot watch over the mounts: {error}")))?,
        directories: Directories::default(),
        grouped: probe.groups().is_some(),
        revalidation: Revalidation::new(config.coherence),
    };
    let registration = Registration::new(&last_words, Host::look(), toolchains, executor.isolation.is_on(), speed);
    // The server may still be away: that is no reason to hold up the boot.
    systemd::ready("looking for the server");
    let mounts = mounts::watch(&config.mounts);
    let mounts = mounts.map_err(|error| Error::Internal(format!("cannot watch the mounts: {error}")))?;
    let (agent, inboxes) = Agent::new(config, executor, registration, last_words, mounts);
    let exit = tokio::select! {
        ended = agent.run(inboxes, stop, rescan) => ended?,
        Ok(()) = watched.gone() => return Err(Error::SpawnerGone),
    };
    // It has said goodbye itself.
    let _ = watched.will().tear();
    Ok(exit)
}

/// Says what isolation is possible on the mounts of `config`, and what it costs.
///
/// # Errors
/// When a mount is not there.
pub fn probe(config: &Config, spawner: &Spawner) -> Result<Probe, Error> {
    startup::check_mounts(config)?;
    let mut probe = Probe::of(config, spawner);
    probe.measure(spawner);
    Ok(probe)
}

fn draw() -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    Ok(id)
}
