//! Carries a plan out, in the order that the crate's description promises.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::time::{ClockId, clock_gettime};

use crate::calls::Calls;
use crate::error::{CommitError, Side};
use crate::facts::{Facts, Time};
use crate::files::Elsewhere;
use crate::survey::{Left, LeftFile, Plan};
use crate::tree::{Opened, Opener, to_list};
use crate::{Durability, Fence, Layer, Request, Strategy};

/// Names that are told of: a launcher looks at each, and an answer has bounds.
const MOST_NAMES: usize = 4096;
/// Directories that are told of.
const MOST_DIRECTORIES: usize = 64;
/// Bytes of all paths that are told of.
const MOST_PATH_BYTES: usize = 512 << 10;
/// A file's times come from a clock that ticks at 100 Hz at the slowest, so they may be so much before the true time.
const TICK_NS: i128 = 10_000_000;

/// What a commit has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Files as they look now; of very many the first, and always the primary output, last.
    pub stamps: Vec<Stamp>,
    /// Names that the command removed and nobody has made again; of very many the first.
    pub removed: Vec<Removed>,
    /// Directories and symbolic links that were made; of very many the first.
    pub made: Vec<Made>,
    /// Directories that were there and had the mode that the command left them, for the next commit's `known`.
    pub directories: Vec<LookedAt>,
    /// Names that were made, replaced or removed.
    pub names: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// FIFOs, sockets and devices that the command left, and that were not published.
    pub skipped: u64,
    /// Names that the command removed, and that stay: directories in which others have made files meanwhile, and what
    /// others have put there instead.
    pub spared: u64,
}

/// A published file as it looks on the shared filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// On which mount, as an index into the layers.
    pub layer: usize,
    /// Below the mount's root.
    pub path: Vec<u8>,
    /// The inode number.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// The modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Whether that is when it was published, rather than a time that the command chose.
    pub fresh: bool,
}

/// A name that is gone from the shared filesystem. Of a directory it stands for all that was below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// On which mount, as an index into the layers.
    pub layer: usize,
    /// Below the mount's root.
    pub path: Vec<u8>,
}

/// A directory or symbolic link that is new on the shared filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// On which mount, as an index into the layers.
    pub layer: usize,
    /// Below the mount's root.
    pub path: Vec<u8>,
    /// Where a symbolic link leads; empty of a directory.
    pub target: Vec<u8>,
}

/// A directory of the shared filesystem that a commit has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedAt {
    /// On which mount, as an index into the layers.
    pub layer: usize,
    /// Below the mount's root.
    pub path: Vec<u8>,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
}

/// Publishes what [`survey`](crate::survey()) found.
///
/// # Errors
/// The first step that failed; the primary output was not touched then, unless it was the one.
pub fn publish(
    request: &Request<'_>,
    plan: &Plan,
    fence: &mut dyn Fence,
    calls: &mut dyn Calls,
) -> Result<Committed, CommitError> {
    let mut publisher = Publisher::new(request, plan, fence, calls);
    publisher.recognise_directories();
    publisher.refuse_newcomers()?;
    publisher.place_directories()?;
    publisher.publish_names()?;
    Ok(publisher.done)
}

/// One commit under way. The other rooms add what it does to directories, files and removals.
pub(crate) struct Publisher<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) fence: &'a mut dyn Fence,
    pub(crate) calls: &'a mut dyn Calls,
    pub(crate) upper: Opener<'a>,
    pub(crate) real: Opener<'a>,
    /// Where a file with several names in the upper layer was published first.
    pub(crate) leaders: BTreeMap<(u64, u64), (usize, CString)>,
    /// Where files have come from, by their handles, once somebody asks.
    pub(crate) elsewhere: Option<BTreeMap<Vec<u8>, Elsewhere>>,
    /// Directories in which names have changed.
    touched: BTreeSet<usize>,
    /// Directories that had the mode that they are to have, by their numbers as places.
    pub(crate) right: BTreeSet<usize>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) began: Time,
    now: Time,
    /// Room in the report; see [`MOST_NAMES`] and [`MOST_PATH_BYTES`].
    room: (usize, usize),
    pub(crate) done: Committed,
}

