//! The groups of one worker, in its spawner: handed out to attempts, and taken back.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};

use super::{Group, remove};

/// See the module above: groups are used again.
#[derive(Debug)]
pub(crate) struct Pool {
    parent: OwnedFd,
    /// What one attempt may have of memory, in bytes.
    limit: Option<u64>,
    free: Vec<Pooled>,
    /// Not to be used again, and to be removed when nothing is in them any more.
    spent: Vec<Pooled>,
    made: u32,
}

/// A group and its name in the worker's directory.
#[derive(Debug)]
pub(crate) struct Pooled {
    name: String,
    pub(crate) group: Group,
}

impl Pool {
    /// Groups are made in `parent`.
    pub(crate) fn new(parent: OwnedFd, limit: Option<u64>) -> Self {
        Self { parent, limit, free: Vec::new(), spent: Vec::new(), made: 0 }
    }

    /// An empty group; an error says why there is none though attempts are to be limited.
    ///
    /// # Errors
    /// When a limit was asked for, and no group can be made that has it.
    pub(crate) fn take(&mut self) -> io::Result<Option<Pooled>> {
        self.spent.retain(|pooled| {
            !pooled.group.is_empty() || unlinkat(&self.parent, pooled.name.as_str(), AtFlags::REMOVEDIR).is_err()
        });
        match self.free.pop().map_or_else(|| self.make(), Ok) {
            Ok(pooled) => Ok(Some(pooled)),
            Err(error) if self.limit.is_some() => Err(error),
            // Killed it is all the same, though not by its group.
            Err(_) => Ok(None),
        }
    }

    /// Takes one back whose keeper has ended, and ends what is left in it. One that was killed is not used again.
    pub(crate) fn give_back(&mut self, pooled: Pooled, is_spent: bool) {
        pooled.group.clear();
        if is_spent || pooled.group.is_spent() {
            self.spent.push(pooled);
        } else {
            self.free.push(pooled);
        }
    }

    fn make(&mut self) -> io::Result<Pooled> {
        let name = self.made.to_string();
        mkdirat(&self.parent, name.as_str(), Mode::from_raw_mode(0o755))?;
        self.made += 1;
        let ready = self.furnish(&name);
        if ready.is_err() {
            let _ = unlinkat(&self.parent, name.as_str(), AtFlags::REMOVEDIR);
        }
        Ok(Pooled { group: ready?, name })
    }

    fn furnish(&self, name: &str) -> io::Result<Group> {
        let group = Group::open(self.parent.as_fd(), name)?;
        if let Some(limit) = self.limit {
            group.write("memory.max", limit.to_string().as_bytes())?;
        }
        // A driver without its compiler is of no use. Where memory is not accounted there is no such file.
        let _ = group.write("memory.oom.group", b"1");
        Ok(group)
    }

    /// Ends all and removes it, as far as it can be removed: the next worker here tries again.
    pub(crate) fn dissolve(mut self) {
        for pooled in self.free.drain(..).chain(self.spent.drain(..)) {
            pooled.group.clear();
            let _ = unlinkat(&self.parent, pooled.name.as_str(), AtFlags::REMOVEDIR);
        }
        let all = Group::open(self.parent.as_fd(), ".");
        let path = fs::read_link(format!("/proc/self/fd/{}", self.parent.as_raw_fd()));
        if let (Ok(path), Ok(all)) = (path, all) {
            let _ = remove(&path, &all);
        }
    }
}
