//! `distccd-ctl` against real daemons: what it shows, what it orders, and that its doctor finds what is planted.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::eventually;
use e2e::run::{Seen, run};

/// A server that publishes itself on the cluster's mount, and a worker.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    let mount = format!("--fs-mount={}", cluster.mount().display());
    cluster.start_server_with(&[&mount]);
    cluster.start_worker("ash", &["--max-jobs=2"]);
    cluster
}

/// `distccd-ctl` of somebody who has the mount.
fn ctl(cluster: &Cluster, words: &[&str]) -> Seen {
    run(command(cluster).args(words))
}

fn command(cluster: &Cluster) -> Command {
    let mut command = cluster.command(binaries::path("distccd-ctl"));
    command.current_dir(cluster.mount()).env("PWD", cluster.mount()).env("DISTCCD_FS_MOUNT", cluster.mount());
    command
}

/// The same in a mount namespace of its own, after these commands of a shell.
fn ctl_after(cluster: &Cluster, shell: &str, words: &[&str]) -> Seen {
    need_root();
    let script = format!("{shell}\nexec \"$@\"");
    let mut command = cluster.command("unshare");
    command.args(["--mount", "sh", "-e", "-c", &script, "sh"]).arg(binaries::path("distccd-ctl")).args(words);
    command.env("MOUNT", cluster.mount()).env("DISTCCD_FS_MOUNT", cluster.mount());
    // Not by the mount, which is what these stories break.
    run(command.current_dir("/").env("DISTCCD_SERVER_ADDR", cluster.address()))
}

fn need_root() {
    // SAFETY: it cannot fail and touches nothing.
    assert_eq!(unsafe { libc::geteuid() }, 0, "this story needs root, as CI is");
}

/// The doctor says this, as something wrong.
fn assert_finds(seen: &Seen, what: &str) {
    assert_eq!(seen.exit, 1, "{seen:?}");
    let found = seen
        .out()
        .lines()
        .any(|line| (line.starts_with("ERROR") || line.starts_with("warning")) && line.contains(what));
    assert!(found, "not found: {what}\n{seen:?}");
    assert!(seen.out().contains("         -> "), "no remedy: {seen:?}");
}

#[test]
fn whoever_has_the_mount_sees_how_things_are() {
    let cluster = cluster();

    let status = ctl(&cluster, &["status"]);
    assert!(status.exit == 0 && status.out().contains("workers  1 up; 0 of 2 slots held"), "{status:?}");
    let workers = ctl(&cluster, &["workers", "--format=json"]);
    assert!(workers.exit == 0 && workers.out().contains("\"name\":\"ash\""), "{workers:?}");
    let jobs = ctl(&cluster, &["jobs"]);
    assert!(jobs.exit == 0 && jobs.out().starts_with("JOB"), "{jobs:?}");
    assert_eq!(ctl(&cluster, &["explain", &"ab".repeat(16)]).exit, 66);
    assert_eq!(ctl(&cluster, &["explain", "what"]).exit, 64);
    assert_eq!(ctl(&cluster, &["drain", "birch"]).exit, 68);
    assert_eq!(ctl(&cluster, &["status", "--server-addr=localhost:1"]).exit, 69);
    assert_eq!(ctl(&cluster, &["status", "--server-addr=nowhere"]).exit, 64);
}

#[test]
fn a_drained_worker_ends_and_one_that_stays_can_be_told_to_go_on() {
    let mut cluster = cluster();
    let dir = cluster.dir("build");
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    let compile = |cluster: &Cluster| {
        assert_eq!(run(cluster.launcher(&dir).args(["--", "gcc", "-c", "a.c"])).exit, 0);
        cluster.take_notes()
    };

    let stay = ctl(&cluster, &["drain", "ash", "--stay"]);
    assert_eq!(stay.exit, 0, "{stay:?}");
    assert!(ctl(&cluster, &["workers"]).out().contains("draining"));
    let notes = compile(&cluster);
    assert!(notes.contains("not at the cluster"), "{notes}");

    assert_eq!(ctl(&cluster, &["drain", "ash", "--undo"]).exit, 0);
    let notes = compile(&cluster);
    assert!(notes.contains("ran on ash"), "{notes}");

    assert_eq!(ctl(&cluster, &["drain", "ash"]).exit, 0);
    assert!(cluster.worker("ash").wait().success());
    assert!(ctl(&cluster, &["status"]).out().contains("workers  none"));
}

