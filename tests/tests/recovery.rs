//! Machines fail, builds do not.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use e2e::cluster::Cluster;
use e2e::daemon::{eventually, wait_for_child};
use e2e::gate::{Gate, wait_gone};
use e2e::held_job::HeldJob;
use e2e::run::{run, start};

fn source(dir: &Path) {
    std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
}

fn all_succeed(launchers: &mut [Child]) {
    launchers.iter_mut().for_each(|launcher| assert!(wait_for_child(launcher, "a launcher").success()));
}

/// What the compiler makes of the source when nobody is between.
fn expected(cluster: &Cluster, dir: &Path) -> Vec<u8> {
    let direct = run(cluster.command("gcc").current_dir(dir).args(["-c", "a.c", "-o", "direct.o"]));
    assert_eq!(direct.exit, 0, "{direct:?}");
    std::fs::read(dir.join("direct.o")).unwrap()
}

#[test]
fn a_job_of_a_worker_that_was_killed_is_done_by_another() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 1)]));
    job.cluster.start_worker("birch", &["--max-jobs=1"]);

    job.cluster.worker("ash").crash();

    wait_gone(job.compiler, Duration::from_secs(10));
    let _ = job.gate.wait_running(2);
    job.finish_at("birch");
}

#[test]
fn a_job_outlives_the_server_that_gave_it_away() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 1)]));

    job.cluster.server_mut().crash();
    job.cluster.start_server();
    job.cluster.wait_for_worker("ash");

    job.finish_at("ash");
    assert_eq!(job.gate.pids().len(), 1, "the attempt was adopted, not repeated");
}

#[test]
fn what_jobs_took_is_known_to_the_next_server() {
    let mut cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    let entries = |cluster: &Cluster| {
        let line = cluster.server().wait_for_line("history", |line| line.contains("history read"));
        line.rsplit_once("entries=").expect("it is counted").1.trim().parse::<u32>().unwrap()
    };
    assert_eq!(entries(&cluster), 0);
    let seen = run(cluster.launcher(&dir).args(["gcc", "-c", "a.c", "-o", "a.o"]));
    assert!(seen.exit == 0 && cluster.take_notes().contains("ran on ash"), "{seen:?}");

    cluster.server_mut().signal(libc::SIGTERM);
    assert!(cluster.server_mut().wait().success());
    cluster.start_server();

    // By its output and its directory at least.
    assert!(entries(&cluster) >= 2, "{}", cluster.server().log());
}

#[test]
fn what_adds_to_a_file_adds_once_though_its_outcome_is_lost() {
    let mut cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    assert_eq!(run(cluster.command("gcc").current_dir(&dir).args(["-c", "a.c"])).exit, 0);
    let gate = Gate::new_for(&dir, "ar");
    let mut launcher = start(cluster.launcher(&dir).arg(gate.compiler()).args(["qc", "lib.a", "a.o"]));
    let _ = gate.wait_running(1);

    // The attempt is published under its lease, and all who know of it die.
    cluster.server_mut().crash();
    gate.open();
    eventually("the archive is published", || dir.join("lib.a").exists().then_some(()));
    cluster.worker("ash").crash();
    cluster.start_server();

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    let listed = run(cluster.command("ar").current_dir(&dir).args(["t", "lib.a"]));
    assert_eq!(listed.out(), "a.o\n", "{}", cluster.take_notes());
    assert!(cluster.take_notes().contains("1 outputs of an attempt without an outcome are undone"));
}

#[test]
fn without_a_server_the_command_runs_here() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    source(&dir);

    let seen = run(cluster.launcher(&dir).args(["gcc", "-c", "a.c", "-o", "a.o"]));

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert_eq!(std::fs::read(dir.join("a.o")).unwrap(), expected(&cluster, &dir));
    assert!(cluster.take_notes().contains("not at the cluster: no connection"));
}

#[test]
fn without_a_server_and_without_fallback_it_is_an_error_that_says_so() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    source(&dir);

    let seen = run(cluster.launcher(&dir).args(["--fallback=never", "gcc", "-c", "a.c"]));

    assert_eq!(seen.exit, 69);
    assert!(seen.err().contains("no connection to the server") && seen.err().lines().count() == 1, "{seen:?}");
}

#[test]
fn with_no_worker_for_it_the_command_runs_here() {
    let mut cluster = Cluster::without_server();
    cluster.start_server();
    let dir = cluster.dir("build");
    source(&dir);

    let seen = run(cluster.launcher(&dir).args(["gcc", "-c", "a.c", "-o", "a.o"]));

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(cluster.take_notes().contains("no worker is attached"));
}

