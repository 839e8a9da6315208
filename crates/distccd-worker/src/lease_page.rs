//! The lease as keepers see it: one word of memory that the worker writes and every keeper reads, the time on
//! `CLOCK_BOOTTIME` (which goes on while the machine sleeps) after which nothing may be published any more.
//!
//! Memory and not a message: a keeper looks before each step, and a message that waits in a socket is not yet known.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::time::{ClockId, clock_gettime};

/// The smallest unit of mapping anywhere.
const LENGTH: usize = 4096;

/// See the module. It stays mapped for the life of the process.
#[derive(Debug)]
pub struct LeasePage {
    word: NonNull<AtomicU64>,
    memory: OwnedFd,
}

// SAFETY: the word is atomic, and never unmapped.
unsafe impl Send for LeasePage {}
// SAFETY: as above.
unsafe impl Sync for LeasePage {}

impl LeasePage {
    /// A new page, on which there is no lease.
    ///
    /// # Errors
    /// When the machine has no memory or descriptor left.
    pub fn create() -> io::Result<Self> {
        let memory = memfd_create("distccd-lease", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, LENGTH as u64)?;
        Self::of(memory)
    }

    /// The page that another process has made.
    ///
    /// # Errors
    /// When `memory` is none.
    pub(crate) fn of(memory: OwnedFd) -> io::Result<Self> {
        // SAFETY: a new mapping of shared memory that nobody shortens, at an address of the kernel's choice.
        let word =
            unsafe { mmap(ptr::null_mut(), LENGTH, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &memory, 0)? };
        let word = NonNull::new(word.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { word, memory })
    }

    pub(crate) fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// For the handler of a signal, which can borrow nothing.
    pub(crate) fn word(&self) -> &'static AtomicU64 {
        // SAFETY: mapped for ever and aligned to a page; all zeros are a valid value.
        unsafe { self.word.as_ref() }
    }

    /// Says until when the lease holds, in nanoseconds of [`boot_time`]; 0 is never.
    pub(crate) fn set(&self, deadline: u64) {
        self.word().store(deadline, Ordering::SeqCst);
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds. Safe in the handler of a signal.
pub(crate) fn boot_time() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
