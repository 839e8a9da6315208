//! A server and workers on this machine, around a directory that plays the shared mount.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries;
use crate::daemon::Daemon;

/// A cluster. Its daemons end with it.
pub struct Cluster {
    root: tempfile::TempDir,
    port: u16,
    server: Option<Daemon>,
    workers: BTreeMap<String, Daemon>,
}

impl Cluster {
    /// A server and workers with these names and slots, all attached.
    #[must_use]
    pub fn start(workers: &[(&str, u32)]) -> Self {
        let mut cluster = Self::without_server();
        cluster.start_server();
        for (name, slots) in workers {
            cluster.start_worker(name, &[&format!("--max-jobs={slots}")]);
        }
        cluster
    }

    /// Only a directory, and an address where nobody listens.
    #[must_use]
    pub fn without_server() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["mount", "home", "run", "scratch"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        Self { root, port: free_port(), server: None, workers: BTreeMap::new() }
    }

    /// The directory that plays the shared mount.
    #[must_use]
    pub fn mount(&self) -> PathBuf {
        self.root.path().join("mount")
    }

    /// A new directory on the mount.
    #[must_use]
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.mount().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A directory that is not on the mount.
    #[must_use]
    pub fn private_dir(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Starts the server, again at the same address after a crash.
    pub fn start_server(&mut self) {
        self.start_server_with(&[]);
    }

    /// Starts the server with more flags.
    pub fn start_server_with(&mut self, flags: &[&str]) {
        let mut command = self.command(binaries::path("distccd-server"));
        command.arg(format!("--server-addr={}", self.address()));
        command.arg(format!("--state-dir={}", self.root.path().join("state").display()));
        command.args(flags);
        let server = Daemon::start("distccd-server", &mut command);
        let _ = server.wait_for_line("address", |line| line.contains("serving"));
        self.server = Some(server);
    }

    /// Starts a worker and waits until it is attached.
    pub fn start_worker(&mut self, name: &str, flags: &[&str]) {
        self.start_worker_under(&[], name, flags);
    }

    /// The same by a program that changes something of its own, such as `nice`, and then becomes the worker.
    pub fn start_worker_under(&mut self, wrapper: &[&str], name: &str, flags: &[&str]) {
        let worker = binaries::path("distccd-worker");
        let mut command = self.command(wrapper.first().map_or(worker.as_path(), Path::new));
        if let [_, arguments @ ..] = wrapper {
            command.args(arguments).arg(&worker);
        }
        command.arg(format!("--server-addr={}", self.address()));
        command.arg(format!("--fs-mount={}", self.mount().display()));
        command.arg(format!("--scratch={}", self.root.path().join("scratch").display()));
        command.arg(format!("--name={name}")).args(flags);
        let worker = Daemon::start(name, &mut command);
        self.wait_for_worker(name);
        self.workers.insert(name.to_owned(), worker);
    }

    /// Waits until the present server has seen this worker.
    pub fn wait_for_worker(&self, name: &str) {
        let wanted = format!("name=\"{name}\"");
        let _ = self.server().wait_for_line("worker", |line| line.contains("worker joined") && line.contains(&wanted));
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Daemon {
        self.server.as_ref().expect("the server was started")
    }

    /// The server, to be ended.
    pub fn server_mut(&mut self) -> &mut Daemon {
        self.server.as_mut().expect("the server was started")
    }

    /// A worker.
    pub fn worker(&mut self, name: &str) -> &mut Daemon {
        self.workers.get_mut(name).expect("the worker was started")
    }

    /// A command in the cluster's own environment: nothing of the machine's configuration but the PATH.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let home = self.root.path().join("home");
        command.env_clear().env("PATH", path()).env("LANG", "C.UTF-8").env("HOME", &home);
        command.env("XDG_CONFIG_HOME", home.join(".config")).env("XDG_RUNTIME_DIR", self.root.path().join("run"));
        command.env("RUST_LOG", "info").env("RUST_BACKTRACE", "1");
        command
    }

    /// `cc-launcher` as a user of this cluster has it, with `dir` as its working directory.
    #[must_use]
    pub fn launcher(&self, dir: &Path) -> Command {
        self.launcher_named("cc-launcher", dir)
    }

    /// Either launcher.
    #[must_use]
    pub fn launcher_named(&self, name: &str, dir: &Path) -> Command {
        let mut command = self.command(binaries::path(name));
        command.current_dir(dir).env("DISTCCD_SERVER_ADDR", self.address());
        command.env("DISTCCD_FS_MOUNT", self.mount()).env("DISTCCD_LOG_FILE", self.launcher_log());
        command
    }

    fn launcher_log(&self) -> PathBuf {
        self.root.path().join("launchers.log")
    }

    /// What the launchers noted since notes were last taken.
    #[must_use]
    pub fn notes(&self) -> String {
        std::fs::read_to_string(self.launcher_log()).unwrap_or_default()
    }

    /// What the launchers noted since the last call.
    #[must_use]
    pub fn take_notes(&self) -> String {
        let notes = self.notes();
        // Nothing was noted yet when there is no file.
        let _ = std::fs::remove_file(self.launcher_log());
        notes
    }
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// A loopback port where nobody listens now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
