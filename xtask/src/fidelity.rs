//! `fidelity`: hundreds of command lines, direct and through the launchers; nothing that can be seen may differ.

use anyhow::Result;

use crate::flags::Fidelity;
use crate::prerequisites::{self, TESTS};
use crate::process;
use crate::workspace::{BINARIES, Workspace};

/// Builds what is compared and runs the cases, which print what differs and what stayed; an error when something
/// differs, or too little ran on workers.
pub(crate) fn run(workspace: &Workspace, flags: &Fidelity) -> Result<()> {
    prerequisites::ensure(TESTS)?;
    let packages = BINARIES.iter().flat_map(|name| ["--package", name]);
    process::run_shown(workspace.cargo().args(["build", "--quiet"]).args(packages))?;
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package", "e2e", "--bin", "fidelity", "--"]);
    cargo.env("DISTCCD_BIN_DIR", workspace.target().join("debug"));
    cargo.args(["--isolation", &flags.isolation]);
    if let Some(only) = &flags.only {
        cargo.args(["--only", only]);
    }
    process::run_shown(&mut cargo)
}
