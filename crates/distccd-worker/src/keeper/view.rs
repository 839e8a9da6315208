//! What an isolated command sees: the machine as it is, read-only; each shared mount under an overlay that catches what
//! is written; empty temporary directories of its own.
//!
//! Everything that is caught goes to one small filesystem in memory (tmpfs), which only this keeper's mount namespace
//! knows. It bounds what an attempt may write, in bytes and in files, and is gone with the keeper, however that ends:
//! nothing is ever left to clean up. An overlay lives for one attempt (filesystems.md section 6: a longer one keeps
//! missing names missing and replaced files stale).
//!
//! The steps, in this order:
//!
//! 1. without root: be mapped into the new user namespace;
//! 2. descriptors of what is there now: each mount, writable and apart (`open_tree(2)`), for the commit, and as the lower
//!    layer;
//! 3. every mount private, so that nothing that follows leaves this namespace, and read-only;
//! 4. `/proc` of the new PID namespace;
//! 5. the scratch on `/tmp`, where the next step hides it;
//! 6. the private temporary directories over it;
//! 7. the overlays, outer mounts first.

use std::ffi::{CString, c_int};
use std::fmt::Display;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::command::Identity;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat, open, openat, statat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, mount, mount_bind, open_tree};

use super::conversation::Directory;
use super::rights;
use crate::spawner::Namespaces;

/// Files, directories and deletions that an attempt may leave: no compiler comes near, and each costs the commit some
/// steps on the shared filesystem.
pub(crate) const MOST_FILES: u64 = 50_000;

/// Where the scratch is mounted. Every system has it, and the private one goes on top.
const STAGE: &str = "/tmp";

/// Directories that every command may write to and nobody is to see afterwards, beside [`STAGE`]; where they are not,
/// they are not missed.
const PRIVATE: [&str; 2] = ["/var/tmp", "/dev/shm"];

/// One isolated mount.
#[derive(Debug)]
pub(super) struct Layer {
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// The shared filesystem itself, writable.
    pub(super) real: OwnedFd,
    /// What the command wrote.
    pub(super) upper: OwnedFd,
}

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    pub(super) layers: Vec<Layer>,
    scratch: OwnedFd,
    limit: u64,
    made: u32,
    pub(super) namespaces: Namespaces,
    /// Roots of mounts that had to be looked at.
    pub(super) looked_at: Vec<Directory>,
}

/// What the command needs, to be seen as it is.
pub(super) struct Needs<'a> {
    pub(super) mounts: &'a [PathBuf],
    /// The program, the working directory, named outputs.
    pub(super) paths: &'a [PathBuf],
    /// Where its environment puts temporary files.
    pub(super) temporary: &'a [PathBuf],
    /// User and group of the worker. A user namespace without a map does not know them any more.
    pub(super) us: (u32, u32),
    /// Who it runs as, if that is another than we are.
    pub(super) identity: Option<&'a Identity>,
    /// What it may write, in bytes.
    pub(super) limit: u64,
    /// Directories that need no look.
    pub(super) known: &'a [Directory],
}

/// Which step failed, and why.
pub(super) type Trouble = String;

fn trouble<'a, E: Display>(step: &'a str, about: &'a Path) -> impl FnOnce(E) -> Trouble + 'a {
    move |error| format!("{step} {}: {error}", about.display())
}

