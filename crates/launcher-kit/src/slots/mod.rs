//! The local slots: how many commands this user's launchers run on this host at a time when the cluster does not take
//! them. A cluster that dies under `-j400` is to leave a workstation that can be used.
//!
//! A slot is a lock on a file in the user's runtime directory, so it ends with whoever holds it, however that ends.
//! Launchers stand in line for them, and the first one also waits until there is memory for one more, unless nothing
//! runs yet: one at a time must always do.

mod line;
mod memory;

use std::fs::{File, FileTimes, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use model::job::JobKind;

use line::Place;
use memory::Memory;

/// Between two looks of the first in line, and of the others.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(100);
/// So many looks apart, one who is not the first looks whether a slot stays free: the first one may be stopped (Ctrl-Z).
const PATIENCE: u32 = 10;
/// A command that began so lately has not taken its memory yet.
const RECENT: Duration = Duration::from_secs(2);
/// A link needs so many times the memory of a compile.
const LINK_FACTOR: u64 = 4;

/// The right to one of the local slots; across `execve` the compiler holds it.
pub struct LocalSlot(OwnedFd);

impl LocalSlot {
    /// Lets the lock live on in the program that this process becomes.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn keep_across_exec(self) -> io::Result<()> {
        // Far above the descriptors that a build tool or a jobserver counts on.
        let kept = rustix::io::fcntl_dupfd_cloexec(&self.0, 200)?;
        rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty())?;
        std::mem::forget(kept);
        Ok(())
    }
}

/// The local slots of this user on this host.
pub struct LocalSlots {
    dir: PathBuf,
    count: usize,
    /// Bytes that a compile must find; 0 does not look.
    memory: u64,
}

/// Somebody in the line.
struct Waiting {
    place: Place,
    /// How often he has looked while he was not the first.
    looks: u32,
    /// Whether a slot was free when he last looked for one although he was not the first.
    seen_free: bool,
    /// Until the next look.
    pause: Duration,
}

impl Waiting {
    fn join(dir: &Path) -> io::Result<Self> {
        Ok(Self { place: Place::join(dir)?, looks: 0, seen_free: false, pause: FIRST_PAUSE })
    }
}

/// What the slots look like.
#[derive(Default)]
struct Look {
    /// A slot that was free and is ours now.
    taken: Option<File>,
    /// Slots that others hold.
    busy: usize,
    /// Those of them that were taken lately.
    recent: u64,
}

impl LocalSlots {
    /// `count` slots, one per CPU unless configured, shared by all launchers of the user through lock files in the
    /// user's runtime directory. `memory`: how many bytes must be available for a compile beside those that have just
    /// begun, four times as many for a link; 0 does not look.
    ///
    /// # Errors
    /// When there is no safe directory for the lock files.
    pub fn open(count: Option<usize>, memory: u64, runtime_dir: Option<PathBuf>) -> io::Result<Self> {
        let cpus = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dir = own_runtime_directory(runtime_dir)?;
        Ok(Self { dir, count: count.unwrap_or_else(cpus), memory })
    }

    /// Waits for a free slot and for memory, however long that takes; first come, first served.
    ///
    /// # Errors
    /// When a lock file cannot be opened.
    pub async fn take(&self, kind: JobKind) -> io::Result<LocalSlot> {
        let mut waiting = Waiting::join(&self.dir)?;
        loop {
            if let Some(slot) = self.look_for_one(&mut waiting, kind)? {
                return Ok(slot);
            }
            tokio::time::sleep(waiting.pause).await;
        }
    }

    /// One look of somebody in the line.
    fn look_for_one(&self, waiting: &mut Waiting, kind: JobKind) -> io::Result<Option<LocalSlot>> {
        let is_first = waiting.place.is_first()?;
        waiting.pause = if is_first { FIRST_PAUSE } else { PAUSE };
        if is_first {
            return self.try_take(kind, Memory::read);
        }
        waiting.looks += 1;
        if !waiting.looks.is_multiple_of(PATIENCE) {
            return Ok(None);
        }
        let free = self.try_take(kind, Memory::read)?;
        let stays_free = std::mem::replace(&mut waiting.seen_free, free.is_some());
        Ok(free.filter(|_| stays_free))
    }

    /// A free slot, if there is one and memory for it.
    fn try_take(&self, kind: JobKind, memory: impl Fn() -> Memory) -> io::Result<Option<LocalSlot>> {
        let Look { taken, busy, recent } = self.look()?;
        let Some(file) = taken else { return Ok(None) };
        let need = if kind == JobKind::Link { self.memory.saturating_mul(LINK_FACTOR) } else { self.memory };
        // Who runs alone runs, whatever is left: waiting would not give him more.
        if need > 0 && busy > 0 && !memory().has_room(need, recent.saturating_mul(self.memory)) {
            return Ok(None);
        }
        file.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
        Ok(Some(LocalSlot(file.into())))
    }

