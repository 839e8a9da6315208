//! Whether a failed attempt is followed by another: read from the failure's variant, never from its text.

use model::outcome::{AttemptFailure, Blame};

/// The rules, as far as they can be configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    pub(crate) max_attempts: u32,
    /// Workers that may be lost with a job before it is taken for what kills them.
    pub(crate) max_losses: u32,
}

/// What a job has been through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Attempts that failed so as to count ([`counts`]), the last one included.
    pub(crate) spent: u32,
    /// Workers that were lost with it.
    pub(crate) losses: u32,
    /// Workers that could not publish what it wrote.
    pub(crate) unpublished: u32,
    pub(crate) repeatable: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The job is queued again.
    Again {
        /// Not on the worker where it failed.
        avoid: bool,
    },
    /// The launcher is told; it decides what to do with the command.
    GiveUp,
}

impl RetryPolicy {
    /// Judges one failure of a job. `started` says that the attempt was seen to start, or may have without our hearing
    /// of it.
    ///
    /// A job that is not repeatable is given up as soon as its command may have done part of its work: a second
    /// execution would not do what one would have done. A lost worker's attempts are always under that suspicion,
    /// because the report of the start may have been lost with the worker.
    pub(crate) fn judge(self, failure: &AttemptFailure, record: Record, started: bool) -> Verdict {
        if !record.repeatable && may_have_begun(failure, started) {
            return Verdict::GiveUp;
        }
        match failure {
            AttemptFailure::HandedBack => Verdict::Again { avoid: false },
            _ if record.spent >= self.max_attempts => Verdict::GiveUp,
            AttemptFailure::WorkerLost if record.losses >= self.max_losses => Verdict::GiveUp,
            // Two that see the same shared filesystem fail alike: a third would too, and its user had better see the reason.
            AttemptFailure::CommitFailed(_) if record.unpublished >= 2 => Verdict::GiveUp,
            // The worker is not to blame for a lease that ran out in between.
            AttemptFailure::Cancelled => Verdict::Again { avoid: false },
            _ => Verdict::Again { avoid: true },
        }
    }
}

/// Whether the failure uses up one of the job's attempts. Only being handed back does not: a cancellation that nobody
/// asked for counts, so that a worker whose lease keeps running out cannot keep a job for ever.
pub(crate) fn counts(failure: &AttemptFailure) -> bool {
    failure.blame() != Blame::Nobody || *failure == AttemptFailure::Cancelled
}

/// Whether the command may have done part of its work when it failed like this.
pub(crate) fn may_have_begun(failure: &AttemptFailure, started: bool) -> bool {
    match failure {
        AttemptFailure::SpawnFailed(_)
        | AttemptFailure::InputsNotVisible(_)
        | AttemptFailure::Refused(_)
        | AttemptFailure::HandedBack => false,
        AttemptFailure::WorkerLost
        | AttemptFailure::OutOfMemory
        | AttemptFailure::KilledByStranger(_)
        | AttemptFailure::CommitFailed(_) => true,
        AttemptFailure::NoSpace(_) | AttemptFailure::Cancelled => started,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 3, max_losses: 2 };

    fn record(spent: u32, repeatable: bool) -> Record {
        Record { spent, losses: 0, unpublished: 0, repeatable }
    }

    #[test]
    fn a_machines_failure_is_tried_elsewhere_until_the_attempts_are_spent() {
        assert_eq!(POLICY.judge(&AttemptFailure::OutOfMemory, record(2, true), true), Verdict::Again { avoid: true });
        assert_eq!(POLICY.judge(&AttemptFailure::OutOfMemory, record(3, true), true), Verdict::GiveUp);
    }

    #[test]
    fn a_job_that_kills_its_workers_is_given_no_other() {
        let lethal = Record { losses: 2, ..record(2, true) };
        assert_eq!(POLICY.judge(&AttemptFailure::WorkerLost, lethal, true), Verdict::GiveUp);
        let unlucky = Record { losses: 1, ..record(2, true) };
        assert_eq!(POLICY.judge(&AttemptFailure::WorkerLost, unlucky, true), Verdict::Again { avoid: true });
    }

    #[test]
    fn what_two_workers_could_not_publish_is_not_tried_by_a_third() {
        let failure = AttemptFailure::CommitFailed("disk full".into());

        assert_eq!(
            POLICY.judge(&failure, Record { unpublished: 1, ..record(1, true) }, true),
            Verdict::Again { avoid: true }
        );
        assert_eq!(POLICY.judge(&failure, Record { unpublished: 2, ..record(2, true) }, true), Verdict::GiveUp);
        // Part of it may be published.
        assert_eq!(POLICY.judge(&failure, Record { unpublished: 1, ..record(1, false) }, true), Verdict::GiveUp);
    }

    #[test]
    fn being_handed_back_never_counts() {
        assert!(!counts(&AttemptFailure::HandedBack));
        assert_eq!(POLICY.judge(&AttemptFailure::HandedBack, record(9, false), false), Verdict::Again { avoid: false });
    }

    #[test]
    fn a_cancellation_counts_and_is_no_reason_to_avoid_the_worker() {
        assert!(counts(&AttemptFailure::Cancelled));
        assert_eq!(POLICY.judge(&AttemptFailure::Cancelled, record(1, true), true), Verdict::Again { avoid: false });
        assert_eq!(POLICY.judge(&AttemptFailure::Cancelled, record(3, true), true), Verdict::GiveUp);
    }

    #[test]
    fn what_cannot_be_repeated_is_given_up_once_it_may_have_begun() {
        assert_eq!(POLICY.judge(&AttemptFailure::WorkerLost, record(1, false), false), Verdict::GiveUp);
        assert_eq!(POLICY.judge(&AttemptFailure::Cancelled, record(1, false), true), Verdict::GiveUp);

        let unstarted = AttemptFailure::Refused("not here".into());
        assert_eq!(POLICY.judge(&unstarted, record(1, false), false), Verdict::Again { avoid: true });
    }
}
