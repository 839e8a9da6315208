//! What a compiler printed, held back until its attempt is the one that counts.
//!
//! An attempt may print half of its warnings and then lose its machine; printing as pieces arrive would show them
//! twice. So pieces wait here, in order, until the outcome: in memory while they are few, then in an anonymous file
//! (`memfd_create(2)`) that the kernel may swap, so that the launcher stays small whatever the compiler says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use model::ids::Attempt;
use proto::v1::{OutputChunk, OutputStream};

/// Bytes held in memory before the rest goes to an anonymous file.
const IN_MEMORY: usize = 256 << 10;

/// Where tools say why they failed: at the end.
const TAIL: usize = 16 << 10;

/// The pieces of one attempt, in order, duplicates dropped.
#[derive(Default)]
pub struct Output {
    attempt: Option<Attempt>,
    next: u64,
    held: usize,
    pieces: Vec<(OutputStream, Piece)>,
    spill: Option<File>,
}

enum Piece {
    Memory(Bytes),
    Spilled(usize),
}

/// A piece that does not fit what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("piece {got} of the output arrived where {expected} was due")]
pub struct Gap {
    expected: u64,
    got: u64,
}

/// Standard output does not take what the compiler printed.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {error}")]
pub struct Unprinted {
    /// Whether some of it was printed before, on either stream.
    pub anything: bool,
    /// What `write(2)` said.
    pub error: io::Error,
}

impl Output {
    /// Takes a piece. One of another attempt starts afresh; one that was seen already (a worker repeats itself after
    /// a reconnection) is dropped.
    ///
    /// # Errors
    /// When a piece is missing, or the anonymous file cannot be written.
    pub fn take(&mut self, attempt: Attempt, chunk: OutputChunk) -> io::Result<()> {
        if self.attempt != Some(attempt) {
            if self.attempt.is_some_and(|known| known.number > attempt.number) {
                return Ok(());
            }
            *self = Self { attempt: Some(attempt), ..Self::default() };
        }
        if chunk.sequence < self.next {
            return Ok(());
        }
        if chunk.sequence > self.next {
            return Err(io::Error::other(Gap { expected: self.next, got: chunk.sequence }));
        }
        self.next += 1;
        let stream = chunk.stream();
        let piece = self.hold(chunk.data)?;
        self.pieces.push((stream, piece));
        Ok(())
    }

    /// Lets go of what other attempts than this one said, which may have said nothing. Whether all `chunks` pieces of
    /// this one are here.
    #[must_use]
    pub fn settle(&mut self, attempt: Attempt, chunks: u64) -> bool {
        if self.attempt != Some(attempt) {
            *self = Self { attempt: Some(attempt), ..Self::default() };
        }
        self.next == chunks
    }

    /// The last that was said on standard error, as far as it is still in memory.
    #[must_use]
    pub fn tail_of_stderr(&self) -> Vec<u8> {
        let held = self.pieces.iter().filter_map(|(stream, piece)| match piece {
            Piece::Memory(data) if *stream == OutputStream::Stderr => Some(data),
            Piece::Memory(_) | Piece::Spilled(_) => None,
        });
        let said: Vec<u8> = held.flat_map(|data| data.iter().copied()).collect();
        said[said.len().saturating_sub(TAIL)..].to_vec()
    }

