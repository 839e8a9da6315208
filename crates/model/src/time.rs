//! Time as the scheduler sees it: handed in, never read.

use core::ops::Add;
use core::time::Duration;

/// Microseconds since the driver started, on a monotonic clock. Comparable only with stamps of the same driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// So many microseconds after the driver's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many milliseconds after the driver's start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// Microseconds since the driver's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time that passed from `earlier` until this stamp; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates: a deadline that far away never comes.
    fn add(self, delay: Duration) -> Self {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_delay_saturates() {
        assert_eq!(Timestamp::from_millis(1) + Duration::MAX, Timestamp::from_micros(u64::MAX));
    }

    #[test]
    fn time_since_a_later_stamp_is_nothing() {
        assert_eq!(Timestamp::ZERO.since(Timestamp::from_millis(1)), Duration::ZERO);
    }
}
