//! Questions to a filesystem, which may hang.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A mount that does not answer for so long hangs.
pub const MOUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer, if it comes in time. If the filesystem hangs, so does a thread, and nothing else.
pub fn within<T: Send + 'static>(time: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(ask()));
    answered.recv_timeout(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_is_left_behind() {
        let (never, asked) = mpsc::channel::<()>();

        assert_eq!(within(Duration::ZERO, move || asked.recv()), None);
        drop(never);
        assert_eq!(within(Duration::MAX, || 7), Some(7));
    }
}
