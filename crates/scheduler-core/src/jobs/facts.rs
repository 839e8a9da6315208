//! What is kept of a job's facts while it waits and runs: there may be a million of them. What it demands of a worker, its
//! class knows for all its jobs ([`crate::workers::Demand`]), and its inputs have told what they can when it comes.

use alloc::vec::Vec;

use model::ids::{BuildId, DirKey, OutputKey, UserId};
use model::job::{BatchHint, JobFacts, JobKind, Priority};

/// All but its demands and its inputs: see [`JobFacts`].
#[derive(Clone, Debug)]
pub(crate) struct KeptFacts {
    pub(crate) user: UserId,
    pub(crate) build: BuildId,
    pub(crate) kind: JobKind,
    pub(crate) dirs: Vec<DirKey>,
    pub(crate) input_bytes: u64,
    pub(crate) batch: BatchHint,
    pub(crate) repeatable: bool,
    pub(crate) priority: Priority,
    pub(crate) output: Option<OutputKey>,
}

impl From<JobFacts> for KeptFacts {
    fn from(facts: JobFacts) -> Self {
        let JobFacts { user, build, kind, dirs, input_bytes, batch, repeatable, priority, output, .. } = facts;
        Self { user, build, kind, dirs, input_bytes, batch, repeatable, priority, output }
    }
}
