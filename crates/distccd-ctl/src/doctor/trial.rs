//! What is tried on a mount, by a helper process: whether one can write there, and whether what was written is what is
//! read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster_file::mount_id;
use rustix::fs::statvfs;
use rustix::mm::{MapFlags, ProtFlags};
use serde::{Deserialize, Serialize};

use super::options;
use super::{Finding, Severity};

/// Beyond this, `make` and `ninja` take old files for new ones.
pub(crate) const MOST_SKEW_MS: i64 = 1_000;
/// With less, links fail soon.
const LEAST_FREE: u64 = 256 << 20;
/// A create, a rename or a removal that takes longer makes a slow mount.
const SLOW: Duration = Duration::from_millis(50);

/// What is to be tried.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trial {
    /// The mount.
    pub mount: PathBuf,
    /// A directory of it to write in.
    pub dir: PathBuf,
    /// The mount table.
    pub mountinfo: PathBuf,
    /// How far this machine's clock is taken to be ahead, in milliseconds.
    pub clock_offset: i64,
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// What the filesystem is known by, in hex.
    pub identity: Option<String>,
}

/// Tries all. May hang as the filesystem does.
#[must_use]
pub fn run(trial: &Trial) -> Report {
    let subject = trial.mount.display().to_string();
    let mut report = Report::default();
    match fs::metadata(&trial.mount) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => return gone(report, &subject, "is not a directory"),
        Err(error) => return gone(report, &subject, &format!("is not there: {error}")),
    }
    look_at_table(trial, &subject, &mut report);
    match mount_id::read(&trial.mount) {
        Ok(identity) => report.identity = identity.map(|id| id.to_string()),
        Err(error) => report.findings.push(Finding::new(
            Severity::Error,
            &subject,
            format!("does not say which filesystem it is: {error}"),
            "let everybody read .distccd/mount.id, which the server writes",
        )),
    }
    look_at_space(&trial.mount, &subject, &mut report);
    try_writing(trial, &subject, &mut report);
    report
}

fn gone(mut report: Report, subject: &str, text: &str) -> Report {
    let remedy = "mount the shared filesystem there, or name the right place with --fs-mount";
    report.findings.push(Finding::new(Severity::Error, subject, text, remedy));
    report
}

fn look_at_table(trial: &Trial, subject: &str, report: &mut Report) {
    let real = fs::canonicalize(&trial.mount).unwrap_or_else(|_| trial.mount.clone());
    let table = fs::read_to_string(&trial.mountinfo).unwrap_or_default();
    let Some(entry) = options::holding(&table, &real) else { return };
    report.findings.extend(options::examine(subject, &entry));
    report.findings.push(if Path::new(&entry.at) == real {
        Finding::fine(subject, format!("is a mount of type {}", entry.kind))
    } else {
        let text = format!("is part of {} ({}), and no mount of its own", entry.at, entry.kind);
        Finding::new(Severity::Note, subject, text, "fine on a single machine; else mount the shared filesystem there")
    });
}

fn look_at_space(mount: &Path, subject: &str, report: &mut Report) {
    let Ok(facts) = statvfs(mount) else { return };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let inodes_gone = facts.f_files > 0 && facts.f_favail == 0;
    report.findings.push(if free < LEAST_FREE || inodes_gone {
        let what = if inodes_gone { "no inodes are".to_owned() } else { format!("{} MiB are", free >> 20) };
        Finding::new(Severity::Error, subject, format!("is full: {what} left"), "remove files, or enlarge it")
    } else {
        Finding::fine(subject, format!("{} MiB are free", free >> 20))
    });
}

fn try_writing(trial: &Trial, subject: &str, report: &mut Report) {
    let shown = trial.dir.display();
    let dir = trial.dir.join(format!(".distccd-doctor-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&dir) {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "run it as a user who may write there, or name such a directory with --dir"
            }
            io::ErrorKind::ReadOnlyFilesystem => "mount it with `rw`",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "remove files, or enlarge it",
            io::ErrorKind::StaleNetworkFileHandle => "unmount it (umount -l) and mount it again",
            _ => "see what the system's log says of the filesystem",
        };
        let text = format!("cannot be written in {shown}: {error}");
        return report.findings.push(Finding::new(Severity::Error, subject, text, remedy));
    }
    let tried = try_in(&dir, trial, subject);
    // Whatever is still there is ours.
    let _ = fs::remove_dir_all(&dir);
    match tried {
        Ok(findings) => report.findings.extend(findings),
        Err(error) => report.findings.push(Finding::new(
            Severity::Error,
            subject,
            format!("cannot be worked on in {shown}: {error}"),
            "see what the system's log says of the filesystem",
        )),
    }
}

fn try_in(dir: &Path, trial: &Trial, subject: &str) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let (first, second) = (dir.join("first"), dir.join("second"));
    let began = Instant::now();
    let before = now_ms();
    let mut file = File::create(&first)?;
    file.write_all(b"written\n")?;
    file.sync_all()?;
    drop(file);
    let after = now_ms();
    let created = began.elapsed();
    let facts = fs::metadata(&first)?;
    let began = Instant::now();
    fs::rename(&first, &second)?;
    let renamed = began.elapsed();
    let began = Instant::now();
    let seen = fs::read(&second)? == b"written\n" && !first.exists();
    let visible = began.elapsed();

    let times = format!("create {created:.1?}, rename {renamed:.1?}, look {visible:.1?}");
    findings.push(if created.max(renamed).max(visible) > SLOW {
        let remedy = "every job does some of these: check the load of the filesystem's servers and the network";
        Finding::new(Severity::Note, subject, format!("is slow: {times}"), remedy)
    } else {
        Finding::fine(subject, times)
    });
    if !seen {
        let remedy = "what was renamed must be there under its new name and no other: do not build there";
        findings.push(Finding::new(Severity::Error, subject, "loses what was renamed", remedy));
    }
    findings.push(skew(&facts, before, after, trial.clock_offset, subject));
    findings.push(owner(&facts, subject));
    findings.push(mapped(&second, subject)?);
    findings.push(appended(&dir.join("third"), subject)?);
    Ok(findings)
}

