//! Which filesystems hide from one machine what another has just written.

use std::path::Path;

use commit::{Sight, sight_of};

use crate::probe::MountTable;

/// The mounts of this machine as they were when the worker started.
#[derive(Debug)]
pub(super) struct Filesystems(MountTable);

impl Filesystems {
    pub(super) fn of_this_machine() -> Self {
        Self(MountTable::read())
    }

    /// Of a machine that has all its files on one.
    #[cfg(test)]
    pub(super) fn only(kind: &str) -> Self {
        Self(MountTable::of_text(format!("20 1 8:1 / / rw - {kind} x rw\n").as_bytes()))
    }

    /// Whether what others have done below this path, which is absolute, may not be seen yet.
    pub(super) fn may_hide(&self, path: &Path) -> bool {
        self.sight(path).may_be_old()
    }

    /// Whether names below this path may be old although their directory is seen as new.
    pub(super) fn may_hide_in_what_is_new(&self, path: &Path) -> bool {
        self.sight(path).may_be_old_name_by_name()
    }

    fn sight(&self, path: &Path) -> Sight {
        sight_of(self.0.filesystem_of(path).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(!filesystems.may_hide_in_what_is_new(Path::new("/mnt/nfs/a")));
        assert!(filesystems.may_hide_in_what_is_new(Path::new("/mnt/new")));
    }
}
