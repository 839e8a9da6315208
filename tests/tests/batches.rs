//! Many jobs over one conversation, and company for those that want it (design.md section 6).

use std::path::Path;
use std::process::Stdio;

use e2e::cluster::Cluster;
use e2e::daemon::wait_for_child;
use e2e::gate::Gate;
use e2e::run::{run, run_with_input};

fn sources(dir: &Path, count: usize) {
    for n in 0..count {
        std::fs::write(dir.join(format!("s{n}.c")), format!("int f{n}(void) {{ return {n}; }}\n")).unwrap();
    }
}

fn database(dir: &Path, count: usize) -> String {
    let shown = dir.display();
    let entry =
        |n| format!("{{\"directory\": \"{shown}\", \"command\": \"gcc -c s{n}.c -o s{n}.o\", \"file\": \"s{n}.c\"}}");
    format!("[{}]", (0..count).map(entry).collect::<Vec<_>>().join(",\n"))
}

#[test]
fn a_compilation_database_is_built_in_batches() {
    let cluster = Cluster::start(&[("ash", 2), ("birch", 2)]);
    let dir = cluster.dir("build");
    sources(&dir, 40);
    std::fs::write(dir.join("compile_commands.json"), database(&dir, 40)).unwrap();

    let seen = run(cluster.launcher(&dir).args(["--batch-size=8", "--jobs-from=compile_commands.json"]));

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!((0..40).all(|n| dir.join(format!("s{n}.o")).exists()));
    let notes = cluster.take_notes();
    assert_eq!(notes.matches("ran on ").count(), 40, "{notes}");
    assert!(notes.contains("ran on ash") && notes.contains("ran on birch"), "{notes}");
}

#[test]
fn commands_on_standard_input_fail_with_the_code_of_the_first_that_failed() {
    let cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.dir("build");
    sources(&dir, 2);
    std::fs::write(dir.join("bad.c"), "int f( {\n").unwrap();
    let list = b"gcc\0-c\0s0.c\ngcc\0-c\0bad.c\ngcc\0--version\nno-such-cc\0-c\0s1.c\ngcc\0-c\0s1.c\0-o\0sp ace.o\n";

    let seen = run_with_input(cluster.launcher(&dir).arg("--jobs-from=-"), list);

    assert_eq!(seen.exit, 1, "{seen:?}");
    assert!(dir.join("s0.o").exists() && dir.join("sp ace.o").exists());
    assert!(seen.err().contains("bad.c:1:") && seen.err().contains("no-such-cc: command not found"), "{seen:?}");
    assert!(seen.out().starts_with("gcc (") || seen.out().contains("\ngcc ("), "{seen:?}");
}

#[test]
fn a_list_is_built_here_when_there_is_no_cluster() {
    let cluster = Cluster::without_server();
    let dir = cluster.dir("build");
    sources(&dir, 5);
    std::fs::write(dir.join("compile_commands.json"), database(&dir, 5)).unwrap();

    let seen = run(cluster.launcher(&dir).arg("--jobs-from=compile_commands.json"));

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!((0..5).all(|n| dir.join(format!("s{n}.o")).exists()));
}

#[test]
fn the_sources_of_one_command_are_compiled_side_by_side() {
    let cluster = Cluster::start(&[("ash", 1), ("birch", 1)]);
    let dir = cluster.dir("build");
    sources(&dir, 2);
    let gate = Gate::new(&dir);
    let mut command = cluster.launcher(&dir);
    command.arg(gate.compiler()).args(["-c", "s0.c", "s1.c"]);
    let mut launcher = command.stdin(Stdio::null()).spawn().unwrap();

    let _ = gate.wait_running(2);
    gate.open();

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    assert!(dir.join("s0.o").exists() && dir.join("s1.o").exists());
}

#[test]
fn a_job_that_asks_for_company_does_not_wait_while_a_slot_is_idle() {
    let cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.dir("build");
    sources(&dir, 1);

    // It would wait for an hour; the patience of the test is shorter.
    let seen = run(cluster.launcher(&dir).args(["--batch-size=64", "--batch-timeout=1h", "gcc", "-c", "s0.c"]));

    assert_eq!(seen.exit, 0, "{seen:?}");
    assert!(cluster.take_notes().contains("ran on ash"));
}

#[test]
fn a_long_list_starts_at_once_and_hears_ctrl_c() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("build");
    sources(&dir, 1);
    let gate = Gate::new(&dir);
    let line = [gate.compiler().to_str().unwrap(), "-c", "s0.c"].join("\0") + "\n";
    std::fs::write(dir.join("list"), line.repeat(20_000)).unwrap();
    let mut command = cluster.launcher(&dir);
    let mut launcher = command.arg("--jobs-from=list").stdin(Stdio::null()).spawn().unwrap();
    let compilers = gate.wait_running(1);

    e2e::daemon::signal_process(launcher.id(), libc::SIGINT);

    let status = wait_for_child(&mut launcher, "the launcher");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
    compilers.iter().for_each(|&pid| e2e::gate::wait_gone(pid, std::time::Duration::from_secs(4)));
}
