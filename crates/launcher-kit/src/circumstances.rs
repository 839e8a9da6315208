//! What a command inherits from this process besides its environment: mask, user, limits, terminal.

use model::command::{Identity, ResourceLimit, Terminal};

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

/// The terminal that our standard error is, if it is one.
#[must_use]
pub fn terminal() -> Option<Terminal> {
    let stderr = std::io::stderr();
    rustix::termios::isatty(&stderr).then(|| {
        let size = rustix::termios::tcgetwinsize(&stderr);
        size.map_or(Terminal::default(), |size| Terminal { columns: size.ws_col, rows: size.ws_row })
    })
}

/// The limits that change what a compiler does: stack depth, data size, file size, address space, CPU time, core dumps.
#[must_use]
pub fn limits() -> Vec<ResourceLimit> {
    const CARRIED: [libc::__rlimit_resource_t; 6] = [
        libc::RLIMIT_CPU,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_DATA,
        libc::RLIMIT_STACK,
        libc::RLIMIT_CORE,
        libc::RLIMIT_AS,
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
