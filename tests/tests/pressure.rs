//! More jobs than the server keeps for one user: launchers wait, builds do not fall back on the machine they began on.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use e2e::cluster::Cluster;
use e2e::daemon::{eventually, wait_for_child};
use e2e::gate::Gate;
use e2e::run::start;

/// A worker with one slot, and a server at which one job of a user may wait.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    let file = cluster.private_dir().join("server.toml");
    std::fs::write(&file, "max_queued_per_user = 1\nask_again = '50ms'\nprefetch = 0\n").unwrap();
    cluster.start_server_with(&[&format!("--config={}", file.display())]);
    cluster.start_worker("ash", &["--max-jobs=1"]);
    cluster
}

fn source(dir: &Path) {
    std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
}

/// Waits until so many jobs have been told to wait.
fn wait_for_waiters(cluster: &Cluster, count: usize) {
    eventually("notes of waiting launchers", || {
        (cluster.notes().matches("asking again in").count() >= count).then_some(())
    });
}

#[test]
fn launchers_beyond_a_users_limit_wait_for_the_cluster() {
    let cluster = cluster();
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    let mut launchers: Vec<Child> = (0..6)
        .map(|n| {
            let mut command = cluster.launcher(&dir);
            start(command.arg("--fallback=never").arg(gate.compiler()).args(["-c", "a.c", "-o"]).arg(format!("{n}.o")))
        })
        .collect();

    wait_for_waiters(&cluster, 4);
    gate.open();

    for launcher in &mut launchers {
        assert!(wait_for_child(launcher, "a launcher").success());
    }
    let notes = cluster.take_notes();
    assert_eq!(notes.matches("ran on ash").count(), 6, "{notes}");
}

#[test]
fn a_list_beyond_a_users_limit_waits_for_the_cluster() {
    let cluster = cluster();
    let dir = cluster.dir("build");
    source(&dir);
    let gate = Gate::new(&dir);
    let mut command = cluster.launcher(&dir);
    command.args(["--fallback=never", "--jobs-from=-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut launcher = command.spawn().unwrap();
    let mut list = launcher.stdin.take().unwrap();
    for n in 0..6 {
        writeln!(list, "{}\0-c\0a.c\0-o\0{n}.o", gate.compiler().display()).unwrap();
    }
    drop(list);

    wait_for_waiters(&cluster, 4);
    gate.open();

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    let notes = cluster.take_notes();
    assert_eq!(notes.matches("ran on ash").count(), 6, "{notes}");
}
