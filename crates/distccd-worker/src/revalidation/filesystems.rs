//! Which filesystems hide from one machine what another has just written.

use std::path::Path;

use crate::probe::MountTable;

/// Filesystems that never show an old state, by their names in the mount table (which, other than `statfs(2)`, tells one
/// FUSE from another). What is not here is taken to hide: to look once too often costs time, once too seldom a build.
const COHERENT: &[(&str, Why)] = &[
    ("bcachefs", Why::OneMachine),
    ("btrfs", Why::OneMachine),
    // Capabilities of the metadata server: 0 wrong looks in over 1000 (filesystems.md section 1). To read a large
    // directory is dear there.
    ("ceph", Why::Leases),
    ("ext2", Why::OneMachine),
    ("ext3", Why::OneMachine),
    ("ext4", Why::OneMachine),
    ("f2fs", Why::OneMachine),
    ("fuse.ceph", Why::Leases),
    ("fuse.ceph-fuse", Why::Leases),
    ("gfs2", Why::Leases),
    ("gpfs", Why::Leases),
    ("lustre", Why::Leases),
    ("ocfs2", Why::Leases),
    // Of one kernel; that what lies below it changes behind its back is undefined anyway (overlayfs.rst).
    ("overlay", Why::OneMachine),
    ("ramfs", Why::OneMachine),
    ("tmpfs", Why::OneMachine),
    ("xfs", Why::OneMachine),
    ("zfs", Why::OneMachine),
];

/// Why nothing is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// All who write go through this kernel.
    OneMachine,
    /// What a client caches is taken from it before another may change it.
    Leases,
}

/// The mounts of this machine as they were when the worker started.
#[derive(Debug)]
pub(super) struct Filesystems(MountTable);

impl Filesystems {
    pub(super) fn of_this_machine() -> Self {
        Self(MountTable::read())
    }

    /// Of a machine that says nothing about its mounts.
    #[cfg(test)]
    pub(super) fn none_known() -> Self {
        Self(MountTable::of_text(b""))
    }

    /// Whether what others have done below this path, which is absolute, may not be seen yet.
    pub(super) fn may_hide(&self, path: &Path) -> bool {
        let name = self.0.filesystem_of(path);
        let why = COHERENT.binary_search_by(|(known, _)| (*known).cmp(name.as_str())).map(|at| COHERENT[at].1);
        !matches!(why, Ok(Why::OneMachine | Why::Leases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(COHERENT.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn network_filesystems_may_hide_and_local_ones_and_cephfs_do_not() {
        let table = MountTable::of_text(
            b"20 1 8:1 / / rw - ext4 /dev/sda rw\n\
              31 20 0:40 / /mnt/ceph rw - fuse.ceph-fuse ceph-fuse rw\n\
              32 20 0:41 / /mnt/nfs rw - nfs4 server:/ rw\n\
              33 20 0:42 / /mnt/new rw - fuse.unheard-of x rw\n",
        );
        let filesystems = Filesystems(table);

        assert!(!filesystems.may_hide(Path::new("/home")) && !filesystems.may_hide(Path::new("/mnt/ceph/a")));
        assert!(filesystems.may_hide(Path::new("/mnt/nfs/a")) && filesystems.may_hide(Path::new("/mnt/new")));
    }
}
