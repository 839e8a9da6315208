//! The keeper: one small process for each attempt, forked from the `spawner`. It makes what the command is to see
//! (`view`), starts the command (`command`), signals and reaps all that descends from it (`tree`), and publishes what it
//! wrote (`publish`) when the worker says so and the lease holds (`fence`).
//!
//! ```text
//! request -> [view] -> command -> Started -> ... -> Ended -> commit or discard -> Committed -> gone
//!                         orders: ask, kill     nothing of it runs any more
//! ```
//!
//! It is a process and not a thread of the worker because namespaces and the user of files belong to processes, because
//! the kernel kills a PID namespace with its first process, and because a step that hangs on a shared filesystem then
//! hangs nobody else.

mod command;
pub(crate) mod conversation;
mod digests;
mod fence;
mod opened;
mod publish;
pub(crate) mod redirect;
pub(crate) mod rights;
pub(crate) mod tree;
mod unfinished;
mod vfork;
mod view;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::command::CommandSpec;
use model::outcome::{AttemptFailure, ResourceUsage};
use rustix::event::{PollFd, PollFlags};
use rustix::time::{ClockId, clock_gettime};

use self::conversation::{Ended, Order, Reply, Request};
use self::opened::Listening;
use self::redirect::Redirection;
use self::tree::Tree;
use self::view::{Needs, View};
use crate::groups::{Account, Group};
use crate::lease_page::LeasePage;
use crate::spawner::Namespaces;
pub(crate) use view::MOST_FILES;

/// How long after a SIGKILL something may stay before it is given up: only a process in uninterruptible sleep, on a
/// filesystem that hangs, survives one.
pub(crate) const UNKILLABLE_AFTER: Duration = Duration::from_secs(5);

/// What a keeper has from the spawner.
pub(crate) struct Start<'a> {
    pub(crate) page: &'a LeasePage,
    pub(crate) namespaces: Namespaces,
    /// User and group of the worker.
    pub(crate) us: (u32, u32),
    /// The control group of the attempt, if it gets one.
    pub(crate) group: Option<&'a Group>,
}

/// Exit code of a keeper that has left nothing behind but a control group that cannot be used again.
pub(crate) const SPENT: i32 = 3;

/// The keeper's whole life; gives its exit code. Anything but 0 and [`SPENT`] makes the spawner look for what it may have
/// left behind.
pub(crate) fn keep(conversation: &mut UnixStream, outputs: [OwnedFd; 2], start: &Start<'_>) -> i32 {
    let _ = rustix::thread::set_name(c"distccd-keeper");
    let Ok(request) = conversation::receive_request(conversation) else { return 0 };
    match attempt(conversation, outputs, start, &request) {
        Ok(()) if start.group.is_some_and(Group::is_spent) => SPENT,
        Ok(()) => 0,
        Err(failure) => {
            let _ = conversation::send_reply(conversation, Reply::Failed(failure));
            1
        }
    }
}

/// Says that there is no keeper.
pub(crate) fn refuse(conversation: &mut UnixStream, why: &str) {
    let _ = conversation::send_reply(conversation, Reply::Failed(AttemptFailure::SpawnFailed(why.to_owned())));
}

