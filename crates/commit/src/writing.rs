//! Bytes and attributes of one file, from the scratch directory to the shared filesystem.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::{self, Errno};

use crate::error::CommitError;
use crate::facts::Facts;
use crate::publish::Publisher;
use crate::survey::Left;
use crate::tree::Opened;
use crate::{Durability, Family};

/// Bytes per write: shared filesystems like few and large ones.
const BLOCK: usize = 1 << 20;

/// A file of the upper layer, open.
pub(crate) struct Content<'a> {
    pub(crate) left: &'a Left,
    pub(crate) file: OwnedFd,
}

impl Publisher<'_> {
    /// If the file on the shared filesystem has the very bytes, opens it.
    pub(crate) fn same_bytes(
        &mut self,
        dir: &Opened<'_>,
        content: &Content<'_>,
        base: &Facts,
    ) -> Result<Option<OwnedFd>, CommitError> {
        let left = content.left;
        if base.size != left.facts.size {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir.as_fd(), &*left.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
            Err(errno) => return Err(self.failed("open", left.place, &left.name, errno)),
        };
        let mut theirs = vec![0; self.block(base.size)];
        let mut offset = 0;
        loop {
            let ours = self.read(content, offset)?;
            if ours == 0 {
                return Ok(Some(file));
            }
            let read = read_whole(file.as_fd(), &mut theirs[..ours], offset);
            let read = read.map_err(|errno| self.failed("read", left.place, &left.name, errno))?;
            if theirs[..read] != self.buffer[..ours] {
                return Ok(None);
            }
            offset += ours as u64;
        }
    }

    /// Writes all into a new file, holes left out where there are any.
    pub(crate) fn copy_into_new(&mut self, content: &Content<'_>, to: &OwnedFd) -> Result<(), CommitError> {
        let size = content.left.facts.size;
        let sparse = content.left.facts.allocated < size;
        let mut offset = 0;
        while offset < size {
            let end = match sparse.then(|| next_data(content.file.as_fd(), offset)) {
                None => size,
                Some(Some((start, end))) => {
                    offset = start;
                    end.min(size)
                }
                Some(None) => break,
            };
            self.copy(content, to, (offset, end), false)?;
            offset = end;
        }
        if sparse {
            let truncated = self.calls.truncate(to.as_fd(), size);
            truncated.map_err(|errno| self.failed("truncate", content.left.place, &content.left.name, errno))?;
        }
        Ok(())
    }

    /// Writes all into a file that has other names or another owner, as the command did.
    pub(crate) fn write_into(
        &mut self,
        dir: &Opened<'_>,
        content: &Content<'_>,
        file: OwnedFd,
    ) -> Result<(), CommitError> {
        let left = content.left;
        let failed = |errno| self.failed("stat", left.place, &left.name, errno);
        let now = Facts::of(file.as_fd()).map_err(failed)?;
        if now.kind != FileType::RegularFile {
            return Err(self.failed("open", left.place, &left.name, Errno::STALE));
        }
        self.copy(content, &file, (0, left.facts.size), true)?;
        self.check("truncate", left.place, &left.name)?;
        let truncated = self.calls.truncate(file.as_fd(), left.facts.size);
        truncated.map_err(|errno| self.failed("truncate", left.place, &left.name, errno))?;
        self.set_attributes(content, &file, Some(&now))?;
        self.set_times(content, &file, false)?;
        self.sync_and_close(content, file, None)?;
        self.on_published(dir, left)
    }

    /// In `public` each write is a step that others see.
    fn copy(
        &mut self,
        content: &Content<'_>,
        to: &OwnedFd,
        (mut offset, end): (u64, u64),
        public: bool,
    ) -> Result<(), CommitError> {
        let left = content.left;
        while offset < end {
            let read = self.read(content, offset)?;
            let room = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let length = read.min(room);
            if length == 0 {
                // It was longer when we looked: somebody is left who writes to it.
                return Err(self.unreadable(left, Errno::STALE));
            }
            let mut written = 0;
            while written < length {
                if public {
                    self.check("write", left.place, &left.name)?;
                }
                let bytes = &self.buffer[written..length];
                let calls = &mut *self.calls;
                let more = io::retry_on_intr(|| calls.write(to.as_fd(), bytes, offset + written as u64));
                match more {
                    Ok(0) => return Err(self.failed("write", left.place, &left.name, Errno::IO)),
                    Ok(more) => written += more,
                    Err(errno) => return Err(self.failed("write", left.place, &left.name, errno)),
                }
            }
            offset += length as u64;
            self.done.bytes += length as u64;
        }
        Ok(())
    }

    /// Reads a block of the upper file into the buffer.
    fn read(&mut self, content: &Content<'_>, offset: u64) -> Result<usize, CommitError> {
        let block = self.block(content.left.facts.size);
        if self.buffer.len() < block {
            self.buffer.resize(block, 0);
        }
        let read = read_whole(content.file.as_fd(), &mut self.buffer[..block], offset);
        read.map_err(|errno| self.unreadable(content.left, errno))
    }

    fn block(&self, size: u64) -> usize {
        usize::try_from(size).unwrap_or(BLOCK).clamp(1, BLOCK)
    }

    /// Gives a file the attributes that the command left it, apart from times; says how it looks if none had to be changed.
    /// Modes come last, for a change of the group takes set-id bits away.
    pub(crate) fn set_attributes(
        &mut self,
        content: &Content<'_>,
        to: &OwnedFd,
        base: Option<&Facts>,
    ) -> Result<Option<Facts>, CommitError> {
        let left = content.left;
        let failed = |errno| CommitError::of(crate::error::Side::Real, "stat", left.name.to_bytes(), errno);
        let now = Facts::of(to.as_fd()).map_err(failed)?;
        let mut changed = self.copy_xattrs(content, to);
        if let Some(group) = self.group_wanted(left, base)?.filter(|group| *group != now.gid) {
            // Where we may not (the command could: it had capabilities), the group stays what the directory gives.
            changed |= self.calls.chown_group(to.as_fd(), Gid::from_raw(group)).is_ok();
        }
        let now = if changed { Facts::of(to.as_fd()).map_err(failed)? } else { now };
        if left.facts.mode != now.mode {
            let set = self.calls.chmod(to.as_fd(), Mode::from_raw_mode(left.facts.mode));
            set.map_err(|errno| self.failed("chmod", left.place, &left.name, errno))?;
            changed = true;
        }
        Ok((!changed).then_some(now))
    }

    /// The group that a file must have, if not the one that its directory gives to new files.
    fn group_wanted(&mut self, left: &Left, base: Option<&Facts>) -> Result<Option<u32>, CommitError> {
        if self.layer_of(left.place).family == Family::User {
            // One group is all there was; but a file that was there keeps its own.
            return Ok(base.map(|base| base.gid));
        }
        let upper = self.upper_dir(left)?;
        // What was opened as a place can be looked at.
        let dir = Facts::of(upper.as_fd()).map_err(|errno| self.unreadable(left, errno))?;
        let given = if dir.mode & 0o2000 != 0 { dir.gid } else { self.request.user.gid };
        let chosen = base.is_some() || left.facts.gid != given;
        Ok(chosen.then_some(left.facts.gid))
    }

    /// Copies what the command may have set: `user.*`, and an access control list that differs from the inherited one.
    /// Where the filesystem takes no such, the file goes without.
    fn copy_xattrs(&mut self, content: &Content<'_>, to: &OwnedFd) -> bool {
        let mut changed = false;
        for name in xattrs_to_copy(content.file.as_fd()) {
            let mut value = vec![0; 1 << 16];
            let Ok(length) = rustix::fs::fgetxattr(&content.file, &*name, &mut value[..]) else { continue };
            let mut theirs = vec![0; 1 << 16];
            let same = rustix::fs::fgetxattr(to, &*name, &mut theirs[..])
                .is_ok_and(|their_length| theirs[..their_length] == value[..length]);
            if !same {
                changed |= self.calls.set_xattr(to.as_fd(), &name, &value[..length]).is_ok();
            }
        }
        changed
    }

    /// A file's modification time is when it was published, which no clock but the filesystem's own can say; unless the
    /// command chose another, as `cp -p` does. With `now` it is set in any case.
    pub(crate) fn set_times(&mut self, content: &Content<'_>, to: &OwnedFd, now: bool) -> Result<(), CommitError> {
        let left = content.left;
        let modified = left.facts.modified;
        let last_modification = match self.is_time_chosen(modified) {
            true => modified.to_timespec(),
            false if now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            false => return Ok(()),
        };
        let last_access = Timespec { tv_sec: 0, tv_nsec: if now { UTIME_NOW } else { UTIME_OMIT } };
        let set = self.calls.set_times(to.as_fd(), &Timestamps { last_access, last_modification });
        set.map_err(|errno| self.failed("utimensat", left.place, &left.name, errno))
    }

    /// Says how the finished file looks; `known` is that, if somebody has looked since it was changed last.
    pub(crate) fn sync_and_close(
        &mut self,
        content: &Content<'_>,
        file: OwnedFd,
        known: Option<Facts>,
    ) -> Result<Facts, CommitError> {
        let left = content.left;
        if self.request.durability == Durability::Fsync {
            let synced = self.calls.sync(file.as_fd());
            synced.map_err(|errno| self.failed("fsync", left.place, &left.name, errno))?;
        } else {
            self.hasten(left.place, file.as_fd());
        }
        let look = || Facts::of(file.as_fd()).map_err(|errno| self.failed("stat", left.place, &left.name, errno));
        let facts = known.map_or_else(look, Ok)?;
        let closed = self.calls.close(file);
        closed.map_err(|errno| self.failed("close", left.place, &left.name, errno))?;
        Ok(facts)
    }
}

/// Reads until the buffer is full or the file ends.
fn read_whole(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match io::retry_on_intr(|| io::pread(file, &mut buffer[filled..], offset + filled as u64))? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}

/// The next stretch of a sparse file that is no hole; none when only a hole is left.
fn next_data(file: BorrowedFd<'_>, offset: u64) -> Option<(u64, u64)> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(start) => Some((start, rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(u64::MAX))),
        Err(Errno::NXIO) => None,
        // No such notion: all of it is data.
        Err(_) => Some((offset, u64::MAX)),
    }
}

fn xattrs_to_copy(file: BorrowedFd<'_>) -> Vec<std::ffi::CString> {
    let mut names = vec![0; 1 << 12];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::RANGE) => {
            names = vec![0; 1 << 16];
            rustix::fs::flistxattr(file, &mut names[..]).unwrap_or(0)
        }
        Err(_) => 0,
    };
    let listed = names[..length].split(|byte| *byte == 0);
    let wanted = listed.filter(|name| {
        *name == b"system.posix_acl_access" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    });
    wanted.filter_map(|name| std::ffi::CString::new(name).ok()).collect()
}
