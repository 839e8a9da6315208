//! Publishes what the command wrote: hands the crate `commit` what it needs to know, and says its errors in the worker's
//! words.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

use commit::{Blame, CommitError, Committed, Durability, Family, Fence, LeaseOver, Primary, Strategy, User};
use model::outcome::AttemptFailure;
use proto::v1;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, open, openat, openat2};

use super::conversation::{Directory, Published, Request};
use super::unfinished::Noting;
use super::view::{Layer, View};
use super::{Caught, fence, path_of, rights};
use crate::lease_page::LeasePage;
use crate::spawner::Namespaces;

/// Modes of directories, by their paths below the root of a mount.
type Known = BTreeMap<Vec<u8>, u32>;

/// Publishes it all, the main output last.
pub(super) fn publish(
    caught: &Caught,
    request: &Request,
    began: Timespec,
    page: &LeasePage,
    conversation: &UnixStream,
) -> Result<Published, AttemptFailure> {
    let user = publisher(request);
    rights::write_as(user.uid)
        .map_err(|error| AttemptFailure::SpawnFailed(format!("cannot publish as the user: {error}")))?;
    let known: Vec<_> = caught.layers().iter().map(|layer| known_below(&layer.path, request)).collect();
    let (layers, main): (Vec<commit::Layer<'_>>, _) = match caught {
        Caught::Overlays(view) => {
            let main = request.outputs.first().and_then(|output| placed(&view.layers, &path_of(output)));
            let layers = view.layers.iter().zip(&known);
            (layers.map(|(layer, known)| overlaid(layer, known, view, request)).collect(), main)
        }
        Caught::Outputs(redirection) => {
            redirection
                .settle()
                .map_err(|error| AttemptFailure::NoSpace(format!("cannot tidy the scratch: {error}")))?;
            let layers = redirection.layers.iter().zip(&known);
            (layers.map(|(layer, known)| redirected(layer, known, request)).collect(), redirection.main())
        }
        Caught::Nothing => (Vec::new(), None),
    };
    let primary = main.as_ref().map(|(layer, path)| Primary { layer: *layer, path: path.as_os_str().as_bytes() });
    let request = commit::Request {
        layers: &layers,
        attempt: request.attempt(),
        primary,
        user,
        began,
        durability: if request.durable { Durability::Fsync } else { Durability::None },
    };
    let mut fence = Watched { page, conversation };
    let committed = commit::commit(&request, &mut fence, &mut Noting::default());
    let mut published =
        committed.map(|committed| told(caught.layers(), committed)).map_err(|error| failure_of(&error))?;
    if let Caught::Overlays(view) = caught {
        published.directories.extend(view.looked_at.iter().cloned());
    }
    Ok(published)
}

/// The modes that are known of directories on a mount, by their paths below its root.
fn known_below(mount: &Path, request: &Request) -> Known {
    let below = |directory: &Directory| {
        let path = path_of(&directory.path).strip_prefix(mount).ok()?.as_os_str().as_bytes().to_vec();
        (!path.is_empty()).then_some((path, directory.mode))
    };
    request.known.iter().filter_map(below).collect()
}

/// What was published by its path outside the layers.
fn told(layers: &[Layer], committed: Committed) -> Published {
    let whole = |layer: usize, path: Vec<u8>| layers[layer].path.join(OsString::from_vec(path));
    let bytes = |path: PathBuf| path.into_os_string().into_vec().into();
    let stamps = committed.stamps.into_iter().map(|stamp| v1::Stamp {
        path: bytes(whole(stamp.layer, stamp.path)),
        inode: stamp.inode,
        size: stamp.size,
        mtime_ns: stamp.mtime_ns,
        fresh: stamp.fresh,
    });
    let removed = committed.removed.into_iter().map(|name| bytes(whole(name.layer, name.path)));
    let made = committed
        .made
        .into_iter()
        .map(|made| v1::MadeName { path: bytes(whole(made.layer, made.path)), target: made.target.into() });
    let directories = committed.directories.into_iter().map(|seen| {
        let path = whole(seen.layer, seen.path).into_os_string().into_vec();
        Directory { path, mode: seen.mode, uid: 0, gid: 0 }
    });
    Published {
        stamps: stamps.collect(),
        removed: removed.collect(),
        directories: directories.collect(),
        made: made.collect(),
    }
}

