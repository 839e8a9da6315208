//! What goes wrong on the way: a crash after any step, replies that are lost, a lease that ends, a disk that fills up.
//!
//! Directories play the upper layer here, which need be no overlay for files that the command made.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use commit::{Blame, Calls, CommitError, Committed, Durability, Fence, LeaseOver, Strategy};
use rustix::fs::{Gid, Mode, Timespec, Timestamps};
use rustix::io::{self, Errno};
use support::{JOB, Runs, With, commit_upper, family, kernel, tree};
use tempfile::TempDir;

const STRATEGIES: [Strategy; 2] = [Strategy::Rename, Strategy::Link];

/// A shared directory with an older build in it, and what a new one left.
struct World {
    base: TempDir,
}

impl World {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for dir in ["real", "upper", "upper/sub", "real/old"] {
            fs::create_dir(base.path().join(dir)).unwrap();
        }
        let world = Self { base };
        world.put("real/a.o", "old object");
        world.put("real/a.d", "old dependencies");
        world.put("upper/a.o", "new object");
        world.put("upper/a.d", "new dependencies");
        world.put("upper/sub/a.dwo", "debug information");
        std::os::unix::fs::symlink("a.o", world.path("upper/latest")).unwrap();
        fs::hard_link(world.path("upper/a.d"), world.path("upper/sub/a.d")).unwrap();
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.base.path().join(name)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn real(&self) -> File {
        File::open(self.path("real")).unwrap()
    }

    fn object(&self) -> String {
        fs::read_to_string(self.path("real/a.o")).unwrap_or_default()
    }

    fn commit(
        &self,
        attempt: u32,
        strategy: Strategy,
        fence: &mut dyn Fence,
        calls: &mut dyn Calls,
    ) -> Result<Committed, CommitError> {
        let with = With { primary: Some(b"a.o"), attempt, durability: Durability::Fsync, ..With::strategy(strategy) };
        let upper = File::open(self.path("upper")).unwrap();
        let began = Timespec { tv_sec: 0, tv_nsec: 0 };
        commit_upper(&upper, &self.real(), family(), began, &with, fence, calls)
    }

    fn temporaries(&self) -> Vec<String> {
        let names = tree(&self.path("real")).into_keys().map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.contains("distccd")).collect()
    }
}

/// Forwards every call to the kernel after `before` has been asked, which may refuse it, and `after` has seen it done.
struct Watched<B, A> {
    before: B,
    after: A,
}

macro_rules! watched {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl<B: FnMut(&str) -> io::Result<()>, A: FnMut(&str) -> io::Result<()>> Calls for Watched<B, A> {
            $(fn $name(&mut self, $($argument: $type),*) -> io::Result<$result> {
                (self.before)(stringify!($name))?;
                let done = kernel().$name($($argument),*)?;
                (self.after)(stringify!($name))?;
                Ok(done)
            })*
        }
    };
}

