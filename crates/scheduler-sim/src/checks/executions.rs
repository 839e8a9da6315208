//! The ground truth: which commands really run, where.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId};

/// Every command that runs, and what is known of those that ran.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    running: BTreeMap<JobId, (usize, Attempt)>,
    on_host: BTreeMap<usize, u32>,
    completed: BTreeSet<Attempt>,
    begun: BTreeSet<JobId>,
    settled: BTreeSet<JobId>,
    count: u64,
}

impl Executions {
    /// A command starts on a host with so many slots.
    pub(crate) fn on_begun(&mut self, host: usize, slots: u32, attempt: Attempt, repeatable: bool) {
        let other = self.running.insert(attempt.job, (host, attempt));
        assert_eq!(other, None, "{attempt} starts on host {host} while another attempt of the job runs");
        assert!(!self.settled.contains(&attempt.job), "{attempt} starts though its launcher was answered");
        let is_first = self.begun.insert(attempt.job);
        assert!(is_first || repeatable, "{attempt} starts a second time what cannot be repeated");
        let running = self.on_host.entry(host).or_default();
        *running += 1;
        assert!(*running <= slots, "host {host} runs {running} commands on {slots} slots");
        self.count += 1;
    }

    /// It ends, whyever.
    pub(crate) fn on_ended(&mut self, host: usize, attempt: Attempt, completed: bool) {
        let ended = self.running.remove(&attempt.job);
        assert_eq!(ended, Some((host, attempt)), "the simulation ends what does not run");
        *self.on_host.entry(host).or_default() -= 1;
        if completed {
            self.completed.insert(attempt);
        }
    }

    /// The launcher has its answer: from now on nobody may write the job's outputs.
    pub(crate) fn on_settled(&mut self, job: JobId) {
        assert_eq!(self.running.get(&job), None, "{job:?} is answered while it runs");
        self.settled.insert(job);
    }

    pub(crate) fn has_completed(&self, attempt: Attempt) -> bool {
        self.completed.contains(&attempt)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.running.is_empty()
    }

    /// Commands started so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
