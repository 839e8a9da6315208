//! What an attempt has printed, kept until the server has its result: a lost stream or another incarnation of the
//! server asks for all of it again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use crate::exec::Stream;

/// So much of an attempt's output stays in memory; what follows goes to a file that has no name.
const IN_MEMORY: usize = 1 << 20;

/// The output of one attempt, in chunks numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    chunks: Vec<(Stream, Place)>,
    in_memory: usize,
    spill: Option<Spill>,
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
    /// Keeps one more chunk.
    ///
    /// # Errors
    /// When `scratch` cannot take it.
    pub(crate) fn push(&mut self, stream: Stream, data: Bytes, scratch: &Path) -> io::Result<()> {
        let place = if self.in_memory + data.len() <= IN_MEMORY {
            self.in_memory += data.len();
            Place::Memory(data)
        } else {
            self.spill(&data, scratch)?
        };
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

    #[test]
    fn what_does_not_fit_into_memory_comes_back_from_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let mut retained = Retained::default();
        let chunk = |index: usize| Bytes::from(vec![index as u8; 100_000 + index]);

        for index in 0..30 {
            let stream = if index % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            retained.push(stream, chunk(index), scratch.path()).unwrap();
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

        let error = retained.push(Stream::Stdout, vec![0; IN_MEMORY + 1].into(), Path::new("/nonexistent"));

        assert!(error.is_err());
    }
}
