//! Looks through an upper layer and notes what a command left in it. Changes nothing that anybody sees.
//!
//! The layer's content is the command's, and may be hostile: nothing is followed, nothing is opened for its effect, and
//! there are bounds on how much is looked at.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::error::{CommitError, Side};
use crate::facts::Facts;
use crate::tree::{Opener, Place, Tree, to_list};
use crate::{Family, Request};

/// Names that a command may leave. A build's largest commands leave thousands.
const MOST_NAMES: usize = 250_000;
/// Directories below each other. `PATH_MAX` allows for 2048, of names of one letter.
const DEEPEST: usize = 256;

/// A name in a layer.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    /// The directory that it is in.
    pub(crate) place: usize,
    pub(crate) name: CString,
    /// As in the upper layer.
    pub(crate) facts: Facts,
}

/// A regular file in a layer.
#[derive(Clone, Debug)]
pub(crate) struct LeftFile {
    pub(crate) left: Left,
    pub(crate) origin: Origin,
}

/// Whether overlayfs copied a file up, because the command wrote into it, or the command made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Made,
    /// Copied up from the file with this handle, under this name or one that it has been renamed from.
    CopyOf(Vec<u8>),
    /// Copied up, from where overlayfs does not say: the lower filesystem has no handles, or the overlay was mounted
    /// without root. Such an overlay has no index, so that a file with several names is never marked.
    CopyOfUnknown,
}

/// A directory in a layer.
#[derive(Clone, Debug)]
pub(crate) struct LeftDirectory {
    pub(crate) left: Left,
    /// Its number as a place.
    pub(crate) number: usize,
    /// Whether it hides what the directory of the name has on the shared filesystem: the command made it.
    pub(crate) opaque: bool,
    /// The names in it, sorted, of an opaque one.
    pub(crate) names: Vec<CString>,
    /// Whether there is something in it to publish.
    pub(crate) filled: bool,
}

/// What a command left, to be published.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) tree: Tree,
    /// Parents before children.
    pub(crate) directories: Vec<LeftDirectory>,
    pub(crate) files: Vec<LeftFile>,
    pub(crate) symlinks: Vec<Left>,
    pub(crate) removals: Vec<Left>,
    pub(crate) skipped: u64,
}

impl Plan {
    /// Whether the command may have put this directory in place of something else: only an opaque one, or what is below
    /// such a one, hides anything but a directory.
    pub(crate) fn hides(&self, number: usize) -> bool {
        // The roots of the layers are numbered first, and are no directories that the command left.
        let roots = self.tree.len() - self.directories.len();
        let mut at = number;
        while let Some(directory) = at.checked_sub(roots).and_then(|index| self.directories.get(index)) {
            if directory.opaque {
                return true;
            }
            at = directory.left.place;
        }
        false
    }

    /// Whether this is a new file and the only name to publish, as a compile leaves it: it takes the place of whatever is
    /// there but a directory, which refuses by itself, and a look would be one question more for every compile.
    pub(crate) fn is_all_that_is_new(&self, file: &LeftFile) -> bool {
        let is_new = file.origin == Origin::Made && file.left.facts.links == 1;
        is_new && self.files.len() == 1 && self.symlinks.is_empty()
    }

    /// Whether there is nothing to publish.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let changes = self.directories.len() + self.files.len() + self.symlinks.len() + self.removals.len();
        changes == 0
    }

    /// Bytes in the files left.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.left.facts.size))
    }

    /// FIFOs, sockets and devices: named here only, never made on the shared filesystem.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Looks through the layers of an attempt whose processes have all ended.
///
/// Reading the marks of overlayfs in [`Family::Trusted`] needs `CAP_SYS_ADMIN`; publishing needs no capability.
///
/// # Errors
/// When the scratch directory cannot be read, or the command left too much.
pub fn survey(request: &Request<'_>) -> Result<Plan, CommitError> {
    let mut surveyor = Surveyor {
        request,
        upper: Opener::new(request.layers.iter().map(|layer| layer.upper).collect()),
        plan: Plan::default(),
        names: 0,
    };
    for layer in 0..request.layers.len() {
        let root = Place { layer, parent: None, name: CString::default(), depth: 0 };
        surveyor.plan.tree.add(root);
    }
    // Places are numbered as they are met, so this walks every directory, without recursion.
    let mut next = 0;
    while next < surveyor.plan.tree.len() {
        surveyor.look_into(next)?;
        next += 1;
    }
    Ok(surveyor.plan)
}

struct Surveyor<'a> {
    request: &'a Request<'a>,
    upper: Opener<'a>,
    plan: Plan,
    names: usize,
}

