//! What the driver keeps of audits: what to run once more, which files which worker wrote, what came of it, and for people
//! the last alarms. The scheduler decides when, where and what follows; see `scheduler_core::audits`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use model::ids::{Attempt, JobId, fnv1a_more};
use proto::convert::attempt_ref;
use proto::v1;
use scheduler_core::audits::{Digest, shadow_of};
use scheduler_core::{AuditRate, AuditVerdict};

/// Alarms that people are shown.
const KEPT_ALARMS: usize = 32;
/// Files that are named in each.
const NAMED_FILES: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Audits {
    rate: AuditRate,
    offered: Option<(JobId, v1::Job)>,
    kept: BTreeMap<JobId, Kept>,
    told: v1::Audits,
    alarms: VecDeque<v1::AuditAlarm>,
}

/// A job that is audited.
#[derive(Debug)]
struct Kept {
    job: v1::Job,
    first: Written,
    /// What the first shadow wrote.
    other: Option<Written>,
}

#[derive(Debug)]
struct Written {
    worker: String,
    files: Vec<v1::FileDigest>,
}

impl Audits {
    /// None yet.
    #[must_use]
    pub fn new(rate: AuditRate) -> Self {
        Self { rate, ..Self::default() }
    }

    /// What the assignment of this job says of it.
    #[must_use]
    pub fn of(&self, id: JobId, job: &v1::Job) -> v1::Audit {
        if job.repeatable && self.rate.chooses(id) { v1::Audit::Digest } else { v1::Audit::None }
    }

    /// A job is answered, and nobody else needs what it is any more. If it is audited, that is the next thing said.
    pub fn offer(&mut self, id: JobId, job: v1::Job) {
        self.offered = (self.of(id, &job) == v1::Audit::Digest).then_some((id, job));
    }

    /// Keeps what was offered last, and delivered.
    pub fn keep(&mut self, of: Attempt, outcome: &v1::Outcome) {
        let Some((_, job)) = self.offered.take().filter(|(id, _)| *id == of.job) else { return };
        let first = Written { worker: outcome.worker.clone(), files: outcome.digests.clone() };
        self.kept.insert(of.job, Kept { job, first, other: None });
    }

    /// What to run once more.
    #[must_use]
    pub fn job(&self, of: Attempt) -> Option<&v1::Job> {
        self.kept.get(&of.job).map(|kept| &kept.job)
    }

    /// Takes what a shadow says; false if it is none.
    pub fn take(&mut self, shadow: Attempt, outcome: &v1::Outcome) -> bool {
        // The shadow's shadow is the job.
        let Some(kept) = self.kept.get_mut(&shadow_of(shadow.job)) else { return false };
        let written = || Written { worker: outcome.worker.clone(), files: outcome.digests.clone() };
        kept.other.get_or_insert_with(written);
        true
    }

    /// An audit is over. An alarm is told at once, and for a while to whoever asks.
    pub fn end(&mut self, of: Attempt, verdict: AuditVerdict) {
        let Some(kept) = self.kept.remove(&of.job) else { return };
        let count = match verdict {
            AuditVerdict::Same => &mut self.told.same,
            AuditVerdict::Differs { .. } => &mut self.told.differing,
            AuditVerdict::NotRepeatable => &mut self.told.not_repeatable,
            AuditVerdict::Dropped => &mut self.told.dropped,
        };
        *count += 1;
        if verdict == AuditVerdict::Same {
            tracing::info!(attempt = %of, "audit: the same bytes");
            return;
        }
        let Some(other) = kept.other else { return };
        let differing = differing(&kept.first.files, &other.files);
        let shown: Vec<_> = differing.iter().take(NAMED_FILES).map(|path| String::from_utf8_lossy(path)).collect();
        let (first, other) = (kept.first.worker, other.worker);
        if let AuditVerdict::Differs { .. } = verdict {
            tracing::error!(
                attempt = %of, first, other, files = ?shown,
                "AUDIT: two workers wrote different bytes for one job, and the first did so twice; one of them is wrong, \
                 and neither is benched"
            );
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.alarms.push_back(v1::AuditAlarm {
                attempt: Some(attempt_ref(of)),
                first,
                other,
                files: differing.into_iter().take(NAMED_FILES).collect(),
                unix_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            });
            if self.alarms.len() > KEPT_ALARMS {
                self.alarms.pop_front();
            }
        } else if verdict == AuditVerdict::NotRepeatable {
            tracing::info!(attempt = %of, files = ?shown, "audit: the job does not write the same bytes twice");
        }
    }

    /// For people.
    #[must_use]
    pub fn told(&self) -> v1::Audits {
        v1::Audits { last_alarms: self.alarms.iter().cloned().collect(), ..self.told.clone() }
    }
}

