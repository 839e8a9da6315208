//! What is run: bytes from end to end, never `String`.

use alloc::vec::Vec;

/// A command as the build system asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSpec {
    /// Absolute path of the program to execute.
    pub program: Vec<u8>,
    /// The argument vector, `argv[0]` as the user typed it included.
    pub argv: Vec<Vec<u8>>,
    /// The working directory, as `PWD` spells it where that is truly this directory.
    pub cwd: Vec<u8>,
    /// The whole environment of the command, in order: name, value.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file mode creation mask, `umask(2)`.
    pub umask: u32,
    /// Resource limits to set: `RLIMIT_*` number of Linux, soft, hard.
    pub limits: Vec<ResourceLimit>,
    /// Who the command runs as.
    pub identity: Identity,
    /// The terminal that the launcher's standard error is, if it is one: compilers then colour what they say and fit it
    /// to the width.
    pub terminal: Option<Terminal>,
    /// Whether the launcher's standard output and standard error are one (`2>&1`, one terminal, Ninja's pipe): then they
    /// are one for the command too, and what it prints stays in the order in which it printed it.
    pub one_output: bool,
}

/// The size of a terminal; 0 where it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// One `setrlimit(2)` of the launcher, carried to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The `RLIMIT_*` number of Linux.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// The submitting user, as numbers of the operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}
