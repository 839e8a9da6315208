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
fn is_root() -> bool {
    // SAFETY: asks who we are.
    unsafe { libc::geteuid() == 0 }
}

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
    for redirection in [">log 2>&1", ">>log 2>&1", ">>log 2>>log", "2>&1 | cat >log"] {
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
fn outputs_that_other_commands_write_too_hold_nobody_up() {
    let cluster = Cluster::start(&[("ash", 4)]);
    let dir = cluster.dir("build");
    sources(&dir);
    let many = "for i in 1 2 3 4 5 6 7 8; do LAUNCHER gcc -MD -MF dep.d -c a.c -o x.o || echo failed & done; wait";

    let seen = shell(&cluster, &dir, &many.replace("LAUNCHER", &launcher()));

    assert_eq!((seen.exit, seen.out(), seen.err()), (0, String::new(), String::new()));
    let notes = cluster.take_notes();
    assert_eq!(notes.matches("ran on ").count(), 8, "{notes}");
}

#[test]
fn a_directory_or_file_of_this_machine_mounted_over_a_shared_one_keeps_a_command_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    shell(&cluster, &dir, "mkdir inc alt; echo 'int x = 1;' >inc/x.c; echo 'int y = 2;' >alt/x.c");
    let unshare = if is_root() { "unshare --mount" } else { "unshare --user --map-root-user --mount" };
    for (mount, line) in [
        ("alt inc", "gcc -c inc/x.c -o x.o"),
        ("alt inc", "gcc -Iinc -include x.c -c a.c -o x.o"),
        ("alt inc", "gcc -c a.c -o inc/x.o"),
        ("alt/x.c inc/x.c", "gcc -c inc/x.c -o x.o"),
    ] {
        let in_namespace = |launcher: &str| {
            let script = format!("mount --bind {mount} && {launcher} {line} && nm x.o inc/x.o 2>/dev/null");
            shell(&cluster, &dir, &format!("rm -f x.o alt/x.o; {unshare} sh -c '{script}'")).out()
        };
        let direct = in_namespace("");
        assert_eq!(in_namespace(&launcher()), direct, "{line}");
        assert!(!direct.is_empty(), "{line}");
        let notes = cluster.take_notes();
        assert!(notes.contains("runs here") && !notes.contains("ran on"), "{line}: {notes}");
    }
}

#[test]
fn a_mount_that_hangs_and_has_nothing_to_do_with_a_command_does_not_hold_it_up() {
    if !is_root() {
        return; // who may open /dev/fuse differs
    }
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    let dead = tempfile::tempdir().unwrap();
    // A FUSE mount whose daemon, the shell, never says a word. It is gone with the shell; what hangs on it dies of SIGKILL.
    let dead_mount = |line: &str| {
        format!(
            "unshare --mount sh -c 'exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 \
             dead {} && {line}'",
            dead.path().display()
        )
    };
    let within = |line: &str| format!("timeout --signal=KILL 60 {line} 3<&-");

    let asked =
        shell(&cluster, &dir, &dead_mount(&format!("timeout --signal=KILL 1 ls {} 3<&-", dead.path().display())));
    let mounts = format!("{}:{}", dead.path().display(), cluster.mount().display());
    let line = format!("{} --fs-mount={mounts} gcc -c a.c -o a.o", launcher());
    let seen = shell(&cluster, &dir, &dead_mount(&within(&line)));

    assert_eq!(asked.exit, 137, "the mount does not hang: {}", asked.err());
    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    let notes = cluster.take_notes();
    assert!(notes.contains("ran on ash"), "{notes}");
}

#[test]
fn a_daemon_that_is_given_a_mount_that_hangs_says_so_in_time() {
    if !is_root() {
        return; // who may open /dev/fuse differs
    }
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    let dead = tempfile::tempdir().unwrap();
    let dead = dead.path().display();
    let line = |name: &str| {
        let daemon = e2e::binaries::path(name);
        format!(
            "unshare --mount sh -c 'exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 \
             dead {dead} && timeout --signal=KILL 60 {} --server-addr=127.0.0.1:1 --fs-mount={dead} 3<&-'",
            daemon.display()
        )
    };

    for name in ["distccd-server", "distccd-worker"] {
        let seen = shell(&cluster, &dir, &line(name));

        assert_eq!(seen.exit, 78, "{seen:?}");
        assert!(seen.err().contains(&format!("{dead} does not answer within 10s")), "{}", seen.err());
    }
}

#[test]
fn root_without_its_capabilities_is_nobody_special_on_a_worker_either() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    shell(&cluster, &dir, "mkdir closed && chmod 0 closed");
    // Whoever is not root has none to drop.
    let dropped = if is_root() { "setpriv --bounding-set=-all --inh-caps=-all" } else { "" };
    let line = |launcher: &str| format!("{dropped} {launcher} gcc -c a.c -o closed/a.o");

    let direct = shell(&cluster, &dir, &line(""));
    let launched = shell(&cluster, &dir, &line(&launcher()));

    shell(&cluster, &dir, "chmod 700 closed");
    assert_eq!(direct, launched);
    assert_eq!(direct.exit, 1, "{direct:?}");
}

