//! A job is done when this machine sees what the worker wrote: the answer overtakes the filesystem's caches
//! (design.md section 8; filesystems.md section 2 for what helps where).
//!
//! Where nothing is stale this is one `stat` for each file that was written, and on filesystems that may show old things
//! one `open` and one `fstat`; one `open` for each name that was removed; and no question of the filesystem's kind: on
//! CephFS and NFS `statfs` is a round trip of its own, and the mount table has the name. Only a look that differs asks,
//! and then does what helps there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use proto::v1::{Seen, Stamp};
use rustix::fs::{Mode, OFlags, open, statfs};
use tokio::time::Instant;

use crate::answer::Done;
use crate::mount_table::{Entry, MountTable};

/// The first pause before looking again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How long another inode number alone is taken for an old view. On NFS a look after the parent was read was right
/// within 40 ms; a server whose clients count inodes differently (`nfs.enable_ino64=0`) must not stop every job.
const INODE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a name that the command removed is waited for to go: attributes are believed for 3 s at first (`acregmin`,
/// nfs(5)). After that somebody has made it again, which is no reason to fail.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);

/// What an old view of a filesystem is refreshed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Manners {
    /// Opening and reading the parent directory: NFS drops what it remembers as missing, and the v4.2 client the old
    /// content of a replaced file; v3 needs the reading too. On CephFS it only adds a wait for the parent's locks.
    read_parent: bool,
    /// Whether inode numbers are the server's own, so that two files of equal size and time can be told apart. Where
    /// the old content of a replaced file is never shown (CephFS, Lustre, GPFS, local) there is nothing to tell, and FUSE
    /// filesystems make numbers up.
    inodes_tell: bool,
}

impl Manners {
    /// By `f_type` of statfs(2).
    fn of(magic: u64) -> Self {
        const NFS: u64 = 0x6969;
        const CEPH: u64 = 0x00c3_6400;
        const LUSTRE: u64 = 0x0bd0_0bd0;
        const GPFS: u64 = 0x4750_4653;
        match magic {
            NFS => Self { read_parent: true, inodes_tell: true },
            // These never show an old view; the look itself waits for what is to be waited for.
            CEPH | LUSTRE | GPFS => Self { read_parent: false, inodes_tell: false },
            // FUSE may be anything. Where reading the parent is no help (GlusterFS) it is no harm either, and ceph-fuse
            // does not come to a second look.
            _ => Self { read_parent: true, inodes_tell: false },
        }
    }

    fn at(path: &Path) -> Self {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let magic = statfs(parent).map(|facts| u64::try_from(facts.f_type).unwrap_or(0));
        Self::of(magic.unwrap_or(0))
    }
}

/// How a file looks, against its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    AsLeft,
    /// The size and time that it was left with, and another inode number.
    OtherInode,
    Stale,
}

/// A wait that is not worth a message: the first class of `Visibility` in admin.proto.
const NO_WAIT: Duration = Duration::from_millis(1);

/// What the server is told of a wait that ended now.
#[must_use]
pub fn report(mount: &Bytes, waited: Duration, given_up: bool) -> Option<Seen> {
    if waited <= NO_WAIT && !given_up {
        return None;
    }
    let table = MountTable::read();
    let filesystem = table.holding(path_of(mount)).map(Entry::filesystem).unwrap_or_default();
    let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
    Some(Seen { mount: mount.clone(), filesystem, waited_us, given_up })
}

/// Waits until every file looks from here as the worker reported it, until the names that were removed are gone, and those
/// of directories and symbolic links are there. Returns how long that took.
///
/// # Errors
/// The first name that is not so after `timeout`.
pub async fn wait(done: &Done, timeout: Duration) -> Result<Duration, String> {
    let (stamps, removed) = (&done.stamps, &done.removed);
    let began = Instant::now();
    let table = MountTable::read();
    // First, for a name may have come back as a file.
    for name in removed {
        let newest = stamps.iter().map(|stamp| stamp.mtime_ns).max().unwrap_or(i64::MAX);
        let until = began + timeout.min(REMOVAL_PATIENCE);
        let _ = until_so(path_of(name), until, |_| is_gone(path_of(name), newest)).await;
    }
    for made in &done.made {
        let path = path_of(&made.path);
        if !until_so(path, began + timeout, |_| is_made(path, &made.target)).await {
            return Err(format!("{} is not to be seen from here as the worker made it", path.display()));
        }
    }
    for stamp in stamps {
        let path = path_of(&stamp.path);
        let is_honest = table.holding(path).is_some_and(|entry| !entry.sight().may_be_old());
        let seen = |manners: Option<Manners>| match look(stamp, is_honest && manners.is_none()) {
            Look::AsLeft => true,
            Look::Stale => false,
            Look::OtherInode => {
                !manners.unwrap_or_else(|| Manners::at(path)).inodes_tell || began.elapsed() >= INODE_PATIENCE
            }
        };
        if !until_so(path, began + timeout, seen).await {
            return Err(format!("{} does not look from here as the worker left it", path.display()));
        }
    }
    Ok(began.elapsed())
}

