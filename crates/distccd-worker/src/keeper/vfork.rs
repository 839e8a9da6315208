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
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Pid;

/// What the child may use of stack. It makes system calls one after the other.
const STACK: usize = 64 << 10;

/// Signals are numbered from 1 to this.
const LAST_SIGNAL: c_int = 64;

/// Starts a child in `body`, with all signals at their defaults and none blocked, in this control group if one is named.
/// Returns when `body` has become another program or has returned, which ends the child with code 127. The child is to be
/// waited for.
///
/// # Errors
/// Those of clone(2).
///
/// # Safety
/// `body` runs in this very memory, on another stack, while this thread sleeps and the others go on: it must not
/// panic, lock, allocate, or leave anything half changed.
pub(super) unsafe fn start(body: &dyn Fn(), group: Option<BorrowedFd<'_>>) -> io::Result<(Pid, OwnedFd)> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: c_int = -1;
    // A reference to a trait object is two words wide; the child gets a pointer to it.
    let argument: *const &dyn Fn() = &raw const body;
    let argument = argument.cast_mut().cast();
    let before = block_signals()?;
    // SAFETY: the stack ends where it is said to, `argument` and `pidfd` outlive the call, and because of CLONE_VFORK
    // the call outlives the child's use of them.
    let child = unsafe {
        match group {
            None => {
                let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
                let child = libc::clone(run, stack.as_mut_ptr_range().end.cast(), flags, argument, &raw mut pidfd);
                if child < 0 { Err(io::Error::last_os_error()) } else { Ok(child) }
            }
            Some(group) => clone_into(group, &mut stack, &raw mut pidfd, argument),
        }
    };
    restore_signals(&before);
    let pid = child.and_then(|child| Pid::from_raw(child).ok_or_else(|| io::ErrorKind::InvalidData.into()))?;
    // SAFETY: the kernel has just made it, for us.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// The arguments of clone3(2), as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The same by clone3(2), which alone puts a child into a control group from the start: one that is moved there costs a
/// grace period of the kernel, milliseconds before Linux 6.18. The C library has no function for it.
///
/// # Safety
/// As for `libc::clone` with [`run`] and CLONE_VM | CLONE_VFORK.
unsafe fn clone_into(
    group: BorrowedFd<'_>,
    stack: &mut [u128],
    pidfd: *mut c_int,
    argument: *mut c_void,
) -> io::Result<c_int> {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP | u64::from(flags.cast_unsigned()),
        pidfd: pidfd as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: stack.as_mut_ptr() as u64,
        stack_size: size_of_val(stack) as u64,
        cgroup: u64::from(group.as_raw_fd().cast_unsigned()),
        ..CloneArgs::default()
    };
    // SAFETY: by the caller; `args` is as long as it is said to be.
    let answer = unsafe { clone3(&args, argument) };
    match c_int::try_from(answer) {
        Ok(child) if child > 0 => Ok(child),
        _ => Err(io::Error::from_raw_os_error(c_int::try_from(-answer).unwrap_or(libc::ENOSYS))),
    }
}

/// The system call; the child finds itself on the new stack, where nothing is to return to, and goes on in [`run`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: &CloneArgs, argument: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11 for both sides. The child uses its own stack, which is
    // aligned as calls want it, and `run` does not return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r8") run as extern "C" fn(*mut c_void) -> c_int,
            in("r9") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: &CloneArgs, argument: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: the kernel keeps all registers but x0 for both sides. The child uses its own stack, which is aligned as
    // calls want it, and `run` does not return.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x10",
            "blr x9",
            "brk 1",
            "2:",
            inlateout("x0") std::ptr::from_ref(args) as isize => answer,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x9") run as extern "C" fn(*mut c_void) -> c_int,
            in("x10") argument,
        );
    }
    answer
}

/// Nobody has written it for this processor: attempts get no groups.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(_: &CloneArgs, _: *mut c_void) -> isize {
    -(libc::ENOSYS as isize)
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
        let (_, pidfd) = unsafe { start(&body, None) }.unwrap();

        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        // Rust programs ignore SIGPIPE, commands of ours do not.
        assert_eq!(ended.terminating_signal(), Some(libc::SIGPIPE));
    }

    #[test]
    fn what_the_child_leaves_in_memory_is_seen_when_it_has_failed() {
        let left = Cell::new(0);

        // SAFETY: writes one integer.
        let (_, pidfd) = unsafe { start(&|| left.set(5), None) }.unwrap();

        assert_eq!((left.get(), exit_code(&pidfd)), (5, Some(127)));
    }
}
