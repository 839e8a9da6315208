//! Times, modes, groups, access control lists, extended attributes and holes.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use commit::Strategy;
use rustix::fs::XattrFlags;
use support::{Isolated, Runs, With, in_namespace, kernel};

const STRATEGIES: [Strategy; 2] = [Strategy::Rename, Strategy::Link];

/// Prepares a shared directory, runs `isolated` in an overlay over it, and commits.
fn after(strategy: Strategy, prepare: impl Fn(&Path), isolated: impl Fn(&Path)) -> tempfile::TempDir {
    let (shared, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(shared.path());
    in_namespace(|| {
        let overlay = Isolated::over(shared.path(), scratch.path());
        isolated(shared.path());
        overlay.commit(&With::strategy(strategy), &mut Runs, &mut kernel()).unwrap();
    });
    shared
}

fn nothing(_: &Path) {}

#[test]
fn a_time_that_the_command_chose_is_kept_and_another_is_the_commits() {
    let ancient = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000_123_456_789);
    let future = SystemTime::now() + Duration::from_secs(86_400);
    for strategy in STRATEGIES {
        let before = SystemTime::now() - Duration::from_millis(20);
        let shared = after(strategy, nothing, |dir| {
            for (name, chosen) in [("ancient", Some(ancient)), ("future", Some(future)), ("now", None)] {
                let file = File::create(dir.join(name)).unwrap();
                chosen.into_iter().for_each(|time| file.set_modified(time).unwrap());
            }
        });

        let modified = |name: &str| shared.path().join(name).metadata().unwrap().modified().unwrap();
        assert_eq!(modified("ancient"), ancient);
        assert_eq!(modified("future"), future);
        assert!(modified("now") >= before && modified("now") <= SystemTime::now());
    }
}

#[test]
fn files_look_as_old_to_each_other_as_the_command_made_them() {
    let names = ["z", "a", "m", "b"];
    let shared = after(Strategy::Rename, nothing, |dir| {
        for name in names {
            fs::write(dir.join(name), "").unwrap();
            support::pass_a_tick();
        }
    });

    let times: Vec<SystemTime> =
        names.iter().map(|name| shared.path().join(name).metadata().unwrap().modified().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_sparse_file_stays_sparse() {
    for strategy in STRATEGIES {
        let shared = after(strategy, nothing, |dir| {
            let file = File::create(dir.join("sparse")).unwrap();
            file.write_all_at(b"middle", 20 << 20).unwrap();
            file.set_len(40 << 20).unwrap();
        });

        let file = File::open(shared.path().join("sparse")).unwrap();
        let facts = file.metadata().unwrap();
        let mut middle = [0; 8];
        file.read_exact_at(&mut middle, (20 << 20) - 1).unwrap();
        assert_eq!(facts.len(), 40 << 20);
        assert!(facts.blocks() * 512 < 1 << 20, "{} blocks", facts.blocks());
        assert_eq!(&middle, b"\0middle\0");
    }
}

#[test]
fn set_id_bits_are_as_the_command_left_them() {
    for strategy in STRATEGIES {
        let shared = after(strategy, nothing, |dir| {
            for (name, mode) in [("setuid", 0o4711), ("setgid", 0o2750), ("plain", 0o640)] {
                fs::write(dir.join(name), "x").unwrap();
                fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
            }
        });

        let mode = |name: &str| shared.path().join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("setuid"), mode("setgid"), mode("plain")), (0o4711, 0o2750, 0o640));
    }
}

