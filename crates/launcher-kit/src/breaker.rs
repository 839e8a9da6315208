//! That the server did not answer is remembered for all launchers of the user on this host: a build starts hundreds, and
//! each would wait for the same dead server in turn.
//!
//! A file in the user's runtime directory says when it was (a circuit breaker). While that is fresh, launchers run their
//! commands here at once. When it is old, one of them, the one that gets the lock of the file, asks the server; if it
//! answers the file goes, and if it does not, the file is fresh again. A refused connection is not remembered: it costs
//! nothing, and the server may be back in a moment.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use model::ids::fnv1a;
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use crate::slots;

/// How long a server that did not answer is not asked.
const PAUSE: Duration = Duration::from_secs(3);

/// What is remembered of one server.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Nowhere, when there is no safe directory.
    file: Option<PathBuf>,
    /// The lock of whoever asks for all.
    probe: Option<File>,
    is_tripped: bool,
}

impl Breaker {
    /// What is remembered of the server at this address.
    #[must_use]
    pub fn of(server_addr: &str, runtime_dir: Option<PathBuf>) -> Self {
        let dir = slots::own_runtime_directory(runtime_dir).ok();
        let name = format!("silent-server.{:016x}", fnv1a(server_addr.as_bytes()));
        Self { file: dir.map(|dir| dir.join(name)), ..Self::default() }
    }

    /// Whether the server is to be asked: it has not lately failed to answer, or somebody must try and it shall be us.
    pub(crate) fn admits(&mut self) -> bool {
        let Some(file) = self.file.as_ref().and_then(|path| File::open(path).ok()) else { return true };
        self.is_tripped = true;
        if is_fresh(&file) || flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        // Whoever had the lock before may just have found out.
        if is_fresh(&file) {
            return false;
        }
        self.probe = Some(file);
        true
    }

    /// Whether we ask for all: then we do not wait as long as for a server that is merely busy.
    pub(crate) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether the server is remembered as silent, as far as we know.
    pub(crate) fn is_tripped(&self) -> bool {
        self.is_tripped
    }

    /// The server does not answer.
    pub(crate) fn trip(&mut self) {
        self.is_tripped = true;
        if let Some(path) = &self.file {
            let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
            // Where it cannot be remembered, each finds out for itself.
            let _ = open.and_then(|mut file| write!(file, "{}", now().as_millis()));
        }
        self.probe = None;
    }

    /// It does.
    pub(crate) fn reset(&mut self) {
        if let Some(path) = self.file.as_ref().filter(|_| self.is_tripped) {
            // Another one may have been faster.
            let _ = std::fs::remove_file(path);
        }
        (self.is_tripped, self.probe) = (false, None);
    }
}

/// Whether what the file says is not long ago. A time that is yet to come is of an earlier boot.
fn is_fresh(mut file: &File) -> bool {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    let _ = std::io::Seek::rewind(&mut file);
    let since = read.ok().and_then(|_| text.parse().ok()).map(Duration::from_millis);
    since.and_then(|since| now().checked_sub(since)).is_some_and(|age| age < PAUSE)
}

/// Time since the machine started.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn launcher(&self) -> Breaker {
            Breaker::of("build1:50051", Some(self.0.path().to_owned()))
        }

        /// Lets the pause pass.
        fn wait(&self) {
            let long_ago = now().saturating_sub(PAUSE).as_millis();
            std::fs::write(self.launcher().file.unwrap(), long_ago.to_string()).unwrap();
        }
    }

    #[test]
    fn a_server_of_which_nothing_is_known_is_asked() {
        let mut breaker = Host::new().launcher();

        assert!(breaker.admits() && !breaker.is_probing());
    }

    #[test]
    fn a_server_that_did_not_answer_is_not_asked_again_by_anybody() {
        let host = Host::new();

        host.launcher().trip();

        assert!(!host.launcher().admits());
        let mut other_server = Breaker::of("build2:50051", Some(host.0.path().to_owned()));
        assert!(other_server.admits());
    }

    #[test]
    fn after_a_pause_one_asks_for_all() {
        let host = Host::new();
        host.launcher().trip();
        host.wait();

        let (mut first, mut second) = (host.launcher(), host.launcher());
        assert!(first.admits() && first.is_probing());
        assert!(!second.admits());
        first.trip();
        assert!(!host.launcher().admits(), "it has found out for all");

        host.wait();
        let mut third = host.launcher();
        assert!(third.admits());
        third.reset();
        let mut fourth = host.launcher();
        assert!(fourth.admits() && !fourth.is_probing());
    }

    #[test]
    fn who_asked_for_all_and_died_has_left_no_lock() {
        let host = Host::new();
        host.launcher().trip();
        host.wait();
        let mut first = host.launcher();
        assert!(first.admits());

        drop(first);

        assert!(host.launcher().admits());
    }

    #[test]
    fn what_another_boot_or_anything_else_wrote_keeps_nobody_from_asking() {
        let host = Host::new();
        for text in ["", "nonsense", "99999999999999999", "184467440737095516150"] {
            host.launcher().trip();
            std::fs::write(host.launcher().file.unwrap(), text).unwrap();

            assert!(host.launcher().admits(), "{text}");
        }
    }

    #[test]
    fn without_a_safe_directory_nothing_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("distccd"), "").unwrap();
        let launcher = || Breaker::of("build1:50051", Some(dir.path().to_owned()));

        launcher().trip();

        assert!(launcher().admits());
    }
}
