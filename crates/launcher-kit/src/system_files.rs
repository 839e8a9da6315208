//! What a worker met of its system beyond the toolchain, against what this machine has: another zlib there, or none, may have
//! made another object than this machine's would, or an error that is none here. Then the command is run here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto::v1::{AskedHeader, Command, SystemFile};
use toolchain::usual;

use crate::linked;

/// A file's time tells versions apart from here on: package managers keep those of the package. Before that it is nobody's
/// choice, but what some systems give to every file.
const TELLING: i64 = 365 * 86_400 * 1_000_000_000;

/// In what two systems differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The worker read this file, which is another here, or is not here.
    Other(PathBuf),
    /// This machine has this file, and the worker does not: it took another, or did without.
    OnlyHere(PathBuf),
    /// The worker has this file, and did not do without it.
    OnlyThere(PathBuf),
}

impl Difference {
    /// Why what this worker made need not be what this machine would have made.
    pub(crate) fn in_words(&self, worker: &str) -> String {
        match self {
            Self::Other(file) => format!("{worker} ran it with another {} than is here", file.display()),
            Self::OnlyHere(file) => format!("{worker} has no {}", file.display()),
            Self::OnlyThere(file) => format!("{worker} has {}, which is not here", file.display()),
        }
    }
}

/// The first of what a worker has met in which this machine differs.
///
/// Size and time tell almost always, for a `stat` each; only where the times differ are contents read.
pub(crate) fn difference(command: &Command, read: &[SystemFile], asked: &[AskedHeader]) -> Option<Difference> {
    if let Some(other) = read.iter().find(|file| !is_same(file)) {
        return Some(Difference::Other(path_of(&other.path)));
    }
    let paths: Vec<PathBuf> = read.iter().map(|file| path_of(&file.path)).collect();
    let header = || paths.iter().find_map(|path| before(path, &paths)).map(Difference::OnlyHere);
    let library = || linked::other(command, &paths).map(Difference::Other);
    header().or_else(|| asked.iter().find_map(differs)).or_else(library)
}

/// A header that a compiler would come upon here before it came to the one that was read, of the same name.
fn before(path: &Path, read: &[PathBuf]) -> Option<PathBuf> {
    let dirs = usual::include_dirs();
    let (place, name) = dirs.iter().enumerate().find_map(|(place, dir)| Some((place, path.strip_prefix(dir).ok()?)))?;
    let earlier = dirs[..place].iter().map(|dir| dir.join(name)).find(|path| path.is_file())?;
    // Both may have been read: one includes the other (`#include_next`).
    let was_read = earlier.canonicalize().is_ok_and(|real| read.contains(&real));
    (!was_read).then_some(earlier)
}

/// What is found first on one of the two alone.
fn differs(asked: &AskedHeader) -> Option<Difference> {
    let (there, here) = (path_of(&asked.path), usual::header(&path_of(&asked.name)));
    match here {
        Some(here) if here == there => None,
        _ if !asked.path.is_empty() && !there.is_file() => Some(Difference::OnlyThere(there)),
        here => here.map(Difference::OnlyHere),
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn is_same(file: &SystemFile) -> bool {
    let path = path_of(&file.path);
    let Ok(facts) = fs::metadata(&path) else { return false };
    if !facts.is_file() || facts.len() != file.size {
        return false;
    }
    let mtime_ns = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
    let is_of_one_package = mtime_ns == file.mtime_ns && mtime_ns >= TELLING;
    is_of_one_package || toolchain::content_of(&path).is_ok_and(|digest| digest[..] == file.digest[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn file(path: &Path, text: &str, time: SystemTime) -> SystemFile {
        fs::write(path, text).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        SystemFile {
            path: path.as_os_str().as_bytes().to_vec().into(),
            size: text.len() as u64,
            mtime_ns: i64::try_from(since.as_nanos()).unwrap(),
            digest: toolchain::content_of(path).unwrap().to_vec().into(),
        }
    }

    #[test]
    fn the_same_package_is_the_same_and_so_is_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zlib.h");
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let there = file(&path, "one", then);
        let difference = |file: SystemFile| difference(&Command::default(), &[file], &[]);
        assert_eq!(difference(there.clone()), None);

        let unpacked_otherwise = SystemFile { mtime_ns: there.mtime_ns + 1, ..there.clone() };
        assert_eq!(difference(unpacked_otherwise), None);

        // Of one size and another time.
        file(&path, "two", then + Duration::from_secs(1));
        assert_eq!(difference(there.clone()), Some(Difference::Other(path.clone())));
        fs::remove_file(&path).unwrap();
        assert_eq!(difference(there), Some(Difference::Other(path)));
    }

    #[test]
    fn a_time_that_all_files_have_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zlib.h");
        let there = file(&path, "one", SystemTime::UNIX_EPOCH);

        file(&path, "two", SystemTime::UNIX_EPOCH);

        assert!(difference(&Command::default(), &[there], &[]).is_some());
    }

    #[test]
    fn what_is_asked_for_is_to_be_in_the_same_place_on_both() {
        let asked = |name: &str, path: &str| AskedHeader { name: name.to_owned().into(), path: path.to_owned().into() };
        let here = usual::header(Path::new("stdio.h")).unwrap();
        let found = |name: &str, path: &str| difference(&Command::default(), &[], &[asked(name, path)]);

        assert_eq!(found("stdio.h", here.to_str().unwrap()), None);
        assert_eq!(found("no/such.h", ""), None);
        assert_eq!(found("stdio.h", ""), Some(Difference::OnlyHere(here)));
        for (name, there) in [("no/such.h", "/usr/include/no/such.h"), ("stdio.h", "/usr/local/include/stdio.h")] {
            assert_eq!(found(name, there), Some(Difference::OnlyThere(there.into())));
        }
    }
}