/// Looks until it is so, with what helps on the filesystem in between; false when time is up before. A parent that was
/// read is followed by a look at once: where that helps it has helped by then.
async fn until_so(path: &Path, until: Instant, is_so: impl Fn(Option<Manners>) -> bool) -> bool {
    if is_so(None) {
        return true;
    }
    let manners = Manners::at(path);
    let mut pause = FIRST_PAUSE;
    loop {
        if manners.read_parent {
            refresh(path);
        }
        if is_so(Some(manners)) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn path_of(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Opens the file and looks at it: on NFS only `open(2)` must ask the server (close-to-open). Or, where that is no
/// question, looks at its name.
///
/// A file that is newer than the worker left it was written since, by another command that has the same output; what
/// this one wrote is not to be seen any more, by nobody. The time of an old file may lie in the future, so that does not
/// count as newer. A file that we are not allowed to look at is not shown by waiting either.
fn look(stamp: &Stamp, by_name: bool) -> Look {
    let path = path_of(&stamp.path);
    let open = || File::open(path).and_then(|file| file.metadata());
    // A file that we may not read can still be looked at.
    let metadata = if by_name { std::fs::metadata(path) } else { open().or_else(|_| std::fs::metadata(path)) };
    match metadata {
        Ok(seen) => {
            let mtime_ns = mtime_ns(&seen);
            if seen.size() == stamp.size && mtime_ns == stamp.mtime_ns {
                // 0 is no inode number, and what a worker says that has none to tell.
                let same = stamp.inode == 0 || seen.ino() == stamp.inode;
                return if same { Look::AsLeft } else { Look::OtherInode };
            }
            if is_later(mtime_ns, stamp.mtime_ns) { Look::AsLeft } else { Look::Stale }
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Look::AsLeft,
        Err(_) => Look::Stale,
    }
}

/// Whether nothing has the name, or something that was made after the command ended, whose newest file is of `newest`.
/// Opened, for NFS believes what it remembers of a name that is only looked at.
fn is_gone(path: &Path, newest: i64) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file).metadata().is_ok_and(|seen| is_later(mtime_ns(&seen), newest)),
        Err(errno) => matches!(errno, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR),
    }
}

/// Whether a directory is there, or a symbolic link that leads to `target`.
fn is_made(path: &Path, target: &[u8]) -> bool {
    match target {
        [] => std::fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir()),
        target => std::fs::read_link(path).is_ok_and(|seen| seen.as_os_str().as_bytes() == target),
    }
}

/// Whether a file of this time was written after `left`.
fn is_later(mtime_ns: i64, left: i64) -> bool {
    mtime_ns > left && mtime_ns <= now_ns()
}

