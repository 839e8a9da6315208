//! Whether workers see the filesystems that the server sees: the same path may be another filesystem there, or none.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use cluster_file::mount_id::MountId;
use proto::v1;

/// Takes from a worker's offer the mounts that are not what they are here, and writes the reason into its report. What
/// the server itself cannot tell apart (it has no such mount, or could not mark it) is left to the worker's own word.
pub fn judge(register: &mut v1::Register, here: &BTreeMap<PathBuf, MountId>) {
    let known = |path: &[u8]| here.iter().find(|(mount, _)| mount.as_os_str().as_bytes() == path).map(|(_, id)| id);
    for report in register.mount_reports.iter_mut().filter(|report| report.problem.is_empty()) {
        let Some(identity) = known(&report.path) else { continue };
        if report.identity == identity.as_bytes()[..] {
            continue;
        }
        report.problem = if report.identity.is_empty() {
            "is not the server's filesystem: it has no .distccd/mount.id; is it mounted?".to_owned()
        } else {
            "is not the server's filesystem: another one is mounted at the same path".to_owned()
        };
    }
    let wrong: Vec<_> = refused(register).into_iter().map(|report| report.path).collect();
    register.mounts.retain(|mount| !wrong.contains(mount));
}

/// The server's own mounts, for whoever compares.
#[must_use]
pub fn reports(here: &BTreeMap<PathBuf, MountId>) -> Vec<v1::MountReport> {
    let report = |(mount, identity): (&PathBuf, &MountId)| v1::MountReport {
        path: mount.as_os_str().as_bytes().to_vec().into(),
        identity: identity.as_bytes().to_vec().into(),
        problem: String::new(),
    };
    here.iter().map(report).collect()
}

/// The mounts of which a worker gets no jobs.
#[must_use]
pub fn refused(register: &v1::Register) -> Vec<v1::MountReport> {
    register.mount_reports.iter().filter(|report| !report.problem.is_empty()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(path: &'static str, identity: &[u8]) -> v1::MountReport {
        v1::MountReport { path: path.into(), identity: bytes::Bytes::copy_from_slice(identity), problem: String::new() }
    }

    /// What is left of the mounts that are reported.
    fn offered(reports: Vec<v1::MountReport>) -> (Vec<bytes::Bytes>, v1::Register) {
        let here = BTreeMap::from([(PathBuf::from("/shared"), MountId::from_bytes([1; 16]))]);
        let mounts = reports.iter().map(|report| report.path.clone()).collect();
        let mut register = v1::Register { mounts, mount_reports: reports, ..Default::default() };
        judge(&mut register, &here);
        (register.mounts.clone(), register)
    }

    #[test]
    fn only_the_very_filesystem_counts() {
        assert_eq!(offered(vec![report("/shared", &[1; 16])]).0, ["/shared"]);
        for wrong in [&[2; 16][..], &[]] {
            let (mounts, register) = offered(vec![report("/shared", wrong)]);

            assert!(mounts.is_empty());
            assert!(refused(&register)[0].problem.contains("not the server's filesystem"));
        }
    }

    #[test]
    fn what_the_server_does_not_know_is_the_workers_word() {
        assert_eq!(offered(vec![report("/other", &[])]).0, ["/other"]);
        let here = BTreeMap::from([(PathBuf::from("/shared"), MountId::from_bytes([1; 16]))]);
        let mut old = v1::Register { mounts: vec!["/shared".into()], ..Default::default() };

        judge(&mut old, &here);

        assert_eq!(old.mounts, ["/shared"], "an older worker reports nothing");
    }
}
