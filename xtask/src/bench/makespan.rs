//! `bench makespan`: recorded builds on simulated fleets, under the scheduler and under what others do.

use std::path::Path;

use anyhow::Context;

use crate::flags::Makespan;
use crate::process;
use crate::workspace::Workspace;

/// Where the tables stand, between these lines.
const DOCUMENT: &str = "docs/scheduling.md";
const BEGIN: &str = "<!-- cargo xtask bench makespan --write: from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Prints the tables; with `--write`, into the document as well.
pub(crate) fn makespan(workspace: &Workspace, flags: &Makespan) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "scheduler-sim", "--bin", "makespan", "--"]);
    cargo.arg(format!("--seeds={}", flags.seeds));
    let tables = process::capture(&mut cargo)?;
    print!("{tables}");
    if flags.write {
        let path = workspace.root().join(DOCUMENT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        std::fs::write(&path, replaced(&text, &tables, &path)?)?;
    }
    Ok(())
}

fn replaced(text: &str, tables: &str, path: &Path) -> anyhow::Result<String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("{} has no place for the tables", path.display()))?;
    Ok(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_tables_give_way_to_new_ones() {
        let old = format!("a\n{BEGIN}\nold\n{END}b\n");

        let new = replaced(&old, "new\n", Path::new("x")).expect("both lines are there");

        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}b\n"));
        assert!(replaced("a\nb\n", "new\n", Path::new("x")).is_err());
    }
}
