//! Which attempts are at which worker, as far as we know: sent and not ended, or named by the worker when it
//! registered. Whatever stands here may be executing, and a job with an attempt here gets no other that may commit.

use alloc::vec::Vec;

use model::ids::{Attempt, DirKey, JobId, WorkerId};

use crate::idmap::IdMap;
use crate::input::Commit;

/// An attempt's number and its worker: after a restart of the server two workers may hold the same number.
pub(crate) type Live = (u32, WorkerId);

/// What is noted of an attempt at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    live: Live,
    /// A Cancel was ordered.
    cancelled: bool,
    /// What it writes is seen as it is written, though its worker isolates.
    in_place: bool,
    /// Whether it may commit when it is done, as far as it was told.
    commit: Commit,
    /// Bytes reserved for it.
    memory: u64,
    /// Where it writes.
    dir: Option<DirKey>,
}

/// The attempts of one job, in the order of their numbers and workers. Mostly there is one.
#[derive(Debug)]
struct Notes {
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

    /// Takes out one of several.
    fn remove(&mut self, live: Live) {
        if self.first.live == live {
            self.first = self.others.remove(0);
        } else {
            self.others.retain(|note| note.live != live);
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    /// In the order of their being sent.
    attempts: Vec<Attempt>,
    /// Where they write, once for each that does, in no order that means anything.
    dirs: Vec<DirKey>,
    reserved: u64,
}

/// Attempts at workers, by job and by worker.
#[derive(Debug)]
pub(crate) struct Holdings {
    by_job: IdMap<JobId, Notes>,
    by_worker: IdMap<WorkerId, Account>,
    /// Workers that write into each directory.
    writers: IdMap<DirKey, usize>,
}

impl Holdings {
    pub(crate) fn new(seed: u64) -> Self {
        let (by_job, by_worker) = (IdMap::with_seed(seed), IdMap::with_seed(seed));
        Self { by_job, by_worker, writers: IdMap::with_seed(seed) }
    }

    /// The attempt is at the worker, where so many bytes are reserved for it and it writes into that directory.
    pub(crate) fn add(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit, memory: u64, dir: Option<DirKey>) {
        let live = (attempt.number, worker);
        let note = Note { live, cancelled: false, in_place: false, commit, memory, dir };
        match self.by_job.get_mut(attempt.job) {
            Some(notes) => {
                if !notes.add(note) {
                    return;
                }
            }
            None => drop(self.by_job.insert(attempt.job, Notes { first: note, others: Vec::new() })),
        }
        let account = self.by_worker.get_or_insert_with(worker, Account::default);
        account.attempts.push(attempt);
        account.reserved = account.reserved.saturating_add(memory);
        if let Some(dir) = dir {
            if !account.dirs.contains(&dir) {
                *self.writers.get_or_insert_with(dir, || 0) += 1;
            }
            account.dirs.push(dir);
        }
    }

    /// Takes it out. If it was there: whether it had been cancelled.
    pub(crate) fn remove(&mut self, worker: WorkerId, attempt: Attempt) -> Option<bool> {
        let notes = self.by_job.get_mut(attempt.job)?;
        let live = (attempt.number, worker);
        let &mut note = notes.get_mut(live)?;
        if notes.others.is_empty() {
            self.by_job.remove(attempt.job);
        } else {
            notes.remove(live);
        }
        let Some(account) = self.by_worker.get_mut(worker) else { return Some(note.cancelled) };
        account.attempts.retain(|other| *other != attempt);
        account.reserved = account.reserved.saturating_sub(note.memory);
        if let Some(dir) = note.dir {
            if let Some(place) = account.dirs.iter().position(|&other| other == dir) {
                account.dirs.swap_remove(place);
            }
            if !account.dirs.contains(&dir) {
                self.stop_writing(dir);
            }
        }
        Some(note.cancelled)
    }

    /// Whether at least so many workers write into this directory, and this one does not.
    pub(crate) fn is_crowded(&self, dir: DirKey, most: usize, worker: WorkerId) -> bool {
        let writes = self.by_worker.get(worker).is_some_and(|account| account.dirs.contains(&dir));
        !writes && self.writers.get(dir).is_some_and(|&writers| writers >= most)
    }

    /// One worker less writes there.
    fn stop_writing(&mut self, dir: DirKey) {
        if let Some(writers) = self.writers.get_mut(dir) {
            *writers -= 1;
            if *writers == 0 {
                self.writers.remove(dir);
            }
        }
    }

    /// Notes that this attempt was cancelled; whether that is news.
    pub(crate) fn mark_cancelled(&mut self, worker: WorkerId, attempt: Attempt) -> bool {
        let notes = self.by_job.get_mut(attempt.job);
        let note = notes.and_then(|notes| notes.get_mut((attempt.number, worker)));
        note.is_some_and(|note| !core::mem::replace(&mut note.cancelled, true))
    }

    /// Notes that this attempt works in place.
    pub(crate) fn mark_in_place(&mut self, worker: WorkerId, attempt: Attempt) {
        let notes = self.by_job.get_mut(attempt.job);
        if let Some(note) = notes.and_then(|notes| notes.get_mut((attempt.number, worker))) {
            note.in_place = true;
        }
    }

    pub(crate) fn is_in_place(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.in_place)
    }

    /// What the attempt has been told of its commit.
    pub(crate) fn set_commit(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) {
        let notes = self.by_job.get_mut(attempt.job);
        if let Some(note) = notes.and_then(|notes| notes.get_mut((attempt.number, worker))) {
            note.commit = commit;
        }
    }

    /// Whether the attempt must not commit before it is told.
    pub(crate) fn awaits_permission(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.commit == Commit::WhenPermitted)
    }

