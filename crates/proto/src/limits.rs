//! Bounds on what a peer may send: everything received is bounded in size, count and time (design.md section 9).

/// Largest message of either conversation, in bytes. Linux itself bounds one `execve` to 6 MiB of arguments and
/// environment by default (a quarter of an 8 MiB stack, `execve(2)`), and a batch may carry several such commands.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Largest piece of output in one chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Most pieces of an attempt's output that a worker sends before the server says that they were taken: of the largest, 2 MiB.
pub const OUTPUT_WINDOW: u64 = 32;

/// Most jobs in one batch.
pub const MAX_BATCH_JOBS: usize = 10_000;

/// Most directories of one job or one report.
pub const MAX_DIRS: usize = 10_000;

/// Inputs of a link of which the scheduler hears; those of larger ones are as likely to be waited for anyway.
pub const MAX_JOB_INPUTS: usize = 4_096;

/// Largest job, in bytes: a command with its environment (see [`MAX_MESSAGE_BYTES`]), and what it reads and writes by name.
/// A link of 100,000 objects fits.
pub const MAX_JOB_BYTES: usize = 24 << 20;

/// Most attempts that a worker may say it holds; it is sent no more than its slots, of which at most 4,096 are believed, and
/// a batch.
pub const MAX_HELD: usize = 20_000;

/// Most toolchains, and most mounts, that a worker may say it has.
pub const MAX_OFFERED: usize = 10_000;
