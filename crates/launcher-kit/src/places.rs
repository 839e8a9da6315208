//! Where things really are: decided by the kernel's own resolution of a path and by `st_dev`, never by text alone.

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use commit::Sight;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};

use crate::mount_table::MountTable;

/// A shared mount as configured.
#[derive(Clone, Debug)]
struct Mount {
    configured: PathBuf,
    /// Whether something was found there that proves the path to go through no symbolic link.
    is_direct: Cell<bool>,
    /// Where the path leads if it is a symbolic link, or goes through one, once somebody has asked.
    link: OnceCell<Option<Resolved>>,
}

/// Which filesystem something lies on, and through which of its mounts: a directory of one may be mounted over another
/// (`mount --bind`), here and nowhere else.
#[derive(Clone, Copy, Debug)]
struct Filesystem {
    device: u64,
    /// 0 from a kernel before 5.8, which does not tell.
    mount: u64,
}

impl Filesystem {
    /// A mount is of one filesystem; within it, device numbers may differ (btrfs).
    fn is(self, other: Self) -> bool {
        let both_tell = self.mount != 0 && other.mount != 0;
        if both_tell { self.mount == other.mount } else { self.device == other.device }
    }
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
///
/// Nothing is asked of a mount that no path leads to, for it may hang, and every look costs a shared filesystem something:
/// where the mounts are, the kernel's own table says.
pub struct Places {
    mounts: Vec<Mount>,
    system: Vec<PathBuf>,
    table: RefCell<Option<MountTable>>,
    seen: RefCell<BTreeMap<PathBuf, Option<Resolved>>>,
}

#[derive(Clone, Debug)]
struct Resolved {
    real: PathBuf,
    on: Filesystem,
    is_dir: bool,
}

/// What a path names.
pub(crate) enum Found {
    Missing,
    /// A symbolic link that leads nowhere.
    Dangling(io::Error),
    There(Looked),
}

/// How something looks from here, symbolic links followed; one look has it all.
pub(crate) struct Looked {
    pub(crate) kind: FileType,
    /// `/dev/null` is the same everywhere.
    pub(crate) is_dev_null: bool,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// In nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    on: Filesystem,
    /// Where it really is, if its name is a symbolic link.
    led: Option<PathBuf>,
}

impl Places {
    /// For these configured mounts. One that is not there is no error: nothing lies on it, so all stays local.
    #[must_use]
    pub fn new(mounts: &[PathBuf], system: &[PathBuf]) -> Self {
        let mount = |configured: &PathBuf| Mount {
            configured: configured.clone(),
            is_direct: Cell::default(),
            link: OnceCell::new(),
        };
        Self {
            mounts: mounts.iter().map(mount).collect(),
            system: system.to_vec(),
            table: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    /// The configured path of a mount.
    #[must_use]
    pub fn mount(&self, index: usize) -> &Path {
        &self.mounts[index].configured
    }

    /// Configured mounts that are not there, as far as that can be told without asking a filesystem that may hang.
    #[must_use]
    pub fn missing(&self) -> Vec<&Path> {
        let configured = self.mounts.iter().map(|mount| mount.configured.as_path());
        configured.filter(|path| self.answers_at_once(path) && resolve(path).is_err()).collect()
    }

    /// The working directory as the user sees it: `PWD` where it truly names this directory, as compilers record it, else
    /// what the kernel says. Where these are the same text no filesystem is asked.
    ///
    /// # Errors
    /// When the directory has vanished.
    pub fn working_directory(&self, pwd: Option<&Path>) -> io::Result<PathBuf> {
        let here = std::env::current_dir()?;
        if !here.is_absolute() {
            return Err(io::ErrorKind::NotFound.into()); // on a filesystem that was unmounted: "(unreachable)/..."
        }
        if let Some(holding) = self.table(0).holding(&here) {
            let on = Filesystem { device: 0, mount: holding.id };
            self.seen.borrow_mut().insert(here.clone(), Some(Resolved { real: here.clone(), on, is_dir: true }));
        }
        let is_here = |pwd: &&Path| *pwd == here || self.resolved(pwd).is_some_and(|at| at.real == here);
        let pwd = pwd.filter(|pwd| pwd.is_absolute()).filter(is_here).map(Path::to_owned);
        Ok(pwd.unwrap_or(here))
    }

    /// What this machine sees of what others do where this absolute path leads; names are taken as if no symbolic link
    /// led elsewhere.
    #[must_use]
    pub fn sight(&self, path: &Path) -> Sight {
        self.table(0).holding(path).map_or(Sight::MayBeOld, |entry| entry.sight())
    }

    /// Whether this directory is there.
    pub(crate) fn is_dir(&self, dir: &Path) -> bool {
        self.resolved(dir).is_some_and(|at| at.is_dir)
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
        self.of_found(cwd, path, &Self::find(&cwd.join(path)))
    }

    /// Looks at what an absolute path names, once, and twice if it is a symbolic link.
    pub(crate) fn find(path: &Path) -> Found {
        match look(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(_) => Found::Missing,
            Ok(looked) if looked.kind == FileType::Symlink => match follow(path) {
                Ok((real, looked)) => Found::There(Looked { led: Some(real), ..looked }),
                Err(error) => Found::Dangling(error),
            },
            Ok(looked) => Found::There(looked),
        }
    }

    /// Where something lies that was found under this path.
    pub(crate) fn of_found(&self, cwd: &Path, path: &Path, found: &Found) -> Place {
        let itself = match found {
            Found::Dangling(error) => {
                return Place::Private(format!("is a symbolic link that cannot be followed ({error})"));
            }
            Found::There(looked) => Some(looked),
            Found::Missing => None,
        };
        if let Some(Looked { led: Some(real), on, .. }) = itself {
            return self.judge(cwd, path, &Resolved { real: real.clone(), on: *on, is_dir: false });
        }
        let whole = cwd.join(path);
        let parent = whole.parent().unwrap_or(Path::new("/"));
        let Some(at) = self.resolved(parent) else { return self.of_missing(parent) };
        let is_mounted_over = itself.is_some_and(|looked| !looked.on.is(at.on));
        match self.judge(cwd, path, &at) {
            Place::Shared(_) if is_mounted_over => {
                Place::Private("is mounted over by a file of this machine's own".into())
            }
            place => place,
        }
    }

    /// Of something that does not exist only the text can be judged, and in doubt it is private.
    fn of_missing(&self, path: &Path) -> Place {
        if path.components().any(|part| part == Component::ParentDir) {
            return Place::Private("does not exist".into());
        }
        let is_there = |mount: &Mount| {
            mount.is_direct.get() || self.is_mount_point(&mount.configured) || self.link(mount, path).is_some()
        };
        match self.mounts.iter().position(|mount| self.is_named(mount, path) && is_there(mount)) {
            Some(index) => Place::Shared(index),
            None if self.system.iter().any(|dir| path.starts_with(dir)) => Place::System,
            None => Place::Private("does not exist, and its place is not on a shared mount".into()),
        }
    }

    /// The verdict over something that exists at `at` and was named by `path`.
    fn judge(&self, cwd: &Path, path: &Path, at: &Resolved) -> Place {
        let Some(index) = self.holder(&cwd.join(path), at) else {
            if self.system.iter().any(|dir| at.real.starts_with(dir)) {
                return Place::System;
            }
            return Place::Private(format!("lies at {}, which is on no shared mount", at.real.display()));
        };
        // Named by an absolute path through a private symbolic link, it exists here and nowhere else.
        let named = path.is_absolute() || cwd.as_os_str().is_empty();
        let reached = |mount: &Mount| self.is_named(mount, path);
        if named && !self.mounts.iter().any(reached) && !self.system.iter().any(|dir| path.starts_with(dir)) {
            return Place::Private("leads to a shared mount through a name that only this machine has".into());
        }
        Place::Shared(index)
    }

    /// The shared mount that holds what lies at `at` and was named so.
    fn holder(&self, named: &Path, at: &Resolved) -> Option<usize> {
        // What leads through no symbolic link begins with the very text, and then the configured path is no link either.
        let direct = self.mounts.iter().position(|mount| self.holds(mount, at));
        direct.or_else(|| {
            self.mounts.iter().position(|mount| {
                let link = self.link(mount, named);
                link.is_some_and(|link| at.on.is(link.on) && at.real.starts_with(&link.real))
            })
        })
    }

    fn holds(&self, mount: &Mount, at: &Resolved) -> bool {
        if !at.real.starts_with(&mount.configured) {
            return false;
        }
        mount.is_direct.set(true);
        if at.on.mount == 0 {
            return self.resolved(&mount.configured).is_some_and(|root| root.on.is(at.on));
        }
        self.table(at.on.mount).holding(&mount.configured).is_some_and(|entry| entry.id == at.on.mount)
    }

    /// Whether a path begins with the name of a mount.
    fn is_named(&self, mount: &Mount, path: &Path) -> bool {
        let begins = path.starts_with(&mount.configured);
        begins || self.link(mount, path).is_some_and(|link| path.starts_with(&link.real))
    }

    /// Where a configured path leads that is no mount point: it may be a symbolic link to one. Asked is only what somebody
    /// has just come through, or what no server has to answer for.
    fn link<'a>(&self, mount: &'a Mount, named: &Path) -> Option<&'a Resolved> {
        let may_ask = named.starts_with(&mount.configured) || self.answers_at_once(&mount.configured);
        let is_no_link = || mount.is_direct.get() || self.is_mount_point(&mount.configured);
        if mount.link.get().is_none() && (!may_ask || is_no_link()) {
            return None;
        }
        mount.link.get_or_init(|| resolve(&mount.configured).ok()).as_ref()
    }

