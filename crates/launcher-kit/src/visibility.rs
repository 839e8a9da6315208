//! A job is done when this machine sees what the worker wrote: the answer overtakes the filesystem's caches
//! (design.md section 8; filesystems.md section 2 for what helps where).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::v1::Stamp;

/// The first pause before looking again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Waits until every file looks from here as the worker reported it.
///
/// # Errors
/// The first file that still does not after `timeout`.
pub async fn wait(stamps: &[Stamp], timeout: Duration) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + timeout;
    for stamp in stamps {
        let mut pause = FIRST_PAUSE;
        while !is_seen(stamp) {
            let path = Path::new(OsStr::from_bytes(&stamp.path));
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{} does not look from here as the worker left it", path.display()));
            }
            refresh(path);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    Ok(())
}

/// Opens the file and looks at it: on NFS only `open(2)` must ask the server (close-to-open).
///
/// A file that is newer than the worker left it was written since, by another command that has the same output; what
/// this one wrote is not to be seen any more, by nobody. The time of an old file may lie in the future, so that does not
/// count as newer. A file that we are not allowed to look at is not shown by waiting either.
fn is_seen(stamp: &Stamp) -> bool {
    let path = Path::new(OsStr::from_bytes(&stamp.path));
    // A file that we may not read can still be looked at.
    let metadata = File::open(path).and_then(|file| file.metadata()).or_else(|_| std::fs::metadata(path));
    match metadata {
        Ok(seen) => {
            let mtime_ns = seen.mtime() * 1_000_000_000 + seen.mtime_nsec();
            let as_left = seen.size() == stamp.size && mtime_ns == stamp.mtime_ns;
            as_left || (mtime_ns > stamp.mtime_ns && mtime_ns <= now_ns())
        }
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Opening and reading the parent directory drops what NFS remembers as missing; v3 needs the reading too.
fn refresh(path: &Path) {
    if let Some(entries) = path.parent().and_then(|parent| std::fs::read_dir(parent).ok()) {
        entries.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp_of(path: &Path) -> Stamp {
        crate::survey::stamp(path, &std::fs::metadata(path).unwrap())
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_file_as_reported_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();

        assert_eq!(block_on(wait(&[stamp_of(&file)], Duration::ZERO)), Ok(()));
    }

    #[test]
    fn a_file_that_was_written_since_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "of somebody else").unwrap();
        let now = stamp_of(&file);
        let earlier = Stamp { size: 1, mtime_ns: now.mtime_ns - 1, ..now };

        assert_eq!(block_on(wait(std::slice::from_ref(&earlier), Duration::ZERO)), Ok(()));

        // An old file from the future, of which the replacement is not visible yet.
        let future = std::fs::FileTimes::new().set_modified(SystemTime::now() + Duration::from_secs(3600));
        File::options().write(true).open(&file).unwrap().set_times(future).unwrap();
        assert!(block_on(wait(&[earlier], Duration::ZERO)).is_err());
    }

    #[test]
    fn a_file_of_another_size_is_named_when_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();
        let reported = Stamp { size: 2, ..stamp_of(&file) };

        let error = block_on(wait(&[reported], Duration::ZERO)).unwrap_err();

        assert!(error.contains("a.o"), "{error}");
    }
}