/// One attempt. What the worker cannot be told it need not be told: it is dead then.
fn attempt(
    conversation: &mut UnixStream,
    outputs: [OwnedFd; 2],
    start: &Start<'_>,
    request: &Request,
) -> Result<(), AttemptFailure> {
    let cannot =
        |what: &str, error: &dyn std::fmt::Display| AttemptFailure::SpawnFailed(format!("cannot {what}: {error}"));
    let spec = request.spec()?;
    // A trial has no lease to lose.
    if spec.is_some() {
        fence::arm(start.page).map_err(|error| cannot("arm the timer of the lease", &error))?;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    let view = match start.namespaces {
        Namespaces::None => {
            let us = Some(rustix::process::getpid());
            rustix::process::set_child_subreaper(us).map_err(|error| cannot("inherit orphans", &error))?;
            None
        }
        namespaces => Some(enter(namespaces, start.us, request, spec.as_ref())?),
    };
    let Some(mut spec) = spec else {
        if request.starts || start.group.is_some() {
            start_nothing(start.group).map_err(|error| cannot("start a process in its control group", &error))?;
        }
        let _ = conversation::send_reply(conversation, Reply::Started);
        return Ok(());
    };
    let caught = match view {
        Some(view) => Caught::Overlays(view),
        None if request.redirects.is_empty() => Caught::Nothing,
        None => Caught::Outputs(redirect(request, &mut spec)?),
    };
    if !matches!(caught, Caught::Nothing) {
        publish::remove_leftovers(request);
    }
    let (began, began_at) = (Instant::now(), clock_gettime(ClockId::Realtime));
    let account = start.group.map(Account::open);
    let view = if let Caught::Overlays(view) = &caught { Some(view) } else { None };
    // Not in a namespace that others open files in too.
    let listening = view.and_then(|_| Listening::begin());
    let (pid, pidfd) = command::start(&spec, request.identity().as_ref(), outputs, start.group)?;
    let _ = conversation::send_reply(conversation, Reply::Started);
    let tree = Tree::new(pid, pidfd, view.is_some(), start.group);
    let heard = watch(conversation, &tree);
    let wall = began.elapsed();
    let Some(mut ended) = end(conversation, tree, wall, view) else { return Ok(()) };
    if let (Some(group), Some(account)) = (start.group, &account) {
        ended.oom_struck = account.oom_struck(group);
        ended.usage.peak_memory = ended.usage.peak_memory.max(account.peak(group).unwrap_or(0));
    }
    ended.opened = listening.map(|listening| listening.heard()).unwrap_or_default();
    if let Some(view) = view.filter(|_| request.audited) {
        ended.digests = digests::of(&view.layers).unwrap_or_default();
    }
    if conversation::send_reply(conversation, Reply::Ended(ended)).is_err() || !heard {
        return Ok(());
    }
    if matches!(caught, Caught::Nothing) {
        return Ok(());
    }
    if await_word(conversation) == Some(Order::Commit) {
        let published = publish::publish(&caught, request, began_at, start.page, conversation)?;
        let _ = conversation::send_reply(conversation, Reply::Committed(published));
    }
    Ok(())
}

/// What a command writes before it is published.
enum Caught {
    /// All of it.
    Overlays(View),
    /// Its outputs, which are all that it writes.
    Outputs(Redirection),
    /// Nothing: it works in place.
    Nothing,
}

impl Caught {
    fn layers(&self) -> &[view::Layer] {
        match self {
            Self::Overlays(view) => &view.layers,
            Self::Outputs(redirection) => &redirection.layers,
            Self::Nothing => &[],
        }
    }
}

fn redirect(request: &Request, spec: &mut CommandSpec) -> Result<Redirection, AttemptFailure> {
    let cannot = |error: std::io::Error| {
        AttemptFailure::NoSpace(format!("cannot make room for what the command writes: {error}"))
    };
    if let Some(identity) = request.identity() {
        rights::act_as(&identity).map_err(cannot)?;
    }
    Redirection::prepare(request, spec).map_err(cannot)
}

/// Proves that a command could live in a group: a process that does nothing, and its end.
fn start_nothing(group: Option<&Group>) -> std::io::Result<()> {
    // SAFETY: does nothing.
    let (pid, _pidfd) = unsafe { vfork::start(&|| {}, group.map(Group::dir)) }?;
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(())
}

fn enter(
    namespaces: Namespaces,
    us: (u32, u32),
    request: &Request,
    spec: Option<&CommandSpec>,
) -> Result<View, AttemptFailure> {
    let mut paths: Vec<PathBuf> = request.outputs.iter().map(|output| path_of(output)).collect();
    let mut temporary = Vec::new();
    if let Some(spec) = spec {
        paths.extend([path_of(&spec.program), path_of(&spec.cwd)]);
        temporary = view::temporary_directories(&spec.env);
    }
    let (mounts, identity) = (request.mounts(), request.identity());
    let needs = Needs {
        mounts: &mounts,
        paths: &paths,
        temporary: &temporary,
        us,
        identity: identity.as_ref(),
        limit: request.scratch_limit,
        known: &request.known,
    };
    View::enter(namespaces, &needs)
        .map_err(|trouble| AttemptFailure::SpawnFailed(format!("cannot isolate the attempt: {trouble}")))
}

/// Carries orders out until the leader has ended. False when the worker is gone.
fn watch(conversation: &mut UnixStream, tree: &Tree<'_>) -> bool {
    let mut heard = true;
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(tree.pidfd(), PollFlags::IN)];
        if heard {
            fds.push(PollFd::from_borrowed_fd(conversation.as_fd(), PollFlags::IN));
        }
        if rustix::event::poll(&mut fds, None).is_err() {
            continue; // interrupted: look again
        }
        let ended = !fds[0].revents().is_empty();
        let asked = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if ended {
            return heard;
        }
        if asked {
            match conversation::receive_order(conversation) {
                Some(Order::Ask) => tree.ask(),
                Some(Order::Kill) => tree.kill(),
                Some(Order::Commit | Order::Discard) => {}
                None => {
                    tree.kill();
                    heard = false;
                }
            }
        }
    }
}

/// Ends what the leader left running. `None` when something of it survives: then that was said, and it has gone by now,
/// too late.
fn end(conversation: &mut UnixStream, tree: Tree<'_>, wall: Duration, view: Option<&View>) -> Option<Ended> {
    let until = Instant::now() + UNKILLABLE_AFTER;
    let mut patient = true;
    let exit = tree.end(|| {
        if patient && Instant::now() >= until {
            let _ = conversation::send_reply(conversation, Reply::Stuck);
            patient = false;
        }
    });
    let usage = ResourceUsage { wall, user: exit.user, system: exit.system, peak_memory: exit.peak_memory };
    let (full, digests, opened) = (view.and_then(View::full), Vec::new(), Vec::new());
    let ended = Ended { exit: exit.status, usage, full, digests, opened, oom_struck: None };
    patient.then_some(ended)
}

/// What the worker wants of what the command wrote; an earlier order that is late says nothing about that.
fn await_word(conversation: &mut UnixStream) -> Option<Order> {
    loop {
        match conversation::receive_order(conversation) {
            Some(Order::Ask) => {}
            word => return word,
        }
    }
}

pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
