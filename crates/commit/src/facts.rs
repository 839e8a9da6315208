//! What `stat(2)` says, with the same types on every architecture.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat, Timespec};
use rustix::io::{self, Errno};

/// The part of a file's attributes that a commit looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: FileType,
    /// Permissions with set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The device that a device file stands for.
    pub(crate) stands_for: u64,
    pub(crate) size: u64,
    /// Bytes that take room on the disk.
    pub(crate) allocated: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// Nanoseconds since 1970 by the clock of the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) i128);

impl Time {
    pub(crate) fn to_timespec(self) -> Timespec {
        let second = 1_000_000_000;
        let seconds = i64::try_from(self.0.div_euclid(second)).unwrap_or(i64::MAX);
        // A remainder of a second fits.
        Timespec { tv_sec: seconds, tv_nsec: self.0.rem_euclid(second) as _ }
    }

    /// Whether `kept` is this time as a program gives it to a file that keeps it: many know whole seconds only.
    pub(crate) fn is_as_kept(self, kept: Self) -> bool {
        let second = 1_000_000_000;
        let whole = self.0 - self.0.rem_euclid(second);
        self == kept || kept.0 == whole
    }

    fn of(seconds: impl Into<i128>, nanoseconds: impl Into<i128>) -> Self {
        Self(seconds.into() * 1_000_000_000 + nanoseconds.into())
    }
}

impl From<Timespec> for Time {
    fn from(time: Timespec) -> Self {
        Self::of(time.tv_sec, time.tv_nsec)
    }
}

impl From<Stat> for Facts {
    #[expect(clippy::allow_attributes, reason = "the types of st_nlink and others differ by architecture")]
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            stands_for: stat.st_rdev as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            modified: Time::of(stat.st_mtime, stat.st_mtime_nsec),
            changed: Time::of(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Facts {
    /// Of an open file.
    pub(crate) fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        rustix::fs::fstat(file).map(Self::from)
    }

    /// Of a name, not of what a symbolic link there points at.
    pub(crate) fn at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(Self::from)
    }

    /// Of a name that may be missing.
    pub(crate) fn if_there(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Self>> {
        match Self::at(dir, name) {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}
