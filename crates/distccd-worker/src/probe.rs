//! What isolation this machine allows on each mount, found out by trying: the same steps as for an attempt, without a
//! command.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use commit::{Strategy, strategy_for};
use daemon_kit::layers::size_text;

use crate::config::{CgroupsWish, Config, IsolationWish};
use crate::exec::{Isolation, no_outputs};
use crate::groups::Groups;
use crate::keeper::MOST_FILES;
use crate::keeper::conversation::{Reply, Request, receive_reply, send_request};
use crate::spawner::{Namespaces, Spawner};

/// What was found.
#[derive(Clone, Debug)]
pub struct Probe {
    mounts: Vec<Found>,
    scratch_limit: u64,
    /// Whether plain compiles are redirected where they are not isolated.
    redirects: bool,
    /// The control groups of attempts, or why they have none.
    groups: Result<Arc<Groups>, String>,
    attempt_memory: Option<u64>,
    /// What they add to the start of a command, at the median.
    cost_of_groups: Option<Duration>,
}

/// One mount.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    /// As the mount table calls it.
    filesystem: String,
    /// Or why attempts work in place.
    isolation: Result<(), String>,
    cost: Option<Cost>,
}

/// What keepers take to be ready for their commands, at the median.
#[derive(Clone, Copy, Debug)]
struct Cost {
    isolated: Duration,
    in_place: Duration,
}

/// Trials of each kind for a [`Cost`].
const TRIALS: usize = 100;

impl Probe {
    /// Tries each mount. Blocks, for as long as a filesystem hangs.
    #[must_use]
    pub fn of(config: &Config, spawner: &Spawner) -> Self {
        let table = MountTable::read();
        let mounts = config.mounts.iter().map(|mount| {
            let path = fs::canonicalize(mount).unwrap_or_else(|_| mount.clone());
            let isolation = match config.isolation {
                IsolationWish::Off => Err("the setting `isolation` is `off`".to_owned()),
                IsolationWish::Redirect => Err("the setting `isolation` is `redirect`".to_owned()),
                IsolationWish::Auto | IsolationWish::Overlay => try_out(&path, &table, config, spawner),
            };
            Found { filesystem: table.filesystem_of(&path), path, isolation, cost: None }
        });
        let mounts: Vec<_> = mounts.collect();
        let isolated = mounts.iter().filter(|mount| mount.isolation.is_ok()).map(|mount| mount.path.as_path());
        let groups = match config.cgroups {
            CgroupsWish::Off => Err("the setting `cgroups` is `off`".to_owned()),
            CgroupsWish::Auto => groups(isolated, config, spawner),
        };
        let redirects = config.isolation != IsolationWish::Off;
        let attempt_memory = config.attempt_memory;
        Self { mounts, scratch_limit: config.scratch_limit, redirects, groups, attempt_memory, cost_of_groups: None }
    }

    /// Measures what isolation costs an attempt, in turns with none, so that a busy machine hurts both.
    pub(crate) fn measure(&mut self, spawner: &Spawner) {
        if self.groups.is_ok() {
            let (mut with, mut without) = (Vec::new(), Vec::new());
            let outside = Request { starts: true, ..Request::default() };
            for _ in 0..TRIALS {
                with.extend(timed(spawner, Namespaces::None, true, &Request::default()));
                without.extend(timed(spawner, Namespaces::None, false, &outside));
            }
            self.cost_of_groups = median(with).zip(median(without)).map(|(with, without)| with.saturating_sub(without));
        }
        for mount in self.mounts.iter_mut().filter(|mount| mount.isolation.is_ok()) {
            let isolated = trial_of(&mount.path, self.scratch_limit);
            let (mut with, mut without) = (Vec::new(), Vec::new());
            for _ in 0..TRIALS {
                with.extend(timed(spawner, Isolation::possible(), false, &isolated));
                without.extend(timed(spawner, Namespaces::None, false, &Request::default()));
            }
            if let (Some(isolated), Some(in_place)) = (median(with), median(without)) {
                mount.cost = Some(Cost { isolated, in_place });
            }
        }
    }

    /// Whether attempts have control groups.
    pub(crate) fn groups(&self) -> Option<Arc<Groups>> {
        self.groups.as_ref().ok().map(Arc::clone)
    }

    /// Why attempts cannot be held to the memory that the configuration allows them.
    pub(crate) fn unbounded(&self) -> Option<String> {
        self.attempt_memory?;
        let why = match &self.groups {
            Ok(groups) => groups.memory().err()?,
            Err(why) => why,
        };
        Some(format!("the memory of attempts cannot be bounded (`attempt_memory`): {why}"))
    }

    /// Whether what an attempt writes is caught, on every mount, until it is published.
    #[must_use]
    pub fn isolates(&self) -> bool {
        self.mounts.iter().all(|mount| mount.isolation.is_ok())
    }

