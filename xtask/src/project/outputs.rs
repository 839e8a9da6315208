//! What compilers, linkers and archivers make, told by content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::elf;

/// What compilers, linkers and archivers made below a directory, by the path from there.
pub(crate) type Outputs = BTreeMap<PathBuf, Sort>;

/// What an output is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sort {
    Object,
    Archive,
    /// An executable or a shared object.
    Program,
}

/// What a file with this content is; `None` when no such tool made it.
pub(crate) fn sort_of(bytes: &[u8]) -> Option<Sort> {
    if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
        return Some(Sort::Archive);
    }
    match elf::type_of(bytes)? {
        elf::Type::Relocatable => Some(Sort::Object),
        elf::Type::Executable | elf::Type::Shared => Some(Sort::Program),
    }
}

/// Outputs below `root`.
pub(crate) fn below(root: &Path) -> anyhow::Result<Outputs> {
    let mut found = Outputs::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file()
                && let Some(sort) = sort_of(&std::fs::read(&path)?)
            {
                found.insert(path.strip_prefix(root)?.to_owned(), sort);
            }
        }
    }
    Ok(found)
}
