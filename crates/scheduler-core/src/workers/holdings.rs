//! What each worker has been given, or named when it registered, and has not ended. What is noted of these attempts is
//! noted with their jobs: [`crate::jobs::attempts`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use model::ids::{Attempt, DirKey, WorkerId};

use crate::idmap::IdMap;
use crate::jobs::{JobTable, Note};

#[derive(Debug, Default)]
struct Account {
    /// In the order of their being sent. What was sent first mostly ends first, and nobody else need move then.
    attempts: VecDeque<Attempt>,
    /// Where they write, once for each that does, in no order that means anything.
    dirs: Vec<DirKey>,
    reserved: u64,
}

impl Account {
    fn count(&self) -> (u32, u64) {
        (u32::try_from(self.attempts.len()).unwrap_or(u32::MAX), self.reserved)
    }
}

/// Attempts at workers.
#[derive(Debug)]
pub(crate) struct Holdings {
    by_worker: IdMap<WorkerId, Account>,
    /// Workers that write into each directory.
    writers: IdMap<DirKey, usize>,
}

impl Holdings {
    pub(crate) fn new(seed: u64) -> Self {
        Self { by_worker: IdMap::with_seed(seed), writers: IdMap::with_seed(seed) }
    }

    /// The attempt, which was not there before, is at the worker: what that has reserved for it and where it writes, its
    /// note says. Says what [`Self::count`] would.
    pub(crate) fn add(&mut self, worker: WorkerId, attempt: Attempt, memory: u64, dir: Option<DirKey>) -> (u32, u64) {
        let account = self.by_worker.get_or_insert_with(worker, Account::default);
        account.attempts.push_back(attempt);
        account.reserved = account.reserved.saturating_add(memory);
        if let Some(dir) = dir {
            if !account.dirs.contains(&dir) {
                *self.writers.get_or_insert_with(dir, || 0) += 1;
            }
            account.dirs.push(dir);
        }
        account.count()
    }

    /// Takes out an attempt, of which this was noted. Says what [`Self::count`] would.
    pub(crate) fn remove(&mut self, worker: WorkerId, attempt: Attempt, note: &Note) -> (u32, u64) {
        let Some(account) = self.by_worker.get_mut(worker) else { return (0, 0) };
        if account.attempts.front() == Some(&attempt) {
            account.attempts.pop_front();
        } else if let Some(place) = account.attempts.iter().position(|&other| other == attempt) {
            account.attempts.remove(place);
        }
        account.reserved = account.reserved.saturating_sub(note.memory);
        if let Some(dir) = note.dir {
            if let Some(place) = account.dirs.iter().position(|&other| other == dir) {
                account.dirs.swap_remove(place);
            }
            if !account.dirs.contains(&dir) {
                Self::stop_writing(&mut self.writers, dir);
            }
        }
        account.count()
    }

    /// Whether at least so many workers write into this directory, and this one does not.
    pub(crate) fn is_crowded(&self, dir: DirKey, most: usize, worker: WorkerId) -> bool {
        let writes = || self.by_worker.get(worker).is_some_and(|account| account.dirs.contains(&dir));
        self.writers.get(dir).is_some_and(|&writers| writers >= most) && !writes()
    }

    /// One worker less writes there.
    fn stop_writing(writers: &mut IdMap<DirKey, usize>, dir: DirKey) {
        writers.remove_if(dir, |writers| {
            *writers -= 1;
            *writers == 0
        });
    }

    /// What this worker was given, in the order of its being sent.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> impl DoubleEndedIterator<Item = Attempt> + '_ {
        self.by_worker.get(worker).into_iter().flat_map(|account| &account.attempts).copied()
    }

    fn holds_nothing(&self, worker: WorkerId) -> bool {
        self.by_worker.get(worker).is_none_or(|account| account.attempts.is_empty())
    }

    /// How many attempts are at a worker, and the bytes reserved for them.
    pub(crate) fn count(&self, worker: WorkerId) -> (u32, u64) {
        self.by_worker.get(worker).map_or((0, 0), Account::count)
    }

    /// Whoever holds something, in the order of their ids. Looks at all of them.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let workers = self.by_worker.sorted_keys().into_iter();
        workers.filter(|&worker| !self.holds_nothing(worker))
    }

    /// The worker is lost, and with it the account of what it held, which is nothing by now.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        if self.holds_nothing(worker) {
            self.by_worker.remove(worker);
        }
    }

    /// What is noted of attempts with their jobs and here agrees.
    pub(crate) fn check(&self, jobs: &JobTable) {
        let workers = self.by_worker.sorted_keys();
        let accounts = || workers.iter().filter_map(|&worker| Some((worker, self.by_worker.get(worker)?)));
        let listed: usize = accounts().map(|(_, account)| account.attempts.len()).sum();
        let held = jobs.held_jobs();
        let notes = || held.iter().flat_map(|&job| jobs.notes_of(job));
        assert_eq!(listed, notes().count(), "attempts by worker and by job");
        let mut written: Vec<_> = notes().filter_map(|note| Some((note.worker(), note.dir?))).collect();
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
            let notes = account.attempts.iter().map(|&attempt| jobs.note(worker, attempt));
            let reserved = notes.fold(0u64, |sum, note| match note {
                Some(note) => sum.saturating_add(note.memory),
                None => panic!("{worker:?} holds {account:?}"),
            });
            assert_eq!(reserved, account.reserved, "memory reserved at {worker:?}");
        }
    }
}
