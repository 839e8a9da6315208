//! What a toolchain is: the compiler driver and everything that it executes and reads, known by a fingerprint of contents.
//!
//! A job may run only where its compiler is the same. [`Identity::of`] asks a driver where it looks, and reads what is
//! there: `cc1`, `cc1plus`, `as`, `ld`, `collect2`, what link-time optimisation needs, the shared libraries of them all,
//! specs, start-up files and libraries that are linked without being named, and the headers of compiler, C++ library, C
//! library and kernel. Two hosts that are alike come to the same [`Fingerprint`], whatever inodes and times their files
//! have; names of parts and their digests tell what differs where they do not.
//!
//! Contents are read, and not the package database: that knows nothing of a header somebody edited, of a compiler in
//! `/opt`, or of what is mounted over a file. It costs some tenths of a second once per host, user and toolchain:
//! [`Digests`] are kept by how files look, [`Cache`] keeps the result for launchers, which look at thirty files for a job.
//!
//! Absent on purpose: packages that merely have headers or libraries in the same directories (zlib, Boost). With them a
//! developer's machine would find no worker like it. Workers say which files of theirs a command has read, and launchers
//! compare those with their own.

mod ask;
mod bytes;
mod cache;
mod digest;
mod gathering;
mod headers;
mod identity;
mod known;
mod libraries;
mod mark;
mod own_file;
mod search;
pub mod usual;

use std::io;
use std::path::{Path, PathBuf};

pub use ask::STANDARD_PATH;
pub use cache::{Cache, THOROUGH};
pub use digest::{Digests, content_of};
pub use identity::Identity;
pub use known::{Fingerprint, Known, Part};
pub use mark::Mark;

/// Why a toolchain cannot be told from others.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct Error {
    /// The part that cannot be read.
    path: PathBuf,
    error: io::Error,
}

impl Error {
    pub(crate) fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }
}
