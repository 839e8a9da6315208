//! Manual pages, made from what `--help` prints: one text to keep right.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process;
use crate::workspace::{BINARIES, Workspace};

/// Writes a page for each binary of `binaries` into `dir`, and returns their paths.
pub(crate) fn write_pages(workspace: &Workspace, binaries: &Path, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut pages = Vec::new();
    for name in BINARIES {
        // Daemons are of section 8, commands of section 1.
        let section = if name.starts_with("distccd-") { 8 } else { 1 };
        let help = process::capture(Command::new(binaries.join(name)).arg("--help"))?;
        let path = dir.join(format!("{name}.{section}"));
        std::fs::write(&path, page(name, section, &workspace.version(), &help))
            .with_context(|| format!("cannot write {}", path.display()))?;
        pages.push(path);
    }
    Ok(pages)
}

/// The help text as a page: its first line names the purpose, the rest stands as it is.
fn page(name: &str, section: u8, version: &str, help: &str) -> String {
    let purpose = help.lines().next().unwrap_or_default();
    let purpose = purpose.strip_prefix(&format!("{name}: ")).unwrap_or(purpose);
    let body: Vec<String> = help.lines().skip(1).map(roff).collect();
    let title = name.to_uppercase();
    format!(
        ".TH {title} {section} \"\" \"distccd {version}\"\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n.nf\n{}\n.fi\n",
        roff(name),
        roff(purpose),
        body.join("\n").trim_matches('\n')
    )
}

/// A line that troff prints as it is.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_purpose_and_nothing_is_taken_for_a_request() {
        let page = page("ld-launcher", 1, "0.1.0", "ld-launcher: links\n\nUsage:\n.x --y\n");

        assert!(page.contains(".SH NAME\nld\\-launcher \\- links\n"), "{page}");
        assert!(page.contains("Usage:\n\\&.x \\-\\-y\n"), "{page}");
    }
}
