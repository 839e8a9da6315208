//! `test`: everything that proves the product, step after step; a failed one does not hide the next ones.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::flags::{Chaos, Demo, Filesystem, Generator, Project, Sim, Test, TestFilesystems};
use crate::prerequisites::{self, TESTS};
use crate::workspace::{BINARIES, Workspace};
use crate::{chaos, demo, filesystems, launchers, process, sim, tidy};

/// Worlds that the scheduler has to survive in each run.
const SEEDS: u64 = 500;

/// What a step found.
enum Outcome {
    /// Fine; so many tests beside the step itself.
    Passed(usize),
    /// This many tests failed, this many passed.
    Failed { passed: usize, failed: usize },
    /// Not possible here, and not needed.
    Skipped(String),
}

type Step = (&'static str, fn(&Workspace) -> anyhow::Result<Outcome>);

/// In the order of running: what fails soonest first.
const STEPS: &[Step] = &[
    ("prerequisites", |_| done(prerequisites::ensure(TESTS))),
    ("tidy", |workspace| done(tidy::run(workspace))),
    ("fmt", |workspace| cargo(workspace, &["fmt", "--all", "--check"])),
    ("clippy", |workspace| {
        cargo(workspace, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])
    }),
    ("doc", doc),
    ("deny", deny),
    ("tests", tests),
    ("sim", |workspace| done(sim::run(workspace, &Sim { seeds: SEEDS, from: 0, seed: None, journal: None }))),
    ("launchers", |workspace| done(launchers::run(workspace))),
    ("demo: CMake + Ninja", |workspace| demonstrate(workspace, Project::Taglib, Generator::Ninja)),
    ("demo: CMake + Makefiles", |workspace| demonstrate(workspace, Project::Taglib, Generator::Make)),
    ("demo: plain make", |workspace| demonstrate(workspace, Project::Lua, Generator::Make)),
    ("chaos", storm),
    ("filesystems: stalefs", |workspace| on_filesystem(workspace, Filesystem::Stalefs)),
    ("filesystems: CephFS", |workspace| on_filesystem(workspace, Filesystem::Cephfs)),
];

/// Runs the steps; the last line counts.
pub(crate) fn run(workspace: &Workspace, flags: &Test) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    for (name, step) in STEPS {
        if flags.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        if flags.list {
            println!("{name}");
            continue;
        }
        println!("==> {name}");
        let start = Instant::now();
        let outcome = step(workspace);
        process::check_interrupted()?;
        report.add(name, outcome, start.elapsed());
    }
    if flags.list {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(report.close())
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    passed: usize,
    failed: usize,
}

impl Report {
    fn add(&mut self, name: &str, outcome: anyhow::Result<Outcome>, took: Duration) {
        let word = match outcome {
            Ok(Outcome::Passed(tests)) => {
                self.passed += 1 + tests;
                "ok".to_owned()
            }
            Ok(Outcome::Failed { passed, failed }) => {
                self.passed += passed;
                self.failed += failed;
                "FAILED".to_owned()
            }
            Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => {
                self.failed += 1;
                println!("{error:#}");
                "FAILED".to_owned()
            }
        };
        let line = format!("{name:<24} {:>7.1} s  {word}", took.as_secs_f64());
        println!("<== {line}\n");
        self.lines.push(line);
    }

    fn close(&self) -> ExitCode {
        println!("{}\n", self.lines.join("\n"));
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<Outcome> {
    result.map(|()| Outcome::Passed(0))
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> anyhow::Result<Outcome> {
    done(process::run_shown(workspace.cargo().args(arguments)))
}

fn doc(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let mut cargo = workspace.cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    // Binaries carry the names of their libraries with another dash; each crate is documented once.
    done(process::run_shown(cargo.args(["doc", "--workspace", "--no-deps", "--quiet"])))
}

/// The licences and advisories of what we depend on; the tool is optional, it takes long to build.
fn deny(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if !process::on_path("cargo-deny") {
        return Ok(Outcome::Skipped("no cargo-deny on the PATH".to_owned()));
    }
    cargo(workspace, &["deny", "--offline", "check", "licenses", "bans", "sources"])
}

/// Every Rust test, with the binaries of the same profile for those that start them.
fn tests(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let packages = BINARIES.iter().flat_map(|name| ["--package", name]);
    process::run_shown(workspace.cargo().args(["build", "--quiet"]).args(packages))?;
    let log = workspace.target().join("xtask-tests.log");
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("DISTCCD_BIN_DIR", workspace.target().join("debug"));
    let result = process::run_logged(&mut command, &log);
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let (passed, failed) = count(&text);
    match result {
        Ok(()) => {
            println!("{passed} tests passed");
            Ok(Outcome::Passed(passed))
        }
        Err(error) => {
            println!("{}\n{error:#}", failures(&text));
            Ok(Outcome::Failed { passed, failed: failed.max(1) })
        }
    }
}

/// Sums up cargo's `test result: ok. 12 passed; 0 failed; ...` lines.
fn count(text: &str) -> (usize, usize) {
    let mut sums = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("test result: ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let number = pair[0].parse().unwrap_or(0);
            match pair[1] {
                "passed;" => sums.0 += number,
                "failed;" => sums.1 += number,
                _ => {}
            }
        }
    }
    sums
}

/// What the tests that failed said.
fn failures(text: &str) -> String {
    let mut shown = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "failures:" => inside = true,
            _ if line.starts_with("test result: ") => inside = false,
            _ => {}
        }
        if inside || line.ends_with("... FAILED") {
            shown.push(line);
        }
    }
    shown.join("\n")
}

fn demonstrate(workspace: &Workspace, project: Project, generator: Generator) -> anyhow::Result<Outcome> {
    let code = demo::run(workspace, &Demo { project, generator, workers: 3, slots: 2, keep: false })?;
    Ok(if code == ExitCode::SUCCESS { Outcome::Passed(0) } else { Outcome::Failed { passed: 0, failed: 1 } })
}

/// One short seed; the long campaign is `cargo xtask chaos --seeds=20`.
fn storm(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if !chaos::is_possible() {
        return Ok(Outcome::Skipped("hosts are network namespaces, which only root may make".to_owned()));
    }
    let flags = Chaos {
        mix_with: None,
        seed: 1,
        seeds: 1,
        minutes: 1,
        project: Project::Taglib,
        workers: 4,
        slots: 3,
        jobs: 24,
        binaries: None,
        keep: false,
    };
    let code = chaos::run(workspace, &flags)?;
    Ok(if code == ExitCode::SUCCESS { Outcome::Passed(0) } else { Outcome::Failed { passed: 0, failed: 1 } })
}

/// A small project and a short torture; the long campaigns are `cargo xtask test-filesystems`.
fn on_filesystem(workspace: &Workspace, filesystem: Filesystem) -> anyhow::Result<Outcome> {
    if !filesystems::is_possible() {
        return Ok(Outcome::Skipped("mounts are only for root, and need /dev/fuse".to_owned()));
    }
    let code = filesystems::run(workspace, &TestFilesystems::short(filesystem))?;
    Ok(if code == ExitCode::SUCCESS { Outcome::Passed(0) } else { Outcome::Failed { passed: 0, failed: 1 } })
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn every_result_line_counts() {
        let text = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test x ... FAILED\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";

        assert_eq!(count(text), (15, 2));
    }
}
