//! A directory's contents as one value: names, kinds, modes, bytes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Every file below a directory, by its path relative to it.
pub type Tree = BTreeMap<OsString, Node>;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory, with its mode.
    Directory(u32),
    /// A regular file: mode, number of links, digest and length of its bytes.
    File {
        /// Permission bits.
        mode: u32,
        /// Hard links.
        links: u64,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A symbolic link, with what it points at.
    Link(PathBuf),
}

/// Bytes that print short.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Reads a directory.
#[must_use]
pub fn read(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    visit(dir, Path::new(""), &mut tree);
    tree
}

fn visit(root: &Path, below: &Path, tree: &mut Tree) {
    for entry in std::fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        let metadata = entry.metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let node = if metadata.is_dir() {
            visit(root, &name, tree);
            Node::Directory(mode)
        } else if metadata.is_symlink() {
            Node::Link(std::fs::read_link(entry.path()).unwrap())
        } else {
            Node::File { mode, links: metadata.nlink(), bytes: Bytes(std::fs::read(entry.path()).unwrap()) }
        };
        tree.insert(name.into_os_string(), node);
    }
}

/// What differs between two trees, a line each; empty when nothing does.
#[must_use]
pub fn differences(left: &Tree, right: &Tree) -> Vec<String> {
    let names = left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>();
    let differing = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
    differing.map(|name| format!("{}: {:?} / {:?}", name.to_string_lossy(), left.get(name), right.get(name))).collect()
}
