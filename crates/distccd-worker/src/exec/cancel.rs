//! Asking a running attempt to end, from another thread, and saying what becomes of what it wrote.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};

/// How it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// SIGTERM, the grace, SIGKILL.
    Gentle = 1,
    /// SIGKILL at once.
    Now = 2,
}

/// What becomes of what an isolated command wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is published.
    Commit,
    /// It is let go.
    Discard,
}

const UNDECIDED: u8 = 0;
const COMMIT: u8 = 1;
const DISCARD: u8 = 2;

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    word: AtomicU8,
    wake: OwnedFd,
}

/// The half that asks. Dropping it asks for the end at once: an attempt that nobody can cancel any more is nobody's.
#[derive(Debug)]
pub struct Canceller(Arc<Shared>);

/// The half that is watched.
#[derive(Debug)]
pub struct CancelWatch(Arc<Shared>);

pub(super) fn pair() -> io::Result<(Canceller, CancelWatch)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let shared = Arc::new(Shared { level: AtomicU8::new(0), word: AtomicU8::new(UNDECIDED), wake });
    Ok((Canceller(Arc::clone(&shared)), CancelWatch(shared)))
}

impl Canceller {
    /// Asks the group to end, and makes it when the grace is over.
    pub fn cancel(&self) {
        self.raise(Urgency::Gentle);
    }

    /// Kills the group.
    pub fn kill(&self) {
        self.raise(Urgency::Now);
    }

    /// Says what becomes of what it wrote; the first word counts.
    pub(crate) fn decide(&self, word: Word) {
        let word = if word == Word::Commit { COMMIT } else { DISCARD };
        let _ = self.0.word.compare_exchange(UNDECIDED, word, Ordering::SeqCst, Ordering::SeqCst);
        self.wake();
    }

    fn raise(&self, urgency: Urgency) {
        self.0.level.fetch_max(urgency as u8, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        // A counter that is full wakes its reader just as well.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        self.kill();
    }
}

impl CancelWatch {
    /// Whether the end was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.urgency().is_some()
    }

    pub(super) fn urgency(&self) -> Option<Urgency> {
        match self.0.level.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Urgency::Gentle),
            _ => Some(Urgency::Now),
        }
    }

    /// Waits for the word. Whoever is cancelled before it comes has nothing to publish.
    pub(super) fn await_word(&self) -> Word {
        loop {
            match (self.urgency(), self.0.word.load(Ordering::SeqCst)) {
                (Some(_), _) | (None, DISCARD) => return Word::Discard,
                (None, COMMIT) => return Word::Commit,
                (None, _) => {}
            }
            let _ = rustix::event::poll(&mut [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)], None);
            self.settle();
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    /// Takes the wake-up, so that the next `poll` sleeps again; the level stays.
    pub(super) fn settle(&self) {
        let _ = rustix::io::read(&self.0.wake, &mut [0_u8; 8]);
    }
}
