//! The server, the workers and the client on hosts that share one filesystem.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::hosts::{Hosts, mount_tmpfs};
use crate::chaos::network::address;
use crate::cluster;
use crate::process::Daemon;

const PORT: u16 = 50051;
/// The host of the server and of whoever builds, then those of the workers; behind them may be the filesystem's own.
pub(super) const HOME: usize = 0;
pub(super) const WORKERS: usize = 3;
/// Hosts that have the filesystem mounted.
pub(super) const CLIENTS: usize = 1 + WORKERS;

/// How long a daemon may take to be ready, on a machine that is busy.
const START: Duration = Duration::from_secs(60);

/// What a fleet is like.
pub(super) struct Plan<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) binaries: &'a Path,
    pub(super) mount: &'a Path,
    /// Where logs and scratches go.
    pub(super) run: &'a Path,
    /// Slots of each worker.
    pub(super) slots: usize,
    /// Lines of the workers' configuration file.
    pub(super) worker: &'a str,
}

/// It runs as long as this lives. Workers end first, then the server: fields are dropped in order.
pub(super) struct Fleet {
    workers: Vec<Option<Daemon>>,
    _server: Daemon,
    introduction: Introduction,
}

/// What a launcher has to be told.
#[derive(Clone)]
pub(super) struct Introduction {
    /// The server's address.
    pub(super) server: String,
    pub(super) mount: PathBuf,
    /// A place without launcher settings.
    pub(super) run: PathBuf,
}

impl Fleet {
    /// Starts it and waits until every worker has joined.
    pub(super) fn start(plan: &Plan<'_>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(plan.run).with_context(|| format!("cannot make {}", plan.run.display()))?;
        let mut server = command(plan, "distccd-server", "")?;
        server.arg("--state-dir=off");
        plan.hosts.place(HOME, &mut server)?;
        let mut server = Daemon::start(&mut server, &plan.run.join("server.log"))?;
        let workers =
            (0..WORKERS).map(|index| start_worker(plan, index).map(Some)).collect::<anyhow::Result<Vec<_>>>()?;
        let log = server.log().to_owned();
        let joined =
            || std::fs::read_to_string(&log).is_ok_and(|text| text.matches("worker joined").count() >= WORKERS);
        server.wait_until(START, joined).context("not every worker joined")?;
        let introduction =
            Introduction { server: server_address(), mount: plan.mount.to_owned(), run: plan.run.to_owned() };
        Ok(Self { workers, _server: server, introduction })
    }

    /// For launchers on [`HOME`].
    pub(super) fn introduction(&self) -> Introduction {
        self.introduction.clone()
    }

    /// A worker's host ends, with all that runs on it: nobody says goodbye, and nobody is told.
    pub(super) fn lose(&mut self, hosts: &Hosts, index: usize) -> anyhow::Result<()> {
        let host = worker_host(index);
        hosts.network.cut(host)?;
        hosts.network.signal_all(host, libc::SIGKILL)?;
        if let Some(daemon) = self.workers[index].take() {
            daemon.kill();
        }
        Ok(())
    }
}

impl Introduction {
    /// Tells launchers started by `command` where the fleet is, and nothing else that a user's settings may say.
    pub(super) fn give(&self, command: &mut Command) {
        cluster::scrub(command);
        command.env("DISTCCD_SERVER_ADDR", &self.server).env("DISTCCD_FS_MOUNT", &self.mount);
        command.env("XDG_CONFIG_HOME", &self.run).env("XDG_RUNTIME_DIR", &self.run);
    }
}

/// The host of a worker.
pub(super) fn worker_host(index: usize) -> usize {
    HOME + 1 + index
}

/// What every host needs before anything is mounted or started: a scratch for its worker.
pub(super) fn prepare_host(run: &Path, host: usize) -> anyhow::Result<()> {
    let scratch = scratch(run, host);
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    mount_tmpfs(&scratch)
}

fn scratch(run: &Path, host: usize) -> PathBuf {
    run.join(format!("scratch-{host}"))
}

fn server_address() -> String {
    format!("{}:{PORT}", address(HOME))
}

fn start_worker(plan: &Plan<'_>, index: usize) -> anyhow::Result<Daemon> {
    let (name, host) = (cluster::worker_name(index), worker_host(index));
    let mut worker = command(plan, "distccd-worker", plan.worker)?;
    worker
        .arg(format!("--name={name}"))
        .arg(format!("--max-jobs={}", plan.slots))
        .arg(format!("--scratch={}", scratch(plan.run, host).display()));
    plan.hosts.place(host, &mut worker)?;
    Daemon::start(&mut worker, &plan.run.join(format!("{name}.log")))
}

fn command(plan: &Plan<'_>, program: &str, settings: &str) -> anyhow::Result<Command> {
    let config = plan.run.join(format!("{program}.toml"));
    std::fs::write(&config, settings).with_context(|| format!("cannot write {}", config.display()))?;
    let mut command = Command::new(plan.binaries.join(program));
    cluster::scrub(&mut command);
    command.arg("--config").arg(config);
    command.arg(format!("--server-addr={}", server_address())).arg("--insecure");
    command.arg(format!("--fs-mount={}", plan.mount.display()));
    Ok(command)
}
