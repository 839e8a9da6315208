//! What attempts of a job may have left unfinished beside its outputs, removed before the job is run here.
//!
//! A worker that died leaves a temporary; one that sleeps and wakes up later finds its temporary gone, and cannot put an
//! old file over the one that the local run makes (see the crate `commit`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proto::convert::job_id_from;
use proto::v1;

/// Removes temporaries of all attempts of a job from the directories of its outputs, and says how many there were. One
/// that cannot be read holds up nothing: the command will say what is wrong with it.
pub(crate) fn remove(job: &v1::Job) -> usize {
    let Ok(id) = job_id_from(&job.id) else { return 0 };
    let paths = job.outputs.iter().map(|output| Path::new(OsStr::from_bytes(output)));
    let dirs: BTreeSet<&Path> = paths.filter_map(Path::parent).collect();
    let removed = dirs.into_iter().filter_map(|dir| {
        let opened = File::open(dir).ok()?;
        commit::remove_leftovers(opened.as_fd(), id, u32::MAX).ok()
    });
    removed.sum()
}

/// The outputs of a job that adds to them (`ar q`) as they were before it: an outcome that is lost on its way leaves them
/// as an attempt published them, and the local run would add to them a second time.
#[derive(Debug, Default)]
pub(crate) struct Before(Vec<(PathBuf, Option<Content>)>);

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    modified: SystemTime,
}

/// What is kept of a job's outputs, in bytes; see `Survey::can_be_undone`.
pub(crate) const MOST_KEPT: u64 = 16 << 20;

impl Before {
    /// Looks at the outputs, if this is such a job. One that cannot be read is not put back either.
    pub(crate) fn of(job: &v1::Job) -> Self {
        if job.repeatable {
            return Self::default();
        }
        let paths = job.outputs.iter().map(|output| Path::new(OsStr::from_bytes(output)).to_owned());
        let looks = paths.filter_map(|path| {
            let content = match Content::of(&path) {
                Ok(content) => Some(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(_) => return None,
            };
            Some((path, content))
        });
        Self(looks.collect())
    }

    /// Puts back what has changed, and says how many files that were. A file stays the same file, whatever other names
    /// it has.
    ///
    /// # Errors
    /// When one cannot be put back.
    pub(crate) fn restore(&self) -> io::Result<usize> {
        let mut restored = 0;
        for (path, before) in &self.0 {
            let now = match Content::of(path) {
                Ok(content) => Some(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            match (before, now) {
                (None, None) => continue,
                (None, Some(_)) => fs::remove_file(path)?,
                (Some(before), Some(now)) if before.bytes == now.bytes => continue,
                (Some(before), _) => {
                    fs::write(path, &before.bytes)?;
                    File::options().write(true).open(path)?.set_modified(before.modified)?;
                }
            }
            restored += 1;
        }
        Ok(restored)
    }
}

impl Content {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { bytes: fs::read(path)?, modified: fs::metadata(path)?.modified()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_are_added_to_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        fs::write(place("old.a"), "old").unwrap();
        fs::hard_link(place("old.a"), place("other")).unwrap();
        fs::write(place("same.a"), "same").unwrap();
        let modified = fs::metadata(place("old.a")).unwrap().modified().unwrap();
        let outputs = ["old.a", "new.a", "same.a"].map(|name| place(name).into_os_string().into_encoded_bytes().into());
        let job = |repeatable| v1::Job { outputs: outputs.to_vec(), repeatable, ..v1::Job::default() };
        let (once, again) = (Before::of(&job(false)), Before::of(&job(true)));
        fs::write(place("old.a"), "old, and more").unwrap();
        fs::write(place("new.a"), "new").unwrap();

        assert_eq!(again.restore().unwrap(), 0);
        assert_eq!(once.restore().unwrap(), 2);

        assert_eq!(fs::read(place("other")).unwrap(), b"old");
        assert_eq!(fs::metadata(place("old.a")).unwrap().modified().unwrap(), modified);
        assert!(!place("new.a").exists());
        assert_eq!(once.restore().unwrap(), 0);
    }

    #[test]
    fn temporaries_of_the_job_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let (ours, other) = ("0a".repeat(16), "0b".repeat(16));
        std::fs::create_dir(place("sub")).unwrap();
        let left = [format!(".a.o.distccd-{ours}-1"), format!("sub/.a.d.distccd-{ours}-2")];
        let stay = [format!(".a.o.distccd-{other}-1"), "a.o".to_owned()];
        for name in left.iter().chain(&stay) {
            std::fs::write(place(name), "").unwrap();
        }
        let outputs = ["a.o", "b.o", "sub/a.d", "missing/c"].map(|name| place(name).into_os_string());
        let outputs = outputs.map(|path| path.as_bytes().to_vec().into()).to_vec();
        let job = v1::Job { id: vec![0x0a; 16].into(), outputs, ..v1::Job::default() };

        assert_eq!(remove(&job), 2);

        assert!(left.iter().all(|name| !place(name).exists()));
        assert!(stay.iter().all(|name| place(name).exists()));
    }
}
