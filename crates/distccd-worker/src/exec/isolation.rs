//! Which attempts are isolated, and how.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::command::Identity;

use super::Work;
use crate::keeper::conversation::{Published, Request};
use crate::probe::is_mounted_below;
use crate::spawner::Namespaces;

/// What attempts see of the shared mounts; the default is to work on them in place.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    /// Canonical paths of the mounts to isolate: all of this worker, or none.
    pub mounts: Vec<PathBuf>,
    /// Those of them that have the same path here as in the configuration. What lies on the others has another path here
    /// than for the launchers, which follow the symbolic link at the mount's place to somewhere else.
    pub same_path: Vec<PathBuf>,
    /// Those of them where a rename makes readers wait, so that files are published in another way.
    pub slow_rename: Vec<PathBuf>,
    /// What an attempt may write before it is published, in bytes.
    pub scratch_limit: u64,
    /// Whether what is published is to be on disk before the result.
    pub durable: bool,
    /// Whether commands that are not isolated are told other names for their outputs, where that is possible.
    pub redirects: bool,
}

/// How what one command writes is kept from others until it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All of it, by overlays.
    Overlay(Namespaces),
    /// Its outputs are all that it writes, and it is told other names for them.
    Redirect,
    /// Not at all.
    InPlace,
}

impl Way {
    pub(super) fn namespaces(self) -> Namespaces {
        if let Self::Overlay(namespaces) = self { namespaces } else { Namespaces::None }
    }
}

impl Isolation {
    /// What every request of an isolated keeper says.
    pub(crate) fn request(&self) -> Request {
        Request {
            mounts: self.mounts.iter().map(|mount| bytes_of(mount)).collect(),
            slow_rename: self.slow_rename.iter().map(|mount| bytes_of(mount)).collect(),
            scratch_limit: self.scratch_limit,
            durable: self.durable,
            ..Request::default()
        }
    }

    /// Those that this process can have.
    pub(crate) fn possible() -> Namespaces {
        if rustix::process::geteuid().is_root() { Namespaces::Root } else { Namespaces::User }
    }

    /// What of a commit others can be told of by the paths that it has here.
    pub(crate) fn said(&self, mut published: Published) -> Published {
        let same = |path: &[u8]| self.same_path.iter().any(|mount| crate::keeper::path_of(path).starts_with(mount));
        published.stamps.retain(|stamp| same(&stamp.path));
        published.removed.retain(|path| same(path));
        published.made.retain(|made| same(&made.path));
        published
    }

    /// The mount that the work's main output is on; of work without any, the one that it is done on.
    pub(super) fn mount_of<'a>(&'a self, work: &'a Work) -> &'a Path {
        let around = self.mounts.iter().filter(|mount| work.place().starts_with(mount));
        around.max_by_key(|mount| mount.as_os_str().len()).map_or(Path::new("/"), PathBuf::as_path)
    }

    /// Whether attempts are isolated at all; single ones may still have to work in place.
    pub(crate) fn is_on(&self) -> bool {
        !self.mounts.is_empty()
    }

    pub(super) fn way_for(&self, work: &Work) -> Way {
        let namespaces = Self::possible();
        let overlay = self.is_on()
            && !is_mounted_below(&self.mounts)
            && !(namespaces == Namespaces::User && meets_strangers(work));
        match () {
            () if overlay => Way::Overlay(namespaces),
            () if self.redirects && can_redirect(work) => Way::Redirect,
            () => Way::InPlace,
        }
    }
}

/// Whether the command names its outputs by words that can be others, and a new file in the place of each is what it
/// would leave there by itself: there is none yet, or one like those that it makes.
fn can_redirect(work: &Work) -> bool {
    let command = &work.command;
    let cwd = crate::keeper::path_of(&command.cwd);
    let says = |(output, word): (&PathBuf, &u32)| {
        let said = usize::try_from(*word).ok().filter(|word| *word > 0).and_then(|word| command.argv.get(word));
        said.is_some_and(|said| cwd.join(OsStr::from_bytes(said)) == *output)
    };
    let all_said = work.redirects.len() == work.outputs.len() && work.outputs.iter().zip(&work.redirects).all(says);
    let is_replaceable = |output: &PathBuf| match fs::symlink_metadata(output) {
        Ok(facts) => {
            let (fresh, owner) = (0o666 & !command.umask, command.identity.uid);
            let is_fresh = facts.mode() & 0o7777 == fresh && facts.uid() == owner;
            facts.is_file() && is_fresh && facts.nlink() == 1 && facts.len() <= MOST_COPIED
        }
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    // Else the error is the compiler's to report.
    let has_room = |output: &PathBuf| {
        let folder = output.parent().and_then(|folder| fs::metadata(folder).ok());
        folder.is_some_and(|folder| folder.is_dir() && may_make_files(&folder, &command.identity))
    };
    let all_right = work.outputs.iter().all(|output| is_replaceable(output) && has_room(output));
    !work.outputs.is_empty() && all_said && all_right
}

/// Whether the mode of a directory lets a user make files there. An access control list may know better.
fn may_make_files(folder: &fs::Metadata, user: &Identity) -> bool {
    const WRITE_AND_SEARCH: u32 = 0o3;
    let shift = match () {
        () if user.uid == 0 => return true,
        () if folder.uid() == user.uid => 6,
        () if folder.gid() == user.gid || user.groups.contains(&folder.gid()) => 3,
        () => 0,
    };
    folder.mode() >> shift & WRITE_AND_SEARCH == WRITE_AND_SEARCH
}

/// The largest output that is copied to be replaced.
const MOST_COPIED: u64 = 64 << 20;

/// Whether the command writes where the files of others are, or of another of our groups: a user namespace of one user
/// and one group cannot copy those up, and the command would see errors that are ours. Or into a file with several
/// names, of which an overlay without root does not tell whether it was written into.
fn meets_strangers(work: &Work) -> bool {
    let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // The link itself, and what it leads to: either may be somebody else's.
    let looks = |path: &Path| [fs::symlink_metadata(path), fs::metadata(path)].into_iter().flatten();
    let strange = |path: &Path| looks(path).any(|facts| (facts.uid(), facts.gid()) != us);
    let cwd = crate::keeper::path_of(&work.command.cwd);
    let outputs = work.outputs.iter().map(PathBuf::as_path);
    let mut folders: Vec<&Path> = outputs.clone().filter_map(Path::parent).collect();
    folders.sort_unstable();
    folders.dedup();
    let linked = |path: &Path| looks(path).any(|facts| facts.is_file() && facts.nlink() > 1);
    strange(&cwd) || folders.into_iter().any(strange) || outputs.clone().any(|path| strange(path) || linked(path))
}

pub(super) fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
