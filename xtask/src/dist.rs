//! `dist`: what goes to a machine without a Rust toolchain, as a directory and as a tarball of it.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::flags::Dist;
use crate::process;
use crate::workspace::{BINARIES, Workspace};

/// Makes both.
pub(crate) fn run(workspace: &Workspace, flags: &Dist) -> anyhow::Result<()> {
    let binaries = workspace.release_binaries()?;
    let out = flags.out.clone().unwrap_or_else(|| workspace.target().join("dist"));
    let name = format!("distccd-{}-{}-linux", workspace.version(), std::env::consts::ARCH);
    let dir = out.join(&name);
    if dir.exists() {
        // Ours, by its name: what an older release put there is not to travel with this one.
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    for binary in BINARIES {
        copy(&binaries.join(binary), &dir.join("bin").join(binary))?;
    }
    for sort in ["systemd", "config", "man"] {
        copy_files(&workspace.root().join("deploy").join(sort), &dir.join(sort))?;
    }
    for document in ["LICENSE", "README.md"] {
        copy(&workspace.root().join(document), &dir.join(document))?;
    }
    let tarball = out.join(format!("{name}.tar.gz"));
    process::run(Command::new("tar").arg("-C").arg(&out).arg("-czf").arg(&tarball).arg(&name))?;
    println!("{}\n{}", dir.display(), tarball.display());
    Ok(())
}

/// Copies a file with its mode, below directories that are made.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let dir = to.parent().context("a file has a directory")?;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Beside it first: a binary that runs cannot be written into, but its name can be given to another.
    let beside = to.with_extension("new");
    std::fs::copy(from, &beside)
        .and_then(|_| std::fs::rename(&beside, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
