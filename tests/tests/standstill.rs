//! How long a build stands still when something dies. Leases are an hour here: what goes on, goes on because somebody has
//! proven that it may. The times are printed, and no outcome depends on them.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use e2e::cluster::Cluster;
use e2e::daemon::{PATIENCE, eventually, wait_for_child};
use e2e::gate::{Gate, wait_gone};
use e2e::held_job::HeldJob;
use e2e::run::run;

const LONG_LEASE: &[&str] = &["--lease=1h", "--heartbeat=1s"];

/// A server with leases of an hour that knows whom it welcomed, and a worker with one slot.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    // The very first server knows of nobody before its first lease is over.
    cluster.start_server_with(&["--lease=300ms", "--heartbeat=100ms"]);
    let _ = cluster.server().wait_for_line("complete roster", |line| line.contains("the roster is complete"));
    cluster.server_mut().crash();
    cluster.start_server_with(LONG_LEASE);
    cluster.start_worker("ash", &["--max-jobs=1"]);
    cluster
}

fn source(dir: &Path) {
    std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
}

#[test]
fn the_job_of_a_killed_worker_runs_elsewhere_long_before_the_lease_is_over() {
    let mut job = HeldJob::start(cluster());
    job.cluster.start_worker("birch", &["--max-jobs=1"]);

    let killed = Instant::now();
    job.cluster.worker("ash").crash();
    let _ = job.gate.wait_running(2);
    println!("from kill -9 of the worker to the job's running elsewhere: {:?}", killed.elapsed());

    job.finish_at("birch");
}

#[test]
fn the_job_of_a_worker_that_falls_silent_runs_elsewhere_when_its_lease_is_over() {
    let mut job = HeldJob::start(Cluster::start(&[("ash", 1)]));
    job.cluster.start_worker("birch", &["--max-jobs=1"]);

    // Its connection stands, and nothing comes from it any more.
    let silent = Instant::now();
    job.cluster.worker("ash").signal(libc::SIGSTOP);
    let _ = job.gate.wait_running(2);
    println!(
        "from a worker's silence to the job's running elsewhere, with the default lease of 5 s: {:?}",
        silent.elapsed()
    );

    job.finish_at("birch");
    job.cluster.worker("ash").signal(libc::SIGCONT);
}

#[test]
fn a_build_goes_on_when_the_server_is_back_and_all_of_its_workers_are() {
    let mut cluster = cluster();
    cluster.start_worker("birch", &["--max-jobs=1"]);
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    // All six come in one message. Two run, and of the others nobody can tell the next server anything.
    let mut command = cluster.launcher(&dir);
    command.args(["--batch-size=6", "--jobs-from=-"]).stdin(Stdio::piped());
    let mut launcher = command.spawn().unwrap();
    let mut list = launcher.stdin.take().unwrap();
    for n in 0..6 {
        writeln!(list, "{}\0-c\0a.c\0-o\0{n}.o", gate.compiler().display()).unwrap();
    }
    drop(list);
    let _ = gate.wait_running(2);

    cluster.server_mut().crash();
    cluster.start_server_with(LONG_LEASE);
    let listening = Instant::now();
    gate.open();
    assert!(wait_for_child(&mut launcher, "the launcher").success());

    println!("from the new server's listening to the end of the build: {:?}", listening.elapsed());
    assert_eq!(cluster.take_notes().matches("ran on ").count(), 6);
    assert_eq!(gate.pids().len(), 6, "nothing ran twice");
}

#[test]
fn a_worker_that_was_killed_while_there_was_no_server_is_not_waited_for() {
    let mut job = HeldJob::start(cluster());
    job.cluster.start_worker("birch", &["--max-jobs=1"]);

    job.cluster.server_mut().crash();
    job.cluster.worker("ash").crash();
    job.cluster.start_server_with(LONG_LEASE);
    let listening = Instant::now();
    let _ = job.gate.wait_running(2);
    println!("from the new server's listening to the job's running elsewhere: {:?}", listening.elapsed());

    job.finish_at("birch");
}

#[test]
fn the_job_of_a_killed_launcher_is_cancelled() {
    let mut job = HeldJob::start(cluster());

    let killed = Instant::now();
    job.launcher.kill().unwrap();
    job.launcher.wait().unwrap();
    wait_gone(job.compiler, PATIENCE);

    println!("from kill -9 of the launcher to the compiler's end: {:?}", killed.elapsed());
}

#[test]
fn a_server_that_does_not_answer_costs_its_time_once_and_is_used_again_when_it_does() {
    let cluster = cluster();
    let dir = cluster.dir("build");
    source(&dir);
    let compile = || {
        let mut launcher = cluster.launcher(&dir);
        launcher.env("DISTCCD_CONNECT_TIMEOUT", "300ms").args(["gcc", "-c", "a.c", "-o", "a.o"]);
        let began = Instant::now();
        let seen = run(&mut launcher);
        assert_eq!((seen.exit, seen.err()), (0, String::new()));
        (cluster.take_notes(), began.elapsed())
    };

    cluster.server().signal(libc::SIGSTOP);
    let (first, took) = compile();
    println!("the first job of a stopped server, at a connect_timeout of 300 ms, took {took:?}");
    assert!(first.contains("no answer from the server within"), "{first}");
    let (second, took) = compile();
    println!("the second took {took:?}");
    assert!(second.contains("the server did not answer a moment ago"), "{second}");

    cluster.server().signal(libc::SIGCONT);
    let back = Instant::now();
    eventually("a job at the cluster", || compile().0.contains("ran on ash").then_some(()));
    println!("from the server's return to a job's running there: {:?}", back.elapsed());
    assert!(compile().0.contains("ran on ash"));
}