/// The launcher sees a copy of the mount, and so never what the worker wrote.
#[test]
fn what_a_worker_did_out_of_sight_is_repeated_here_only_where_that_does_no_harm() {
    if !is_root() {
        // In a user namespace, where anybody may mount, commands stay here for that reason alone.
        eprintln!("not run: only root can mount something over the mount and still send a job");
        return;
    }
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    shell(&cluster, &dir, "gcc -c a.c -o a.o && gcc -c a.c -o b.o && ar rc lib.a a.o");
    let (mount, copy) = (cluster.mount(), cluster.private_dir().join("copy"));
    shell(&cluster, &dir, &format!("cp -a {} {}", mount.display(), copy.display()));
    let out_of_sight = |line: &str| {
        let line = format!("DISTCCD_VISIBILITY_TIMEOUT=200ms {} {line}; code=$?; ar t lib.a; exit $code", launcher());
        let script = format!("mount --bind {} {} && cd {} && {line}", copy.display(), mount.display(), dir.display());
        shell(&cluster, &dir, &format!("unshare --mount sh -c '{script}'"))
    };

    let appended = out_of_sight("ar q lib.a b.o");
    let replaced = out_of_sight("ar r new.a b.o; mv new.a lib.a");

    assert_eq!((appended.exit, appended.out()), (71, "a.o\n".to_owned()), "{appended:?}");
    assert!(appended.err().contains("it is not run again"), "{appended:?}");
    assert_eq!((replaced.exit, replaced.out()), (0, "b.o\n".to_owned()), "{replaced:?}");
    assert_eq!(cluster.take_notes().matches("does not look from here").count(), 2);
}

#[test]
fn signals_that_are_ignored_stay_ignored_in_what_runs_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    let ignored = |launcher: &str| {
        let line = format!("trap '' PIPE QUIT; {launcher} grep Sig[IB] /proc/self/status");
        shell(&cluster, &dir, &line).out()
    };

    assert_eq!(ignored(&launcher()), ignored(""));
    assert!(ignored("").contains("SigIgn"));
}

#[test]
fn a_log_that_may_not_grow_any_more_costs_its_lines_alone() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir);
    std::fs::write(dir.join("log"), vec![b'\n'; 300_000]).unwrap();

    let line = format!("ulimit -f 100; {} --log-file={}/log -- gcc -Wall -c warn.c", launcher(), dir.display());
    let launched = shell(&cluster, &dir, &line);

    assert_eq!(launched, shell(&cluster, &dir, "gcc -Wall -c warn.c"));
    assert_eq!(std::fs::metadata(dir.join("log")).unwrap().len(), 300_000);
}

#[test]
fn what_only_this_machine_has_at_the_end_of_a_link_is_found_by_running_here() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let (dir, private) = (cluster.dir("build"), tempfile::tempdir().unwrap());
    std::fs::write(private.path().join("x.h"), "#define X 1\n").unwrap();
    std::fs::create_dir(dir.join("inc")).unwrap();
    std::os::unix::fs::symlink(private.path().join("x.h"), dir.join("inc/x.h")).unwrap();
    std::fs::write(dir.join("a.c"), "#include <x.h>\nint x = X;\n").unwrap();

    let launched = shell(&cluster, &dir, &format!("{} gcc -Iinc -c a.c", launcher()));

    assert_eq!(launched, shell(&cluster, &dir, "gcc -Iinc -c a.c -o b.o"));
    assert_eq!(std::fs::read(dir.join("a.o")).unwrap(), std::fs::read(dir.join("b.o")).unwrap());
}

#[test]
fn long_lines_are_quoted_to_the_width_of_the_terminal() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    let names: Vec<String> = (0..200).map(|number| format!("name{number}")).collect();
    std::fs::write(dir.join("wide.c"), format!("int {}; int x = undeclared;\n", names.join(", "))).unwrap();
    let on_terminal = |command: &str| {
        let line = format!("script --quiet --command 'stty cols 70; {command}' said >/dev/null");
        shell(&cluster, &dir, &line);
        let said = std::fs::read_to_string(dir.join("said")).unwrap();
        // Between the lines about when it began and ended.
        said.lines().filter(|line| !line.starts_with("Script ")).map(str::to_owned).collect::<Vec<_>>()
    };

    let direct = on_terminal("gcc -c wide.c");
    let launched = on_terminal(&format!("{} gcc -c wide.c", launcher()));

    assert!(direct.iter().any(|line| line.contains("undeclared")), "{direct:?}");
    assert!(direct.iter().all(|line| line.len() < 250), "{direct:?}");
    assert_eq!(launched, direct);
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