    fn is_mount_point(&self, path: &Path) -> bool {
        self.table(0).holding(path).is_some_and(|entry| entry.point == path)
    }

    fn answers_at_once(&self, path: &Path) -> bool {
        self.table(0).holding(path).is_none_or(|entry| entry.sight() == Sight::OneMachine)
    }

    /// The mount table; read again when it does not know the mount with this id, which was then mounted since (autofs).
    fn table(&self, id: u64) -> Ref<'_, MountTable> {
        let is_old = |table: &MountTable| id != 0 && table.by_id(id).is_none();
        if self.table.borrow().as_ref().is_none_or(is_old) {
            *self.table.borrow_mut() = Some(MountTable::read());
        }
        Ref::map(self.table.borrow(), |table| table.as_ref().unwrap_or(&NO_MOUNTS))
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

static NO_MOUNTS: MountTable = MountTable::none();

fn resolve(path: &Path) -> io::Result<Resolved> {
    follow(path).map(|(real, looked)| Resolved { real, on: looked.on, is_dir: looked.kind == FileType::Directory })
}

/// Lets the kernel follow a path to its end, whatever lies there: `O_PATH` opens nothing and asks no server for data.
fn follow(path: &Path) -> io::Result<(PathBuf, Looked)> {
    let file: File = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok((real, look(&file, Path::new(""), AtFlags::EMPTY_PATH)?))
}

/// What something is, and what it lies on.
fn look(dir: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<Looked> {
    let facts = statx(dir, path, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    let mount = if facts.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { facts.stx_mnt_id };
    let kind = FileType::from_raw_mode(facts.stx_mode.into());
    let time = &facts.stx_mtime;
    Ok(Looked {
        kind,
        // Character device 1:3 (Linux admin-guide/devices.txt).
        is_dev_null: kind == FileType::CharacterDevice && (facts.stx_rdev_major, facts.stx_rdev_minor) == (1, 3),
        inode: facts.stx_ino,
        size: facts.stx_size,
        mtime_ns: time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into()),
        on: Filesystem { device: makedev(facts.stx_dev_major, facts.stx_dev_minor), mount },
        led: None,
    })
}

/// The canonical path of something that exists.
///
/// # Errors
/// Those of `open(2)`.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    follow(path).map(|(real, _)| real)
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

        assert_eq!(places.missing(), [Path::new("/no/such/mount")]);
        assert!(matches!(places.of_dir(Path::new("/"), Path::new("/no/such/mount/x")), Place::Private(_)));
    }

