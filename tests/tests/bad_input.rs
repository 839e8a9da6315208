//! What is wrong is named on one line, with the remedy and a documented exit code; nothing panics, nothing hangs.

use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::run::{Seen, run};

/// Checks code and message: every word of `words`, on as many lines as mistakes.
fn assert_told(seen: &Seen, exit: i32, lines: usize, words: &[&str]) {
    let err = seen.err();
    assert_eq!((seen.exit, err.lines().count()), (exit, lines), "{seen:?}");
    assert!(words.iter().all(|word| err.contains(word)), "{words:?} in {seen:?}");
    assert!(!err.contains("panicked"), "{seen:?}");
}

fn server(cluster: &Cluster, flags: &[&str]) -> Command {
    let mut command = cluster.command(binaries::path("distccd-server"));
    command.args(flags);
    command
}

fn worker(cluster: &Cluster, flags: &[&str]) -> Command {
    let mut command = cluster.command(binaries::path("distccd-worker"));
    command.args(flags);
    command
}

#[test]
fn unknown_flags_are_named() {
    let cluster = Cluster::without_server();

    assert_told(
        &run(cluster.launcher(&cluster.mount()).args(["--sever-addr=x:1", "gcc"])),
        64,
        1,
        &["`--sever-addr=x:1`"],
    );
    for daemon in [server(&cluster, &["--sever-addr=x"]), worker(&cluster, &["--sever-addr=x"])] {
        let mut daemon = daemon;
        let seen = run(&mut daemon);
        assert_eq!(seen.exit, 64, "{seen:?}");
        assert!(seen.err().contains("--sever-addr") && seen.err().contains("--server-addr"), "{seen:?}");
    }
}

#[test]
fn wrong_configuration_is_told_all_at_once() {
    let cluster = Cluster::without_server();
    let file = cluster.private_dir().join("wrong.toml");
    std::fs::write(&file, "sever_addr = 'x:1'\nlog_format = 'xml'\n").unwrap();
    let config = format!("--config={}", file.display());

    for mut daemon in [server(&cluster, &[&config]), worker(&cluster, &[&config])] {
        let seen = run(&mut daemon);
        assert_eq!(seen.exit, 78, "{seen:?}");
        let err = seen.err();
        assert!(err.contains("wrong.toml") && err.contains("`sever_addr`") && err.contains("`log_format`"), "{seen:?}");
        assert!(err.contains("must be `text` or `json`"), "{seen:?}");
    }
}

#[test]
fn a_launchers_wrong_configuration_is_told_with_its_file() {
    let cluster = Cluster::without_server();
    let dir = cluster.private_dir().join(".config/distccd");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("launcher.toml"), "batch_size = 'many'\ncolour = true\n").unwrap();

    let seen = run(cluster.launcher(&cluster.mount()).args(["gcc", "--version"]));

    assert_told(&seen, 78, 2, &["launcher.toml: `batch_size`", "whole number", "`colour`: unknown key"]);
}

#[test]
fn an_unreadable_configuration_is_named() {
    let cluster = Cluster::without_server();

    for mut daemon in [server(&cluster, &["--config=/no/such.toml"]), worker(&cluster, &["--config=/no/such.toml"])] {
        assert_told(&run(&mut daemon), 78, 1, &["/no/such.toml", "does not exist"]);
    }
}

#[test]
fn a_mount_that_is_not_there_is_named() {
    let cluster = Cluster::without_server();

    assert_told(&run(&mut server(&cluster, &["--fs-mount=/no/such/mount"])), 78, 1, &["/no/such/mount"]);
    assert_told(&run(&mut worker(&cluster, &["--fs-mount=/no/such/mount"])), 78, 1, &["/no/such/mount"]);
}

