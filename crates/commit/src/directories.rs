//! Directories: made before what is in them, and given their final mode after.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use crate::Family;
use crate::error::CommitError;
use crate::facts::Facts;
use crate::publish::Publisher;
use crate::removal::Removal;
use crate::survey::LeftDirectory;
use crate::tree::HELD;

impl Publisher<'_> {
    /// Notes the directories that need no look.
    pub(crate) fn recognise_directories(&mut self) {
        self.right = self.known_directories();
    }

    /// Makes the directories that are missing, and empties those that the command had removed and made anew.
    pub(crate) fn place_directories(&mut self) -> Result<(), CommitError> {
        let plan = self.plan;
        let recognised = self.right.clone();
        let others = plan.directories.iter().filter(|directory| !recognised.contains(&directory.number));
        others.into_iter().try_for_each(|directory| self.place_directory(directory))
    }

    /// The directories that are there, and with the mode that the command left them, as far as that can be told without a
    /// look at each: their modes are known, and those furthest down can be opened. All or none.
    fn known_directories(&mut self) -> BTreeSet<usize> {
        let plan = self.plan;
        let (mut known, mut last) = (BTreeSet::new(), BTreeSet::new());
        // Parents come first.
        for directory in &plan.directories {
            let (number, above) = (directory.number, directory.left.place);
            let is_reached = plan.tree.place(above).parent.is_none() || known.contains(&above);
            if is_reached && !directory.opaque && self.is_known_as_left(directory) {
                known.insert(number);
                last.remove(&above);
                last.insert(number);
            }
        }
        let opens = |number: &usize| self.real.open_at_once(&plan.tree, *number).is_ok();
        if last.len() <= HELD && last.iter().all(opens) { known } else { BTreeSet::new() }
    }

    fn is_known_as_left(&self, directory: &LeftDirectory) -> bool {
        let left = &directory.left;
        let known = self.layer_of(left.place).known.get(&self.plan.tree.path_of(left.place, &left.name));
        known.is_some_and(|&mode| mode & 0o700 == 0o700 && mode == self.mode_wanted(left.place, left.facts.mode, mode))
    }

    fn place_directory(&mut self, directory: &LeftDirectory) -> Result<(), CommitError> {
        let left = &directory.left;
        let parent = self.real_dir(left.place)?;
        match self.look(&parent, left)? {
            Some(now) if now.kind == FileType::Directory => {
                // Whatever the mode will be, we must get in first, if there is something to do there.
                let to_do = directory.filled || directory.opaque || now.mode != left.facts.mode;
                if now.mode & 0o700 != 0o700 && to_do {
                    self.change_mode(directory, now.mode | 0o700)?;
                } else if now.mode == self.mode_wanted(left.place, left.facts.mode, now.mode) {
                    self.right.insert(directory.number);
                    self.on_looked_at(left, now.mode);
                }
                if directory.opaque { self.empty(directory, &now) } else { Ok(()) }
            }
            Some(now) => {
                self.spare_from_directory(directory, &now)?;
                self.check("unlink", left.place, &left.name)?;
                let removed = self.calls.unlink(parent.as_fd(), &left.name);
                removed.or_else(gone).map_err(|errno| self.failed("unlink", left.place, &left.name, errno))?;
                self.make(directory)
            }
            None => self.make(directory),
        }
    }

    fn make(&mut self, directory: &LeftDirectory) -> Result<(), CommitError> {
        let left = &directory.left;
        let parent = self.real_dir(left.place)?;
        self.check("mkdir", left.place, &left.name)?;
        let mode = Mode::from_raw_mode(left.facts.mode & 0o777 | 0o700);
        match self.calls.mkdir(parent.as_fd(), &left.name, mode) {
            Ok(()) => {
                self.on_name_changed(left.place);
                self.on_made(left, b"");
            }
            // Another job's, an earlier attempt's, or our own whose reply was lost: all are as good as ours.
            Err(Errno::EXIST) if self.look(&parent, left)?.is_some_and(|now| now.kind == FileType::Directory) => {}
            Err(errno) => return Err(self.failed("mkdir", left.place, &left.name, errno)),
        }
        Ok(())
    }

    /// Of a directory that the command made, while the shared filesystem has one of the name: either the command removed
    /// that first, with all in it, or it was made by another job meanwhile, or not seen here. Overlayfs does not tell
    /// which. So what lies there is removed only if it was there so long before the attempt began that the command saw it.
    fn empty(&mut self, directory: &LeftDirectory, now: &Facts) -> Result<(), CommitError> {
        let before = self.surely_seen_before(directory.left.place);
        let opened = self.real_dir(directory.number)?;
        self.spare_from_emptying(directory, now, &opened)?;
        let removal =
            Removal { place: directory.left.place, name: &directory.left.name, before, keep: &directory.names };
        self.remove_contents(opened.as_fd(), &removal, 0)?;
        self.real.forget();
        Ok(())
    }

    /// Gives directories the modes that the command left them; deepest first, for a mode may shut us out.
    pub(crate) fn finish_directories(&mut self) -> Result<(), CommitError> {
        self.plan.directories.iter().rev().try_for_each(|directory| self.finish_directory(directory))
    }

    fn finish_directory(&mut self, directory: &LeftDirectory) -> Result<(), CommitError> {
        let left = &directory.left;
        // As most commands leave them: a second look would only find what others have done since.
        if self.right.contains(&directory.number) {
            return Ok(());
        }
        let parent = self.real_dir(left.place)?;
        let Some(now) = self.look(&parent, left)? else { return Ok(()) };
        let wanted = self.mode_wanted(left.place, left.facts.mode, now.mode);
        if wanted == now.mode { Ok(()) } else { self.change_mode(directory, wanted) }
    }

    /// In a user namespace of one group a directory's set-group-id bit means another group than on the shared filesystem:
    /// there the shared filesystem's own is right.
    pub(crate) fn mode_wanted(&self, place: usize, left: u32, now: u32) -> u32 {
        const SET_GROUP: u32 = 0o2000;
        match self.layer_of(place).family {
            Family::Trusted => left,
            Family::User => left & !SET_GROUP | now & SET_GROUP,
        }
    }

    fn change_mode(&mut self, directory: &LeftDirectory, mode: u32) -> Result<(), CommitError> {
        let left = &directory.left;
        let parent = self.real_dir(left.place)?;
        self.check("chmod", left.place, &left.name)?;
        let changed = self.calls.chmod_directory(parent.as_fd(), &left.name, Mode::from_raw_mode(mode));
        match changed {
            // Somebody else's directory, whose mode others have changed meanwhile: not the command's doing.
            Ok(()) | Err(Errno::PERM | Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("chmod", left.place, &left.name, errno)),
        }
    }
}

/// A name that is gone already was removed by us, in a call whose reply was lost, or by somebody else: as wanted.
pub(crate) fn gone(errno: Errno) -> rustix::io::Result<()> {
    if errno == Errno::NOENT { Ok(()) } else { Err(errno) }
}
