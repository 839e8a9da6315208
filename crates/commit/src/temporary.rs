//! The names of files that are not finished, by which those of dead attempts are found and removed.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::BorrowedFd;

use model::ids::{Attempt, JobId};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{self, Errno};

/// Between a file's name and whose temporary it is.
const MARK: &[u8] = b".distccd-";
/// A name may have 255 bytes (`NAME_MAX`); ours adds 53 at most.
const LONGEST_KEPT: usize = 200;

/// `.NAME.distccd-JOB-ATTEMPT`; of a long name the beginning. An attempt has one of a kind at a time.
pub(crate) fn name_for(name: &CStr, attempt: Attempt) -> CString {
    let kept = &name.to_bytes()[..name.to_bytes().len().min(LONGEST_KEPT)];
    let mut text = Vec::with_capacity(kept.len() + 53);
    text.push(b'.');
    text.extend_from_slice(kept);
    text.extend_from_slice(MARK);
    let mut whose = String::with_capacity(44);
    // Writing into a string does not fail.
    let _ = write!(whose, "{}-{}", attempt.job, attempt.number);
    text.extend_from_slice(whose.as_bytes());
    // A file's name has no zero byte in it.
    CString::new(text).unwrap_or_default()
}

/// Whose temporary a name is, if it is one.
fn owner_of(name: &[u8]) -> Option<Attempt> {
    let start = name.windows(MARK.len()).rposition(|part| part == MARK)? + MARK.len();
    let (job, number) = std::str::from_utf8(&name[start..]).ok()?.split_once('-')?;
    let canonical = name.starts_with(b".") && job.len() == 32 && number.bytes().all(|byte| byte.is_ascii_digit());
    if !canonical {
        return None;
    }
    let job = u128::from_str_radix(job, 16).ok()?;
    Some(Attempt { job: JobId::from_bytes(job.to_be_bytes()), number: number.parse().ok()? })
}

/// Whether a file of this name is a temporary of some attempt.
#[must_use]
pub fn is_temporary(name: &CStr) -> bool {
    owner_of(name.to_bytes()).is_some()
}

/// Removes what attempts of `job` with numbers below `before` left unfinished in a directory, and says how many files
/// that were. `u32::MAX` removes those of all attempts.
///
/// It is more than tidiness: an attempt that was stopped before its `rename(2)` and is continued later finds its
/// temporary gone, and fails. So it is called for the directories of a job's outputs before the job runs again.
///
/// # Errors
/// Those of reading the directory and of `unlink(2)`, except that nothing is missed that is gone already.
pub fn remove_leftovers(directory: BorrowedFd<'_>, job: JobId, before: u32) -> io::Result<usize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut removed = 0;
    for entry in Dir::new(listed)? {
        let entry = entry?;
        let name = entry.file_name();
        if owner_of(name.to_bytes()).is_some_and(|owner| owner.job == job && owner.number < before) {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) => removed += 1,
                Err(Errno::NOENT | Errno::STALE) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const JOB: JobId = JobId::from_bytes([0xab; 16]);
    const OTHER: JobId = JobId::from_bytes([1; 16]);

    fn attempt(number: u32) -> Attempt {
        Attempt { job: JOB, number }
    }

    #[test]
    fn a_temporary_names_its_file_and_its_attempt() {
        let name = name_for(c"a.o", attempt(3));

        assert_eq!(name.to_bytes(), format!(".a.o.distccd-{}-3", "ab".repeat(16)).as_bytes());
        assert_eq!(owner_of(name.to_bytes()), Some(attempt(3)));
    }

    #[test]
    fn the_longest_name_has_a_temporary_too() {
        let longest = CString::new("x".repeat(255)).unwrap();

        let name = name_for(&longest, attempt(u32::MAX));

        assert!(name.to_bytes().len() <= 255);
        assert_eq!(owner_of(name.to_bytes()), Some(attempt(u32::MAX)));
    }

    #[test]
    fn what_merely_looks_like_a_temporary_is_none() {
        let job = "ab".repeat(16);
        for name in [
            format!("a.o.distccd-{job}-1"),
            format!(".a.o.distccd-{job}"),
            format!(".a.o.distccd-{job}-"),
            format!(".a.o.distccd-{job}-+1"),
            ".a.o.distccd-x-1".to_owned(),
        ] {
            assert_eq!(owner_of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn only_earlier_attempts_of_the_job_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            name_for(c"a.o", attempt(1)),
            name_for(c"b.o", attempt(2)),
            name_for(c"a.o", attempt(3)),
            name_for(c"a.o", Attempt { job: OTHER, number: 1 }),
            c"a.o".to_owned(),
        ];
        for name in &names {
            std::fs::write(dir.path().join(name.to_str().unwrap()), "").unwrap();
        }

        let opened = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(remove_leftovers(opened.as_fd(), JOB, 3), Ok(2));

        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        let mut wanted: Vec<std::ffi::OsString> = names[2..].iter().map(|name| name.to_str().unwrap().into()).collect();
        wanted.sort();
        assert_eq!(left, wanted);
    }
}