impl View {
    /// Enters the view. This process has just been cloned into `namespaces`.
    pub(super) fn enter(namespaces: Namespaces, needs: &Needs<'_>) -> Result<Self, Trouble> {
        let root = Path::new("/");
        if namespaces == Namespaces::User {
            map_ourselves(needs.us).map_err(trouble("map the user of", root))?;
        }
        // Whatever touches the shared filesystem does so as the user, whom its server knows.
        if let Some(identity) = needs.identity {
            rights::act_as(identity).map_err(trouble("act as the user on", root))?;
        }
        let mut mounts = needs.mounts.to_vec();
        mounts.sort();
        let found = mounts.iter().map(|path| Found::look(path)).collect::<Result<Vec<_>, _>>()?;
        let stage = Path::new(STAGE);
        let lower_stage = place(stage).map_err(trouble("open", stage))?;
        seal().map_err(trouble("make read-only", root))?;
        let proc = Path::new("/proc");
        mount("proc", proc, "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
            .map_err(trouble("mount", proc))?;
        let scratch = scratch(needs.limit).map_err(trouble("mount the scratch on", stage))?;
        let (layers, looked_at, limit) = (Vec::new(), Vec::new(), needs.limit);
        let mut view = Self { layers, scratch, limit, made: 0, namespaces, looked_at };
        view.cover(stage, &lower_stage, needs)?;
        for path in further_private(needs) {
            let lower = place(&path).map_err(trouble("open", &path))?;
            view.cover(&path, &lower, needs)?;
        }
        for found in found {
            view.isolate(found, needs.known)?;
        }
        view.prepare_ways(needs)?;
        Ok(view)
    }

    /// Puts a private directory over `path`: an empty one, or where something in it is needed, an overlay whose upper
    /// layer nobody looks at.
    fn cover(&mut self, path: &Path, lower: &OwnedFd, needs: &Needs<'_>) -> Result<(), Trouble> {
        let needed = |other: &PathBuf| other.starts_with(path);
        let number = self.next();
        let like = look_at(path, lower).map_err(trouble("look at", path))?;
        let upper = self.directory(&format!("u{number}"), &like).map_err(trouble("prepare", path))?;
        if [needs.mounts, needs.paths, needs.temporary].iter().any(|paths| paths.iter().any(needed)) {
            return self.overlay(number, lower, path);
        }
        mount_bind(&*by_descriptor(&upper), path).map_err(trouble("mount a private", path))
    }

    fn isolate(&mut self, found: Found, known: &[Directory]) -> Result<(), Trouble> {
        let Found { path, real, lower } = found;
        let number = self.next();
        let like = match known.iter().find(|known| super::path_of(&known.path) == path) {
            Some(known) => known.clone(),
            None => {
                let seen = look_at(&path, &lower).map_err(trouble("look at", &path))?;
                self.looked_at.push(seen.clone());
                seen
            }
        };
        let upper = self.directory(&format!("u{number}"), &like).map_err(trouble("prepare", &path))?;
        self.overlay(number, &lower, &path)?;
        self.layers.push(Layer { path, real, upper });
        Ok(())
    }

    /// Overlays `path`, which is `lower`, with the directories of this number.
    fn overlay(&mut self, number: u32, lower: &OwnedFd, path: &Path) -> Result<(), Trouble> {
        mkdirat(&self.scratch, format!("w{number}"), Mode::RWXU).map_err(trouble("prepare", path))?;
        let (lower, scratch) = (by_descriptor(lower), by_descriptor(&self.scratch));
        // Without an index overlayfs does not say of a file with several names that the command wrote into it. Without
        // root it refuses one, and to be told what else it leaves off.
        let mode = match self.namespaces {
            Namespaces::User => "index=off,userxattr",
            Namespaces::Root | Namespaces::None => "index=on,redirect_dir=off,metacopy=off",
        };
        let options =
            format!("lowerdir={lower},upperdir={scratch}/u{number},workdir={scratch}/w{number},xino=off,{mode}");
        let options = CString::new(options).map_err(trouble("overlay", path))?;
        mount("overlay", path, "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .map_err(trouble("overlay", path))
    }

    /// Makes the directories that lead to the working directory and to outputs in the upper layer, with the modes that
    /// they have. The kernel would do that itself, by copying them up with their owners, which a user namespace of one
    /// user cannot.
    fn prepare_ways(&self, needs: &Needs<'_>) -> Result<(), Trouble> {
        if self.namespaces != Namespaces::User {
            return Ok(());
        }
        for path in needs.paths {
            for layer in &self.layers {
                if let Ok(below) = path.strip_prefix(&layer.path) {
                    layer.prepare_way(below).map_err(trouble("prepare", path))?;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// A directory on the scratch with the owner and mode of another.
    fn directory(&self, name: &str, like: &Directory) -> rustix::io::Result<OwnedFd> {
        mkdirat(&self.scratch, name, Mode::RWXU)?;
        if self.namespaces == Namespaces::Root {
            let (owner, group) = (Uid::from_raw(like.uid), Gid::from_raw(like.gid));
            chownat(&self.scratch, name, Some(owner), Some(group), AtFlags::empty())?;
        }
        chmodat(&self.scratch, name, Mode::from_raw_mode(like.mode), AtFlags::empty())?;
        openat(&self.scratch, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Says so if the command has used up its scratch: what then went wrong is not its fault.
    pub(super) fn full(&self) -> Option<String> {
        let facts = rustix::fs::fstatfs(&self.scratch).ok()?;
        if facts.f_ffree == 0 {
            return Some(format!("the command made more than {MOST_FILES} files"));
        }
        let free = facts.f_bavail.saturating_mul(u64::try_from(facts.f_bsize).unwrap_or(0));
        let little = (self.limit / 256).min(1 << 20);
        (free <= little).then(|| format!("the command wrote more than `scratch_limit` allows ({} bytes)", self.limit))
    }
}

fn look_at(path: &Path, opened: &OwnedFd) -> rustix::io::Result<Directory> {
    let facts = statat(opened, c"", AtFlags::EMPTY_PATH)?;
    let (path, mode) = (path.as_os_str().as_bytes().to_vec(), facts.st_mode & 0o7777);
    Ok(Directory { path, mode, uid: facts.st_uid, gid: facts.st_gid })
}

/// A mount before it is isolated.
struct Found {
    path: PathBuf,
    real: OwnedFd,
    lower: OwnedFd,
}

impl Found {
    fn look(path: &Path) -> Result<Self, Trouble> {
        let lower = place(path).map_err(trouble("open", path))?;
        // By the descriptor: the way there is gone once.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let real = open_tree(&lower, c"", flags).map_err(trouble("take a view of", path))?;
        Ok(Self { path: path.to_owned(), real, lower })
    }
}

impl Layer {
    fn prepare_way(&self, below: &Path) -> rustix::io::Result<()> {
        let mut way = PathBuf::new();
        for part in below.components() {
            way.push(part);
            match statat(&self.real, &way, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) if facts.st_mode & libc::S_IFMT == libc::S_IFDIR => {
                    match mkdirat(&self.upper, &way, Mode::from_raw_mode(facts.st_mode & 0o7777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                }
                // A file, or nothing yet, or what only the kernel may follow.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// What is private beside [`STAGE`]: neither below that, nor on a mount, nor below another one.
fn further_private(needs: &Needs<'_>) -> Vec<PathBuf> {
    let there = PRIVATE.iter().filter_map(|path| fs::canonicalize(path).ok());
    let mut further: Vec<PathBuf> = Vec::new();
    for path in there.chain(needs.temporary.iter().cloned()) {
        let covered = |other: &Path| path.starts_with(other);
        let on_mount = needs.mounts.iter().any(|mount| covered(mount));
        if !covered(Path::new(STAGE)) && !on_mount && !further.iter().any(|other| covered(other)) {
            further.push(path);
        }
    }
    further
}

fn place(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A path to what is open, whatever was mounted over its name meanwhile.
fn by_descriptor(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Maps this user and group, and no other, into the user namespace that we are in.
fn map_ourselves((user, group): (u32, u32)) -> std::io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes every mount of this namespace private and read-only.
fn seal() -> std::io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_RECURSIVE as c_int;
    // SAFETY: a C string and a live value of the size that is said.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn scratch(limit: u64) -> rustix::io::Result<OwnedFd> {
    let options = format!("size={limit},nr_inodes={MOST_FILES},mode=0700");
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("distccd-scratch", STAGE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))?;
    open(STAGE, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The directories that this environment names for temporary files, and that are there.
pub(super) fn temporary_directories(env: &[(Vec<u8>, Vec<u8>)]) -> Vec<PathBuf> {
    const NAMES: [&[u8]; 4] = [b"TMPDIR", b"TMP", b"TEMP", b"TEMPDIR"];
    let mut found: Vec<PathBuf> = env
        .iter()
        .filter(|(name, _)| NAMES.contains(&name.as_slice()))
        .map(|(_, value)| super::path_of(value))
        .filter(|path| path.is_absolute() && path != Path::new(STAGE) && !PRIVATE.contains(&&*path.to_string_lossy()))
        .filter_map(|path| fs::canonicalize(path).ok())
        .filter(|path| path.is_dir() && path.as_os_str().as_bytes() != b"/")
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_for_temporary_files_are_taken_from_the_environment_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        let text = here.as_os_str().as_bytes().to_vec();
        let env = [
            (b"TMPDIR".to_vec(), text.clone()),
            (b"TMP".to_vec(), [&text[..], b"/."].concat()),
            (b"TEMP".to_vec(), b"/nonexistent/tmp".to_vec()),
            (b"TEMPDIR".to_vec(), b"relative".to_vec()),
            (b"HOME".to_vec(), b"/".to_vec()),
        ];

        assert_eq!(temporary_directories(&env), [here]);
    }
}
