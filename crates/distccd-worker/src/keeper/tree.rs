//! The processes of one attempt: the command leads a group, and what it started may have fled from that with
//! setsid(2).
//!
//! All of it descends from the keeper: as the first process of a PID namespace, or as a "subreaper" (prctl(2)), the
//! keeper inherits every orphan below it. So nothing escapes that is killed generation by generation. Where attempts
//! have control groups, one word ends them all.

use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use model::outcome::ExitStatus;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::groups::Group;

/// Looks for the end of what was killed become rarer, from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// The command and all below it. Until [`Tree::end`] neither the process id nor the group id of the command can be given
/// to anybody else, so that signals cannot hit a stranger.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    leader: Pid,
    pidfd: OwnedFd,
    /// Whether this process is the first of a PID namespace, and so may kill everybody whom it sees.
    owns_namespace: bool,
    /// The control group that they cannot leave, if there is one. A command of root's could, so the others are not left
    /// out.
    group: Option<&'a Group>,
}

/// What `wait4(2)` says of the leader and of all its descendants that were waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) status: ExitStatus,
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) peak_memory: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(leader: Pid, pidfd: OwnedFd, owns_namespace: bool, group: Option<&'a Group>) -> Self {
        Self { leader, pidfd, owns_namespace, group }
    }

    /// Readable once the leader has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Asks the group to end.
    pub(super) fn ask(&self) {
        // A group without members left is no error worth a word.
        let _ = kill_process_group(self.leader, Signal::TERM);
    }

    /// Kills all of it, as far as it can be seen.
    pub(super) fn kill(&self) {
        let _ = kill_process_group(self.leader, Signal::KILL);
        if self.owns_namespace {
            // SAFETY: no memory is involved. To the first process of a namespace -1 is everybody else in it.
            unsafe { libc::kill(-1, libc::SIGKILL) };
        }
        self.group.into_iter().for_each(Group::clear);
    }

    /// Reaps the leader, which has ended, and kills and reaps all the rest, which takes as long as the slowest takes to
    /// die. Calls `waiting` between two looks.
    pub(super) fn end(self, mut waiting: impl FnMut()) -> Exit {
        self.kill();
        let exit = wait4(self.leader);
        let mut pause = FIRST_PAUSE;
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Err(Errno::CHILD) => return exit,
                Ok(Some(_)) | Err(_) => continue,
                Ok(None) => {}
            }
            if !self.owns_namespace {
                kill_direct_children(&|_| false);
            }
            waiting();
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// Kills and reaps all children of this process but those that `spare` knows, and in turn what these leave to us, for a
/// bounded time. Whether none is left.
pub(crate) fn kill_children(spare: impl Fn(Pid) -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(1);
    let mut pause = FIRST_PAUSE;
    loop {
        let children = kill_direct_children(&spare);
        if children.is_empty() || Instant::now() >= until {
            return children.is_empty();
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
        for child in children {
            let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

fn kill_direct_children(spare: &impl Fn(Pid) -> bool) -> HashSet<Pid> {
    let mut children = children();
    children.retain(|child| !spare(*child));
    for child in &children {
        let _ = kill_process(*child, Signal::KILL);
    }
    children
}

/// The children of this process, which has one thread. The kernel's own list of them (proc(5), `children`) is not in
/// every kernel, and is short by some while processes end; it is looked at only after an accident, so all are gone
/// through.
fn children() -> HashSet<Pid> {
    let us = rustix::process::getpid().as_raw_nonzero().get();
    let is_child = |stat: &str| {
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()?;
        (parent == us).then_some(())
    };
    let Ok(entries) = fs::read_dir("/proc") else { return HashSet::new() };
    let child = |entry: fs::DirEntry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        is_child(&String::from_utf8_lossy(&stat))?;
        Pid::from_raw(number)
    };
    entries.flatten().filter_map(child).collect()
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