#[test]
fn a_draining_worker_finishes_what_it_has_and_leaves() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 1)]));

    job.cluster.worker("ash").signal(libc::SIGTERM);

    job.finish_at("ash");
    assert_eq!(job.cluster.worker("ash").wait().code(), Some(0));
}

#[test]
fn a_stopping_server_lets_running_jobs_finish_and_sends_waiting_ones_home() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 1)]));
    let mut waiting = start(job.cluster.launcher(&job.dir).args(["gcc", "-c", "a.c", "-o", "b.o"]));

    job.cluster.server().signal(libc::SIGTERM);

    assert!(wait_for_child(&mut waiting, "the waiting launcher").success());
    assert!(job.dir.join("b.o").exists() && !job.dir.join("a.o").exists());
    job.finish_at("ash");
    assert_eq!(job.cluster.server_mut().wait().code(), Some(0));
}

#[test]
fn an_interrupted_launcher_takes_its_compiler_with_it() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 2)]));

    e2e::daemon::signal_process(job.launcher.id(), libc::SIGINT);

    wait_gone(job.compiler, Duration::from_secs(2));
    let status = wait_for_child(&mut job.launcher, "the launcher");
    assert_eq!(status.signal(), Some(libc::SIGINT));
    assert!(!job.dir.join("a.o").exists());
}

#[test]
fn a_launcher_that_is_killed_takes_its_compiler_with_it() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 2)]));

    job.launcher.kill().unwrap();
    job.launcher.wait().unwrap();

    wait_gone(job.compiler, Duration::from_secs(4));
}

#[test]
fn a_command_that_dies_of_a_signal_makes_the_launcher_die_of_it() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    e2e::gate::write_executable(&dir.join("gcc"), "#!/bin/sh\necho gone >&2\nkill -SEGV $$\n");

    let seen = run(cluster.launcher(&dir).args(["./gcc", "-c", "a.c"]));

    assert_eq!((seen.exit, seen.err().as_str()), (-libc::SIGSEGV, "gone\n"));
    assert!(cluster.take_notes().contains("ran on ash"));
}

#[test]
fn a_failed_compile_is_an_outcome_and_is_not_tried_again() {
    let cluster = Cluster::start(&[("ash", 1), ("birch", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    e2e::gate::write_executable(&dir.join("gcc"), "#!/bin/sh\necho once >> runs\nexit 3\n");

    let seen = run(cluster.launcher(&dir).args(["./gcc", "-c", "a.c"]));

    assert_eq!(seen.exit, 3);
    assert_eq!(std::fs::read_to_string(dir.join("runs")).unwrap(), "once\n");
}

#[test]
fn many_jobs_survive_the_loss_of_server_and_worker_together() {
    let mut cluster = Cluster::start(&[("ash", 2), ("birch", 2)]);
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    let mut launchers: Vec<Child> = (0..12)
        .map(|n| start(cluster.launcher(&dir).arg(gate.compiler()).args(["-c", "a.c", "-o"]).arg(format!("{n}.o"))))
        .collect();
    let _ = gate.wait_running(4);

    cluster.worker("ash").crash();
    cluster.server_mut().crash();
    cluster.start_server();
    cluster.wait_for_worker("birch");
    gate.open();

    all_succeed(&mut launchers);
    let expected = expected(&cluster, &dir);
    for n in 0..12 {
        assert_eq!(std::fs::read(dir.join(format!("{n}.o"))).unwrap(), expected);
    }
}

#[test]
fn a_local_run_is_throttled_over_all_launchers() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    let mut launchers: Vec<Child> = (0..6)
        .map(|n| {
            let mut command = cluster.launcher(&dir);
            command.arg("--local-slots=2").arg(gate.compiler()).args(["-c", "a.c", "-o"]).arg(format!("{n}.o"));
            start(&mut command)
        })
        .collect();
    let _ = gate.wait_running(2);
    // All six have noted that there is no cluster, and only two of them run.
    eventually("notes of all launchers", || (cluster.notes().lines().count() == 6).then_some(()));

    assert_eq!(gate.pids().len(), 2);

    gate.open();
    all_succeed(&mut launchers);
}

#[test]
fn without_memory_for_more_local_runs_go_one_at_a_time() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    let mut launchers: Vec<Child> = (0..3)
        .map(|n| {
            let mut command = cluster.launcher(&dir);
            command.args(["--local-slots=3", "--local-memory=1000TiB"]).arg(gate.compiler());
            start(command.args(["-c", "a.c", "-o"]).arg(format!("{n}.o")))
        })
        .collect();
    let _ = gate.wait_running(1);
    eventually("notes of all launchers", || (cluster.notes().lines().count() == 3).then_some(()));

    assert_eq!(gate.pids().len(), 1);

    gate.open();
    all_succeed(&mut launchers);
}
