//! Running the command here. How many do so at a time is the business of [`crate::slots`].

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use crate::decide::Invocation;
use crate::exit;

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
