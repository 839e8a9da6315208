//! The process group of one attempt: its leader is the command itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use model::outcome::ExitStatus;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, kill_process_group};

/// A group whose leader this process started and has not reaped: until [`ProcessGroup::reap`] neither the process id
/// nor the group id can be given to anybody else, so that signals cannot hit a stranger.
#[derive(Debug)]
pub(super) struct ProcessGroup {
    leader: Pid,
    pidfd: OwnedFd,
}

/// What `wait4(2)` says of the leader and of all its descendants that were waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) status: ExitStatus,
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) peak_memory: u64,
}

impl ProcessGroup {
    pub(super) fn new(leader: Pid, pidfd: OwnedFd) -> Self {
        Self { leader, pidfd }
    }

    pub(super) fn id(&self) -> Pid {
        self.leader
    }

    /// Readable once the leader has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // A group without members left is no error worth a word.
        let _ = kill_process_group(self.leader, signal);
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sleeps until the leader has ended, without reaping it.
    pub(super) fn await_end(&self) {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        while rustix::event::poll(&mut ended, None).is_err() {}
    }

    /// Waits for the leader; call it when the pidfd is readable and it returns at once.
    pub(super) fn reap(self) -> Exit {
        wait4(self.leader)
    }
}

/// `wait4(2)`, because only it gives the resource usage of one child and its tree; rustix has no such call.
fn wait4(leader: Pid) -> Exit {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable locals of the right types.
        let pid = unsafe { libc::wait4(leader.as_raw_nonzero().get(), &mut status, 0, usage.as_mut_ptr()) };
        let interrupted = pid < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        if !interrupted {
            break;
        }
    }
    // SAFETY: zeroed at first, which is a valid `rusage`, and perhaps overwritten by the kernel.
    let usage = unsafe { usage.assume_init() };
    Exit {
        status: status_of(status),
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    }
}

fn status_of(status: libc::c_int) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(u8::try_from(libc::WTERMSIG(status)).unwrap_or(u8::MAX))
    } else {
        ExitStatus::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}
