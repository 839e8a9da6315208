//! How long to wait before the next attempt to reach the server.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// A build stands still until its workers have found the server that came back.
const CAP: Duration = Duration::from_secs(1);

/// Doubles from 100 ms up to a second, jittered so that a fleet does not knock at once; the first retry is immediate.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            return Duration::ZERO;
        }
        let full = FIRST.saturating_mul(1 << (self.failures - 2).min(10)).min(CAP);
        // Between half and all of it.
        full / 2 + (full / 2) * u32::from(random_byte()) / 255
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

fn random_byte() -> u8 {
    let mut byte = [128];
    // Without randomness the jitter is the middle: no reason to fail.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_immediate_and_none_is_later_than_the_cap() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(), Duration::ZERO);

        let waits: Vec<_> = (0..100).map(|_| backoff.next()).collect();

        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits.iter().all(|wait| *wait <= CAP));
        assert!(waits[99] >= CAP / 2);
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::default();
        let _ = (backoff.next(), backoff.next());

        backoff.reset();

        assert_eq!(backoff.next(), Duration::ZERO);
    }
}