    /// Why a worker that must isolate cannot, one line a mount.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let why = |mount: &Found| {
            let why = mount.isolation.as_ref().err()?;
            Some(format!("mount {} cannot be isolated: {why}", mount.path.display()))
        };
        self.mounts.iter().filter_map(why).collect()
    }

    /// What attempts are to see. One mount that is worked on in place makes all so: the rest of an isolated attempt's
    /// world is read-only.
    pub(crate) fn isolation(&self, config: &Config) -> Isolation {
        let of = |mounts: &mut dyn Iterator<Item = &Found>| mounts.map(|mount| mount.path.clone()).collect();
        let slow = |mount: &&Found| mount.strategy() == Strategy::Link;
        let same_path = |mount: &&Found| config.mounts.contains(&mount.path);
        let isolated: &[Found] = if self.isolates() { &self.mounts } else { &[] };
        Isolation {
            mounts: of(&mut isolated.iter()),
            same_path: of(&mut isolated.iter().filter(same_path)),
            slow_rename: of(&mut self.mounts.iter().filter(slow)),
            scratch_limit: config.scratch_limit,
            redirects: self.redirects,
            durable: config.durability == crate::config::Durability::Fsync,
        }
    }

    /// What attempts do that are not isolated.
    const fn instead(&self) -> &'static str {
        if self.redirects {
            "work in place, but for plain compiles, whose outputs are published when they have ended"
        } else {
            "work in place"
        }
    }

    pub(crate) fn log(&self) {
        for mount in &self.mounts {
            let (path, filesystem) = (mount.path.display(), &mount.filesystem);
            match &mount.isolation {
                Ok(()) => tracing::info!(%path, filesystem, commit = mount.commit(), "attempts are isolated"),
                Err(why) => tracing::warn!(%path, filesystem, "attempts {}: {why}", self.instead()),
            }
        }
        match &self.groups {
            Ok(groups) => {
                let (path, memory) = (groups.path().display(), groups.memory().err().unwrap_or("accounted"));
                tracing::info!(%path, memory, "attempts have control groups");
            }
            Err(why) => tracing::info!("attempts have no control groups: {why}"),
        }
    }
}

impl Found {
    fn strategy(&self) -> Strategy {
        strategy_for(self.filesystem.as_bytes())
    }

    fn commit(&self) -> &'static str {
        match self.strategy() {
            Strategy::Rename => "temporary name and rename",
            Strategy::Link => "temporary name and link (a rename makes readers wait on this filesystem)",
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mount in &self.mounts {
            writeln!(f, "{}", mount.path.display())?;
            writeln!(f, "  filesystem: {}", mount.filesystem)?;
            match &mount.isolation {
                Ok(()) => {
                    let size = size_text(self.scratch_limit);
                    writeln!(f, "  isolation:  overlay")?;
                    writeln!(f, "  commit:     {}", mount.commit())?;
                    writeln!(f, "  scratch:    memory of each attempt's own, {size} and {MOST_FILES} files at most")?;
                    if let Some(Cost { isolated, in_place }) = mount.cost {
                        let (with, without) = (isolated.as_micros(), in_place.as_micros());
                        writeln!(f, "  cost:       {with} us until the command can start, {without} us in place")?;
                    }
                }
                Err(why) => writeln!(f, "  isolation:  none, attempts {}\n  reason:     {why}", self.instead())?,
            }
        }
        if !self.isolates() && self.mounts.iter().any(|mount| mount.isolation.is_ok()) {
            writeln!(f, "All attempts {}, because they would see all mounts.", self.instead())?;
        }
        writeln!(f, "control groups")?;
        match &self.groups {
            Ok(groups) => {
                writeln!(f, "  attempts:   each in one of its own below {}", groups.path().display())?;
                match (groups.memory(), self.attempt_memory) {
                    (Err(why), _) => writeln!(f, "  memory:     not accounted: {why}")?,
                    (Ok(()), None) => writeln!(f, "  memory:     accounted")?,
                    (Ok(()), Some(limit)) => writeln!(f, "  memory:     accounted, {} at most", size_text(limit))?,
                }
                if let Some(cost) = self.cost_of_groups {
                    writeln!(f, "  cost:       {} us an attempt", cost.as_micros())?;
                }
            }
            Err(why) => writeln!(f, "  attempts:   none\n  reason:     {why}")?,
        }
        Ok(())
    }
}

fn try_out(path: &Path, table: &MountTable, config: &Config, spawner: &Spawner) -> Result<(), String> {
    if let Some(inner) = table.mounts_below(path).first() {
        return Err(format!("{} is mounted below it, and an overlay would hide that", inner.display()));
    }
    let answer = trial(spawner, Isolation::possible(), false, &trial_of(path, config.scratch_limit));
    let remedy = match Isolation::possible() {
        Namespaces::Root => "the worker needs CAP_SYS_ADMIN, and a kernel from 5.12 with overlayfs",
        _ => "the kernel must allow users namespaces of their own, or start the worker as root",
    };
    match answer {
        Ok(Reply::Started) => Ok(()),
        Ok(Reply::Failed(failure)) => Err(format!("{failure} ({remedy})")),
        Ok(_) => Err("the keeper gave an odd answer".to_owned()),
        Err(error) => Err(format!("the keeper of the trial is gone: {error}")),
    }
}

