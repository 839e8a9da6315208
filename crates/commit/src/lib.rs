//! Publishes what an isolated attempt left in the upper layers of its overlays onto the shared filesystem.
//!
//! The command ran in a mount namespace in which an overlay covered each shared mount, so all that it wrote is in the
//! overlays' upper layers, on the worker's scratch. When it has ended, the keeper of the attempt calls [`survey`] (with
//! the right to read overlayfs' marks) and [`publish`] (as the user, with no capability), or both by [`commit`].
//!
//! ```no_run
//! # fn keeper(upper: std::os::fd::BorrowedFd<'_>, real: std::os::fd::BorrowedFd<'_>, attempt: model::ids::Attempt,
//! #     fence: &mut dyn commit::Fence, now: rustix::fs::Timespec) -> Result<(), commit::CommitError> {
//! use commit::{Durability, Family, Kernel, Layer, Primary, Request, Strategy, User};
//!
//! let layers = [Layer { upper, real, family: Family::Trusted, strategy: Strategy::Rename,
//!     stale_view: commit::LONGEST_STALE_VIEW, known: &std::collections::BTreeMap::new() }];
//! let request = Request {
//!     layers: &layers,
//!     attempt,
//!     primary: Some(Primary { layer: 0, path: b"build/a.o" }),
//!     user: User { uid: 1000, gid: 1000 },
//!     began: now,
//!     durability: Durability::None,
//! };
//! let committed = commit::commit(&request, fence, &mut Kernel)?;
//! # let _ = committed; Ok(()) }
//! ```
//!
//! # What is promised
//! Afterwards the shared filesystem is as if the command had run on it directly: names, bytes, modes, what hard and
//! symbolic links mean, and which files look newer than others. Where overlayfs does not record enough to know, what
//! others have made since the attempt began is spared.
//!
//! Where others have meanwhile put something else in place of a directory, or a directory, FIFO, socket or device in place
//! of a file, nothing is published at all ([`Blame::Refused`]): run directly, the command would have failed there, or gone
//! where only the next attempt can follow.
//!
//! The overlay must be mounted with `index=on` where that is allowed (as root, over a filesystem with file handles;
//! `ovl_can_decode_fh` of `fs/overlayfs/util.c` wants `CAP_DAC_READ_SEARCH` of the machine itself): else overlayfs does
//! not mark the copy of a file with several names (`fs/overlayfs/copy_up.c`, `ovl_do_copy_up`), and a file that was written
//! into cannot be told from a new one in its place. It is then published as a new one, which parts it from its other names,
//! rather than risk writing into, say, a cache's copy. Where that matters the attempt must run in place: in an unprivileged
//! overlay, when a named output is there, links followed, and has several names, or is somebody else's. `metacopy` and
//! `redirect_dir` must be off; with `userxattr` they are, and may not be named among the options (`EINVAL`).
//!
//! One thing is lost: of a file with several names, what the command writes into it by a name that it then takes away. With
//! `index=on` overlayfs has that in its index, by the file and not by a name, and a commit reads the upper layer alone.
//!
//! # Order, and what a crash leaves
//! Directories, then files in the order in which the command finished them, symbolic links, removals, and the primary
//! output last of all: whoever finds the primary output new finds all the rest new. A crash in between leaves some of the
//! side outputs new and the primary output as it was, which a build tool sees as not built; the next attempt, or the
//! local run, does all of it again. Temporaries have names by which [`remove_leftovers`] finds them. Not repaired are
//! files that had to be written in place because they have other names (hard links): half of one may be new, as after
//! a crash of the command itself.
//!
//! # The fence, and zombies
//! [`Fence::check`] is asked before every step that others can see. It says whether the lease still runs; a worker whose
//! lease ran out has killed this process, unless it was stopped (SIGSTOP, a frozen machine) and wakes up late, as a
//! zombie. Between a check and its step there are a few instructions in which a zombie can wake. Then:
//! - A *rename* of a temporary, or a *link* to it, finds it gone, because whoever runs the job next has called
//!   [`remove_leftovers`] first, and fails. If the zombie slept before it made the temporary, there is a check between
//!   making and publishing it.
//! - *Removing a name, linking other names, changing a mode or a time* have nothing to fail by. The keeper arms a
//!   timer on `CLOCK_BOOTTIME` that sends SIGKILL at the end of the lease, and a process that is continued takes its
//!   signals before its next instruction: only a pause of the whole machine inside these few instructions is left.
//! - *Writing into a file* goes to a descriptor: that of a temporary, which the next attempt unlinks; or that of a file
//!   which has other names and must stay the same file.

