//! What a command inherits from this process besides its environment: mask, user, limits, terminal.

use model::command::{Identity, ResourceLimit, Terminal};
use rustix::thread::{CapabilitySet, capabilities};

/// The file mode creation mask.
#[must_use]
pub fn umask() -> u32 {
    // The mask can only be read by setting it; the launcher has one thread.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}

/// Who we are.
#[must_use]
pub fn identity() -> Identity {
    let groups = rustix::process::getgroups().unwrap_or_default();
    Identity {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
    }
}

/// Whether we are root in name only: without the capabilities by which root reads and writes what is others'
/// (capabilities(7)), and which a worker's commands have.
#[must_use]
pub fn is_root_in_name_only() -> bool {
    let needed = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let lacks = || capabilities(None).is_ok_and(|sets| !sets.effective.contains(needed));
    rustix::process::geteuid().is_root() && lacks()
}

/// The terminal that our standard error is, if it is one.
#[must_use]
pub fn terminal() -> Option<Terminal> {
    let stderr = std::io::stderr();
    rustix::termios::isatty(&stderr).then(|| {
        let size = rustix::termios::tcgetwinsize(&stderr);
        size.map_or(Terminal::default(), |size| Terminal { columns: size.ws_col, rows: size.ws_row })
    })
}

/// The width of the terminal that our standard input is, if it is one that knows: there GCC looks how much of a source line
/// to quote on a terminal (`get_terminal_width` in gcc/diagnostic.c), and not at standard error.
#[must_use]
pub fn input_columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdin()).ok()?;
    Some(size.ws_col).filter(|&columns| columns > 0)
}

/// Whether our standard output and standard error are one: what goes to either then has one order.
///
/// Two descriptors of one pipe, socket or terminal are. Two of one regular file are only when they share their offset
/// (`>log 2>&1`, unlike `>log 2>log`, where each overwrites the other), which is asked of `kcmp(2)`, or when both append.
#[must_use]
pub fn one_output() -> bool {
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let (Ok(out), Ok(err)) = (rustix::fs::fstat(&stdout), rustix::fs::fstat(&stderr)) else { return false };
    let one_file = (out.st_dev, out.st_ino, out.st_rdev) == (err.st_dev, err.st_ino, err.st_rdev);
    let regular = rustix::fs::FileType::from_raw_mode(out.st_mode) == rustix::fs::FileType::RegularFile;
    one_file && (!regular || one_description() || (appends(&stdout) && appends(&stderr)))
}

/// Whether each write goes to the end of the file, wherever others have put that.
fn appends(stream: impl std::os::fd::AsFd) -> bool {
    rustix::fs::fcntl_getfl(stream).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::APPEND))
}

fn one_description() -> bool {
    const KCMP_FILE: libc::c_int = 0;
    let us = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: kcmp(2) compares two descriptors of this process and touches no memory.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, us, us, KCMP_FILE, libc::STDOUT_FILENO, libc::STDERR_FILENO) };
    order == 0
}

/// The limits that change what a compiler does: stack depth, data size, file size, address space, CPU time, core dumps,
/// open files.
#[must_use]
pub fn limits() -> Vec<ResourceLimit> {
    const CARRIED: [libc::__rlimit_resource_t; 7] = [
        libc::RLIMIT_CPU,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_DATA,
        libc::RLIMIT_STACK,
        libc::RLIMIT_CORE,
        libc::RLIMIT_AS,
        libc::RLIMIT_NOFILE,
    ];
    CARRIED.iter().filter_map(|&resource| limit(resource)).collect()
}

/// One limit of this process.
#[must_use]
pub fn limit(resource: libc::__rlimit_resource_t) -> Option<ResourceLimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    let ok = unsafe { libc::getrlimit(resource, &raw mut limit) } == 0;
    ok.then_some(ResourceLimit { resource, soft: limit.rlim_cur, hard: limit.rlim_max })
}
