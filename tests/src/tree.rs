//! A directory's contents as one value: names, kinds, modes, owners, links, bytes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Every file below a directory, by its path relative to it.
pub type Tree = BTreeMap<OsString, Node>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Hard links, also those outside of the tree.
        links: u64,
        /// The first name in the tree of the same file, when that is another one.
        same_as: Option<OsString>,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A symbolic link, with what it points at.
    Link(PathBuf),
    /// A FIFO.
    Fifo,
    /// A socket or device.
    Other,
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
    let mut visit = Visit { root: dir, tree: Tree::new(), first_names: BTreeMap::new() };
    visit.directory(Path::new(""));
    visit.tree
}

struct Visit<'a> {
    root: &'a Path,
    tree: Tree,
    first_names: BTreeMap<(u64, u64), OsString>,
}

impl Visit<'_> {
    fn directory(&mut self, below: &Path) {
        let mut names: Vec<OsString> =
            std::fs::read_dir(self.root.join(below)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // The first name of a file must not depend on the order in a directory.
        names.sort();
        for name in names {
            self.file(&below.join(name));
        }
    }

    fn file(&mut self, name: &Path) {
        let path = self.root.join(name);
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let kind = if metadata.is_dir() {
            self.directory(name);
            Kind::Directory
        } else if metadata.is_symlink() {
            Kind::Link(std::fs::read_link(&path).unwrap())
        } else if metadata.is_file() {
            let first = self.first_names.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.into());
            let same_as = (first != name).then(|| first.clone());
            Kind::File { links: metadata.nlink(), same_as, bytes: Bytes(std::fs::read(&path).unwrap()) }
        } else if metadata.file_type().is_fifo() {
            Kind::Fifo
        } else {
            Kind::Other
        };
        let mode = metadata.permissions().mode() & 0o7777;
        self.tree.insert(name.into(), Node { kind, mode, owner: (metadata.uid(), metadata.gid()) });
    }
}

/// What differs between two trees, a line each; empty when nothing does.
#[must_use]
pub fn differences(left: &Tree, right: &Tree) -> Vec<String> {
    let names = left.keys().chain(right.keys()).collect::<std::collections::BTreeSet<_>>();
    let differing = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
    differing.map(|name| format!("{}: {}", name.to_string_lossy(), change(left.get(name), right.get(name)))).collect()
}

fn change(left: Option<&Node>, right: Option<&Node>) -> String {
    match (left, right) {
        (Some(left), Some(right)) => {
            let first = first_difference(left, right).map(|at| format!(", first at byte {at}")).unwrap_or_default();
            format!("{left:?} / {right:?}{first}")
        }
        (Some(_), None) => "only in the first".to_owned(),
        _ => "only in the second".to_owned(),
    }
}

fn first_difference(left: &Node, right: &Node) -> Option<usize> {
    match (&left.kind, &right.kind) {
        (Kind::File { bytes: left, .. }, Kind::File { bytes: right, .. }) if left != right => {
            let same = left.0.iter().zip(&right.0).take_while(|(left, right)| left == right).count();
            Some(same)
        }
        _ => None,
    }
}
