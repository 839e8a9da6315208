//! `replay`: lives through journals of the server, or of simulated worlds, again.

use anyhow::Result;

use crate::flags::Replay;
use crate::process;
use crate::workspace::Workspace;

/// A step that goes another way than recorded, or is damaged, ends the run with its number.
pub(crate) fn run(workspace: &Workspace, flags: &Replay) -> Result<()> {
    // The files are named from where the user stands, and cargo runs at the root.
    let journals = flags.journals.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package", "journal", "--bin", "replay", "--"]).args(journals);
    process::run_shown(&mut cargo)
}
