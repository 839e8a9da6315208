//! Control groups of attempts (cgroup v2): one kill for whatever an attempt has started, wherever it fled, and its memory
//! on an account of its own.
//!
//! A worker makes one directory in the group that it lives in, and below it one for each attempt that runs at a time.
//! These are used again by later attempts: a group that accounts memory lives on in the kernel until the last page of
//! the files that were read in it is forgotten, and a group for each of a million attempts would leave as many there.
//!
//! It is done where it may be done: systemd has given the worker's group away (`Delegate=yes`), or the worker is root and
//! sees the hierarchy writable. Elsewhere attempts are killed by their namespace, or by their process group and what the
//! keeper inherits.
//!
//! Whoever is responsible for a directory holds a lock on it (flock(2)): worker, spawner, keepers. One that can be locked
//! belongs to the dead, and the next worker in the same group ends what is in it and removes it.

mod group;
mod pool;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat};

pub(crate) use group::{Account, Group};
pub(crate) use pool::{Pool, Pooled};

use crate::probe::unescaped;

/// What directories of workers are called, before a process number and a counter.
const PREFIX: &str = "distccd-attempts-";
/// Where a worker goes that has to leave its own group: the kernel gives no memory account to groups below one that has
/// processes.
const LEAF: &str = "distccd-worker";
/// How long what a dead worker has left is waited for; only what hangs in the kernel takes longer.
const REMOVED_WITHIN: Duration = Duration::from_secs(1);

/// The directory of one worker. Locked as long as a copy of the descriptor lives anywhere.
#[derive(Debug)]
pub(crate) struct Groups {
    dir: OwnedFd,
    path: PathBuf,
    /// Or why no memory is accounted.
    memory: Result<(), String>,
}

impl Groups {
    /// Makes it, and removes what dead workers have left beside it.
    ///
    /// # Errors
    /// Why attempts get no groups here.
    pub(crate) fn prepare() -> Result<Self, String> {
        let home = home()?;
        remove_leftovers(&home);
        let cannot = |error: io::Error| format!("cannot make a control group in {}: {error}", home.display());
        let (path, dir) = make_locked(&home).map_err(cannot)?;
        if Group::open(dir.as_fd(), ".").is_err() {
            let _ = fs::remove_dir(&path);
            return Err(format!("the control group {} cannot be ended", path.display()));
        }
        let memory = account_memory(&home, &path);
        Ok(Self { dir, path, memory })
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether attempts' memory is accounted, or why not.
    pub(crate) fn memory(&self) -> Result<(), &str> {
        self.memory.as_ref().copied().map_err(String::as_str)
    }
}

/// The group that this process lives in, where it is mounted.
fn home() -> Result<PathBuf, String> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    home_of(&table, &own).ok_or_else(|| "this machine has no cgroup2 mounted that this process lives in".to_owned())
}

fn home_of(table: &[u8], own: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let (root, point) = (fields.get(3)?, fields.get(4)?);
        let path = |field| crate::keeper::path_of(&unescaped(field));
        (*fields.get(dash + 1)? == b"cgroup2").then(|| (path(root), path(point)))
    });
    let mut within = mounts.filter_map(|(root, point)| {
        let below = Path::new(own).strip_prefix(root).ok()?;
        // Outside of our cgroup namespace.
        below.iter().all(|name| name != "..").then(|| point.join(below))
    });
    within.next().map(|path| path.components().collect())
}

/// A new directory of our own, and the lock on it.
fn make_locked(home: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let mut number = 0_u32;
    loop {
        let path = home.join(format!("{PREFIX}{}-{number}", std::process::id()));
        number += 1;
        match fs::create_dir(&path) {
            Ok(()) => {}
            // Of another PID namespace, or of this very process in a test.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        // Until it is locked, another worker that starts may take it for a dead one's.
        if let Ok(dir) = lock(&path) {
            return Ok((path, dir));
        }
    }
}

/// Locks a directory that nobody else has, and that is still there.
fn lock(path: &Path) -> io::Result<OwnedFd> {
    let dir = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
    match (fstat(&dir)?.st_ino, stat(path)?.st_ino) {
        (locked, found) if locked == found => Ok(dir),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Ends and removes what belongs to nobody any more.
fn remove_leftovers(home: &Path) {
    let names = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = home.join(&name);
        let Ok(dir) = lock(&path) else { continue };
        match Group::open(dir.as_fd(), ".").and_then(|group| remove(&path, &group)) {
            Ok(()) => tracing::info!(path = %path.display(), "removed the control groups of a dead worker"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove the control groups of a dead worker");
            }
        }
    }
}

/// Kills whatever is in a directory and removes it, with those in it.
fn remove(path: &Path, group: &Group) -> io::Result<()> {
    let until = Instant::now() + REMOVED_WITHIN;
    group.kill();
    while !group.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    for entry in fs::read_dir(path)?.flatten().filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())) {
        fs::remove_dir(entry.path())?;
    }
    fs::remove_dir(path)
}

