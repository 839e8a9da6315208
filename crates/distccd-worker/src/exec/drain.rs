//! What a command prints, read as it comes and apart.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::Stream;

/// Largest piece of output.
const CHUNK: usize = proto::limits::MAX_CHUNK_BYTES;

/// The reading ends of both streams; an end that was closed by all writers is gone.
#[derive(Debug)]
pub(super) struct Pipes {
    ends: [Option<OwnedFd>; 2],
    buffer: Vec<u8>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

enum Read {
    Data(usize),
    Empty,
    Closed,
}

impl Pipes {
    /// Without `stderr` both streams come through `stdout`.
    pub(super) fn new(stdout: OwnedFd, stderr: Option<OwnedFd>) -> rustix::io::Result<Self> {
        let ends = [Some(stdout), stderr];
        for end in ends.iter().flatten() {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { ends, buffer: vec![0; CHUNK] })
    }

    /// The ends that may still say something.
    pub(super) fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ends.iter().flatten().map(AsFd::as_fd)
    }

    /// Reads at most one piece of each stream. False when `sink` wants no more.
    pub(super) fn read_once(&mut self, mut sink: impl FnMut(Stream, Bytes) -> bool) -> bool {
        let mut wanted = true;
        for (index, stream) in STREAMS.into_iter().enumerate() {
            match self.read(index) {
                Read::Data(length) => wanted &= sink(stream, Bytes::copy_from_slice(&self.buffer[..length])),
                Read::Empty => {}
                Read::Closed => self.ends[index] = None,
            }
        }
        wanted
    }

    /// Reads what is in the pipes now that the command has ended. Never more than a pipe can hold: what exceeds that
    /// was written by a descendant after the end, and one that writes for ever would keep us for ever.
    pub(super) fn drain(&mut self, mut sink: impl FnMut(Stream, Bytes) -> bool) {
        for (index, stream) in STREAMS.into_iter().enumerate() {
            let capacity = self.ends[index].as_ref().and_then(|end| rustix::pipe::fcntl_getpipe_size(end).ok());
            let mut left = capacity.unwrap_or(CHUNK);
            while left > 0 {
                let Read::Data(length) = self.read(index) else { break };
                left = left.saturating_sub(length);
                sink(stream, Bytes::copy_from_slice(&self.buffer[..length]));
            }
        }
    }

    fn read(&mut self, index: usize) -> Read {
        let Some(end) = &self.ends[index] else { return Read::Closed };
        loop {
            return match rustix::io::read(end, self.buffer.as_mut_slice()) {
                Ok(0) => Read::Closed,
                Ok(length) => Read::Data(length),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Read::Empty,
                Err(_) => Read::Closed,
            };
        }
    }
}
