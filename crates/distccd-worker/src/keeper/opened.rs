//! Which files of the system a command opens. The kernel tells (fanotify(7)), so it is all of them: what a search came upon,
//! what a library's script names, what another program of the toolchain read.
//!
//! The marks are on mounts of the attempt's own namespace, so nobody else's opening is heard. It takes privileges over the
//! whole machine; a worker without them has nothing to tell.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;

/// What may be a mount of its own among the directories that compilers and linkers search by themselves.
const SEARCHED: [&CStr; 10] = [
    c"/usr",
    c"/usr/include",
    c"/usr/lib",
    c"/usr/local",
    c"/usr/local/include",
    c"/usr/local/lib",
    c"/lib",
    c"/lib64",
    c"/bin",
    c"/opt",
];

/// Where the system's files are.
const SYSTEM: [&[u8]; 5] = [b"/usr/", b"/lib", b"/bin/", b"/sbin/", b"/opt/"];

/// What says how a program talks, and not what it makes.
const OF_LANGUAGES: [&[u8]; 4] =
    [b"/usr/lib/locale/", b"/usr/share/locale/", b"/usr/share/locale-langpack/", b"/gconv/"];

/// Events that are taken at a time.
const ROOM: usize = 64 << 10;
/// Files that are told of: no command comes near.
const MOST: usize = 20_000;

/// Listens from its beginning on.
pub(super) struct Listening(OwnedFd);

impl Listening {
    /// Begins, in a mount namespace of our own; `None` where the kernel does not let us.
    pub(super) fn begin() -> Option<Self> {
        let how = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_UNLIMITED_QUEUE;
        // Opened are the files as they were, and that leaves no trace.
        let files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE | libc::O_NOATIME;
        // SAFETY: takes flags, and gives a descriptor that nobody else has.
        let group = unsafe { libc::fanotify_init(how, files as u32) };
        if group < 0 {
            return None;
        }
        // SAFETY: see above.
        let this = Self(unsafe { OwnedFd::from_raw_fd(group) });
        // Of those that are not there nothing is opened.
        let marked = SEARCHED.iter().filter(|dir| this.mark(dir)).count();
        (marked > 0).then_some(this)
    }

    fn mark(&self, dir: &CStr) -> bool {
        let how = libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT;
        // SAFETY: an open descriptor and a C string.
        unsafe { libc::fanotify_mark(self.0.as_raw_fd(), how, libc::FAN_OPEN, libc::AT_FDCWD, dir.as_ptr()) == 0 }
    }

    /// The files that were opened so far, by their real paths. Nothing when that cannot be said in full.
    pub(super) fn heard(&self) -> Vec<Bytes> {
        let mut found = BTreeSet::new();
        let mut events = vec![0_u8; ROOM];
        loop {
            // SAFETY: a live buffer of the length that is said.
            let read = unsafe { libc::read(self.0.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) };
            match usize::try_from(read) {
                Ok(0) => break,
                Ok(length) => each(&events[..length], |path| {
                    found.insert(path);
                }),
                Err(_) => match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => break,
                    _ => return Vec::new(),
                },
            }
            if found.len() > MOST {
                return Vec::new();
            }
        }
        found.into_iter().filter(|path| may_matter(path)).map(Bytes::from).collect()
    }
}

/// Takes the file out of each event, and closes it.
fn each(events: &[u8], mut take: impl FnMut(Vec<u8>)) {
    const HEAD: usize = size_of::<libc::fanotify_event_metadata>();
    let mut rest = events;
    while rest.len() >= HEAD {
        // SAFETY: a plain value of numbers.
        let mut event: libc::fanotify_event_metadata = unsafe { zeroed() };
        // SAFETY: both are of HEAD bytes at least, and any bytes are such a value.
        unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), (&raw mut event).cast::<u8>(), HEAD) };
        if event.fd >= 0 {
            // SAFETY: the kernel has opened it for us.
            let file = unsafe { OwnedFd::from_raw_fd(event.fd as RawFd) };
            if let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
                take(path.into_os_string().into_vec());
            }
        }
        let length = usize::try_from(event.event_len).unwrap_or(0).max(HEAD);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn may_matter(path: &[u8]) -> bool {
    let holds = |part: &&[u8]| path.windows(part.len()).any(|window| window == *part);
    SYSTEM.iter().any(|dir| path.starts_with(dir)) && !OF_LANGUAGES.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_libraries_matter_and_messages_do_not() {
        let matters =
            ["/usr/include/zlib.h", "/usr/lib/x86_64-linux-gnu/libz.a", "/lib64/libz.so", "/opt/x/include/y.h"];
        let does_not = [
            "/etc/ld.so.cache",
            "/mnt/cephfs/usr/a.h",
            "/usr/lib/locale/C.utf8/LC_CTYPE",
            "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
            "/usr/share/locale/de/LC_MESSAGES/gcc.mo",
        ];

        assert!(matters.iter().all(|path| may_matter(path.as_bytes())));
        assert!(does_not.iter().all(|path| !may_matter(path.as_bytes())));
    }
}
