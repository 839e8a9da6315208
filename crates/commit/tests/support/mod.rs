//! Directories to compare, and real overlays in mount namespaces of their own.

#![allow(dead_code, reason = "every test file uses a part")]

use std::collections::BTreeMap;
use std::fs::{File, Metadata, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use commit::{
    Calls, CommitError, Committed, Durability, Family, Fence, Kernel, Layer, LeaseOver, Primary, Request, Strategy,
    User,
};
use model::ids::{Attempt, JobId};
use rustix::fs::Timespec;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::WaitOptions;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

pub(crate) const JOB: JobId = JobId::from_bytes([0xc0; 16]);

/// A lease that runs.
pub(crate) struct Runs;

impl Fence for Runs {
    fn check(&mut self) -> Result<(), LeaseOver> {
        Ok(())
    }
}

/// Runs `story` in a forked process with a mount namespace of its own, in a user namespace too unless we are root, and
/// fails if it fails. What it mounts goes with it.
pub(crate) fn in_namespace(story: impl FnOnce()) {
    // SAFETY: glibc keeps its heap usable in a forked child, and the child runs nothing but the story.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no process for the test");
    if child == 0 {
        // A lock that another thread held when we were forked is never released here: rather die than wait for ever.
        // SAFETY: asks for a signal.
        unsafe { libc::alarm(300) };
        let told = catch_unwind(AssertUnwindSafe(|| {
            enter_namespace();
            story();
        }));
        let failed = told.inspect_err(|panic| complain(panic.as_ref())).is_err();
        // SAFETY: ends this process at once, which is all that is left to do.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let child = rustix::process::Pid::from_raw(child);
    let (_, status) = rustix::process::waitpid(child, WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0), "the story failed; it says why above");
}

/// The harness keeps what a test prints in this process' memory, which ends with the child.
fn complain(panic: &(dyn std::any::Any + Send)) {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked");
    // By descriptor: what /dev/stderr leads to may not be ours to open.
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("{text}\n").as_bytes());
}

fn enter_namespace() {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = if uid == 0 { UnshareFlags::NEWNS } else { UnshareFlags::NEWNS | UnshareFlags::NEWUSER };
    // SAFETY: a process of one thread, that shares nothing it relies on.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .expect("these tests mount overlays: run them as root, or where users may have namespaces");
    if uid != 0 {
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
    }
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
}

pub(crate) fn family() -> Family {
    if rustix::process::geteuid().is_root() { Family::Trusted } else { Family::User }
}

/// A directory that plays the shared mount, and an overlay over it, at the very same path.
pub(crate) struct Isolated {
    pub(crate) real: File,
    pub(crate) upper: File,
    pub(crate) family: Family,
    pub(crate) began: Timespec,
}

impl Isolated {
    /// Covers `shared`; `scratch` is where a tmpfs is mounted for what is written. In a namespace of our own only.
    pub(crate) fn over(shared: &Path, scratch: &Path) -> Self {
        let real = File::open(shared).unwrap();
        rustix::mount::mount("none", scratch, "tmpfs", MountFlags::empty(), Some(c"mode=755")).unwrap();
        let (upper, work) = (scratch.join("upper"), scratch.join("work"));
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        let mode = std::fs::metadata(shared).unwrap().permissions();
        std::fs::set_permissions(&upper, mode).unwrap();
        let family = family();
        // Without an index overlayfs does not mark a file with several names that it copied up. With `userxattr` it
        // takes no word on metacopy and redirect_dir (`EINVAL`), which it leaves off by itself.
        let more = match family {
            Family::User => "userxattr,index=off",
            Family::Trusted => "index=on,metacopy=off,redirect_dir=off",
        };
        let options =
            format!("lowerdir={},upperdir={},workdir={},{more}", shared.display(), upper.display(), work.display());
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("overlay", shared, "overlay", MountFlags::empty(), Some(&*options)).unwrap();
        if family == Family::User {
            give_up_capabilities();
        }
        pass_a_tick();
        let began = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Self { real, upper: File::open(&upper).unwrap(), family, began }
    }

    pub(crate) fn commit(
        &self,
        with: &With<'_>,
        fence: &mut dyn Fence,
        calls: &mut dyn Calls,
    ) -> Result<Committed, CommitError> {
        commit_upper(&self.upper, &self.real, self.family, self.began, with, fence, calls)
    }
}

/// Leaves a story with a user's rights, as the command has them: who makes a user namespace has all capabilities in it.
fn give_up_capabilities() {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).unwrap();
}

/// As root, runs the whole test program again as a user without any right, on which overlays are another family; fails
/// if any of its tests fails. Without root, all other tests of the program are that run.
pub(crate) fn hold_without_root() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // The program may lie where nobody may look; the link in /proc leads there all the same.
    let mut again = std::process::Command::new("/proc/self/exe");
    again.uid(NOBODY).gid(NOBODY).current_dir(home.path()).env("TMPDIR", home.path()).env("HOME", home.path());
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = said.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ok")).count();
    assert!(output.status.success(), "without root:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(ran > 1, "no test was run without root:\n{said}");
}

