//! Joining by mounting: whoever has the mount finds the server by it, and a machine that has something else there is given
//! nothing.

use std::path::Path;
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::{Daemon, eventually};
use e2e::run::run;

/// A server that publishes itself on the cluster's mount.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    serve(&mut cluster);
    cluster
}

fn serve(cluster: &mut Cluster) {
    let mount = format!("--fs-mount={}", cluster.mount().display());
    cluster.start_server_with(&[&mount]);
}

/// A worker that is told where the mount is, and nothing else of the cluster.
fn worker(cluster: &Cluster, name: &str) -> Daemon {
    let mut command = cluster.command(binaries::path("distccd-worker"));
    command.arg(format!("--fs-mount={}", cluster.mount().display())).arg(format!("--name={name}"));
    Daemon::start(name, command.arg(format!("--scratch={}", cluster.private_dir().display())))
}

/// A compile below the mount by a launcher that is told where the mount is, and these flags; what it noted.
fn compile(cluster: &Cluster, flags: &[&str]) -> String {
    let dir = cluster.dir("build");
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    let mut launcher = cluster.launcher(&dir);
    launcher.env_remove("DISTCCD_SERVER_ADDR");
    let seen = run(launcher.args(flags).args(["--", "gcc", "-c", "a.c"]));
    assert_eq!((seen.exit, seen.err().as_str()), (0, ""), "{seen:?}");
    assert!(dir.join("a.o").exists());
    cluster.take_notes()
}

fn cluster_file(cluster: &Cluster) -> std::path::PathBuf {
    cluster.mount().join(".distccd/cluster.toml")
}

#[test]
fn a_launcher_and_a_worker_need_the_mount_and_nothing_else() {
    let cluster = cluster();
    let _worker = worker(&cluster, "ash");
    cluster.wait_for_worker("ash");

    let notes = compile(&cluster, &[]);

    assert!(notes.contains("ran on ash"), "{notes}");
    let mut launcher = cluster.launcher(&cluster.dir("build"));
    let said = run(launcher.env_remove("DISTCCD_SERVER_ADDR").args(["--explain", "--", "gcc", "-c", "a.c"])).out();
    let file = cluster_file(&cluster).display().to_string();
    assert!(said.contains(&format!("{}, by {file}", cluster.address())), "{said}");
}

#[test]
fn what_is_set_wins_over_what_the_mount_says() {
    let cluster = cluster();
    let _worker = worker(&cluster, "ash");
    cluster.wait_for_worker("ash");

    // Nobody listens on that port.
    let notes = compile(&cluster, &["--server-addr=localhost:1"]);

    assert!(notes.contains("not at the cluster"), "{notes}");
}

#[test]
fn a_file_that_cannot_be_believed_is_named_and_passed_over() {
    let cluster = cluster();
    let good = std::fs::read_to_string(cluster_file(&cluster)).unwrap();
    let host = good.lines().find(|line| line.starts_with("host = ")).unwrap();
    // Whoever runs the tests of CI is root, who alone can give files away.
    assert_eq!(uid(), 0, "this story needs root");

    for (bad, why) in [
        ("certainly not TOML".to_owned(), "it is not TOML"),
        (good.replacen("format = 1", "format = 2", 1), "format 2"),
        (good.replacen("protocol = \"1.", "protocol = \"7.", 1), "protocol 7"),
        (good.replacen(host, "host = \"elsewhere\"", 1), "elsewhere alone"),
    ] {
        std::fs::write(cluster_file(&cluster), bad).unwrap();

        let notes = compile(&cluster, &[]);

        assert!(notes.contains("cluster.toml is passed over") && notes.contains(why), "{why}: {notes}");
    }
    std::fs::write(cluster_file(&cluster), good).unwrap();
    std::os::unix::fs::chown(cluster_file(&cluster), Some(4711), None).unwrap();
    let notes = compile(&cluster, &[]);
    assert!(notes.contains("belongs to user 4711"), "{notes}");
    assert!(!compile(&cluster, &["--service-user=4711"]).contains("passed over"));
}

#[test]
fn a_file_that_points_to_nowhere_costs_the_cluster_and_not_the_build() {
    let mut cluster = cluster();
    cluster.server_mut().crash();
    assert!(cluster_file(&cluster).exists());

    let notes = compile(&cluster, &[]);

    assert!(notes.contains("not at the cluster"), "{notes}");
}

#[test]
fn a_server_that_moves_is_found_where_it_is_now() {
    let mut first = cluster();
    let worker = worker(&first, "ash");
    first.wait_for_worker("ash");
    first.server_mut().crash();

    let mut command = first.command(binaries::path("distccd-server"));
    command.args(["--server-addr=localhost:0", "--state-dir=off"]);
    let second = Daemon::start("second", command.arg(format!("--fs-mount={}", first.mount().display())));

    let _ = second.wait_for_line("worker", |line| line.contains("worker joined"));
    let notes = compile(&first, &[]);
    assert!(notes.contains("ran on ash"), "{notes}\n{}", worker.log());
}

#[test]
fn another_filesystem_at_the_same_path_gets_no_jobs_until_it_is_gone() {
    assert_eq!(uid(), 0, "this story needs root, for a mount namespace");
    let mut cluster = cluster();
    let mount = cluster.mount().display().to_string();
    // Its own mount over the shared one, which nobody else sees.
    let cover = format!("mount -t tmpfs tmpfs '{mount}' && exec \"$@\"");
    cluster.start_worker_under(&["unshare", "--mount", "sh", "-c", &cover, "sh"], "ash", &[]);
    let _ = cluster.server().wait_for_line("reason", |line| line.contains("is not the server's filesystem"));
    let pid = cluster.worker("ash").pid();
    let _ = cluster.worker("ash").wait_for_line("reason", |line| line.contains("gives no jobs of this mount"));
    let notes = compile(&cluster, &[]);
    assert!(notes.contains("no worker has the shared mount"), "{notes}");

    uncover(pid, &cluster.mount());

    let _ = cluster.worker("ash").wait_for_lines("mounts", 2, |line| line.contains("the mount is there"));
    let ran = eventually("a job on it", || compile(&cluster, &[]).contains("ran on ash").then_some(true));
    assert!(ran);
}

fn uncover(pid: u32, mount: &Path) {
    let mut command = Command::new("nsenter");
    let status = command.arg("-m").arg("-t").arg(pid.to_string()).arg("umount").arg("-l").arg(mount).status();
    assert!(status.unwrap().success());
}

fn uid() -> u32 {
    // SAFETY: it cannot fail and touches nothing.
    unsafe { libc::geteuid() }
}