watched! {
    mkdir(dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> ();
    create(dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> OwnedFd;
    open_to_write(dir: BorrowedFd<'_>, name: &CStr) -> OwnedFd;
    write(file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> usize;
    truncate(file: BorrowedFd<'_>, size: u64) -> ();
    close(file: OwnedFd) -> ();
    rename(dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> ();
    link(from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, to: &CStr) -> ();
    symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> ();
    unlink(dir: BorrowedFd<'_>, name: &CStr) -> ();
    rmdir(dir: BorrowedFd<'_>, name: &CStr) -> ();
    chmod(file: BorrowedFd<'_>, mode: Mode) -> ();
    chmod_directory(dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> ();
    chown_group(file: BorrowedFd<'_>, group: Gid) -> ();
    set_times(file: BorrowedFd<'_>, times: &Timestamps) -> ();
    set_xattr(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> ();
    sync(file: BorrowedFd<'_>) -> ();
}

fn allow(_: &str) -> io::Result<()> {
    Ok(())
}

/// Runs `story` in a process of its own, which may end anywhere in it; says whether it came to its end.
fn in_mortal_process(story: impl FnOnce()) -> bool {
    // SAFETY: glibc keeps its heap usable in a forked child, and the child runs nothing but the story.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no process for the test");
    if child == 0 {
        story();
        die(0);
    }
    let child = rustix::process::Pid::from_raw(child);
    let ended = rustix::process::waitpid(child, rustix::process::WaitOptions::empty()).unwrap().unwrap();
    ended.1.exit_status() == Some(0)
}

fn die(code: i32) -> ! {
    // SAFETY: ends the process at once, as a crash does: nothing is tidied up.
    unsafe { libc::_exit(code) }
}

#[test]
fn after_a_crash_at_any_step_the_next_attempt_repairs() {
    for strategy in STRATEGIES {
        let wanted = {
            let world = World::new();
            world.commit(1, strategy, &mut Runs, &mut kernel()).unwrap();
            tree(&world.path("real"))
        };
        let mut steps = 0;
        loop {
            let world = World::new();
            let finished = in_mortal_process(|| {
                let mut left = steps;
                let mut calls = Watched {
                    before: |_: &str| {
                        if left == 0 {
                            die(9);
                        }
                        left -= 1;
                        Ok(())
                    },
                    after: allow,
                };
                world.commit(1, strategy, &mut Runs, &mut calls).unwrap();
            });
            // The primary output is as it was, or finished with all the rest; without a rename it may be missing too.
            let object = world.object();
            let sound = match strategy {
                Strategy::Rename => object == "old object" || object == "new object",
                Strategy::Link => ["old object", "new object", ""].contains(&&*object),
            };
            assert!(sound, "{strategy:?} after step {steps}: {object:?}");
            if object == "new object" {
                assert_eq!(fs::read_to_string(world.path("real/a.d")).unwrap(), "new dependencies");
            }

            commit::remove_leftovers(world.real().as_fd(), JOB, 2).unwrap();
            if let Ok(sub) = File::open(world.path("real/sub")) {
                commit::remove_leftovers(sub.as_fd(), JOB, 2).unwrap();
            }
            world.commit(2, strategy, &mut Runs, &mut kernel()).unwrap();

            support::assert_same(&wanted, &tree(&world.path("real")), &format!("{strategy:?} after step {steps}"));
            if finished {
                break;
            }
            steps += 1;
        }
        assert!(steps > 20, "a commit of so few steps ({steps}) tests little");
    }
}

#[test]
fn replies_that_are_lost_change_nothing() {
    // The server did it; the call that the client sends again finds it done (RFC 1813, 4.: non-idempotent requests).
    let losses = [
        ("rename", Errno::NOENT),
        ("unlink", Errno::NOENT),
        ("mkdir", Errno::EXIST),
        ("symlink", Errno::EXIST),
        ("link", Errno::EXIST),
    ];
    for strategy in STRATEGIES {
        let wanted = World::new();
        wanted.commit(1, strategy, &mut Runs, &mut kernel()).unwrap();
        for (lost, errno) in losses {
            let world = World::new();
            let after = |call: &str| if call == lost { Err(errno) } else { Ok(()) };

            let mut calls = Watched { before: allow, after };
            world.commit(1, strategy, &mut Runs, &mut calls).unwrap();

            let (wanted, found) = (tree(&wanted.path("real")), tree(&world.path("real")));
            support::assert_same(&wanted, &found, &format!("{strategy:?}, lost replies to {lost}"));
        }
    }
}

/// A lease that ends after so many checks.
struct EndsAfter(usize);

impl Fence for EndsAfter {
    fn check(&mut self) -> Result<(), LeaseOver> {
        self.0 = self.0.checked_sub(1).ok_or(LeaseOver)?;
        Ok(())
    }
}

#[test]
fn a_commit_stops_where_its_lease_ends() {
    for strategy in STRATEGIES {
        for checks in 0.. {
            let world = World::new();
            let outcome = world.commit(1, strategy, &mut EndsAfter(checks), &mut kernel());
            let Err(error) = outcome else {
                assert!(checks > 10);
                break;
            };
            assert_eq!(error.blame, Blame::Lease, "{error}");
            assert_ne!(world.object(), "new object", "the primary output under no lease");
            if checks == 0 {
                assert_eq!(world.object(), "old object");
                assert!(!world.path("real/sub").exists());
            }
            assert_eq!(world.temporaries(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_zombie_that_slept_between_check_and_publishing_changes_nothing() {
    for (strategy, publishing) in [(Strategy::Rename, "rename"), (Strategy::Link, "link")] {
        let world = World::new();
        let real = world.real();
        let mut slept = false;
        // While the first attempt sleeps before it publishes its first file, the job is finished elsewhere, and rebuilt.
        let before = |call: &str| {
            if call == publishing && !slept {
                slept = true;
                assert_eq!(commit::remove_leftovers(real.as_fd(), JOB, 2), Ok(1));
                world.commit(2, strategy, &mut Runs, &mut kernel()).unwrap();
                world.put("real/a.o", "rebuilt");
                world.put("real/a.d", "rebuilt");
            }
            Ok(())
        };

        let woken = world.commit(1, strategy, &mut Runs, &mut Watched { before, after: allow });

        assert_eq!(woken.map_err(|error| error.blame), Err(Blame::Lease));
        assert_eq!(world.object(), "rebuilt");
        assert_eq!(fs::read_to_string(world.path("real/a.d")).unwrap(), "rebuilt");
    }
}

#[test]
fn a_filesystem_without_hard_links_is_published_on_by_rename() {
    for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS] {
        let world = World::new();
        fs::remove_file(world.path("upper/sub/a.d")).unwrap();
        let before = |call: &str| if call == "link" { Err(errno) } else { Ok(()) };

        world.commit(1, Strategy::Link, &mut Runs, &mut Watched { before, after: allow }).unwrap();

        assert_eq!(world.object(), "new object");
        assert_eq!(fs::read_to_string(world.path("real/a.d")).unwrap(), "new dependencies");
        assert_eq!(world.temporaries(), Vec::<String>::new());
    }
}

#[test]
fn a_zombie_knows_its_file_from_one_that_got_the_same_inode_number() {
    // A filesystem that reuses the number at once, as ext4 does, gives it to the next attempt's temporary.
    for _ in 0..20 {
        let world = World::new();
        let real = world.real();
        let mut slept = false;
        let before = |call: &str| {
            if call == "rename" && !slept {
                slept = true;
                commit::remove_leftovers(real.as_fd(), JOB, 2).unwrap();
                world.commit(2, Strategy::Rename, &mut Runs, &mut kernel()).unwrap();
            }
            Ok(())
        };

        let woken = world.commit(1, Strategy::Rename, &mut Runs, &mut Watched { before, after: allow });

        assert_eq!(woken.map_err(|error| error.blame), Err(Blame::Lease));
    }
}

#[test]
fn a_zombie_that_slept_in_a_write_writes_into_no_other_attempts_file() {
    let world = World::new();
    let mut slept = false;
    let before = |call: &str| {
        if call == "write" && !slept {
            slept = true;
            world.commit(2, Strategy::Link, &mut Runs, &mut kernel()).unwrap();
            world.put("upper/a.o", "the zombie's");
        }
        Ok(())
    };
    // It wakes up to its write, and to a lease that is over.
    struct UntilAwake<'a>(&'a Path);
    impl Fence for UntilAwake<'_> {
        fn check(&mut self) -> Result<(), LeaseOver> {
            if fs::read_to_string(self.0).is_ok_and(|object| object == "new object") { Err(LeaseOver) } else { Ok(()) }
        }
    }
    let object = world.path("real/a.o");

    let woken = world.commit(1, Strategy::Link, &mut UntilAwake(&object), &mut Watched { before, after: allow });

    assert_eq!(woken.map_err(|error| error.blame), Err(Blame::Lease));
    assert_eq!(world.object(), "new object");
    assert_eq!(fs::read_to_string(world.path("real/a.d")).unwrap(), "new dependencies");
}

#[test]
fn a_full_or_broken_filesystem_is_blamed_and_left_without_temporaries() {
    let blames = [
        ("write", Errno::NOSPC, Blame::Full),
        ("close", Errno::DQUOT, Blame::Full),
        ("sync", Errno::IO, Blame::Mount),
        ("create", Errno::ROFS, Blame::Mount),
        ("rename", Errno::STALE, Blame::Mount),
        ("create", Errno::ACCESS, Blame::Refused),
    ];
    for strategy in STRATEGIES {
        for (failing, errno, blame) in blames {
            if failing == "rename" && strategy != Strategy::Rename {
                continue;
            }
            let world = World::new();
            let before = |call: &str| if call == failing { Err(errno) } else { Ok(()) };

            let failed = world.commit(1, strategy, &mut Runs, &mut Watched { before, after: allow });

            assert_eq!(failed.map_err(|error| (error.blame, error.errno)), Err((blame, Some(errno))));
            assert_eq!(world.temporaries(), Vec::<String>::new(), "{failing} {errno}");
            assert_eq!(world.object(), "old object", "the primary output comes last");
        }
    }
}

#[test]
fn only_where_others_would_wait_for_it_files_are_synced_unasked_and_it_may_fail() {
    let world = World::new();
    let with = |strategy| With { primary: Some(b"a.o"), ..With::strategy(strategy) };
    let began = Timespec { tv_sec: 0, tv_nsec: 0 };
    let syncs_of = |strategy| {
        let upper = File::open(world.path("upper")).unwrap();
        let mut syncs = 0;
        let before = |call: &str| {
            syncs += usize::from(call == "sync");
            if call == "sync" { Err(Errno::INVAL) } else { Ok(()) }
        };
        let mut calls = Watched { before, after: allow };
        commit_upper(&upper, &world.real(), family(), began, &with(strategy), &mut Runs, &mut calls).unwrap();
        syncs
    };

    // `a.o`, `a.d` (which has two names), `a.dwo`, and the directories of these.
    assert_eq!(syncs_of(Strategy::Link), 5);
    assert_eq!(syncs_of(Strategy::Rename), 0);
}

#[test]
fn a_quota_that_speaks_up_at_the_last_close_leaves_no_half_of_a_file() {
    for strategy in STRATEGIES {
        let world = World::new();
        let mut closed = 0;
        let before = |call: &str| {
            closed += usize::from(call == "close");
            if call == "close" && closed == 3 { Err(Errno::DQUOT) } else { Ok(()) }
        };

        let failed = world.commit(1, strategy, &mut Runs, &mut Watched { before, after: allow });

        assert_eq!(failed.map_err(|error| error.blame), Err(Blame::Full));
        assert_eq!(world.object(), "old object");
        assert_eq!(world.temporaries(), Vec::<String>::new());
    }
}

#[test]
fn the_primary_output_is_the_last_name_to_change() {
    let world = World::new();

    let committed = world.commit(1, Strategy::Rename, &mut Runs, &mut kernel()).unwrap();

    let last = committed.stamps.last().unwrap();
    let facts = fs::metadata(world.path("real/a.o")).unwrap();
    assert_eq!(last.path, b"a.o");
    assert_eq!((last.inode, last.size), (std::os::unix::fs::MetadataExt::ino(&facts), 10));
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}