/// Removes a directory, even if the user may not look into parts of it.
pub(crate) fn remove(dir: &Path) {
    if dir.exists() {
        tree(dir);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

/// Waits until the clock of file times, which ticks at 100 Hz at the slowest, has passed the present.
pub(crate) fn pass_a_tick() {
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(12) {
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// How a test commits.
#[derive(Clone, Copy)]
pub(crate) struct With<'a> {
    pub(crate) strategy: Strategy,
    pub(crate) primary: Option<&'a [u8]>,
    pub(crate) attempt: u32,
    pub(crate) durability: Durability,
    pub(crate) known: &'a BTreeMap<Vec<u8>, u32>,
}

static NOTHING_KNOWN: BTreeMap<Vec<u8>, u32> = BTreeMap::new();

impl With<'_> {
    pub(crate) const fn strategy(strategy: Strategy) -> Self {
        Self { strategy, primary: None, attempt: 1, durability: Durability::None, known: &NOTHING_KNOWN }
    }
}

pub(crate) fn commit_upper(
    upper: &File,
    real: &File,
    family: Family,
    began: Timespec,
    with: &With<'_>,
    fence: &mut dyn Fence,
    calls: &mut dyn Calls,
) -> Result<Committed, CommitError> {
    let stale_view = Duration::ZERO;
    let known = with.known;
    let layers =
        [Layer { upper: upper.as_fd(), real: real.as_fd(), family, strategy: with.strategy, stale_view, known }];
    let request = Request {
        layers: &layers,
        attempt: Attempt { job: JOB, number: with.attempt },
        primary: with.primary.map(|path| Primary { layer: 0, path }),
        user: User { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() },
        began,
        durability: with.durability,
    };
    commit::commit(&request, fence, calls)
}

/// How a name looks: everything that a direct run and a commit must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: Vec<u8>,
    /// Names of the same file, the first stands for the file.
    pub(crate) same_as: PathBuf,
    pub(crate) links: u64,
}

/// All names below a directory, and how they look.
///
/// Directories that their owner may not use are opened for good.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Look> {
    let mut names = BTreeMap::new();
    collect(root, root, &mut names);
    let mut first: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let look = |(name, facts): (PathBuf, Metadata)| {
        let path = root.join(&name);
        let content = if facts.is_symlink() {
            path.read_link().unwrap().into_os_string().into_encoded_bytes()
        } else if facts.is_file() {
            content_of(&path, &facts)
        } else {
            Vec::new()
        };
        let same_as = first.entry((facts.dev(), facts.ino())).or_insert_with(|| name.clone()).clone();
        let links = if facts.is_dir() { 0 } else { facts.nlink() };
        let mode = facts.permissions().mode();
        let look = Look { mode, owner: (facts.uid(), facts.gid()), content, same_as, links };
        (name, look)
    };
    names.into_iter().map(look).collect()
}

fn collect(root: &Path, dir: &Path, names: &mut BTreeMap<PathBuf, Metadata>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let facts = path.symlink_metadata().unwrap();
        let mode = facts.permissions().mode();
        names.insert(path.strip_prefix(root).unwrap().to_owned(), facts.clone());
        if facts.is_dir() {
            if mode & 0o700 != 0o700 {
                std::fs::set_permissions(&path, Permissions::from_mode(mode | 0o700)).unwrap();
            }
            collect(root, &path, names);
        }
    }
}

/// Reads what even its owner may not read.
fn content_of(path: &Path, facts: &Metadata) -> Vec<u8> {
    let mode = facts.permissions().mode();
    if mode & 0o400 != 0 {
        return std::fs::read(path).unwrap();
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode | 0o400)).unwrap();
    let content = std::fs::read(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    content
}

/// Says where two trees differ, briefly.
pub(crate) fn assert_same(direct: &BTreeMap<PathBuf, Look>, committed: &BTreeMap<PathBuf, Look>, what: &str) {
    let names: std::collections::BTreeSet<&PathBuf> = direct.keys().chain(committed.keys()).collect();
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| direct.get(*name) != committed.get(*name))
        .map(|name| {
            format!(
                "{}: direct {} but committed {}",
                name.display(),
                brief(direct.get(name)),
                brief(committed.get(name))
            )
        })
        .collect();
    assert!(differing.is_empty(), "{what}: {}", differing.join("; "));
}

fn brief(look: Option<&Look>) -> String {
    look.map_or("missing".to_owned(), |look| {
        let start = String::from_utf8_lossy(&look.content[..look.content.len().min(24)]).into_owned();
        let (bytes, same_as) = (look.content.len(), look.same_as.display());
        format!("mode {:o}, {:?}, {bytes} bytes {start:?}, links {}, as {same_as}", look.mode, look.owner, look.links)
    })
}

pub(crate) fn kernel() -> Kernel {
    Kernel
}
