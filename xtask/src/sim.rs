//! `sim`: simulated worlds, in release: there are many of them.

use anyhow::Result;

use crate::flags::Sim;
use crate::process;
use crate::workspace::Workspace;

/// Runs them; a world that breaks a promise ends the run with its seed.
pub(crate) fn run(workspace: &Workspace, flags: &Sim) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "scheduler-sim", "--bin", "sim", "--"]);
    match flags.seed {
        Some(seed) => cargo.arg(format!("--seed={seed}")),
        None => cargo.arg(format!("--seeds={}", flags.seeds)).arg(format!("--from={}", flags.from)),
    };
    if let Some(dir) = &flags.journal {
        cargo.arg("--journal").arg(std::path::absolute(dir)?);
    }
    process::run_shown(&mut cargo)
}
