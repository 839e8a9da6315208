//! How files look from here: named inputs before a command runs, its outputs after.
//!
//! A shared filesystem may show this machine an older state than the launcher's saw (design.md section 8). Opening a
//! file makes close-to-open filesystems ask their server; opening and reading the parent gets rid of a name remembered
//! as missing. What stays stale after that is another worker's job. Where nothing is hidden one `stat` is enough, and what
//! a commit has made is not looked at again.

use std::ffi::OsStr;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proto::v1;

/// How long a stale view is refreshed before the attempt goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Waits until all inputs look as they looked to the launcher; the error names the first that does not. Blocks.
/// `may_hide` says where a look may show an old state; `given_up` is asked between two looks.
pub(crate) fn await_inputs(
    cwd: &Path,
    inputs: &[v1::Stamp],
    may_hide: impl Fn(&Path) -> bool,
    given_up: impl Fn() -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    for wanted in inputs {
        let path = resolve(cwd, &wanted.path);
        if !may_hide(&path) && fs::metadata(&path).is_ok_and(|facts| differs(&facts, wanted).is_none()) {
            continue;
        }
        while let Some(difference) = difference(&path, wanted) {
            if Instant::now() >= deadline || given_up() {
                return Err(format!("{}: {difference}", path.display()));
            }
            refresh_parent(&path);
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    Ok(())
}

/// When an attempt ran, by this machine's clock.
pub(crate) struct Span {
    began: SystemTime,
    ended: SystemTime,
}

impl Span {
    /// From `began` until now.
    pub(crate) fn since(began: SystemTime) -> Self {
        Self { began, ended: SystemTime::now() }
    }

    /// Whether a file of this time was written by the attempt, for all that a time can tell. Where another clock than
    /// this machine's stamps files, it may seem not to have been.
    fn holds(&self, mtime_ns: i64) -> bool {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        };
        // Files are stamped by a clock that goes in steps of up to 10 ms (CONFIG_HZ of 100).
        const STEP: i64 = 10_000_000;
        (nanos(self.began).saturating_sub(STEP)..=nanos(self.ended)).contains(&mtime_ns)
    }
}

/// The outputs that exist.
fn of_outputs(cwd: &Path, outputs: &[Bytes], span: &Span) -> Vec<v1::Stamp> {
    let look = |path: &Bytes| {
        let facts = look(&resolve(cwd, path)).ok()?;
        let mtime_ns = mtime_ns(&facts);
        let fresh = span.holds(mtime_ns);
        Some(v1::Stamp { path: path.clone(), inode: facts.ino(), size: facts.len(), mtime_ns, fresh })
    };
    outputs.iter().filter_map(look).collect()
}

/// The outputs that exist, and before them what else was committed: a launcher looks at the main output last, as it
/// appeared last.
pub(crate) fn of_written(cwd: &Path, outputs: &[Bytes], committed: &[v1::Stamp], span: &Span) -> Vec<v1::Stamp> {
    let named: Vec<PathBuf> = outputs.iter().map(|output| resolve(cwd, output)).collect();
    let names = |path: &Path, stamp: &v1::Stamp| path.as_os_str().as_bytes() == stamp.path;
    let others = committed.iter().filter(|stamp| !named.iter().any(|path| names(path, stamp))).cloned();
    let mut stamps: Vec<v1::Stamp> = others.collect();
    let look = |(output, path): (&Bytes, &PathBuf)| match committed.iter().rfind(|stamp| names(path, stamp)) {
        Some(known) => Some(v1::Stamp { path: output.clone(), ..known.clone() }),
        None => of_outputs(cwd, std::slice::from_ref(output), span).pop(),
    };
    stamps.extend(outputs.iter().zip(&named).rev().filter_map(look));
    stamps
}

fn resolve(cwd: &Path, path: &[u8]) -> PathBuf {
    cwd.join(OsStr::from_bytes(path))
}

/// Says how the file differs from what the launcher saw. The inode number is not compared: filesystems exist that make
/// them up on each client. A file that only the user may open is looked at without opening it.
fn difference(path: &Path, wanted: &v1::Stamp) -> Option<String> {
    match look(path) {
        Ok(facts) => differs(&facts, wanted),
        // Not ours to see, as root on a server that squashes root: the command itself will.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(error.to_string()),
    }
}

fn differs(facts: &Metadata, wanted: &v1::Stamp) -> Option<String> {
    if facts.len() != wanted.size {
        return Some(format!("has {} bytes here and {} for the launcher", facts.len(), wanted.size));
    }
    (mtime_ns(facts) != wanted.mtime_ns).then(|| "has another modification time here".to_owned())
}

fn look(path: &Path) -> io::Result<Metadata> {
    // Should a FIFO have taken its place: to open it would wait for its other end.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file.metadata(),
        // What is not ours to open, or is a socket, can be looked at all the same.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(libc::ENXIO) => {
            fs::metadata(path).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

fn mtime_ns(facts: &Metadata) -> i64 {
    facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec())
}

fn refresh_parent(path: &Path) {
    if let Some(entries) = path.parent().and_then(|parent| fs::read_dir(parent).ok()) {
        entries.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ever() -> Span {
        Span::since(UNIX_EPOCH)
    }

    #[test]
    fn an_input_that_looks_the_same_is_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.c"), "int a;").unwrap();
        let seen = of_outputs(dir.path(), &[Bytes::from_static(b"a.c"), Bytes::from_static(b"missing")], &ever());

        assert_eq!(seen.len(), 1);
        assert_eq!(await_inputs(dir.path(), &seen, |_| true, || panic!("nothing to wait for")), Ok(()));
    }

    #[test]
    fn a_stale_input_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = v1::Stamp { path: Bytes::from_static(b"a.c"), inode: 1, size: 9, mtime_ns: 1, fresh: false };

        let missing = await_inputs(dir.path(), std::slice::from_ref(&wanted), |_| true, || true).unwrap_err();
        fs::write(dir.path().join("a.c"), "int a;").unwrap();
        let stale = await_inputs(dir.path(), &[wanted], |_| false, || true).unwrap_err();

        assert!(missing.contains("a.c: No such file"), "{missing}");
        assert!(stale.contains("has 6 bytes here and 9"), "{stale}");
    }

    #[test]
    fn an_output_is_told_of_once_and_the_main_one_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut committed = Vec::new();
        for name in ["a.dwo", "a.d", "a.o"] {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            committed.extend(of_outputs(dir.path(), &[Bytes::copy_from_slice(path.as_os_str().as_bytes())], &ever()));
        }

        let told = of_written(dir.path(), &["a.o".into(), "a.d".into()], &committed, &ever());

        let dwo = committed[0].path.clone();
        assert_eq!(told.iter().map(|stamp| stamp.path.clone()).collect::<Vec<_>>(), [dwo, "a.d".into(), "a.o".into()]);
    }

    #[test]
    fn an_input_that_appears_late_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("late.h");
        fs::write(&file, "x").unwrap();
        let wanted = of_outputs(dir.path(), &[Bytes::from_static(b"late.h")], &ever());
        let hidden = dir.path().join("hidden");
        fs::rename(&file, &hidden).unwrap();

        let appear = || {
            let _ = fs::rename(&hidden, &file);
            false
        };
        assert_eq!(await_inputs(dir.path(), &wanted, |_| false, appear), Ok(()));
    }

    #[test]
    fn what_was_there_before_or_was_given_a_time_is_not_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let began = SystemTime::now();
        for name in ["new.o", "old.o", "ahead.o", "copied.o"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let put = |name: &str, time| {
            fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
        };
        put("old.o", began - Duration::from_secs(1));
        put("ahead.o", began + Duration::from_secs(3600));
        // As the commit knows and its time does not tell.
        let copied = Bytes::copy_from_slice(dir.path().join("copied.o").as_os_str().as_bytes());
        let committed = v1::Stamp { path: copied, ..v1::Stamp::default() };
        let names = ["new.o", "old.o", "ahead.o", "copied.o"].map(Bytes::from);

        let told = of_written(dir.path(), &names, &[committed], &Span::since(began));

        let fresh: Vec<&[u8]> = told.iter().filter(|stamp| stamp.fresh).map(|stamp| &stamp.path[..]).collect();
        assert_eq!(fresh, [b"new.o"]);
    }
}
