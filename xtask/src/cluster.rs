//! A server and its workers on this machine, for as long as the value lives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process::{Daemon, free_port};

/// Names of workers; those after the last get numbers.
const TREES: [&str; 8] = ["ash", "birch", "cedar", "elder", "fir", "hazel", "larch", "maple"];

/// How long a daemon may take to be ready.
const START: Duration = Duration::from_secs(30);

/// The settings that a user's environment could bring in.
const OURS: &str = "DISTCCD_";

/// What a cluster is like.
pub(crate) struct Plan<'a> {
    /// Where the binaries are.
    pub(crate) binaries: &'a Path,
    /// What all of it shares.
    pub(crate) mount: &'a Path,
    /// Where logs go.
    pub(crate) logs: &'a Path,
    /// How many workers.
    pub(crate) workers: usize,
    /// Slots of each.
    pub(crate) slots: usize,
    /// Lines of the server's configuration file.
    pub(crate) server: &'a str,
    /// Where the server writes its journal.
    pub(crate) journal: Option<&'a Path>,
    /// What workers are started by, if anything: a tracer and its arguments.
    pub(crate) worker_under: &'a [String],
}

impl<'a> Plan<'a> {
    /// With a server as it is by default.
    pub(crate) fn new(binaries: &'a Path, mount: &'a Path, logs: &'a Path, workers: usize, slots: usize) -> Self {
        Self { binaries, mount, logs, workers, slots, server: "", journal: None, worker_under: &[] }
    }
}

/// A running cluster. Workers end first, then the server: fields are dropped in order.
pub(crate) struct Cluster {
    workers: Vec<Daemon>,
    server: Daemon,
    names: Vec<String>,
    address: String,
    mount: PathBuf,
    /// A place without launcher settings.
    config_home: PathBuf,
}

impl Cluster {
    /// Starts it and waits until every worker has joined.
    pub(crate) fn start(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = clean(plan, "distccd-server")?;
        command.arg(format!("--server-addr={address}")).arg("--state-dir=off");
        if let Some(journal) = plan.journal {
            command.arg(format!("--journal={}", journal.display()));
        }
        let mut server = Daemon::start(&mut command, &plan.logs.join("server.log"))?;
        server
            .wait_until(START, || std::net::TcpStream::connect(&address).is_ok())
            .context("the server does not come up")?;
        let mut cluster = Self {
            workers: Vec::new(),
            server,
            names: Vec::new(),
            address,
            mount: plan.mount.to_owned(),
            config_home: plan.logs.to_owned(),
        };
        for index in 0..plan.workers {
            cluster.add_worker(plan, index)?;
        }
        let Self { server, names, .. } = &mut cluster;
        let log = plan.logs.join("server.log");
        let joined =
            || std::fs::read_to_string(&log).is_ok_and(|text| text.matches("worker joined").count() >= names.len());
        server.wait_until(START, joined).context("not every worker joined")?;
        cluster.workers.iter_mut().try_for_each(Daemon::check_alive)?;
        Ok(cluster)
    }

    fn add_worker(&mut self, plan: &Plan<'_>, index: usize) -> anyhow::Result<()> {
        let name = worker_name(index);
        let mut command = under(plan.worker_under, clean(plan, "distccd-worker")?);
        command
            .arg(format!("--server-addr={}", self.address))
            .arg(format!("--fs-mount={}", plan.mount.display()))
            .arg(format!("--max-jobs={}", plan.slots))
            .arg(format!("--name={name}"));
        self.workers.push(Daemon::start(&mut command, &plan.logs.join(format!("worker-{name}.log")))?);
        self.names.push(name);
        Ok(())
    }

    /// Names of the workers.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Tells launchers started by `command` where this cluster is, and nothing else that a user's settings may say.
    pub(crate) fn introduce(&self, command: &mut Command) {
        scrub(command);
        command.env("DISTCCD_SERVER_ADDR", &self.address).env("DISTCCD_FS_MOUNT", &self.mount);
        command.env("XDG_CONFIG_HOME", &self.config_home);
    }

    /// An error when one of the daemons has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        self.server.check_alive()?;
        self.workers.iter_mut().try_for_each(Daemon::check_alive)
    }
}

/// What the worker of that number is called.
pub(crate) fn worker_name(index: usize) -> String {
    TREES.get(index).map_or_else(|| format!("worker{index}"), |tree| (*tree).to_owned())
}

/// Takes the user's distccd settings out of what `command` inherits.
pub(crate) fn scrub(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(OURS.as_bytes()) {
            command.env_remove(name);
        }
    }
}

/// The same command, started by another one.
fn under(words: &[String], command: Command) -> Command {
    let Some((program, arguments)) = words.split_first() else { return command };
    let mut tracer = Command::new(program);
    scrub(&mut tracer);
    tracer.args(arguments).arg(command.get_program()).args(command.get_args());
    tracer
}

/// A daemon of ours with none of the user's settings and no configuration file of this machine.
fn clean(plan: &Plan<'_>, program: &str) -> anyhow::Result<Command> {
    let config = plan.logs.join(format!("{program}.toml"));
    let settings = if program == "distccd-server" { plan.server } else { "" };
    std::fs::write(&config, settings).with_context(|| format!("cannot write {}", config.display()))?;
    let mut command = Command::new(plan.binaries.join(program));
    scrub(&mut command);
    command.arg("--config").arg(config);
    Ok(command)
}
