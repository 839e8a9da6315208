//! What others have put where the command saw something else, or nothing: it is theirs, and no commit removes it.
//!
//! Overlayfs tells of a directory whether the command may have replaced something by it. Of all else it tells only that
//! it hides what was there; then what has not changed since the attempt began is what the command saw and replaced.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::error::CommitError;
use crate::facts::Facts;
use crate::publish::Publisher;
use crate::removal::names_in;
use crate::survey::{Left, LeftDirectory, Origin};
use crate::tree::Opened;

impl Publisher<'_> {
    /// Looks at all names before the first is changed, so that nothing is published of what cannot be published whole.
    pub(crate) fn refuse_newcomers(&mut self) -> Result<(), CommitError> {
        let plan = self.plan;
        for directory in &plan.directories {
            // Of those that are right a look would cost a question, and they have been opened.
            if !self.right.contains(&directory.number)
                && let Some(now) = self.look_ahead(&directory.left)
            {
                self.spare_from_directory(directory, &now)?;
            }
        }
        for file in plan.files.iter().filter(|file| !plan.is_all_that_is_new(file)) {
            if let Some(now) = self.look_ahead(&file.left) {
                self.spare_from_file(&file.left, &file.origin, &now)?;
            }
        }
        for left in &plan.symlinks {
            if let Some(now) = self.look_ahead(left) {
                self.spare_from_name(left, &now)?;
            }
        }
        Ok(())
    }

    /// How a name looks, if its directory is there already and lets us look; what needs it otherwise says so itself.
    fn look_ahead(&mut self, left: &Left) -> Option<Facts> {
        let dir = self.real.open(&self.plan.tree, left.place).ok()?;
        Facts::if_there(dir.as_fd(), &left.name).ok().flatten()
    }

    /// Refuses to make a directory in place of what the command has not replaced by it.
    pub(crate) fn spare_from_directory(&self, directory: &LeftDirectory, now: &Facts) -> Result<(), CommitError> {
        let is_in_place = now.kind == FileType::Directory;
        // Without an opaque one on the way the overlay showed a directory here, or nothing.
        let is_replaced = || self.plan.hides(directory.number) && self.was_seen(directory.left.place, now);
        if is_in_place || is_replaced() { Ok(()) } else { Err(self.taken("mkdir", &directory.left, now)) }
    }

    /// Refuses to replace by a file what the command has not replaced. A symbolic link gives way to a new file, as it does
    /// to a compiler's; where the command wrote into a file, the file's path has been given to something else.
    pub(crate) fn spare_from_file(&self, left: &Left, origin: &Origin, now: &Facts) -> Result<(), CommitError> {
        let is_led_elsewhere = now.kind == FileType::Symlink && *origin != Origin::Made;
        if is_led_elsewhere && !self.was_seen(left.place, now) {
            return Err(self.taken("replace", left, now));
        }
        self.spare_from_name(left, now)
    }

    /// Refuses to replace by any name what is neither a file nor a link, and which the command has not replaced.
    pub(crate) fn spare_from_name(&self, left: &Left, now: &Facts) -> Result<(), CommitError> {
        let gives_way = matches!(now.kind, FileType::RegularFile | FileType::Symlink);
        if gives_way || self.was_seen(left.place, now) { Ok(()) } else { Err(self.taken("replace", left, now)) }
    }

    /// Refuses to empty a directory that others made or changed meanwhile, if there is something to remove: that may be
    /// what the command removed, or have been moved here with the directory.
    pub(crate) fn spare_from_emptying(
        &self,
        directory: &LeftDirectory,
        now: &Facts,
        opened: &Opened<'_>,
    ) -> Result<(), CommitError> {
        let left = &directory.left;
        if self.was_seen(left.place, now) {
            return Ok(());
        }
        let names = names_in(opened.as_fd()).map_err(|errno| self.failed("list", left.place, &left.name, errno))?;
        let would_go = |name: &CString| {
            let is_kept = directory.names.binary_search(name).is_ok();
            !is_kept && Facts::at(opened.as_fd(), name).is_ok_and(|inner| self.was_seen(left.place, &inner))
        };
        if names.iter().any(would_go) { Err(self.taken("empty", left, now)) } else { Ok(()) }
    }

    /// Whether what is there under a name that the command removed cannot be what it removed.
    ///
    /// A directory in which something was made since has changed with its contents; one that has changed alone was
    /// moved here.
    pub(crate) fn came_after_removal(&self, now: &Facts) -> bool {
        let before = self.surely_before();
        match now.kind {
            FileType::RegularFile | FileType::Symlink => false,
            FileType::Directory => now.changed >= before && now.modified < before,
            _ => now.changed >= before,
        }
    }

    /// Whether this was there, as it is, so long before the attempt began that the command saw it.
    fn was_seen(&self, place: usize, now: &Facts) -> bool {
        now.changed < self.surely_seen_before(place)
    }

    fn taken(&self, step: &'static str, left: &Left, now: &Facts) -> CommitError {
        CommitError::taken(step, &self.plan.tree.path_of(left.place, &left.name), now.kind)
    }
}
