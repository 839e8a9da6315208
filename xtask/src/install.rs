//! `install`: binaries and manual pages to where they are found, and links that stand in for compilers.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, bail};

use crate::dist::copy;
use crate::flags::Install;
use crate::workspace::{BINARIES, Workspace};

/// Names under which each launcher stands in. Bare linkers are left out: the compiler driver runs them itself, and by
/// its own search, not by the PATH.
const MASQUERADE: [(&str, &[&str]); 2] = [
    ("cc-launcher", &["c++", "cc", "clang", "clang++", "g++", "gcc"]),
    ("ld-launcher", &["ar", "gcc-ar", "gcc-ranlib", "llvm-ar", "llvm-ranlib", "ranlib"]),
];

/// Copies, and links where asked to.
pub(crate) fn run(workspace: &Workspace, flags: &Install) -> anyhow::Result<()> {
    let binaries = workspace.release_binaries()?;
    let bin = flags.prefix.join("bin");
    for name in BINARIES {
        copy(&binaries.join(name), &bin.join(name))?;
        println!("{}", bin.join(name).display());
    }
    install_pages(&workspace.root().join("deploy/man"), &flags.prefix.join("share/man"))?;
    match &flags.masquerade {
        Some(dir) => {
            masquerade(&bin, dir)?;
            MASQUERADE
                .iter()
                .flat_map(|(launcher, names)| names.iter().map(move |name| (launcher, name)))
                .for_each(|(launcher, name)| println!("{} -> {launcher}", dir.join(name).display()));
            println!("put {} first on the PATH", dir.display());
            Ok(())
        }
        None => Ok(()),
    }
}

/// Puts each manual page into the directory of its section.
fn install_pages(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let page = entry?.path();
        let section = page.extension().unwrap_or_default().to_string_lossy().into_owned();
        let to = to.join(format!("man{section}")).join(page.file_name().unwrap_or_default());
        copy(&page, &to)?;
        println!("{}", to.display());
    }
    Ok(())
}

/// Makes `dir` a directory of links named like compilers and archivers, to the launchers in `bin`.
pub(crate) fn masquerade(bin: &Path, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let bin = bin.canonicalize()?;
    for (launcher, names) in MASQUERADE {
        for name in names {
            let link = dir.join(name);
            match link.symlink_metadata() {
                Ok(there) if there.is_symlink() => std::fs::remove_file(&link)?,
                // In a directory of real compilers we would replace one.
                Ok(_) => bail!("{} is there and is no link; name a directory of its own", link.display()),
                Err(_) => {}
            }
            symlink(bin.join(launcher), &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    Ok(())
}
