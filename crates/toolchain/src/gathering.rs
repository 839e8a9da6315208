//! Collects the parts of one toolchain: their digests, and how everything looked that was asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::digest::{Digest, Digests};
use crate::mark::Seen;

/// How soon a change is to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heed {
    /// By the next job: what an upgrade always touches.
    AtOnce,
    /// By the next thorough look: the thousands of files behind.
    Later,
}

/// What was collected so far.
pub(crate) struct Gathering<'a> {
    digests: &'a Digests,
    /// A name may have several contents: two programs may load different libraries of one name.
    parts: BTreeMap<String, BTreeSet<Digest>>,
    soon: BTreeMap<PathBuf, Seen>,
    later: BTreeMap<PathBuf, Seen>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(digests: &'a Digests) -> Self {
        Self { digests, parts: BTreeMap::new(), soon: BTreeMap::new(), later: BTreeMap::new() }
    }

    /// One file is one part.
    pub(crate) fn file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let digest = self.digest(path, Heed::AtOnce)?;
        self.note(name.to_owned(), digest);
        Ok(())
    }

    /// A program, and each of its shared libraries as a part of its own.
    pub(crate) fn program(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        self.file(name, path)?;
        let libraries = self.digests.libraries_of(path).map_err(|error| Error::new(path, error))?;
        for (library, found) in libraries {
            let library = String::from_utf8_lossy(&library).into_owned();
            match found {
                Some(found) => self.library(library, &found)?,
                None => self.note(library, [0; 32]),
            }
        }
        Ok(())
    }

    /// Libraries are many, and an upgrade replaces them by renames, which their directory shows.
    fn library(&mut self, name: String, path: &Path) -> Result<(), Error> {
        self.look(path.parent().unwrap_or(path), Heed::AtOnce);
        let digest = self.digest(path, Heed::Later)?;
        self.note(name, digest);
        Ok(())
    }

    /// Several files are one part, each by a label that is the same on all hosts.
    pub(crate) fn group<L: AsRef<[u8]>>(&mut self, name: &str, files: &[(L, PathBuf)]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let mut hasher = blake3::Hasher::new();
        for (label, path) in files {
            let digest = self.digest(path, Heed::Later)?;
            hasher.update(&(label.as_ref().len() as u64).to_le_bytes()).update(label.as_ref()).update(&digest);
        }
        self.note(name.to_owned(), *hasher.finalize().as_bytes());
        Ok(())
    }

    /// Files of headers are labelled by where they are: compilers write that into dependency files and debug information.
    pub(crate) fn headers(&mut self, name: &str, files: &BTreeSet<PathBuf>) -> Result<(), Error> {
        let labelled: Vec<_> = files.iter().map(|path| (path.as_os_str().as_bytes(), path.clone())).collect();
        self.group(name, &labelled)
    }

    /// Remembers how a path looks, a directory mostly; to be called before it is read.
    pub(crate) fn look(&mut self, path: &Path, heed: Heed) {
        let seen = match heed {
            Heed::AtOnce => &mut self.soon,
            Heed::Later => &mut self.later,
        };
        seen.entry(path.to_owned()).or_insert_with(|| Seen::look(path));
    }

    fn digest(&mut self, path: &Path, heed: Heed) -> Result<Digest, Error> {
        let (digest, mark) = self.digests.of(path).map_err(|error: io::Error| Error::new(path, error))?;
        let seen = match heed {
            Heed::AtOnce => &mut self.soon,
            Heed::Later => &mut self.later,
        };
        let first = seen.entry(path.to_owned()).or_insert_with(|| Seen { path: path.to_owned(), mark: Some(mark) });
        // Two parts in one file, and it was replaced between them.
        if first.mark != Some(mark) {
            return Err(Error::new(path, io::Error::other("it changes while it is read")));
        }
        Ok(digest)
    }

    fn note(&mut self, name: String, digest: Digest) {
        self.parts.entry(name).or_default().insert(digest);
    }

    /// The parts, what is to be looked at for every job, and what from time to time.
    pub(crate) fn finish(self) -> (BTreeMap<String, BTreeSet<Digest>>, Vec<Seen>, Vec<Seen>) {
        let Self { parts, soon, mut later, .. } = self;
        later.retain(|path, _| !soon.contains_key(path));
        (parts, soon.into_values().collect(), later.into_values().collect())
    }
}