/// Removes what earlier attempts of this job left unfinished beside the outputs. It is more than tidiness: an attempt
/// that was stopped before its rename and goes on later finds its temporary gone, and fails.
pub(super) fn remove_leftovers(request: &Request) {
    let attempt = request.attempt();
    if attempt.number <= 1 {
        return;
    }
    let mut folders: Vec<PathBuf> =
        request.outputs.iter().filter_map(|output| path_of(output).parent().map(Path::to_owned)).collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        if let Ok(folder) = open(&folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            // What cannot be removed is the next one's to find.
            let _ = commit::remove_leftovers(folder.as_fd(), attempt.job, attempt.number);
        }
    }
}

fn overlaid<'a>(layer: &'a Layer, known: &'a Known, view: &View, request: &Request) -> commit::Layer<'a> {
    let slowly = request.slow_rename.iter().any(|mount| path_of(mount) == layer.path);
    let family = if view.namespaces == Namespaces::User { Family::User } else { Family::Trusted };
    as_commits(layer, known, family, slowly)
}

/// No overlay has marked anything in such a layer; it is one directory of a mount.
fn redirected<'a>(layer: &'a Layer, known: &'a Known, request: &Request) -> commit::Layer<'a> {
    let slowly = request.slow_rename.iter().any(|mount| layer.path.starts_with(path_of(mount)));
    as_commits(layer, known, Family::User, slowly)
}

fn as_commits<'a>(layer: &'a Layer, known: &'a Known, family: Family, slowly: bool) -> commit::Layer<'a> {
    commit::Layer {
        upper: layer.upper.as_fd(),
        real: layer.real.as_fd(),
        family,
        strategy: if slowly { Strategy::Link } else { Strategy::Rename },
        stale_view: commit::LONGEST_STALE_VIEW,
        known,
    }
}

fn publisher(request: &Request) -> User {
    let us = || User { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    request.identity.as_ref().map_or_else(us, |identity| User { uid: identity.uid, gid: identity.gid })
}

/// On which layer a file is and its path there, links followed, as the command left it.
fn placed(layers: &[Layer], output: &Path) -> Option<(usize, PathBuf)> {
    if let Some(found) = placed_by_name(layers, output) {
        return Some(found);
    }
    let file = openat(CWD, output, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let on = |(number, layer): (usize, &Layer)| Some((number, path.strip_prefix(&layer.path).ok()?.to_owned()));
    // The inner mounts come last.
    layers.iter().enumerate().filter_map(on).next_back()
}

/// The same where no link is on the way, without a question to the shared filesystem: the file is in the upper layer then,
/// and so are all directories that lead to it.
fn placed_by_name(layers: &[Layer], output: &Path) -> Option<(usize, PathBuf)> {
    let on = |(number, layer): (usize, &Layer)| Some((number, output.strip_prefix(&layer.path).ok()?.to_owned()));
    // The inner mounts come last.
    let (number, path) = layers.iter().enumerate().filter_map(on).next_back()?;
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let (flags, ways) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
    let opened = openat2(&layers[number].upper, &path, flags, Mode::empty(), ways).ok().filter(|_| is_plain)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened).ok()?.st_mode);
    // The text of a path may have `//` and `.` in it, which the commit's has not.
    (kind == FileType::RegularFile).then(|| (number, path.components().collect()))
}

/// The lease, and the worker's interest: one who has hung up or wants everything killed is not published for.
struct Watched<'a> {
    page: &'a LeasePage,
    conversation: &'a UnixStream,
}

impl Fence for Watched<'_> {
    fn check(&mut self) -> Result<(), LeaseOver> {
        let mut fds = [PollFd::from_borrowed_fd(self.conversation.as_fd(), PollFlags::IN)];
        let now = rustix::event::Timespec::default();
        let silent = !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(ready) if ready > 0);
        if silent && fence::holds(self.page) { Ok(()) } else { Err(LeaseOver) }
    }
}

fn failure_of(error: &CommitError) -> AttemptFailure {
    let said = || format!("cannot publish what the command wrote: {error}");
    match error.blame {
        Blame::Lease => AttemptFailure::Cancelled,
        Blame::Scratch => AttemptFailure::NoSpace(said()),
        Blame::Attempt => AttemptFailure::Refused(said()),
        // What ails every machine, the local run that follows says in the compiler's own words.
        Blame::Full | Blame::Mount | Blame::Refused => AttemptFailure::CommitFailed(error.to_string()),
    }
}
