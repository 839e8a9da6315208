//! What attempts of a job may have left unfinished beside its outputs, removed before the job is run here.
//!
//! A worker that died leaves a temporary; one that sleeps and wakes up later finds its temporary gone, and cannot put an
//! old file over the one that the local run makes (see the crate `commit`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
