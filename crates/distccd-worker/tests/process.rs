//! The real program: signals, exit codes, and what is left when it is killed.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use kit::*;
use proto::v1::FailureKind;
use proto::v1::worker_message::Message;
use rustix::process::{Pid, Signal, kill_process};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_distccd-worker"));
    command.env_remove("DISTCCD_LOG").env_remove("RUST_LOG").arg("--config=/dev/null").stdin(Stdio::null());
    command
}

/// Killed with the test.
struct Daemon(Child);

impl Daemon {
    fn start(server: &Server) -> Self {
        let mut command = program();
        command.arg(format!("--server-addr={}", server.addr)).args(["--fs-mount=/", "--name=ash", "--max-jobs=1"]);
        Self(command.args(["--allowed-tools=sh", "--kill-grace=100ms"]).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn exit_code(mut self) -> Option<i32> {
        let mut status = None;
        eventually("the worker ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process with a child in the background; both say who they are.
fn family(dir: &Path) -> proto::v1::Command {
    shell("echo $$ > leader; sleep 1000 & echo $! > grandchild; wait", dir)
}

#[tokio::test]
async fn a_worker_killed_with_nine_leaves_nothing_running() {
    let mut server = Server::start().await;
    let mut daemon = Daemon::start(&server);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, family(dir.path()))]).await;
    let leader = pid_in(&dir.path().join("leader")).await;
    let grandchild = pid_in(&dir.path().join("grandchild")).await;
    assert!(runs(leader) && runs(grandchild));
    let spawner = spawner_of(daemon.0.id());

    daemon.signal(Signal::KILL);

    eventually("leader and grandchild are gone", || !runs(leader) && !runs(grandchild)).await;
    eventually("the spawner has gone after them", || !runs(spawner)).await;
    assert_eq!(daemon.0.wait().unwrap().signal(), Some(9));
}

#[tokio::test]
async fn a_worker_whose_spawner_is_killed_ends_and_says_so_and_leaves_nothing_running() {
    let mut server = Server::start().await;
    let daemon = Daemon::start(&server);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, family(dir.path()))]).await;
    let leader = pid_in(&dir.path().join("leader")).await;
    let grandchild = pid_in(&dir.path().join("grandchild")).await;

    kill_process(Pid::from_raw(spawner_of(daemon.0.id())).unwrap(), Signal::KILL).unwrap();

    assert_eq!(daemon.exit_code().await, Some(71));
    eventually("leader and grandchild are gone", || !runs(leader) && !runs(grandchild)).await;
}

/// The spawner of a worker: its child of that name.
fn spawner_of(worker: u32) -> i32 {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        let name = std::fs::read(entry.path().join("cmdline")).ok()?;
        (parent == worker && name == b"distccd-spawner\0").then_some(pid)
    });
    children.last().expect("there is a spawner")
}

#[tokio::test]
async fn a_spawner_outlives_what_ends_the_worker() {
    let mut server = Server::start().await;
    let daemon = Daemon::start(&server);
    let mut session = server.registered().await;
    let spawner = spawner_of(daemon.0.id());
    let group = Pid::from_raw(spawner).unwrap();

    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(group, signal).unwrap();
    }
    // A whole command later it still lives.
    assert_eq!(session.run(shell("true", Path::new("/"))).await.code(), 0);
    assert!(runs(spawner));

    drop(session);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit_code().await, Some(0));
    eventually("the spawner follows the worker", || !runs(spawner)).await;
}

#[tokio::test]
async fn term_drains_and_a_second_one_kills() {
    let mut server = Server::start().await;
    let daemon = Daemon::start(&server);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, family(dir.path())), job(2, shell("true", dir.path()))]).await;
    session.started(&attempt(1)).await;
    let grandchild = pid_in(&dir.path().join("grandchild")).await;

    daemon.signal(Signal::TERM);
    assert!(matches!(session.next().await, Some(Message::Draining(_))));
    assert_eq!(session.finished(&attempt(2)).await.failure().0, FailureKind::HandedBack);
    assert!(runs(grandchild), "what runs may finish");
    daemon.signal(Signal::TERM);

    assert_eq!(session.finished(&attempt(1)).await.failure().0, FailureKind::WorkerLost);
    session.acknowledge(&attempt(1)).await;
    session.acknowledge(&attempt(2)).await;
    assert!(matches!(session.next().await, Some(Message::Goodbye(_))));
    drop(session);
    assert_eq!(daemon.exit_code().await, Some(0));
    assert!(!runs(grandchild));
}

#[tokio::test]
async fn a_drain_without_a_server_ends_too() {
    let server = Server::start().await;
    let addr = server.addr;
    server.stop().await;
    let mut command = program();
    command.arg(format!("--server-addr={addr}")).arg("--fs-mount=/").stderr(Stdio::piped());
    let mut daemon = Daemon(command.spawn().unwrap());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(daemon.0.stderr.take().unwrap()));
    let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("cannot reach the server")));
    assert!(said.is_some());
    let rest = std::thread::spawn(move || lines.for_each(|line| assert!(!line.unwrap().contains('\x1b'), "colours")));

    daemon.signal(Signal::TERM);

    assert_eq!(daemon.exit_code().await, Some(0));
    rest.join().unwrap();
}