impl<'a> Publisher<'a> {
    fn new(request: &'a Request<'a>, plan: &'a Plan, fence: &'a mut dyn Fence, calls: &'a mut dyn Calls) -> Self {
        Self {
            request,
            plan,
            fence,
            calls,
            upper: Opener::new(request.layers.iter().map(|layer| layer.upper).collect()),
            real: Opener::new(request.layers.iter().map(|layer| layer.real).collect()),
            leaders: BTreeMap::new(),
            elsewhere: None,
            touched: BTreeSet::new(),
            right: BTreeSet::new(),
            buffer: Vec::new(),
            began: request.began.into(),
            now: clock_gettime(ClockId::Realtime).into(),
            room: (MOST_NAMES, MOST_PATH_BYTES),
            done: Committed { skipped: plan.skipped, ..Committed::default() },
        }
    }

    /// Files by the time at which the command finished them, so that what it wrote later looks newer here too.
    fn publish_names(&mut self) -> Result<(), CommitError> {
        let plan = self.plan;
        let (last_files, mut files): (Vec<&LeftFile>, Vec<&LeftFile>) =
            plan.files.iter().partition(|file| self.is_primary(&file.left));
        let (last_links, links): (Vec<&Left>, Vec<&Left>) =
            plan.symlinks.iter().partition(|left| self.is_primary(left));
        files.sort_by_key(|file| file.left.facts.modified);
        files.into_iter().try_for_each(|file| self.publish_file(file))?;
        self.publish_symlinks(&links)?;
        plan.removals.iter().try_for_each(|left| self.publish_removal(left))?;
        self.finish_directories()?;
        self.sync_directories()?;
        last_files.into_iter().try_for_each(|file| self.publish_file(file))?;
        self.publish_symlinks(&last_links)?;
        self.sync_directories()?;
        self.hasten_directories();
        Ok(())
    }

    fn is_primary(&self, left: &Left) -> bool {
        self.request.primary.is_some_and(|primary| {
            self.plan.tree.place(left.place).layer == primary.layer
                && self.plan.tree.path_of(left.place, &left.name) == primary.path
        })
    }

    fn sync_directories(&mut self) -> Result<(), CommitError> {
        if self.request.durability == Durability::None {
            return Ok(());
        }
        for place in std::mem::take(&mut self.touched) {
            let directory = self.real_dir(place)?;
            let synced = to_list(directory.as_fd()).and_then(|listed| self.calls.sync(listed.as_fd()));
            synced.map_err(|errno| self.failed("fsync", place, c"", errno))?;
        }
        Ok(())
    }

    /// Everything is published by now: what fails here fails nobody.
    fn hasten_directories(&mut self) {
        for place in std::mem::take(&mut self.touched) {
            if self.layer_of(place).strategy == Strategy::Link
                && let Ok(directory) = self.real_dir(place)
                && let Ok(listed) = to_list(directory.as_fd())
            {
                self.hasten(place, listed.as_fd());
            }
        }
    }

    /// On ceph-fuse what another machine asks about a file waits until its content is stored and the metadata server's
    /// journal written, which happens every 5 s (`mds_tick_interval`), when something else makes it happen, or at once for
    /// a client that syncs the file and its directory. Where that cannot be done, others wait.
    pub(crate) fn hasten(&mut self, place: usize, file: BorrowedFd<'_>) {
        if self.layer_of(place).strategy == Strategy::Link {
            let _ = self.calls.sync(file);
        }
    }

    /// Asks the fence before a step that others can see.
    pub(crate) fn check(&mut self, step: &'static str, place: usize, name: &CStr) -> Result<(), CommitError> {
        self.fence.check().map_err(|_| CommitError::lease(step, &self.plan.tree.path_of(place, name)))
    }

    /// An error of the shared filesystem.
    pub(crate) fn failed(
        &self,
        step: &'static str,
        place: usize,
        name: &CStr,
        errno: rustix::io::Errno,
    ) -> CommitError {
        CommitError::of(Side::Real, step, &self.plan.tree.path_of(place, name), errno)
    }

    /// An error of the scratch directory.
    pub(crate) fn unreadable(&self, left: &Left, errno: rustix::io::Errno) -> CommitError {
        CommitError::of(Side::Upper, "read", &self.plan.tree.path_of(left.place, &left.name), errno)
    }

