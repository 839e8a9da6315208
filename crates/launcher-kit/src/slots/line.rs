//! First come, first served, among processes that know nothing of each other and may die at any time.
//!
//! Everybody in the line holds a lock on one byte of a file: that at the number of nanoseconds since boot at which he
//! came. He is the first when nobody holds a byte before his, which the kernel tells in one call (`F_OFD_GETLK` of
//! fcntl(2)). The file stays empty; locks may lie beyond its end, and a lock ends with its holder.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// A place in the line, until it is dropped.
pub(super) struct Place {
    file: File,
    came: i64,
}

impl Place {
    /// Joins at the end.
    ///
    /// # Errors
    /// Those of `open(2)` and `fcntl(2)`.
    pub(super) fn join(dir: &Path) -> io::Result<Self> {
        let now = clock_gettime(ClockId::Boottime);
        Self::join_at(dir, now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }

    fn join_at(dir: &Path, now: i64) -> io::Result<Self> {
        let file = super::lock_file(&dir.join("line"))?;
        let mut came = now;
        // Two may come in the same nanosecond.
        while let Err(error) = lock(&file, libc::F_OFD_SETLK, &mut range(came, 1)) {
            if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
                return Err(error);
            }
            came += 1;
        }
        Ok(Self { file, came })
    }

    /// Whether nobody who came before is still waiting.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub(super) fn is_first(&self) -> io::Result<bool> {
        let mut before = range(0, self.came);
        lock(&self.file, libc::F_OFD_GETLK, &mut before)?;
        Ok(libc::c_int::from(before.l_type) == libc::F_UNLCK)
    }
}

fn range(start: i64, length: i64) -> libc::flock {
    // SAFETY: all zeroes is a valid flock; with open file description locks `l_pid` must be 0.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    // They are 0 and 1.
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    (range.l_start, range.l_len) = (start, length);
    range
}

fn lock(file: &File, command: libc::c_int, range: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open and `range` is of the type that these commands take.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *range) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_is_first_and_then_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, third] = [10, 20, 20].map(|now| Place::join_at(dir.path(), now).unwrap());
        let are_first = |places: &[&Place]| places.iter().map(|place| place.is_first().unwrap()).collect::<Vec<_>>();

        assert_eq!(are_first(&[&first, &second, &third]), [true, false, false]);
        drop(first);
        assert_eq!(are_first(&[&second, &third]), [true, false]);
        drop(second);

        assert!(third.is_first().unwrap());
    }

    #[test]
    fn places_are_taken_by_the_clock() {
        let dir = tempfile::tempdir().unwrap();

        let (first, second) = (Place::join(dir.path()).unwrap(), Place::join(dir.path()).unwrap());

        assert!(first.came < second.came && first.is_first().unwrap() && !second.is_first().unwrap());
    }
}