impl Surveyor<'_> {
    fn look_into(&mut self, number: usize) -> Result<(), CommitError> {
        let family = self.request.layers[self.plan.tree.place(number).layer].family;
        let (listed, names) = self.list(number).map_err(|errno| self.scratch(number, c"", errno))?;
        if self.names > MOST_NAMES {
            return Err(CommitError::attempt("survey", &self.plan.tree.path_of(number, c"")));
        }
        let mark = mark(listed.as_fd(), family, "opaque").map_err(|errno| self.scratch(number, c"", errno))?;
        let marked_whiteouts = mark.as_deref() == Some(b"x");
        for name in &names {
            self.note(number, listed.as_fd(), name, marked_whiteouts)?;
        }
        // The roots of the layers are numbered first, and are no directories that the command left.
        let directory = number.checked_sub(self.request.layers.len());
        if let Some(directory) = directory.and_then(|index| self.plan.directories.get_mut(index)) {
            directory.filled = !names.is_empty();
            if mark.as_deref() == Some(b"y") {
                directory.opaque = true;
                directory.names = names;
                directory.names.sort();
            }
        }
        Ok(())
    }

    fn list(&mut self, number: usize) -> io::Result<(OwnedFd, Vec<CString>)> {
        let place = self.upper.open(&self.plan.tree, number)?;
        let listed = to_list(place.as_fd())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&listed)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.names += 1;
            if self.names > MOST_NAMES {
                break;
            }
            names.push(name.to_owned());
        }
        Ok((listed, names))
    }

    fn note(&mut self, place: usize, dir: BorrowedFd<'_>, name: &CStr, marked: bool) -> Result<(), CommitError> {
        let facts = Facts::at(dir, name).map_err(|errno| self.scratch(place, name, errno))?;
        let left = Left { place, name: name.to_owned(), facts };
        match facts.kind {
            FileType::RegularFile => self.note_file(dir, left, marked),
            FileType::Directory => self.note_directory(dir, left),
            FileType::Symlink => {
                self.plan.symlinks.push(left);
                Ok(())
            }
            // A whiteout: the command removed what the shared filesystem has here.
            FileType::CharacterDevice if facts.stands_for == 0 => {
                self.plan.removals.push(left);
                Ok(())
            }
            _ => {
                self.plan.skipped += 1;
                Ok(())
            }
        }
    }

    fn note_file(&mut self, dir: BorrowedFd<'_>, left: Left, marked_whiteouts: bool) -> Result<(), CommitError> {
        let family = self.family(left.place);
        let look = || {
            let file = open_left(dir, &left.name, left.facts.mode, OFlags::empty())?;
            let gone = marked_whiteouts && left.facts.size == 0 && mark(file.as_fd(), family, "whiteout")?.is_some();
            let origin = match mark(file.as_fd(), family, "origin")? {
                None => Origin::Made,
                Some(mark) => origin(&mark),
            };
            Ok((gone, origin))
        };
        match look() {
            Ok((true, _)) => self.plan.removals.push(left),
            Ok((false, origin)) => self.plan.files.push(LeftFile { left, origin }),
            Err(errno) => return Err(self.scratch(left.place, &left.name, errno)),
        }
        Ok(())
    }

    fn note_directory(&mut self, dir: BorrowedFd<'_>, left: Left) -> Result<(), CommitError> {
        let above = self.plan.tree.place(left.place);
        let place =
            Place { layer: above.layer, parent: Some(left.place), name: left.name.clone(), depth: above.depth + 1 };
        if place.depth > DEEPEST {
            return Err(CommitError::attempt("survey", &self.plan.tree.path_of(left.place, &left.name)));
        }
        // What only its owner shut, or root may look into, is opened for us; it goes with the scratch directory.
        if left.facts.mode & 0o700 != 0o700 {
            let opened = Mode::from_raw_mode(left.facts.mode | 0o700);
            let _ = rustix::fs::chmodat(dir, &*left.name, opened, AtFlags::empty());
        }
        let number = self.plan.tree.add(place);
        self.plan.directories.push(LeftDirectory { left, number, opaque: false, names: Vec::new(), filled: false });
        Ok(())
    }

    fn family(&self, place: usize) -> Family {
        self.request.layers[self.plan.tree.place(place).layer].family
    }

    fn scratch(&self, place: usize, name: &CStr, errno: Errno) -> CommitError {
        CommitError::of(Side::Upper, "survey", &self.plan.tree.path_of(place, name), errno)
    }
}

/// Opens a file of the upper layer to read it, if need be by making it readable: nobody else will see that.
pub(crate) fn open_left(dir: BorrowedFd<'_>, name: &CStr, mode: u32, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode | 0o600), AtFlags::empty())?;
            rustix::fs::openat(dir, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// A mark of overlayfs on a file of its upper layer (Documentation/filesystems/overlayfs.rst).
fn mark(file: BorrowedFd<'_>, family: Family, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = [0; 256];
    match rustix::fs::fgetxattr(file, format!("{}{name}", family.prefix()), &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the mark `origin`: `struct ovl_fb` of fs/overlayfs/overlayfs.h, five bytes, a UUID, and the handle of the file
/// that was copied; empty where the lower filesystem has no handles.
fn origin(mark: &[u8]) -> Origin {
    const HEAD: usize = 5 + 16;
    match mark.get(HEAD..) {
        Some(handle) if !handle.is_empty() => Origin::CopyOf(handle.to_vec()),
        _ => Origin::CopyOfUnknown,
    }
}
