//! What befalls a worker's machine in the middle of a job: the build has what it would have had, and the reason is said.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::eventually;
use e2e::gate::write_executable;
use e2e::held_job::HeldJob;
use e2e::run::run;

/// A server that publishes itself on the mount, with this heartbeat.
fn cluster(heartbeat: &str) -> Cluster {
    let mut cluster = Cluster::without_server();
    let mount = format!("--fs-mount={}", cluster.mount().display());
    cluster.start_server_with(&[&mount, "--lease=10s", &format!("--heartbeat={heartbeat}")]);
    cluster
}

fn compile(cluster: &Cluster, name: &str) -> String {
    let dir = cluster.dir(name);
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    let seen = run(cluster.launcher(&dir).args(["gcc", "-c", "a.c"]));
    assert_eq!(seen.exit, 0, "{seen:?}");
    cluster.take_notes()
}

fn need_root() {
    // SAFETY: it cannot fail and touches nothing.
    assert_eq!(unsafe { libc::geteuid() }, 0, "this story needs root, for a mount namespace");
}

fn in_mounts_of(pid: u32, command: &[&str]) {
    let mut nsenter = Command::new("nsenter");
    let status = nsenter.args(["-m", "-t", &pid.to_string()]).args(command).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_mount_that_goes_away_under_a_job_costs_the_worker_its_jobs_and_the_build_nothing() {
    need_root();
    let mut cluster = cluster("1s");
    let mount = cluster.mount();
    // The shared filesystem over an empty mount point, which nobody else sees.
    let cover = format!(
        "exec 3<'{0}' && mount -t tmpfs empty '{0}' && mount --no-canonicalize --bind /proc/self/fd/3 '{0}' && exec 3<&- && exec \"$@\"",
        mount.display()
    );
    cluster.start_worker_under(&["unshare", "--mount", "sh", "-c", &cover, "sh"], "ash", &["--max-jobs=1"]);
    let mut job = HeldJob::start(cluster);
    job.cluster.start_worker("birch", &["--max-jobs=1"]);

    in_mounts_of(job.cluster.worker("ash").pid(), &["umount", "-l", &mount.display().to_string()]);
    let _ = job.cluster.server().wait_for_line("the reason", |line| line.contains("is not the server's filesystem"));

    let notes = job.finish();
    assert!(notes.contains("ran on ") && !notes.contains("not at the cluster"), "{notes}");
    let notes = compile(&job.cluster, "later");
    assert!(notes.contains("ran on birch"), "{notes}");
}

/// A compiler that first makes so many files beside its output.
fn compile_with(cluster: &Cluster, name: &str, files: usize) -> (PathBuf, String) {
    let dir = cluster.dir(name);
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    let script = format!(
        "#!/bin/sh\nmkdir -p files; number=0\nwhile [ $number -lt {files} ]; do : > files/$number; number=$((number + 1)); \
         done\nexec gcc \"$@\"\n"
    );
    write_executable(&dir.join("gcc"), &script);
    let seen = run(cluster.launcher(&dir).args(["./gcc", "-c", "a.c", "-o", "a.o"]));
    assert_eq!(seen.exit, 0, "{seen:?}");
    assert!(dir.join("a.o").exists());
    (dir, cluster.take_notes())
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn many_files_of_one_command_are_published_and_too_many_are_refused_by_number() {
    let mut cluster = cluster("1s");
    cluster.start_worker("ash", &["--max-jobs=1", "--isolation=overlay"]);

    let (dir, notes) = compile_with(&cluster, "many", 40_000);
    assert!(notes.contains("ran on ash"), "{notes}");
    assert_eq!(count(&dir.join("files")), 40_000);

    let (dir, notes) = compile_with(&cluster, "too-many", 100_000);
    assert!(notes.contains("more than 50000 files"), "{notes}");
    assert_eq!(count(&dir.join("files")), 100_000, "as a direct run, which it was then");
}

/// Waits until `distccd-ctl workers` says so.
fn await_said(cluster: &Cluster, what: &str) {
    eventually(what, || {
        let mut command = cluster.command(binaries::path("distccd-ctl"));
        command.env("DISTCCD_FS_MOUNT", cluster.mount()).env("DISTCCD_SERVER_ADDR", cluster.address());
        run(command.current_dir(cluster.mount()).arg("workers")).out().contains(what).then_some(())
    });
}

/// The library by which faketime(1) moves the time of day.
fn faketime() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found.find(|library| library.exists()).expect("Debian's package libfaketime")
}

#[test]
fn a_clock_that_jumps_under_a_job_is_said_and_ends_no_lease() {
    let mut cluster = cluster("100ms");
    let offset = cluster.private_dir().join("offset");
    let set = |text: &str| {
        // Whole or not at all: it is read at each look at the clock.
        std::fs::write(offset.with_extension("new"), text).unwrap();
        std::fs::rename(offset.with_extension("new"), &offset).unwrap();
    };
    set("+0s");
    let (preload, file) = (format!("LD_PRELOAD={}", faketime().display()), offset.display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={file}");
    let wrapper = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    cluster.start_worker_under(&wrapper, "ash", &["--max-jobs=1"]);
    let mut job = HeldJob::start(cluster);

    set("+3600s");
    await_said(&job.cluster, "s ahead of the server's, and it gets no jobs");
    set("-3600s");
    await_said(&job.cluster, "s behind the server's, and it gets no jobs");

    job.finish_at("ash");
    let log = job.cluster.worker("ash").log();
    assert!(!log.contains("the lease ran out"), "{log}");
    set("+0s");
    let _ = job.cluster.server().wait_for_line("right", |line| line.contains("clock is right again"));
    let ran = eventually("a job on it", || compile(&job.cluster, "later").contains("ran on ash").then_some(true));
    assert!(ran);
}