    #[test]
    fn a_link_to_a_mount_is_the_mount_by_either_name() {
        let land = land();
        let link = land.private.join("cluster");
        symlink(&land.mount, &link).unwrap();
        let places = Places::new(std::slice::from_ref(&link), &[]);

        assert_eq!(places.of_dir(Path::new(""), &link.join("src")), Place::Shared(0));
        assert_eq!(places.of_dir(Path::new(""), &land.mount.join("src")), Place::Shared(0));
        assert_eq!(places.of_file(&link, Path::new("src/new.o")), Place::Shared(0));
        assert!(matches!(places.of_dir(Path::new(""), &land.private), Place::Private(_)));
    }

    #[test]
    fn a_mount_that_nothing_leads_to_is_not_asked() {
        // On `/dead` a server is silent; what is on this machine's own filesystem may be looked at.
        let table = MountTable::of_text(
            b"20 1 8:1 / / rw - ext4 /dev/sda rw\n\
              31 20 0:40 / /dead rw - nfs4 server:/ rw\n",
        );
        let places = Places::new(&[PathBuf::from("/dead"), PathBuf::from("/dead/below"), PathBuf::from("/bin")], &[]);
        *places.table.borrow_mut() = Some(table);
        let asked = |index: usize, named: &str| {
            let mount: &Mount = &places.mounts[index];
            places.link(mount, Path::new(named));
            mount.link.get().is_some()
        };

        assert!(!asked(0, "/home/a") && !asked(1, "/home/a") && !asked(1, "/dead/beside"));
        assert!(asked(2, "/home/a") && asked(1, "/dead/below/a"), "a link, and what somebody came through");
        assert!(!places.answers_at_once(Path::new("/dead/below")) && places.answers_at_once(Path::new("/bin")));
    }
}
