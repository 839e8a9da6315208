//! A tiny process that outlives the worker by a moment.
//!
//! `PR_SET_PDEATHSIG` ends a compiler driver when the worker dies, but not what the driver started (`cc1plus`, `as`,
//! `ld`): those would run on, and write outputs under names that another worker's attempt then owns. So every process
//! group of an attempt is listed with the guardian from before its `exec` until just before its leader is reaped; when
//! the last writing end of the socket closes, the worker is dead, however it died, and the guardian kills what is still
//! listed.
//!
//! Records are eight bytes over a `SOCK_SEQPACKET` pair: atomic, in order, and, unlike a pipe, without a SIGPIPE for
//! a compiler-to-be if somebody killed the guardian.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, Signal, kill_process_group};

/// `argv[0]` of the guardian, so that people and `pkill` can tell it from the worker.
pub const ARGV0: &str = "distccd-guardian";

/// The worker's end: tells the guardian what to kill.
#[derive(Clone, Debug)]
pub struct Guardian(Option<Arc<OwnedFd>>);

impl Guardian {
    /// Starts the guardian: this very program under another name, told by [`ARGV0`] to run [`guard`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start() -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(ARGV0).env_clear().current_dir("/");
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: only system calls after the fork.
        unsafe { command.pre_exec(outlive_the_worker) };
        // Never waited for: it ends after us.
        command.spawn()?;
        Ok(Self(Some(Arc::new(ours))))
    }

    /// No guardian: for tests that run the worker inside their own process.
    #[must_use]
    pub const fn absent() -> Self {
        Self(None)
    }

    /// Lists a group. Safe between fork and exec.
    pub(crate) fn watch(&self, group: Pid) {
        self.tell(i64::from(group.as_raw_nonzero().get()));
    }

    /// Takes a group off the list; call it before the leader is reaped, while the number is still its own.
    pub(crate) fn forget(&self, group: Pid) {
        self.tell(-i64::from(group.as_raw_nonzero().get()));
    }

    fn tell(&self, record: i64) {
        if let Some(socket) = &self.0 {
            // A guardian that is gone guards nothing; the compile is none the worse for it.
            let _ = send(socket.as_fd(), &record.to_ne_bytes(), SendFlags::NOSIGNAL);
        }
    }
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

/// Whether this process was started as the guardian.
#[must_use]
pub fn is_guardian(argv0: Option<&OsStr>) -> bool {
    argv0 == Some(OsStr::new(ARGV0))
}

/// The guardian's whole life: listens on stdin until the worker is dead, then kills what is left of it.
#[must_use]
pub fn guard() -> ExitCode {
    // After `exec` of /proc/self/exe the kernel would call it "exe".
    let _ = rustix::thread::set_name(c"distccd-guardia");
    let socket = rustix::stdio::stdin();
    let mut groups = HashSet::new();
    let mut record = [0_u8; 8];
    loop {
        match recv(socket, record.as_mut_slice(), RecvFlags::empty()) {
            Ok((8, _)) => note(&mut groups, i64::from_ne_bytes(record)),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
    ExitCode::SUCCESS
}

fn note(groups: &mut HashSet<Pid>, record: i64) {
    let number = i32::try_from(record.unsigned_abs()).ok().and_then(Pid::from_raw);
    match number {
        Some(group) if record > 0 => drop(groups.insert(group)),
        Some(group) => drop(groups.remove(&group)),
        None => {}
    }
}
