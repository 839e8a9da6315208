//! Why a commit stopped, and who must act.

use std::fmt;

use rustix::fs::FileType;
use rustix::io::Errno;

/// Whose fault it is; the worker reports by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The lease ended, or a later attempt has removed our temporaries: somebody else makes these files now.
    Lease,
    /// The shared filesystem is full, or the user's quota on it is: another machine would fare the same.
    Full,
    /// The shared filesystem does not work from this machine (`EIO`, `ESTALE`, `EROFS`, ...): another may fare better.
    Mount,
    /// The shared filesystem refuses what the isolated command could do, or others have put something in its way; run in
    /// place, the command says so itself.
    Refused,
    /// The scratch directory cannot be read back: this machine's fault.
    Scratch,
    /// The command left what no build leaves: too many files, too deep a tree.
    Attempt,
}

/// Where an operation was under way: it decides whom an error number accuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Upper,
    Real,
}

/// A commit that did not come to its end. What was published before stays; the primary output was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitError {
    /// Whose fault it is.
    pub blame: Blame,
    /// What was being done, as a verb: `rename`, `write`.
    pub step: &'static str,
    /// To which path, relative to the mount.
    pub path: Vec<u8>,
    /// What the kernel said, if it was the kernel.
    pub errno: Option<Errno>,
    /// What others have put under the path meanwhile, if it was that.
    pub found: Option<FileType>,
}

impl CommitError {
    pub(crate) fn of(side: Side, step: &'static str, path: &[u8], errno: Errno) -> Self {
        Self { blame: blame_for(side, errno), step, path: path.to_vec(), errno: Some(errno), found: None }
    }

    pub(crate) fn lease(step: &'static str, path: &[u8]) -> Self {
        Self { blame: Blame::Lease, step, path: path.to_vec(), errno: None, found: None }
    }

    pub(crate) fn attempt(step: &'static str, path: &[u8]) -> Self {
        Self { blame: Blame::Attempt, step, path: path.to_vec(), errno: None, found: None }
    }

    pub(crate) fn taken(step: &'static str, path: &[u8], found: FileType) -> Self {
        Self { blame: Blame::Refused, step, path: path.to_vec(), errno: None, found: Some(found) }
    }
}

/// Whom an error number accuses.
fn blame_for(side: Side, errno: Errno) -> Blame {
    match (side, errno) {
        (Side::Upper, _) => Blame::Scratch,
        (_, Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Blame::Full,
        (_, Errno::ACCESS | Errno::PERM | Errno::NAMETOOLONG | Errno::MLINK) => Blame::Refused,
        _ => Blame::Mount,
    }
}

fn words_for(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        FileType::Unknown => "something else",
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        if let Some(found) = self.found {
            return write!(f, "{} {path}: others have put {} there meanwhile", self.step, words_for(found));
        }
        match (self.blame, self.errno) {
            (_, Some(errno)) => write!(f, "{} {path}: {errno}", self.step),
            (Blame::Lease, None) => write!(f, "{} {path}: the lease is over", self.step),
            (_, None) => write!(f, "{} {path}: too large a tree", self.step),
        }
    }
}

impl std::error::Error for CommitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_accuses_by_where_it_happened() {
        assert_eq!(blame_for(Side::Real, Errno::NOSPC), Blame::Full);
        assert_eq!(blame_for(Side::Real, Errno::DQUOT), Blame::Full);
        assert_eq!(blame_for(Side::Upper, Errno::NOSPC), Blame::Scratch);
        for broken in [Errno::IO, Errno::STALE, Errno::ROFS, Errno::NOTCONN, Errno::TIMEDOUT] {
            assert_eq!(blame_for(Side::Real, broken), Blame::Mount);
        }
        assert_eq!(blame_for(Side::Real, Errno::ACCESS), Blame::Refused);
    }
}
