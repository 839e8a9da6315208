//! Where units read headers from, learned from the dependencies that compilers write (`-MD`): the next unit of the same
//! directory will most likely search there, and no command line says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Output directories of which something is known; the one used longest ago is forgotten.
const MOST_OUTPUT_DIRS: usize = 1024;
/// Header directories of each.
const MOST_HEADER_DIRS: usize = 256;

/// By user and output directory.
#[derive(Debug, Default)]
pub(super) struct Learned {
    clock: u64,
    by_output: BTreeMap<(u32, PathBuf), (u64, BTreeSet<PathBuf>)>,
}

impl Learned {
    pub(super) fn learn(&mut self, uid: u32, output_dir: PathBuf, headers: BTreeSet<PathBuf>) {
        self.clock += 1;
        let (used, known) = self.by_output.entry((uid, output_dir)).or_default();
        *used = self.clock;
        for dir in headers {
            if known.len() < MOST_HEADER_DIRS {
                known.insert(dir);
            }
        }
        if self.by_output.len() > MOST_OUTPUT_DIRS
            && let Some(oldest) = self.by_output.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.by_output.remove(&oldest);
        }
    }

    pub(super) fn of(&self, uid: u32, output_dir: &Path) -> impl Iterator<Item = PathBuf> {
        let known = self.by_output.get(&(uid, output_dir.to_owned()));
        known.into_iter().flat_map(|(_, dirs)| dirs.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten() {
        let mut learned = Learned::default();
        for number in 0..=MOST_OUTPUT_DIRS {
            learned.learn(1, PathBuf::from(format!("/{number}")), BTreeSet::from([PathBuf::from("/inc")]));
        }

        assert_eq!(learned.of(1, Path::new("/0")).count(), 0);
        assert_eq!(learned.of(1, Path::new("/1")).count(), 1);
        assert_eq!(learned.of(2, Path::new("/1")).count(), 0);
    }
}
