//! The spawner's whole life: forks keepers, reaps them, kills what a dead one left behind, and goes with the worker.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::Namespaces;
use crate::keeper::{self, Start, tree};
use crate::lease_page::LeasePage;
use crate::obituary::{self, Will};

/// What one message brings.
struct Order {
    namespaces: Namespaces,
    conversation: UnixStream,
    outputs: [OwnedFd; 2],
}

/// Serves the worker at the other end of stdin until that is dead.
#[must_use]
pub fn serve() -> ExitCode {
    // After `exec` of /proc/self/exe the kernel would call it "exe".
    let _ = rustix::thread::set_name(c"distccd-spawner");
    let page = rustix::stdio::stdout().try_clone_to_owned().and_then(LeasePage::of);
    let will = Will::left_at(rustix::stdio::stderr());
    let (Ok(page), Ok(will), Ok(null)) =
        (page, will, std::fs::OpenOptions::new().read(true).write(true).open("/dev/null"))
    else {
        return ExitCode::FAILURE;
    };
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
    // What a keeper leaves behind when it dies comes to us.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut keepers = HashMap::new();
    while turn(&mut keepers, &page) {}
    for pidfd in keepers.values() {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
    while !keepers.is_empty() {
        reap(&mut keepers, WaitIdOptions::EXITED);
    }
    if tree::kill_children(|_| false) {
        obituary::announce(&will);
    }
    ExitCode::SUCCESS
}

/// Waits for a message or for the end of a keeper. False when the worker is dead.
fn turn(keepers: &mut HashMap<Pid, OwnedFd>, page: &LeasePage) -> bool {
    let socket = rustix::stdio::stdin();
    let mut fds = vec![PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    fds.extend(keepers.values().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
    if rustix::event::poll(&mut fds, None).is_err() {
        return true; // interrupted: look again
    }
    let asked = !fds[0].revents().is_empty();
    let ended = fds[1..].iter().any(|fd| !fd.revents().is_empty());
    drop(fds);
    if ended {
        reap(keepers, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
    if !asked {
        return true;
    }
    match receive() {
        Ok(Some(order)) => {
            if let Some((pid, pidfd)) = start(order, page) {
                keepers.insert(pid, pidfd);
            }
            true
        }
        Ok(None) => false,
        Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

/// The next message; `None` when the worker is dead. A message that lacks descriptors, because we are out of them, is
/// passed over: its conversation ends.
fn receive() -> Result<Option<Order>, Errno> {
    loop {
        let mut byte = [0_u8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let socket = rustix::stdio::stdin();
        let got = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes == 0 {
            return Ok(None);
        }
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let namespaces = match byte[0] {
            1 => Namespaces::Root,
            2 => Namespaces::User,
            _ => Namespaces::None,
        };
        if let Ok([conversation, stdout, stderr]) = <[OwnedFd; 3]>::try_from(fds) {
            let conversation = UnixStream::from(conversation);
            return Ok(Some(Order { namespaces, conversation, outputs: [stdout, stderr] }));
        }
    }
}

/// Forks a keeper, which does not return from here.
fn start(order: Order, page: &LeasePage) -> Option<(Pid, OwnedFd)> {
    let Order { namespaces, mut conversation, outputs } = order;
    let flags = match namespaces {
        Namespaces::None => 0,
        Namespaces::Root => libc::CLONE_NEWNS | libc::CLONE_NEWPID,
        Namespaces::User => libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID,
    };
    // Inside a user namespace nobody knows them any more.
    let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match fork(flags) {
        Ok(Some(child)) => Some(child),
        Ok(None) => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let code = keeper::keep(&mut conversation, outputs, &Start { page, namespaces, us });
            // SAFETY: ends the process without running what the spawner has registered.
            unsafe { libc::_exit(code) }
        }
        Err(error) => {
            keeper::refuse(&mut conversation, &format!("cannot fork a keeper: {error}"));
            None
        }
    }
}

/// fork(2) into new namespaces: the child's number and descriptor, or `None` in the child.
fn fork(flags: libc::c_int) -> std::io::Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: libc::c_int = -1;
    let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: this process has one thread, so that the child's copy of its memory is whole. Without a stack of its own
    // the child goes on with the copy of ours, as after fork(2); `pidfd` lives on both sides.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    match i32::try_from(child).ok().filter(|child| *child >= 0) {
        None => Err(std::io::Error::last_os_error()),
        Some(0) => Ok(None),
        // SAFETY: the kernel has just made the descriptor, for us.
        Some(child) => Ok(Pid::from_raw(child).map(|pid| (pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// Reaps keepers that have ended, and kills what one that died early left behind: it is our child now.
fn reap(keepers: &mut HashMap<Pid, OwnedFd>, how: WaitIdOptions) {
    let mut left_behind = false;
    keepers.retain(|pid, pidfd| match waitid(WaitId::PidFd(pidfd.as_fd()), how) {
        Ok(None) => true,
        Ok(Some(ended)) => {
            if ended.exit_status() != Some(0) {
                left_behind = true;
                keeper::redirect::sweep(*pid);
            }
            false
        }
        Err(Errno::INTR) => true,
        Err(_) => false,
    });
    if left_behind {
        tree::kill_children(|child| keepers.contains_key(&child));
    }
}
