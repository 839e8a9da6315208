//! `fuzz`: libFuzzer against the command-line parser, or the scheduler, for as long as one likes.
//!
//! What it finds on its way stays below the target directory and is the start of the next run. The repository holds a
//! few small inputs that reach most of the code; `cargo test` replays them (`crates/cmdline/src/fuzzing.rs`,
//! `crates/scheduler-core/tests/histories.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::flags::{Fuzz, FuzzTarget};
use crate::process;
use crate::workspace::Workspace;

/// Longer inputs take long and find nothing that shorter ones do not.
const MAX_LENGTH: usize = 4096;

impl FuzzTarget {
    /// The crate whose `fuzz` directory has it, and its name there.
    const fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Commands => ("cmdline", "parse_then_print"),
            Self::Histories => ("scheduler-core", "histories"),
        }
    }
}

/// What the repository is to hold at most: a clone pays for it for ever.
const MAX_INPUTS: usize = 100;
const MAX_BYTES: u64 = 64 << 10;

/// Fuzzes; a finding ends the run with an error and the input that shows it.
pub(crate) fn run(workspace: &Workspace, flags: &Fuzz) -> anyhow::Result<()> {
    check_tools()?;
    let (owner, name) = flags.target.place();
    let room = Room {
        fuzz: workspace.root().join("crates").join(owner).join("fuzz"),
        scratch: workspace.target().join("xtask/fuzz").join(name),
        name,
    };
    let (found, kept) = (room.scratch.join("corpus"), room.fuzz.join("corpus").join(name));
    for dir in [&found, &kept] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let limits = [format!("-max_total_time={}", flags.minutes * 60), format!("-max_len={MAX_LENGTH}")];
    let mut fuzz = room.cargo_fuzz(&[&found, &kept]);
    process::run_shown(fuzz.args(limits).args(["-timeout=60", "-print_final_stats=1"]))?;
    if flags.renew_corpus {
        renew(&room, &found, &kept)?;
    }
    Ok(())
}

fn check_tools() -> anyhow::Result<()> {
    let nightly = process::capture(Command::new("rustup").args(["run", "nightly", "rustc", "--version"]));
    if nightly.is_err() {
        bail!("fuzzing needs a nightly compiler; `rustup toolchain install nightly --profile minimal`");
    }
    if !process::on_path("cargo-fuzz") {
        bail!("fuzzing needs cargo-fuzz; `cargo install cargo-fuzz --locked`");
    }
    Ok(())
}

/// Where a target is fuzzed.
struct Room {
    /// Its workspace.
    fuzz: PathBuf,
    /// What is built and found.
    scratch: PathBuf,
    name: &'static str,
}

impl Room {
    /// Runs the fuzzer on `corpora`: it reads all of them and adds to the first. libFuzzer's own flags may follow.
    fn cargo_fuzz(&self, corpora: &[&Path]) -> Command {
        // `rustup run`, for the cargo that runs us belongs to one toolchain and does not know `+nightly`.
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "fuzz", "run", "--fuzz-dir"]).arg(&self.fuzz);
        command.arg("--target-dir").arg(self.scratch.join("target")).arg(self.name).args(corpora).arg("--");
        command
    }
}

/// Puts a selection of the few inputs that together reach what all of them reach into the repository.
fn renew(room: &Room, found: &Path, kept: &Path) -> anyhow::Result<()> {
    let merged = tempfile::tempdir_in(&room.scratch)?;
    process::run_shown(room.cargo_fuzz(&[merged.path(), found, kept]).arg("-set_cover_merge=1"))?;
    let chosen = selection(merged.path())?;
    std::fs::remove_dir_all(kept)?;
    std::fs::create_dir(kept)?;
    for path in &chosen {
        std::fs::copy(path, kept.join(path.file_name().context("an input has a name")?))?;
    }
    println!("{} inputs are in {}", chosen.len(), kept.display());
    Ok(())
}

/// Files of a directory, of all sizes in turn, as many as the repository takes.
fn selection(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.len(), entry.path()));
    }
    inputs.sort_unstable();
    let step = inputs.len().div_ceil(MAX_INPUTS).max(1);
    let mut bytes = 0;
    let fits = |(size, _): &(u64, PathBuf)| {
        bytes += size;
        bytes <= MAX_BYTES
    };
    Ok(inputs.into_iter().step_by(step).take_while(fits).map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_takes_few_and_small_inputs_of_all_sizes() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..250 {
            std::fs::write(dir.path().join(format!("{number:03}")), "x".repeat(number)).expect("a file");
        }
        std::fs::write(dir.path().join("large"), "x".repeat(1 << 17)).expect("a file");

        let chosen = selection(dir.path()).expect("readable");

        assert_eq!(chosen.len(), 84, "every third of 251");
        assert!(chosen.iter().any(|path| path.ends_with("000")) && chosen.iter().any(|path| path.ends_with("249")));
        let bytes: u64 = chosen.iter().map(|path| path.metadata().expect("there").len()).sum();
        assert!(bytes <= MAX_BYTES);
    }

    #[test]
    fn what_is_too_large_stays_out() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("small"), "x").expect("a file");
        std::fs::write(dir.path().join("large"), "x".repeat(1 << 17)).expect("a file");

        assert_eq!(selection(dir.path()).expect("readable"), [dir.path().join("small")]);
    }
}
