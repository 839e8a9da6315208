//! Which worker is warm for which directories. Memory is bounded: so many directories a worker, the coldest go first.

use alloc::vec::Vec;

use model::ids::{DirKey, WorkerId};

use crate::idmap::IdMap;

/// Directories remembered for one worker.
const MAX_DIRS: usize = 256;

/// Words of the filter of one worker: four bits for each directory.
const FILTER_WORDS: usize = MAX_DIRS * 4 / 64;

/// The directories of one worker, most recently used last. The forgotten ones are cut off many at a time.
#[derive(Debug, Default)]
struct Recent {
    dirs: Vec<DirKey>,
    forgotten: usize,
    /// One bit for each directory, several for the same: whose bit is not set is not there. Most of what is asked for
    /// is not, and no list need be searched for it.
    filter: [u64; FILTER_WORDS],
}

impl Recent {
    fn contains(&self, dir: DirKey) -> bool {
        let (word, bit) = filter_bit(dir);
        self.filter[word] & bit != 0 && self.dirs[self.forgotten..].contains(&dir)
    }

    fn add(&mut self, dir: DirKey) {
        self.dirs.push(dir);
        self.mark(dir);
    }

    fn mark(&mut self, dir: DirKey) {
        let (word, bit) = filter_bit(dir);
        self.filter[word] |= bit;
    }

    fn known(&mut self) -> &mut [DirKey] {
        &mut self.dirs[self.forgotten..]
    }

    fn len(&self) -> usize {
        self.dirs.len() - self.forgotten
    }

    fn forget_coldest(&mut self) -> DirKey {
        let coldest = self.dirs[self.forgotten];
        self.forgotten += 1;
        if self.forgotten == MAX_DIRS {
            self.dirs.drain(..self.forgotten);
            self.forgotten = 0;
            self.filter = Default::default();
            (0..self.dirs.len()).for_each(|place| self.mark(self.dirs[place]));
        }
        coldest
    }
}

fn filter_bit(dir: DirKey) -> (usize, u64) {
    let mixed = dir.digest().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of words")]
    let word = ((mixed >> 32) % FILTER_WORDS as u64) as usize;
    (word, 1 << (mixed >> 58))
}

/// Workers and the directories that their caches are believed to hold.
#[derive(Debug)]
pub(crate) struct Affinity {
    dirs: IdMap<WorkerId, Recent>,
    /// In the order of their ids.
    workers: IdMap<DirKey, Vec<WorkerId>>,
}

impl Affinity {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dirs: IdMap::with_seed(seed), workers: IdMap::with_seed(seed) }
    }

    /// Believes the worker's own report, most recently used first, instead of what was believed before.
    pub(crate) fn replace(&mut self, worker: WorkerId, report: &[DirKey]) {
        self.forget(worker);
        let newest = &report[..report.len().min(MAX_DIRS)];
        newest.iter().rev().for_each(|&dir| self.touch(worker, dir));
    }

    /// The worker is about to use this directory.
    pub(crate) fn touch(&mut self, worker: WorkerId, dir: DirKey) {
        let recent = self.dirs.get_or_insert_with(worker, Recent::default);
        if recent.contains(dir) {
            let known = recent.known();
            if let Some(place) = known.iter().rposition(|&other| other == dir) {
                known[place..].rotate_left(1);
            }
            return;
        }
        let warm = self.workers.get_or_insert_with(dir, Vec::new);
        if let Err(place) = warm.binary_search(&worker) {
            warm.insert(place, worker);
        }
        recent.add(dir);
        if recent.len() > MAX_DIRS {
            let coldest = recent.forget_coldest();
            self.unlink(coldest, worker);
        }
    }

    pub(crate) fn forget(&mut self, worker: WorkerId) {
        let Some(mut recent) = self.dirs.remove(worker) else { return };
        for &mut dir in recent.known() {
            self.unlink(dir, worker);
        }
    }

    pub(crate) fn is_warm(&self, worker: WorkerId, dir: DirKey) -> bool {
        self.dirs.get(worker).is_some_and(|recent| recent.contains(dir))
    }

    /// How warm a worker is for a job's directories, the output's first. The output's directory outweighs all others
    /// together: a build's next steps read there what this one writes.
    pub(crate) fn warmth(&self, worker: WorkerId, dirs: &[DirKey]) -> u32 {
        let Some(recent) = self.dirs.get(worker) else { return 0 };
        let is_warm = |dir: &DirKey| recent.contains(*dir);
        let others = dirs.iter().skip(1).filter(|dir| is_warm(dir)).count();
        let output = if dirs.first().is_some_and(is_warm) { dirs.len() } else { 0 };
        u32::try_from(output + others).unwrap_or(u32::MAX)
    }

    /// How many of these directories the worker would have to fetch.
    pub(crate) fn missing(&self, worker: WorkerId, dirs: &[DirKey]) -> u32 {
        let recent = self.dirs.get(worker);
        let is_missing = |dir: &&DirKey| !recent.is_some_and(|recent| recent.contains(**dir));
        u32::try_from(dirs.iter().filter(is_missing).count()).unwrap_or(u32::MAX)
    }

    /// The workers that are warm for this directory, in the order of their ids.
    pub(crate) fn warm_for(&self, dir: DirKey) -> impl Iterator<Item = WorkerId> + '_ {
        self.workers.get(dir).into_iter().flatten().copied()
    }

    /// How many directories a worker is believed to be warm for.
    pub(crate) fn count(&self, worker: WorkerId) -> usize {
        self.dirs.get(worker).map_or(0, Recent::len)
    }

    fn unlink(&mut self, dir: DirKey, worker: WorkerId) {
        let Some(warm) = self.workers.get_mut(dir) else { return };
        if let Ok(place) = warm.binary_search(&worker) {
            warm.remove(place);
        }
        if warm.is_empty() {
            self.workers.remove(dir);
        }
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
    fn who_is_warm_for_what_is_the_same_from_either_side_whatever_was_touched_and_forgotten() {
        let mut affinity = Affinity::new(7);
        for step in 0..3_000 {
            affinity.touch(ASH, dir(step * step % 701));

            let both = |it: &usize| affinity.is_warm(ASH, dir(*it)) == affinity.warm_for(dir(*it)).any(|id| id == ASH);
            assert!((0..701).filter(|it| (it + step) % 50 == 0).all(|it| both(&it)), "after {step} steps");
        }
        assert_eq!((0..701).filter(|&it| affinity.is_warm(ASH, dir(it))).count(), MAX_DIRS);
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
