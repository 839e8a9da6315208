//! Headers whose being there a command's files ask for: `__has_include(<valgrind/memcheck.h>)`. Where one is missing nothing
//! is opened and nothing fails, and the object is another one than on a machine that has it. So a worker says which are
//! asked for and where its system has them, and the launcher compares that with its own.
//!
//! The names are read from the files themselves, whether the preprocessor came by them or not: to say one too many costs a
//! look at the launcher's machine. One that a macro puts together goes unseen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1;
use toolchain::{Mark, usual};

use crate::regular;

/// Of a file so much is read, and of all files of a command that are not known yet, in bytes.
const MOST_BYTES: u64 = 4 << 20;
const MOST_BYTES_OF_COMMAND: u64 = 64 << 20;
/// Files of a command that are looked at.
const MOST_ASKERS: usize = 8192;
/// Names that one file may ask for, and one command.
const MOST_OF_FILE: usize = 256;
const MOST_OF_COMMAND: usize = 1024;
/// The longest name, in bytes.
const LONGEST: usize = 255;
/// Files of which is remembered what they ask for. All are forgotten when there are more.
const MOST_FILES: usize = 1 << 16;

/// What is asked for: `__has_include`, `__has_include_next`, and macros that are named after them (`QT_HAS_INCLUDE`).
const QUESTIONS: [&[u8]; 2] = [b"has_include", b"HAS_INCLUDE"];

/// No text of a source, by its name.
const NO_TEXTS: [&str; 9] = ["o", "a", "so", "obj", "lo", "gch", "pch", "pcm", "bc"];

/// For so long a header is not looked at again: the units of a project read the same ones, and a look at each for each
/// would be a burden to the filesystem.
const FRESH: Duration = Duration::from_secs(1);

type Names = Arc<[Bytes]>;

/// What a file asks for, as it looked then.
struct Known {
    mark: Mark,
    looked_at: Instant,
    names: Names,
}

static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

fn known() -> MutexGuard<'static, HashMap<PathBuf, Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    path: PathBuf,
    /// Its size and when it was modified, where that was seen before the command ran: then it is not looked at again.
    seen: Option<(u64, i64)>,
}

/// The headers that these files ask for, but for those that `is_of_toolchain`, which are the same everywhere.
pub(crate) fn headers(
    files: impl Iterator<Item = Asker>,
    now: Instant,
    is_of_toolchain: impl Fn(&Metadata) -> bool,
) -> Vec<v1::AskedHeader> {
    let (mut asked, mut left) = (BTreeSet::new(), MOST_BYTES_OF_COMMAND);
    for file in files.filter(|file| is_text(&file.path)).take(MOST_ASKERS) {
        // One that cannot be read says nothing.
        let names = names_of(&file, now, &mut left).unwrap_or_default();
        asked.extend(names.iter().cloned());
    }
    let place = |name: Bytes| {
        let found = usual::header(Path::new(OsStr::from_bytes(&name)));
        let facts = found.as_ref().and_then(|path| fs::metadata(path).ok());
        if facts.is_some_and(|facts| is_of_toolchain(&facts)) {
            return None;
        }
        let path = found.map_or_else(Bytes::new, |path| Bytes::copy_from_slice(path.as_os_str().as_bytes()));
        Some(v1::AskedHeader { name, path })
    };
    asked.into_iter().take(MOST_OF_COMMAND).filter_map(place).collect()
}

/// Which files may ask: those that the command names, those of which it says that it has read them, and what it opened of
/// the system's directories of headers. Nobody where it found none of its headers in the directories that all compilers
/// search: then its compiler does not search them (`--sysroot`, `-nostdinc`, one that was built so). What it says is not
/// believed beyond these directories and the `mounts`: who knows what hangs elsewhere.
pub(crate) fn askers(
    cwd: &Path,
    mounts: &[PathBuf],
    inputs: &[v1::Stamp],
    mut read: BTreeSet<PathBuf>,
    opened: &[Bytes],
) -> impl Iterator<Item = Asker> {
    let searched = usual::include_dirs();
    let is_of_system = |path: &Path| searched.iter().any(|dir| path.starts_with(dir));
    read.retain(|path| is_of_system(path) || mounts.iter().any(|mount| path.starts_with(mount)));
    let is_header = |path: &&Path| path.components().any(|part| part.as_os_str().as_bytes().starts_with(b"include"));
    let of_system = opened.iter().map(|path| Path::new(OsStr::from_bytes(path))).filter(is_header);
    read.extend(of_system.map(Path::to_owned));
    let mut askers = BTreeMap::new();
    if read.iter().any(|path| is_of_system(path)) {
        askers.extend(read.into_iter().map(|path| (path, None)));
        let seen = |stamp: &v1::Stamp| (cwd.join(OsStr::from_bytes(&stamp.path)), Some((stamp.size, stamp.mtime_ns)));
        askers.extend(inputs.iter().map(seen));
    }
    askers.into_iter().map(|(path, seen)| Asker { path, seen })
}

