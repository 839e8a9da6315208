//! All jobs by id, and which of them each launcher waits for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};
use model::job::JobFacts;
use model::outcome::AttemptFailure;

use super::state::{Hold, JobState};
use crate::input::ClientId;
use crate::workers::ClassId;

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    /// Who asked last, and is answered while the job is open.
    client: ClientId,
    pub(crate) facts: JobFacts,
    state: JobState,
    /// The class of its demands.
    pub(crate) class: ClassId,
    /// The highest number that any attempt of it had; 0 before the first.
    pub(crate) last_number: u32,
    /// Attempts that failed so as to count.
    pub(crate) spent: u32,
    /// Workers on which it failed.
    pub(crate) tried: Vec<WorkerId>,
    pub(crate) last_failure: Option<AttemptFailure>,
    /// An attempt may have done part of the command's work: fatal for what is not repeatable.
    pub(crate) half_done: bool,
    /// It came from an earlier server while workers of that server could still turn up with attempts of it.
    pub(crate) inherited: bool,
}

impl Job {
    pub(crate) fn new(client: ClientId, facts: JobFacts, class: ClassId, last_number: u32) -> Self {
        let state = JobState::AwaitingAdoption;
        let (tried, last_failure) = (Vec::new(), None);
        Self {
            client,
            facts,
            state,
            class,
            last_number,
            spent: 0,
            tried,
            last_failure,
            half_done: false,
            inherited: false,
        }
    }

    pub(crate) fn client(&self) -> ClientId {
        self.client
    }

    pub(crate) fn state(&self) -> &JobState {
        &self.state
    }

    /// The current attempt, if there is one.
    pub(crate) fn hold(&self) -> Option<Hold> {
        if let JobState::Held(hold) = self.state { Some(hold) } else { None }
    }
}

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct JobTable {
    jobs: BTreeMap<JobId, Job>,
    /// Open jobs only.
    by_client: BTreeMap<ClientId, BTreeSet<JobId>>,
}

impl JobTable {
    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// For the fields that change without a change of state.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, id: JobId, job: Job) {
        self.open(job.client, id);
        self.jobs.insert(id, job);
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.close(job.client, id);
        Some(job)
    }

    /// Moves the job on.
    ///
    /// # Panics
    /// In debug builds, if the move is not a legal one: that is a bug of the scheduler.
    pub(crate) fn move_to(&mut self, id: JobId, next: JobState) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        debug_assert!(job.state.may_become(&next), "{id:?} cannot go from {:?} to {next:?}", job.state);
        job.state = next;
        let (client, is_open) = (job.client, job.state.is_open());
        if is_open { self.open(client, id) } else { self.close(client, id) }
    }

    /// From now on the job is answered to this launcher.
    pub(crate) fn hand_to(&mut self, id: JobId, client: ClientId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let before = core::mem::replace(&mut job.client, client);
        let is_open = job.state.is_open();
        self.close(before, id);
        if is_open {
            self.open(client, id);
        }
    }

    /// The jobs that this launcher waits for.
    pub(crate) fn open_of(&self, client: ClientId) -> Vec<JobId> {
        self.by_client.get(&client).into_iter().flatten().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(&id, job)| (id, job))
    }

    pub(crate) fn ids_where(&self, wanted: impl Fn(&Job) -> bool) -> Vec<JobId> {
        self.iter().filter(|(_, job)| wanted(job)).map(|(id, _)| id).collect()
    }

    fn open(&mut self, client: ClientId, id: JobId) {
        self.by_client.entry(client).or_default().insert(id);
    }

    fn close(&mut self, client: ClientId, id: JobId) {
        if let Some(open) = self.by_client.get_mut(&client) {
            open.remove(&id);
            if open.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }

    /// Each launcher's list holds exactly its open jobs.
    pub(crate) fn check(&self) {
        let listed: usize = self.by_client.values().map(BTreeSet::len).sum();
        let open = self.iter().filter(|(_, job)| job.state.is_open());
        let found = open.filter(|(id, job)| self.by_client.get(&job.client).is_some_and(|list| list.contains(id)));
        assert_eq!(listed, found.count(), "open jobs by launcher");
        assert_eq!(listed, self.iter().filter(|(_, job)| job.state.is_open()).count(), "open jobs");
    }
}
