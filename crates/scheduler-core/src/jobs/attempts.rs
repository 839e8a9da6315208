//! Which attempts of a job may be executing somewhere, as far as we know: sent and not ended, or named by their workers
//! when they registered. A job with an attempt here gets no other that may commit. Those of a job that is present are
//! noted with it, because whoever looks at one looks at the other; those of other jobs, which are few, by themselves.
//! What each worker has of them is noted in [`crate::workers::holdings`].

use alloc::vec::Vec;

use model::ids::{Attempt, DirKey, JobId, WorkerId};

use super::table::{Job, JobTable};
use crate::input::Commit;

/// An attempt's number and its worker: after a restart of the server two workers may hold the same number.
pub(crate) type Live = (u32, WorkerId);

/// What is noted of an attempt at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    live: Live,
    /// A Cancel was ordered.
    pub(crate) cancelled: bool,
    /// What it writes is seen as it is written, though its worker isolates.
    in_place: bool,
    /// Whether it may commit when it is done, as far as it was told.
    commit: Commit,
    /// Bytes reserved for it.
    pub(crate) memory: u64,
    /// Where it writes.
    pub(crate) dir: Option<DirKey>,
}

impl Note {
    pub(crate) fn new(worker: WorkerId, attempt: Attempt, commit: Commit, memory: u64, dir: Option<DirKey>) -> Self {
        Self { live: (attempt.number, worker), cancelled: false, in_place: false, commit, memory, dir }
    }

    pub(crate) fn worker(&self) -> WorkerId {
        self.live.1
    }
}

/// The attempts of one job, in the order of their numbers and workers. Mostly there is one.
#[derive(Debug)]
pub(super) struct Notes {
    first: Note,
    others: Vec<Note>,
}

impl Notes {
    fn iter(&self) -> impl DoubleEndedIterator<Item = &Note> {
        core::iter::once(&self.first).chain(&self.others)
    }

    fn get_mut(&mut self, live: Live) -> Option<&mut Note> {
        core::iter::once(&mut self.first).chain(&mut self.others).find(|note| note.live == live)
    }

    /// Whether it was not there before.
    fn add(&mut self, mut note: Note) -> bool {
        if self.iter().any(|other| other.live == note.live) {
            return false;
        }
        if note.live < self.first.live {
            core::mem::swap(&mut note, &mut self.first);
        }
        let place = self.others.partition_point(|other| other.live < note.live);
        self.others.insert(place, note);
        true
    }
}

/// Takes a note out of those of a job, which are `None` when that was the last.
fn take(notes: &mut Option<Notes>, live: Live) -> Option<Note> {
    let all = notes.as_mut()?;
    let note = *all.get_mut(live)?;
    match (all.first.live == live, all.others.is_empty()) {
        (true, true) => *notes = None,
        (true, false) => all.first = all.others.remove(0),
        (false, _) => all.others.retain(|other| other.live != live),
    }
    Some(note)
}

impl JobTable {
    /// The attempt may be executing from now on. Whether that is news.
    pub(crate) fn add_attempt(&mut self, job: JobId, note: Note) -> bool {
        let alone = || Notes { first: note, others: Vec::new() };
        let (is_first, is_news) = match self.get_mut(job) {
            Some(Job { attempts: Some(notes), .. }) => (false, notes.add(note)),
            Some(job) => (job.attempts.replace(alone()).is_none(), true),
            None => match self.strays.get_mut(job) {
                Some(notes) => (false, notes.add(note)),
                None => (self.strays.insert(job, alone()).is_none(), true),
            },
        };
        self.held += usize::from(is_first);
        is_news
    }

    /// The attempt is not executing any more. What was noted of it, if it was.
    pub(crate) fn remove_attempt(&mut self, worker: WorkerId, attempt: Attempt) -> Option<Note> {
        let live = (attempt.number, worker);
        let (note, is_over) = match self.get_mut(attempt.job) {
            Some(job) => (take(&mut job.attempts, live), job.attempts.is_none()),
            None => {
                let mut notes = self.strays.remove(attempt.job);
                let note = take(&mut notes, live);
                let is_over = notes.is_none();
                notes.map(|notes| self.strays.insert(attempt.job, notes));
                (note, is_over)
            }
        };
        self.held -= usize::from(note.is_some() && is_over);
        note
    }

    /// Notes that this attempt was cancelled; whether that is news.
    pub(crate) fn mark_cancelled(&mut self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note_mut(worker, attempt).is_some_and(|note| !core::mem::replace(&mut note.cancelled, true))
    }

    /// Notes that this attempt works in place.
    pub(crate) fn mark_in_place(&mut self, worker: WorkerId, attempt: Attempt) {
        if let Some(note) = self.note_mut(worker, attempt) {
            note.in_place = true;
        }
    }