mod calls;
mod directories;
mod error;
mod facts;
mod files;
mod newcomers;
mod publish;
mod removal;
mod sight;
mod strategy;
mod survey;
mod symlinks;
mod temporary;
mod tree;
mod writing;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use model::ids::Attempt;
use rustix::fs::Timespec;

pub use calls::{Calls, Kernel};
pub use error::{Blame, CommitError};
pub use publish::{Committed, LookedAt, Made, Removed, Stamp, publish};
pub use sight::{Sight, sight_of};
pub use strategy::{Strategy, strategy_for, strategy_of};
pub use survey::{Plan, survey};
pub use temporary::{is_temporary, remove_leftovers};

/// The extended attributes in which an overlay keeps its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `trusted.overlay.`: mounted with privileges.
    Trusted,
    /// `user.overlay.`: mounted with `userxattr`, in a user namespace that maps one user and one group.
    User,
}

impl Family {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }
}

/// One overlay and the mount that it covered.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The upper directory.
    pub upper: BorrowedFd<'a>,
    /// The root of the real mount, opened (`O_PATH` will do) before the overlay covered it.
    pub real: BorrowedFd<'a>,
    /// How the overlay was mounted.
    pub family: Family,
    /// How files are published there.
    pub strategy: Strategy,
    /// For how long this machine may have seen an older state of the filesystem: [`LONGEST_STALE_VIEW`] where others
    /// write too.
    pub stale_view: Duration,
    /// Modes that directories had when somebody looked last, by their paths below the mount's root. A directory that the
    /// command left with such a mode is as it was, and needs no look; what is not known here is looked at.
    pub known: &'a BTreeMap<Vec<u8>, u32>,
}

/// What an NFS client believes of a directory without asking (`acdirmax`, nfs(5)); the longest of the filesystems measured.
pub const LONGEST_STALE_VIEW: Duration = Duration::from_secs(60);

/// The job's main output.
#[derive(Clone, Copy, Debug)]
pub struct Primary<'a> {
    /// On which mount, as an index into the layers.
    pub layer: usize,
    /// The path below the mount's root, without symbolic links, `.` and `..`: what `/proc/self/fd` says of the file once
    /// it is opened inside the overlay.
    pub path: &'a [u8],
}

/// Who publishes: the owner and group of the files that this process creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The (file system) user id.
    pub uid: u32,
    /// The (file system) group id.
    pub gid: u32,
}

/// Whether published files are to survive a crash of the machines too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As with a direct run of a compiler: the kernel writes them in its own time. Where a file that is not stored yet is
    /// waited for by other machines ([`Strategy::Link`]), it is synced all the same, and may fail to be.
    None,
    /// `fsync(2)` of every file, and of every directory in which a name has changed.
    Fsync,
}

/// What is to be committed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The attempt's overlays.
    pub layers: &'a [Layer<'a>],
    /// Whose temporaries these are.
    pub attempt: Attempt,
    /// The output that is published last.
    pub primary: Option<Primary<'a>>,
    /// Who publishes.
    pub user: User,
    /// When the command began, on this machine's `CLOCK_REALTIME`. Files that it left with an older modification time
    /// have it by its wish, and keep it; what others changed on the shared filesystem since then is theirs.
    pub began: Timespec,
    /// Whether to wait for disks.
    pub durability: Durability,
}

/// The lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseOver;

/// Knows whether this attempt may still publish.
pub trait Fence {
    /// Asked before every step that others can see; see the crate's description for what it cannot do alone.
    ///
    /// # Errors
    /// When it may not.
    fn check(&mut self) -> Result<(), LeaseOver>;
}

/// [`survey`] and [`publish`] in one.
///
/// # Errors
/// Theirs.
pub fn commit(request: &Request<'_>, fence: &mut dyn Fence, calls: &mut dyn Calls) -> Result<Committed, CommitError> {
    publish(request, &survey(request)?, fence, calls)
}
