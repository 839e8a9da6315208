//! Audits: one job in so many is done once more on another worker, and what the two wrote is compared.
//!
//! The second execution is a shadow: an attempt of a job that nobody submitted (see [`shadow_of`]), assigned so that it
//! may not commit, and never permitted. So no lease, retry or answer of the real job knows of it, and a worker that does
//! not understand what a shadow is waits for a permission that never comes, until it is cancelled.
//!
//! When the bytes differ, the first worker does the job again before anybody is accused. If it repeats itself, the two
//! workers do differ. If not, the command does not give the same bytes twice (`-flto` without `-frandom-seed`,
//! `--coverage`, `__TIME__`), or what it reads has been edited since: an edited input makes both later executions differ
//! from the first, so it never looks like two workers that differ.
//!
//! Audits take slots that nobody wants. What waits goes before: they are ended for it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use model::ids::{Attempt, JobId, WorkerId};
use model::job::JobKind;
use model::outcome::{AttemptFailure, Outcome};
use model::time::Timestamp;

use crate::action::{Action, AuditVerdict};
use crate::dispatch::MAX_LOOKS;
use crate::input::Commit;
use crate::jobs::{Answer, Job};
use crate::scheduler::Scheduler;
use crate::workers::ClassId;

/// Audits that wait or run at once; of more the oldest that waits goes.
pub const MAX_AUDITS: usize = 64;
/// Shadows that run at once.
const MAX_SHADOWS: usize = 4;

/// One job in so many is audited; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditRate(pub u32);

impl AuditRate {
    /// Whether this job is among them: its id is random, so its bits are as good as dice.
    #[must_use]
    pub fn chooses(self, job: JobId) -> bool {
        let (_, low) = job.as_bytes().split_at(8);
        let low = low.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        self.0 > 0 && low.is_multiple_of(u64::from(self.0))
    }
}

/// The job that the shadows of this one are attempts of. Nobody else draws its id but by chance of one in 2^128.
#[must_use]
pub fn shadow_of(job: JobId) -> JobId {
    JobId::from_bytes(job.as_bytes().map(|byte| byte ^ 0xa5))
}

/// What an attempt wrote and how it ended, in one number: the same for the same files with the same bytes.
pub type Digest = u64;

/// Who did the job, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    worker: WorkerId,
    digest: Digest,
}

#[derive(Debug)]
struct Audit {
    /// The attempt whose outcome was delivered.
    of: Attempt,
    first: Done,
    /// Another worker's, if it differs.
    other: Option<Done>,
    /// What the job demands, but not of the first worker.
    class: ClassId,
    since: Timestamp,
    /// Its shadow that is at a worker.
    shadow: Option<(WorkerId, u32)>,
}

/// All audits, by the ids of their shadows.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    of: BTreeMap<JobId, Audit>,
    /// What the attempt wrote whose end comes next.
    told: Option<(WorkerId, Attempt, Digest)>,
}

impl Audits {
    pub(crate) fn is_shadow(&self, job: JobId) -> bool {
        self.of.contains_key(&job)
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    fn running(&self) -> usize {
        self.of.values().filter(|audit| audit.shadow.is_some()).count()
    }

    /// The classes that it uses, and the shadows that are at workers.
    pub(crate) fn shadows(&self) -> impl Iterator<Item = (WorkerId, Attempt)> + '_ {
        self.of
            .iter()
            .filter_map(|(&job, audit)| audit.shadow.map(|(worker, number)| (worker, Attempt { job, number })))
    }
}

/// An attempt that has ended well and is to be audited when its job is answered.
#[derive(Debug)]
pub(crate) struct Nominee {
    of: Attempt,
    first: Done,
    class: ClassId,
}

impl Scheduler {
    /// The end of this attempt comes next.
    pub(crate) fn on_attempt_digested(&mut self, worker: WorkerId, attempt: Attempt, digest: Digest) {
        self.audits.told = Some((worker, attempt, digest));
    }

