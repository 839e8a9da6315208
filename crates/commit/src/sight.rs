//! Which filesystems hide from one machine what another has just written.

/// What is known of filesystems, by their names in the mount table (which, other than `statfs(2)`, tells one FUSE from
/// another). What is not here is taken to hide: to look once too often costs time, once too seldom a build.
const KNOWN: &[(&str, Sight)] = &[
    ("bcachefs", Sight::OneMachine),
    ("btrfs", Sight::OneMachine),
    // Capabilities of the metadata server: 0 wrong looks in over 1000 (filesystems.md section 1). To read a large
    // directory is dear there.
    ("ceph", Sight::Leases),
    ("ext2", Sight::OneMachine),
    ("ext3", Sight::OneMachine),
    ("ext4", Sight::OneMachine),
    ("f2fs", Sight::OneMachine),
    ("fuse.ceph", Sight::Leases),
    ("fuse.ceph-fuse", Sight::Leases),
    // Ours, which stands for NFS in tests.
    ("fuse.stalefs", Sight::DirectoriesTell),
    ("gfs2", Sight::Leases),
    ("gpfs", Sight::Leases),
    ("lustre", Sight::Leases),
    ("nfs", Sight::DirectoriesTell),
    ("nfs4", Sight::DirectoriesTell),
    ("ocfs2", Sight::Leases),
    // Of one kernel; that what lies below it changes behind its back is undefined anyway (overlayfs.rst).
    ("overlay", Sight::OneMachine),
    ("ramfs", Sight::OneMachine),
    ("tmpfs", Sight::OneMachine),
    ("xfs", Sight::OneMachine),
    ("zfs", Sight::OneMachine),
];

/// What a machine sees of what others do on a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All: whoever writes goes through this kernel.
    OneMachine,
    /// All: what a client caches is taken from it before another may change it.
    Leases,
    /// Perhaps an old state; but where a directory's time is new, so are its names, and a file that is opened shows what
    /// was in it when it was closed elsewhere (close-to-open).
    DirectoriesTell,
    /// Perhaps an old state, of each name and of each file by itself: FUSE believes for a while what it was told of either,
    /// whatever it learns of the directory meanwhile.
    MayBeOld,
}

impl Sight {
    /// Whether what others have done may not be seen yet.
    #[must_use]
    pub fn may_be_old(self) -> bool {
        matches!(self, Self::DirectoriesTell | Self::MayBeOld)
    }

    /// Whether names may be old in a directory that is seen with its newest time.
    #[must_use]
    pub fn may_be_old_name_by_name(self) -> bool {
        self == Self::MayBeOld
    }
}

/// What is seen on a filesystem of this type, as the mount table names it (`/proc/self/mountinfo`, field after the dash).
#[must_use]
pub fn sight_of(filesystem_type: &[u8]) -> Sight {
    let found = KNOWN.binary_search_by(|(known, _)| known.as_bytes().cmp(filesystem_type));
    found.map_or(Sight::MayBeOld, |at| KNOWN[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(KNOWN.is_sorted_by_key(|(name, _)| name));
    }
}
