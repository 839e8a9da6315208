//! `bench scheduler`: what a job costs the scheduler, by the size of the fleet and of the queue.

use crate::bench::document;
use crate::flags::SchedulerCost;
use crate::process;
use crate::workspace::Workspace;

/// Prints the table; with `--write`, into the document as well.
pub(crate) fn scheduler(workspace: &Workspace, flags: &SchedulerCost) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--quiet", "--package", "scheduler-core", "--bench", "cycles"]);
    // As the server's unit has it, and for the same reason.
    cargo.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    let table = process::capture(&mut cargo)?;
    print!("{table}");
    if flags.write {
        document::write(workspace, document::SCHEDULING, "scheduler", &table)?;
    }
    Ok(())
}
