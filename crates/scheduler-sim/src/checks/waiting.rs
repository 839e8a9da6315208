//! Work conservation, told from outside the scheduler: what each server knows to wait, and who could have taken it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{JobId, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::AttemptFailure;
use model::time::Timestamp;
use scheduler_core::{Condition, Scheduler, SubmittedJob, WorkerFacts};

use super::ledger::Ledger;

#[derive(Debug)]
struct Wait {
    facts: JobFacts,
    /// Since when somebody idle could have taken it.
    in_vain_since: Option<Timestamp>,
}

/// The jobs of one server that have no answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    open: BTreeMap<JobId, Wait>,
    /// Where jobs failed, those included that nobody has submitted to this server yet: they need not go there again.
    failed: BTreeSet<(JobId, WorkerId)>,
    /// How long a job may wait beside an idle slot that it could use, for others that come at the same time. Warmth and
    /// company get no time while a slot is idle.
    delay: Duration,
    /// Before this, jobs of an earlier server may have to wait for news of them.
    from: Timestamp,
}

impl Waiting {
    pub(crate) fn new(lease: Duration, delay: Duration) -> Self {
        Self { open: BTreeMap::new(), failed: BTreeSet::new(), delay, from: Timestamp::ZERO + lease }
    }

    pub(crate) fn on_submitted(&mut self, jobs: &[SubmittedJob]) {
        for job in jobs {
            let wait = || Wait { facts: job.facts.clone(), in_vain_since: None };
            self.open.entry(job.id).or_insert_with(wait);
        }
    }

    pub(crate) fn on_failed(&mut self, job: JobId, worker: WorkerId, failure: &AttemptFailure) {
        if !matches!(failure, AttemptFailure::HandedBack | AttemptFailure::Cancelled) {
            self.failed.insert((job, worker));
        }
    }

    /// It was answered, or taken back.
    pub(crate) fn on_closed(&mut self, job: JobId) {
        self.open.remove(&job);
    }

    /// After each step. Workers that could take a job by what everybody can see, and do not, must be excused by what
    /// only the scheduler knows: they are benched or on probation, short of memory for it, or too slow to be
    /// taken before a faster one may fall free.
    pub(crate) fn check(&mut self, now: Timestamp, ledger: &Ledger, scheduler: &Scheduler) {
        if now < self.from {
            return;
        }
        let held = ledger.jobs();
        for (job, wait) in self.open.iter_mut().filter(|(job, _)| !held.contains(job)) {
            let takers: Vec<_> = ledger
                .idle()
                .filter(|(id, facts, _)| !self.failed.contains(&(*job, *id)) && wait.could_go_to(facts))
                .collect();
            let excused = if takers.is_empty() { 0 } else { excused(scheduler, *job, &takers) };
            if takers.len() <= excused {
                wait.in_vain_since = None;
                continue;
            }
            let since = *wait.in_vain_since.get_or_insert(now);
            let waited = now.since(since);
            let why = scheduler.explain(*job);
            assert!(waited <= self.delay, "{job:?} has waited {waited:?} beside idle slots of {takers:?}: {why:?}");
        }
        self.open.iter_mut().filter(|(job, _)| held.contains(job)).for_each(|(_, wait)| wait.in_vain_since = None);
    }
}

fn excused(scheduler: &Scheduler, job: JobId, takers: &[(WorkerId, &WorkerFacts, usize)]) -> usize {
    let Some(Condition::Waiting { obstacles, .. }) = scheduler.explain(job).map(|it| it.state) else {
        // It waits for the end of something, not for a worker.
        return takers.len();
    };
    // On probation a worker runs one job at a time, and counts as busy with it.
    let on_probation = takers.iter().filter(|(_, _, held)| *held > 0).count().min(obstacles.busy);
    obstacles.benched + obstacles.memory + obstacles.too_small + obstacles.kept + obstacles.slow + on_probation
}

impl Wait {
    /// The demands as the product states them, written a second time.
    fn could_go_to(&self, worker: &WorkerFacts) -> bool {
        let job = &self.facts;
        job.mounts.iter().all(|mount| worker.mounts.contains(mount))
            && job.toolchain.is_none_or(|toolchain| worker.toolchains.contains(&toolchain))
            && worker.only_user.is_none_or(|user| user == job.user)
            && (worker.linking || job.kind != JobKind::Link)
    }
}
