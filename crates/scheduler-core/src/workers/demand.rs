//! What a job asks of a worker. Jobs with equal demands are one class, and are asked about together.

use alloc::vec::Vec;

use model::ids::{CpuClass, DirKey, ToolchainKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind};

use crate::action::Unmet;
use crate::input::WorkerFacts;

/// Everything about a job that makes a worker fit or unfit for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    pub(crate) user: UserId,
    link: bool,
    toolchain: Option<ToolchainKey>,
    cpu_class: Option<CpuClass>,
    /// Sorted, each once.
    mounts: Vec<DirKey>,
    /// Workers on which the job failed; sorted, each once.
    pub(crate) avoid: Vec<WorkerId>,
}

impl Demand {
    pub(crate) fn new(facts: &JobFacts, tried: &[WorkerId]) -> Self {
        Self {
            user: facts.user,
            link: facts.kind == JobKind::Link,
            toolchain: facts.toolchain,
            cpu_class: facts.cpu_class,
            mounts: sorted(&facts.mounts),
            avoid: sorted(tried),
        }
    }

    /// The first demand that a worker with these facts does not meet. What it was tried on is not asked here.
    pub(crate) fn unmet_by(&self, facts: &WorkerFacts) -> Option<Unmet> {
        if !self.mounts.iter().all(|mount| facts.mounts.contains(mount)) {
            return Some(Unmet::Mount);
        }
        if facts.only_user.is_some_and(|user| user != self.user) {
            return Some(Unmet::User);
        }
        if self.toolchain.is_some_and(|toolchain| !facts.toolchains.contains(&toolchain)) {
            return Some(Unmet::Toolchain);
        }
        if self.cpu_class.is_some() && self.cpu_class != facts.cpu_class {
            return Some(Unmet::CpuClass);
        }
        if self.link && !facts.linking {
            return Some(Unmet::Linking);
        }
        None
    }
}

fn sorted<T: Copy + Ord>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items.dedup();
    items
}
