//! `bench makespan`: recorded builds on simulated fleets, under the scheduler and under what others do.

use crate::bench::document;
use crate::flags::Makespan;
use crate::process;
use crate::workspace::Workspace;

/// Prints the tables; with `--write`, into the document as well.
pub(crate) fn makespan(workspace: &Workspace, flags: &Makespan) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "scheduler-sim", "--bin", "makespan", "--"]);
    cargo.arg(format!("--seeds={}", flags.seeds));
    let tables = process::capture(&mut cargo)?;
    print!("{tables}");
    if flags.write {
        document::write(workspace, document::SCHEDULING, "makespan", &tables)?;
    }
    Ok(())
}
