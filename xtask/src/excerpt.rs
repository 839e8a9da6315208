//! An excerpt of the workspace: some of its crates, in a workspace of their own below the target directory, where they may
//! be changed. What was compiled there serves the next run too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::workspace::Workspace;

/// The workspace's members, as its manifest has them.
const MEMBERS: &str = "members = [\"crates/*\", \"tests\", \"xtask\"]";

/// Makes the excerpt of this name, or brings it up to date. `profile` is added to its manifest.
pub(crate) fn make(workspace: &Workspace, name: &str, crates: &[&str], profile: &str) -> anyhow::Result<PathBuf> {
    let root = workspace.target().join("xtask").join(name);
    std::fs::create_dir_all(&root)?;
    let manifest = std::fs::read_to_string(workspace.root().join("Cargo.toml"))?;
    ensure!(manifest.contains(MEMBERS), "the workspace has other members than {MEMBERS}");
    let manifest = manifest.replace(MEMBERS, "members = [\"crates/*\"]") + profile;
    write_if_other(&root.join("Cargo.toml"), manifest.as_bytes())?;
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        write_if_other(&root.join(file), &std::fs::read(workspace.root().join(file))?)?;
    }
    for name in crates {
        mirror(&workspace.root().join("crates").join(name), &root.join("crates").join(name))?;
    }
    Ok(root)
}

/// Makes `to` hold what `from` holds. Files that are the same keep their times, so that cargo need not build them again.
fn mirror(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == "target" {
            continue; // Of a fuzzer's workspace.
        }
        let (path, twin) = (entry.path(), to.join(entry.file_name()));
        there.insert(entry.file_name());
        if entry.file_type()?.is_dir() { mirror(&path, &twin)? } else { write_if_other(&twin, &std::fs::read(&path)?)? }
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if there.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a file that does not hold that already.
pub(crate) fn write_if_other(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_mirror_holds_the_same_and_touches_only_what_differs() {
        let (from, to) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        std::fs::create_dir(from.path().join("src")).expect("a directory");
        std::fs::write(from.path().join("src/lib.rs"), "one").expect("a file");
        std::fs::write(to.path().join("old"), "gone").expect("a file");
        mirror(from.path(), to.path()).expect("a mirror");
        let time = || std::fs::metadata(to.path().join("src/lib.rs")).and_then(|it| it.modified()).expect("a time");
        let long_ago = UNIX_EPOCH + Duration::from_secs(1);
        let file = std::fs::File::options().write(true).open(to.path().join("src/lib.rs")).expect("the file");
        file.set_modified(long_ago).expect("settable");

        mirror(from.path(), to.path()).expect("a mirror");
        assert_eq!(time(), long_ago);
        std::fs::write(from.path().join("src/lib.rs"), "two").expect("a file");
        mirror(from.path(), to.path()).expect("a mirror");

        assert!(time() > long_ago && !to.path().join("old").exists());
    }
}
