//! How a filesystem wants its files published.

use std::os::fd::BorrowedFd;

/// A way to make a finished file appear under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A temporary beside the name, then `rename(2)`: readers see the old file or the new one, and a rename that comes
    /// too late fails, because the next attempt has removed the temporary.
    Rename,
    /// A temporary beside the name, then `unlink(2)` of the name, `link(2)` of the temporary to it, `unlink(2)` of the
    /// temporary. For a moment readers see nothing, never half; and as with a rename a step that comes too late fails.
    /// The file and its directory are synced, lest the first reader wait for the metadata server's journal.
    Link,
}

/// The strategy for a mount, by its filesystem type as `/proc/self/mountinfo` names it (field after the dash).
///
/// Measured is the next reader's first look from another machine (ceph 16.2, idle cluster; a block lasts up to 5 s,
/// `mds_tick_interval`):
///
/// | published by | ceph-fuse | kernel ceph |
/// |---|---|---|
/// | **temporary, unlink old, link, unlink the temporary** | **3 of 1440 new, 1 of 960 replaced** | 0 of 12 |
/// | unlink old, create new in place | 2 of 1440 new, 1 of 960 replaced | 0 of 12 |
/// | temporary in the same directory, rename | 25 of 30 new, 5 of 30 replaced | 0 of 24 |
/// | create the new name in place | 1 of 124 | 0 of 48 |
/// | temporary in another directory, rename | 18 of 82 | 0 of 12 |
/// | rewrite in place what the reader has read | 4 of 45 | 3 of 12 |
///
/// The first three rows of ceph-fuse count looks of more than 0.1 s, by
/// `cargo run -p commit --example first_look MOUNT1 MOUNT2 link|rename new|replaced 120`, where a loaded machine adds a few;
/// the others, and kernel ceph, those of more than 0.5 s. To link is as good as to create in place, and fenced.
///
/// On NFS (v3 and v4.2), GlusterFS and local filesystems a rename is free, and atomic: it is preferred there.
#[must_use]
pub fn strategy_for(filesystem_type: &[u8]) -> Strategy {
    let is_ceph_fuse = filesystem_type == b"fuse.ceph"
        || filesystem_type.starts_with(b"fuse.ceph-")
        || filesystem_type == b"ceph-fuse";
    if is_ceph_fuse { Strategy::Link } else { Strategy::Rename }
}

/// The strategy for the mount on which `directory` lies. `mountinfo` is the content of `/proc/self/mountinfo`.
///
/// `statfs(2)` tells FUSE apart for nothing but a number; which FUSE it is, only the mount table says. A FUSE mount that
/// the table does not show (made in another namespace) is taken for ceph-fuse: linking is right everywhere, and where there
/// are no hard links, files are renamed after all.
///
/// # Errors
/// Those of `statfs(2)` and `statx(2)`.
pub fn strategy_of(directory: BorrowedFd<'_>, mountinfo: &[u8]) -> rustix::io::Result<Strategy> {
    const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
    #[expect(clippy::allow_attributes, reason = "the type of f_type differs by architecture")]
    #[allow(clippy::unnecessary_cast)]
    let kind = rustix::fs::fstatfs(directory)?.f_type as i64;
    if kind != FUSE_SUPER_MAGIC {
        return Ok(Strategy::Rename);
    }
    let stat = rustix::fs::fstat(directory)?;
    let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    Ok(type_of_device(mountinfo, device).map_or(Strategy::Link, strategy_for))
}

/// The filesystem type of a device's mounts (proc_pid_mountinfo(5): `36 35 98:0 / /mnt rw - ext3 /dev/root rw`).
fn type_of_device(mountinfo: &[u8], (major, minor): (u32, u32)) -> Option<&[u8]> {
    let device = format!("{major}:{minor}");
    mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        if words.nth(2) != Some(device.as_bytes()) {
            return None;
        }
        words.skip_while(|word| *word != b"-").nth(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        40 22 0:44 / /mnt/cephfs rw,nosuid shared:1 - fuse.ceph-fuse ceph-fuse rw\n\
        41 22 0:45 / /mnt/ssh rw - fuse.sshfs host: rw\n";

    #[test]
    fn only_ceph_fuse_is_not_published_by_rename() {
        for name in ["ext4", "nfs", "nfs4", "ceph", "fuse.glusterfs", "fuse.sshfs", "xfs", "lustre"] {
            assert_eq!(strategy_for(name.as_bytes()), Strategy::Rename, "{name}");
        }
        for name in ["fuse.ceph", "fuse.ceph-fuse", "ceph-fuse"] {
            assert_eq!(strategy_for(name.as_bytes()), Strategy::Link, "{name}");
        }
    }

    #[test]
    fn the_mount_table_tells_which_fuse_it_is() {
        assert_eq!(type_of_device(MOUNTS, (0, 44)), Some(&b"fuse.ceph-fuse"[..]));
        assert_eq!(type_of_device(MOUNTS, (0, 45)), Some(&b"fuse.sshfs"[..]));
        assert_eq!(type_of_device(MOUNTS, (0, 46)), None);
    }
}