    pub(crate) fn is_in_place(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.in_place)
    }

    /// What the attempt has been told of its commit.
    pub(crate) fn set_commit(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) {
        if let Some(note) = self.note_mut(worker, attempt) {
            note.commit = commit;
        }
    }

    /// Whether the attempt must not commit before it is told.
    pub(crate) fn awaits_permission(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.commit == Commit::WhenPermitted)
    }

    /// Whether an attempt of the job may be committing.
    pub(crate) fn may_commit(&self, job: JobId) -> bool {
        self.notes_of(job).any(|note| note.commit == Commit::WhenDone)
    }

    /// Whether nothing else of the job may be committing.
    pub(crate) fn only_it_may_commit(&self, worker: WorkerId, attempt: Attempt) -> bool {
        let mut others = self.notes_of(attempt.job).filter(|note| note.live != (attempt.number, worker));
        others.all(|other| other.commit == Commit::WhenPermitted)
    }

    pub(crate) fn is_cancelled(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.cancelled)
    }

    pub(crate) fn has_attempt(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some()
    }

    /// The attempts of a job that may be executing, by number, and whether a Cancel was ordered for each.
    pub(crate) fn attempts_of(&self, job: JobId) -> impl DoubleEndedIterator<Item = (Live, bool)> + '_ {
        self.notes_of(job).map(|note| (note.live, note.cancelled))
    }

    pub(crate) fn has_live(&self, job: JobId) -> bool {
        self.notes(job).is_some()
    }

    /// Whether any attempt of a job that is not present may be executing.
    pub(crate) fn has_strays(&self, job: JobId) -> bool {
        self.strays.get(job).is_some()
    }

    /// How many jobs have attempts at workers.
    pub(crate) fn jobs_held(&self) -> usize {
        self.held
    }

    /// The jobs that have attempts at workers, in the order of their ids. Looks at all jobs.
    pub(crate) fn held_jobs(&self) -> Vec<JobId> {
        let mut held = self.ids_where(|job| job.attempts.is_some());
        held.extend(self.strays.sorted_keys());
        held.sort_unstable();
        held
    }

    pub(crate) fn note(&self, worker: WorkerId, attempt: Attempt) -> Option<&Note> {
        self.notes_of(attempt.job).find(|note| note.live == (attempt.number, worker))
    }

    pub(crate) fn notes_of(&self, job: JobId) -> impl DoubleEndedIterator<Item = &Note> {
        self.notes(job).into_iter().flat_map(Notes::iter)
    }

    fn notes(&self, job: JobId) -> Option<&Notes> {
        match self.get(job) {
            Some(job) => job.attempts.as_ref(),
            None => self.strays.get(job),
        }
    }

    fn notes_mut(&mut self, id: JobId) -> Option<&mut Notes> {
        if self.get(id).is_some() {
            return self.get_mut(id).and_then(|job| job.attempts.as_mut());
        }
        self.strays.get_mut(id)
    }

    fn note_mut(&mut self, worker: WorkerId, attempt: Attempt) -> Option<&mut Note> {
        self.notes_mut(attempt.job).and_then(|notes| notes.get_mut((attempt.number, worker)))
    }

    /// Attempts are noted with their jobs where these are present, and counted.
    pub(crate) fn check_attempts(&self) {
        let astray = self.strays.sorted_keys();
        assert!(astray.iter().all(|&id| self.get(id).is_none()), "attempts of present jobs are noted elsewhere");
        assert_eq!(self.held_jobs().len(), self.held, "jobs with attempts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId::from_bytes([1; 16]);

    /// Number and worker of each.
    type Numbers = Vec<(u32, u32)>;

    fn add(jobs: &mut JobTable, (number, worker): (u32, u32)) -> bool {
        let attempt = Attempt { job: JOB, number };
        jobs.add_attempt(JOB, Note::new(WorkerId::new(worker), attempt, Commit::WhenDone, 0, None))
    }

    fn noted(jobs: &JobTable) -> Numbers {
        jobs.attempts_of(JOB).map(|((number, worker), _)| (number, worker.number())).collect()
    }

    #[test]
    fn attempts_are_told_by_number_and_worker_in_whichever_order_they_came() {
        let mut jobs = JobTable::new(7);

        let are_news = [(2, 1), (4, 1), (1, 2), (3, 1), (1, 1), (3, 1)].map(|it| add(&mut jobs, it));

        assert_eq!(noted(&jobs), [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(are_news, [true, true, true, true, true, false]);
    }

    #[test]
    fn whichever_attempt_ends_the_others_are_left() {
        let all = [(1, 1), (1, 2), (2, 1)];
        for ended in all {
            let mut jobs = JobTable::new(7);
            all.into_iter().for_each(|it| assert!(add(&mut jobs, it)));
            let mut end = |(number, worker)| jobs.remove_attempt(WorkerId::new(worker), Attempt { job: JOB, number });

            assert!(end(ended).is_some());
            assert!(end(ended).is_none(), "it has ended already");

            let left: Numbers = all.into_iter().filter(|&it| it != ended).collect();
            assert_eq!((noted(&jobs), jobs.jobs_held()), (left, 1));
        }
    }

    #[test]
    fn an_attempt_that_is_permitted_to_commit_may() {
        let (mut jobs, worker, attempt) = (JobTable::new(7), WorkerId::new(1), Attempt { job: JOB, number: 1 });
        jobs.add_attempt(JOB, Note::new(worker, attempt, Commit::WhenPermitted, 0, None));
        let told = |jobs: &JobTable| (jobs.awaits_permission(worker, attempt), jobs.may_commit(JOB));
        assert_eq!(told(&jobs), (true, false));

        jobs.set_commit(worker, attempt, Commit::WhenDone);

        assert_eq!(told(&jobs), (false, true));
    }
}
