//! Running the command here: at once when it never was to leave, throttled when the cluster does not take it.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::time::Duration;

use crate::decide::Invocation;
use crate::exit;

/// Pauses between two looks for a free slot.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Becomes the command. Returns only when that fails.
#[must_use]
pub fn exec(invocation: &Invocation) -> io::Error {
    command(invocation).exec()
}

/// The command with everything as it was typed, and with the signals ignored and blocked that were so when we began:
/// `std` would have SIGPIPE at its default and none blocked.
#[must_use]
pub fn command(invocation: &Invocation) -> Command {
    let mut command = Command::new(&invocation.program);
    command.arg0(&invocation.argv[0]).args(&invocation.argv[1..]);
    if let Some(path) = &invocation.path {
        command.env("PATH", path);
    }
    let mut blocked = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: reads the mask into a set, which zeroed is an empty one.
    let blocked = unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), blocked.as_mut_ptr());
        blocked.assume_init()
    };
    let restore = move || {
        exit::restore_sigpipe();
        // SAFETY: sets the mask that we were given.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: two system calls on memory of its own.
    unsafe { command.pre_exec(restore) };
    command
}

/// The right to one of the local slots. It is a lock on a file, so it ends with whoever holds it, however that ends;
/// across `execve` the compiler holds it.
pub struct LocalSlot(OwnedFd);

impl LocalSlot {
    /// Lets the lock live on in the program that this process becomes.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn keep_across_exec(self) -> io::Result<()> {
        // Far above the descriptors that a build tool or a jobserver counts on.
        let kept = rustix::io::fcntl_dupfd_cloexec(&self.0, 200)?;
        rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty())?;
        std::mem::forget(kept);
        Ok(())
    }
}

/// The local slots of this user on this host.
pub struct LocalSlots {
    dir: PathBuf,
    count: usize,
}

impl LocalSlots {
    /// `count` slots, one per CPU unless configured, shared by all launchers of the user through lock files in the
    /// user's runtime directory.
    ///
    /// # Errors
    /// When there is no safe directory for the lock files.
    pub fn open(count: Option<usize>, runtime_dir: Option<PathBuf>) -> io::Result<Self> {
        let cpus = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let uid = rustix::process::geteuid().as_raw();
        let dir = match runtime_dir {
            Some(dir) => dir.join("distccd"),
            None => PathBuf::from(format!("/tmp/distccd-{uid}")),
        };
        own_directory(&dir, uid)?;
        Ok(Self { dir, count: count.unwrap_or_else(cpus) })
    }

    /// A free slot, if there is one.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub fn try_take(&self) -> io::Result<Option<LocalSlot>> {
        for number in 0..self.count {
            let file = lock_file(&self.dir.join(format!("local-slot.{number}")))?;
            match rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(LocalSlot(file.into()))),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Waits for a free slot, however long that takes.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub async fn take(&self) -> io::Result<LocalSlot> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(slot) = self.try_take()? {
                return Ok(slot);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes the directory with mode 0700, or checks that it is ours: `/tmp` belongs to everybody.
fn own_directory(dir: &Path, uid: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = std::fs::symlink_metadata(dir)?;
            if metadata.is_dir() && metadata.uid() == uid {
                return Ok(());
            }
            Err(io::Error::other(format!("{} is not a directory of user {uid}; remove it", dir.display())))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let slots = LocalSlots::open(Some(2), Some(dir.path().to_owned())).unwrap();

        let first = slots.try_take().unwrap();
        let second = slots.try_take().unwrap();
        assert!(first.is_some() && second.is_some() && slots.try_take().unwrap().is_none());
        drop(first);

        assert!(slots.try_take().unwrap().is_some());
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("distccd"), "").unwrap();

        let error = LocalSlots::open(Some(1), Some(dir.path().to_owned())).err().unwrap();

        assert!(error.to_string().contains("remove it"), "{error}");
    }
}
