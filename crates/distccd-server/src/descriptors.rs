//! How many files may be open: each connection is one.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it may be. The soft limit is low for the sake of programs that use `select(2)`, and this is
/// none; it starts no others, which would inherit it.
///
/// # Errors
/// When the kernel refuses, which it has no reason to.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}
