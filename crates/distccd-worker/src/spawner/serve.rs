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

use super::{GROUPED, GROUPS, LONGEST, Namespaces};
use crate::groups::{Pool, Pooled};
use crate::keeper::{self, Start, tree};
use crate::lease_page::LeasePage;
use crate::obituary::{self, Will};

/// What one message brings.
enum Order {
    Keeper(Wanted),
    Groups(Pool),
}

/// A keeper that is to be started.
struct Wanted {
    namespaces: Namespaces,
    grouped: bool,
    conversation: UnixStream,
    outputs: [OwnedFd; 2],
}

/// What is known of a keeper.
struct Kept {
    pidfd: OwnedFd,
    group: Option<Pooled>,
}

/// All that the spawner has.
struct Household<'a> {
    keepers: HashMap<Pid, Kept>,
    groups: Option<Pool>,
    page: &'a LeasePage,
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
    let mut household = Household { keepers: HashMap::new(), groups: None, page: &page };
    while household.turn() {}
    for kept in household.keepers.values() {
        let _ = pidfd_send_signal(&kept.pidfd, Signal::KILL);
    }
    while !household.keepers.is_empty() {
        household.reap(WaitIdOptions::EXITED);
    }
    if tree::kill_children(|_| false) {
        obituary::announce(&will);
    }
    if let Some(groups) = household.groups {
        groups.dissolve();
    }
    ExitCode::SUCCESS
}

impl Household<'_> {
    /// Waits for a message or for the end of a keeper. False when the worker is dead.
    fn turn(&mut self) -> bool {
        let socket = rustix::stdio::stdin();
        let mut fds = vec![PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        fds.extend(self.keepers.values().map(|kept| PollFd::new(&kept.pidfd, PollFlags::IN)));
        if rustix::event::poll(&mut fds, None).is_err() {
            return true; // interrupted: look again
        }
        let asked = !fds[0].revents().is_empty();
        let ended = fds[1..].iter().any(|fd| !fd.revents().is_empty());
        drop(fds);
        if ended {
            self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        if !asked {
            return true;
        }
        match receive() {
            Ok(Some(Order::Keeper(wanted))) => {
                self.start(wanted);
                true
            }
            Ok(Some(Order::Groups(pool))) => {
                self.groups = Some(pool);
                true
            }
            Ok(None) => false,
            Err(Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// Forks a keeper, which does not return from here.
    fn start(&mut self, wanted: Wanted) {
        let Wanted { namespaces, grouped, mut conversation, outputs } = wanted;
        let group = match self.groups.as_mut().filter(|_| grouped).map_or(Ok(None), Pool::take) {
            Ok(group) => group,
            Err(error) => {
                return keeper::refuse(&mut conversation, &format!("cannot make a control group: {error}"));
            }
        };
        // Inside a user namespace nobody knows them any more.
        let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match fork(namespaces.flags()) {
            Ok(Some((pid, pidfd))) => {
                self.keepers.insert(pid, Kept { pidfd, group });
            }
            Ok(None) => {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let group = group.as_ref().map(|pooled| &pooled.group);
                let code = keeper::keep(&mut conversation, outputs, &Start { page: self.page, namespaces, us, group });
                // SAFETY: ends the process without running what the spawner has registered.
                unsafe { libc::_exit(code) }
            }
            Err(error) => {
                self.take_back(group, false);
                keeper::refuse(&mut conversation, &format!("cannot fork a keeper: {error}"));
            }
        }
    }

    fn take_back(&mut self, group: Option<Pooled>, is_spent: bool) {
        if let (Some(groups), Some(group)) = (&mut self.groups, group) {
            groups.give_back(group, is_spent);
        }
    }

    /// Reaps keepers that have ended, and kills what one that died early left behind: it is our child now.
    fn reap(&mut self, how: WaitIdOptions) {
        let mut ended = Vec::new();
        self.keepers.retain(|&pid, kept| {
            let code = match waitid(WaitId::PidFd(kept.pidfd.as_fd()), how) {
                Ok(None) | Err(Errno::INTR) => return true,
                Ok(Some(end)) => end.exit_status(),
                Err(_) => Some(0),
            };
            if code != Some(0) {
                keeper::redirect::sweep(pid);
            }
            ended.push((code, kept.group.take()));
            false
        });
        let mut left_behind = false;
        for (code, group) in ended {
            left_behind |= code != Some(0) && code != Some(keeper::SPENT);
            self.take_back(group, code != Some(0));
        }
        if left_behind {
            tree::kill_children(|child| self.keepers.contains_key(&child));
        }
    }
}

/// The next message; `None` when the worker is dead. A message that lacks descriptors, because we are out of them, is
/// passed over: its conversation ends.
fn receive() -> Result<Option<Order>, Errno> {
    loop {
        let mut bytes = [0_u8; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let socket = rustix::stdio::stdin();
        let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
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
        if let Some(order) = order_of(&bytes[..got.bytes], fds) {
            return Ok(Some(order));
        }
    }
}

fn order_of(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Order> {
    if let Some((&GROUPS, limit)) = bytes.split_first() {
        let limit = u64::from_ne_bytes(limit.try_into().ok()?);
        let [dir] = <[OwnedFd; 1]>::try_from(fds).ok()?;
        return Some(Order::Groups(Pool::new(dir, (limit > 0).then_some(limit))));
    }
    let byte = *bytes.first()?;
    let [conversation, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds).ok()?;
    Some(Order::Keeper(Wanted {
        namespaces: Namespaces::of(byte & !GROUPED),
        grouped: byte & GROUPED != 0,
        conversation: UnixStream::from(conversation),
        outputs: [stdout, stderr],
    }))
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
