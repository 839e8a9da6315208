//! Which worker is warm for which directories. Memory is bounded: so many directories a worker, the coldest go first.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::ids::{DirKey, WorkerId};

use crate::idmap::IdMap;
use crate::input::MAX_JOB_DIRS;

/// Directories remembered for one worker: a byte tells which, and one value of it that there is none.
const MAX_DIRS: usize = 255;
/// Places of the index: twice as many, so that a search is short.
const PLACES: usize = 512;
const NOBODY: u8 = u8::MAX;

/// The directories of one worker. When there are as many as may be, the next takes the place of one that was not used
/// since the hand last came by ("clock"), and a use is one bit.
#[derive(Debug)]
struct Recent {
    dirs: Vec<DirKey>,
    /// A bit for each directory.
    used: [u64; 4],
    hand: usize,
    /// Where in `dirs` a directory stands: open addressing by its digest.
    index: [u8; PLACES],
}

impl Default for Recent {
    fn default() -> Self {
        Self { dirs: Vec::new(), used: [0; 4], hand: 0, index: [NOBODY; PLACES] }
    }
}

impl Recent {
    fn contains(&self, dir: DirKey) -> bool {
        self.index[self.place(dir)] != NOBODY
    }

    /// Which of these it has not.
    fn missing(&self, dirs: &[DirKey]) -> Missing {
        let bits = dirs.iter().take(MAX_JOB_DIRS).enumerate();
        Missing(bits.fold(0, |bits, (number, &dir)| bits | u16::from(!self.contains(dir)) << number))
    }

    /// Notes that it is used. If it was not there: which one is forgotten for it.
    fn touch(&mut self, dir: DirKey) -> Result<(), Option<DirKey>> {
        let number = self.index[self.place(dir)];
        if number != NOBODY {
            self.mark(usize::from(number));
            return Ok(());
        }
        let forgotten = (self.dirs.len() == MAX_DIRS).then(|| self.forget_one());
        match forgotten {
            Some(_) => self.dirs[self.hand] = dir,
            None => self.dirs.push(dir),
        }
        let number = if forgotten.is_some() { self.hand } else { self.dirs.len() - 1 };
        let place = self.place(dir);
        self.index[place] = u8::try_from(number).unwrap_or(NOBODY);
        self.hand = if forgotten.is_some() { (self.hand + 1) % MAX_DIRS } else { self.hand };
        Err(forgotten)
    }

    /// Takes one out of the index that was not used of late; the hand points to where it stands.
    fn forget_one(&mut self) -> DirKey {
        while self.take_mark(self.hand) {
            self.hand = (self.hand + 1) % MAX_DIRS;
        }
        let dir = self.dirs[self.hand];
        self.take_from_index(dir);
        dir
    }

    /// As if it had never been touched; whether it was there.
    fn remove(&mut self, dir: DirKey) -> bool {
        let number = usize::from(self.index[self.place(dir)]);
        let Some(last) = self.dirs.len().checked_sub(1).filter(|&last| number <= last) else { return false };
        self.take_from_index(dir);
        let (moved, was_used) = (self.dirs[last], self.take_mark(last));
        if number < last {
            let place = self.place(moved);
            self.index[place] = u8::try_from(number).unwrap_or(NOBODY);
            self.take_mark(number);
            if was_used {
                self.mark(number);
            }
        }
        self.dirs.swap_remove(number);
        true
    }

    fn take_from_index(&mut self, dir: DirKey) {
        let mut gap = self.place(dir);
        self.index[gap] = NOBODY;
        let mut next = (gap + 1) % PLACES;
        while self.index[next] != NOBODY {
            // It may move back to the gap unless its own place lies between the gap and it.
            let home = home(self.dirs[usize::from(self.index[next])]);
            if next.wrapping_sub(home) % PLACES >= next.wrapping_sub(gap) % PLACES {
                self.index.swap(gap, next);
                gap = next;
            }
            next = (next + 1) % PLACES;
        }
    }

    fn mark(&mut self, number: usize) {
        self.used[number / 64] |= 1 << (number % 64);
    }

    fn take_mark(&mut self, number: usize) -> bool {
        let (word, bit) = (&mut self.used[number / 64], 1 << (number % 64));
        let was_set = *word & bit != 0;
        *word &= !bit;
        was_set
    }

