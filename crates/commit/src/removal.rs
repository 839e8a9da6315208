//! What the command removed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::directories::gone;
use crate::error::CommitError;
use crate::facts::{Facts, Time};
use crate::publish::Publisher;
use crate::survey::Left;
use crate::tree::{Opened, to_list};

/// Directories below each other that are removed; `rm -r` in the overlay has walked them, so they can be walked.
const DEEPEST: usize = 256;

/// The removal of a directory's contents.
pub(crate) struct Removal<'a> {
    /// Whose, for messages.
    pub(crate) place: usize,
    pub(crate) name: &'a CStr,
    /// Files that have changed since then are not the command's to remove: it has not seen them.
    pub(crate) before: Time,
    /// Names at the top that stay, sorted.
    pub(crate) keep: &'a [CString],
}

impl Publisher<'_> {
    /// Removes a name that the command removed, if it is still there.
    pub(crate) fn publish_removal(&mut self, left: &Left) -> Result<(), CommitError> {
        let dir = self.real_dir(left.place)?;
        match self.look(&dir, left)? {
            // Not here any more; that says nothing of what others see.
            None => {
                self.on_removed(left);
                Ok(())
            }
            Some(now) if self.came_after_removal(&now) => {
                self.done.spared += 1;
                Ok(())
            }
            Some(now) if now.kind == FileType::Directory => {
                if self.remove_directory(&dir, left, &now)? {
                    self.on_removed(left);
                }
                Ok(())
            }
            Some(_) => {
                self.check("unlink", left.place, &left.name)?;
                let removed = self.calls.unlink(dir.as_fd(), &left.name).or_else(gone);
                removed.map_err(|errno| self.failed("unlink", left.place, &left.name, errno))?;
                self.on_name_changed(left.place);
                self.on_removed(left);
                Ok(())
            }
        }
    }

    /// Removes a directory that the command removed, with what was in it when the attempt began. Says whether it is gone:
    /// it stays if others have put something into it since.
    pub(crate) fn remove_directory(&mut self, dir: &Opened<'_>, left: &Left, now: &Facts) -> Result<bool, CommitError> {
        let removal = Removal { place: left.place, name: &left.name, before: self.surely_before(), keep: &[] };
        if let Some(opened) = self.open_below(dir.as_fd(), &left.name, now, &removal)? {
            self.remove_contents(opened.as_fd(), &removal, 0)?;
        }
        self.check("rmdir", left.place, &left.name)?;
        let removed = self.calls.rmdir(dir.as_fd(), &left.name).or_else(gone);
        self.real.forget();
        match removed {
            Ok(()) => {
                self.on_name_changed(left.place);
                Ok(true)
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                self.done.spared += 1;
                Ok(false)
            }
            Err(errno) => Err(self.failed("rmdir", left.place, &left.name, errno)),
        }
    }

    pub(crate) fn remove_contents(
        &mut self,
        dir: BorrowedFd<'_>,
        removal: &Removal<'_>,
        depth: usize,
    ) -> Result<(), CommitError> {
        let failed = |errno| self.failed("list", removal.place, removal.name, errno);
        if depth > DEEPEST {
            return Err(CommitError::attempt("rmdir", &self.plan.tree.path_of(removal.place, removal.name)));
        }
        for name in names_in(dir).map_err(failed)? {
            if depth == 0 && removal.keep.binary_search(&name).is_ok() {
                continue;
            }
            let now = Facts::if_there(dir, &name);
            let now = now.map_err(|errno| self.failed("stat", removal.place, removal.name, errno))?;
            match now {
                Some(now) if now.kind == FileType::Directory => {
                    self.remove_below(dir, (&name, &now), removal, depth)?;
                }
                Some(now) if now.changed < removal.before => {
                    self.check("unlink", removal.place, removal.name)?;
                    let removed = self.calls.unlink(dir, &name).or_else(gone);
                    removed.map_err(|errno| self.failed("unlink", removal.place, removal.name, errno))?;
                    self.done.names += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn remove_below(
        &mut self,
        dir: BorrowedFd<'_>,
        (name, now): (&CStr, &Facts),
        removal: &Removal<'_>,
        depth: usize,
    ) -> Result<(), CommitError> {
        if let Some(opened) = self.open_below(dir, name, now, removal)? {
            self.remove_contents(opened.as_fd(), removal, depth + 1)?;
        }
        self.check("rmdir", removal.place, removal.name)?;
        match self.calls.rmdir(dir, name) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.failed("rmdir", removal.place, removal.name, errno)),
        }
    }

    /// Opens a directory that is to be removed. One that its owner has shut is opened to us first, as the command may
    /// have done; one that we may not look into can still be removed if it is empty.
    fn open_below(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        now: &Facts,
        removal: &Removal<'_>,
    ) -> Result<Option<OwnedFd>, CommitError> {
        if now.mode & 0o700 != 0o700 {
            self.check("chmod", removal.place, removal.name)?;
            // Somebody else's, or gone: what follows tells.
            let _ = self.calls.chmod_directory(dir, name, Mode::from_raw_mode(now.mode | 0o700));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::ACCESS) => Ok(None),
            Err(errno) => Err(self.failed("open", removal.place, removal.name, errno)),
        }
    }
}

pub(crate) fn names_in(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::new(to_list(dir)?)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
