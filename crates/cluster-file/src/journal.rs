//! Has CephFS write its journal, for somebody may wait for it.
//!
//! A metadata server answers a client before it has written to its journal what the client did, and keeps the locks of
//! that until it has. Another client whose look meets such a lock waits: until something has the journal written, or
//! until `mds_tick_interval` (5 s) is over. The server itself has it written when somebody begins to wait, but now and
//! then does so before there is anything to write (Ceph 16.2). What helps at once, from any client and any directory, is
//! to change a file and to sync that: its change is written, and the journal is written in order
//! (docs/filesystems.md has the figures).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, futimens, openat, unlinkat};

use crate::{open_directory, probe};

/// A file that has no name, and that is changed to no other end.
#[derive(Debug)]
pub struct Prompt(OwnedFd);

impl Prompt {
    /// Makes one in `.distccd/`, with `name` of letters and digits for a moment. May hang as the filesystem does.
    ///
    /// # Errors
    /// When the system says so: mostly, that no server has made the directory, or that this user may not write there.
    pub fn on(mount: &Path, name: &str) -> io::Result<Self> {
        let directory = open_directory(mount)?;
        // By a name that a server sweeps, should this process end in between.
        let name = probe::file_name(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&directory, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
        unlinkat(&directory, name.as_str(), AtFlags::empty())?;
        Ok(Self(file))
    }

    /// Returns when the journal is written. May hang as the filesystem does.
    ///
    /// # Errors
    /// When the system says so: a file that is open since before its client was shut out is of no use any more.
    pub fn write_journal(&self) -> io::Result<()> {
        change_and_sync(&self.0)
    }
}

/// Has all written that was done before, and with it this file.
pub(crate) fn change_and_sync(file: impl AsFd) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
    Ok(rustix::fs::fsync(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_leaves_nothing_behind() {
        let mount = tempfile::tempdir().unwrap();
        assert_eq!(Prompt::on(mount.path(), "a1").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(mount.path().join(crate::DIRECTORY)).unwrap();

        let prompt = Prompt::on(mount.path(), "a1").unwrap();

        assert_eq!(std::fs::read_dir(mount.path().join(crate::DIRECTORY)).unwrap().count(), 0);
        prompt.write_journal().unwrap();
        prompt.write_journal().unwrap();
        assert!(Prompt::on(mount.path(), "../x").is_err());
    }
}