#[test]
fn an_address_that_is_none_or_does_not_resolve_is_named() {
    let cluster = Cluster::without_server();

    assert_told(&run(&mut server(&cluster, &["--server-addr=nowhere"])), 64, 1, &["`nowhere`", "HOST:PORT"]);
    assert_told(&run(&mut worker(&cluster, &["--server-addr=nowhere"])), 64, 1, &["nowhere", "HOST:PORT"]);
    assert_told(
        &run(&mut server(&cluster, &["--server-addr=no-such-host.invalid:1"])),
        78,
        1,
        &["no-such-host.invalid", "does not resolve"],
    );
}

#[test]
fn a_launcher_whose_server_does_not_resolve_runs_the_command_here() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();

    let seen = run(cluster.launcher(&dir).args(["--server-addr=no-such-host.invalid:1", "gcc", "-c", "a.c"]));

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(dir.join("a.o").exists() && cluster.take_notes().contains("does not resolve"));
}

#[test]
fn a_port_in_use_is_named() {
    let cluster = Cluster::start(&[]);
    let address = format!("--server-addr={}", cluster.address());

    assert_told(&run(&mut server(&cluster, &[&address])), 69, 1, &["cannot listen on 127.0.0.1", "--server-addr"]);
}

#[test]
fn an_open_port_needs_to_be_asked_for() {
    let cluster = Cluster::without_server();

    assert_told(&run(&mut server(&cluster, &["--server-addr=0.0.0.0:0"])), 78, 1, &["0.0.0.0", "--insecure"]);
}

#[test]
fn a_worker_without_compilers_says_so() {
    let cluster = Cluster::without_server();
    let mount = format!("--fs-mount={}", cluster.mount().display());
    // A root of its own in which there is nothing but the worker.
    let empty = cluster.private_dir().join("empty");
    for dir in ["proc", "tmp", "usr/bin"] {
        std::fs::create_dir_all(empty.join(dir)).unwrap();
    }
    let script = format!(
        "mount --bind {0}/usr/bin /usr/bin && exec {1} {mount} --server-addr=localhost:1",
        empty.display(),
        binaries::path("distccd-worker").display()
    );
    let mut command = cluster.command("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]).env("PATH", "/bin:/usr/sbin:/sbin:/usr/bin");

    let seen = run(&mut command);

    assert_eq!(seen.exit, 78, "{seen:?}");
    assert!(seen.err().contains("no compiler") || seen.err().contains("compilers"), "{seen:?}");
}

#[test]
fn a_command_that_does_not_exist_is_told_as_a_shell_tells_it() {
    let cluster = Cluster::without_server();

    let seen = run(cluster.launcher(&cluster.mount()).args(["no-such-compiler", "-c", "a.c"]));

    assert_told(&seen, 127, 1, &["no-such-compiler: command not found"]);
}

#[test]
fn no_command_at_all_shows_one() {
    let cluster = Cluster::without_server();

    assert_told(&run(&mut cluster.launcher(&cluster.mount())), 64, 1, &["no command", "cc-launcher -- g++"]);
}

#[test]
fn a_directory_that_vanished_is_the_compilers_to_complain_about() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let script = |launcher: &str| format!("mkdir gone && cd gone && rmdir ../gone && exec {launcher} gcc -c a.c");
    let shell = |launcher: &str| {
        let mut command = cluster.launcher(&cluster.mount());
        let mut sh = Command::new("sh");
        sh.args(["-c", &script(launcher)]).current_dir(cluster.mount()).env_clear();
        sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let _ = command.arg("--version");
        run(&mut sh)
    };

    let direct = shell("");
    let launched = shell(&binaries::path("cc-launcher").display().to_string());

    assert_eq!(direct, launched);
    assert_ne!(launched.exit, 0);
}

#[test]
fn a_list_that_cannot_be_read_is_named() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    std::fs::write(dir.join("x.json"), "[{\"directory\": 1}]").unwrap();

    assert_told(&run(cluster.launcher(&dir).arg("--jobs-from=none.json")), 64, 1, &["none.json", "cannot be read"]);
    assert_told(&run(cluster.launcher(&dir).arg("--jobs-from=x.json")), 64, 1, &["x.json", "entry 0", "directory"]);
}
