//! What scheduling may look at.

use alloc::vec::Vec;
use core::time::Duration;

use crate::ids::{BuildId, CpuClass, DirKey, OutputKey, ToolchainKey, UserId};

/// What a command is for, as far as placing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Source to object (or to assembly, bitcode, a module, a precompiled header).
    Compile,
    /// Assembly to object.
    Assemble,
    /// Source to preprocessed text or dependencies, into a file or printed.
    Preprocess,
    /// Objects to an executable, a shared object or a relocatable one.
    Link,
    /// Objects into or out of an archive, its index, or an object edited in place.
    Archive,
}

impl JobKind {
    /// Every kind, in the order of their numbers on the wire.
    pub const ALL: [Self; 5] = [Self::Compile, Self::Assemble, Self::Preprocess, Self::Link, Self::Archive];

    /// The lower-case word that logs, tables and `--explain` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Assemble => "assemble",
            Self::Preprocess => "preprocess",
            Self::Link => "link",
            Self::Archive => "archive",
        }
    }
}

/// The launcher's wishes about company (`--batch-size`, `--batch-timeout`; design.md section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHint {
    /// At most so many jobs in one dispatch; at least 1.
    pub size: u32,
    /// No job waits longer than this for company.
    pub timeout: Duration,
}

impl Default for BatchHint {
    /// A job alone, which waits for nobody.
    fn default() -> Self {
        Self { size: 1, timeout: Duration::from_millis(500) }
    }
}

/// How urgent a job is, like `nice(2)`: -20 is the most urgent, 19 the least, 0 the usual. Each step is worth a quarter
/// more or less of the slots, as with Linux processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i8);

impl Priority {
    /// The most urgent.
    pub const MOST: Self = Self(-20);
    /// The least urgent.
    pub const LEAST: Self = Self(19);

    /// The priority with this `nice` value; what is beyond the ends counts as the end.
    #[must_use]
    pub fn from_nice(nice: i32) -> Self {
        let nice = nice.clamp(i32::from(Self::MOST.0), i32::from(Self::LEAST.0));
        Self(i8::try_from(nice).unwrap_or(0))
    }

    /// The `nice` value.
    #[must_use]
    pub const fn nice(self) -> i8 {
        self.0
    }
}

/// Facts about a job that placing it depends on. What it runs is none of the scheduler's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Whose job it is.
    pub user: UserId,
    /// Of which build.
    pub build: BuildId,
    /// What it does.
    pub kind: JobKind,
    /// The toolchain a worker must have; `None` when the tool lies on the shared mount and so is everywhere.
    pub toolchain: Option<ToolchainKey>,
    /// The CPU class a worker must be of; `None` when the command does not ask the machine what it is.
    pub cpu_class: Option<CpuClass>,
    /// The mounts (digests of their paths) that a worker must have.
    pub mounts: Vec<DirKey>,
    /// Directories it reads and writes, the output's first: where warmth is worth something.
    pub dirs: Vec<DirKey>,
    /// Total size of its named inputs in bytes, the roughest prediction of how long it takes; 0 when unknown.
    pub input_bytes: u64,
    /// Wishes about company.
    pub batch: BatchHint,
    /// Whether a second execution after a lost one does what one would have done. False for commands that update
    /// a file in place and are not idempotent (`ar q`): those get one attempt.
    pub repeatable: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// What it makes, by which history knows it again; `None` when nobody knows.
    pub output: Option<OutputKey>,
    /// What a link or an archiver reads: what makes it is waited for. Empty for others, whose inputs nobody builds.
    pub inputs: Vec<OutputKey>,
}

impl JobFacts {
    /// A job of which nothing is known but whose it is and what it does: it needs nothing, and any worker will do.
    #[must_use]
    pub fn new(user: UserId, build: BuildId, kind: JobKind) -> Self {
        Self {
            user,
            build,
            kind,
            toolchain: None,
            cpu_class: None,
            mounts: Vec::new(),
            dirs: Vec::new(),
            input_bytes: 0,
            batch: BatchHint::default(),
            repeatable: true,
            priority: Priority::default(),
            output: None,
            inputs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_beyond_the_ends_is_the_end() {
        assert_eq!(Priority::from_nice(-1_000), Priority::MOST);
        assert_eq!(Priority::from_nice(i32::MAX), Priority::LEAST);
        assert_eq!(Priority::from_nice(5).nice(), 5);
    }
}
