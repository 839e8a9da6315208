//! The ground truth: which commands really run, where, and whether others see what they write.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId};

/// A command that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) host: usize,
    pub(crate) attempt: Attempt,
    /// Nobody sees what it writes before it commits.
    pub(crate) isolated: bool,
    /// It commits when it is done, without asking.
    pub(crate) may_commit: bool,
}

/// Every command that runs, and what is known of those that ran.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    running: BTreeMap<JobId, Vec<Execution>>,
    on_host: BTreeMap<usize, u32>,
    completed: BTreeSet<Attempt>,
    begun: BTreeSet<JobId>,
    settled: BTreeSet<JobId>,
    count: u64,
    doubled: u64,
}

impl Executions {
    /// A command starts on a host with so many slots.
    pub(crate) fn on_begun(&mut self, begun: Execution, slots: u32, repeatable: bool) {
        let Execution { host, attempt, isolated, may_commit } = begun;
        assert!(isolated || may_commit, "{attempt} waits with its commit and is not isolated");
        let running = self.running.entry(attempt.job).or_default();
        running.push(begun);
        Self::check_commits(running);
        self.doubled += u64::from(running.len() > 1);
        let settled = self.settled.contains(&attempt.job);
        assert!(!settled || !may_commit, "{attempt} starts though its launcher was answered");
        let is_first = self.begun.insert(attempt.job);
        assert!(is_first || repeatable, "{attempt} starts a second time what cannot be repeated");
        let running = self.on_host.entry(host).or_default();
        *running += 1;
        assert!(*running <= slots, "host {host} runs {running} commands on {slots} slots");
        self.count += 1;
    }

    /// It may commit from now on, and is the only one that may.
    pub(crate) fn on_permitted(&mut self, attempt: Attempt) {
        assert!(!self.settled.contains(&attempt.job), "{attempt} may commit though its launcher was answered");
        let running = self.running.entry(attempt.job).or_default();
        let permitted = running.iter_mut().find(|execution| execution.attempt == attempt);
        let Some(permitted) = permitted else { panic!("{attempt} does not run and may commit") };
        permitted.may_commit = true;
        Self::check_commits(running);
    }

    /// What it wrote appears: the moment that leases are about.
    pub(crate) fn on_published(&self, host: usize, attempt: Attempt) {
        assert!(!self.settled.contains(&attempt.job), "{attempt} is published though its launcher was answered");
        let running = self.running.get(&attempt.job).map_or(&[][..], Vec::as_slice);
        let publishes = running.iter().find(|it| (it.host, it.attempt) == (host, attempt));
        assert!(publishes.is_some_and(|it| it.may_commit), "{attempt} is published and may not: {running:?}");
        Self::check_commits(running);
    }

    /// It stands still, and will execute nothing of its own when it goes on.
    pub(crate) fn on_fenced(&mut self, host: usize, attempt: Attempt) {
        let running = self.running.entry(attempt.job).or_default();
        let fenced = running.iter_mut().find(|it| (it.host, it.attempt) == (host, attempt));
        let Some(fenced) = fenced else { panic!("the simulation fences {attempt}, which does not run") };
        assert!(fenced.isolated, "{attempt} works in place and stands still");
        fenced.may_commit = false;
    }

    /// It ends, whyever.
    pub(crate) fn on_ended(&mut self, host: usize, attempt: Attempt, completed: bool) {
        let running = self.running.entry(attempt.job).or_default();
        let place = running.iter().position(|it| (it.host, it.attempt) == (host, attempt));
        let Some(place) = place else { panic!("the simulation ends {attempt}, which does not run") };
        let ended = running.remove(place);
        assert!(ended.may_commit || !completed, "{attempt} commits without permission");
        if running.is_empty() {
            self.running.remove(&attempt.job);
        }
        *self.on_host.entry(host).or_default() -= 1;
        if completed {
            self.completed.insert(attempt);
        }
    }

    /// The launcher has its answer: from now on nobody may write the job's outputs.
    pub(crate) fn on_settled(&mut self, job: JobId) {
        let running = self.running.get(&job).into_iter().flatten();
        let writing = running.filter(|execution| execution.may_commit).count();
        assert_eq!(writing, 0, "{job:?} is answered while it runs");
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

    /// Those of them that started while another attempt of their job ran.
    pub(crate) fn doubled(&self) -> u64 {
        self.doubled
    }

    /// Of the attempts of a job that run, one writes where others see it.
    fn check_commits(running: &[Execution]) {
        let writing = running.iter().filter(|execution| execution.may_commit || !execution.isolated).count();
        assert!(writing <= 1, "attempts of one job run at once and may both commit: {running:?}");
    }
}
