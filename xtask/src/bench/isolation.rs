//! `bench isolation`: what an attempt waits for its namespaces and overlays, by the worker's own trials.

use std::path::Path;

use crate::flags::Isolation;
use crate::process;
use crate::workspace::Workspace;

/// Has the built worker probe a directory, which prints both medians, with isolation and without, measured in turns.
pub(crate) fn isolation(workspace: &Workspace, flags: &Isolation) -> anyhow::Result<()> {
    let binaries = workspace.release_binaries()?;
    let scratch = workspace.scratch("bench-isolation")?;
    let dir = flags.dir.as_deref().unwrap_or_else(|| scratch.path());
    probe(&binaries, dir)
}

/// The same of a directory that need be there only for this thread.
pub(crate) fn probe(binaries: &Path, dir: &Path) -> anyhow::Result<()> {
    let mut worker = std::process::Command::new(binaries.join("distccd-worker"));
    worker.args(["--config=/dev/null", "--probe"]).arg(format!("--fs-mount={}", dir.display()));
    process::run_shown(&mut worker)
}
