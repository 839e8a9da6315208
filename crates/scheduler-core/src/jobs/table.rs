//! All jobs that anybody may still name, by id, and which of them each launcher waits for. One table: a job that comes,
//! is answered and is forgotten by and by is looked up in one place, and not where it might be too.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};
use model::time::Timestamp;

use super::attempts::Notes;
use super::facts::KeptFacts;
use super::state::{Hold, JobState, Progress};
use super::troubles::Troubles;
use crate::explain::Placement;
use crate::history::Prediction;
use crate::idmap::IdMap;
use crate::input::ClientId;
use crate::locality::Missing;
use crate::queue::ready::{Charge, Place};
use crate::retention::Receipt;
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

/// One job that was neither answered nor taken back.
#[derive(Debug)]
pub(crate) struct Job {
    /// Who asked last, and is answered while the job is open.
    client: ClientId,
    /// The jobs before and after it in the launcher's list, while it is open.
    neighbours: Neighbours,
    pub(crate) facts: KeptFacts,
    state: JobState,
    /// Its attempts that may be executing.
    pub(super) attempts: Option<Notes>,
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
    troubles: Option<Box<Troubles>>,
    /// An attempt may have done part of the command's work: fatal for what is not repeatable.
    pub(crate) half_done: bool,
    /// It came from an earlier server while workers of that server could still turn up with attempts of it.
    pub(crate) inherited: bool,
}

impl Job {
    pub(crate) fn new(client: ClientId, facts: KeptFacts, prediction: Prediction, arrived: Timestamp) -> Self {
        Self {
            client,
            neighbours: Neighbours::default(),
            facts,
            state: JobState::AwaitingAdoption,
            attempts: None,
            class: None,
            prediction,
            arrived,
            place: None,
            turn: None,
            last_number: 0,
            troubles: None,
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

    /// What went wrong with it.
    pub(crate) fn troubles(&self) -> &Troubles {
        self.troubles.as_deref().unwrap_or(Troubles::NONE)
    }

    pub(crate) fn troubles_mut(&mut self) -> &mut Troubles {
        self.troubles.get_or_insert_default()
    }

    /// Who is under suspicion for it is not any more.
    pub(crate) fn take_suspect(&mut self) -> Option<WorkerId> {
        self.troubles.as_mut()?.suspect.take()
    }

    /// Whether any attempt of it may be executing.
    pub(crate) fn has_attempts(&self) -> bool {
        self.attempts.is_some()
    }

    /// It waits in the queue from now on, in this place.
    pub(crate) fn line_up(&mut self, place: Place) {
        debug_assert!(self.state == JobState::Waiting || self.state.may_become(&JobState::Waiting), "{:?}", self.state);
        self.state = JobState::Waiting;
        self.place = Some(place);
    }

    /// It has left the queue for a worker, with the next number.
    pub(crate) fn send_to(&mut self, worker: WorkerId, placement: Placement) -> Hold {
        self.last_number += 1;
        let hold = Hold { worker, number: self.last_number, progress: Progress::Sent, placement };
        debug_assert!(self.state.may_become(&JobState::Held(hold)), "{:?}", self.state);
        self.state = JobState::Held(hold);
        hold
    }

    /// The current attempt, if there is one.
    pub(crate) fn hold(&self) -> Option<Hold> {
        if let JobState::Held(hold) = self.state { Some(hold) } else { None }
    }
}

/// What is known of a job that was answered or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It was answered, and that is kept.
    Answered(Receipt),
    /// It is forgotten, but for the highest number that any attempt of it had, and that until then.
    Buried { until: Timestamp, last_number: u32 },
}

/// What is known of a job.
#[derive(Debug)]
pub(crate) enum Known {
    Present(Box<Job>),
    Past(Past),
}

/// All jobs.
#[derive(Debug)]
pub(crate) struct JobTable {
    known: IdMap<JobId, Known>,
    /// The first of the open jobs of each; the others follow by their neighbours.
    by_client: IdMap<ClientId, JobId>,
    /// Attempts that may be executing of jobs that are not present.
    pub(super) strays: IdMap<JobId, Notes>,
    /// How many jobs have attempts that may be executing.
    pub(super) held: usize,
}

impl JobTable {
    pub(crate) fn new(seed: u64) -> Self {
        let (known, by_client, strays) = (IdMap::with_seed(seed), IdMap::with_seed(seed), IdMap::with_seed(seed));
        Self { known, by_client, strays, held: 0 }
    }