/// What an outcome says was written, and how the command ended, in one number; `None` if it does not say.
#[must_use]
pub fn digest_of(outcome: &v1::Outcome) -> Option<Digest> {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    let exit = match outcome.exit?.how? {
        v1::exit_status::How::Code(code) => (0u8, code),
        v1::exit_status::How::Signal(signal) => (1, signal),
    };
    if outcome.digests.is_empty() && exit == (0, 0) {
        return None;
    }
    let start = fnv1a_more(fnv1a_more(START, &[exit.0]), &exit.1.to_le_bytes());
    let mut files: Vec<_> = outcome.digests.iter().collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Some(files.into_iter().fold(start, |sum, file| {
        let sum = fnv1a_more(sum, &(file.path.len() as u64).to_le_bytes());
        fnv1a_more(fnv1a_more(sum, &file.path), &file.digest)
    }))
}

/// The files that only one of the two wrote, or that are not the same.
fn differing(one: &[v1::FileDigest], other: &[v1::FileDigest]) -> Vec<bytes::Bytes> {
    let not_in = |them: &[v1::FileDigest], file: &v1::FileDigest| !them.contains(file);
    let ours = one.iter().filter(|file| not_in(other, file));
    let theirs = other.iter().filter(|file| not_in(one, file));
    let mut paths: Vec<_> = ours.chain(theirs).map(|file| file.path.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::WorkerId;

    const OF: Attempt = Attempt { job: JobId::from_bytes([1; 16]), number: 1 };

    fn offer(audits: &mut Audits) {
        audits.offer(OF.job, v1::Job { repeatable: true, ..v1::Job::default() });
    }

    fn outcome(worker: &str, files: &[(&str, u8)]) -> v1::Outcome {
        let file =
            |&(path, byte): &(&str, u8)| v1::FileDigest { path: path.to_owned().into(), digest: vec![byte; 32].into() };
        let exit = Some(v1::ExitStatus { how: Some(v1::exit_status::How::Code(0)) });
        let digests = files.iter().map(file).collect();
        v1::Outcome { worker: worker.to_owned(), exit, digests, ..Default::default() }
    }

    #[test]
    fn an_alarm_names_both_workers_and_the_files_that_differ() {
        let mut audits = Audits::new(AuditRate(1));
        offer(&mut audits);
        audits.keep(OF, &outcome("ash", &[("/m/a.d", 1), ("/m/a.o", 1)]));
        let shadow = Attempt { job: shadow_of(OF.job), number: 1 };
        assert!(audits.take(shadow, &outcome("elm", &[("/m/a.d", 1), ("/m/a.o", 2)])));
        // The first worker's own second run says nothing new.
        assert!(audits.take(shadow, &outcome("ash", &[("/m/a.d", 1), ("/m/a.o", 1)])));

        audits.end(OF, AuditVerdict::Differs { first: WorkerId::new(1), other: WorkerId::new(2) });

        let told = audits.told();
        assert_eq!((told.differing, told.same), (1, 0));
        let alarm = &told.last_alarms[0];
        assert_eq!((alarm.first.as_str(), alarm.other.as_str()), ("ash", "elm"));
        assert_eq!(alarm.files, ["/m/a.o"]);
        assert!(audits.job(OF).is_none());
    }

    #[test]
    fn the_last_alarms_are_kept_and_no_more() {
        let mut audits = Audits::new(AuditRate(1));
        for _ in 0..=KEPT_ALARMS {
            offer(&mut audits);
            audits.keep(OF, &outcome("ash", &[("a", 1)]));
            audits.take(Attempt { job: shadow_of(OF.job), number: 1 }, &outcome("elm", &[("a", 2)]));
            audits.end(OF, AuditVerdict::Differs { first: WorkerId::new(1), other: WorkerId::new(2) });
        }

        assert_eq!(audits.told().last_alarms.len(), KEPT_ALARMS);
    }

    #[test]
    fn one_number_stands_for_the_files_their_bytes_and_the_exit() {
        let one = outcome("ash", &[("a", 1), ("b", 2)]);
        let reordered = outcome("elm", &[("b", 2), ("a", 1)]);
        let failed =
            v1::Outcome { exit: Some(v1::ExitStatus { how: Some(v1::exit_status::How::Code(1)) }), ..one.clone() };

        assert_eq!(digest_of(&one), digest_of(&reordered));
        assert_ne!(digest_of(&one), digest_of(&outcome("ash", &[("a", 1), ("b", 3)])));
        assert_ne!(digest_of(&one), digest_of(&failed));
        assert_eq!(digest_of(&outcome("ash", &[])), None);
    }
}
