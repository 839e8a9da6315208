//! What keeps a keeper from writing when its lease is over, also one that was stopped in between.
//!
//! A keeper that looks at the clock and then publishes may be stopped between the two (SIGSTOP, a frozen cgroup, a
//! machine that sleeps) and go on a minute later, when the name belongs to another attempt. So the kernel looks for it:
//! a timer on `CLOCK_BOOTTIME` ends the process at the deadline. A stopped process keeps the signal pending and, when it
//! is continued, runs the handler before any further instruction of its own:
//!
//! ```text
//! look at the page, arm at the deadline D -> ... -> rename(2)
//!      stopped anywhere in here past D: the signal waits, and the handler runs before the next instruction
//! ```
//!
//! One system call that has already begun goes on, as it would for SIGKILL. The handler is a handler, and not SIGKILL,
//! because a keeper may be the first process of a PID namespace, which no signal from within ends unless it has a
//! handler for it; and it removes what is half written. While the worker renews the lease, the handler finds a later deadline on the page and arms the
//! timer again.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::unfinished;
use crate::lease_page::{LeasePage, boot_time};

/// How a keeper ends whose lease is over.
pub(crate) const LEASE_OVER: i32 = 75;

/// The word that the handler looks at; set before the handler is.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// The timer, for the handler.
static TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(ptr::null_mut());

/// From here on this process ends when the lease is over, at once when it is.
///
/// # Errors
/// Those of timer_create(2).
pub(super) fn arm(page: &LeasePage) -> io::Result<()> {
    WORD.store(ptr::from_ref(page.word()).cast_mut(), Ordering::SeqCst);
    let signal = libc::SIGRTMIN();
    // SAFETY: a zeroed `sigaction` is a valid one, and the handler makes only calls that signal-safety(7) allows.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_deadline as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(signal, &action, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer = MaybeUninit::<libc::timer_t>::uninit();
        if libc::timer_create(libc::CLOCK_BOOTTIME, &mut event, timer.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        TIMER.store(timer.assume_init(), Ordering::SeqCst);
    }
    on_deadline(signal);
    Ok(())
}

/// Whether the lease holds now; the timer holds in between.
pub(super) fn holds(page: &LeasePage) -> bool {
    boot_time() < page.word().load(Ordering::SeqCst)
}

extern "C" fn on_deadline(_signal: libc::c_int) {
    // SAFETY: set by `arm` to a word that stays mapped for ever.
    let Some(word) = (unsafe { WORD.load(Ordering::SeqCst).as_ref() }) else { return };
    let deadline = word.load(Ordering::SeqCst);
    if boot_time() >= deadline || !arm_at(deadline) {
        unfinished::remove();
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(LEASE_OVER) }
    }
}

fn arm_at(deadline: u64) -> bool {
    let second = 1_000_000_000;
    // SAFETY: a timer of this process, and a live value; errno is restored by nobody, for nothing that this interrupts
    // and resumes reads it: `timer_settime` fails for no valid timer and value.
    unsafe {
        let mut at: libc::itimerspec = zeroed();
        at.it_value.tv_sec = libc::time_t::try_from(deadline / second).unwrap_or(libc::time_t::MAX);
        at.it_value.tv_nsec = libc::c_long::try_from(deadline % second).unwrap_or(0);
        libc::timer_settime(TIMER.load(Ordering::SeqCst), libc::TIMER_ABSTIME, &at, ptr::null_mut()) == 0
    }
}