#[tokio::test]
async fn a_hangup_looks_for_toolchains_again_and_ends_nothing() {
    let mut server = Server::start().await;
    let mut command = program();
    command.arg(format!("--server-addr={}", server.addr)).args(["--fs-mount=/", "--allowed-tools=sh"]);
    let mut daemon = Daemon(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(daemon.0.stderr.take().unwrap()));
    let mut session = server.registered().await;

    daemon.signal(Signal::HUP);

    let looked = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("looked for toolchains again")));
    assert!(looked.is_some());
    let rest = std::thread::spawn(move || lines.for_each(drop));
    assert_eq!(session.run(shell("true", Path::new("/"))).await.code(), 0);
    drop(daemon);
    rest.join().unwrap();
}

#[tokio::test]
async fn a_compiler_that_is_replaced_under_its_feet_runs_nothing_until_it_is_known_again() {
    let mut server = Server::start().await;
    let (bin, mount) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gcc = bin.path().join("gcc-9");
    // Written by another process: one that is forked here meanwhile would hold the file open for writing.
    let install = |says: &str| {
        let script = "printf '#!/bin/sh\\necho %s\\n' $2 > $1.new && chmod 755 $1.new && mv $1.new $1";
        assert!(Command::new("sh").args(["-c", script, "sh"]).arg(&gcc).arg(says).status().unwrap().success());
    };
    install("one");
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let mut daemon = program();
    daemon.arg(format!("--server-addr={}", server.addr)).arg(format!("--fs-mount={}", mount.path().display()));
    let _daemon = Daemon(daemon.args(["--name=ash", "--max-jobs=1"]).env("PATH", path).spawn().unwrap());
    let mut session = server.registered().await;
    let compile = || command(gcc.to_str().unwrap(), &[b"gcc-9"], mount.path());
    assert_eq!(session.run(compile()).await.stdout, b"one\n");

    install("two");
    let (kind, detail) = session.run(compile()).await.failure();

    assert_eq!(kind, FailureKind::SpawnFailed);
    assert!(detail.contains("gcc-9 was replaced"), "{detail}");
    let mut session = server.registered().await;
    assert!(session.register.toolchains.iter().any(|tool| tool.version == "two"));
    assert_eq!(session.run(compile()).await.stdout, b"two\n");
}

fn refused(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = program();
    command.args(args).envs(variables.iter().copied());
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn bad_input_is_one_line_each_and_says_the_remedy() {
    let (code, text) = refused(&["--max-jobs=many", "--dir-report-interval=5"], &[("DISTCCD_SERVER_ADDR", "nowhere")]);
    assert_eq!(code, Some(64));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("flag: `--max-jobs`: `many` must be a whole number from 1 to 4096, or `auto`"), "{text}");
    assert!(text.contains("environment: `DISTCCD_SERVER_ADDR`: `nowhere` must be HOST:PORT"), "{text}");

    let (code, text) = refused(&["--fs-mount=/nonexistent"], &[]);
    assert_eq!((code, text.lines().count()), (Some(78), 1), "{text}");
    assert!(text.contains("/nonexistent") && text.contains("--fs-mount"), "{text}");

    let (code, text) = refused(&["--config=/nonexistent.toml"], &[]);
    assert_eq!((code, text.lines().count()), (Some(78), 1), "{text}");

    assert_eq!(refused(&["--nonsense"], &[]).0, Some(64));
    assert_eq!(refused(&["--server-addr=elsewhere.example:1"], &[]).0, Some(64));
}

#[test]
fn a_file_with_several_mistakes_is_told_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.toml");
    std::fs::write(&file, "max_jobs = 0\nfs_mounts = \"/x\"\nkill_grace = 2\n").unwrap();

    let (code, text) = refused(&[&format!("--config={}", file.display())], &[]);

    assert_eq!((code, text.lines().count()), (Some(78), 3), "{text}");
    for key in ["max_jobs", "fs_mounts", "kill_grace"] {
        assert!(text.contains(&format!("{}: `{key}`: ", file.display())), "{text}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_not_overlooked() {
    let mut command = program();
    command.env("DISTCCD_FS_MOUNT", std::ffi::OsStr::from_bytes(b"/mnt/caf\xe9"));

    let Output { status, stderr, .. } = command.output().unwrap();

    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(78), "{text}");
    assert!(text.contains("DISTCCD_FS_MOUNT") && text.contains("must be UTF-8"), "{text}");
}

#[test]
fn the_configuration_is_printed_with_where_it_comes_from() {
    let mut command = program();
    let Output { status, stdout, .. } =
        command.args(["--print-config", "--max-output=64KiB"]).env("DISTCCD_NAME", "ash").output().unwrap();

    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0));
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert!(line("max_output").starts_with("max_output = \"64KiB\" "), "{text}");
    assert!(
        line("max_output").ends_with("# flag --max-output") && line("name").ends_with("# environment DISTCCD_NAME")
    );
    assert!(line("kill_grace").ends_with("# default"), "{text}");
}
