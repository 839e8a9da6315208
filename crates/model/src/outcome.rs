//! How an attempt ended, sorted by who must act.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// How a process ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// `exit(code)`.
    Code(u8),
    /// Died of this signal.
    Signal(u8),
}

impl ExitStatus {
    /// Whether a shell would call it success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

/// What the command cost, measured by the worker over the command's whole tree of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// From fork to exit.
    pub wall: Duration,
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Largest resident set of any single process of the tree, in bytes (`ru_maxrss` of `wait4(2)`).
    pub peak_memory: u64,
}

/// A finished command: an outcome is final, whatever its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub exit: ExitStatus,
    /// What it cost.
    pub usage: ResourceUsage,
}

/// Why an attempt gave no outcome. The retry policy reads the variant, never the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// The worker's lease ran out, or it said goodbye with the attempt unfinished.
    WorkerLost,
    /// The program could not be started (no such file, not allowed, fork failed).
    SpawnFailed(String),
    /// The working directory or a named input is not there on this worker.
    InputsNotVisible(String),
    /// The worker is out of space for what it needs itself.
    NoSpace(String),
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// Killed by a signal that nobody of ours sent and the command itself does not explain (SIGKILL, SIGBUS, SIGILL).
    KilledByStranger(u8),
    /// The worker refuses such a command or such a user by its configuration.
    Refused(String),
    /// What it wrote could not be published on the shared filesystem, or not all of it.
    CommitFailed(String),
    /// Handed back unstarted, because the server asked for it or the worker drains.
    HandedBack,
    /// Killed because the server or the worker's own lease said so.
    Cancelled,
}

/// Numbers that are the same on every architecture that Linux runs build farms on (signal(7)); this crate has no libc.
const SIGILL: u8 = 4;
const SIGBUS: u8 = 7;

/// Who must act on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Nobody did anything wrong: does not count against worker or job.
    Nobody,
    /// The worker or its machine.
    Worker,
    /// The command's own demands.
    Job,
    /// The shared filesystem between them.
    Filesystem,
}

impl AttemptFailure {
    /// Who must act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::HandedBack | Self::Cancelled => Blame::Nobody,
            Self::WorkerLost | Self::SpawnFailed(_) | Self::NoSpace(_) | Self::Refused(_) => Blame::Worker,
            // Its CPU lacks what the tools were built for.
            Self::KilledByStranger(SIGILL) => Blame::Worker,
            // A mapped file went away.
            Self::KilledByStranger(SIGBUS) | Self::InputsNotVisible(_) | Self::CommitFailed(_) => Blame::Filesystem,
            Self::OutOfMemory | Self::KilledByStranger(_) => Blame::Job,
        }
    }
}

impl fmt::Display for AttemptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerLost => f.write_str("the worker was lost"),
            Self::SpawnFailed(why) => write!(f, "the program could not be started: {why}"),
            Self::InputsNotVisible(what) => write!(f, "not visible on the worker: {what}"),
            Self::NoSpace(why) => write!(f, "no space on the worker: {why}"),
            Self::OutOfMemory => f.write_str("out of memory on the worker"),
            Self::KilledByStranger(signal) => write!(f, "killed by signal {signal}, which nobody of ours sent"),
            Self::Refused(why) => write!(f, "refused by the worker: {why}"),
            Self::CommitFailed(why) => write!(f, "what it wrote could not be published: {why}"),
            Self::HandedBack => f.write_str("handed back before it started"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl core::error::Error for AttemptFailure {}