fn is_text(file: &Path) -> bool {
    let ending = file.extension().and_then(OsStr::to_str);
    !ending.is_some_and(|ending| NO_TEXTS.contains(&ending))
}

/// What the file asks for, as it is now. What is read for that is taken from what is `left`.
fn names_of(asker: &Asker, now: Instant, left: &mut u64) -> io::Result<Names> {
    let path = &asker.path;
    let is_known = |known: &Known| match asker.seen {
        Some((size, modified_ns)) => known.mark.has(size, modified_ns),
        None => now.saturating_duration_since(known.looked_at) < FRESH,
    };
    if let Some(known) = known().get(path).filter(|known| is_known(known)) {
        return Ok(Arc::clone(&known.names));
    }
    let mark = Mark::of_path(path)?;
    if let Some(known) = known().get_mut(path).filter(|known| known.mark == mark) {
        known.looked_at = now;
        return Ok(Arc::clone(&known.names));
    }
    let most = MOST_BYTES.min(*left);
    let (mark, text) = regular::read(path, most)?;
    *left -= text.len() as u64;
    let names: Names = names_in(&text).into_iter().collect();
    // What is read in part for this command's sake may be read whole for another's.
    if mark.is_settled() && most == MOST_BYTES {
        let mut all = known();
        if all.len() >= MOST_FILES {
            all.clear();
        }
        all.insert(path.clone(), Known { mark, looked_at: now, names: Arc::clone(&names) });
    }
    Ok(names)
}

/// The names that a text asks for.
fn names_in(text: &[u8]) -> BTreeSet<Bytes> {
    let finders = QUESTIONS.map(memchr::memmem::Finder::new);
    let places = finders.iter().flat_map(|finder| finder.find_iter(text).map(|at| at + QUESTIONS[0].len()));
    places.filter_map(|behind| argument(&text[behind..])).take(MOST_OF_FILE).collect()
}

