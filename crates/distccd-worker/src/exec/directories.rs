//! What keepers have seen of directories on the shared mounts, so that the next one need not look: on a shared filesystem
//! every look may be a question to its server, and outputs lie deep.
//!
//! Nothing wrong follows from what is out of date here. A commit compares the mode that a command left a directory with the
//! one that is known, and looks where they differ; and it opens what it writes into. Only the mode and owner that the root of
//! an overlay is given come from here unseen, so those are believed for [`ROOT_HOLDS`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::keeper::conversation::Directory;
use crate::keeper::path_of;

/// For how long the root of a mount is taken to look as it did.
const ROOT_HOLDS: Duration = Duration::from_secs(10);
/// Directories that are remembered; when there are more, all are forgotten.
const MOST: usize = 8192;

/// What is known, for all attempts of this worker.
#[derive(Clone, Debug, Default)]
pub struct Directories(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book(BTreeMap<PathBuf, (Directory, Instant)>);

impl Directories {
    /// Those of the mounts, and those that lead to the outputs.
    pub(super) fn of(&self, mounts: &[PathBuf], outputs: &[PathBuf]) -> Vec<Directory> {
        self.book().of(mounts, outputs, Instant::now())
    }

    pub(super) fn learn(&self, seen: Vec<Directory>) {
        self.book().learn(seen, Instant::now());
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn of(&self, mounts: &[PathBuf], outputs: &[PathBuf], now: Instant) -> Vec<Directory> {
        let is_fresh = |seen: &Instant| now.duration_since(*seen) < ROOT_HOLDS;
        let roots = mounts.iter().filter_map(|mount| self.0.get(mount)).filter(|(_, seen)| is_fresh(seen));
        let ways: BTreeSet<&Path> = outputs.iter().flat_map(|output| output.ancestors().skip(1)).collect();
        let is_below = |way: &&Path| mounts.iter().any(|mount| way.starts_with(mount));
        let is_root = |way: &&Path| mounts.iter().any(|mount| way == mount);
        let ways = ways.into_iter().filter(|way| is_below(way) && !is_root(way)).filter_map(|way| self.0.get(way));
        roots.chain(ways).map(|(directory, _)| directory.clone()).collect()
    }

    fn learn(&mut self, seen: Vec<Directory>, now: Instant) {
        if self.0.len() + seen.len() > MOST {
            self.0.clear();
        }
        self.0.extend(seen.into_iter().map(|directory| (path_of(&directory.path), (directory, now))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str) -> Directory {
        Directory { path: path.into(), mode: 0o755, uid: 7, gid: 8 }
    }

    fn paths(found: &[Directory]) -> Vec<String> {
        found.iter().map(|found| path_of(&found.path).display().to_string()).collect()
    }

    #[test]
    fn the_way_to_an_output_is_told_and_the_root_for_a_while() {
        let mut book = Book::default();
        let seen = Instant::now();
        let all = ["/m", "/m/a", "/m/a/b", "/m/beside", "/m/inner", "/elsewhere"];
        book.learn(all.map(directory).into(), seen);
        let (mounts, outputs) =
            (["/m", "/m/inner"].map(PathBuf::from), ["/m/a/b/x.o", "/m/inner/y"].map(PathBuf::from));

        let at_once = book.of(&mounts, &outputs, seen);
        let later = book.of(&mounts, &outputs, seen + ROOT_HOLDS);

        assert_eq!(paths(&at_once), ["/m", "/m/inner", "/m/a", "/m/a/b"]);
        assert_eq!(paths(&later), ["/m/a", "/m/a/b"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut book = Book::default();
        let many = (0..MOST).map(|number| directory(&format!("/m/{number}")));
        book.learn(many.collect(), Instant::now());
        assert_eq!(book.0.len(), MOST);

        book.learn(vec![directory("/m/one")], Instant::now());
        assert_eq!(book.0.len(), 1);
    }
}
