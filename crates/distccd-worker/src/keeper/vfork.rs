//! A child that borrows our memory until it has called `execve(2)`: `CLONE_VM | CLONE_VFORK` of clone(2), as glibc's
//! `posix_spawn(3)` does it. `fork(2)` copies page tables and makes the parent fault on its own pages
//! afterwards; that is a good part of what a small command costs.
//! `posix_spawn(3)` itself knows neither umask nor limits nor users.
//!
//! A child that has changed to another user still sees our memory until its `execve`. That user cannot look in: a change
//! of user makes the memory undumpable, and then ptrace(2) and /proc/PID/mem are for root alone (PR_SET_DUMPABLE(2const)).

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;

/// What the child may use of stack. It makes system calls one after the other.
const STACK: usize = 64 << 10;

/// Signals are numbered from 1 to this.
const LAST_SIGNAL: c_int = 64;

/// Starts a child in `body`, with all signals at their defaults and none blocked. Returns when `body` has become
/// another program or has returned, which ends the child with code 127. The child is to be waited for.
///
/// # Errors
/// Those of clone(2).
///
/// # Safety
/// `body` runs in this very memory, on another stack, while this thread sleeps and the others go on: it must not
/// panic, lock, allocate, or leave anything half changed.
pub(super) unsafe fn start(body: &dyn Fn()) -> io::Result<(Pid, OwnedFd)> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: c_int = -1;
    // A reference to a trait object is two words wide; the child gets a pointer to it.
    let argument: *const &dyn Fn() = &raw const body;
    let before = block_signals()?;
    // SAFETY: the stack ends where it is said to, `argument` and `pidfd` outlive the call, and because of CLONE_VFORK
    // the call outlives the child's use of them.
    let child = unsafe {
        libc::clone(
            run,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
            argument.cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let error = io::Error::last_os_error();
    restore_signals(&before);
    let pid = Pid::from_raw(child).filter(|_| child > 0).ok_or(error)?;
    // SAFETY: the kernel has just made it, for us.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to its parameter, and sleeps.
    let body = unsafe { *argument.cast::<&dyn Fn()>() };
    // Our handlers would run in memory that is not the child's alone, so they go before signals may come.
    (1..=LAST_SIGNAL).for_each(|signal| {
        // SAFETY: changes the child's own dispositions; numbers that have none are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    });
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
    body();
    // SAFETY: ends the child without running anything of ours.
    unsafe { libc::_exit(127) }
}

fn block_signals() -> io::Result<libc::sigset_t> {
    let (mut all, mut before) = (MaybeUninit::<libc::sigset_t>::uninit(), MaybeUninit::<libc::sigset_t>::uninit());
    // SAFETY: `sigfillset` initialises the first set, `pthread_sigmask` the second one.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: a set that the kernel gave us.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::ffi::CString;
    use std::os::fd::AsFd;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    fn exit_code(pidfd: &OwnedFd) -> Option<i32> {
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap().exit_status()
    }

    #[test]
    fn a_child_that_becomes_another_program_ends_as_that_program() {
        let shell = CString::new("/bin/sh").unwrap();
        let words = [c"sh".as_ptr(), c"-c".as_ptr(), c"kill -PIPE $$; exit 7".as_ptr(), std::ptr::null()];

        let body = || {
            // SAFETY: NULL-terminated vectors of C strings.
            unsafe { libc::execve(shell.as_ptr(), words.as_ptr(), [std::ptr::null()].as_ptr()) };
        };
        // SAFETY: nothing but execve.
        let (_, pidfd) = unsafe { start(&body) }.unwrap();

        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        // Rust programs ignore SIGPIPE, commands of ours do not.
        assert_eq!(ended.terminating_signal(), Some(libc::SIGPIPE));
    }

    #[test]
    fn what_the_child_leaves_in_memory_is_seen_when_it_has_failed() {
        let left = Cell::new(0);

        // SAFETY: writes one integer.
        let (_, pidfd) = unsafe { start(&|| left.set(5)) }.unwrap();

        assert_eq!((left.get(), exit_code(&pidfd)), (5, Some(127)));
    }
}