#[test]
fn a_directory_gives_its_group_to_what_is_made_in_it() {
    // Only root has groups to give away; others have but their own.
    let ours = rustix::process::getegid().as_raw();
    let (team, chosen) = if rustix::process::geteuid().is_root() { (4321, 1234) } else { (ours, ours) };
    for strategy in STRATEGIES {
        let prepare = |dir: &Path| {
            fs::create_dir(dir.join("team")).unwrap();
            std::os::unix::fs::chown(dir.join("team"), None, Some(team)).unwrap();
            fs::set_permissions(dir.join("team"), fs::Permissions::from_mode(0o2775)).unwrap();
        };
        let shared = after(strategy, prepare, |dir| {
            fs::create_dir(dir.join("team/sub")).unwrap();
            fs::write(dir.join("team/sub/file"), "x").unwrap();
            fs::write(dir.join("team/chosen"), "x").unwrap();
            std::os::unix::fs::chown(dir.join("team/chosen"), None, Some(chosen)).unwrap();
        });

        let facts = |name: &str| shared.path().join(name).metadata().unwrap();
        let group = |name: &str| facts(name).gid();
        assert_eq!((group("team/sub"), group("team/sub/file"), group("team/chosen")), (team, team, chosen));
        assert_eq!(facts("team/sub").mode() & 0o2000, 0o2000, "what is made in it later has the group too");
    }
}

#[test]
fn a_file_that_is_somebody_elses_stays_so() {
    // Without root nobody else's files are to be had, nor could an overlay copy them: here they are our own then.
    let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (owner, group) = if us.0 == 0 { (4321, 4321) } else { us };
    for strategy in STRATEGIES {
        let prepare = |dir: &Path| {
            fs::write(dir.join("theirs"), "before").unwrap();
            std::os::unix::fs::chown(dir.join("theirs"), Some(owner), Some(group)).unwrap();
        };
        let shared = after(strategy, prepare, |dir| fs::write(dir.join("theirs"), "after!!").unwrap());

        let facts = shared.path().join("theirs").metadata().unwrap();
        assert_eq!((facts.uid(), facts.gid(), facts.len()), (owner, group, 7));
    }
}

/// `user::rwx, user:4321:rw-, group::r-x, mask::rwx, other::---` (posix_acl_xattr.h). A user namespace of one user knows
/// no other, so there that one stands in the list.
fn access_list() -> Vec<u8> {
    let us = rustix::process::geteuid().as_raw();
    let named = if us == 0 { 4321 } else { us };
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 6, named), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

#[test]
fn a_default_access_list_is_inherited_as_in_a_direct_run() {
    let make = |dir: &Path| {
        fs::create_dir(dir.join("made")).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
        fs::write(dir.join("made/file"), "x").unwrap();
        fs::set_permissions(dir.join("made/file"), fs::Permissions::from_mode(0o750)).unwrap();
    };
    let prepare = |dir: &Path| {
        let name = c"system.posix_acl_default";
        rustix::fs::setxattr(dir, name, &access_list(), XattrFlags::empty()).unwrap();
    };
    let direct = tempfile::tempdir().unwrap();
    prepare(direct.path());
    make(direct.path());
    for strategy in STRATEGIES {
        // The overlay's own root has the list too: its upper directory is copied from the shared one by whoever mounts.
        let prepare = |dir: &Path| {
            fs::create_dir(dir.join("in")).unwrap();
            prepare(&dir.join("in"));
        };
        let shared = after(strategy, prepare, |dir| make(&dir.join("in")));

        for name in ["file", "made", "made/file"] {
            let (one, other) = (direct.path().join(name), shared.path().join("in").join(name));
            assert_eq!(list_of(&one), list_of(&other), "{name}");
            assert_eq!(one.metadata().unwrap().mode(), other.metadata().unwrap().mode(), "{name}");
        }
    }
}

fn list_of(path: &Path) -> Option<Vec<u8>> {
    let mut list = vec![0; 1024];
    let length = rustix::fs::getxattr(path, c"system.posix_acl_access", &mut list[..]).ok()?;
    Some(list[..length].to_vec())
}

#[test]
fn attributes_that_the_command_set_arrive() {
    for strategy in STRATEGIES {
        let shared = after(strategy, nothing, |dir| {
            fs::write(dir.join("file"), "x").unwrap();
            rustix::fs::setxattr(dir.join("file"), c"user.origin", b"here", XattrFlags::empty()).unwrap();
        });

        let mut value = [0; 16];
        let length = rustix::fs::getxattr(shared.path().join("file"), c"user.origin", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"here");
    }
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}