#[test]
fn only_root_and_the_servers_user_may_drain() {
    need_root();
    let cluster = cluster();
    let mut command = cluster.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binaries::path("distccd-ctl"));
    command.env("DISTCCD_SERVER_ADDR", cluster.address()).env("XDG_CONFIG_HOME", "/nonexistent").current_dir("/");

    let seen = run(command.args(["drain", "ash"]));

    assert_eq!(seen.exit, 77, "{seen:?}");
    assert!(seen.err().contains("user 65534 may not drain workers"), "{seen:?}");
}

#[test]
fn the_doctor_finds_nothing_where_nothing_is_wrong() {
    let cluster = cluster();

    let seen = ctl(&cluster, &["doctor"]);

    assert!(seen.exit == 0 && seen.out().ends_with("nothing is wrong\n"), "{seen:?}");
    assert!(seen.out().contains("is the server's filesystem"), "{seen:?}");
    assert!(seen.out().contains("what 2 machines make is seen here after at most"), "{seen:?}");
}

#[test]
fn the_doctor_finds_another_filesystem_at_the_path_and_none() {
    let cluster = cluster();

    let empty = ctl_after(&cluster, "mount -t tmpfs tmpfs \"$MOUNT\"", &["doctor"]);
    assert_finds(&empty, "is not the server's filesystem");
    let marked = "mount -t tmpfs tmpfs \"$MOUNT\"; mkdir \"$MOUNT/.distccd\"; \
                  echo 00000000000000000000000000000001 >\"$MOUNT/.distccd/mount.id\"";
    assert_finds(&ctl_after(&cluster, marked, &["doctor"]), "is another filesystem");
}

#[test]
fn the_doctor_finds_a_mount_that_no_worker_has() {
    let cluster = cluster();
    let other = cluster.private_dir();
    let mut command = cluster.command(binaries::path("distccd-ctl"));
    command.env("DISTCCD_FS_MOUNT", &other).env("DISTCCD_SERVER_ADDR", cluster.address());

    let seen = run(command.arg("doctor").current_dir(&other));

    assert_finds(&seen, "is no shared mount of ash");
}

#[test]
fn the_doctor_finds_a_clock_that_is_off() {
    let cluster = cluster();

    let seen = ctl(&cluster, &["doctor", "--clock-offset=5000"]);

    assert_finds(&seen, "ahead of the filesystem's");
    assert_finds(&seen, "ahead of the server's");

    let mut command = cluster.command("faketime");
    command.args(["-f", "-5s"]).arg(binaries::path("distccd-ctl")).arg("doctor").current_dir(cluster.mount());
    let seen = run(command.env("PWD", cluster.mount()).env("DISTCCD_FS_MOUNT", cluster.mount()));
    assert_finds(&seen, "behind the filesystem's");
    assert_finds(&seen, "behind the server's");
}

#[test]
fn the_doctor_finds_a_mount_that_cannot_be_written() {
    let cluster = cluster();

    let shell = "mount --bind \"$MOUNT\" \"$MOUNT\"; mount -o remount,bind,ro \"$MOUNT\"";
    let seen = ctl_after(&cluster, shell, &["doctor"]);

    assert_finds(&seen, "is mounted read-only");
}

#[test]
fn the_doctor_finds_a_full_disk() {
    let cluster = cluster();
    // The same filesystem as far as its mark goes.
    let shell = "cp -a \"$MOUNT/.distccd\" /tmp/.distccd-$$; mount -t tmpfs -o size=1m tmpfs \"$MOUNT\"; \
                 mv /tmp/.distccd-$$ \"$MOUNT/.distccd\"; dd if=/dev/zero of=\"$MOUNT/fill\" bs=64k 2>/dev/null || :";

    assert_finds(&ctl_after(&cluster, shell, &["doctor"]), "is full");
}

#[test]
fn the_doctor_finds_what_it_may_not_write() {
    need_root();
    let cluster = cluster();
    let dir = cluster.dir("forbidden");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    open_up(&cluster.mount());
    let mut command = cluster.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binaries::path("distccd-ctl"));
    command.env("DISTCCD_FS_MOUNT", cluster.mount()).env("XDG_CONFIG_HOME", "/nonexistent").current_dir("/");

    let seen = run(command.args(["doctor", "--dir"]).arg(&dir));

    assert_finds(&seen, "cannot be written");
}

