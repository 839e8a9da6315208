//! What an attempt has printed, kept until the server has its result: a lost stream or another incarnation of the
//! server asks for all of it again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use daemon_kit::layers::size_text;

use crate::exec::Stream;

/// So much of an attempt's output stays in memory; what follows goes to a file that has no name.
const IN_MEMORY: usize = 1 << 20;

/// What there is for the output of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space<'a> {
    /// Where the file is made.
    pub(crate) scratch: &'a Path,
    /// The most that is kept in all, in bytes.
    pub(crate) max_output: u64,
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    /// The attempt has printed too much.
    #[error("it printed more than `max_output` of this worker allows ({}): print less, or raise it", size_text(*.0))]
    TooMuch(u64),
    /// The scratch folder cannot take it.
    #[error("{}: {}", .0.display(), .1)]
    Scratch(PathBuf, io::Error),
}

/// The output of one attempt, in chunks numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    chunks: Vec<(Stream, Place)>,
    length: u64,
    in_memory: usize,
    spill: Option<Spill>,
    /// Something could not be kept, so nothing is.
    given_up: bool,
}

#[derive(Debug)]
enum Place {
    Memory(Bytes),
    File { offset: u64, length: usize },
}

#[derive(Debug)]
struct Spill {
    file: File,
    length: u64,
}

impl Retained {
    /// Keeps one more chunk. One that cannot be kept makes the rest worthless: all is let go of, and what follows is
    /// dropped without a word.
    ///
    /// # Errors
    /// When it would be more than there is space for, or `scratch` cannot take it.
    pub(crate) fn push(&mut self, stream: Stream, data: Bytes, space: Space<'_>) -> Result<(), NotKept> {
        if self.given_up {
            return Ok(());
        }
        let kept = self.keep(stream, data, space);
        if kept.is_err() {
            *self = Self { given_up: true, ..Self::default() };
        }
        kept
    }

    fn keep(&mut self, stream: Stream, data: Bytes, space: Space<'_>) -> Result<(), NotKept> {
        let length = self.length + data.len() as u64;
        if length > space.max_output {
            return Err(NotKept::TooMuch(space.max_output));
        }
        let place = if self.in_memory + data.len() <= IN_MEMORY {
            self.in_memory += data.len();
            Place::Memory(data)
        } else {
            self.spill(&data, space.scratch).map_err(|error| NotKept::Scratch(space.scratch.to_owned(), error))?
        };
        self.length = length;
        self.chunks.push((stream, place));
        Ok(())
    }

    fn spill(&mut self, data: &[u8], scratch: &Path) -> io::Result<Place> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill { file: tempfile::tempfile_in(scratch)?, length: 0 }),
        };
        let offset = spill.length;
        spill.file.write_all_at(data, offset)?;
        spill.length += data.len() as u64;
        Ok(Place::File { offset, length: data.len() })
    }

    /// How many chunks there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// One chunk, if there are so many.
    ///
    /// # Errors
    /// When the file cannot be read back.
    pub(crate) fn chunk(&self, index: usize) -> io::Result<Option<(Stream, Bytes)>> {
        let Some((stream, place)) = self.chunks.get(index) else { return Ok(None) };
        let data = match (place, &self.spill) {
            (Place::Memory(data), _) => data.clone(),
            (Place::File { offset, length }, Some(spill)) => {
                let mut data = vec![0; *length];
                spill.file.read_exact_at(&mut data, *offset)?;
                data.into()
            }
            (Place::File { .. }, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Some((*stream, data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder(scratch: &Path) -> Space<'_> {
        Space { scratch, max_output: 1 << 30 }
    }

    #[test]
    fn what_does_not_fit_into_memory_comes_back_from_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let mut retained = Retained::default();
        let chunk = |index: usize| Bytes::from(vec![index as u8; 100_000 + index]);

        for index in 0..30 {
            let stream = if index % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            retained.push(stream, chunk(index), in_folder(scratch.path())).unwrap();
        }

        assert_eq!(retained.len(), 30);
        assert!(retained.spill.is_some());
        for index in 0..30 {
            let (stream, data) = retained.chunk(index).unwrap().unwrap();
            assert_eq!(stream == Stream::Stdout, index % 2 == 0);
            assert_eq!(data, chunk(index));
        }
        assert!(retained.chunk(30).unwrap().is_none());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn a_scratch_that_is_not_there_is_said() {
        let mut retained = Retained::default();

        let error = retained.push(Stream::Stdout, vec![0; IN_MEMORY + 1].into(), in_folder(Path::new("/nonexistent")));

        assert!(error.unwrap_err().to_string().starts_with("/nonexistent: "));
    }

    #[test]
    fn the_limit_is_on_all_chunks_together() {
        let space = Space { max_output: 10, ..in_folder(Path::new("/")) };
        let mut retained = Retained::default();

        retained.push(Stream::Stdout, vec![0; 6].into(), space).unwrap();
        retained.push(Stream::Stderr, vec![0; 4].into(), space).unwrap();

        let error = retained.push(Stream::Stdout, vec![0].into(), space).unwrap_err();
        assert!(error.to_string().contains("`max_output`"), "{error}");
        assert_eq!(retained.len(), 0, "what was kept is let go of");
        assert!(retained.push(Stream::Stdout, vec![0].into(), space).is_ok() && retained.len() == 0);
    }
}
