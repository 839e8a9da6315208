//! Third-party sources from Debian, by name, version and SHA-256.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::prerequisites::{self, SOURCES, apt_get};
use crate::process;
use crate::workspace::Workspace;

/// The release whose sources we know by version. A stable release changes only for security.
const SUITE: &str = "bookworm";

/// A source package, and those of its files that we unpack.
pub(crate) struct SourcePackage {
    /// Name and version as `apt-get source` takes them.
    pub(crate) name: &'static str,
    /// The version.
    pub(crate) version: &'static str,
    /// File names with their SHA-256, in the order of unpacking.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// The package's files, downloaded once and checked at every use. The machine's apt configuration is not touched:
/// sources list, package lists and cache are our own.
pub(crate) fn debian_source(workspace: &Workspace, package: &SourcePackage) -> anyhow::Result<Vec<PathBuf>> {
    if package.files.is_empty() {
        return Ok(Vec::new());
    }
    prerequisites::ensure(SOURCES)?;
    let store = workspace.target().join("xtask/sources");
    std::fs::create_dir_all(&store).with_context(|| format!("cannot make {}", store.display()))?;
    let paths: Vec<PathBuf> = package.files.iter().map(|(name, _)| store.join(name)).collect();
    if !paths.iter().all(|path| path.exists()) {
        download(package, &store)?;
    }
    for (path, (name, expected)) in paths.iter().zip(package.files) {
        let found = sha256(path)?;
        if found != *expected {
            // Away with it, so that the next run fetches it anew.
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            bail!("{name} has SHA-256 {found}, but {expected} is expected");
        }
    }
    Ok(paths)
}

/// Unpacks a tarball into `dir`, without the one directory that holds everything in it.
pub(crate) fn unpack(tarball: &Path, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    process::run(Command::new("tar").arg("-xf").arg(tarball).arg("-C").arg(dir).arg("--strip-components=1"))
}

fn download(package: &SourcePackage, store: &Path) -> anyhow::Result<()> {
    eprintln!("xtask: fetching the source of {} {}", package.name, package.version);
    // Downloads land in the current directory: a fresh one, so that half a file is never taken for a whole one.
    let scratch = tempfile::tempdir_in(store)?;
    let dir = scratch.path();
    for sub in ["lists/partial", "cache/archives/partial", "got"] {
        std::fs::create_dir_all(dir.join(sub))?;
    }
    let line = format!(
        "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {SUITE} main\n"
    );
    std::fs::write(dir.join("sources.list"), line)?;
    let shown = dir.display();
    let own = [
        format!("Dir::State::lists={shown}/lists"),
        format!("Dir::Cache={shown}/cache"),
        format!("Dir::Etc::sourcelist={shown}/sources.list"),
        "Dir::Etc::sourceparts=-".to_owned(),
        "Acquire::Retries=3".to_owned(),
    ];
    let apt = |arguments: &[&str]| {
        let mut command = apt_get();
        command.current_dir(dir.join("got")).args(own.iter().flat_map(|option| ["-o", option]));
        process::run(command.args(arguments))
    };
    let why = || format!("cannot fetch the source of {} {} from Debian {SUITE}", package.name, package.version);
    apt(&["update"]).with_context(why)?;
    let wanted = format!("{}={}", package.name, package.version);
    apt(&["source", "--download-only", &wanted]).with_context(why)?;
    for (name, _) in package.files {
        std::fs::rename(dir.join("got").join(name), store.join(name))
            .with_context(|| format!("apt-get source {wanted} brought no {name}"))?;
    }
    Ok(())
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let line = process::capture(Command::new("sha256sum").arg(path))?;
    line.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}