    fn look(&self) -> io::Result<Look> {
        let mut look = Look::default();
        for number in 0..self.count {
            let file = lock_file(&self.dir.join(format!("local-slot.{number}")))?;
            match rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => look.taken = look.taken.or(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    look.busy += 1;
                    let age = file.metadata()?.modified().ok().and_then(|taken| taken.elapsed().ok());
                    look.recent += u64::from(age.is_none_or(|age| age < RECENT));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(look)
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The directory for what the launchers of this user on this host have in common.
pub(crate) fn own_runtime_directory(runtime_dir: Option<PathBuf>) -> io::Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let dir = match runtime_dir {
        Some(dir) => dir.join("distccd"),
        None => PathBuf::from(format!("/tmp/distccd-{uid}")),
    };
    own_directory(&dir, uid)?;
    Ok(dir)
}

/// Makes the directory with mode 0700, or checks that it is ours: `/tmp` belongs to everybody.
fn own_directory(dir: &Path, uid: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = std::fs::symlink_metadata(dir)?;
            if metadata.is_dir() && metadata.uid() == uid {
                return Ok(());
            }
            Err(io::Error::other(format!("{} is not a directory of user {uid}; remove it", dir.display())))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: u64 = 1 << 20;

    fn slots(dir: &Path, count: usize) -> LocalSlots {
        LocalSlots::open(Some(count), LITTLE, Some(dir.to_owned())).unwrap()
    }

    fn plenty() -> Memory {
        Memory { available: Some(1 << 40), stalled_percent: 0.0 }
    }

    fn none() -> Memory {
        Memory { available: Some(0), stalled_percent: 0.0 }
    }

    #[test]
    fn slots_are_counted_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots(dir.path(), 2);
        let take = || slots.try_take(JobKind::Compile, plenty).unwrap();

        let first = take();
        let second = take();
        assert!(first.is_some() && second.is_some() && take().is_none());
        drop(first);

        assert!(take().is_some());
    }

    #[test]
    fn without_memory_one_runs_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots(dir.path(), 4);

        let first = slots.try_take(JobKind::Link, none).unwrap();
        assert!(first.is_some());
        assert!(slots.try_take(JobKind::Compile, none).unwrap().is_none());
        drop(first);

        assert!(slots.try_take(JobKind::Compile, none).unwrap().is_some());
    }

    #[test]
    fn those_that_have_just_begun_are_allowed_for_and_a_link_counts_for_four() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots(dir.path(), 8);
        let room = |compiles: u64| move || Memory { available: Some(compiles * LITTLE), stalled_percent: 0.0 };
        let _running = slots.try_take(JobKind::Compile, plenty).unwrap().unwrap();

        assert!(slots.try_take(JobKind::Compile, room(1)).unwrap().is_none(), "one has just begun");
        assert!(slots.try_take(JobKind::Link, room(4)).unwrap().is_none());
        assert!(slots.try_take(JobKind::Link, room(5)).unwrap().is_some());
    }

    #[test]
    fn zero_does_not_look() {
        let dir = tempfile::tempdir().unwrap();
        let slots = LocalSlots::open(Some(2), 0, Some(dir.path().to_owned())).unwrap();

        let both = [(); 2].map(|()| slots.try_take(JobKind::Link, none).unwrap());

        assert!(both.iter().all(Option::is_some));
    }

    #[test]
    fn a_slot_that_the_first_in_line_leaves_free_goes_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let slots = LocalSlots::open(Some(1), 0, Some(dir.path().to_owned())).unwrap();
        let stopped = Place::join(&slots.dir).unwrap();
        let mut next = Waiting::join(&slots.dir).unwrap();
        let mut look = || slots.look_for_one(&mut next, JobKind::Compile).unwrap();

        let looks = (1..).find(|_| look().is_some());

        assert_eq!(looks, Some(2 * PATIENCE), "free at one look may be the first one's");
        drop(stopped);
    }

    #[test]
    fn whoever_waits_is_served_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let slots = LocalSlots::open(Some(1), 0, Some(dir.path().to_owned())).unwrap();
        let [mut first, mut second] = [(); 2].map(|()| Waiting::join(&slots.dir).unwrap());
        let look = |who: &mut Waiting| slots.look_for_one(who, JobKind::Compile).unwrap();

        assert!(look(&mut second).is_none());
        let held = look(&mut first);
        assert!(held.is_some());
        drop(first);
        assert!(look(&mut second).is_none(), "he is the first now, but the slot is taken");
        drop(held);

        assert!(look(&mut second).is_some());
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("distccd"), "").unwrap();

        let error = LocalSlots::open(Some(1), 0, Some(dir.path().to_owned())).err().unwrap();

        assert!(error.to_string().contains("remove it"), "{error}");
    }
}
