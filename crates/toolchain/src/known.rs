//! What is known of a toolchain once it was read, and what two of them differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::mark::Mark;
use crate::search::is_executable;

/// Of another reading of toolchains: fingerprints of two releases that read otherwise must not be compared.
const READING: &[u8] = b"distccd toolchain 1\n";

/// The content of all parts of a toolchain in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    pub(crate) fn over(parts: &[Part]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(READING);
        for part in parts {
            hasher.update(&(part.name.len() as u64).to_le_bytes()).update(part.name.as_bytes()).update(&part.digest);
        }
        let mut fingerprint = [0; 16];
        hasher.finalize_xof().fill(&mut fingerprint);
        Self(fingerprint)
    }
}

/// One part of a toolchain, by name: `cc1plus`, `libisl.so.23`, `libc headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

impl Part {
    pub(crate) fn new(name: &str, contents: &BTreeSet<Digest>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for content in contents {
            hasher.update(content);
        }
        Self { name: name.to_owned(), digest: *hasher.finalize().as_bytes() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and content in 64 bits, to tell people what differs: half of it is of the name.
    #[must_use]
    pub fn code(&self) -> u64 {
        let name = blake3::hash(self.name.as_bytes());
        let half = |bytes: &[u8; 32]| u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        half(name.as_bytes()) << 32 | half(&self.digest)
    }
}

/// What is known of a toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) parts: Vec<Part>,
    pub(crate) version: String,
    pub(crate) target: String,
    pub(crate) by_path: Vec<(String, PathBuf)>,
}

impl Known {
    /// The fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its parts, by name.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The first line of `--version`; empty when it says nothing in time.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a driver answers to `-dumpmachine`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The names of the parts in which this one and another differ, and which only one of them has.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let of = |known: &Self| known.parts.iter().map(|part| (part.name.clone(), part.digest)).collect();
        let (ours, theirs): (BTreeMap<_, _>, BTreeMap<_, _>) = (of(self), of(other));
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect()
    }

    /// Where the `PATH` of a command leads to another `as` or `ld` than the one that was read: drivers without one of
    /// their own execute what is there. `accepts` what lies on a shared mount, and what is none (a link to a launcher).
    #[must_use]
    pub fn missed_by_path(&self, path: &OsStr, accepts: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        self.by_path.iter().find_map(|(name, read)| {
            let mut candidates = std::env::split_paths(path).map(|dir| dir.join(name));
            let meant = candidates.find(|candidate| is_executable(candidate))?;
            let is_it = meant == *read || is_same_file(&meant, read) || accepts(&meant);
            (!is_it).then_some(meant)
        })
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let inode = |path| Mark::of_path(path).ok().map(|mark| (mark.device, mark.inode));
    inode(one).is_some() && inode(one) == inode(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(parts: &[(&str, u8)]) -> Known {
        let parts: Vec<Part> = parts.iter().map(|&(name, byte)| Part::new(name, &[[byte; 32]].into())).collect();
        let (version, target) = (String::new(), String::new());
        Known { fingerprint: Fingerprint::over(&parts), parts, version, target, by_path: Vec::new() }
    }

    #[test]
    fn what_differs_is_named() {
        let one = known(&[("as", 1), ("cc1", 2), ("cc1plus", 3)]);
        let other = known(&[("as", 1), ("cc1", 9), ("ld", 4)]);

        assert_eq!(one.differences(&other), ["cc1", "cc1plus", "ld"]);
        assert!(one.differences(&one).is_empty());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_name_and_a_content_are_not_mixed_up() {
        assert_ne!(known(&[("ab", 1)]).fingerprint(), known(&[("a", 1)]).fingerprint());
        let (one, other) = (known(&[("as", 1)]), known(&[("as", 2)]));
        let (one, other) = (one.parts[0].code(), other.parts[0].code());
        assert_eq!(one >> 32, other >> 32);
        assert_ne!(one, other);
    }

    #[test]
    fn another_assembler_before_the_right_one_on_the_path_is_noticed() {
        let read = std::fs::canonicalize("/bin/sh").unwrap();
        let known = Known { by_path: vec![("sh".to_owned(), read)], ..known(&[]) };
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/true", dir.path().join("sh")).unwrap();
        let path = std::env::join_paths([dir.path(), Path::new("/bin")]).unwrap();

        assert_eq!(known.missed_by_path("/bin:/usr/bin".as_ref(), |_| false), None);
        assert_eq!(known.missed_by_path(&path, |_| false), Some(dir.path().join("sh")));
        assert_eq!(known.missed_by_path(&path, |meant| meant.starts_with(dir.path())), None);
    }
}
