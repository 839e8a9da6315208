//! A copy of the scheduler and its simulator, in which bugs may be planted.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::catalogue::{Bug, By};
use crate::workspace::Workspace;
use crate::{excerpt, process};

/// What is copied.
const CRATES: [&str; 4] = ["model", "scheduler-core", "journal", "scheduler-sim"];

/// Fast to build, fast enough to run, and without the assertions that only debug builds have.
const PROFILE: &str = "
[profile.planted]
inherits = \"dev\"
opt-level = 1
debug = \"none\"
debug-assertions = false
overflow-checks = false
# A run that was interrupted must not leave half of what the next one builds on.
incremental = false
";

/// How long anything may take. A bug that has the scheduler go round for ever is noticed by this.
const PATIENCE: Duration = Duration::from_secs(600);

/// The copy, below the target directory: what it has compiled serves the next run too.
pub(crate) struct Copy {
    root: PathBuf,
    /// Cargo.
    program: OsString,
}

/// What came of a run.
pub(crate) struct Noticed {
    pub(crate) passed: bool,
    /// What was said first, if it did not pass.
    pub(crate) how: String,
}

impl Copy {
    pub(crate) fn make(workspace: &Workspace) -> anyhow::Result<Self> {
        let root = excerpt::make(workspace, "planted-bugs", &CRATES, PROFILE)?;
        Ok(Self { program: workspace.cargo().get_program().to_owned(), root })
    }

    /// Does something while the bug is there.
    pub(crate) fn with<T>(&self, bug: &Bug, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let path = self.root.join("crates/scheduler-core/src").join(&bug.file);
        let source = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        std::fs::write(&path, bug.plant(&source)?)?;
        let result = act().with_context(|| bug.name());
        std::fs::write(&path, source)?;
        result
    }

    /// Builds, and runs what has to notice a bug.
    pub(crate) fn passes(&self, by: &By, seeds: u64) -> anyhow::Result<Noticed> {
        let (mut build, mut command) = match by {
            By::Worlds { restless } => {
                let mut sim = Command::new(self.root.join("target/planted/sim"));
                sim.arg("--outside-only").arg(format!("--seeds={seeds}")).args(restless.then_some("--restless"));
                (self.cargo(&["build", "--package=scheduler-sim", "--bin=sim"], &[]), sim)
            }
            By::Markets => self.test("scheduler-sim", "fairness", &[]),
            By::Test(file, name) => self.test("scheduler-core", file, &["--exact", name]),
        };
        process::run(&mut build).context("it does not compile")?;
        let log = self.root.join("log");
        let ended = process::run_logged_within(&mut command, &log, PATIENCE)?;
        let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        match (ended, by) {
            (Some(status), _) if status.success() => Ok(Noticed { passed: true, how: String::new() }),
            (None, _) => Ok(Noticed { passed: false, how: format!("it does not end within {PATIENCE:?}") }),
            // What the scheduler itself stumbles over was not seen from outside.
            (Some(_), By::Worlds { .. }) if !text.contains("panicked at crates/scheduler-sim/") => {
                bail!("the worlds end otherwise than by their checks:\n{text}")
            }
            (Some(_), _) => Ok(Noticed { passed: false, how: first_words(&text) }),
        }
    }

    /// What builds a test, and what runs it.
    fn test(&self, package: &str, file: &str, runner: &[&str]) -> (Command, Command) {
        let test = ["test", "--package", package, "--test", file];
        (self.cargo(&[&test[..], &["--no-run"]].concat(), &[]), self.cargo(&test, runner))
    }

    fn cargo(&self, arguments: &[&str], runner: &[&str]) -> Command {
        let mut cargo = Command::new(&self.program);
        cargo.current_dir(&self.root).env_remove("CARGO_TARGET_DIR").args(arguments);
        cargo.args(["--quiet", "--offline", "--profile=planted"]);
        if !runner.is_empty() {
            cargo.arg("--").args(runner);
        }
        cargo
    }
}

/// What the first of the panics said, and in which world.
fn first_words(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at"));
    let said: String = lines.by_ref().skip(1).take(1).map(|line| line.chars().take(100).collect::<String>()).collect();
    let seed = text.lines().find_map(|line| line.strip_prefix("seed ")?.split_once(" failed"));
    match seed {
        Some((seed, _)) => format!("seed {seed}: {said}"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_is_what_is_told() {
        let text =
            "noise\nthread 'main' panicked at crates/x.rs:1:2:\nit is wrong\nmore\n\nseed 7 failed; again: cargo\n";

        assert_eq!(first_words(text), "seed 7: it is wrong");
        assert_eq!(first_words(&text[..60]), "it is wrong");
    }
}