    /// Whether the end of an attempt calls for an audit. What edits files in place has changed what it read, and what must
    /// not be done twice is not.
    pub(crate) fn nominee(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        result: &Result<Outcome, AttemptFailure>,
    ) -> Option<Nominee> {
        let (_, _, digest) = self.audits.told.take().filter(|&(at, of, _)| (at, of) == (worker, attempt))?;
        let is_chosen = AuditRate(self.config.audit_rate).chooses(attempt.job) && !self.stopping;
        let is_success = result.as_ref().is_ok_and(|outcome| outcome.exit.is_success());
        let job = self.jobs.get(attempt.job).filter(|job| is_chosen && is_success && may_be_audited(job))?;
        // What is reported again, after a connection broke, has been audited.
        job.hold().filter(|hold| hold.is(worker, attempt))?;
        let shadow = shadow_of(attempt.job);
        if self.is_known(shadow) || self.jobs.has_live(shadow) || self.orphan_ends.contains_key(&shadow) {
            return None;
        }
        let memory = job.class.map_or(0, |class| self.classes.memory(class));
        let facts = self.demanding_facts(job);
        let class = self.classes.acquire(&facts, memory, &[worker], &self.workers);
        Some(Nominee { of: attempt, first: Done { worker, digest }, class })
    }

    /// The nominee's job has been answered with its outcome, or it is no nominee any more.
    pub(crate) fn nominate(&mut self, nominee: Nominee, out: &mut Vec<Action>) {
        let Nominee { of, first, class } = nominee;
        let finished = self.finished(of.job);
        if finished.is_none_or(|finished| finished.answer != Answer::Complete(of.number)) {
            return self.classes.release(class);
        }
        if self.audits.len() >= MAX_AUDITS {
            let waiting = self.audits.of.iter().filter(|(_, audit)| audit.shadow.is_none());
            if let Some(oldest) = waiting.min_by_key(|(_, audit)| audit.since).map(|(&id, _)| id) {
                self.drop_audit(oldest, out);
            }
        }
        let audit = Audit { of, first, other: None, class, since: self.now, shadow: None };
        self.audits.of.insert(shadow_of(of.job), audit);
        out.push(Action::KeepForAudit { of });
    }

    /// Gives slots that nobody waits for to audits, and takes them back when somebody does.
    pub(crate) fn make_audits(&mut self, out: &mut Vec<Action>) {
        if self.audits.of.is_empty() {
            return;
        }
        if !self.queue.is_empty() || self.stopping {
            let running = self.audits.shadows().map(|(_, shadow)| shadow.job);
            running.collect::<Vec<_>>().into_iter().for_each(|id| self.drop_audit(id, out));
        }
        let is_late = |audit: &Audit| audit.shadow.is_none() && self.now.since(audit.since) > self.config.retain;
        let late = self.audits.of.iter().filter(|(_, audit)| self.stopping || is_late(audit)).map(|(&id, _)| id);
        late.collect::<Vec<_>>().into_iter().for_each(|id| self.drop_audit(id, out));
        if self.queue.is_empty() && self.workers.idle() > 0 {
            self.start_shadows(out);
        }
    }

    fn start_shadows(&mut self, out: &mut Vec<Action>) {
        let waiting = self.audits.of.iter().filter(|(_, audit)| audit.shadow.is_none());
        for id in waiting.map(|(&id, _)| id).collect::<Vec<_>>() {
            if self.audits.running() >= MAX_SHADOWS {
                return;
            }
            let Some(worker) = self.place_shadow(id) else { continue };
            let Some(audit) = self.audits.of.get_mut(&id) else { continue };
            // The first worker's is the second shadow of the job.
            let number = 1 + u32::from(audit.other.is_some());
            audit.shadow = Some((worker, number));
            let (of, memory) = (audit.of, self.classes.memory(audit.class));
            let attempt = Attempt { job: id, number };
            self.hold(worker, attempt, Commit::WhenPermitted, memory, None);
            self.recount(worker);
            out.push(Action::Audit { worker, attempt, of });
        }
    }