    pub(crate) fn real_dir(&mut self, place: usize) -> Result<Opened<'a>, CommitError> {
        self.real.open(&self.plan.tree, place).map_err(|errno| self.failed("open", place, c"", errno))
    }

    pub(crate) fn upper_dir(&mut self, left: &Left) -> Result<Opened<'a>, CommitError> {
        self.upper.open(&self.plan.tree, left.place).map_err(|errno| self.unreadable(left, errno))
    }

    /// How a name looks on the shared filesystem now.
    pub(crate) fn look(&self, dir: &Opened<'_>, left: &Left) -> Result<Option<Facts>, CommitError> {
        Facts::if_there(dir.as_fd(), &left.name).map_err(|errno| self.failed("stat", left.place, &left.name, errno))
    }

    pub(crate) fn layer_of(&self, place: usize) -> &'a Layer<'a> {
        &self.request.layers[self.plan.tree.place(place).layer]
    }

    /// What the shared filesystem says has changed before this moment was so when the attempt began.
    pub(crate) fn surely_before(&self) -> Time {
        Time(self.began.0 - TICK_NS)
    }

    /// The same of what was so long before the attempt that the command saw it, however old a state this machine shows.
    pub(crate) fn surely_seen_before(&self, place: usize) -> Time {
        let stale = self.layer_of(place).stale_view;
        Time(self.surely_before().0 - i128::try_from(stale.as_nanos()).unwrap_or(i128::MAX / 2))
    }

    /// Whether the command chose a file's modification time, rather than wrote the file at that time.
    pub(crate) fn is_time_chosen(&self, modified: Time) -> bool {
        modified < self.surely_before() || modified > self.now
    }

    pub(crate) fn on_name_changed(&mut self, place: usize) {
        self.done.names += 1;
        self.touched.insert(place);
    }

    /// Notes how a published file looks, for whoever waits to see it so.
    pub(crate) fn on_published(&mut self, dir: &Opened<'_>, left: &Left) -> Result<(), CommitError> {
        let failed = |errno| self.failed("stat", left.place, &left.name, errno);
        let facts = Facts::at(dir.as_fd(), &left.name).map_err(failed)?;
        self.on_published_as(left, &facts);
        Ok(())
    }

    /// The same of a file of which is known how it looks.
    pub(crate) fn on_published_as(&mut self, left: &Left, facts: &Facts) {
        self.on_name_changed(left.place);
        let path = self.plan.tree.path_of(left.place, &left.name);
        if !self.has_room(&path) && !self.is_primary(left) {
            return;
        }
        self.done.stamps.push(Stamp {
            layer: self.plan.tree.place(left.place).layer,
            path,
            inode: facts.inode,
            size: facts.size,
            mtime_ns: i64::try_from(facts.modified.0).unwrap_or(i64::MAX),
            fresh: !self.is_time_chosen(left.facts.modified),
        });
    }

    /// Notes that a name is gone, for whoever waits to see it so.
    pub(crate) fn on_removed(&mut self, left: &Left) {
        let path = self.plan.tree.path_of(left.place, &left.name);
        if self.has_room(&path) {
            self.done.removed.push(Removed { layer: self.plan.tree.place(left.place).layer, path });
        }
    }

    /// Notes a directory or symbolic link that is there now, for whoever waits to see it.
    pub(crate) fn on_made(&mut self, left: &Left, target: &[u8]) {
        let path = self.plan.tree.path_of(left.place, &left.name);
        if self.has_room(&path) && self.has_room(target) {
            let layer = self.plan.tree.place(left.place).layer;
            self.done.made.push(Made { layer, path, target: target.to_vec() });
        }
    }

    /// Notes a directory that needs no look the next time.
    pub(crate) fn on_looked_at(&mut self, left: &Left, mode: u32) {
        if self.done.directories.len() < MOST_DIRECTORIES {
            let (layer, path) =
                (self.plan.tree.place(left.place).layer, self.plan.tree.path_of(left.place, &left.name));
            self.done.directories.push(LookedAt { layer, path, mode });
        }
    }

    /// Takes the room for a name in the report, if there is some.
    fn has_room(&mut self, path: &[u8]) -> bool {
        let (names, bytes) = self.room;
        let left = names.checked_sub(1).zip(bytes.checked_sub(path.len()));
        self.room = left.unwrap_or((0, 0));
        left.is_some()
    }
}
