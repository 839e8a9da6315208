//! What one attempt does to see what others did (see `revalidation`): before its command runs, after it has failed, and
//! what it leaves for the next.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use model::outcome::AttemptFailure;
use proto::v1;

use crate::exec::Executor;
use crate::revalidation::{Attempt, Revalidation};
use crate::wire::Task;

/// Places where missing files are looked for again.
const MOST_GUESSES: usize = 256;
/// Files named as stale that are waited for.
const MOST_STALE: usize = 16;
/// How long a name that is gone is believed in: a second on GlusterFS, by default.
const MOST_BELIEVED: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(50);

/// What speaks against a command that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// Something has changed: worth another run here.
    may_differ: bool,
    /// A file that it did not find was there for others, or came while it ran.
    was_hidden: bool,
}

impl Doubts {
    /// Whether what the command said is not to be believed. Its second run is, for in a busy directory there is always
    /// something that has changed; unless it is known to be wrong.
    pub(crate) const fn refute(self, is_second: bool) -> bool {
        self.was_hidden || self.may_differ && !is_second
    }
}

/// The looks of one attempt.
pub(crate) struct Looks<'a> {
    revalidation: Revalidation,
    attempt: Attempt<'a>,
    cwd: PathBuf,
    output_dir: Option<PathBuf>,
    dirs: BTreeSet<PathBuf>,
    searched: Vec<v1::Stamp>,
    is_unsure: bool,
    /// Files that a run did not find, and that were there when it had ended.
    in_view: RefCell<BTreeSet<PathBuf>>,
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
        let in_view = RefCell::default();
        Ok(Some(Self { revalidation, attempt, cwd, output_dir, dirs, searched, is_unsure, in_view }))
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

    /// Looks again at all that the command may have read; what speaks for it that something was not as it had been seen.
    pub(crate) fn doubts(&self, said: &[u8]) -> Doubts {
        let stale: Vec<PathBuf> = stale_in(said).map(|file| self.cwd.join(OsStr::from_bytes(&file))).collect();
        outlast(&stale, Revalidation::is_stale, self.attempt.given_up);
        let missing = self.places_of_missing(said);
        let mut dirs = self.dirs.clone();
        dirs.extend(missing.iter().filter_map(|file| Some(file.parent()?.to_owned())));
        let dirs: Vec<PathBuf> = dirs.into_iter().filter(|dir| self.revalidation.may_hide(dir)).collect();
        let paths = || dirs.iter().chain(&missing);
        let before: Vec<_> = paths().map(|path| Revalidation::changed_at(path)).collect();
        if self.revalidation.look_again(dirs.clone(), &self.attempt).is_err() {
            return Doubts::default(); // what cannot be seen proves nothing
        }
        let hidden = missing.iter().filter(|file| self.revalidation.may_hide(file) && Revalidation::is_hidden(file));
        let hidden: Vec<PathBuf> = hidden.cloned().collect();
        outlast(&hidden, Revalidation::is_hidden, self.attempt.given_up);
        let after: Vec<_> = paths().map(|path| Revalidation::changed_at_the_server(path)).collect();
        let was_hidden = self.has_come(&missing, &after[dirs.len()..]) || !hidden.is_empty();
        Doubts { may_differ: before != after || speaks_of_stale_files(said), was_hidden }
    }

    /// Whether a file that was not found is there by now: it came into view too late for the command, unless it was in view
    /// before that began. Then the command does not look there (`-iquote`).
    fn has_come(&self, missing: &[PathBuf], changed_at: &[Option<i64>]) -> bool {
        let there = missing.iter().zip(changed_at).filter(|(_, changed_at)| changed_at.is_some());
        let mut in_view = self.in_view.borrow_mut();
        there.fold(false, |has_come, (file, _)| in_view.insert(file.clone()) || has_come)
    }

    /// Below each searched directory, where a file that was not found would be.
    fn places_of_missing(&self, said: &[u8]) -> Vec<PathBuf> {
        let missing: BTreeSet<Vec<u8>> = missing_in(said).collect();
        let searched = self.searched.iter().map(|stamp| self.cwd.join(OsStr::from_bytes(&stamp.path)));
        let of_dir = |dir: PathBuf| missing.iter().map(move |file| dir.join(OsStr::from_bytes(file)));
        searched.flat_map(of_dir).take(MOST_GUESSES).collect()
    }

    /// Takes note of what the command says that it has read.
    pub(crate) fn learn(&self, read: &BTreeSet<PathBuf>) {
        if let Some(output_dir) = &self.output_dir {
            self.revalidation.learn(self.attempt.uid, output_dir, read);
        }
    }
}

/// Whether a tool has met a file that is another by now (ESTALE): on GlusterFS one that somebody has removed or replaced is
/// known for a moment still. The archiver has no words for that error (`bfd_errmsg` of binutils).
fn speaks_of_stale_files(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    ["Stale file handle", "cause of error unknown"].iter().any(|words| text.contains(words))
}

