//! What others put, while the command ran, where it had seen something else: that is theirs, and the commit stops at it.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use commit::{Blame, CommitError, Committed, Strategy};
use rustix::fs::{CWD, FileType, Mode};
use support::{Isolated, Runs, With, in_namespace, kernel};

/// Runs `isolated` in an overlay over a shared directory that `before` has furnished, then `meanwhile` on the shared
/// directory itself; commits, and lets `judge` see the outcome and the shared directory.
fn story(
    before: impl Fn(&Path),
    isolated: impl Fn(&Path),
    meanwhile: impl Fn(&Path),
    judge: impl Fn(&Path, Result<Committed, CommitError>),
) {
    for strategy in [Strategy::Rename, Strategy::Link] {
        let (shared, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        before(shared.path());
        in_namespace(|| {
            let overlay = Isolated::over(shared.path(), scratch.path());
            isolated(shared.path());
            support::pass_a_tick();
            // The overlay covers the name; the directory itself is held open.
            let real = format!("/proc/self/fd/{}", overlay.real.as_raw_fd());
            meanwhile(Path::new(&real));
            let outcome = overlay.commit(&With::strategy(strategy), &mut Runs, &mut kernel());
            judge(Path::new(&real), outcome);
        });
    }
}

fn two_directories(root: &Path) {
    fs::create_dir_all(root.join("a/od")).unwrap();
}

/// The object, and a file elsewhere that would be published first.
fn compile(seen: &Path) {
    fs::write(seen.join("side"), "side").unwrap();
    fs::write(seen.join("a/od/x.o"), "object").unwrap();
}

fn nothing(_: &Path) {}

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

fn is_fifo(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|facts| facts.file_type().is_fifo())
}

/// Refused in these words, and the file elsewhere was not published either.
fn assert_refused(root: &Path, outcome: Result<Committed, CommitError>, words: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.blame, &*error.to_string()), (Blame::Refused, words));
    assert!(!root.join("side").exists(), "nothing is published where something is refused");
}

#[test]
fn a_file_that_took_the_place_of_a_directory_is_kept() {
    let replace = |root: &Path| {
        fs::remove_dir(root.join("a/od")).unwrap();
        fs::write(root.join("a/od"), "precious").unwrap();
    };
    story(two_directories, compile, replace, |root, outcome| {
        assert_refused(root, outcome, "mkdir a/od: others have put a regular file there meanwhile");
        assert_eq!(fs::read_to_string(root.join("a/od")).unwrap(), "precious");
    });
}

#[test]
fn so_is_an_old_one_that_was_moved_there_two_levels_up() {
    let before = |root: &Path| {
        two_directories(root);
        fs::write(root.join("old"), "precious").unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::open(root.join("old")).unwrap().set_modified(long_ago).unwrap();
    };
    let replace = |root: &Path| {
        fs::rename(root.join("a"), root.join("was")).unwrap();
        fs::rename(root.join("old"), root.join("a")).unwrap();
    };
    story(before, compile, replace, |root, outcome| {
        assert_refused(root, outcome, "mkdir a: others have put a regular file there meanwhile");
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "precious");
        assert_eq!(fs::read_dir(root.join("was/od")).unwrap().count(), 0);
    });
}

#[test]
fn a_link_that_took_the_place_of_a_directory_is_kept_and_not_followed() {
    let replace = |root: &Path| {
        fs::rename(root.join("a/od"), root.join("a/od_real")).unwrap();
        symlink("od_real", root.join("a/od")).unwrap();
    };
    story(two_directories, compile, replace, |root, outcome| {
        assert_refused(root, outcome, "mkdir a/od: others have put a symbolic link there meanwhile");
        assert_eq!(fs::read_link(root.join("a/od")).unwrap(), Path::new("od_real"));
        assert_eq!(fs::read_dir(root.join("a/od_real")).unwrap().count(), 0);
    });
}

#[test]
fn a_directory_that_the_command_made_does_not_replace_what_others_made_first() {
    let make = |seen: &Path| {
        compile(seen);
        fs::create_dir_all(seen.join("new/deep")).unwrap();
    };
    let make_too = |root: &Path| fs::write(root.join("new"), "precious").unwrap();
    story(two_directories, make, make_too, |root, outcome| {
        assert_refused(root, outcome, "mkdir new: others have put a regular file there meanwhile");
        assert_eq!(fs::read_to_string(root.join("new")).unwrap(), "precious");
    });
}

#[test]
fn a_fifo_that_took_the_place_of_an_output_is_kept() {
    story(
        two_directories,
        compile,
        |root| make_fifo(&root.join("a/od/x.o")),
        |root, outcome| {
            assert_refused(root, outcome, "replace a/od/x.o: others have put a FIFO there meanwhile");
            assert!(is_fifo(&root.join("a/od/x.o")));
        },
    );
}

