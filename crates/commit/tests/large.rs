//! Many files and large ones, in memory that does not grow with their bytes.

#![allow(clippy::unwrap_used, reason = "tests fail by it")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use commit::Strategy;
use support::{Isolated, Runs, With, in_namespace, kernel};

const SMALL_FILES: u64 = 20_000;
const DENSE: u64 = 64 << 20;
const SPARSE: u64 = 1 << 30;
/// What a commit may take: a block to copy by, and some hundred bytes for each name.
const MOST_MEMORY: u64 = 24 << 20;

/// The most memory that this process has had since it was last asked to forget (proc_pid_status(5)).
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn forget_most_memory() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn leave_all(dir: &Path) {
    for folder in 0..20 {
        let folder = dir.join(folder.to_string());
        fs::create_dir(&folder).unwrap();
        for name in 0..SMALL_FILES / 20 {
            fs::write(folder.join(format!("{name}.o")), "small").unwrap();
        }
    }
    let dense = File::create(dir.join("dense")).unwrap();
    for block in 0..DENSE >> 20 {
        dense.write_all_at(&[7; 1 << 20], block << 20).unwrap();
    }
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.set_len(SPARSE).unwrap();
    sparse.write_all_at(b"end", SPARSE - 3).unwrap();
}

#[test]
fn many_and_large_files_take_little_memory() {
    let (shared, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    in_namespace(|| {
        let overlay = Isolated::over(shared.path(), scratch.path());
        leave_all(shared.path());
        forget_most_memory();
        let (before, begun) = (most_memory(), Instant::now());

        let committed = overlay.commit(&With::strategy(Strategy::Rename), &mut Runs, &mut kernel()).unwrap();

        let taken = most_memory() - before;
        println!(
            "{} bytes, {} names: {:?}, {taken} bytes of memory",
            committed.bytes,
            committed.names,
            begun.elapsed()
        );
        assert_eq!(committed.names, SMALL_FILES + 20 + 2);
        assert!(taken < MOST_MEMORY, "{taken} bytes of memory");
    });

    assert_eq!(fs::metadata(shared.path().join("dense")).unwrap().len(), DENSE);
    let sparse = fs::metadata(shared.path().join("sparse")).unwrap();
    assert_eq!(sparse.len(), SPARSE);
    assert!(sparse.blocks() * 512 < 16 << 20, "{} blocks", sparse.blocks());
    assert_eq!(fs::read(shared.path().join("19/999.o")).unwrap(), b"small");
}
