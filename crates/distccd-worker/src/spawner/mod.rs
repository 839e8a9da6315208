//! A small process beside the worker that starts the keepers, one for each attempt (see `keeper`).
//!
//! It is small so that a keeper can be forked from it cheaply, and single-threaded so that what is forked may do
//! anything. It is also what outlives the worker by a moment: it hears of the worker's death, however it died, by the end
//! of its socket, kills every keeper and with them all that they started, tells the
//! server when they are dead (see `obituary`), and ends. `PR_SET_PDEATHSIG` alone would end a
//! compiler driver but not the `cc1plus`, `as` and `ld` that it started.
//!
//! The worker sends one message an attempt over a `SOCK_SEQPACKET` pair: a byte that says which namespaces the keeper
//! gets and whether the command gets a control group, and three descriptors, its end of the conversation and both outputs
//! of the command. All else travels between the attempt's thread and its keeper. Before the first, one message may bring
//! the directory in which control groups are made.

mod serve;

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::keeper::tree;
use crate::lease_page::LeasePage;
use crate::obituary::Will;
pub use serve::serve;

/// `argv[0]` of the spawner, so that people and `pkill` can tell it from the worker.
pub const ARGV0: &str = "distccd-spawner";

/// The worker's end.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: OwnedFd,
    page: LeasePage,
    will: Will,
}

/// The namespaces of a keeper, as they travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Namespaces {
    /// Those of the worker: the command works in place.
    None = 0,
    /// Mounts and processes of its own, by the rights of root.
    Root = 1,
    /// The same inside a user namespace of its own, for a worker that is not root.
    User = 2,
}

impl Namespaces {
    fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Root,
            2 => Self::User,
            _ => Self::None,
        }
    }

    /// As clone(2) takes them.
    const fn flags(self) -> libc::c_int {
        match self {
            Self::None => 0,
            Self::Root => libc::CLONE_NEWNS | libc::CLONE_NEWPID,
            Self::User => libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID,
        }
    }
}

/// Beside the namespaces: the command is to have a control group.
const GROUPED: u8 = 0x10;
/// The first byte of the message that brings their directory; the limit of memory follows, 0 for none.
const GROUPS: u8 = 0x80;
/// Of a message, in bytes.
const LONGEST: usize = 1 + size_of::<u64>();

impl Spawner {
    /// Starts the spawner: this very program under another name, told by [`ARGV0`] to run [`serve`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start() -> io::Result<Self> {
        // What a spawner leaves behind that is killed comes to us: see `end_orphans`.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Self::start_from(Path::new("/proc/self/exe"))
    }

    /// The same from a `distccd-worker` elsewhere, for a test that runs the worker inside its own process.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_from(program: &Path) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (page, will) = (LeasePage::create()?, Will::new()?);
        let mut command = Command::new(program);
        command.arg0(ARGV0).env_clear().current_dir("/").stdin(Stdio::from(theirs));
        // It prints nothing: its standard output is the page, its standard error the will.
        command.stdout(Stdio::from(page.memory().try_clone_to_owned()?)).stderr(will.for_spawner()?);
        // SAFETY: only system calls after the fork.
        unsafe { command.pre_exec(outlive_the_worker) };
        // Never waited for: it ends after us.
        command.spawn()?;
        Ok(Self(Arc::new(Inner { socket: ours, page, will })))
    }

    /// Asks for a keeper whose command prints to these two, in a control group if it is to have one; gives our end of the conversation with it. A spawner that is
    /// gone is noticed by the end of that conversation.
    ///
    /// # Errors
    /// When this process is out of descriptors, or the spawner is gone.
    pub(crate) fn open_keeper(
        &self,
        namespaces: Namespaces,
        grouped: bool,
        stdout: &OwnedFd,
        stderr: &OwnedFd,
    ) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let grouped = if grouped { GROUPED } else { 0 };
        self.send(&[namespaces as u8 | grouped], &[theirs.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        Ok(ours)
    }

    /// Says where control groups are to be made, and what memory each may have.
    ///
    /// # Errors
    /// When the spawner is gone.
    pub(crate) fn give_groups(&self, dir: BorrowedFd<'_>, limit: Option<u64>) -> io::Result<()> {
        let message = [&[GROUPS][..], &limit.unwrap_or(0).to_ne_bytes()].concat();
        self.send(&message, &[dir])
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        loop {
            match sendmsg(&self.0.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the spawner is to tell the server when all that it has started is dead.
    pub(crate) fn will(&self) -> &Will {
        &self.0.will
    }

    /// Waits until the spawner is gone, which nothing of its own makes it: it was killed, and its keepers with it.
    ///
    /// # Errors
    /// When this process is out of descriptors.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        // It never says anything, so the end is all that there is to read.
        // SAFETY: the descriptor is the value's own, and stays open and the same as long as that lives.
        let socket = unsafe { AsyncFd::register_with_interest(self.0.socket.try_clone()?, Interest::READABLE)? };
        let _ready = socket.readable().await?;
        Ok(())
    }

    /// Where the lease is written down for the keepers.
    pub(crate) fn page(&self) -> &LeasePage {
        &self.0.page
    }
}

/// Ends what a spawner that was killed has left behind: its keepers die with it, but what their commands started goes on
/// where there is no namespace to end it. For a worker that is about to end, too.
pub fn end_orphans() {
    tree::kill_children(|_| false);
}

/// A session of its own and deaf to the signals that end the worker: `kill -TERM -PGID`, a closed terminal, Ctrl-C.
/// Ignored signals stay ignored over `exec`.
fn outlive_the_worker() -> io::Result<()> {
    rustix::process::setsid()?;
    crate::fds::close_on_exec_above_stderr();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(())
}

/// Whether this process was started as the spawner.
#[must_use]
pub fn is_spawner(argv0: Option<&OsStr>) -> bool {
    argv0 == Some(OsStr::new(ARGV0))
}
