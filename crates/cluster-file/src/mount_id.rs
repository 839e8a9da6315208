//! `<fs-mount>/.distccd/mount.id`: which filesystem this is. The server draws it once and leaves it for good; a node that
//! finds another one, or none, at the same path has something else mounted there.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::{directory_for_writing, open_directory, replace};

/// The file in [`crate::DIRECTORY`].
pub const NAME: &str = "mount.id";

/// The identity of a shared filesystem.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MountId([u8; 16]);

impl MountId {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity that lies on a mount; nothing when none does. May hang as the filesystem does.
///
/// # Errors
/// When the system says so, or the file is not what a server writes.
pub fn read(mount: &Path) -> io::Result<Option<MountId>> {
    // Opened first, so that NFS asks its server whether names that it takes for missing still are.
    let directory = match open_directory(mount) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(&directory, NAME, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file?,
    };
    let mut bytes = [0; 64];
    let length = rustix::io::read(&file, &mut bytes)?;
    let id = str::from_utf8(&bytes[..length]).ok().and_then(MountId::parse);
    id.map(Some).ok_or_else(|| io::Error::other(format!("{NAME} holds no identity; remove it, and start the server")))
}

/// The identity of a mount, which is given `fresh` for one if it has none. May hang as the filesystem does.
///
/// # Errors
/// When the system says so.
pub fn establish(mount: &Path, fresh: MountId) -> io::Result<MountId> {
    if let Some(known) = read(mount)? {
        return Ok(known);
    }
    let directory = directory_for_writing(mount)?;
    replace(&directory, NAME, &format!("{NAME}.{fresh}"), format!("{fresh}\n").as_bytes())?;
    // Two servers that begin at once end up with what the later one wrote.
    Ok(read(mount)?.unwrap_or(fresh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_keeps_the_identity_that_it_was_given_first() {
        let mount = tempfile::tempdir().unwrap();
        assert_eq!(read(mount.path()).unwrap(), None);

        let first = establish(mount.path(), MountId([7; 16])).unwrap();

        assert_eq!(first, MountId([7; 16]));
        assert_eq!(establish(mount.path(), MountId([8; 16])).unwrap(), first);
        assert_eq!(read(mount.path()).unwrap(), Some(first));
        assert_eq!(std::fs::read_dir(mount.path().join(".distccd")).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn another_filesystem_has_another_and_garbage_is_none() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        establish(one.path(), MountId([7; 16])).unwrap();
        establish(other.path(), MountId([8; 16])).unwrap();
        assert_ne!(read(one.path()).unwrap(), read(other.path()).unwrap());

        std::fs::write(one.path().join(".distccd/mount.id"), "what?").unwrap();

        assert!(read(one.path()).unwrap_err().to_string().contains("mount.id"));
        assert_eq!(MountId::parse(&MountId([9; 16]).to_string()), Some(MountId([9; 16])));
        assert_eq!(MountId::parse("+9"), None);
    }
}
