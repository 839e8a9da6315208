//! Bounds on what a peer may send: everything received is bounded in size, count and time (design.md section 9).

/// Largest message of either conversation, in bytes. Linux itself bounds one `execve` to 6 MiB of arguments and
/// environment by default (a quarter of an 8 MiB stack, `execve(2)`), and a batch may carry several such commands.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Largest piece of output in one chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Most jobs in one batch.
pub const MAX_BATCH_JOBS: usize = 10_000;

/// Most directories of one job or one report.
pub const MAX_DIRS: usize = 10_000;