/// Has the kernel account the memory of groups in `path`, which lies in `home`.
fn account_memory(home: &Path, path: &Path) -> Result<(), String> {
    let has = |group: &Path, file: &str| {
        let listed = fs::read_to_string(group.join(file)).unwrap_or_default();
        listed.split_whitespace().any(|controller| controller == "memory")
    };
    if !has(home, "cgroup.controllers") {
        return Err(format!("{} has no memory controller (`cgroup.controllers`)", home.display()));
    }
    let failed =
        |error: io::Error| format!("the memory controller cannot be handed on from {}: {error}", home.display());
    if !has(home, "cgroup.subtree_control") {
        if !is_given_away(home) {
            return Err(format!("{} does not hand its memory controller on (systemd: Delegate=yes)", home.display()));
        }
        move_out(home).map_err(failed)?;
        fs::write(home.join("cgroup.subtree_control"), "+memory").map_err(failed)?;
    }
    fs::write(path.join("cgroup.subtree_control"), "+memory").map_err(failed)
}

/// Whether systemd leaves a group to those in it.
fn is_given_away(group: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(group, *name, &mut value).is_ok_and(|length| &value[..length] == b"1")
    })
}

/// Moves all processes of a group, which are this worker's, to one below it.
fn move_out(home: &Path) -> io::Result<()> {
    let leaf = home.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for pid in fs::read_to_string(home.join("cgroup.procs"))?.lines() {
        match fs::write(leaf.join("cgroup.procs"), pid) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const TABLE: &[u8] = b"24 1 0:22 / /sys rw - sysfs sysfs rw\n\
        31 24 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
        32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// This process's own group, if this machine lets us make others in it.
    fn usable() -> Option<PathBuf> {
        let home = home().and_then(|home| Groups::prepare().map(|groups| (home, groups)));
        match home {
            Ok((home, groups)) => {
                fs::remove_dir(groups.path()).unwrap();
                Some(home)
            }
            Err(why) => {
                println!("not told: {why}");
                None
            }
        }
    }

    /// A shell in a group, which begins only when it is there: what it had started before would stay outside.
    fn member(of: &Path, script: &str) -> Child {
        let script = format!("read go; {script}");
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        fs::write(of.join("cgroup.procs"), child.id().to_string()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    #[test]
    fn the_own_group_is_found_where_the_hierarchy_is_mounted() {
        let home = |own| home_of(TABLE, own);

        assert_eq!(home("4:memory:/a\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(home("0::/system.slice/w.service\n"), Some("/sys/fs/cgroup/unified/system.slice/w.service".into()));
        assert_eq!(home("0::/../elsewhere\n"), None, "outside of the namespace");
        assert_eq!(home("4:memory:/a\n"), None, "version 1 alone");
        assert_eq!(home_of(b"24 1 0:22 / /sys rw - sysfs sysfs rw\n", "0::/\n"), None);
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_hierarchy() {
        let table = b"31 24 0:27 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

        assert_eq!(home_of(table, "0::/docker/x/y\n"), Some("/sys/fs/cgroup/y".into()));
        assert_eq!(home_of(table, "0::/docker/other\n"), None);
    }

    #[test]
    fn what_a_dead_worker_left_is_ended_and_removed_and_what_a_living_one_has_is_not() {
        let Some(home) = usable() else { return };
        let (living, _lock) = make_locked(&home).unwrap();
        let (dead, lock) = make_locked(&home).unwrap();
        fs::create_dir(dead.join("0")).unwrap();
        let mut left = member(&dead.join("0"), "trap '' TERM; while :; do sleep 1000; done");

        drop(lock);
        // What another test forks at this moment holds the lock until its `execve`.
        let until = Instant::now() + Duration::from_secs(60);
        while dead.exists() && Instant::now() < until {
            remove_leftovers(&home);
        }

        assert!(!dead.exists());
        assert!(!left.wait().unwrap().success());
        assert!(living.exists());
        fs::remove_dir(living).unwrap();
    }

    #[test]
    fn a_group_is_ended_whole_with_cgroup_kill_and_without() {
        let Some(home) = usable() else { return };
        for has_kill in [true, false] {
            let (path, dir) = make_locked(&home).unwrap();
            let mut group = Group::open(dir.as_fd(), ".").unwrap();
            if !has_kill {
                group.forget_kill();
            }
            let script = "trap '' TERM; for n in 1 2 3; do setsid sleep 1000 & done; wait";
            let mut children = [member(&path, script), member(&path, script)];
            assert!(!group.is_empty());

            group.kill();

            for child in &mut children {
                assert!(!child.wait().unwrap().success());
            }
            remove(&path, &group).unwrap();
        }
    }
}
