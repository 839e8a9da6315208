//! Directories of a layer, opened component by component, so that nothing planted on the way leads elsewhere.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io;

/// Directories held open at a time.
pub(crate) const HELD: usize = 64;

/// A directory in which the command left something.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Of which layer.
    pub(crate) layer: usize,
    /// The directory that it is in; none for the root of a layer.
    pub(crate) parent: Option<usize>,
    pub(crate) name: CString,
    pub(crate) depth: usize,
}

/// Every such directory, by number; parents before children.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    places: Vec<Place>,
}

impl Tree {
    pub(crate) fn add(&mut self, place: Place) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    pub(crate) fn place(&self, number: usize) -> &Place {
        &self.places[number]
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The path of a name in a directory, relative to the root of its layer.
    pub(crate) fn path_of(&self, number: usize, name: &CStr) -> Vec<u8> {
        let mut names = vec![name.to_bytes()];
        let mut at = number;
        while let Some(parent) = self.places[at].parent {
            names.push(self.places[at].name.to_bytes());
            at = parent;
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// Opens the directories of one side, upper or real, and keeps those used last.
pub(crate) struct Opener<'a> {
    roots: Vec<BorrowedFd<'a>>,
    flags: OFlags,
    held: BTreeMap<usize, Rc<OwnedFd>>,
}

/// A directory held open.
#[derive(Clone)]
pub(crate) enum Opened<'a> {
    Root(BorrowedFd<'a>),
    Below(Rc<OwnedFd>),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(root) => *root,
            Self::Below(directory) => directory.as_fd(),
        }
    }
}

impl<'a> Opener<'a> {
    /// For the layers with these roots. Directories are opened as places (`O_PATH`): not to be read, nor need they be
    /// readable.
    pub(crate) fn new(roots: Vec<BorrowedFd<'a>>) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self { roots, flags, held: BTreeMap::new() }
    }

    /// Opens a directory; one whose ancestors are held costs one call.
    pub(crate) fn open(&mut self, tree: &Tree, number: usize) -> io::Result<Opened<'a>> {
        let mut missing = Vec::new();
        let mut at = number;
        let mut from = loop {
            if let Some(held) = self.held.get(&at) {
                break Opened::Below(Rc::clone(held));
            }
            let place = tree.place(at);
            let Some(parent) = place.parent else { break Opened::Root(self.roots[place.layer]) };
            missing.push(at);
            at = parent;
        };
        if self.held.len() >= HELD {
            self.held.clear();
        }
        for number in missing.into_iter().rev() {
            let opened = rustix::fs::openat(&from, &*tree.place(number).name, self.flags, Mode::empty())?;
            let opened = Rc::new(opened);
            self.held.insert(number, Rc::clone(&opened));
            from = Opened::Below(opened);
        }
        Ok(from)
    }

    /// Opens a directory by its whole path, in one call; no symbolic link is followed on the way.
    pub(crate) fn open_at_once(&mut self, tree: &Tree, number: usize) -> io::Result<()> {
        let place = tree.place(number);
        let Some(parent) = place.parent else { return Ok(()) };
        let ways = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = tree.path_of(parent, &place.name);
        let opened = rustix::fs::openat2(self.roots[place.layer], path, self.flags, Mode::empty(), ways)?;
        self.held.insert(number, Rc::new(opened));
        Ok(())
    }

    /// Forgets a directory that was removed or replaced, and all others.
    pub(crate) fn forget(&mut self) {
        self.held.clear();
    }
}

/// Opens a directory again to list it.
pub(crate) fn to_list(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, Mode::empty())
}
