//! Files: what the command did to each, and how that is done again on the shared filesystem.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::calls::handle_of;
use crate::directories::gone;
use crate::error::CommitError;
use crate::facts::Facts;
use crate::publish::Publisher;
use crate::survey::{Left, LeftFile, Origin, open_left};
use crate::tree::Opened;
use crate::writing::Content;
use crate::{Strategy, temporary};

/// How often a name is unlinked and made before we believe that somebody else keeps making it.
const TRIES: usize = 4;

/// A name from which a file may have come.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    place: usize,
    name: CString,
    /// Whether the file keeps that name too.
    stays: bool,
}

impl Publisher<'_> {
    /// Publishes one name of a regular file.
    pub(crate) fn publish_file(&mut self, file: &LeftFile) -> Result<(), CommitError> {
        let left = &file.left;
        let dir = self.real_dir(left.place)?;
        // A new file of one name takes the place of whatever is there, which we have looked at; only a directory refuses.
        let is_new = file.origin == Origin::Made && left.facts.links == 1;
        let now = if is_new { None } else { self.make_room(&dir, left)? };
        if self.follow_leader(&dir, left, now.as_ref())? {
            return Ok(());
        }
        let upper_dir = self.upper_dir(left)?;
        let opened = open_left(upper_dir.as_fd(), &left.name, left.facts.mode, OFlags::empty());
        let content = Content { left, file: opened.map_err(|errno| self.unreadable(left, errno))? };
        match self.base(&dir, file, now)? {
            Some(base) => self.update(&dir, &content, &base)?,
            None => match self.replace(&dir, &content, None) {
                Err(error) if is_new && error.errno.is_some_and(may_be_a_directory) => {
                    self.make_room(&dir, left)?;
                    self.replace(&dir, &content, None)?;
                }
                replaced => replaced?,
            },
        }
        self.lead(left);
        Ok(())
    }

    /// Notes that a file with several names in the upper layer has this one on the shared filesystem.
    pub(crate) fn lead(&mut self, left: &Left) {
        if left.facts.links > 1 {
            let upper = (left.facts.device, left.facts.inode);
            self.leaders.entry(upper).or_insert((left.place, left.name.clone()));
        }
    }

    /// Makes the name one more of a file that has another already, if so.
    pub(crate) fn follow_leader(
        &mut self,
        dir: &Opened<'_>,
        left: &Left,
        now: Option<&Facts>,
    ) -> Result<bool, CommitError> {
        match self.leaders.get(&(left.facts.device, left.facts.inode)).cloned() {
            Some((place, name)) => self.publish_link(dir, left, now, (place, &name)),
            None => Ok(false),
        }
    }

    /// How the name looks, once a directory that the command has removed there is out of the way.
    pub(crate) fn make_room(&mut self, dir: &Opened<'_>, left: &Left) -> Result<Option<Facts>, CommitError> {
        let now = self.look(dir, left)?;
        if let Some(now) = &now {
            self.spare_from_name(left, now)?;
        }
        match now {
            Some(now) if now.kind == FileType::Directory => match self.remove_directory(dir, left, &now)? {
                true => Ok(None),
                false => Err(self.failed("replace", left.place, &left.name, Errno::ISDIR)),
            },
            now => Ok(now),
        }
    }

    /// The file on the shared filesystem into which the command wrote, under this name already; none when the command
    /// made a new file.
    ///
    /// That a file was copied up says so only if it was copied from *this* name: a file that the command renamed to
    /// here from elsewhere has been copied from there.
    fn base(&mut self, dir: &Opened<'_>, file: &LeftFile, now: Option<Facts>) -> Result<Option<Facts>, CommitError> {
        let left = &file.left;
        let now = now.filter(|now| now.kind == FileType::RegularFile);
        match &file.origin {
            Origin::Made => Ok(None),
            // A copy of a file with several names has no such mark, so this one came from elsewhere: by a rename.
            Origin::CopyOfUnknown => Ok(now.filter(|now| now.links == 1)),
            Origin::CopyOf(_) if now.is_some() && handle_of(dir.as_fd(), &left.name) == file.origin.handle() => Ok(now),
            Origin::CopyOf(handle) => self.move_here(dir, left, handle),
        }
    }

    /// If the file that the command renamed to this name, or gave this name too, is known, gives it this name, so that its
    /// other names go on naming the same file. A name that it shall lose is removed with the other removals.
    fn move_here(&mut self, dir: &Opened<'_>, left: &Left, handle: &[u8]) -> Result<Option<Facts>, CommitError> {
        let Some(from) = self.elsewhere()?.get(handle).cloned() else { return Ok(None) };
        let from_dir = self.real_dir(from.place)?;
        let failed = |errno| self.failed("stat", from.place, &from.name, errno);
        let Some(mut base) = Facts::if_there(from_dir.as_fd(), &from.name).map_err(failed)? else { return Ok(None) };
        base.links += u64::from(from.stays);
        let now = self.look(dir, left)?;
        let moved = self.publish_link(dir, left, now.as_ref(), (from.place, &from.name))?;
        Ok(moved.then_some(base))
    }

    /// The names on the shared filesystem, by handle, from which files of the upper layer may have come: those that the
    /// command removed, and those to which it gave more names.
    fn elsewhere(&mut self) -> Result<&BTreeMap<Vec<u8>, Elsewhere>, CommitError> {
        let mut known = BTreeMap::new();
        if self.elsewhere.is_none() {
            let linked = self.plan.files.iter().filter(|file| file.left.facts.links > 1);
            let stay = linked.map(|file| (&file.left, file.origin.handle(), true));
            let go = self.plan.removals.iter().map(|left| (left, None, false));
            for (left, wanted, stays) in stay.chain(go) {
                let dir = self.real_dir(left.place)?;
                let handle =
                    handle_of(dir.as_fd(), &left.name).filter(|handle| !stays || Some(handle) == wanted.as_ref());
                if let Some(handle) = handle {
                    known.insert(handle, Elsewhere { place: left.place, name: left.name.clone(), stays });
                }
            }
        }
        Ok(self.elsewhere.get_or_insert(known))
    }

    /// Makes the name another one of a file that is published already. Says no where the filesystem has no hard links.
    fn publish_link(
        &mut self,
        dir: &Opened<'_>,
        left: &Left,
        now: Option<&Facts>,
        (place, name): (usize, &CStr),
    ) -> Result<bool, CommitError> {
        let from_dir = self.real_dir(place)?;
        let failed = |errno| self.failed("stat", place, name, errno);
        let Some(from) = Facts::if_there(from_dir.as_fd(), name).map_err(failed)? else { return Ok(false) };
        if now.is_some_and(|now| now.is_same_file(&from)) {
            // rename(2) of one name of a file over another does nothing.
            return Ok(true);
        }
        let temporary = temporary::name_for(&left.name, self.request.attempt);
        let (to, by_rename) = match self.layer_of(left.place).strategy {
            Strategy::Rename => (&temporary, true),
            Strategy::Link => (&left.name, false),
        };
        self.unlink_if_there(dir, left, to)?;
        self.check("link", left.place, &left.name)?;
        match self.calls.link(from_dir.as_fd(), name, dir.as_fd(), to) {
            Ok(()) => {}
            // Done, and the reply was lost.
            Err(Errno::EXIST) if Facts::at(dir.as_fd(), to).is_ok_and(|now| now.is_same_file(&from)) => {}
            Err(errno) if has_no_links(errno) => return Ok(false),
            Err(errno) => return Err(self.failed("link", left.place, &left.name, errno)),
        }
        if by_rename {
            self.rename(dir, left, &temporary, &from)?;
        }
        self.on_published(dir, left)?;
        Ok(true)
    }

    /// The command wrote into a file that is there, changed its attributes, or only opened it.
    fn update(&mut self, dir: &Opened<'_>, content: &Content<'_>, base: &Facts) -> Result<(), CommitError> {
        let left = content.left;
        // Others wrote into it since, and it was not: the command has only opened it, and all that differs is theirs. That
        // it was changed since is said by another clock than ours, so it must also look otherwise than it was found.
        let theirs = base.changed > self.began && !base.modified.is_as_kept(left.facts.modified);
        if theirs && left.facts.modified < self.surely_before() {
            return Ok(());
        }
        if let Some(file) = self.same_bytes(dir, content, base)? {
            return self.touch(dir, content, &file);
        }
        // A new file in its place would be another file to its other names, and another owner's.
        let must_stay = base.links > 1 || base.uid != self.request.user.uid;
        if must_stay {
            match self.calls.open_to_write(dir.as_fd(), &left.name) {
                Ok(file) => return self.write_into(dir, content, file),
                // It runs somewhere, or may be replaced only: as good as can be.
                Err(Errno::TXTBSY | Errno::ACCESS) => {}
                Err(errno) => return Err(self.failed("open", left.place, &left.name, errno)),
            }
        }
        self.replace(dir, content, Some(base))
    }

    /// The bytes are as they were: what is left to do are mode, group, times.
    fn touch(&mut self, dir: &Opened<'_>, content: &Content<'_>, file: &OwnedFd) -> Result<(), CommitError> {
        let left = content.left;
        let now = Facts::of(file.as_fd()).map_err(|errno| self.failed("stat", left.place, &left.name, errno))?;
        self.check("chmod", left.place, &left.name)?;
        let changed = self.set_attributes(content, file, Some(&now))?.is_none();
        let written = now.modified != left.facts.modified;
        if written {
            self.check("utimensat", left.place, &left.name)?;
            self.set_times(content, file, true)?;
        }
        if changed || written { self.on_published(dir, left) } else { Ok(()) }
    }

    /// Publishes a file as a new one under its name, by way of a temporary.
    fn replace(&mut self, dir: &Opened<'_>, content: &Content<'_>, base: Option<&Facts>) -> Result<(), CommitError> {
        let left = content.left;
        let temporary = temporary::name_for(&left.name, self.request.attempt);
        let file = self.create(dir, left, &temporary)?;
        let filled = self.fill(content, file, base);
        if filled.is_err() {
            let _ = self.calls.unlink(dir.as_fd(), &temporary);
        }
        let made = filled?;
        match self.layer_of(left.place).strategy {
            Strategy::Link => self.link(dir, left, &temporary, &made)?,
            Strategy::Rename => self.rename(dir, left, &temporary, &made)?,
        }
        self.on_published_as(left, &made);
        Ok(())
    }

    /// Creates a temporary. One of the name is left of an earlier try.
    fn create(&mut self, dir: &Opened<'_>, left: &Left, name: &CStr) -> Result<OwnedFd, CommitError> {
        // Whatever its mode, its writer writes; some servers ask for the right at each write.
        let mode = Mode::from_raw_mode(left.facts.mode & 0o777 | 0o600);
        for _ in 0..TRIES {
            self.check("create", left.place, &left.name)?;
            match self.calls.create(dir.as_fd(), name, mode) {
                Err(Errno::EXIST) => self.unlink_if_there(dir, left, name)?,
                Err(errno) => return Err(self.failed("create", left.place, &left.name, errno)),
                Ok(file) => return Ok(file),
            }
        }
        Err(self.failed("create", left.place, &left.name, Errno::EXIST))
    }

    pub(crate) fn unlink_if_there(&mut self, dir: &Opened<'_>, left: &Left, name: &CStr) -> Result<(), CommitError> {
        self.check("unlink", left.place, &left.name)?;
        let removed = self.calls.unlink(dir.as_fd(), name).or_else(gone);
        removed.map_err(|errno| self.failed("unlink", left.place, &left.name, errno))
    }

    /// Writes, gives attributes, and closes.
    fn fill(&mut self, content: &Content<'_>, file: OwnedFd, base: Option<&Facts>) -> Result<Facts, CommitError> {
        self.copy_into_new(content, &file)?;
        let now = self.set_attributes(content, &file, base)?;
        self.set_times(content, &file, false)?;
        let is_as_written = now.filter(|_| !self.is_time_chosen(content.left.facts.modified));
        self.sync_and_close(content, file, is_as_written)
    }

    /// Fences as [`Self::rename`] does: a temporary that the next attempt has removed cannot be linked.
    fn link(&mut self, dir: &Opened<'_>, left: &Left, from: &CStr, made: &Facts) -> Result<(), CommitError> {
        match self.try_to_link(dir, left, from, made) {
            Err(error) if error.errno.is_some_and(has_no_links) => self.rename(dir, left, from, made),
            linked => {
                let _ = self.calls.unlink(dir.as_fd(), from);
                linked
            }
        }
    }

    fn try_to_link(&mut self, dir: &Opened<'_>, left: &Left, from: &CStr, made: &Facts) -> Result<(), CommitError> {
        for _ in 0..TRIES {
            // One that sleeps here takes at most a name away, which a build tool sees as not built.
            self.unlink_if_there(dir, left, &left.name)?;
            self.check("link", left.place, &left.name)?;
            match self.calls.link(dir.as_fd(), from, dir.as_fd(), &left.name) {
                Ok(()) => return Ok(()),
                // Done, and the reply was lost; or somebody else has made the name just now.
                Err(Errno::EXIST) if Facts::at(dir.as_fd(), &left.name).is_ok_and(|now| now.is_same_file(made)) => {
                    return Ok(());
                }
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => {
                    return Err(CommitError::lease("link", &self.plan.tree.path_of(left.place, &left.name)));
                }
                Err(errno) => return Err(self.failed("link", left.place, &left.name, errno)),
            }
        }
        Err(self.failed("link", left.place, &left.name, Errno::EXIST))
    }

    /// The step that fences: see the crate's description. `made` is the file that is to get the name; when it does not, the
    /// temporary is removed.
    pub(crate) fn rename(
        &mut self,
        dir: &Opened<'_>,
        left: &Left,
        from: &CStr,
        made: &Facts,
    ) -> Result<(), CommitError> {
        let renamed = self.try_to_rename(dir, left, from, made);
        if renamed.is_err() {
            let _ = self.calls.unlink(dir.as_fd(), from);
        }
        renamed
    }

    fn try_to_rename(&mut self, dir: &Opened<'_>, left: &Left, from: &CStr, made: &Facts) -> Result<(), CommitError> {
        // Of a file that was removed the inode number is soon another file's. By its time of writing it is told from that
        // one, for the next attempt begins when the lease of this one is over; a time that the command chose is the same
        // in both, and then a handle knows their generations apart.
        let is_chosen = self.is_time_chosen(left.facts.modified);
        let handle = is_chosen.then(|| handle_of(dir.as_fd(), from));
        self.check("rename", left.place, &left.name)?;
        match self.calls.rename(dir.as_fd(), from, &left.name) {
            Ok(()) => Ok(()),
            // Either the server did it and its reply was lost, so that the repeated call found nothing left to rename
            // (NFS over a bad network); or the next attempt has removed our temporary. The file under the name tells.
            Err(Errno::NOENT) => {
                // An NFS client looks anew once the directory is opened (filesystems.md section 2).
                drop(crate::tree::to_list(dir.as_fd()));
                match Facts::if_there(dir.as_fd(), &left.name) {
                    Ok(Some(now))
                        if now.is_same_file(made)
                            && (now.size, now.modified) == (made.size, made.modified)
                            && handle.is_none_or(|handle| handle_of(dir.as_fd(), &left.name) == handle) =>
                    {
                        Ok(())
                    }
                    Ok(_) => Err(CommitError::lease("rename", &self.plan.tree.path_of(left.place, &left.name))),
                    Err(errno) => Err(self.failed("stat", left.place, &left.name, errno)),
                }
            }
            Err(errno) => Err(self.failed("rename", left.place, &left.name, errno)),
        }
    }
}

/// Whether this may be what `rename(2)` or `unlink(2)` says of a directory that is in the way; which of these is up to the
/// server.
fn may_be_a_directory(errno: Errno) -> bool {
    matches!(errno, Errno::ISDIR | Errno::PERM | Errno::EXIST | Errno::NOTEMPTY)
}

/// Whether `link(2)` says that there is no linking here.
fn has_no_links(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV)
}

impl Origin {
    fn handle(&self) -> Option<Vec<u8>> {
        match self {
            Self::CopyOf(handle) => Some(handle.clone()),
            Self::Made | Self::CopyOfUnknown => None,
        }
    }
}
