//! What surrounds a command, its standard streams, limits, temporary directory and user, is as it would be without us.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::gate::write_executable;
use e2e::run::{Seen, run};

fn sources(dir: &Path) {
    std::fs::write(dir.join("a.c"), "int main(void) { return 0; }\n").unwrap();
    std::fs::write(dir.join("warn.c"), "int f(void) { int unused; return 0; }\n").unwrap();
}

/// Runs a line of shell in `dir`, with the environment of a launcher of this cluster.
fn shell(cluster: &Cluster, dir: &Path, line: &str) -> Seen {
    let launcher = cluster.launcher(dir);
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir).env_clear();
    command.envs(launcher.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut command)
}

fn launcher() -> String {
    binaries::path("cc-launcher").display().to_string()
}

#[test]
fn closed_and_full_standard_streams_are_the_compilers_to_notice() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    let lines = [
        "gcc -Wall -c warn.c -o w.o 2>/dev/full",
        "gcc -Wall -c warn.c -o w.o 2>&-",
        "gcc -E a.c >&-",
        "gcc -E a.c >/dev/full",
        "gcc -c a.c -o a.o <&-",
    ];

    for line in lines {
        let direct = shell(&cluster, &dir, line);
        let launched = shell(&cluster, &dir, &format!("{} {line}", launcher()));
        assert_eq!(direct, launched, "{line}");
    }
}

#[test]
fn one_file_for_both_streams_reads_as_if_the_compiler_had_written_it() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    for redirection in [">log 2>&1", ">>log 2>&1", "2>&1 | cat >log"] {
        let line = format!("gcc -v -E -Wall warn.c {redirection}; gcc -Wall -c warn.c >/dev/null 2>>log");
        let log = |launcher: &str| {
            let _ = std::fs::remove_file(dir.join("log"));
            let _ = cluster.take_notes();
            let seen = shell(&cluster, &dir, &line.replace("gcc", &format!("{launcher} gcc")));
            assert_eq!(seen.exit, 0, "{line}");
            std::fs::read_to_string(dir.join("log")).unwrap()
        };
        let (direct, launched) = (log(""), log(&launcher()));
        assert!(direct.contains("unused"), "{direct}");
        assert_eq!(direct, launched, "{redirection}");
        assert_eq!(cluster.take_notes().matches("ran on ").count(), 2, "{redirection}");
    }
}

#[test]
fn few_descriptors_keep_a_command_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);

    for limit in [6, 8, 10, 16, 31] {
        let seen = shell(&cluster, &dir, &format!("ulimit -n {limit}; {} gcc -c a.c -o a.o", launcher()));
        assert_eq!((seen.exit, seen.err()), (0, String::new()), "{limit}");
    }
}

#[test]
fn a_private_directory_for_temporary_files_does_not_travel() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    write_executable(&dir.join("gcc"), "#!/bin/sh\necho \"<$TMPDIR>\"\n");
    let with = |tmpdir: &Path| run(cluster.launcher(&dir).env("TMPDIR", tmpdir).args(["./gcc", "-c", "a.c"])).out();

    assert_eq!(with(&cluster.private_dir()), "<>\n");
    assert_eq!(with(&dir), format!("<{}>\n", dir.display()));
}

#[test]
fn a_masquerade_link_called_by_its_path_compiles() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    std::os::unix::fs::symlink(launcher(), dir.join("gcc")).unwrap();

    for call in ["./gcc -c a.c -o a.o".to_owned(), format!("{}/gcc a.c -o prog", dir.display())] {
        let seen = shell(&cluster, &dir, &call);
        assert_eq!((seen.exit, seen.err()), (0, String::new()), "{call}");
        assert!(cluster.take_notes().contains("ran on ash"), "{call}");
    }
    let disabled = shell(&cluster, &dir, "DISTCCD_DISABLE=1 ./gcc -c a.c -o b.o");
    assert_eq!((disabled.exit, disabled.err()), (0, String::new()));
}

#[test]
fn in_a_user_namespace_a_command_runs_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);

    // Whoever we are there is not who the kernel knows us as.
    let line = format!("unshare --user {} gcc -c a.c -o a.o", launcher());
    let seen = shell(&cluster, &dir, &line);
    let direct = shell(&cluster, &dir, "unshare --user gcc -c a.c -o b.o");

    assert_eq!((seen.exit, seen.err()), (direct.exit, direct.err()));
    assert!(!cluster.take_notes().contains("ran on"));
}

#[test]
fn a_configuration_that_cannot_be_reached_is_none() {
    let cluster = Cluster::without_server();
    let (dir, locked) = (cluster.dir("build"), cluster.dir("locked"));
    // Where somebody else can reach it, whatever the directory of the build is.
    let copy = dir.join("cc-launcher");
    std::fs::copy(launcher(), &copy).unwrap();
    let allow = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    [dir.ancestors().nth(2).unwrap(), dir.parent().unwrap(), &dir].into_iter().for_each(|path| allow(path, 0o755));
    allow(&locked, 0o000);
    // root may search every directory, so it becomes somebody else.
    let nobody = if root() { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" };

    let line = format!(
        "unset DISTCCD_LOG_FILE; HOME={0} XDG_CONFIG_HOME={0} {nobody} {1} gcc --version",
        locked.display(),
        copy.display()
    );
    let seen = shell(&cluster, &dir, &line);

    allow(&locked, 0o755);
    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(seen.out().starts_with("gcc ("), "{seen:?}");
}

fn root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
