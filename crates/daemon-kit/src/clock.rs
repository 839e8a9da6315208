//! The only `now()` of a daemon: monotonic microseconds since it started.

use std::time::Duration;

use model::time::Timestamp;
use tokio::time::Instant;

/// A clock that starts at zero. Under a paused tokio runtime it stands still until time is advanced, so tests of the
/// shells around the pure rooms need not wait.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.start.elapsed()
    }

    /// Sleeps until the given stamp; for ever when there is none.
    pub async fn sleep_until(&self, deadline: Option<Timestamp>) {
        match deadline {
            Some(deadline) => {
                tokio::time::sleep_until(self.start + Duration::from_micros(deadline.as_micros())).await;
            }
            None => std::future::pending().await,
        }
    }
}
