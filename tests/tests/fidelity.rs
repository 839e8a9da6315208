//! Indistinguishable from the compiler: the whole matrix of `e2e::fidelity`, and that the matrix would notice.

use std::path::{Path, PathBuf};

use e2e::cluster::Cluster;
use e2e::fidelity::{Case, Harness, Report, cases};
use e2e::gate::write_executable;
use e2e::run::run_with_input;

#[test]
fn every_command_line_looks_the_same_through_the_launcher() {
    let report = Harness::new().run(&cases());

    println!("{report}\nslowest: {:?}", report.slowest(8));
    assert!(report.is_good(), "see above");
}

/// A few cases through a wrapper that is a shell script: the compiler is `"$@"`.
fn through(script: &str, names: &[&str]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let wrapper: PathBuf = dir.path().join("wrapper");
    write_executable(&wrapper, &format!("#!/bin/bash\n{script}\n"));
    let chosen: Vec<Case> = cases().into_iter().filter(|case| names.contains(&case.name().as_str())).collect();
    assert_eq!(chosen.len(), names.len(), "{names:?}");
    Harness::through(&wrapper).run(&chosen)
}

/// Cases that each planted bug can be told by, at least one.
const TELLING: [&str; 8] = [
    "compiles: plain -c",
    "compiles: warning",
    "compiles: error",
    "compiles: -E",
    "dependencies: -MD",
    "side files: split dwarf",
    "environment: killed by SIGKILL",
    "odd files: assembly with a second name",
];

#[test]
fn a_faithful_wrapper_passes() {
    let report = through("exec \"$@\"", &TELLING);

    assert_eq!(report.differing_names(), Vec::<&str>::new(), "{report}");
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, script, found_by) in [
        ("drops -MD", "a=(); for w; do [ \"$w\" = -MD ] || a+=(\"$w\"); done; exec \"${a[@]}\"", "dependencies: -MD"),
        ("swallows stderr", "exec \"$@\" 2>/dev/null", "compiles: warning"),
        ("swallows stdout", "exec \"$@\" >/dev/null", "compiles: -E"),
        ("turns 1 into 2", "\"$@\"; c=$?; [ $c = 1 ] && exit 2; exit $c", "compiles: error"),
        ("loses .dwo", "\"$@\"; c=$?; rm -f ./*.dwo; exit $c", "side files: split dwarf"),
        ("changes a mode", "\"$@\"; c=$?; chmod -f 600 ./*.o; exit $c", "compiles: plain -c"),
        ("adds a file", "\"$@\"; c=$?; : >stray; exit $c", "compiles: plain -c"),
        ("adds a file elsewhere", "\"$@\"; c=$?; : >inc/stray; exit $c", "compiles: plain -c"),
        ("turns a signal into a code", "\"$@\"; exit $?", "environment: killed by SIGKILL"),
        (
            "parts two names of one file",
            "\"$@\"; c=$?; cp one.s t && mv t one.s; exit $c",
            "odd files: assembly with a second name",
        ),
        (
            "changes one byte",
            "\"$@\"; c=$?; for f in *.o; do printf x | dd of=$f bs=1 seek=70 conv=notrunc status=none; done; exit $c",
            "compiles: plain -c",
        ),
        ("prints twice", "\"$@\"; \"$@\"", "compiles: warning"),
        ("compiles with another flag", "exec \"$@\" -g", "compiles: plain -c"),
        ("adds a name", "\"$@\"; c=$?; ln -f a.o second 2>/dev/null; exit $c", "compiles: plain -c"),
    ] {
        let report = through(script, &[found_by]);

        assert_eq!(report.differing_names(), [found_by], "{bug}: {report}");
        assert!(!report.is_good(), "{bug}");
    }
}

/// Both runs have a terminal as their standard error, as under a shell; util-linux's `script` makes it.
#[test]
fn on_a_terminal_the_compiler_colours_what_it_says_as_it_does_directly() {
    let cluster = Cluster::start(&[("ash", 1)]);
    let dir = cluster.dir("tree");
    sources(&dir);
    let on_terminal = |prefix: &str, compiler: &str| {
        let call = format!(
            "stty cols 60 rows 20; {prefix} {compiler} -Wall -Wextra -c warn.c bad.c -o /dev/null; {prefix} {compiler} -Wall -c warn.c"
        );
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--return", "--command", &call, "/dev/null"]).current_dir(&dir).env_clear();
        let launcher = cluster.launcher(&dir);
        command
            .envs(launcher.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm-256color");
        run_with_input(&mut command, b"")
    };

    for compiler in ["gcc", "clang"] {
        let direct = on_terminal("", compiler);
        let launched = on_terminal(&format!("{} --", e2e::binaries::path("cc-launcher").display()), compiler);

        assert!(direct.out().contains("\x1b["), "{direct:?}");
        assert_eq!(direct, launched);
        assert!(cluster.take_notes().contains("ran on ash"));
    }
}

fn sources(dir: &Path) {
    std::fs::write(dir.join("warn.c"), "int f(void) { int unused; return 0; }\n").unwrap();
    std::fs::write(dir.join("bad.c"), "int f( { return 0 }\nint g(void) { retrun 1; }\n").unwrap();
}
