//! The one way out: as the compiler ended, or with a code of our own when it was not the compiler's doing.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use model::outcome::ExitStatus;

/// A flag or the call itself is wrong (`EX_USAGE`, sysexits.h).
pub const USAGE: u8 = 64;
/// The cluster does not take the job and `--fallback=never` forbids a local run (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// The launcher itself failed, for example for want of memory or file descriptors (`EX_OSERR`).
pub const OS_ERROR: u8 = 71;
/// A configuration file or variable is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;

/// How a launcher ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Code(code) => Self::Code(code),
            ExitStatus::Signal(signal) => Self::Signal(i32::from(signal)),
        }
    }
}

impl End {
    /// Ends the process.
    pub fn now(self) -> ! {
        match self {
            Self::Code(code) => std::process::exit(i32::from(code)),
            Self::Signal(number) => die_by(number),
        }
    }
}

/// Dies of a signal as the compiler did, without a core dump of our own.
fn die_by(number: i32) -> ! {
    // SAFETY: plain system calls on values that outlive them; the process is single-threaded and ends here.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(number, libc::SIG_DFL);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
        libc::raise(number);
    }
    // A signal whose default is to be ignored cannot have ended the compiler; a shell's way of saying it remains.
    std::process::exit(128 + number)
}

/// Whether SIGPIPE was ignored when we were started, as services of systemd have it.
static IGNORED_SIGPIPE: AtomicBool = AtomicBool::new(false);

/// While we speak to the server, a connection that breaks is an error and not our end.
pub fn ignore_sigpipe() {
    // SAFETY: sets a disposition, nothing else.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    IGNORED_SIGPIPE.store(before == libc::SIG_IGN, Ordering::Relaxed);
}

/// Notes and caches of ours that may not grow (`ulimit -f`) are errors, which cost them alone, and not our end.
pub fn outlive_file_limit() {
    extern "C" fn pass_over(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = pass_over;
    replace_file_limit_signal(handler as libc::sighandler_t);
}

/// What the compiler printed ends us there as it would have ended the compiler.
pub fn obey_file_limit() {
    replace_file_limit_signal(libc::SIG_DFL);
}

/// Who ignores the signal goes on ignoring it. A handler of ours ends with an exec.
fn replace_file_limit_signal(handler: libc::sighandler_t) {
    // SAFETY: sets a disposition, nothing else; the handler does nothing.
    unsafe {
        if libc::signal(libc::SIGXFSZ, handler) == libc::SIG_IGN {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
}

/// Whether standard input, output and error are all open: what we open ourselves must not take their places.
#[must_use]
pub fn standard_streams_are_open() -> bool {
    // SAFETY: asks for the flags of descriptors by number.
    (0..3).all(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0)
}

/// Lets a closed pipe end us as it would have ended the compiler, instead of an error. Safe between fork and exec.
pub fn restore_sigpipe() {
    let before = if IGNORED_SIGPIPE.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: sets a disposition, nothing else.
    unsafe {
        libc::signal(libc::SIGPIPE, before);
    }
}

/// Says why a job failed for a reason that is not the compiler's, on one line.
pub fn complain(name: &str, text: &str) {
    let line = format!("{name}: {text}\n");
    // There is nowhere left to report a failing stderr to.
    let _ = rustix::io::write(std::io::stderr().as_fd(), line.as_bytes());
}
