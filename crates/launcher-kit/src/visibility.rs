//! A job is done when this machine sees what the worker wrote: the answer overtakes the filesystem's caches
//! (design.md section 8; filesystems.md section 2 for what helps where).

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

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
fn is_seen(stamp: &Stamp) -> bool {
    let path = Path::new(OsStr::from_bytes(&stamp.path));
    // A file that we may not read can still be looked at.
    let metadata = File::open(path).and_then(|file| file.metadata()).or_else(|_| std::fs::metadata(path));
    metadata.is_ok_and(|seen| {
        let mtime_ns = seen.mtime() * 1_000_000_000 + seen.mtime_nsec();
        seen.size() == stamp.size && mtime_ns == stamp.mtime_ns
    })
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
    fn a_file_of_another_size_is_named_when_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();
        let reported = Stamp { size: 2, ..stamp_of(&file) };

        let error = block_on(wait(&[reported], Duration::ZERO)).unwrap_err();

        assert!(error.contains("a.o"), "{error}");
    }
}