/// Others may pass through here and above it, up to the directory for temporary files.
fn open_up(dir: &Path) {
    for dir in [dir, dir.parent().unwrap()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn the_doctor_finds_stale_cache_options() {
    let cluster = cluster();
    let table = cluster.private_dir().join("mountinfo");
    let mount = cluster.mount().canonicalize().unwrap();
    let line =
        format!("40 22 0:50 / {} rw,relatime shared:5 - nfs4 srv:/x rw,vers=4.2,nocto,acdirmax=600\n", mount.display());
    std::fs::write(&table, line).unwrap();

    let seen = ctl(&cluster, &["doctor", "--mountinfo", table.to_str().unwrap()]);

    assert_finds(&seen, "nocto");
    assert_finds(&seen, "acdirmax=600");
}

#[test]
fn the_doctor_finds_another_compiler() {
    let cluster = cluster();
    // This machine's compiler is another than the workers'; what it is called is all that is asked.
    let bin = cluster.private_dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/usr/bin/gcc", bin.join("gcc")).unwrap();
    let mut command = command(&cluster);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));

    assert_finds(&run(command.arg("doctor")), "bin/gcc is missing, or is another, on ash");

    // And here what it executes: upgraded behind the back of a driver that is the same to the byte.
    let shell = "part=$(gcc -print-prog-name=cc1plus); cp -a \"$part\" /tmp/.cc1plus-$$; echo >>/tmp/.cc1plus-$$; \
                 mount --bind /tmp/.cc1plus-$$ \"$part\"; rm /tmp/.cc1plus-$$";
    let seen = ctl_after(&cluster, shell, &["doctor"]);
    assert_finds(&seen, "g++");
    assert_finds(&seen, "is missing, or is another, on ash");
}

/// A copy of a program that says another release of itself, as one of that release would.
fn of_another_release(name: &str, dir: &Path) -> PathBuf {
    let ours = format!("{name} {}", env!("CARGO_PKG_VERSION"));
    let theirs = format!("{}7", &ours[..ours.len() - 1]);
    assert_ne!(ours, theirs, "the release of today ends in a 7: take another digit");
    let mut program = std::fs::read(binaries::path(name)).unwrap();
    let found: Vec<usize> = memmem(&program, ours.as_bytes()).collect();
    assert!(!found.is_empty(), "{name} does not say its release");
    for at in found {
        program[at..at + ours.len()].copy_from_slice(theirs.as_bytes());
    }
    let copy = dir.join(name);
    std::fs::write(&copy, program).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn memmem<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(word.len()).enumerate().filter(move |(_, window)| *window == word).map(|(at, _)| at)
}

#[test]
fn the_doctor_finds_a_worker_of_another_release() {
    let mut cluster = cluster();
    let other = of_another_release("distccd-worker", &cluster.private_dir());
    // Instead of the worker that is under test.
    let instead = ["sh", "-c", "shift; exec \"$0\" \"$@\"", other.to_str().unwrap()];
    cluster.start_worker_under(&instead, "birch", &[]);

    let seen = ctl(&cluster, &["doctor"]);

    assert_finds(&seen, "and these workers are not: birch");
    assert!(!seen.out().contains("and this machine has"), "{seen:?}");
}

#[test]
fn the_doctor_finds_other_headers_of_the_c_library() {
    let cluster = cluster();
    let shell = "cp /usr/include/features.h /tmp/.features-$$; echo '/* another */' >>/tmp/.features-$$; \
                 mount --bind /tmp/.features-$$ /usr/include/features.h; rm /tmp/.features-$$";

    assert_finds(&ctl_after(&cluster, shell, &["doctor"]), "headers in /usr/include are others on ash");
}

#[test]
fn the_doctor_finds_a_server_that_is_away_and_a_file_that_is_not_the_servers() {
    need_root();
    let mut cluster = cluster();
    let file = cluster.mount().join(".distccd/cluster.toml");
    cluster.server_mut().crash();
    assert_finds(&ctl(&cluster, &["doctor"]), "no answer from the server");

    chown(&file, Some(4711), None).unwrap();
    assert_finds(&ctl(&cluster, &["doctor"]), "belongs to user 4711");
    chown(&file, Some(0), None).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("protocol = \"1.", "protocol = \"7.", 1)).unwrap();
    assert_finds(&ctl(&cluster, &["doctor"]), "protocol 7");
}

#[test]
fn a_worker_with_something_else_at_the_path_is_shown() {
    need_root();
    let mut cluster = cluster();
    let mount = cluster.mount().display().to_string();
    let cover = format!("mount -t tmpfs tmpfs '{mount}' && exec \"$@\"");
    cluster.start_worker_under(&["unshare", "--mount", "sh", "-c", &cover, "sh"], "birch", &[]);

    let why = eventually("the reason", || {
        Some(ctl(&cluster, &["workers"]).out()).filter(|text| text.contains("birch: no jobs of"))
    });
    assert!(why.contains("is not the server's filesystem"), "{why}");
    assert_finds(&ctl(&cluster, &["doctor"]), "birch gets no jobs of");
}
