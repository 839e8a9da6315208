//! What no build leaves, and what others do at the same time.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use commit::{Blame, CommitError, Committed, Strategy};
use rustix::fs::{CWD, FileType, Mode, Timespec};
use support::{Isolated, Runs, With, commit_upper, family, in_namespace, kernel};

const WITH: With<'static> = With::strategy(Strategy::Rename);

fn world() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    for dir in ["real", "upper", "outside"] {
        fs::create_dir(base.path().join(dir)).unwrap();
    }
    base
}

fn commit(base: &Path) -> Result<Committed, CommitError> {
    let (upper, real) = (File::open(base.join("upper")).unwrap(), File::open(base.join("real")).unwrap());
    let began = Timespec { tv_sec: 0, tv_nsec: 0 };
    commit_upper(&upper, &real, family(), began, &WITH, &mut Runs, &mut kernel())
}

#[test]
fn a_link_in_place_of_a_directory_does_not_lead_out_of_the_mount() {
    let base = world();
    fs::create_dir_all(base.path().join("upper/out/deep")).unwrap();
    fs::write(base.path().join("upper/out/deep/file"), "planted").unwrap();
    symlink("../outside", base.path().join("real/out")).unwrap();
    fs::create_dir(base.path().join("outside/deep")).unwrap();

    let refused = commit(base.path());

    assert_eq!(refused.map_err(|error| error.blame), Err(Blame::Refused));
    assert_eq!(fs::read_dir(base.path().join("outside/deep")).unwrap().count(), 0);
    assert!(base.path().join("real/out").is_symlink());
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_not_written_through() {
    let base = world();
    fs::write(base.path().join("upper/file"), "planted").unwrap();
    fs::write(base.path().join("outside/file"), "precious").unwrap();
    symlink("../outside/file", base.path().join("real/file")).unwrap();

    commit(base.path()).unwrap();

    assert_eq!(fs::read_to_string(base.path().join("outside/file")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(base.path().join("real/file")).unwrap(), "planted");
}

#[test]
fn what_is_neither_file_nor_directory_is_counted_and_not_made() {
    let base = world();
    rustix::fs::mknodat(CWD, base.path().join("upper/fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(base.path().join("upper/socket")).unwrap();

    let committed = commit(base.path()).unwrap();

    assert_eq!(committed.skipped, 2);
    assert_eq!(fs::read_dir(base.path().join("real")).unwrap().count(), 0);
}

#[test]
fn too_deep_a_tree_is_the_attempts_fault_and_nothing_is_published() {
    let base = world();
    fs::write(base.path().join("upper/file"), "").unwrap();
    fs::create_dir_all(base.path().join("upper").join("d/".repeat(300))).unwrap();

    let refused = commit(base.path());

    assert_eq!(refused.map_err(|error| error.blame), Err(Blame::Attempt));
    assert_eq!(fs::read_dir(base.path().join("real")).unwrap().count(), 0);
}

#[test]
fn too_many_names_are_the_attempts_fault() {
    let base = world();
    in_namespace(|| {
        let upper = base.path().join("upper");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("none", &upper, "tmpfs", flags, Some(c"nr_inodes=0")).unwrap();
        fs::write(upper.join("first"), "").unwrap();
        for number in 0..250_000 {
            fs::hard_link(upper.join("first"), upper.join(number.to_string())).unwrap();
        }

        assert_eq!(commit(base.path()).map_err(|error| error.blame), Err(Blame::Attempt));
    });
}

#[test]
fn a_file_that_nobody_may_read_is_published_so() {
    let base = world();
    fs::write(base.path().join("upper/file"), "secret").unwrap();
    fs::set_permissions(base.path().join("upper/file"), fs::Permissions::from_mode(0o000)).unwrap();

    commit(base.path()).unwrap();

    let mode = fs::metadata(base.path().join("real/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0);
}

/// Runs `isolated` in an overlay over `shared`, then `meanwhile` on the shared directory itself, then commits.
fn race(shared: &Path, isolated: impl Fn(&Path), meanwhile: impl Fn(&Path)) -> Committed {
    let scratch = tempfile::tempdir().unwrap();
    let overlay = Isolated::over(shared, scratch.path());
    isolated(shared);
    support::pass_a_tick();
    // The overlay covers the name; the directory itself is held open.
    meanwhile(Path::new(&format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&overlay.real))));
    overlay.commit(&WITH, &mut Runs, &mut kernel()).unwrap()
}

#[test]
fn a_directory_that_others_made_too_keeps_their_files() {
    let base = world();
    let shared = base.path().join("real");
    in_namespace(|| {
        race(
            &shared,
            |seen| {
                fs::create_dir(seen.join("cache")).unwrap();
                fs::write(seen.join("cache/ours"), "").unwrap();
            },
            |real| {
                fs::create_dir(real.join("cache")).unwrap();
                fs::write(real.join("cache/theirs"), "").unwrap();
            },
        );
    });

    assert!(shared.join("cache/ours").exists() && shared.join("cache/theirs").exists());
}

#[test]
fn a_removed_directory_stays_if_others_have_put_something_into_it() {
    let base = world();
    let shared = base.path().join("real");
    fs::create_dir(shared.join("old")).unwrap();
    fs::write(shared.join("old/file"), "").unwrap();
    in_namespace(|| {
        let remove = |seen: &Path| fs::remove_dir_all(seen.join("old")).unwrap();
        let committed = race(&shared, remove, |real| fs::write(real.join("old/theirs"), "").unwrap());

        assert_eq!(committed.spared, 1);
    });

    assert!(!shared.join("old/file").exists() && shared.join("old/theirs").exists());
}

#[test]
fn what_was_only_opened_does_not_undo_what_others_wrote() {
    let base = world();
    let shared = base.path().join("real");
    fs::write(shared.join("file"), "before").unwrap();
    in_namespace(|| {
        let open = |seen: &Path| drop(File::options().append(true).open(seen.join("file")).unwrap());
        race(&shared, open, |real| fs::write(real.join("file"), "theirs").unwrap());
    });

    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "theirs");
}

/// As `strip -p` does, on a filesystem whose clock is ahead: the file seems to have been changed since.
#[test]
fn what_was_written_and_dated_back_is_published_though_the_file_looks_changed_since() {
    let base = world();
    let shared = base.path().join("real");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let date_back = |file: &Path| File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    fs::write(shared.join("file"), "before").unwrap();
    date_back(&shared.join("file"));
    in_namespace(|| {
        let write = |seen: &Path| {
            fs::write(seen.join("file"), "after").unwrap();
            date_back(&seen.join("file"));
        };
        let change_nothing = |real: &Path| {
            let permissions = fs::metadata(real.join("file")).unwrap().permissions();
            fs::set_permissions(real.join("file"), permissions).unwrap();
        };
        race(&shared, write, change_nothing);
    });

    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "after");
    assert_eq!(fs::metadata(shared.join("file")).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn directories_that_their_owner_has_shut_are_removed_and_written_to_as_by_the_command() {
    let base = world();
    let shared = base.path().join("real");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (name, mode) in [("unsearchable", 0o644), ("unreadable", 0o300), ("shut", 0), ("unwritable", 0o500)] {
        fs::create_dir(shared.join(name)).unwrap();
        set_mode(&shared.join(name), mode);
    }
    in_namespace(|| {
        let write = |seen: &Path| {
            for name in ["unsearchable", "unreadable", "shut"] {
                fs::remove_dir(seen.join(name)).unwrap();
            }
            set_mode(&seen.join("unwritable"), 0o700);
            fs::write(seen.join("unwritable/file"), "").unwrap();
            set_mode(&seen.join("unwritable"), 0o500);
        };
        race(&shared, write, |_| ());
    });

    let names: Vec<_> = support::tree(&shared).into_iter().map(|(name, look)| (name, look.mode & 0o777)).collect();
    assert_eq!(names, [("unwritable".into(), 0o500), ("unwritable/file".into(), names[1].1)]);
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}
