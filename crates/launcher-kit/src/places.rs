//! Where things really are: decided by the kernel's own resolution of a path and by `st_dev`, never by text alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};

/// A shared mount as configured, and where it really is.
#[derive(Clone, Debug)]
struct Mount {
    configured: PathBuf,
    real: PathBuf,
    on: Filesystem,
}

/// Which filesystem something lies on, and through which of its mounts: a directory of one may be mounted over another
/// (`mount --bind`), here and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Filesystem {
    device: u64,
    /// 0 from a kernel before 5.8, which does not tell.
    mount: u64,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the shared mount with this number (an index into [`Places::mount`]).
    Shared(usize),
    /// In a directory that every machine has alike: the system's or a toolchain's own.
    System,
    /// Only here; the text says why, to be read after the path.
    Private(String),
}

/// Resolves paths against the configured mounts, and remembers the directories it has seen: the files of one command
/// share few.
pub struct Places {
    mounts: Vec<Mount>,
    missing: Vec<PathBuf>,
    system: Vec<PathBuf>,
    seen: RefCell<BTreeMap<PathBuf, Option<Resolved>>>,
}

#[derive(Clone, Debug)]
struct Resolved {
    real: PathBuf,
    on: Filesystem,
}

impl Places {
    /// Looks at the configured mounts. A mount that is not there is no error: nothing lies on it, so all stays local.
    #[must_use]
    pub fn new(mounts: &[PathBuf], system: &[PathBuf]) -> Self {
        let mut places =
            Self { mounts: Vec::new(), missing: Vec::new(), system: system.to_vec(), seen: RefCell::default() };
        for configured in mounts {
            match resolve(configured) {
                Ok(at) => {
                    let mount = Mount { configured: configured.clone(), real: at.real, on: at.on };
                    places.mounts.push(mount);
                }
                Err(_) => places.missing.push(configured.clone()),
            }
        }
        places
    }

    /// The configured path of a mount.
    #[must_use]
    pub fn mount(&self, index: usize) -> &Path {
        &self.mounts[index].configured
    }

    /// Configured mounts that are not there.
    #[must_use]
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// Where an existing directory lies. `path` is absolute, or relative to `cwd`.
    #[must_use]
    pub fn of_dir(&self, cwd: &Path, path: &Path) -> Place {
        match self.resolved(&cwd.join(path)) {
            Some(at) => self.judge(cwd, path, &at),
            // A directory that is not there is searched by nobody, unless it exists on another machine.
            None => self.of_missing(&cwd.join(path)),
        }
    }

    /// Where a file lies, or would lie once it exists: the kernel follows it if it is a symbolic link.
    #[must_use]
    pub fn of_file(&self, cwd: &Path, path: &Path) -> Place {
        let whole = cwd.join(path);
        let itself = look(CWD, &whole, AtFlags::SYMLINK_NOFOLLOW).ok();
        if itself.is_some_and(|(kind, _)| kind == FileType::Symlink) {
            return match resolve(&whole) {
                Ok(at) => self.judge(cwd, path, &at),
                Err(error) => Place::Private(format!("is a symbolic link that cannot be followed ({error})")),
            };
        }
        let parent = whole.parent().unwrap_or(Path::new("/"));
        match self.resolved(parent) {
            Some(at) if itself.is_some_and(|(_, on)| on.mount != at.on.mount) && self.is_on_a_mount(&at) => {
                Place::Private("is mounted over by a file of this machine's own".into())
            }
            Some(at) => self.judge(cwd, path, &at),
            None => self.of_missing(parent),
        }
    }

    fn is_on_a_mount(&self, at: &Resolved) -> bool {
        self.mounts.iter().any(|mount| mount.holds(at))
    }

    /// Of something that does not exist only the text can be judged, and in doubt it is private.
    fn of_missing(&self, path: &Path) -> Place {
        if path.components().any(|part| part == Component::ParentDir) {
            return Place::Private("does not exist".into());
        }
        let on = |mount: &Mount| path.starts_with(&mount.configured) || path.starts_with(&mount.real);
        match self.mounts.iter().position(on) {
            Some(index) => Place::Shared(index),
            None if self.system.iter().any(|dir| path.starts_with(dir)) => Place::System,
            None => Place::Private("does not exist, and its place is not on a shared mount".into()),
        }
    }

    /// The verdict over something that exists at `at` and was named by `path`.
    fn judge(&self, cwd: &Path, path: &Path, at: &Resolved) -> Place {
        let Some(index) = self.mounts.iter().position(|mount| mount.holds(at)) else {
            if self.system.iter().any(|dir| at.real.starts_with(dir)) {
                return Place::System;
            }
            return Place::Private(format!("lies at {}, which is on no shared mount", at.real.display()));
        };
        // Named by an absolute path through a private symbolic link, it exists here and nowhere else.
        let named = path.is_absolute() || cwd.as_os_str().is_empty();
        let reached = |mount: &Mount| path.starts_with(&mount.configured) || path.starts_with(&mount.real);
        if named && !self.mounts.iter().any(reached) && !self.system.iter().any(|dir| path.starts_with(dir)) {
            return Place::Private("leads to a shared mount through a name that only this machine has".into());
        }
        Place::Shared(index)
    }

