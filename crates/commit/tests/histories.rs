//! Random histories of file operations, done directly, and in an overlay followed by a commit, end in the same tree.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use commit::{Family, Strategy};
use proptest::collection::vec;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy as Values;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::{Isolated, Runs, With, assert_same, family, in_namespace, kernel, tree};

/// Few names, so that operations meet.
const NAMES: [&str; 10] = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a"];

#[derive(Clone, Debug)]
enum Operation {
    Create(usize, Vec<u8>),
    Overwrite(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Truncate(usize, u64),
    Unlink(usize),
    Rename(usize, usize),
    MakeDirectory(usize),
    RemoveDirectory(usize),
    RemoveTree(usize),
    Symlink(usize, usize),
    Chmod(usize, u32),
    Link(usize, usize),
}

fn any_operation() -> impl Values<Value = Operation> {
    let name = || 0..NAMES.len();
    let bytes = || vec(any::<u8>(), 0..20);
    prop_oneof![
        4 => (name(), bytes()).prop_map(|(at, bytes)| Operation::Create(at, bytes)),
        2 => (name(), bytes()).prop_map(|(at, bytes)| Operation::Overwrite(at, bytes)),
        2 => (name(), bytes()).prop_map(|(at, bytes)| Operation::Append(at, bytes)),
        1 => (name(), 0..30_u64).prop_map(|(at, size)| Operation::Truncate(at, size)),
        3 => name().prop_map(Operation::Unlink),
        3 => (name(), name()).prop_map(|(from, to)| Operation::Rename(from, to)),
        3 => name().prop_map(Operation::MakeDirectory),
        1 => name().prop_map(Operation::RemoveDirectory),
        1 => name().prop_map(Operation::RemoveTree),
        1 => (name(), name()).prop_map(|(to, at)| Operation::Symlink(to, at)),
        2 => (name(), prop_oneof![Just(0o644), Just(0o755), Just(0o700), Just(0o4755), Just(0o500), Just(0o000)])
            .prop_map(|(at, mode)| Operation::Chmod(at, mode)),
        3 => (name(), name()).prop_map(|(from, to)| Operation::Link(from, to)),
    ]
}

fn perform(root: &Path, operation: &Operation) {
    let at = |name: &usize| root.join(NAMES[*name]);
    // Many are impossible at their moment; they are so in both worlds.
    let _ = match operation {
        Operation::Create(name, bytes) => {
            let _ = fs::remove_file(at(name));
            fs::write(at(name), bytes)
        }
        Operation::Overwrite(name, bytes) => {
            OpenOptions::new().write(true).open(at(name)).and_then(|mut file| file.write_all(bytes))
        }
        Operation::Append(name, bytes) => {
            OpenOptions::new().append(true).open(at(name)).and_then(|mut file| file.write_all(bytes))
        }
        Operation::Truncate(name, size) => OpenOptions::new().write(true).open(at(name)).and_then(|f| f.set_len(*size)),
        Operation::Unlink(name) => fs::remove_file(at(name)),
        Operation::Rename(from, to) => rename_file(&at(from), &at(to)),
        Operation::MakeDirectory(name) => fs::create_dir(at(name)),
        Operation::RemoveDirectory(name) => fs::remove_dir(at(name)),
        Operation::RemoveTree(name) => fs::remove_dir_all(at(name)),
        Operation::Symlink(to, name) => symlink(Path::new(NAMES[*to]).file_name().unwrap(), at(name)),
        Operation::Chmod(name, mode) => {
            // A link to nowhere, or to itself, has no mode.
            fs::set_permissions(at(name), Permissions::from_mode(*mode))
        }
        Operation::Link(from, to) => fs::hard_link(at(from), at(to)),
    };
}

/// Directories are renamed by copying in an overlay, which is the command's own doing (`EXDEV`).
fn rename_file(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.symlink_metadata()?.is_dir() { Ok(()) } else { fs::rename(from, to) }
}

fn perform_all(root: &Path, operations: &[Operation]) {
    operations.iter().for_each(|operation| perform(root, operation));
}

/// The same histories in each run, so that nobody's change fails for what it did not do; `HISTORIES_SEED=N` with
/// `PROPTEST_CASES=N` looks for new ones.
fn rng() -> TestRng {
    let number: u64 = std::env::var("HISTORIES_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
}

fn compare(strategy: Strategy) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let histories = (vec(any_operation(), 0..25), vec(any_operation(), 1..25));
    let outcome = TestRunner::new_with_rng(config, rng()).run(&histories, |(mut before, during)| {
        if family() == Family::User {
            // Of files with several names such an overlay does not tell enough; the tools' test has the list.
            before.retain(|operation| !matches!(operation, Operation::Link(..)));
        }
        compare_one(strategy, &before, &during);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Overlayfs notes of a symbolic link nothing that it notes of a file. One with several names parts from the others when
/// it is renamed; whoever follows it will not know.
fn has_linked_symlinks(probe: &Path, before: &[Operation]) -> bool {
    const SYMLINK: u32 = 0o120_000;
    fs::create_dir(probe).unwrap();
    perform_all(probe, before);
    tree(probe).values().any(|look| look.mode & 0o170_000 == SYMLINK && look.links > 1)
}

/// The files that have several names: by each name, which file it is, and its mode and bytes.
fn linked_files(root: &Path) -> BTreeMap<&'static str, (u64, u32, Vec<u8>)> {
    let look = |name: &&'static str| {
        let path = root.join(name);
        let facts = path.symlink_metadata().ok().filter(|facts| facts.is_file() && facts.nlink() > 1)?;
        Some((*name, (facts.ino(), facts.mode(), fs::read(path).ok()?)))
    };
    NAMES.iter().filter_map(look).collect()
}

/// What is written into a file with several names, overlayfs keeps in its index, by the file. If the command takes the
/// name away through which it wrote, no name of the upper layer tells of it, and the other names keep what they had: the
/// crate's description has it among its limits.
fn parts_a_written_file(before: &BTreeMap<&'static str, (u64, u32, Vec<u8>)>, root: &Path) -> bool {
    let now = |name: &str| root.join(name).symlink_metadata().ok();
    let is_still = |name: &str, inode: u64| now(name).is_some_and(|facts| facts.ino() == inode);
    before.iter().any(|(gone, (inode, ..))| {
        let others = before.iter().filter(|(_, (other, ..))| other == inode);
        !is_still(gone, *inode)
            && others.filter(|(name, _)| is_still(name, *inode)).any(|(name, (_, mode, bytes))| {
                now(name).is_some_and(|facts| facts.mode() != *mode)
                    || fs::read(root.join(name)).is_ok_and(|now| now != *bytes)
            })
    })
}

fn compare_one(strategy: Strategy, before: &[Operation], during: &[Operation]) {
    let base = tempfile::tempdir().unwrap();
    let (direct, shared, scratch) =
        (base.path().join("direct"), base.path().join("shared"), base.path().join("scratch"));
    for dir in [&direct, &shared, &scratch] {
        fs::create_dir(dir).unwrap();
    }
    perform_all(&direct, before);
    let linked = linked_files(&direct);
    perform_all(&direct, during);
    perform_all(&shared, before);
    if parts_a_written_file(&linked, &direct) {
        return;
    }
    if has_linked_symlinks(&base.path().join("probe"), before) {
        return;
    }

    in_namespace(|| {
        let isolated = Isolated::over(&shared, &scratch);
        perform_all(&shared, during);
        isolated.commit(&With::strategy(strategy), &mut Runs, &mut kernel()).unwrap();
    });

    assert_same(&tree(&direct), &tree(&shared), "the history");
}

#[test]
fn any_history_ends_alike_published_by_rename() {
    compare(Strategy::Rename);
}

#[test]
fn any_history_ends_alike_published_by_linking() {
    compare(Strategy::Link);
}

#[test]
fn all_of_this_holds_without_root() {
    support::hold_without_root();
}
