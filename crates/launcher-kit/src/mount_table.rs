//! What the kernel says is mounted where (proc(5), `/proc/self/mountinfo`). Reading it asks no filesystem anything, so a
//! mount that hangs holds up nobody here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use commit::{Sight, sight_of};

/// The mounts of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountTable(Vec<Entry>);

/// One mount.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As `STATX_MNT_ID` tells it.
    pub(crate) id: u64,
    parent: u64,
    pub(crate) point: PathBuf,
    filesystem: Vec<u8>,
}

impl Entry {
    /// Its type.
    pub(crate) fn filesystem(&self) -> String {
        String::from_utf8_lossy(&self.filesystem).into_owned()
    }

    /// What this machine sees there of what others do.
    pub(crate) fn sight(&self) -> Sight {
        sight_of(&self.filesystem)
    }
}

impl MountTable {
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn read() -> Self {
        Self::of_text(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    pub(crate) fn of_text(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(entry).collect())
    }

    /// The mount of this id.
    pub(crate) fn by_id(&self, id: u64) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    /// The mount on which a path ends that has no symbolic links in it. From the root on, as the kernel walks: what is
    /// mounted over a directory hides what is mounted below it.
    pub(crate) fn holding(&self, path: &Path) -> Option<&Entry> {
        let mut at = self.0.iter().find(|entry| entry.point == Path::new("/") && self.by_id(entry.parent).is_none())?;
        // Each step goes from a mount to one on it, and there are so many.
        for _ in 0..self.0.len() {
            let on_it = self.0.iter().filter(|entry| entry.parent == at.id && path.starts_with(&entry.point));
            match on_it.min_by_key(|entry| entry.point.as_os_str().len()) {
                Some(next) => at = next,
                None => break,
            }
        }
        Some(at)
    }
}

/// `36 35 98:0 / /mnt/a rw,noatime shared:1 - ext4 /dev/root rw`.
fn entry(line: &[u8]) -> Option<Entry> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let point = PathBuf::from(OsString::from_vec(unescaped(fields.nth(2)?)));
    let filesystem = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
    Some(Entry { id, parent, point, filesystem })
}

/// Spaces, tabs, newlines and backslashes are three octal digits behind a backslash there.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        (rest, _) = match octal.filter(|_| byte == b'\\') {
            Some(meant) => (&after[3..], bytes.push(meant)),
            None => (after, bytes.push(byte)),
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_on_what_the_kernel_comes_to() {
        let table = MountTable::of_text(
            b"20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
              31 20 0:40 / /mnt/a\\040b rw master:3 shared:4 - fuse.ceph-fuse ceph-fuse rw\n\
              32 31 0:41 / /mnt/a\\040b/inner rw - tmpfs tmpfs rw\n\
              33 20 0:42 / /auto rw - autofs autofs rw\n\
              34 33 0:43 / /auto rw - nfs4 server:/ rw\n\
              35 20 0:44 / /over/below rw - xfs /dev/sdb rw\n\
              36 20 0:45 / /over rw - xfs /dev/sdc rw\n",
        );
        let holding = |path: &str| table.holding(Path::new(path)).map(|entry| entry.id);

        assert_eq!(holding("/mnt/a b/src"), Some(31));
        assert_eq!(holding("/mnt/a b/inner"), Some(32));
        assert_eq!(holding("/mnt/a"), Some(20));
        assert_eq!(holding("/auto/x"), Some(34), "what was mounted last on the same place");
        assert_eq!(holding("/over/below/x"), Some(36), "the other one is hidden");
        assert_eq!(table.by_id(31).map(Entry::sight), Some(Sight::Leases));
        assert_eq!(table.by_id(34).map(Entry::sight), Some(Sight::DirectoriesTell));
    }
}
