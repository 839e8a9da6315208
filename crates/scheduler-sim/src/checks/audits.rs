//! What audits may find, known beforehand: what a command writes depends on the command, on whether it repeats itself, and
//! on whether the host that ran it is the one that gets it wrong.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use scheduler_core::AuditVerdict;
use scheduler_core::audits::{Digest, shadow_of};

/// The host that writes other bytes than all others, and always the same.
const WRONG_HOST: usize = 0;

/// One server's audits.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    kept: BTreeSet<Attempt>,
    /// The jobs of the shadows.
    shadows: BTreeMap<JobId, JobId>,
    /// Where shadows were sent, and whether that was the wrong host.
    hosts: BTreeMap<WorkerId, usize>,
    written: u64,
    pub(crate) alarms: u64,
}

impl Audits {
    pub(crate) fn on_numbered(&mut self, worker: WorkerId, host: usize) {
        self.hosts.insert(worker, host);
    }

    /// What an attempt wrote on this host.
    pub(crate) fn written(&mut self, host: usize, attempt: Attempt) -> Digest {
        self.written += 1;
        let job = self.shadows.get(&attempt.job).copied().unwrap_or(attempt.job);
        match (repeats_itself(job), host == WRONG_HOST) {
            (false, _) => 100 + self.written,
            (true, true) => 1,
            (true, false) => 2,
        }
    }

    pub(crate) fn is_shadow(&self, attempt: Attempt) -> bool {
        self.shadows.contains_key(&attempt.job)
    }

    pub(crate) fn on_kept(&mut self, of: Attempt) {
        assert!(self.kept.insert(of), "{of} is audited twice at once");
        self.shadows.insert(shadow_of(of.job), of.job);
    }

    pub(crate) fn on_audit(&self, worker: WorkerId, shadow: Attempt, of: Attempt) {
        assert!(self.kept.contains(&of), "{of} is audited and was not kept");
        assert_eq!(shadow.job, shadow_of(of.job), "{of} has another shadow");
        assert!(self.hosts.contains_key(&worker), "{shadow} goes to a worker that nobody knows");
    }

    pub(crate) fn on_end(&mut self, of: Attempt, verdict: AuditVerdict) {
        assert!(self.kept.remove(&of), "the audit of {of} ends twice");
        match verdict {
            AuditVerdict::Same => assert!(repeats_itself(of.job), "{of} was the same twice"),
            AuditVerdict::NotRepeatable => assert!(!repeats_itself(of.job), "{of} repeats itself"),
            AuditVerdict::Differs { first, other } => {
                let wrong = [first, other].iter().filter(|worker| self.hosts[worker] == WRONG_HOST).count();
                assert!(repeats_itself(of.job) && wrong == 1, "{of}: {first:?} and {other:?} are accused");
                self.alarms += 1;
            }
            AuditVerdict::Dropped => {}
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.kept.is_empty()
    }
}

fn repeats_itself(job: JobId) -> bool {
    !job.as_bytes()[0].is_multiple_of(8)
}