#[test]
fn a_directory_that_took_the_place_of_an_output_is_kept_even_an_empty_one() {
    let link = |seen: &Path| {
        fs::write(seen.join("side"), "side").unwrap();
        symlink("nowhere", seen.join("a/od/x.o")).unwrap();
    };
    let make = |root: &Path| fs::create_dir(root.join("a/od/x.o")).unwrap();
    for isolated in [compile as fn(&Path), link] {
        story(two_directories, isolated, make, |root, outcome| {
            assert_refused(root, outcome, "replace a/od/x.o: others have put a directory there meanwhile");
            assert!(root.join("a/od/x.o").is_dir());
        });
    }
}

#[test]
fn a_link_that_took_the_place_of_a_file_that_the_command_wrote_into_is_kept() {
    let before = |root: &Path| {
        two_directories(root);
        fs::write(root.join("a/log"), "begun").unwrap();
    };
    let append = |seen: &Path| {
        fs::write(seen.join("side"), "side").unwrap();
        fs::write(seen.join("a/log"), "begun and done").unwrap();
    };
    let replace = |root: &Path| {
        fs::rename(root.join("a/log"), root.join("a/log.1")).unwrap();
        symlink("log.1", root.join("a/log")).unwrap();
    };
    story(before, append, replace, |root, outcome| {
        assert_refused(root, outcome, "replace a/log: others have put a symbolic link there meanwhile");
        assert_eq!(fs::read_link(root.join("a/log")).unwrap(), Path::new("log.1"));
        assert_eq!(fs::read_to_string(root.join("a/log.1")).unwrap(), "begun");
    });
}

#[test]
fn a_directory_that_others_moved_to_the_name_of_a_new_one_is_not_emptied() {
    let before = |root: &Path| {
        fs::create_dir(root.join("backup")).unwrap();
        fs::write(root.join("backup/file"), "precious").unwrap();
    };
    let make = |seen: &Path| {
        fs::create_dir(seen.join("cache")).unwrap();
        fs::write(seen.join("cache/ours"), "").unwrap();
    };
    let move_there = |root: &Path| fs::rename(root.join("backup"), root.join("cache")).unwrap();
    // Whether it is refused is up to what the overlay tells: without root it does not say that the command made one.
    story(before, make, move_there, |root, _| {
        assert_eq!(fs::read_to_string(root.join("cache/file")).unwrap(), "precious");
    });
}

#[test]
fn what_others_put_in_place_of_what_was_removed_is_spared() {
    let before = |root: &Path| {
        for dir in ["dir", "other"] {
            fs::create_dir(root.join(dir)).unwrap();
            fs::write(root.join(dir).join("file"), "precious").unwrap();
        }
        fs::write(root.join("file"), "").unwrap();
    };
    let remove = |seen: &Path| {
        fs::remove_dir_all(seen.join("dir")).unwrap();
        fs::remove_file(seen.join("file")).unwrap();
    };
    let replace = |root: &Path| {
        fs::remove_dir_all(root.join("dir")).unwrap();
        fs::rename(root.join("other"), root.join("dir")).unwrap();
        fs::remove_file(root.join("file")).unwrap();
        make_fifo(&root.join("file"));
    };
    story(before, remove, replace, |root, outcome| {
        assert_eq!(outcome.unwrap().spared, 2);
        assert_eq!(fs::read_to_string(root.join("dir/file")).unwrap(), "precious");
        assert!(is_fifo(&root.join("file")));
    });
}

#[test]
fn what_the_command_replaced_itself_is_replaced() {
    let before = |root: &Path| {
        fs::write(root.join("file"), "").unwrap();
        symlink("nowhere", root.join("link")).unwrap();
        for fifo in ["fifo", "pipe"] {
            make_fifo(&root.join(fifo));
        }
        fs::create_dir_all(root.join("dir/deep")).unwrap();
        fs::write(root.join("dir/deep/file"), "").unwrap();
        fs::create_dir(root.join("again")).unwrap();
        fs::write(root.join("again/sub"), "").unwrap();
    };
    let replace = |seen: &Path| {
        for name in ["file", "link", "fifo"] {
            fs::remove_file(seen.join(name)).unwrap();
            fs::create_dir_all(seen.join(name).join("deep")).unwrap();
        }
        fs::remove_dir_all(seen.join("dir")).unwrap();
        fs::write(seen.join("dir"), "file").unwrap();
        fs::remove_file(seen.join("pipe")).unwrap();
        fs::write(seen.join("pipe"), "file").unwrap();
        fs::remove_dir_all(seen.join("again")).unwrap();
        fs::create_dir_all(seen.join("again/sub/deep")).unwrap();
    };
    story(before, replace, nothing, |root, outcome| {
        outcome.unwrap();
        for dir in ["file/deep", "link/deep", "fifo/deep", "again/sub/deep"] {
            assert!(root.join(dir).is_dir(), "{dir}");
        }
        for file in ["dir", "pipe"] {
            assert_eq!(fs::read_to_string(root.join(file)).unwrap(), "file");
        }
    });
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}
