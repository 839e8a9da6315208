//! Contents by their digests, each file read once as long as it looks the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::bytes::{Reader, Writer};
use crate::libraries::{self, Library};
use crate::mark::Mark;

/// BLAKE3 of a content. Only differences by accident matter here, but a digest that nobody can steer costs no more.
pub(crate) type Digest = [u8; 32];

/// The format of the file in which digests are kept.
const MAGIC: &[u8; 8] = b"dcdig01\n";
/// A host with a dozen compilers has some ten thousand files that matter.
const MOST_KEPT: usize = 100_000;
const BUFFER: usize = 64 << 10;

/// The digests of files by how the files look. Threads may share it.
#[derive(Debug, Default)]
pub struct Digests {
    known: Mutex<HashMap<Mark, Digest>>,
    /// What the loader said of programs, each of which many drivers execute.
    libraries: Mutex<HashMap<PathBuf, Vec<Library>>>,
}

impl Digests {
    /// What an earlier run has written down. A file that is missing, damaged or not ours is the same as none.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let known = crate::own_file::read(path).and_then(|bytes| decode(&bytes)).unwrap_or_default();
        Self { known: Mutex::new(known), ..Self::default() }
    }

    /// Lets the loader be asked again: of what it would load by now, nothing here tells.
    pub fn forget_libraries(&self) {
        self.libraries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// As [`libraries::of`], asked once.
    pub(crate) fn libraries_of(&self, program: &Path) -> io::Result<Vec<Library>> {
        let known = || self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(libraries) = known().get(program) {
            return Ok(libraries.clone());
        }
        let libraries = libraries::of(program)?;
        known().insert(program.to_owned(), libraries.clone());
        Ok(libraries)
    }

    /// Writes all of it down for the next run; who reads meanwhile finds the old file or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = encode(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        crate::own_file::replace(path, &bytes)
    }

    /// The digest of a file's content.
    ///
    /// # Errors
    /// When it cannot be read, or changes while it is.
    pub fn content(&self, path: &Path) -> io::Result<[u8; 32]> {
        self.of(path).map(|(digest, _)| digest)
    }

    /// The digest of a file, and how the file looked.
    ///
    /// # Errors
    /// When it cannot be read, or changes while it is.
    pub(crate) fn of(&self, path: &Path) -> io::Result<(Digest, Mark)> {
        let mark = Mark::of_path(path)?;
        if let Some(digest) = self.known().get(&mark) {
            return Ok((*digest, mark));
        }
        let mut file = File::open(path)?;
        let mark = Mark::of_file(&file)?;
        let digest = digest_of(&mut file)?;
        if Mark::of_file(&file)? != mark {
            return Err(io::Error::other(format!("{} changes while it is read", path.display())));
        }
        if mark.is_settled() {
            self.known().insert(mark, digest);
        }
        Ok((digest, mark))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Mark, Digest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest of a file's content, read now.
///
/// # Errors
/// When it cannot be read.
pub fn content_of(path: &Path) -> io::Result<[u8; 32]> {
    digest_of(&mut File::open(path)?)
}

fn digest_of(file: &mut File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(*hasher.finalize().as_bytes()),
            Ok(length) => {
                hasher.update(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn encode(known: &HashMap<Mark, Digest>) -> Vec<u8> {
    let mut writer = Writer::new(MAGIC);
    // More than that are of compilers long gone; what is dropped is read again when it is wanted.
    let kept = known.iter().take(MOST_KEPT);
    writer.number(kept.len() as u64);
    for (mark, digest) in kept {
        writer.mark(mark);
        writer.raw(digest);
    }
    writer.sealed()
}

fn decode(bytes: &[u8]) -> Option<HashMap<Mark, Digest>> {
    let mut reader = Reader::unsealed(bytes, MAGIC)?;
    let count = reader.number()?;
    (0..count).map(|_| Some((reader.mark()?, reader.raw()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// A file that has been so for long, as compilers have.
    fn old_file(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        while !Mark::of_path(path).unwrap().is_settled() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn contents_count_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (one, copy, other) = (dir.path().join("one"), dir.path().join("copy"), dir.path().join("other"));
        std::fs::write(&one, vec![7; 3 * BUFFER]).unwrap();
        std::fs::write(&copy, vec![7; 3 * BUFFER]).unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let mut altered = vec![7; 3 * BUFFER];
        altered[2 * BUFFER + 1] = 8;
        std::fs::write(&other, altered).unwrap();
        let digests = Digests::default();
        let of = |path: &Path| digests.of(path).unwrap().0;

        assert_eq!(of(&one), of(&copy));
        assert_ne!(of(&one), of(&other));
    }

    #[test]
    fn what_was_read_is_known_to_the_next_run_until_it_looks_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (file, kept) = (dir.path().join("cc1"), dir.path().join("digests"));
        old_file(&file, "one");
        let digests = Digests::default();
        let (digest, mark) = digests.of(&file).unwrap();
        digests.save(&kept).unwrap();

        let next = Digests::load(&kept);
        assert_eq!(next.known().get(&mark), Some(&digest));
        std::fs::write(&file, "two").unwrap();
        assert_ne!(next.of(&file).unwrap().0, digest);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let (file, kept) = (dir.path().join("cc1"), dir.path().join("digests"));
        old_file(&file, "one");
        let digests = Digests::default();
        digests.of(&file).unwrap();
        digests.save(&kept).unwrap();
        let whole = std::fs::read(&kept).unwrap();

        for at in [0, 9, 20, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&kept, damaged).unwrap();
            assert!(Digests::load(&kept).known().is_empty(), "{at}");
        }
        std::fs::write(&kept, &whole[..whole.len() - 40]).unwrap();
        assert!(Digests::load(&kept).known().is_empty());
    }
}