/// The stamp is the file server's, and lies between two looks at our clock if both clocks are one.
fn skew(facts: &fs::Metadata, before: i64, after: i64, offset: i64, subject: &str) -> Finding {
    let stamp = facts.mtime() * 1_000 + facts.mtime_nsec() / 1_000_000;
    let (before, after) = (before + offset, after + offset);
    let ahead = if stamp < before { before - stamp } else { -(stamp - after).max(0) };
    skew_finding(subject, "the filesystem's", ahead)
}

/// `ahead`: how far this machine's clock is ahead, in milliseconds.
pub(crate) fn skew_finding(subject: &str, whose: &str, ahead: i64) -> Finding {
    let word = if ahead < 0 { "behind" } else { "ahead of" };
    let text = format!(
        "this machine's clock is {:.2} s {word} {whose}",
        Duration::from_millis(ahead.unsigned_abs()).as_secs_f64()
    );
    if ahead.abs() > MOST_SKEW_MS {
        let remedy = "let one NTP server (chrony, systemd-timesyncd) set the clocks of all machines: make and ninja compare their stamps";
        Finding::new(Severity::Error, subject, text, remedy)
    } else {
        Finding::fine(subject, text)
    }
}

fn owner(facts: &fs::Metadata, subject: &str) -> Finding {
    let us = rustix::process::geteuid().as_raw();
    match (us, facts.uid()) {
        (us, owner) if us == owner => Finding::fine(subject, format!("files of user {us} are user {us}'s")),
        (0, owner) => Finding::new(
            Severity::Warning,
            subject,
            format!("what root creates belongs to user {owner} (root squash)"),
            "jobs of other users are not affected; a server that runs as root needs a service user that may write .distccd",
        ),
        (us, owner) => Finding::new(
            Severity::Error,
            subject,
            format!("what user {us} creates belongs to user {owner}"),
            "map user ids alike on all machines (idmapd, sec=sys): workers become the user by number",
        ),
    }
}

/// Linkers write their outputs through a mapping.
fn mapped(path: &Path, subject: &str) -> io::Result<Finding> {
    const LENGTH: usize = 4096;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.set_len(LENGTH as u64)?;
    // SAFETY: a new mapping of a file of ours that is as long; written within its length and unmapped before anybody
    // else could use the address.
    let written = unsafe {
        let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        rustix::mm::mmap(std::ptr::null_mut(), LENGTH, flags.0, flags.1, &file, 0).and_then(|at| {
            at.cast::<u8>().write_bytes(b'm', LENGTH);
            let synced = rustix::mm::msync(at, LENGTH, rustix::mm::MsyncFlags::SYNC);
            rustix::mm::munmap(at, LENGTH).and(synced)
        })
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let remedy = "linkers write through mappings: use another mount, or options without direct I/O";
    Ok(match written {
        Ok(()) if bytes == [b'm'; LENGTH] => Finding::fine(subject, "what is written through a mapping is read back"),
        Ok(()) => Finding::new(Severity::Error, subject, "what is written through a mapping is not read back", remedy),
        Err(error) => Finding::new(Severity::Error, subject, format!("files cannot be mapped: {error}"), remedy),
    })
}

fn appended(path: &Path, subject: &str) -> io::Result<Finding> {
    let append = || OpenOptions::new().append(true).create(true).open(path);
    let (mut one, mut other) = (append()?, append()?);
    for _ in 0..8 {
        one.write_all(b"1")?;
        other.write_all(b"2")?;
    }
    drop((one, other));
    let mut bytes = [0; 17];
    let length = File::open(path)?.read_at(&mut bytes, 0)?;
    Ok(if bytes[..length] == *b"1212121212121212" {
        Finding::fine(subject, "appends of two writers follow each other")
    } else {
        let remedy = "logs and archives that several commands add to lose parts: build elsewhere";
        Finding::new(Severity::Error, subject, "appends of two writers overwrite each other", remedy)
    })
}

pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(dir: &Path) -> Trial {
        let mountinfo = PathBuf::from("/proc/self/mountinfo");
        Trial { mount: dir.to_owned(), dir: dir.to_owned(), mountinfo, clock_offset: 0 }
    }

    fn worst(report: &Report) -> Option<&Finding> {
        report.findings.iter().max_by_key(|finding| finding.severity)
    }

    #[test]
    fn a_good_directory_is_fine_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();

        let report = run(&trial(dir.path()));

        let worst = worst(&report).unwrap();
        assert!(worst.severity <= Severity::Note, "{worst:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_there_and_a_clock_that_is_off_are_found() {
        let dir = tempfile::tempdir().unwrap();

        let gone = run(&trial(&dir.path().join("x")));
        assert!(worst(&gone).unwrap().text.contains("is not there"));
        for offset in [5_000, -5_000] {
            let off = run(&Trial { clock_offset: offset, ..trial(dir.path()) });
            let found = worst(&off).unwrap();
            let word = if offset > 0 { "ahead of" } else { "behind" };
            assert!(found.text.contains("clock is") && found.text.contains(word), "{found:?}");
        }
    }
}