    /// The place in the index where the directory is, or would be.
    fn place(&self, dir: DirKey) -> usize {
        let mut place = home(dir);
        while self.index[place] != NOBODY && self.dirs[usize::from(self.index[place])] != dir {
            place = (place + 1) % PLACES;
        }
        place
    }
}

fn home(dir: DirKey) -> usize {
    let mixed = dir.digest().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::from((mixed >> 48) as u16) % PLACES
}

/// Which of a job's directories a worker had not touched: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing(u16);

impl Missing {
    /// Each of these.
    fn all(dirs: &[DirKey]) -> Self {
        Self((0..dirs.len().min(MAX_JOB_DIRS)).fold(0, |bits, number| bits | 1 << number))
    }

    pub(crate) fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// How warm a worker is for a job's directories, of which it misses these, the output's first. The output's directory
    /// outweighs all others together: a build's next steps read there what this one writes.
    pub(crate) fn warmth(self, dirs: &[DirKey]) -> u32 {
        let Self(all) = Self::all(dirs);
        let warm = all & !self.0;
        let output = if warm & 1 == 1 { all.count_ones() } else { 0 };
        output + (warm & !1).count_ones()
    }

    fn of(self, dirs: &[DirKey]) -> impl Iterator<Item = &DirKey> {
        dirs.iter()
            .take(MAX_JOB_DIRS)
            .enumerate()
            .filter_map(move |(number, dir)| (self.0 >> number & 1 == 1).then_some(dir))
    }
}

const _: () = assert!(MAX_JOB_DIRS <= 16, "each has a bit");

/// The workers that are warm for each directory, in the order of their ids.
#[derive(Debug)]
struct Warm(IdMap<DirKey, Vec<WorkerId>>);

impl Warm {
    fn link(&mut self, dir: DirKey, worker: WorkerId) {
        let warm = self.0.get_or_insert_with(dir, Vec::new);
        if let Err(place) = warm.binary_search(&worker) {
            warm.insert(place, worker);
        }
    }

    fn unlink(&mut self, dir: DirKey, worker: WorkerId) {
        self.0.remove_if(dir, |warm| {
            if let Ok(place) = warm.binary_search(&worker) {
                warm.remove(place);
            }
            warm.is_empty()
        });
    }
}

/// Workers and the directories that their caches are believed to hold.
#[derive(Debug)]
pub(crate) struct Affinity {
    dirs: IdMap<WorkerId, Box<Recent>>,
    workers: Warm,
}