    fn resolved(&self, dir: &Path) -> Option<Resolved> {
        if let Some(known) = self.seen.borrow().get(dir) {
            return known.clone();
        }
        let found = resolve(dir).ok();
        self.seen.borrow_mut().insert(dir.to_owned(), found.clone());
        found
    }
}

/// Lets the kernel follow a path to its end, whatever lies there: `O_PATH` opens nothing and asks no server for data.
fn resolve(path: &Path) -> io::Result<Resolved> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (_, on) = look(&file, Path::new(""), AtFlags::EMPTY_PATH)?;
    Ok(Resolved { real, on })
}

/// What something is, and what it lies on.
fn look(dir: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<(FileType, Filesystem)> {
    let seen = statx(dir, path, flags, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    let mount = if seen.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { seen.stx_mnt_id };
    let device = makedev(seen.stx_dev_major, seen.stx_dev_minor);
    Ok((FileType::from_raw_mode(seen.stx_mode.into()), Filesystem { device, mount }))
}

impl Mount {
    fn holds(&self, at: &Resolved) -> bool {
        at.on == self.on && at.real.starts_with(&self.real)
    }
}

/// The canonical path of something that exists.
///
/// # Errors
/// Those of `open(2)`.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    resolve(path).map(|at| at.real)
}

/// The working directory as the user sees it: `PWD` where it truly names this directory, as compilers record it, else
/// what the kernel says.
///
/// # Errors
/// When the directory has vanished.
pub fn working_directory(pwd: Option<&Path>) -> io::Result<PathBuf> {
    let here = std::fs::metadata(".")?;
    if let Some(pwd) = pwd.filter(|pwd| pwd.is_absolute()) {
        let same = std::fs::metadata(pwd).is_ok_and(|there| there.dev() == here.dev() && there.ino() == here.ino());
        if same {
            return Ok(pwd.to_owned());
        }
    }
    std::env::current_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Land {
        _root: tempfile::TempDir,
        mount: PathBuf,
        private: PathBuf,
        places: Places,
    }

    fn land() -> Land {
        let root = tempfile::tempdir().unwrap();
        let (mount, private) = (root.path().join("mount"), root.path().join("private"));
        std::fs::create_dir_all(mount.join("src")).unwrap();
        std::fs::create_dir_all(&private).unwrap();
        let places = Places::new(std::slice::from_ref(&mount), &[PathBuf::from("/usr")]);
        Land { _root: root, mount, private, places }
    }

    #[test]
    fn a_file_below_the_mount_is_shared_even_before_it_exists() {
        let land = land();

        assert_eq!(land.places.of_file(&land.mount, Path::new("src/new.o")), Place::Shared(0));
        assert_eq!(land.places.of_dir(&land.mount, &land.mount.join("src")), Place::Shared(0));
    }

    #[test]
    fn what_lies_outside_is_private_and_the_systems_own_is_the_systems() {
        let land = land();

        assert!(matches!(land.places.of_file(&land.private, Path::new("a.c")), Place::Private(_)));
        assert_eq!(land.places.of_dir(&land.mount, Path::new("/usr/include")), Place::System);
    }

    #[test]
    fn a_link_on_the_mount_that_leaves_it_is_private() {
        let land = land();
        std::fs::write(land.private.join("a.c"), "").unwrap();
        symlink(land.private.join("a.c"), land.mount.join("a.c")).unwrap();
        symlink(&land.private, land.mount.join("include")).unwrap();

        assert!(matches!(land.places.of_file(&land.mount, Path::new("a.c")), Place::Private(_)));
        assert!(matches!(land.places.of_dir(&land.mount, Path::new("include")), Place::Private(_)));
        assert!(matches!(land.places.of_file(&land.mount, Path::new("include/new.h")), Place::Private(_)));
    }

    #[test]
    fn a_private_name_for_something_shared_is_private() {
        let land = land();
        symlink(land.mount.join("src"), land.private.join("alias")).unwrap();

        let place = land.places.of_dir(&land.mount, &land.private.join("alias"));

        assert!(matches!(&place, Place::Private(why) if why.contains("only this machine")), "{place:?}");
    }

    #[test]
    fn a_missing_mount_holds_nothing() {
        let places = Places::new(&[PathBuf::from("/no/such/mount")], &[]);

        assert_eq!(places.missing(), [PathBuf::from("/no/such/mount")]);
        assert!(matches!(places.of_dir(Path::new("/"), Path::new("/no/such/mount/x")), Place::Private(_)));
    }
}
