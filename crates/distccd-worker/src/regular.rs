//! Reading files that a user names, by a worker that may be root: nothing is opened for its effect, and nothing blocks.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use toolchain::Mark;

/// The beginning of a regular file, and how that looked: so many bytes at the most, and no more than it says that it has,
/// for what says nothing of that (`/proc`) may never end.
///
/// # Errors
/// When there is no such file, or something else in its place: a directory, a device, a FIFO.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<(Mark, Vec<u8>)> {
    // A look, and then that very file: whoever owns the directory may put another there in between.
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let itself = format!("/proc/self/fd/{}", place.as_raw_fd());
    let facts = fs::metadata(&itself)?;
    if !facts.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = Vec::new();
    File::open(itself)?.take(most.min(facts.len())).read_to_end(&mut text)?;
    Ok((Mark::of(&facts), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_read_of_what_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        std::fs::write(&file, "some text").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();

        assert_eq!(read(&file, 4).unwrap(), (Mark::of_path(&file).unwrap(), b"some".to_vec()));
        assert_eq!(read(&file, 100).unwrap().1, b"some text");
        assert_eq!(read(Path::new("/proc/self/status"), 100).unwrap().1, b"");
        for other in [&fifo, Path::new("/dev/zero"), dir.path()] {
            assert_eq!(read(other, 100).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", other.display());
        }
    }
}
