//! What an attempt wrote, as one digest for each file, for two attempts to be compared.
//!
//! BLAKE3: nobody finds two files of one digest, it is faster than any other that can say so, and it is one small crate.
//! What was deleted is left out, for a second attempt may find it deleted already; so are directories.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proto::v1;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::view::Layer;

/// Files that are looked at; a command that writes more is not compared.
const MOST_FILES: usize = 1_000;
/// Bytes in them: what is hashed in a moment, for the answer waits for it.
const MOST_BYTES: u64 = 256 << 20;
/// Directories, and so how long the walk may take where there are few files.
const MOST_DIRECTORIES: usize = 10_000;

/// The digests of all files in these layers, in the order of their paths; `None` if that is too much or cannot be read.
pub(super) fn of(layers: &[Layer]) -> Option<Vec<v1::FileDigest>> {
    let mut walk = Walk { files: Vec::new(), bytes: 0, directories: 0 };
    for layer in layers {
        walk.layer(layer).ok()?;
    }
    walk.files.sort_by(|one, other| one.path.cmp(&other.path));
    Some(walk.files)
}

struct Walk {
    files: Vec<v1::FileDigest>,
    bytes: u64,
    directories: usize,
}

impl Walk {
    fn layer(&mut self, layer: &Layer) -> rustix::io::Result<()> {
        let mut left = vec![PathBuf::from(".")];
        while let Some(below) = left.pop() {
            self.directories += 1;
            if self.directories > MOST_DIRECTORIES {
                return Err(Errno::TOOBIG);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(&layer.upper, &below, flags, Mode::empty())?;
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let name = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
                if name == Path::new(".") || name == Path::new("..") {
                    continue;
                }
                let facts = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(facts.st_mode) {
                    FileType::Directory => left.push(below.join(name)),
                    FileType::RegularFile => {
                        let digest = self.file(&folder, name, &facts)?;
                        self.note(&layer.path.join(&below).join(name), digest)?;
                    }
                    FileType::Symlink => {
                        let target = readlinkat(&folder, name, Vec::new())?;
                        self.note(&layer.path.join(&below).join(name), blake3::hash(target.to_bytes()))?;
                    }
                    // Deletions, and what is never committed.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Its bytes and its mode.
    fn file(&mut self, folder: &OwnedFd, name: &Path, facts: &rustix::fs::Stat) -> rustix::io::Result<blake3::Hash> {
        let size = u64::try_from(facts.st_size).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MOST_BYTES {
            return Err(Errno::TOOBIG);
        }
        let file = openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(facts.st_mode & 0o7777).to_le_bytes());
        let mut piece = vec![0; 64 << 10];
        loop {
            match rustix::io::read(file.as_fd(), &mut piece)? {
                0 => return Ok(hasher.finalize()),
                count => drop(hasher.update(&piece[..count])),
            }
        }
    }

    fn note(&mut self, path: &Path, digest: blake3::Hash) -> rustix::io::Result<()> {
        if self.files.len() >= MOST_FILES {
            return Err(Errno::TOOBIG);
        }
        let path: PathBuf = path.components().collect(); // without the dots
        let (path, digest) = (path.as_os_str().as_bytes().to_vec().into(), digest.as_bytes().to_vec().into());
        self.files.push(v1::FileDigest { path, digest });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layer(dir: &Path) -> Layer {
        let open = || rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Layer { path: PathBuf::from("/mnt/shared"), real: open(), upper: open() }
    }

    fn paths(digests: &[v1::FileDigest]) -> Vec<String> {
        digests.iter().map(|it| String::from_utf8_lossy(&it.path).into_owned()).collect()
    }

    #[test]
    fn every_file_is_named_as_others_will_see_it_and_its_bytes_and_mode_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/o")).unwrap();
        fs::write(dir.path().join("b/o/a.o"), "object").unwrap();
        std::os::unix::fs::symlink("a.o", dir.path().join("b/link")).unwrap();
        let before = of(&[layer(dir.path())]).unwrap();
        assert_eq!(paths(&before), ["/mnt/shared/b/link", "/mnt/shared/b/o/a.o"]);
        assert_eq!(of(&[layer(dir.path())]).unwrap(), before);

        fs::write(dir.path().join("b/o/a.o"), "0bject").unwrap();
        assert_ne!(of(&[layer(dir.path())]).unwrap()[1], before[1]);

        fs::write(dir.path().join("b/o/a.o"), "object").unwrap();
        fs::set_permissions(dir.path().join("b/o/a.o"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert_ne!(of(&[layer(dir.path())]).unwrap()[1], before[1]);
    }

    #[test]
    fn too_much_is_not_compared() {
        let dir = tempfile::tempdir().unwrap();
        fs::File::create(dir.path().join("huge")).unwrap().set_len(MOST_BYTES + 1).unwrap();

        assert_eq!(of(&[layer(dir.path())]), None);
    }
}
