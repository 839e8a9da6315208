//! All jobs that are not answered yet, by id, and which of them each launcher waits for.

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
use crate::locality::Missing;
use crate::queue::ready::{Charge, Place};
use crate::workers::ClassId;

/// A job's time at a worker, for which its user pays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) charge: Charge,
    /// When it was sent, or started if that was heard.
    pub(crate) began: Timestamp,
    pub(crate) started: bool,
    /// Directories that its worker was believed not to have touched before.
    pub(crate) missing: Missing,
}

/// A place in a list that runs through the jobs.
#[derive(Clone, Copy, Debug, Default)]
struct Neighbours {
    before: Option<JobId>,
    after: Option<JobId>,
}

/// One job that is not answered yet.
#[derive(Debug)]
pub(crate) struct Job {
    /// Who asked last, and is answered while the job is open.
    client: ClientId,
    /// The jobs before and after it in the launcher's list, while it is open.
    neighbours: Neighbours,
    pub(crate) facts: JobFacts,
    state: JobState,
    /// The class of its demands; `None` when it demands nothing any more.
    pub(crate) class: Option<ClassId>,
    /// What is expected of it.
    pub(crate) prediction: Prediction,
    /// When it was submitted.
    pub(crate) arrived: Timestamp,
    /// Where it stands in the queue, while it waits there.
    pub(crate) place: Option<Place>,
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
    /// Workers that could not publish what it wrote.
    pub(crate) unpublished: u32,
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
            neighbours: Neighbours::default(),
            facts,
            state: JobState::AwaitingAdoption,
            class: None,
            prediction,
            arrived,
            place: None,
            turn: None,
            last_number: 0,
            spent: 0,
            tried: Vec::new(),
            suspect: None,
            losses: 0,
            unpublished: 0,
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
    /// The first of the open jobs of each; the others follow by their neighbours.
    by_client: IdMap<ClientId, JobId>,
}

impl JobTable {
    pub(crate) fn new(seed: u64) -> Self {
        Self { jobs: IdMap::with_seed(seed), by_client: IdMap::with_seed(seed) }
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id).map(Box::as_ref)
    }

    /// For the fields that change without a change of state.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id).map(Box::as_mut)
    }

    pub(crate) fn insert(&mut self, id: JobId, mut job: Box<Job>) {
        job.neighbours = self.head_list(job.client, id);
        self.jobs.insert(id, job);
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<Box<Job>> {
        let job = self.jobs.remove(id)?;
        if job.state.is_open() {
            self.close_gap(job.client, job.neighbours);
        }
        Some(job)
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
        let client = job.client;
        match (was_open, job.state.is_open()) {
            (true, false) => self.unlink(id),
            (false, true) => self.link(client, id),
            _ => {}
        }
    }

    /// From now on the job is answered to this launcher.
    pub(crate) fn hand_to(&mut self, id: JobId, client: ClientId) {
        let Some(is_open) = self.get(id).map(|job| job.state.is_open()) else { return };
        if is_open {
            self.unlink(id);
        }
        if let Some(job) = self.get_mut(id) {
            job.client = client;
        }
        if is_open {
            self.link(client, id);
        }
    }

    /// The jobs that this launcher waits for, in the order of their ids.
    pub(crate) fn open_of(&self, client: ClientId) -> Vec<JobId> {
        let first = self.by_client.get(client).copied();
        let after = |&id: &JobId| self.get(id).and_then(|job| job.neighbours.after);
        let mut open: Vec<_> = core::iter::successors(first, after).collect();
        open.sort_unstable();
        open
    }

    fn link(&mut self, client: ClientId, id: JobId) {
        let neighbours = self.head_list(client, id);
        if let Some(job) = self.get_mut(id) {
            job.neighbours = neighbours;
        }
    }

    fn unlink(&mut self, id: JobId) {
        let Some(job) = self.get_mut(id) else { return };
        let (client, neighbours) = (job.client, core::mem::take(&mut job.neighbours));
        self.close_gap(client, neighbours);
    }

    /// Puts the job at the front of the launcher's list. Says who its neighbours are.
    fn head_list(&mut self, client: ClientId, id: JobId) -> Neighbours {
        let after = self.by_client.insert(client, id);
        if let Some(after) = after.and_then(|after| self.get_mut(after)) {
            after.neighbours.before = Some(id);
        }
        Neighbours { before: None, after }
    }

    /// The job between these leaves the launcher's list.
    fn close_gap(&mut self, client: ClientId, Neighbours { before, after }: Neighbours) {
        if let Some(after) = after.and_then(|after| self.get_mut(after)) {
            after.neighbours.before = before;
        }
        match (before, after) {
            (Some(before), _) => {
                if let Some(before) = self.get_mut(before) {
                    before.neighbours.after = after;
                }
            }
            (None, Some(after)) => {
                self.by_client.insert(client, after);
            }
            (None, None) => {
                self.by_client.remove(client);
            }
        }
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
        let clients = self.by_client.sorted_keys().into_iter();
        let listed = clients.flat_map(|client| self.open_of(client).into_iter().map(move |id| (client, id)));
        assert!(open.collect::<BTreeSet<_>>().into_iter().eq(listed), "open jobs by launcher");
    }
}
