//! Makes a filesystem look at its server again: what ends a stale view where (filesystems.md section 2).

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// Directories above one that is missing that are looked at as well: their own view may be the stale one.
const MOST_ABOVE: usize = 16;

/// Opens and reads a directory, and opens the files in it that were replaced. Of one that is not there, those above it: a name that
/// was remembered as missing may be a directory's. One that is missing still is no error, it may be gone; but one that its
/// directory lists is only hidden.
pub(super) fn look_at(dir: &Path, names: &[Bytes]) -> io::Result<()> {
    match read(dir) {
        Err(error) if is_missing(&error) => {
            let above = dir.ancestors().skip(1).take(MOST_ABOVE);
            for above in above {
                match read(above) {
                    Err(error) if is_missing(&error) => {}
                    other => {
                        other?;
                        break;
                    }
                }
            }
            allow_missing(read(dir))?;
        }
        other => other?,
    }
    let mut missing = Vec::new();
    for name in names {
        let file = dir.join(OsStr::from_bytes(name));
        match open(&file) {
            Err(error) if is_missing(&error) => missing.push(file),
            other => other?,
        }
    }
    match missing.iter().find(|file| is_hidden(file)) {
        Some(hidden) => Err(io::Error::other(format!("{} is listed, and not to be seen", hidden.display()))),
        None => Ok(()),
    }
}

/// Whether this machine believes that there is no such name, and the directory lists it: a name that was remembered as
/// missing, where reading the directory does not end that.
pub(super) fn is_hidden(file: &Path) -> bool {
    let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else { return false };
    let is_unseen = || fs::symlink_metadata(file).is_err_and(|error| is_missing(&error));
    let lists = |mut entries: fs::ReadDir| entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() == name));
    is_unseen() && fs::read_dir(dir).is_ok_and(lists)
}

/// NFS asks its server when a directory is opened; v3 may still believe in a name that was missing at the same tick of
/// the clock, until the whole directory was read.
fn read(dir: &Path) -> io::Result<()> {
    fs::read_dir(dir)?.try_for_each(|entry| entry.map(drop))
}

/// Close-to-open: NFS v4.2 shows a replaced file's old content until it is opened after its directory was.
fn open(file: &Path) -> io::Result<()> {
    // A FIFO would wait for its other end, and a device is none of our business.
    if !fs::metadata(file)?.is_file() {
        return Ok(());
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file).and_then(|file: File| file.metadata());
    match opened {
        // Not ours to see: then the command does not see it either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map(drop),
    }
}

/// Whether there is a name here whose file is no more.
pub(super) fn is_stale(file: &Path) -> bool {
    open(file).is_err_and(|error| error.kind() == io::ErrorKind::StaleNetworkFileHandle)
}

fn allow_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::StaleNetworkFileHandle
    )
}

/// When a directory was last changed, as far as this machine knows without asking; nothing when it is not there.
pub(super) fn changed_at(dir: &Path) -> Option<i64> {
    let facts = fs::metadata(dir).ok()?;
    Some(facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec()))
}

/// The same as the server knows it. Only after a look: what was remembered as missing does not go by being asked that.
pub(super) fn changed_at_the_server(dir: &Path) -> Option<i64> {
    let facts = statx(CWD, dir, AtFlags::STATX_FORCE_SYNC, StatxFlags::MTIME).ok()?;
    Some(facts.stx_mtime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(facts.stx_mtime.tv_nsec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_no_error_and_what_is_there_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.h"), "").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RWXU).unwrap();
        let names = [&b"a.h"[..], b"fifo", b"gone.h"].map(Bytes::from_static);

        assert!(look_at(dir.path(), &names).is_ok());
        assert!(look_at(&dir.path().join("no/such"), &names).is_ok());
        assert_eq!(changed_at(dir.path()), changed_at_the_server(dir.path()));
        assert!(changed_at(dir.path()).is_some() && changed_at(&dir.path().join("no")).is_none());
    }
}
