//! Two small C programs of our own that measuring needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process;

/// Where they are.
pub(crate) struct Tools {
    /// A compiler that costs next to nothing; named `gcc`, so that everybody knows what it is.
    pub(crate) fake_gcc: PathBuf,
    /// Prints the peak memory of a command.
    pub(crate) peak: PathBuf,
}

impl Tools {
    /// Compiles both below `dir`.
    pub(crate) fn build(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            fake_gcc: compile(include_str!("fake_cc.c"), dir, "fake/gcc")?,
            peak: compile(include_str!("peak.c"), dir, "peak/peak")?,
        })
    }
}

fn compile(text: &str, dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let program = dir.join(name);
    let source = program.with_extension("c");
    std::fs::create_dir_all(program.parent().context("a program has a directory")?)?;
    std::fs::write(&source, text)?;
    process::run(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source))?;
    Ok(program)
}