impl Affinity {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dirs: IdMap::with_seed(seed), workers: Warm(IdMap::with_seed(seed)) }
    }

    /// Believes the worker's own report, most recently used first, instead of what was believed before.
    pub(crate) fn replace(&mut self, worker: WorkerId, report: &[DirKey]) {
        self.forget(worker);
        let newest = &report[..report.len().min(MAX_DIRS)];
        newest.iter().rev().for_each(|&dir| self.touch(worker, dir));
    }

    /// The worker is about to use this directory.
    pub(crate) fn touch(&mut self, worker: WorkerId, dir: DirKey) {
        self.visit(worker, &[dir]);
    }

    /// The worker is about to use these directories of a job, the first one last. Says which of them it has to fetch.
    pub(crate) fn visit(&mut self, worker: WorkerId, dirs: &[DirKey]) -> Missing {
        if dirs.is_empty() {
            return Missing::default();
        }
        let recent = self.dirs.get_or_insert_with(worker, Box::default);
        let missing = recent.missing(dirs);
        for &dir in dirs.iter().rev() {
            let Err(forgotten) = recent.touch(dir) else { continue };
            self.workers.link(dir, worker);
            forgotten.into_iter().for_each(|forgotten| self.workers.unlink(forgotten, worker));
        }
        missing
    }

    pub(crate) fn forget(&mut self, worker: WorkerId) {
        let Some(recent) = self.dirs.remove(worker) else { return };
        recent.dirs.iter().for_each(|&dir| self.workers.unlink(dir, worker));
    }

    /// Tells of directories whether the worker is warm for them.
    pub(crate) fn warmth_of(&self, worker: WorkerId) -> impl Fn(DirKey) -> bool {
        let recent = self.dirs.get(worker);
        move |dir| recent.is_some_and(|recent| recent.contains(dir))
    }

    /// How warm a worker is for a job's directories: see [`Missing::warmth`].
    pub(crate) fn warmth(&self, worker: WorkerId, dirs: &[DirKey]) -> u32 {
        self.missing(worker, dirs).warmth(dirs)
    }

    /// Which of these directories the worker would have to fetch.
    pub(crate) fn missing(&self, worker: WorkerId, dirs: &[DirKey]) -> Missing {
        self.dirs.get(worker).map_or(Missing::all(dirs), |recent| recent.missing(dirs))
    }

    /// The job never came to it there: of its directories those that the worker did not have then it does not have now.
    pub(crate) fn untouch(&mut self, worker: WorkerId, dirs: &[DirKey], missing: Missing) {
        for &dir in missing.of(dirs) {
            if self.dirs.get_mut(worker).is_some_and(|recent| recent.remove(dir)) {
                self.workers.unlink(dir, worker);
            }
        }
    }

    /// The workers that are warm for this directory, in the order of their ids.
    pub(crate) fn warm_for(&self, dir: DirKey) -> impl Iterator<Item = WorkerId> + '_ {
        self.workers.0.get(dir).into_iter().flatten().copied()
    }

    /// How many directories a worker is believed to be warm for.
    pub(crate) fn count(&self, worker: WorkerId) -> usize {
        self.dirs.get(worker).map_or(0, |recent| recent.dirs.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASH: WorkerId = WorkerId::new(1);

    fn dir(digest: usize) -> DirKey {
        DirKey::new(digest as u64)
    }

    #[test]
    fn the_output_directory_outweighs_all_others_together() {
        let mut affinity = Affinity::new(7);
        affinity.replace(ASH, &[dir(1)]);
        affinity.replace(WorkerId::new(2), &[dir(2), dir(3)]);

        let job = [dir(1), dir(2), dir(3)];

        assert!(affinity.warmth(ASH, &job) > affinity.warmth(WorkerId::new(2), &job));
    }

    #[test]
    fn the_coldest_directory_is_forgotten_first() {
        let mut affinity = Affinity::new(7);
        (0..=MAX_DIRS).for_each(|digest| affinity.touch(ASH, dir(digest)));

        assert_eq!(affinity.warmth(ASH, &[dir(0)]), 0);
        assert_eq!(affinity.warmth(ASH, &[dir(1)]), 1);
        assert_eq!(affinity.count(ASH), MAX_DIRS);
    }

    #[test]
    fn what_a_job_would_have_warmed_is_as_cold_as_before_when_it_did_not_come_to_it() {
        let (mut affinity, job) = (Affinity::new(7), [dir(1), dir(2), dir(3)]);
        affinity.touch(ASH, dir(2));
        let missing = affinity.missing(ASH, &job);
        assert_eq!(missing.count(), 2);
        job.iter().for_each(|&dir| affinity.touch(ASH, dir));
        affinity.touch(ASH, dir(4));

        affinity.untouch(ASH, &job, missing);

        let warm = [1, 2, 3, 4].map(|digest| affinity.warmth_of(ASH)(dir(digest)));
        assert_eq!((warm, affinity.count(ASH)), ([false, true, false, true], 2));
        assert_eq!((affinity.warm_for(dir(1)).count(), affinity.warm_for(dir(2)).count()), (0, 1));
        affinity.untouch(ASH, &job, missing);
        assert_eq!(affinity.count(ASH), 2, "once is enough");
    }

    #[test]
    fn who_is_warm_for_what_is_the_same_from_either_side_whatever_was_touched_and_forgotten() {
        let mut affinity = Affinity::new(7);
        for step in 0..3_000 {
            affinity.touch(ASH, dir(step * step % 701));
            if step % 5 == 0 {
                let job = [dir(step * 3 % 701)];
                affinity.untouch(ASH, &job, Missing(1));
            }

            let both =
                |it: &usize| affinity.warmth_of(ASH)(dir(*it)) == affinity.warm_for(dir(*it)).any(|id| id == ASH);
            assert!((0..701).filter(|it| (it + step) % 50 == 0).all(|it| both(&it)), "after {step} steps");
        }
        let warm = (0..701).filter(|&it| affinity.warmth_of(ASH)(dir(it))).count();
        assert!(warm > MAX_DIRS / 2 && warm == affinity.count(ASH), "{warm} are warm");
    }

    #[test]
    fn a_report_replaces_what_was_believed() {
        let mut affinity = Affinity::new(7);
        affinity.touch(ASH, dir(7));

        affinity.replace(ASH, &[dir(8)]);

        assert_eq!(affinity.warm_for(dir(7)).count(), 0);
        assert_eq!(affinity.warm_for(dir(8)).count(), 1);
    }
}