fn mtime_ns(seen: &std::fs::Metadata) -> i64 {
    seen.mtime().saturating_mul(1_000_000_000).saturating_add(seen.mtime_nsec())
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn refresh(path: &Path) {
    if let Some(entries) = path.parent().and_then(|parent| std::fs::read_dir(parent).ok()) {
        entries.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::MadeName;

    use super::*;

    fn stamp_of(path: &Path) -> Stamp {
        match crate::places::Places::find(path) {
            crate::places::Found::There(looked) => crate::survey::stamp(path, &looked),
            _ => panic!("{} is not there", path.display()),
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    async fn wait(stamps: &[Stamp], removed: &[Bytes], timeout: Duration) -> Result<Duration, String> {
        super::wait(&Done { stamps: stamps.to_vec(), removed: removed.to_vec(), ..Done::nothing() }, timeout).await
    }

    fn name_of(path: &Path) -> Bytes {
        Bytes::copy_from_slice(path.as_os_str().as_bytes())
    }

    #[test]
    fn a_file_as_reported_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();

        let removed = [name_of(&dir.path().join("a.tmp")), name_of(&file.join("below"))];
        assert!(block_on(wait(&[stamp_of(&file)], &removed, Duration::ZERO)).is_ok());
    }

    #[test]
    fn a_file_that_was_written_since_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "of somebody else").unwrap();
        let now = stamp_of(&file);
        let earlier = Stamp { size: 1, mtime_ns: now.mtime_ns - 1, ..now };

        assert!(block_on(wait(std::slice::from_ref(&earlier), &[], Duration::ZERO)).is_ok());

        // An old file from the future, of which the replacement is not visible yet.
        let future = std::fs::FileTimes::new().set_modified(SystemTime::now() + Duration::from_secs(3600));
        File::options().write(true).open(&file).unwrap().set_times(future).unwrap();
        assert!(block_on(wait(&[earlier], &[], Duration::ZERO)).is_err());
    }

    #[test]
    fn only_a_wait_is_worth_a_message() {
        let mount = Bytes::from_static(b"/");

        assert_eq!(report(&mount, Duration::from_micros(900), false), None);
        let told = report(&mount, Duration::from_millis(7), false).unwrap();
        assert_eq!((told.waited_us, told.given_up), (7_000, false));
        assert!(!told.filesystem.is_empty() && report(&mount, Duration::ZERO, true).is_some());
    }

    #[test]
    fn a_file_of_another_size_is_named_when_time_is_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();
        let reported = Stamp { size: 2, ..stamp_of(&file) };

        let error = block_on(wait(&[reported], &[], Duration::ZERO)).unwrap_err();

        assert!(error.contains("a.o"), "{error}");
    }

    #[test]
    fn a_removed_name_that_stays_is_given_up_and_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (file, old) = (dir.path().join("a.o"), dir.path().join("old"));
        for path in [&old, &file] {
            std::fs::write(path, "x").unwrap();
        }
        let before = std::fs::FileTimes::new().set_modified(UNIX_EPOCH);
        File::options().write(true).open(&old).unwrap().set_times(before).unwrap();
        let stamps = [stamp_of(&file)];

        assert!(block_on(wait(&stamps, &[name_of(&old)], Duration::ZERO)).is_ok());
        assert!(!is_gone(&old, stamps[0].mtime_ns));

        std::fs::write(&old, "again").unwrap();
        assert!(is_gone(&old, 1), "made again since the command ended");
        std::fs::remove_file(&old).unwrap();
        assert!(is_gone(&old, i64::MAX));
    }

    #[test]
    fn a_directory_is_waited_for_and_a_link_until_it_leads_where_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let (made, link) = (dir.path().join("made"), dir.path().join("link"));
        std::os::unix::fs::symlink("old", &link).unwrap();
        let name = |path: &Path, target: &'static str| MadeName { path: name_of(path), target: target.into() };
        let seen = |names: Vec<MadeName>| {
            block_on(super::wait(&Done { made: names, ..Done::nothing() }, Duration::ZERO)).is_ok()
        };

        assert!(!seen(vec![name(&made, "")]) && !seen(vec![name(&link, "new")]));
        std::fs::create_dir(&made).unwrap();
        assert!(seen(vec![name(&made, ""), name(&link, "old")]));
    }

    #[test]
    fn another_inode_alone_is_an_old_view_on_nfs_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.o");
        std::fs::write(&file, "x").unwrap();
        let stamp = stamp_of(&file);

        assert_eq!(look(&stamp, false), Look::AsLeft);
        assert_eq!(look(&Stamp { inode: stamp.inode + 1, ..stamp.clone() }, true), Look::OtherInode);
        assert_eq!(look(&Stamp { inode: 0, ..stamp }, false), Look::AsLeft);
        assert!(Manners::of(0x6969).inodes_tell, "nfs");
        assert!(!Manners::of(0x6573_5546).inodes_tell, "fuse");
        assert!(!Manners::of(0x00c3_6400).read_parent, "ceph");
    }
}