/// A name that is believed in though its file is gone outlives every look at its directory, which tells of the names that
/// are there: only time helps. Who does not wait meets it again, here and on every worker that knows the name. There are
/// filesystems of which the same is true of a name that was missing.
fn outlast(files: &[PathBuf], is_wrong: impl Fn(&Path) -> bool, given_up: &dyn Fn() -> bool) {
    let deadline = Instant::now() + MOST_BELIEVED;
    for file in files {
        while is_wrong(file) && Instant::now() < deadline && !given_up() {
            thread::sleep(PAUSE);
        }
    }
}

/// Files that a tool says are others by now.
fn stale_in(said: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let text = String::from_utf8_lossy(said).into_owned();
    let name = |line: &str| {
        let plain = line.strip_suffix(": Stale file handle");
        let named = plain.or_else(|| line.strip_suffix(": cause of error unknown"))?;
        Some(named.rsplit(": ").next()?.as_bytes().to_vec())
    };
    text.lines().filter_map(name).take(MOST_STALE).collect::<Vec<_>>().into_iter()
}

/// Files that a compiler or linker says it has not found.
fn missing_in(said: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let text = String::from_utf8_lossy(said).into_owned();
    let names = |line: &str| {
        if let Some(library) = missing_library(line) {
            return vec![format!("lib{library}.a"), format!("lib{library}.so")];
        }
        let gcc = line.strip_suffix(": No such file or directory").and_then(|line| line.rsplit(": ").next());
        let clang = || line.strip_suffix("' file not found").and_then(|line| line.rsplit('\'').next());
        gcc.or_else(clang).map(str::to_owned).into_iter().collect()
    };
    text.lines().flat_map(names).map(String::into_bytes).collect::<Vec<_>>().into_iter()
}

/// The library of a `-l` that ld (in words that differ by its release) or lld has not found.
fn missing_library(line: &str) -> Option<&str> {
    let (_, said) = line.split_once(": cannot find -l").or_else(|| line.split_once(": unable to find library -l"))?;
    said.split([':', ' ']).next().filter(|name| !name.is_empty())
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
    fn a_name_without_a_file_is_waited_for_until_it_is_gone() {
        let said = b"a.c:1:10: fatal error: inc/x.h: Stale file handle\ncompilation terminated.\n\
                     ar: lib y.a: cause of error unknown\n";
        let stale: Vec<_> = stale_in(said).collect();
        assert_eq!(stale, [&b"inc/x.h"[..], b"lib y.a"]);

        let looks = std::cell::Cell::new(0);
        let gone_at_the_third = |_: &Path| {
            looks.set(looks.get() + 1);
            looks.get() < 3
        };
        outlast(&["inc/x.h".into()], gone_at_the_third, &|| false);
        assert_eq!(looks.get(), 3);

        outlast(&["inc/x.h".into()], |_| true, &|| true);
    }

    #[test]
    fn compilers_name_what_they_did_not_find() {
        let said = b"a.c:1:10: fatal error: gen/x.h: No such file or directory\n    1 | #include\n\
                     b.c:1:10: fatal error: 'gen/y.h' file not found\ncc1: all is well\n";

        let missing: Vec<_> = missing_in(said).collect();

        assert_eq!(missing, [b"gen/x.h", b"gen/y.h"]);
    }

    #[test]
    fn linkers_name_the_libraries_that_they_did_not_find() {
        for said in [
            "/usr/bin/ld: cannot find -lx: No such file or directory",
            "/usr/bin/ld: cannot find -lx",
            "ld.lld: error: unable to find library -lx",
        ] {
            assert_eq!(missing_in(said.as_bytes()).collect::<Vec<_>>(), [b"libx.a".to_vec(), b"libx.so".to_vec()]);
        }
    }

    #[test]
    fn what_was_in_view_before_a_second_run_began_did_not_come_too_late_for_it() {
        let looks = Looks {
            revalidation: Revalidation::new(false),
            attempt: Attempt { uid: 0, identity: None, arrived: Default::default(), given_up: &|| false },
            cwd: PathBuf::new(),
            output_dir: None,
            dirs: BTreeSet::new(),
            searched: Vec::new(),
            is_unsure: false,
            in_view: RefCell::default(),
        };
        let missing = ["a/x.h", "b/x.h"].map(PathBuf::from);

        assert!(!looks.has_come(&missing, &[None, None]));
        assert!(looks.has_come(&missing, &[Some(1), None]), "the first run came too early");
        assert!(!looks.has_come(&missing, &[Some(1), None]), "the second does not look there");
        assert!(looks.has_come(&missing, &[Some(1), Some(1)]));
    }

    #[test]
    fn a_second_run_is_believed_unless_it_is_known_to_be_wrong() {
        let refuted = |may_differ, was_hidden| [false, true].map(|it| Doubts { may_differ, was_hidden }.refute(it));

        assert_eq!(refuted(false, false), [false, false]);
        assert_eq!(refuted(true, false), [true, false]);
        assert_eq!(refuted(false, true), [true, true]);
    }
}
