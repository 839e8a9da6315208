//! Workers whose clocks are wrong (faketime(1) moves the time of day and leaves the monotonic clocks alone).

use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::eventually;
use e2e::run::{Seen, run};

/// What `distccd-ctl` shows.
fn ctl(cluster: &Cluster, words: &[&str]) -> Seen {
    let mut command: Command = cluster.command(binaries::path("distccd-ctl"));
    command.current_dir(cluster.mount()).env("DISTCCD_FS_MOUNT", cluster.mount());
    run(command.env("DISTCCD_SERVER_ADDR", cluster.address()).args(words))
}

/// Waits until `workers` says so.
fn await_said(cluster: &Cluster, what: &str) {
    eventually(what, || ctl(cluster, &["workers"]).out().contains(what).then_some(()));
}

/// Compiles something that nobody has compiled yet; what the launcher noted.
fn compile(cluster: &Cluster, name: &str) -> String {
    let dir = cluster.dir(name);
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    let seen = run(cluster.launcher(&dir).args(["--", "gcc", "-c", "a.c"]));
    assert_eq!(seen.exit, 0, "{seen:?}");
    assert!(dir.join("a.o").exists());
    cluster.take_notes()
}

#[test]
fn a_clock_that_is_a_little_off_is_told_of_and_no_reason_to_do_without_the_worker() {
    let mut cluster = Cluster::without_server();
    cluster.start_server_with(&["--heartbeat=100ms", "--lease=10s"]);
    cluster.start_worker_under(&["faketime", "-f", "+5s"], "ash", &["--max-jobs=1"]);

    await_said(&cluster, "ash: its clock is 5.0 s ahead of the server's");

    let _ = cluster.server().wait_for_line("the warning", |line| line.contains("the worker's clock is off"));
    assert!(compile(&cluster, "build").contains("ran on ash"));
    let doctor = ctl(&cluster, &["doctor"]);
    assert!(doctor.exit == 1 && doctor.out().contains("ash: its clock is"), "{doctor:?}");
}

#[test]
fn a_worker_whose_clock_is_off_too_far_gets_no_jobs_and_says_why() {
    let mut cluster = Cluster::without_server();
    cluster.start_server_with(&["--heartbeat=100ms", "--lease=10s"]);
    cluster.start_worker_under(&["faketime", "-f", "-40s"], "ash", &["--max-jobs=1"]);

    await_said(&cluster, "ash: its clock is 40.0 s behind the server's, and it gets no jobs");

    let notes = compile(&cluster, "first");
    assert!(notes.contains("not at the cluster"), "{notes}");
    cluster.start_worker("birch", &["--max-jobs=1"]);
    assert!(compile(&cluster, "second").contains("ran on birch"));
}