/// The name behind a question, if there is one: `_next (<a/b.h>)`.
fn argument(text: &[u8]) -> Option<Bytes> {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let behind = &text[text.iter().position(|byte| !is_of_word(byte))?..];
    let inside = behind.trim_ascii_start().strip_prefix(b"(")?.trim_ascii_start();
    let end = match inside.first()? {
        b'<' => b'>',
        b'"' => b'"',
        _ => return None,
    };
    let name = &inside[1..];
    let length = name.iter().take(LONGEST + 1).position(|byte| *byte == end)?;
    let name = &name[..length];
    (!name.is_empty() && !name.contains(&b'\n')).then(|| Bytes::copy_from_slice(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        names_in(text.as_bytes()).iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn questions_are_understood_as_they_are_written() {
        let text = "#if defined(__has_include) && __has_include(<a/b.h>)\n#elif __has_include ( \"c.h\" )\n\
            #if __has_include_next(<d.h>)\n#if QT_HAS_INCLUDE(<e>)\n";

        assert_eq!(found(text), ["a/b.h", "c.h", "d.h", "e"]);
    }

    #[test]
    fn what_is_no_question_is_passed_over() {
        assert_eq!(found("#ifdef __has_include\n#define HAS_INCLUDE(x) __has_include(x)\n"), [""; 0]);
        assert_eq!(found("__has_include(<a\n>)"), [""; 0]);
        assert_eq!(found("__has_include(<>) __has_include(<unfinished"), [""; 0]);
        assert_eq!(found("__has_include"), [""; 0]);
        assert_eq!(found(&format!("__has_include(<{}>)", "a".repeat(LONGEST + 1))), [""; 0]);
        assert_eq!(found(&format!("__has_include(<{}>)", "a".repeat(LONGEST))).len(), 1);
    }

    #[test]
    fn a_file_that_asks_for_very_much_is_bounded() {
        let text: String = (0..3 * MOST_OF_FILE).map(|number| format!("__has_include(<{number}>)\n")).collect();

        assert_eq!(found(&text).len(), MOST_OF_FILE);
    }

    fn unseen(path: PathBuf) -> Asker {
        Asker { path, seen: None }
    }

    /// Of a file that was changed a moment ago nothing is remembered.
    fn await_settled(path: &Path) {
        while !Mark::of_path(path).unwrap().is_settled() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn nobody_asks_in_directories_that_the_compiler_does_not_search() {
        let inputs = [v1::Stamp { path: "a.c".into(), size: 7, mtime_ns: 9, ..v1::Stamp::default() }];
        let asking = |read: &[&str], opened: &[&'static str]| -> Vec<Asker> {
            let opened: Vec<Bytes> = opened.iter().map(|path| Bytes::from(*path)).collect();
            let mounts = [PathBuf::from("/m")];
            askers(Path::new("/m"), &mounts, &inputs, read.iter().map(PathBuf::from).collect(), &opened).collect()
        };

        let compiler = "/usr/lib/gcc/x/12/cc1";
        let read = asking(&["/m/b.h", "/m/a.c", "/elsewhere/c.h"], &[compiler, "/usr/include/stdc-predef.h"]);
        let source = Asker { path: "/m/a.c".into(), seen: Some((7, 9)) };
        let headers = ["/m/b.h", "/usr/include/stdc-predef.h"].map(|path| unseen(path.into()));
        assert_eq!(read, [&[source], &headers[..]].concat());
        assert_eq!(asking(&["/usr/include/zlib.h"], &[]).len(), 2);
        assert!(asking(&["/m/b.h"], &[compiler, "/opt/sysroot/usr/include/stdio.h"]).is_empty());
    }

    #[test]
    fn what_is_asked_for_is_told_with_its_place_unless_the_toolchain_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (source, object) = (dir.path().join("a.c"), dir.path().join("a.o"));
        std::fs::write(&source, "#if __has_include(<stdio.h>) && __has_include(<no/such.h>)\n").unwrap();
        std::fs::write(&object, "__has_include(<object.h>)").unwrap();
        let files = || [source.clone(), object.clone(), dir.path().join("gone.h"), dir.path().to_owned()].into_iter();
        let told = |toolchain: bool| -> Vec<(Bytes, bool)> {
            let all = headers(files().map(unseen), Instant::now(), |_| toolchain);
            all.into_iter().map(|asked| (asked.name, asked.path.ends_with(b"/stdio.h"))).collect()
        };

        assert_eq!(told(false), [("no/such.h".into(), false), ("stdio.h".into(), true)]);
        assert_eq!(told(true), [("no/such.h".into(), false)]);
    }

    #[test]
    fn what_is_read_in_part_is_not_taken_for_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let asker = unseen(dir.path().join("a.h"));
        std::fs::write(&asker.path, "__has_include(<a.h>) __has_include(<b.h>)").unwrap();
        await_settled(&asker.path);
        let names = |mut left: u64| (names_of(&asker, Instant::now(), &mut left).unwrap().len(), left);

        assert_eq!(names(22), (1, 0));
        assert_eq!(names(0), (0, 0));
        assert_eq!(names(MOST_BYTES), (2, MOST_BYTES - 41));
        assert_eq!(names(0), (2, 0), "it is known now");
    }

    #[test]
    fn a_file_is_looked_at_again_after_a_while_and_one_that_was_seen_when_it_was_seen_as_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.h");
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        // One takes the place of the other, with the same time.
        let put = |name: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, format!("__has_include(<{name}>)")).unwrap();
            std::fs::File::options().write(true).open(&new).unwrap().set_modified(long_ago).unwrap();
            std::fs::rename(&new, &path).unwrap();
            await_settled(&path);
        };
        let (begun, nanoseconds) = (Instant::now(), 1_000_000_000_000_000_000);
        let asked = |seen: Option<u64>, after: Duration| {
            let asker = Asker { path: path.clone(), seen: seen.map(|size| (size, nanoseconds)) };
            headers([asker].into_iter(), begun + after, |_| false).remove(0).name
        };
        put("no/one.h");
        let size = std::fs::metadata(&path).unwrap().len();
        assert_eq!(asked(None, Duration::ZERO), "no/one.h");
        put("no/other.h");

        assert_eq!(asked(None, FRESH / 2), "no/one.h");
        assert_eq!(asked(Some(size), FRESH * 2), "no/one.h", "it was seen to be that");
        assert_eq!(asked(Some(size + 2), FRESH / 2), "no/other.h", "it was seen to be another");
        put("no/third.h");
        assert_eq!(asked(None, FRESH * 4), "no/third.h");
    }
}
