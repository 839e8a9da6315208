//! The system calls that publish, in one place: tests put a filesystem that loses replies, fills up or dies in front.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timestamps, XattrFlags};
use rustix::io::{self, Errno};

/// What is done to the shared filesystem. Every method is one system call, and by default that of the kernel.
///
/// Names are single components below a directory that is held open, and nothing is done through a symbolic link.
#[expect(missing_docs, reason = "each is the system call of its name")]
pub trait Calls {
    fn mkdir(&mut self, dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<()> {
        rustix::fs::mkdirat(dir, name, mode)
    }

    /// Creates a file that must not be there.
    fn create(&mut self, dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, mode)
    }

    /// Opens a file to write into it.
    fn open_to_write(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        // Without O_NONBLOCK a FIFO that took the file's place would hold us for ever.
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty())
    }

    fn write(&mut self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        rustix::io::pwrite(file, bytes, offset)
    }

    fn truncate(&mut self, file: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        rustix::fs::ftruncate(file, size)
    }

    /// Closes a file and says whether all that was written has arrived; NFS and quotas speak up here.
    fn close(&mut self, file: OwnedFd) -> io::Result<()> {
        // SAFETY: the descriptor is ours alone and is given up here.
        let closed = unsafe { libc::close(file.into_raw_fd()) };
        // EINTR: Linux has closed it nevertheless (close(2)).
        if closed == 0 { Ok(()) } else { ignore_interruption(last_error()) }
    }

    fn rename(&mut self, dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> io::Result<()> {
        rustix::fs::renameat(dir, from, dir, to)
    }

    fn link(&mut self, from_dir: BorrowedFd<'_>, from: &CStr, dir: BorrowedFd<'_>, to: &CStr) -> io::Result<()> {
        rustix::fs::linkat(from_dir, from, dir, to, AtFlags::empty())
    }

    fn symlink(&mut self, target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        rustix::fs::symlinkat(target, dir, name)
    }

    fn unlink(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())
    }

    fn rmdir(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    fn chmod(&mut self, file: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        rustix::fs::fchmod(file, mode)
    }

    /// Of a directory, which may not be open to us before.
    fn chmod_directory(&mut self, dir: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<()> {
        rustix::fs::chmodat(dir, name, mode, AtFlags::empty())
    }

    fn chown_group(&mut self, file: BorrowedFd<'_>, group: Gid) -> io::Result<()> {
        rustix::fs::fchown(file, None, Some(group))
    }

    fn set_times(&mut self, file: BorrowedFd<'_>, times: &Timestamps) -> io::Result<()> {
        rustix::fs::futimens(file, times)
    }

    fn set_xattr(&mut self, file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
        rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
    }

    fn sync(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        rustix::fs::fsync(file)
    }
}

/// The calls as the kernel has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Calls for Kernel {}

fn ignore_interruption(error: Errno) -> io::Result<()> {
    if error == Errno::INTR { Ok(()) } else { Err(error) }
}

fn last_error() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// The bytes by which the kernel knows a file again (`name_to_handle_at(2)`), as overlayfs notes them of a file that it
/// copied up; nothing where the filesystem has none.
pub(crate) fn handle_of(dir: BorrowedFd<'_>, name: &CStr) -> Option<Vec<u8>> {
    /// `struct file_handle` with room for the largest (`MAX_HANDLE_SZ`).
    #[repr(C)]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        handle: [u8; 128],
    }
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount: libc::c_int = 0;
    // SAFETY: the name ends with a zero byte; `handle` has the layout of `struct file_handle` and the room it claims.
    let outcome = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, dir.as_raw_fd(), name.as_ptr(), &raw mut handle, &raw mut mount, 0)
    };
    let length = usize::try_from(handle.bytes).ok()?;
    (outcome == 0).then(|| handle.handle.get(..length).map(<[u8]>::to_vec)).flatten()
}