    fn place_shadow(&self, id: JobId) -> Option<WorkerId> {
        if self.jobs.has_live(id) {
            return None; // An earlier server's shadow is still to be ended, and this one would have its number.
        }
        let audit = self.audits.of.get(&id)?;
        let demand = self.classes.demand(audit.class)?;
        let has_slot = |worker: WorkerId| {
            self.workers.get(worker).is_some_and(|it| {
                it.idle() > self.recalls.due(worker) && it.kept_for.is_none() && it.free_memory() >= demand.memory
            })
        };
        if audit.other.is_some() {
            return Some(audit.first.worker).filter(|&worker| self.isolates(worker) && has_slot(worker));
        }
        let groups = self.classes.groups(audit.class, &self.workers).filter(|group| group.abilities.isolates);
        let mut idle = groups.flat_map(|group| group.idle().take(MAX_LOOKS));
        idle.find(|&worker| self.fits(demand, worker) && has_slot(worker))
    }

    /// A shadow has come to its end.
    pub(crate) fn on_shadow_ended(
        &mut self,
        worker: WorkerId,
        shadow: Attempt,
        result: &Result<Outcome, AttemptFailure>,
        out: &mut Vec<Action>,
    ) {
        let told = self.audits.told.take().filter(|&(at, of, _)| (at, of) == (worker, shadow));
        if self.take_attempt(worker, shadow).is_none() {
            return;
        }
        // One that an earlier server sent is nobody's.
        let is_ours = |audit: &&mut Audit| audit.shadow == Some((worker, shadow.number));
        let Some(audit) = self.audits.of.get_mut(&shadow.job).filter(is_ours) else { return };
        audit.shadow = None;
        let (Ok(_), Some((_, _, digest))) = (result, told) else { return self.drop_audit(shadow.job, out) };
        let verdict = match audit.other {
            None if digest == audit.first.digest => AuditVerdict::Same,
            None => {
                audit.other = Some(Done { worker, digest });
                audit.since = self.now;
                return;
            }
            Some(other) if digest == audit.first.digest => {
                AuditVerdict::Differs { first: audit.first.worker, other: other.worker }
            }
            Some(_) => AuditVerdict::NotRepeatable,
        };
        self.close_audit(shadow.job, verdict, out);
    }

    /// The shadow's worker is lost, or the shadow on its way to it.
    pub(crate) fn on_shadow_lost(&mut self, worker: WorkerId, shadow: Attempt, out: &mut Vec<Action>) {
        self.take_attempt(worker, shadow);
        let is_ours = |audit: &&mut Audit| audit.shadow == Some((worker, shadow.number));
        if let Some(audit) = self.audits.of.get_mut(&shadow.job).filter(is_ours) {
            audit.shadow = None;
            self.drop_audit(shadow.job, out);
        }
    }

    /// Ends an audit without a verdict. What runs of it is ended, and nobody waits for that.
    pub(crate) fn drop_audit(&mut self, id: JobId, out: &mut Vec<Action>) {
        let shadow = self.audits.of.get(&id).and_then(|audit| audit.shadow);
        self.close_audit(id, AuditVerdict::Dropped, out);
        let Some((worker, number)) = shadow else { return };
        let attempt = Attempt { job: id, number };
        if self.jobs.mark_cancelled(worker, attempt) && self.is_up(worker) {
            out.push(Action::Cancel { worker, attempt });
        }
    }

    fn close_audit(&mut self, id: JobId, verdict: AuditVerdict, out: &mut Vec<Action>) {
        let Some(audit) = self.audits.of.remove(&id) else { return };
        self.classes.release(audit.class);
        out.push(Action::EndAudit { of: audit.of, verdict });
        if !self.jobs.has_live(id) {
            out.push(Action::Forget { job: id });
        }
    }

    /// Shadows are where they are said to be, may not commit, and belong to no job.
    pub(crate) fn check_audits(&self) {
        assert!(self.audits.len() <= MAX_AUDITS, "{} audits", self.audits.len());
        for (worker, shadow) in self.audits.shadows() {
            assert!(self.jobs.awaits_permission(worker, shadow), "{shadow} is a shadow and may commit");
            assert!(!self.jobs.is_cancelled(worker, shadow), "{shadow} is cancelled and goes on");
        }
        for &shadow in self.audits.of.keys() {
            assert!(!self.is_known(shadow), "{shadow:?} is a shadow and a job");
        }
        let nobody_waits = self.queue.is_empty() || self.audits.running() == 0;
        assert!(nobody_waits, "audits run while jobs wait");
    }
}

fn may_be_audited(job: &Job) -> bool {
    job.facts.repeatable && job.facts.kind != JobKind::Archive && !job.inherited
}