    /// Whether an attempt of the job may be committing.
    pub(crate) fn may_commit(&self, job: JobId) -> bool {
        self.by_job.get(job).into_iter().flat_map(Notes::iter).any(|note| note.commit == Commit::WhenDone)
    }

    /// Whether nothing else of the job may be committing.
    pub(crate) fn only_it_may_commit(&self, worker: WorkerId, attempt: Attempt) -> bool {
        let notes = self.by_job.get(attempt.job).into_iter().flat_map(Notes::iter);
        let mut others = notes.filter(|note| note.live != (attempt.number, worker));
        others.all(|other| other.commit == Commit::WhenPermitted)
    }

    /// How many jobs have attempts at workers.
    pub(crate) fn jobs_held(&self) -> usize {
        self.by_job.len()
    }

    pub(crate) fn is_cancelled(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some_and(|note| note.cancelled)
    }

    pub(crate) fn contains(&self, worker: WorkerId, attempt: Attempt) -> bool {
        self.note(worker, attempt).is_some()
    }

    /// The attempts of a job that may be executing, by number, and whether a Cancel was ordered for each.
    pub(crate) fn of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = (Live, bool)> + '_ {
        self.by_job.get(job).into_iter().flat_map(Notes::iter).map(|note| (note.live, note.cancelled))
    }

    pub(crate) fn has_live(&self, job: JobId) -> bool {
        self.by_job.contains(job)
    }

    /// What this worker was given, in the order of its being sent.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> &[Attempt] {
        self.by_worker.get(worker).map_or(&[], |account| account.attempts.as_slice())
    }

    /// How many attempts are at a worker, and the bytes reserved for them.
    pub(crate) fn count(&self, worker: WorkerId) -> (u32, u64) {
        let Some(account) = self.by_worker.get(worker) else { return (0, 0) };
        (u32::try_from(account.attempts.len()).unwrap_or(u32::MAX), account.reserved)
    }

    /// Looks at all of them.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        self.by_job.sorted_keys()
    }

    /// Whoever holds something, in the order of their ids. Looks at all of them.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let workers = self.by_worker.sorted_keys().into_iter();
        workers.filter(|&worker| !self.of_worker(worker).is_empty())
    }

    /// The worker is lost, and with it the account of what it held, which is nothing by now.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        if self.of_worker(worker).is_empty() {
            self.by_worker.remove(worker);
        }
    }

    fn note(&self, worker: WorkerId, attempt: Attempt) -> Option<&Note> {
        self.by_job.get(attempt.job)?.iter().find(|note| note.live == (attempt.number, worker))
    }

    /// The two views agree.
    pub(crate) fn check(&self) {
        let workers = self.by_worker.sorted_keys();
        let accounts = || workers.iter().filter_map(|&worker| Some((worker, self.by_worker.get(worker)?)));
        let listed: usize = accounts().map(|(_, account)| account.attempts.len()).sum();
        let indexed: usize = self.jobs().iter().map(|&job| self.of_job(job).count()).sum();
        assert_eq!(listed, indexed, "attempts by worker and by job");
        let notes = self.jobs().into_iter().filter_map(|job| self.by_job.get(job)).flat_map(Notes::iter);
        let mut written: Vec<_> = notes.filter_map(|note| Some((note.live.1, note.dir?))).collect();
        written.sort_unstable();
        let of_account = |(worker, account): (WorkerId, &Account)| {
            account.dirs.iter().map(move |&dir| (worker, dir)).collect::<Vec<_>>()
        };
        let mut listed_dirs: Vec<_> = accounts().flat_map(of_account).collect();
        listed_dirs.sort_unstable();
        assert_eq!(written, listed_dirs, "where the attempts of workers write");
        written.dedup();
        let writers = self.writers.sorted_keys().into_iter().filter_map(|dir| self.writers.get(dir));
        assert_eq!(written.len(), writers.sum::<usize>(), "workers that write into directories");
        for (worker, account) in accounts() {
            let notes = account.attempts.iter().map(|&attempt| self.note(worker, attempt));
            let reserved = notes.fold(0u64, |sum, note| match note {
                Some(note) => sum.saturating_add(note.memory),
                None => panic!("{worker:?} holds {account:?}"),
            });
            assert_eq!(reserved, account.reserved, "memory reserved at {worker:?}");
        }
    }
}