/// What asks a keeper to isolate this mount and do nothing.
fn trial_of(path: &Path, scratch_limit: u64) -> Request {
    Request { mounts: vec![path.as_os_str().as_bytes().to_vec()], scratch_limit, ..Request::default() }
}

/// Makes the directory of the groups, has the spawner know it, and tries them in place and on each isolated mount.
fn groups<'a>(
    isolated: impl Iterator<Item = &'a Path>,
    config: &Config,
    spawner: &Spawner,
) -> Result<Arc<Groups>, String> {
    let groups = Groups::prepare()?;
    let limit = config.attempt_memory.filter(|_| groups.memory().is_ok());
    spawner.give_groups(groups.dir(), limit).map_err(|error| format!("the spawner is gone: {error}"))?;
    let alone = (Namespaces::None, Request::default());
    let isolated = isolated.map(|path| (Isolation::possible(), trial_of(path, config.scratch_limit)));
    for (namespaces, request) in std::iter::once(alone).chain(isolated) {
        match trial(spawner, namespaces, true, &request) {
            Ok(Reply::Started) => {}
            Ok(Reply::Failed(failure)) => return Err(failure.to_string()),
            Ok(_) => return Err("the keeper gave an odd answer".to_owned()),
            Err(error) => return Err(format!("the keeper of the trial is gone: {error}")),
        }
    }
    Ok(Arc::new(groups))
}

fn trial(spawner: &Spawner, namespaces: Namespaces, grouped: bool, request: &Request) -> io::Result<Reply> {
    let [stdout, stderr] = no_outputs()?;
    let conversation = spawner.open_keeper(namespaces, grouped, &stdout, &stderr)?;
    send_request(&conversation, request)?;
    receive_reply(&conversation)
}

fn timed(spawner: &Spawner, namespaces: Namespaces, grouped: bool, request: &Request) -> Option<Duration> {
    let began = Instant::now();
    matches!(trial(spawner, namespaces, grouped, request), Ok(Reply::Started)).then(|| began.elapsed())
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Whether something is mounted below one of these now. It may come after the worker has started (an automounter, a
/// container), so every attempt asks: an overlay would hide it, and the command would miss what everybody else sees.
pub(crate) fn is_mounted_below(mounts: &[PathBuf]) -> bool {
    let table = MountTable::read();
    mounts.iter().any(|mount| !table.mounts_below(mount).is_empty())
}

/// `/proc/self/mountinfo`.
#[derive(Debug)]
pub(crate) struct MountTable(Vec<(PathBuf, String)>);

impl MountTable {
    pub(crate) fn read() -> Self {
        Self::of_text(&fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    pub(crate) fn of_text(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(mount_of_line).collect())
    }

    /// What is mounted where this path leads, the last of it if there are several layers.
    pub(crate) fn filesystem_of(&self, path: &Path) -> String {
        let around = self.0.iter().filter(|(mount, _)| path.starts_with(mount));
        let nearest = around.max_by_key(|(mount, _)| mount.components().count());
        nearest.map_or_else(|| "unknown".to_owned(), |(_, filesystem)| filesystem.clone())
    }

    fn mounts_below(&self, path: &Path) -> Vec<&Path> {
        let mounts = self.0.iter().map(|(mount, _)| mount.as_path());
        mounts.filter(|mount| mount.starts_with(path) && *mount != path).collect()
    }
}

/// Mount point and filesystem of one line (proc(5)): the fifth field, and the first behind the dash.
fn mount_of_line(line: &[u8]) -> Option<(PathBuf, String)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescaped(fields.nth(4)?);
    let filesystem = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some((crate::keeper::path_of(&point), String::from_utf8_lossy(filesystem).into_owned()))
}

/// Spaces, tabs, newlines and backslashes are three octal digits behind a backslash there.
pub(crate) fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        rest = match octal {
            Some(meant) if byte == b'\\' => {
                bytes.push(meant);
                &after[3..]
            }
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> MountTable {
        MountTable::of_text(text.as_bytes())
    }

    #[test]
    fn the_mount_table_tells_filesystems_apart_and_what_is_below() {
        let table = table(
            "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
             31 20 0:40 / /mnt/a\\040b rw master:3 shared:4 - fuse.ceph-fuse ceph-fuse rw\n\
             32 31 0:41 / /mnt/a\\040b/inner rw - tmpfs tmpfs rw\n",
        );

        assert_eq!(table.filesystem_of(Path::new("/mnt/a b/src")), "fuse.ceph-fuse");
        assert_eq!(table.filesystem_of(Path::new("/mnt/a")), "ext4");
        assert_eq!(table.mounts_below(Path::new("/mnt/a b")), [Path::new("/mnt/a b/inner")]);
        assert!(table.mounts_below(Path::new("/mnt/a b/inner")).is_empty());
    }
}
