//! All jobs by id, and which of them each launcher waits for.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};
use model::job::JobFacts;
use model::outcome::AttemptFailure;
use model::time::Timestamp;

use super::state::{Hold, JobState};
use crate::history::Prediction;
use crate::idmap::IdMap;
use crate::input::ClientId;
use crate::queue::ready::Charge;
use crate::workers::ClassId;

/// A job's time at a worker, for which its user pays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) charge: Charge,
    /// When it was sent, or started if that was heard.
    pub(crate) began: Timestamp,
    pub(crate) started: bool,
}

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    /// Who asked last, and is answered while the job is open.
    client: ClientId,
    pub(crate) facts: JobFacts,
    state: JobState,
    /// The class of its demands; `None` when it is done and demands nothing any more.
    pub(crate) class: Option<ClassId>,
    /// What is expected of it.
    pub(crate) prediction: Prediction,
    /// When it was submitted.
    pub(crate) arrived: Timestamp,
    /// Its present turn, if it has one.
    pub(crate) turn: Option<Turn>,
    /// The highest number that any attempt of it had; 0 before the first.
    pub(crate) last_number: u32,
    /// Attempts that failed so as to count.
    pub(crate) spent: u32,
    /// Workers on which it failed.
    pub(crate) tried: Vec<WorkerId>,
    /// Of these, the one that is under suspicion for it: the first that failed it, as long as no other did.
    pub(crate) suspect: Option<WorkerId>,
    /// Workers that were lost with it.
    pub(crate) losses: u32,
    pub(crate) last_failure: Option<AttemptFailure>,
    /// An attempt may have done part of the command's work: fatal for what is not repeatable.
    pub(crate) half_done: bool,
    /// It came from an earlier server while workers of that server could still turn up with attempts of it.
    pub(crate) inherited: bool,
}

impl Job {
    pub(crate) fn new(client: ClientId, facts: JobFacts, prediction: Prediction, arrived: Timestamp) -> Self {
        Self {
            client,
            facts,
            state: JobState::AwaitingAdoption,
            class: None,
            prediction,
            arrived,
            turn: None,
            last_number: 0,
            spent: 0,
            tried: Vec::new(),
            suspect: None,
            losses: 0,
            last_failure: None,
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
#[derive(Debug)]
pub(crate) struct JobTable {
    jobs: IdMap<JobId, Box<Job>>,
    /// Open jobs only.
    by_client: BTreeSet<(ClientId, JobId)>,
}

impl JobTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self { jobs: IdMap::with_seed(seed), by_client: BTreeSet::new() }
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id).map(Box::as_ref)
    }

    /// For the fields that change without a change of state.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id).map(Box::as_mut)
    }

    pub(crate) fn insert(&mut self, id: JobId, job: Job) {
        self.by_client.insert((job.client, id));
        self.jobs.insert(id, Box::new(job));
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(id)?;
        self.by_client.remove(&(job.client, id));
        Some(*job)
    }

    /// Moves the job on.
    ///
    /// # Panics
    /// In debug builds, if the move is not a legal one: that is a bug of the scheduler.
    pub(crate) fn move_to(&mut self, id: JobId, next: JobState) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        debug_assert!(job.state.may_become(&next), "{id:?} cannot go from {:?} to {next:?}", job.state);
        let was_open = job.state.is_open();
        job.state = next;
        match (was_open, job.state.is_open()) {
            (true, false) => {
                self.by_client.remove(&(job.client, id));
            }
            (false, true) => {
                self.by_client.insert((job.client, id));
            }
            _ => {}
        }
    }

    /// From now on the job is answered to this launcher.
    pub(crate) fn hand_to(&mut self, id: JobId, client: ClientId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let before = core::mem::replace(&mut job.client, client);
        self.by_client.remove(&(before, id));
        if job.state.is_open() {
            self.by_client.insert((client, id));
        }
    }

    /// The jobs that this launcher waits for.
    pub(crate) fn open_of(&self, client: ClientId) -> Vec<JobId> {
        let (first, last) = (JobId::from_bytes([0; 16]), JobId::from_bytes([0xff; 16]));
        self.by_client.range((client, first)..=(client, last)).map(|&(_, id)| id).collect()
    }

    /// All jobs, in the order of their ids. Costs a sorted list of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.sorted_keys().into_iter().filter_map(|id| self.get(id).map(|job| (id, job)))
    }

    pub(crate) fn ids_where(&self, wanted: impl Fn(&Job) -> bool) -> Vec<JobId> {
        self.iter().filter(|(_, job)| wanted(job)).map(|(id, _)| id).collect()
    }

    /// The launchers' lists hold exactly their open jobs.
    pub(crate) fn check(&self) {
        let open = self.iter().filter(|(_, job)| job.state.is_open()).map(|(id, job)| (job.client, id));
        assert!(open.collect::<BTreeSet<_>>() == self.by_client, "open jobs by launcher");
    }
}
