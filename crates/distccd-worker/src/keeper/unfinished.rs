//! The temporary that is being written, so that not even the end of the lease leaves it behind: the handler that then
//! ends this process (see `fence`) removes it first. What a SIGKILL leaves is removed by the job's next attempt.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use commit::Calls;
use rustix::fs::Mode;
use rustix::io;

/// Where it is. A directory of this number is open while there is a name.
static DIRECTORY: AtomicI32 = AtomicI32::new(-1);
/// What it is called, or null.
static NAME: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// The kernel's calls, noting which temporary is unfinished.
#[derive(Default)]
pub(super) struct Noting {
    /// What [`NAME`] points to.
    name: Option<CString>,
}

impl Noting {
    fn note(&mut self, dir: BorrowedFd<'_>, name: &CStr) {
        self.forget();
        let name = self.name.insert(name.to_owned());
        DIRECTORY.store(dir.as_raw_fd(), Ordering::SeqCst);
        NAME.store(name.as_ptr().cast_mut(), Ordering::SeqCst);
    }

    fn forget(&mut self) {
        NAME.store(ptr::null_mut(), Ordering::SeqCst);
        self.name = None;
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Calls for Noting {
    fn create(&mut self, dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<OwnedFd> {
        if commit::is_temporary(name) {
            // Before it is there: a process that was stopped on its way into the call makes it all the same.
            self.note(dir, name);
        }
        commit::Kernel.create(dir, name, mode)
    }

    fn rename(&mut self, dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> io::Result<()> {
        let renamed = commit::Kernel.rename(dir, from, to);
        if renamed.is_ok() {
            self.forget();
        }
        renamed
    }

    fn unlink(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let removed = commit::Kernel.unlink(dir, name);
        if removed.is_ok() && self.name.as_deref() == Some(name) {
            self.forget();
        }
        removed
    }
}

/// Removes it. Safe in the handler of a signal: one system call on memory that this thread, which the handler
/// interrupts, keeps as long as the name is noted.
pub(super) fn remove() {
    let name = NAME.load(Ordering::SeqCst);
    if !name.is_null() {
        // SAFETY: see above; a directory that was closed meanwhile is an error or has no such name in it.
        unsafe { libc::unlinkat(DIRECTORY.load(Ordering::SeqCst), name, 0) };
    }
}
