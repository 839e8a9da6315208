//! What one attempt does to see what others did (see `revalidation`): before its command runs, after it has failed, and
//! what it leaves for the next.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use model::outcome::AttemptFailure;
use proto::v1;

use crate::exec::Executor;
use crate::revalidation::{Attempt, Revalidation};
use crate::wire::Task;

/// Places where missing files are looked for again.
const MOST_GUESSES: usize = 256;

/// The looks of one attempt.
pub(crate) struct Looks<'a> {
    revalidation: Revalidation,
    attempt: Attempt<'a>,
    cwd: PathBuf,
    output_dir: Option<PathBuf>,
    dirs: BTreeSet<PathBuf>,
    searched: Vec<v1::Stamp>,
    is_unsure: bool,
}

impl<'a> Looks<'a> {
    /// Nothing when all that the job is known to read is on filesystems that hide nothing.
    pub(crate) fn of(
        task: &Task,
        executor: &Executor,
        given_up: &'a dyn Fn() -> bool,
    ) -> Result<Option<Self>, AttemptFailure> {
        let revalidation = executor.revalidation.clone();
        let cwd = PathBuf::from(OsStr::from_bytes(&task.command.cwd));
        let absolute = |path: &[u8]| cwd.join(OsStr::from_bytes(path));
        let searched = task.searched.iter().map(|stamp| &stamp.path);
        let mut dirs: BTreeSet<PathBuf> = task.dirs.iter().chain(searched).map(|dir| absolute(dir)).collect();
        dirs.insert(cwd.clone());
        if !dirs.iter().any(|dir| revalidation.may_hide(dir)) {
            return Ok(None);
        }
        let identity = executor.identity_for(&task.command)?;
        let attempt = Attempt { uid: task.command.identity.uid, identity, arrived: task.arrived, given_up };
        let output_dir = task.outputs.first().and_then(|output| Some(absolute(output).parent()?.to_owned()));
        let (searched, is_unsure) = (task.searched.clone(), task.is_unsure);
        Ok(Some(Self { revalidation, attempt, cwd, output_dir, dirs, searched, is_unsure }))
    }

    /// Makes this machine see what was committed and edited before the job was submitted.
    pub(crate) fn before(&mut self) -> Result<(), AttemptFailure> {
        let learned = self.output_dir.iter().flat_map(|dir| self.revalidation.learned(self.attempt.uid, dir));
        let learned: BTreeSet<PathBuf> = learned.collect();
        let look = || {
            self.revalidation.look_at_told(&self.attempt)?;
            let doubtful = self.dirs.iter().filter(|_| self.is_unsure).cloned();
            self.revalidation.look_at(learned.iter().cloned().chain(doubtful), &self.attempt)?;
            self.revalidation.await_searched(&self.searched, &self.attempt)
        };
        look().map_err(AttemptFailure::InputsNotVisible)?;
        self.dirs.extend(learned);
        Ok(())
    }

    /// Looks again at all that the command may have read; whether anything was not as it had been seen. Then what the
    /// command said may be wrong.
    pub(crate) fn was_stale(&self, said: &[u8]) -> bool {
        let missing = self.places_of_missing(said);
        let mut dirs = self.dirs.clone();
        dirs.extend(missing.iter().filter_map(|file| Some(file.parent()?.to_owned())));
        let dirs: Vec<PathBuf> = dirs.into_iter().filter(|dir| self.revalidation.may_hide(dir)).collect();
        let paths = || dirs.iter().chain(&missing);
        let before: Vec<_> = paths().map(|path| Revalidation::changed_at(path)).collect();
        if self.revalidation.look_again(dirs.clone(), &self.attempt).is_err() {
            return false; // what cannot be seen proves nothing
        }
        let after: Vec<_> = paths().map(|path| Revalidation::changed_at_the_server(path)).collect();
        // What was missing and is there may have come into view before we looked.
        before != after || after[dirs.len()..].iter().any(Option::is_some) || speaks_of_stale_files(said)
    }

    /// Below each searched directory, where a file that was not found would be.
    fn places_of_missing(&self, said: &[u8]) -> Vec<PathBuf> {
        let missing: BTreeSet<Vec<u8>> = missing_in(said).collect();
        let searched = self.searched.iter().map(|stamp| self.cwd.join(OsStr::from_bytes(&stamp.path)));
        let of_dir = |dir: PathBuf| missing.iter().map(move |file| dir.join(OsStr::from_bytes(file)));
        searched.flat_map(of_dir).take(MOST_GUESSES).collect()
    }

    /// Takes note of the dependencies that the command has written.
    pub(crate) fn learn(&self, outputs: &[v1::Stamp]) {
        let Some(output_dir) = &self.output_dir else { return };
        let files = outputs.iter().filter(|stamp| stamp.path.ends_with(b".d"));
        files.for_each(|stamp| {
            let file = self.cwd.join(OsStr::from_bytes(&stamp.path));
            self.revalidation.learn(self.attempt.uid, output_dir, &file, &self.cwd);
        });
    }
}

/// Whether a tool has met a file that is another by now (ESTALE): on GlusterFS one that somebody has removed or replaced is
/// known for a moment still. The archiver has no words for that error (`bfd_errmsg` of binutils).
fn speaks_of_stale_files(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    ["Stale file handle", "cause of error unknown"].iter().any(|words| text.contains(words))
}

/// Files that a compiler says it has not found.
fn missing_in(said: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let text = String::from_utf8_lossy(said).into_owned();
    let name = |line: &str| {
        let gcc = line.strip_suffix(": No such file or directory").and_then(|line| line.rsplit(": ").next());
        let clang = || line.strip_suffix("' file not found").and_then(|line| line.rsplit('\'').next());
        Some(gcc.or_else(clang)?.as_bytes().to_vec())
    };
    text.lines().filter_map(name).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_another_by_now_is_no_fault_of_the_commands() {
        assert!(speaks_of_stale_files(b"ar: shelf2/libarchive0.a: cause of error unknown\n"));
        assert!(speaks_of_stale_files(b"as: can't create main.o: Stale file handle\n"));
        assert!(!speaks_of_stale_files(b"ar: shelf2/libarchive0.a: No such file or directory\n"));
    }

    #[test]
    fn compilers_name_what_they_did_not_find() {
        let said = b"a.c:1:10: fatal error: gen/x.h: No such file or directory\n    1 | #include\n\
                     b.c:1:10: fatal error: 'gen/y.h' file not found\ncc1: all is well\n";

        let missing: Vec<_> = missing_in(said).collect();

        assert_eq!(missing, [b"gen/x.h", b"gen/y.h"]);
    }
}
