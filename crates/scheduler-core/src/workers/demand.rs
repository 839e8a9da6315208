//! What a job asks of a worker, and what workers have to offer. Jobs with equal demands are one class, workers with
//! equal abilities one group, and only classes and groups are compared.

use alloc::vec::Vec;

use model::ids::{CpuClass, DirKey, ToolchainKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind};

use crate::action::Unmet;
use crate::idmap::Identity;
use crate::input::WorkerFacts;
use crate::jobs::KeptFacts;

/// Everything about a job that makes a worker fit or unfit for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    user: UserId,
    link: bool,
    toolchain: Option<ToolchainKey>,
    cpu_class: Option<CpuClass>,
    /// Sorted, each once.
    mounts: Vec<DirKey>,
    /// Bytes that are reserved for it.
    pub(crate) memory: u64,
    /// Workers on which the job failed; sorted, each once.
    pub(crate) avoid: Vec<WorkerId>,
}

/// What makes a worker able or unable, whatever its size and condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Abilities {
    linking: bool,
    pub(crate) isolates: bool,
    only_user: Option<UserId>,
    cpu_class: Option<CpuClass>,
    /// Sorted, each once.
    toolchains: Vec<ToolchainKey>,
    /// Sorted, each once.
    mounts: Vec<DirKey>,
}

impl Abilities {
    pub(crate) fn new(facts: &WorkerFacts) -> Self {
        Self {
            linking: facts.linking,
            isolates: facts.isolates,
            only_user: facts.only_user,
            cpu_class: facts.cpu_class,
            toolchains: sorted(&facts.toolchains),
            mounts: sorted(&facts.mounts),
        }
    }
}

impl Identity for Demand {
    fn bits(&self) -> (u64, u64) {
        let step = |digest: u64, value: u64| (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        let toolchain = self.toolchain.map_or(0, |key| key.digest().wrapping_add(1));
        let cpu_class = self.cpu_class.map_or(0, |class| class.digest().wrapping_add(1));
        let who = u64::from(self.user.uid()) << 1 | u64::from(self.link);
        let digest = [who, toolchain, cpu_class, self.memory].into_iter().fold(0, step);
        let digest = self.mounts.iter().fold(digest, |digest, mount| step(digest, mount.digest()));
        (digest, self.avoid.iter().fold(0, |digest, worker| step(digest, u64::from(worker.number()))))
    }
}

impl Demand {
    /// What anybody can meet, for root.
    pub(crate) const NONE: Self = Self {
        user: UserId::new(0),
        link: false,
        toolchain: None,
        cpu_class: None,
        mounts: Vec::new(),
        memory: 0,
        avoid: Vec::new(),
    };

    pub(crate) fn new(facts: &JobFacts, memory: u64, tried: &[WorkerId]) -> Self {
        let mut demand = Self::NONE;
        demand.become_that_of(facts, memory, tried);
        demand
    }

    /// Turns this demand into another, in the memory that it has already: each job that is submitted is asked for its
    /// demand, and few demands are new.
    pub(crate) fn become_that_of(&mut self, facts: &JobFacts, memory: u64, tried: &[WorkerId]) {
        self.user = facts.user;
        self.link = facts.kind == JobKind::Link;
        self.toolchain = facts.toolchain;
        self.cpu_class = facts.cpu_class;
        self.memory = memory;
        sort_into(&mut self.mounts, &facts.mounts);
        sort_into(&mut self.avoid, tried);
    }

    /// What says of a job that it demands this, of whose other facts these were kept. Nothing else of it is told.
    pub(crate) fn with(&self, kept: &KeptFacts) -> JobFacts {
        let (toolchain, cpu_class, mounts) = (self.toolchain, self.cpu_class, self.mounts.clone());
        JobFacts { toolchain, cpu_class, mounts, ..JobFacts::new(kept.user, kept.build, kept.kind) }
    }

    /// The first demand that a worker with these abilities does not meet. Its memory, and what it was tried on, are not
    /// asked here.
    pub(crate) fn unmet_by(&self, offer: &Abilities) -> Option<Unmet> {
        if !self.mounts.iter().all(|mount| offer.mounts.binary_search(mount).is_ok()) {
            return Some(Unmet::Mount);
        }
        if offer.only_user.is_some_and(|user| user != self.user) {
            return Some(Unmet::User);
        }
        if self.toolchain.is_some_and(|toolchain| offer.toolchains.binary_search(&toolchain).is_err()) {
            return Some(Unmet::Toolchain);
        }
        if self.cpu_class.is_some_and(|class| offer.cpu_class != Some(class)) {
            return Some(Unmet::CpuClass);
        }
        if self.link && !offer.linking {
            return Some(Unmet::Linking);
        }
        None
    }
}

fn sorted<T: Copy + Ord>(items: &[T]) -> Vec<T> {
    let mut sorted = Vec::new();
    sort_into(&mut sorted, items);
    sorted
}

fn sort_into<T: Copy + Ord>(sorted: &mut Vec<T>, items: &[T]) {
    sorted.clear();
    sorted.extend_from_slice(items);
    sorted.sort_unstable();
    sorted.dedup();
}
