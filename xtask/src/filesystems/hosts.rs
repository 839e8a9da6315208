//! Hosts that have their own mounts beside their own network: what is mounted on one is not there on the others, nor on
//! the machine. All other files they share.
//!
//! A namespace lives as long as an open descriptor of it or a process in it, so no mount stays behind, however this task
//! ends.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::chaos::keep_mounts_private;
use crate::chaos::network::Network;
use crate::process::Daemon;

/// How long a mount may take to appear, on a machine that is busy.
const MOUNTED: Duration = Duration::from_secs(60);

pub(super) struct Hosts {
    pub(super) network: Network,
    mounts: Vec<File>,
}

impl Hosts {
    /// Makes them; `prepare` is run on each, where it may mount what it likes.
    pub(super) fn new(count: usize, prepare: impl Fn(usize) -> anyhow::Result<()> + Sync) -> anyhow::Result<Self> {
        let network = Network::new(count)?;
        let mounts = (0..count).map(|host| namespace(|| prepare(host))).collect::<anyhow::Result<_>>()?;
        Ok(Self { network, mounts })
    }

    /// Has `command` run on that host. Its directory is what the command says, seen from there.
    pub(super) fn place(&self, host: usize, command: &mut Command) -> anyhow::Result<()> {
        self.network.place(host, command);
        let namespace: RawFd = self.mounts[host].as_raw_fd();
        // Entering another set of mounts leads to its root.
        let dir = command.get_current_dir().map_or(Path::new("/"), |dir| dir);
        let dir = CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: bare system calls between fork and exec; the child has a copy of the descriptor, and of the path.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace, libc::CLONE_NEWNS) {
                0 if libc::chdir(dir.as_ptr()) == 0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Ok(())
    }

    /// Does `work` on a host: the thread that does it, those that it starts and their commands see that host's files and
    /// network. Daemons are not for it: they end with the thread that started them.
    pub(super) fn visit<T: Send>(
        &self,
        host: usize,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let placer = self.network.placer(host)?;
        std::thread::scope(|scope| {
            let visitor = scope.spawn(|| {
                placer.enter()?;
                // SAFETY: no memory is involved; the thread has files of its own from the first call on.
                let refused = unsafe {
                    libc::unshare(libc::CLONE_FS) != 0
                        || libc::setns(self.mounts[host].as_raw_fd(), libc::CLONE_NEWNS) != 0
                };
                if refused {
                    return Err(std::io::Error::last_os_error()).context("cannot go to a host");
                }
                work()
            });
            match visitor.join() {
                Ok(result) => result,
                Err(_) => bail!("what was done on a host panicked"),
            }
        })
    }

    /// Waits until `daemon` has mounted something at `path` of its host.
    pub(super) fn await_mount(&self, host: usize, path: &Path, daemon: &mut Daemon) -> anyhow::Result<()> {
        daemon
            .wait_until(MOUNTED, || self.visit(host, || is_mounted(path)).unwrap_or(false))
            .with_context(|| format!("nothing is mounted at {} of host {host}", path.display()))
    }
}

/// By the list of mounts: to touch the mount itself may hang.
fn is_mounted(path: &Path) -> anyhow::Result<bool> {
    let mounts = std::fs::read("/proc/thread-self/mounts")?;
    let is_ours = |line: &[u8]| {
        let mut words = line.split(|&byte| byte == b' ');
        words.next().is_some_and(|kind| kind != b"tmpfs") && words.next() == Some(path.as_os_str().as_bytes())
    };
    Ok(mounts.split(|&byte| byte == b'\n').any(is_ours))
}

/// A new set of mounts. Made by a thread of its own, which ends in it: this one stays where it is.
fn namespace(prepare: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<File> {
    let make = || {
        keep_mounts_private()?;
        prepare()?;
        File::open("/proc/thread-self/ns/mnt").context("cannot open a mount namespace")
    };
    std::thread::scope(|scope| match scope.spawn(make).join() {
        Ok(result) => result,
        Err(_) => bail!("the thread that makes a mount namespace panicked"),
    })
}

/// Mounts a tmpfs at a directory of the host that the calling thread is on.
pub(super) fn mount_tmpfs(dir: &Path) -> anyhow::Result<()> {
    let target = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: C strings that outlive the call.
    let result = unsafe {
        let options = c"mode=755".as_ptr().cast::<libc::c_void>();
        libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options)
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot mount a tmpfs on {}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_mounts_is_there_alone() {
        // SAFETY: geteuid has no preconditions and cannot fail.
        if unsafe { libc::geteuid() } != 0 || crate::prerequisites::ensure(crate::prerequisites::NETWORK).is_err() {
            eprintln!("not root, or no ip: there are no hosts");
            return;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("file");

        let hosts = Hosts::new(2, |_| mount_tmpfs(dir.path())).expect("two hosts");
        hosts.visit(0, || Ok(std::fs::write(&file, "of host 0")?)).expect("host 0 writes");

        let seen = |host| hosts.visit(host, || Ok(file.exists())).expect("a look");
        assert_eq!([seen(0), seen(1), file.exists()], [true, false, false]);
        let mut cat = Command::new("cat");
        hosts.place(0, cat.arg("file").current_dir(dir.path())).expect("a place");
        assert_eq!(crate::process::capture(&mut cat).expect("cat"), "of host 0");
    }
}
