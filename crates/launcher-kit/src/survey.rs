//! A command's files, one after the other: where each really is, and how it looks.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use commit::Sight;
use proto::v1;
use rustix::fs::FileType;

use crate::decide::{Stays, stays};
use crate::leftovers;
use crate::places::{Found, Looked, Place, Places, canonical};

/// What was found on the way through a command's files.
pub(crate) struct Survey<'a> {
    places: &'a Places,
    cwd: &'a Path,
    pub(crate) mounts: Vec<usize>,
    pub(crate) inputs: Vec<(Vec<u8>, v1::Stamp)>,
    searched: Vec<PathBuf>,
}

/// Most directories whose state the worker is to have as well; the first ones are searched first.
const MAX_SEARCHED: usize = 64;

impl<'a> Survey<'a> {
    pub(crate) fn new(places: &'a Places, cwd: &'a Path) -> Self {
        Self { places, cwd, mounts: Vec::new(), inputs: Vec::new(), searched: Vec::new() }
    }

    pub(crate) fn visit_cwd(&mut self) -> Result<(), Stays> {
        match self.places.of_dir(Path::new(""), self.cwd) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => {
                return Err(stays(format!("the working directory {} is not on a shared mount", shown(self.cwd))));
            }
            Place::Private(why) => return Err(stays(format!("the working directory {} {why}", shown(self.cwd)))),
        }
        Ok(())
    }

    /// The canonical path of the tool; `None` when it lies on a shared mount and so is everywhere.
    pub(crate) fn tool(&mut self, program: &Path) -> Result<Option<PathBuf>, Stays> {
        let real = canonical(program).map_err(|error| stays(format!("{}: {error}", shown(program))))?;
        // A link to something else by a compiler's name (ccache, distcc, a script of another name) does its own thing.
        if cmdline::tool_of(real.as_os_str().as_bytes()).is_none() {
            return Err(stays(format!("{} is really {}, which is no tool we know", shown(program), shown(&real))));
        }
        match self.places.of_file(Path::new(""), &real) {
            Place::Shared(mount) => {
                self.touch(mount);
                Ok(None)
            }
            Place::System => Ok(Some(real)),
            Place::Private(why) => Err(stays(format!("the tool {} {why}", shown(program)))),
        }
    }

    pub(crate) fn visit_input(&mut self, input: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(input));
        // What is not there has no stamp. It may be found on a search path (`-include config.h`, `-specs=`), be made by
        // the command itself (`ar rcs new.a`), or be missing on the worker too, and then the tool says so.
        let whole = self.cwd.join(path);
        let found = Places::find(&whole);
        let Found::There(looked) = &found else { return Ok(()) };
        if looked.is_dev_null {
            return Ok(());
        }
        if looked.kind == FileType::Directory {
            return self.visit_dir(input);
        }
        if looked.kind != FileType::RegularFile {
            return Err(stays(format!("the input {} is not a regular file", shown(path))));
        }
        match self.places.of_found(self.cwd, path, &found) {
            Place::Shared(mount) => {
                self.touch(mount);
                // Where `#include "..."` looks first.
                self.note_searched(path.parent().unwrap_or(Path::new("")));
            }
            Place::System => {}
            Place::Private(why) => return Err(stays(format!("the input {} {why}", shown(path)))),
        }
        self.inputs.push((input.to_vec(), stamp(&whole, looked)));
        Ok(())
    }

    pub(crate) fn has_seen(&self, input: &[u8]) -> bool {
        self.inputs.iter().any(|(name, _)| name == input)
    }

    pub(crate) fn visit_output(&mut self, output: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(output));
        let whole = self.cwd.join(path);
        // A name that is looked at before it exists may stay missing for a while in this machine's view (NFS). But whether
        // it is a link or a device has to be known, and one look is the least.
        let found = Places::find(&whole);
        if let Found::There(looked) = &found {
            if looked.is_dev_null {
                return Ok(());
            }
            if looked.kind != FileType::RegularFile {
                return Err(stays(format!("the output {} is not a regular file", shown(path))));
            }
        }
        if !whole.parent().is_some_and(|parent| self.places.is_dir(parent)) {
            return Err(stays(format!("the directory of the output {} does not exist", shown(path))));
        }
        match self.places.of_found(self.cwd, path, &found) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => return Err(stays(format!("the output {} is not on a shared mount", shown(path)))),
            Place::Private(why) => return Err(stays(format!("the output {} {why}", shown(path)))),
        }
        Ok(())
    }

    /// Files of unknown names go there, which begin like this: only on a shared mount will they be found again.
    pub(crate) fn visit_written_near(&mut self, beginning: &[u8]) -> Result<(), Stays> {
        let dir = beginning.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &beginning[..=slash]);
        let path = Path::new(OsStr::from_bytes(dir));
        match self.places.of_dir(self.cwd, path) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => {
                return Err(stays(format!("it writes into {}, which is not on a shared mount", shown(path))));
            }
            Place::Private(why) => return Err(stays(format!("it writes into {}, which {why}", shown(path)))),
        }
        Ok(())
    }

    /// What a command adds to, `ar q` to its archive, is put back when an attempt ends without an outcome; see
    /// [`leftovers::Before`].
    pub(crate) fn can_be_undone(&self, output: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(output));
        match std::fs::metadata(self.cwd.join(path)) {
            Ok(metadata) if metadata.is_file() && metadata.len() > leftovers::MOST_KEPT => {
                Err(stays(format!("it adds to {}, which is too large to be put back if that fails", shown(path))))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn visit_dir(&mut self, dir: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(dir));
        match self.places.of_dir(self.cwd, path) {
            Place::Shared(mount) => {
                self.touch(mount);
                self.note_searched(path);
            }
            Place::System => {}
            Place::Private(why) => return Err(stays(format!("the directory {} {why}", shown(path)))),
        }
        Ok(())
    }

    /// How the directories that the command searches look from here, those that are there; of one that hides nothing from
    /// any of its clients (CephFS) nobody would want to know. A local filesystem may be an NFS server's.
    pub(crate) fn searched(&self) -> Vec<v1::Stamp> {
        let look = |dir: &PathBuf| match Places::find(dir) {
            Found::There(looked) => Some(stamp(dir, &looked)),
            Found::Missing | Found::Dangling(_) => None,
        };
        let may_differ = |dir: &&PathBuf| self.places.sight(dir) != Sight::Leases;
        self.searched.iter().filter(may_differ).filter_map(look).collect()
    }

    fn note_searched(&mut self, dir: &Path) {
        let mut whole = self.cwd.join(dir);
        // What names the working directory itself ends in a slash, and would be another name for it.
        if dir.as_os_str().is_empty() {
            whole = self.cwd.to_owned();
        }
        if self.searched.len() < MAX_SEARCHED && !self.searched.contains(&whole) {
            self.searched.push(whole);
        }
    }

    fn touch(&mut self, mount: usize) {
        if !self.mounts.contains(&mount) {
            self.mounts.push(mount);
        }
    }
}

fn shown(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// How a file looks from here.
#[must_use]
pub(crate) fn stamp(path: &Path, looked: &Looked) -> v1::Stamp {
    v1::Stamp {
        path: path.as_os_str().as_bytes().to_vec().into(),
        inode: looked.inode,
        size: looked.size,
        mtime_ns: looked.mtime_ns,
        fresh: false,
    }
}