    /// Prints the pieces in order, each to its stream.
    ///
    /// # Errors
    /// Those of `write(2)` on standard output.
    pub fn print(&mut self, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<(), Unprinted> {
        let mut printed = 0;
        let result = self.print_counted(stdout, stderr, &mut printed);
        result.map_err(|error| Unprinted { anything: printed > 0, error })
    }

    fn print_counted(&mut self, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>, printed: &mut usize) -> io::Result<()> {
        if let Some(spill) = &mut self.spill {
            spill.seek(SeekFrom::Start(0))?;
        }
        for (stream, piece) in self.pieces.drain(..) {
            let data = match piece {
                Piece::Memory(data) => data,
                Piece::Spilled(length) => {
                    let spill = self.spill.as_mut().ok_or(io::ErrorKind::NotFound)?;
                    let mut data = vec![0; length];
                    spill.read_exact(&mut data)?;
                    data.into()
                }
            };
            if stream == OutputStream::Stderr {
                // Compilers do not notice that their diagnostics could not be written either.
                let _ = write_all(stderr, &data, printed);
            } else {
                write_all(stdout, &data, printed)?;
            }
        }
        Ok(())
    }

    fn hold(&mut self, data: Bytes) -> io::Result<Piece> {
        // A slice of a received frame keeps the whole frame alive; what is held is copied out.
        if self.held + data.len() <= IN_MEMORY {
            self.held += data.len();
            return Ok(Piece::Memory(Bytes::copy_from_slice(&data)));
        }
        if self.spill.is_none() {
            let fd = rustix::fs::memfd_create("distccd-output", rustix::fs::MemfdFlags::CLOEXEC)?;
            self.spill = Some(File::from(fd));
        }
        let spill = self.spill.as_mut().ok_or(io::ErrorKind::NotFound)?;
        spill.write_all(&data)?;
        Ok(Piece::Spilled(data.len()))
    }
}

/// Writes all of it, also to a pipe or terminal that somebody has set to non-blocking, and counts.
fn write_all(to: BorrowedFd<'_>, mut data: &[u8], printed: &mut usize) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::write(to, data) {
            Ok(written) => {
                *printed += written;
                data = &data[written..];
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait_writable(to)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_writable(to: BorrowedFd<'_>) -> io::Result<()> {
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(to.as_fd(), rustix::event::PollFlags::OUT)];
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::JobId;

    fn attempt(number: u32) -> Attempt {
        Attempt { job: JobId::from_bytes([1; 16]), number }
    }

    fn chunk(sequence: u64, stream: OutputStream, data: &[u8]) -> OutputChunk {
        OutputChunk { attempt: None, sequence, stream: stream.into(), data: Bytes::copy_from_slice(data) }
    }

    fn printed(output: &mut Output) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        output.print(out.as_fd(), err.as_fd()).unwrap();
        let mut texts = (Vec::new(), Vec::new());
        out.rewind().unwrap();
        err.rewind().unwrap();
        out.read_to_end(&mut texts.0).unwrap();
        err.read_to_end(&mut texts.1).unwrap();
        texts
    }

    #[test]
    fn a_second_attempt_replaces_what_the_first_had_said() {
        let mut output = Output::default();
        output.take(attempt(1), chunk(0, OutputStream::Stderr, b"half a warn")).unwrap();

        output.take(attempt(2), chunk(0, OutputStream::Stderr, b"warning\n")).unwrap();
        output.take(attempt(1), chunk(1, OutputStream::Stderr, b"late")).unwrap();

        assert!(output.settle(attempt(2), 1));
        assert_eq!(printed(&mut output).1, b"warning\n");
    }

    #[test]
    fn what_a_failed_attempt_said_is_not_that_of_a_silent_one_that_succeeds() {
        let mut output = Output::default();
        output.take(attempt(1), chunk(0, OutputStream::Stderr, b"Killed\n")).unwrap();

        assert!(output.settle(attempt(2), 0));

        assert_eq!(printed(&mut output).1, b"");
    }

    #[test]
    fn a_repeated_piece_is_dropped_and_a_missing_one_is_an_error() {
        let mut output = Output::default();
        output.take(attempt(1), chunk(0, OutputStream::Stdout, b"a")).unwrap();

        output.take(attempt(1), chunk(0, OutputStream::Stdout, b"a")).unwrap();
        let gap = output.take(attempt(1), chunk(2, OutputStream::Stdout, b"c"));

        assert!(gap.is_err());
        assert_eq!(printed(&mut output).0, b"a");
    }

    #[test]
    fn much_output_comes_back_whole_and_in_order() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for sequence in 0..64 {
            let data = vec![u8::try_from(sequence).unwrap(); 16 << 10];
            expected.extend_from_slice(&data);
            output.take(attempt(1), chunk(sequence, OutputStream::Stdout, &data)).unwrap();
        }

        assert!(output.spill.is_some());
        assert_eq!(printed(&mut output).0, expected);
    }
}
