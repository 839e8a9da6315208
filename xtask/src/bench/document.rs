//! The documents that show what was measured: each command writes its tables between two lines of its own.

use std::path::Path;

use anyhow::Context;

use crate::workspace::Workspace;

/// What is about the scheduler.
pub(crate) const SCHEDULING: &str = "docs/scheduling.md";
/// What is about shared filesystems.
pub(crate) const FILESYSTEMS: &str = "docs/filesystems.md";
const END: &str = "<!-- to here -->\n";

/// Writes what `cargo xtask bench NAME` printed into its place in a document.
pub(crate) fn write(workspace: &Workspace, document: &str, name: &str, tables: &str) -> anyhow::Result<()> {
    let path = workspace.root().join(document);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    std::fs::write(&path, replaced(&text, name, tables, &path)?)?;
    Ok(())
}

fn replaced(text: &str, name: &str, tables: &str, path: &Path) -> anyhow::Result<String> {
    let begin = format!("<!-- cargo xtask bench {name} --write: from here -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("{} has no place for the tables of {name}", path.display()))?;
    Ok(format!("{before}{begin}\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_tables_give_way_to_new_ones() {
        let begin = |name: &str| format!("<!-- cargo xtask bench {name} --write: from here -->\n");
        let old = format!("a\n{}\nold\n{END}b\n{}\nother\n{END}c\n", begin("one"), begin("two"));

        let new = replaced(&old, "one", "new\n", Path::new("x")).expect("both lines are there");

        assert_eq!(new, format!("a\n{}\nnew\n\n{END}b\n{}\nother\n{END}c\n", begin("one"), begin("two")));
        assert!(replaced("a\nb\n", "one", "new\n", Path::new("x")).is_err());
    }
}
