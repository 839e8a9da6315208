//! How a file looks without reading it: what tells whether what was read of it still holds.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The facts that change with a file's content, whoever changes it: times can be set back, but not that of the last
/// change of the inode (`stx_ctime`, statx(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
    pub(crate) changed_ns: i64,
}

/// Kernels before 6.13 take the time of a change from the last tick, at most 10 ms ago (`CONFIG_HZ_100`): two changes
/// within one tick look alike.
const TICK: Duration = Duration::from_millis(20);

impl Mark {
    /// The mark of what was asked about.
    #[must_use]
    pub fn of(facts: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.len(),
            modified_ns: nanoseconds(facts.mtime(), facts.mtime_nsec()),
            changed_ns: nanoseconds(facts.ctime(), facts.ctime_nsec()),
        }
    }

    /// The mark of a file, symlinks followed.
    ///
    /// # Errors
    /// As stat(2).
    pub fn of_path(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|facts| Self::of(&facts))
    }

    /// Whether a file that looked so has this size, in bytes, and was modified then, in nanoseconds since 1970.
    #[must_use]
    pub fn has(&self, size: u64, modified_ns: i64) -> bool {
        (self.size, self.modified_ns) == (size, modified_ns)
    }

    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|facts| Self::of(&facts))
    }

    /// Whether another change right now would show: the last one is not of this very tick of the clock.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settles = i128::from(self.changed_ns) + TICK.as_nanos() as i128;
        now.as_nanos() as i128 > settles
    }
}

/// A path and how it looked when it was read: [`None`] when nothing was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    pub(crate) mark: Option<Mark>,
}

impl Seen {
    /// How a path looks now.
    pub(crate) fn look(path: &Path) -> Self {
        Self { path: path.to_owned(), mark: Mark::of_path(path).ok() }
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        Mark::of_path(&self.path).ok() == self.mark
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.mark.is_none_or(|mark| mark.is_settled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_size_and_one_time_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cc1");
        std::fs::write(&path, "one").unwrap();
        let before = Seen::look(&path);
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert!(before.is_unchanged());

        let new = dir.path().join("new");
        std::fs::write(&new, "two").unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        std::fs::rename(&new, &path).unwrap();

        assert!(!before.is_unchanged());
    }

    #[test]
    fn what_appears_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("as");
        let before = Seen::look(&path);
        assert!(before.is_unchanged() && before.is_settled());

        std::fs::write(&path, "").unwrap();

        assert!(!before.is_unchanged());
    }

    #[test]
    fn what_changed_in_this_very_moment_is_not_settled() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;

        assert!(!Mark { changed_ns: now + 1_000_000_000, ..Mark::default() }.is_settled());
        assert!(Mark { changed_ns: now - 1_000_000_000, ..Mark::default() }.is_settled());
    }
}
