//! Files that come and go in `.distccd/`, for a machine to measure when it sees what another has made.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, unlinkat};

use crate::{DIRECTORY, directory_for_writing, open_directory, write_new};

/// No name is longer.
const LONGEST: usize = 32;

/// Makes one. May hang as the filesystem does.
///
/// # Errors
/// When the system says so, or the name is not of letters and digits.
pub fn appear(mount: &Path, name: &str) -> io::Result<()> {
    let file = file_name(name)?;
    write_new(&directory_for_writing(mount)?, &file, b"").map(drop)
}

/// Removes it.
///
/// # Errors
/// When the system says so.
pub fn vanish(mount: &Path, name: &str) -> io::Result<()> {
    Ok(unlinkat(open_directory(mount)?, file_name(name)?.as_str(), AtFlags::empty())?)
}

/// Removes all that a server left behind. May hang as the filesystem does.
///
/// # Errors
/// When the system says so.
pub fn sweep(mount: &Path) -> io::Result<()> {
    let directory = open_directory(mount)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(b"probe-") {
            unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Whether it is to be seen. May hang as the filesystem does.
#[must_use]
pub fn is_seen(mount: &Path, name: &str) -> bool {
    time_of(mount, name).is_some()
}

/// If it is to be seen, the time that it bears: that of whoever made it. May hang as the filesystem does.
#[must_use]
pub fn time_of(mount: &Path, name: &str) -> Option<SystemTime> {
    File::open(directory(mount).join(file_name(name).ok()?)).ok()?.metadata().ok()?.modified().ok()
}

fn directory(mount: &Path) -> PathBuf {
    mount.join(DIRECTORY)
}

pub(crate) fn file_name(name: &str) -> io::Result<String> {
    let good = !name.is_empty() && name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "the name must be 1 to 32 letters and digits");
    good.then(|| format!("probe-{name}")).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_comes_and_goes_and_is_nowhere_else() {
        let mount = tempfile::tempdir().unwrap();
        assert!(!is_seen(mount.path(), "a1"));

        appear(mount.path(), "a1").unwrap();
        assert!(is_seen(mount.path(), "a1"));
        assert!(appear(mount.path(), "a1").is_err(), "it is somebody's");
        vanish(mount.path(), "a1").unwrap();

        assert!(!is_seen(mount.path(), "a1"));
        appear(mount.path(), "b2").unwrap();
        sweep(mount.path()).unwrap();
        assert!(!is_seen(mount.path(), "b2"));
        for wrong in ["", "../x", "a/b", "a b"] {
            assert!(appear(mount.path(), wrong).is_err(), "{wrong}");
        }
    }
}