    pub(crate) fn known(&self, id: JobId) -> Option<&Known> {
        self.known.get(id)
    }

    /// The job, unless it was answered or taken back.
    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        if let Known::Present(job) = self.known.get(id)? { Some(job) } else { None }
    }

    /// For the fields that change without a change of state.
    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        if let Known::Present(job) = self.known.get_mut(id)? { Some(job) } else { None }
    }

    /// What there is to know of a job that was answered or taken back.
    pub(crate) fn past(&self, id: JobId) -> Option<Past> {
        if let Known::Past(past) = self.known.get(id)? { Some(*past) } else { None }
    }

    /// A job that is not present: what was known of it before is known no more.
    pub(crate) fn insert(&mut self, id: JobId, mut job: Box<Job>) {
        job.neighbours = self.head_list(job.client, id);
        job.attempts = self.strays.remove(id);
        self.known.insert(id, Known::Present(job));
    }

    /// The job leaves. Of it is known from now on what `past` says, if anything.
    pub(crate) fn remove(&mut self, id: JobId, past: impl FnOnce(&Job) -> Option<Past>) -> Option<Box<Job>> {
        let mut replaced = None;
        let removed = self.known.remove_if(id, |known| {
            let Known::Present(job) = known else { return false };
            let Some(past) = past(job) else { return true };
            replaced = Some(core::mem::replace(known, Known::Past(past)));
            false
        });
        let Known::Present(mut job) = replaced.or(removed)? else { return None };
        if let Some(astray) = job.attempts.take() {
            self.strays.insert(id, astray);
        }
        if job.state.is_open() {
            self.close_gap(job.client, job.neighbours);
        }
        Some(job)
    }

    /// Changes what is known of a job that was answered or taken back; `None` forgets it.
    pub(crate) fn revise(&mut self, id: JobId, change: impl FnOnce(Past) -> Option<Past>) {
        self.known.remove_if(id, |known| {
            let Known::Past(past) = known else { return false };
            let changed = change(*past);
            *past = changed.unwrap_or(*past);
            changed.is_none()
        });
    }

    /// Moves the job on.
    ///
    /// # Panics
    /// In debug builds, if the move is not a legal one: that is a bug of the scheduler.
    pub(crate) fn move_to(&mut self, id: JobId, next: JobState) {
        let Some(job) = self.get_mut(id) else { return };
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
        self.known.sorted_keys().into_iter().filter_map(|id| self.get(id).map(|job| (id, job)))
    }

    /// What is known of those that were answered or taken back, in the order of their ids.
    pub(crate) fn pasts(&self) -> impl Iterator<Item = (JobId, Past)> {
        self.known.sorted_keys().into_iter().filter_map(|id| self.past(id).map(|past| (id, past)))
    }

    pub(crate) fn ids_where(&self, wanted: impl Fn(&Job) -> bool) -> Vec<JobId> {
        self.iter().filter(|(_, job)| wanted(job)).map(|(id, _)| id).collect()
    }

    /// The launchers' lists hold exactly their open jobs.
    pub(crate) fn check(&self) {
        self.check_attempts();
        let open = self.iter().filter(|(_, job)| job.state.is_open()).map(|(id, job)| (job.client, id));
        let clients = self.by_client.sorted_keys().into_iter();
        let listed = clients.flat_map(|client| self.open_of(client).into_iter().map(move |id| (client, id)));
        assert!(open.collect::<BTreeSet<_>>().into_iter().eq(listed), "open jobs by launcher");
    }
}
