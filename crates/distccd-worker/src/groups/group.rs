//! One control group: ending all that is in it, and what the kernel has written down about it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread, write};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than what any file of a group says that is read here.
const LONGEST: usize = 16 << 10;

/// Directories are held by their descriptors: what a keeper sees by name is read-only soon.
#[derive(Debug)]
pub(crate) struct Group {
    dir: OwnedFd,
    /// Kernels before 5.14 have none.
    kill: Option<OwnedFd>,
    spent: Cell<bool>,
}

impl Group {
    /// The group called `name` in `parent`.
    ///
    /// # Errors
    /// When it is not there, or may not be ended by us.
    pub(crate) fn open(parent: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let dir = openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let kill = match file(&dir, "cgroup.kill", OFlags::WRONLY) {
            Ok(kill) => Some(kill),
            Err(Errno::NOENT) => {
                file(&dir, "cgroup.freeze", OFlags::WRONLY)?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { dir, kill, spent: Cell::new(false) })
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether this process has killed it. Then it is good for nothing more: Linux 6.18, seen here, kills whatever clone3(2)
    /// starts in a group that was ever killed through `cgroup.kill`, since the check against forks that race with that
    /// compares with the group of the parent.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Ends what is left in it, if anything is.
    pub(crate) fn clear(&self) {
        if !self.is_empty() {
            self.kill();
        }
    }

    /// Sends SIGKILL to all that is in it and below, also to what is being forked at this moment.
    pub(crate) fn kill(&self) {
        self.spent.set(true);
        match &self.kill {
            Some(kill) => drop(write(kill, b"1")),
            None => self.freeze_and_kill(),
        }
    }

    /// The same before Linux 5.14: what is frozen does not fork, and dies of SIGKILL all the same. Groups below are not
    /// gone through; attempts' groups have none.
    fn freeze_and_kill(&self) {
        let _ = self.write("cgroup.freeze", b"1");
        for pid in self.read("cgroup.procs").unwrap_or_default().lines() {
            // Those of another PID namespace are shown as 0.
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.write("cgroup.freeze", b"0");
    }

    /// Whether no process is in it or below, zombies apart. One that cannot be asked is not.
    pub(crate) fn is_empty(&self) -> bool {
        self.number_in("cgroup.events", "populated") == Some(0)
    }

    /// How many processes in it the out-of-memory killer has ended so far; `None` where memory is not accounted.
    fn oom_kills(&self) -> Option<u64> {
        self.number_in("memory.events", "oom_kill")
    }

    pub(super) fn write(&self, name: &str, text: &[u8]) -> rustix::io::Result<()> {
        write(file(&self.dir, name, OFlags::WRONLY)?, text).map(drop)
    }

    fn read(&self, name: &str) -> rustix::io::Result<String> {
        text_of(&file(&self.dir, name, OFlags::RDONLY)?)
    }

    fn number_in(&self, name: &str, key: &str) -> Option<u64> {
        number_of(&self.read(name).ok()?, key)
    }

    #[cfg(test)]
    pub(super) fn forget_kill(&mut self) {
        self.kill = None;
    }
}

/// What one attempt does to a group that others used before.
#[derive(Debug)]
pub(crate) struct Account {
    oom_kills: Option<u64>,
    peak: Option<(OwnedFd, u64)>,
}

impl Account {
    /// Begins with what there is before the attempt.
    pub(crate) fn open(group: &Group) -> Self {
        let peak = || {
            let file = file(&group.dir, "memory.peak", OFlags::RDWR);
            let file = file.or_else(|_| self::file(&group.dir, "memory.peak", OFlags::RDONLY)).ok()?;
            // Since Linux 6.12 this descriptor then tells of what comes; before it is an error, and the highest ever stays.
            let before = match write(&file, b"reset") {
                Ok(_) => 0,
                Err(_) => text_of(&file).ok()?.trim().parse().ok()?,
            };
            Some((file, before))
        };
        Self { oom_kills: group.oom_kills(), peak: peak() }
    }

    /// Whether the out-of-memory killer has struck since; `None` where nobody counts.
    pub(crate) fn oom_struck(&self, group: &Group) -> Option<bool> {
        Some(group.oom_kills()? > self.oom_kills?)
    }

    /// The most memory that all of it had together, in bytes, without what the kernel keeps of files and would have given
    /// up. Nothing where an earlier attempt in the same group had more, and this kernel does not forget that.
    pub(crate) fn peak(&self, group: &Group) -> Option<u64> {
        let (file, before) = self.peak.as_ref()?;
        let peak: u64 = text_of(file).ok()?.trim().parse().ok()?;
        let stat = group.read("memory.stat").ok()?;
        // Files on a tmpfs, which the scratch is, count among both and cannot be given up.
        let droppable = number_of(&stat, "file")?.saturating_sub(number_of(&stat, "shmem")?);
        (peak > *before).then(|| peak.saturating_sub(droppable))
    }
}

fn file(dir: &OwnedFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
}

fn text_of(file: &OwnedFd) -> rustix::io::Result<String> {
    let mut bytes = vec![0; LONGEST];
    let length = pread(file, &mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The number behind `key` in a file of one pair a line.
fn number_of(text: &str, key: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key)?.1.trim().parse().ok()
}
