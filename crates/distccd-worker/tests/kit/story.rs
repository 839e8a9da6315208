//! One worker that isolates its attempts, or works in place, and the directory that plays its shared mount.

#![allow(dead_code, unreachable_pub, reason = "each file of stories uses its own part")]
#![allow(clippy::unwrap_used, reason = "a kit for tests, where an error is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use distccd_worker::config::{Config, IsolationWish};
use proto::v1;
use proto::v1::worker_message::Message;

use crate::kit::*;

pub struct Story {
    pub mount: tempfile::TempDir,
    pub session: Session,
    pub worker: Worker,
    pub server: Server,
}

impl Story {
    /// What an attempt writes is caught until it is published.
    pub async fn isolated() -> Self {
        Self::with(|_| {}).await
    }

    /// What an attempt writes is written.
    pub async fn in_place() -> Self {
        Self::with(|config| config.isolation = IsolationWish::Off).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let mut server = Server::start().await;
        let worker = Worker::start(&server, |config| {
            config.mounts = vec![mount.path().to_owned()];
            config.isolation = IsolationWish::Overlay;
            config.kill_grace = Duration::from_millis(100);
            change(config);
        });
        let session = server.registered().await;
        Self { mount, session, worker, server }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Written by another process: one that is forked here meanwhile would hold the file open for writing.
    pub fn write_program(&self, name: &str, text: &str) {
        let write = ["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"];
        assert!(Command::new("sh").args(write).arg(self.path(name)).arg(text).status().unwrap().success());
    }

    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    pub async fn run(&mut self, script: &str) -> Ended {
        self.session.run(shell(script, self.mount.path())).await
    }

    pub async fn run_command(&mut self, command: v1::Command) -> Ended {
        self.session.run(command).await
    }

    /// Starts a script as attempt 1 and waits until it has printed something.
    pub async fn start(&mut self, script: &str) {
        let command = shell(script, self.mount.path());
        self.session.assign(vec![job(1, command)]).await;
        while !matches!(self.session.next().await, Some(Message::Output(_))) {}
    }

    /// The names in the mount, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.mount.path()).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// The processes with this word on their command lines.
pub fn who_says(word: &str) -> Vec<i32> {
    let said = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        line.split(|byte| *byte == 0).any(|other| other == word.as_bytes()).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(said).collect()
}

/// The nearest ancestor of a process that has this name.
pub fn ancestor(mut pid: i32, name: &str) -> i32 {
    loop {
        assert!(pid > 1, "no ancestor is called {name}");
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap();
        let (head, tail) = stat.rsplit_once(") ").unwrap();
        if head.rsplit_once('(').unwrap().1 == name {
            return pid;
        }
        pid = tail.split(' ').nth(1).unwrap().parse().unwrap();
    }
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
