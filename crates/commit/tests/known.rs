//! Directories of which the mode is known need no look; whatever has become of them, the commit does what the command did,
//! or refuses to.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use commit::{Blame, CommitError, Committed, Strategy};
use support::{Isolated, Runs, With, in_namespace, kernel};

const MODE: u32 = 0o755;

fn known(paths: &[&str]) -> BTreeMap<Vec<u8>, u32> {
    paths.iter().map(|path| (path.as_bytes().to_vec(), MODE)).collect()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn make(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for dir in dir.ancestors().take(3) {
        fs::set_permissions(dir, fs::Permissions::from_mode(MODE)).unwrap();
    }
}

/// Runs `isolated` over a shared `a/b/c`, lets `meanwhile` happen to it outside, commits, and judges.
fn story(isolated: impl Fn(&Path), meanwhile: impl Fn(&Path), judge: impl Fn(&Path, &Committed)) {
    story_with_end(isolated, meanwhile, |root, outcome| judge(root, &outcome.unwrap()));
}

fn story_with_end(
    isolated: impl Fn(&Path),
    meanwhile: impl Fn(&Path),
    judge: impl Fn(&Path, Result<Committed, CommitError>),
) {
    let (mount, elsewhere, scratch) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(&mount.path().join("a/b/c"));
    in_namespace(|| {
        // The same directory under another name, which no overlay covers.
        rustix::mount::mount_bind(mount.path(), elsewhere.path()).unwrap();
        let overlay = Isolated::over(mount.path(), scratch.path());
        isolated(mount.path());
        meanwhile(elsewhere.path());
        let known = known(&["a", "a/b", "a/b/c"]);
        let with = With { known: &known, ..With::strategy(Strategy::Rename) };
        let outcome = overlay.commit(&with, &mut Runs, &mut kernel());
        judge(elsewhere.path(), outcome);
    });
}

fn write(root: &Path) {
    fs::write(root.join("a/b/c/x.o"), "object").unwrap();
}

#[test]
fn what_is_known_is_not_looked_at_and_what_is_not_is_told() {
    story(
        write,
        |_| {},
        |root, committed| {
            assert_eq!(fs::read(root.join("a/b/c/x.o")).unwrap(), b"object");
            assert_eq!(committed.directories, []);
        },
    );
    let isolated = |root: &Path| {
        fs::create_dir(root.join("a/new")).unwrap();
        write(root);
    };
    story(
        isolated,
        |_| {},
        |root, committed| {
            assert!(root.join("a/new").is_dir() && root.join("a/b/c/x.o").is_file());
            assert_eq!(committed.directories, [], "one that was made is no one that was looked at");
        },
    );
}

#[test]
fn a_mode_that_the_command_changed_is_changed() {
    let isolated = |root: &Path| {
        write(root);
        fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
    };
    story(
        isolated,
        |_| {},
        |root, committed| {
            assert_eq!((mode_of(&root.join("a/b")), mode_of(&root.join("a/b/c"))), (0o700, MODE));
            assert!(root.join("a/b/c/x.o").is_file());
            let told: Vec<&[u8]> = committed.directories.iter().map(|looked| &looked.path[..]).collect();
            assert_eq!(told, [&b"a/b/c"[..]], "below one that was looked at, all are");
        },
    );
}

#[test]
fn a_directory_that_went_away_meanwhile_is_made_again() {
    story(
        write,
        |outside| fs::remove_dir_all(outside.join("a/b")).unwrap(),
        |root, _| {
            assert_eq!(fs::read(root.join("a/b/c/x.o")).unwrap(), b"object");
            assert_eq!(mode_of(&root.join("a/b/c")), MODE);
        },
    );
}

#[test]
fn nothing_is_written_through_a_link_that_took_the_place_of_a_known_directory() {
    let meanwhile = |outside: &Path| {
        make(&outside.join("trap/c"));
        fs::remove_dir_all(outside.join("a/b")).unwrap();
        symlink("../trap", outside.join("a/b")).unwrap();
    };
    story_with_end(write, meanwhile, |root, outcome| {
        assert_eq!(outcome.map_err(|error| error.blame), Err(Blame::Refused));
        assert!(!root.join("trap/c/x.o").exists());
        assert!(fs::symlink_metadata(root.join("a/b")).unwrap().is_symlink());
    });
}
