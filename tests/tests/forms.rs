//! All the ways to call a launcher mean the same.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::run::run;

fn source(dir: &Path) {
    std::fs::write(dir.join("a.c"), "int main(void) { return 0; }\n").unwrap();
}

#[test]
fn either_launcher_takes_either_kind_of_command_in_every_form() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    let forms: [&[&str]; 3] = [&["--"], &[], &["--verbose", "--batch-size", "2", "--"]];

    for launcher in ["cc-launcher", "ld-launcher"] {
        for form in forms {
            for command in [["gcc", "-c", "a.c", "-o", "a.o"], ["gcc", "-O1", "a.o", "-o", "prog"]] {
                let mut call = cluster.launcher_named(launcher, &dir);
                let seen = run(call.args(form).args(command));
                assert_eq!(seen.exit, 0, "{seen:?}");
                let notes = cluster.take_notes();
                assert!(notes.contains("ran on ash"), "{launcher} {form:?} {command:?}: {notes}");
            }
        }
    }
}

#[test]
fn a_masquerade_link_runs_the_next_compiler_of_its_name() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    let links = cluster.dir("links");
    symlink(binaries::path("cc-launcher"), links.join("gcc")).unwrap();
    symlink(binaries::path("ld-launcher"), links.join("ar")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(std::iter::once(links).chain(std::env::split_paths(&path))).unwrap();
    let call = |argv: &[&str]| {
        let mut shell = cluster.launcher(&dir);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &argv.join(" ")]).current_dir(&dir).env_clear();
        command.envs(shell.env("PATH", &path).get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(&mut command)
    };

    let (compile, archive) = (call(&["gcc", "-c", "a.c", "-o", "a.o"]), call(&["ar", "rcs", "lib.a", "a.o"]));

    assert_eq!((compile.exit, archive.exit), (0, 0), "{compile:?} {archive:?}");

    let notes = cluster.take_notes();
    assert_eq!(notes.matches("ran on ash").count(), 2, "{notes}");
    assert!(dir.join("lib.a").exists());
}

#[test]
fn a_launcher_around_a_launcher_is_one() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);

    let inner = binaries::path("cc-launcher");
    let seen = run(cluster.launcher(&dir).arg("--").arg(inner).args(["--", "gcc", "-c", "a.c", "-o", "a.o"]));

    assert_eq!(seen.exit, 0, "{seen:?}");
    assert_eq!(cluster.take_notes().matches("ran on ash").count(), 1);
}

#[test]
fn explain_says_what_would_happen_and_runs_nothing() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    source(&dir);

    let leaves = run(cluster.launcher(&dir).args(["--explain", "gcc", "-c", "a.c"]));
    let stays = run(cluster.launcher(&dir).args(["--explain", "gcc", "-c", "a.c", "-o", "/tmp/a.o"]));

    assert!(leaves.out().contains("on a worker") && leaves.out().contains("a.o"), "{leaves:?}");
    assert!(stays.out().contains("here") && stays.out().contains("/tmp/a.o"), "{stays:?}");
    assert_eq!((leaves.exit, stays.exit), (0, 0));
    assert!(!dir.join("a.o").exists() && !Path::new("/tmp/a.o").exists());
}

#[test]
fn disabled_by_the_environment_everything_runs_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);

    let seen = run(cluster.launcher(&dir).env("DISTCCD_DISABLE", "1").args(["gcc", "-c", "a.c"]));

    assert_eq!(seen.exit, 0);
    assert!(cluster.take_notes().contains("DISTCCD_DISABLE"));
}

#[test]
fn what_is_not_on_the_mount_stays_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    let private: PathBuf = cluster.private_dir();
    source(&private);
    symlink(private.join("a.c"), dir.join("linked.c")).unwrap();

    for argv in [vec!["gcc", "-c", "linked.c"], vec!["gcc", "-c", "-I", private.to_str().unwrap(), "linked.c"]] {
        let seen = run(cluster.launcher(&dir).args(argv));
        assert_eq!(seen.exit, 0, "{seen:?}");
        assert!(cluster.take_notes().contains("runs here"));
    }
    let seen = run(cluster.launcher(&private).args(["gcc", "-c", "a.c"]));
    assert_eq!(seen.exit, 0, "{seen:?}");
    assert!(cluster.take_notes().contains("the working directory"));
}

#[test]
fn a_worker_that_takes_no_links_is_given_none() {
    let mut cluster = Cluster::start(&[]);
    cluster.start_worker("ash", &["--max-jobs=2", "--disable-linking"]);
    let dir = cluster.dir("build");
    source(&dir);

    let compile = run(cluster.launcher(&dir).args(["gcc", "-c", "a.c", "-o", "a.o"]));
    cluster.start_worker("birch", &["--max-jobs=1"]);
    let link = run(cluster.launcher(&dir).args(["gcc", "a.o", "-o", "prog"]));

    assert_eq!((compile.exit, link.exit), (0, 0));
    let notes = cluster.take_notes();
    assert!(notes.contains("ran on ash") && notes.contains("ran on birch"), "{notes}");
}

#[test]
fn output_of_a_hundred_megabytes_arrives_whole() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    source(&dir);
    let script = "#!/bin/sh\nhead -c 100000000 /dev/zero\nhead -c 3000000 /dev/zero | tr '\\0' e >&2\n";
    e2e::gate::write_executable(&dir.join("gcc"), script);

    let seen = run(cluster.launcher(&dir).args(["./gcc", "-c", "a.c"]));

    assert_eq!((seen.exit, seen.stdout.len(), seen.stderr.len()), (0, 100_000_000, 3_000_000));
    assert!(seen.stdout.iter().all(|&byte| byte == 0) && seen.stderr.iter().all(|&byte| byte == b'e'));
    assert!(cluster.take_notes().contains("ran on ash"));
}
