//! What systemd hears: ready, status, alive, stopping. Nothing happens when nobody listens (`NOTIFY_SOCKET`).

use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

/// Start-up checks have passed. The server may still be away: that is no reason to hold up the boot.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

pub(crate) fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// Pats systemd's watchdog twice in its interval, from the agent's own loop: what it proves alive is the agent.
pub(crate) struct Watchdog {
    interval: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self { interval: sd_notify::watchdog_enabled().map(|whole| whole / 2), next: Instant::now() }
    }

    /// When the next pat is due; never, without a watchdog.
    pub(crate) async fn due(&self) {
        match self.interval {
            Some(_) => sleep_until(self.next).await,
            None => pending().await,
        }
    }

    pub(crate) fn pat(&mut self) {
        notify(&[NotifyState::Watchdog]);
        self.next = Instant::now() + self.interval.unwrap_or_default();
    }
}
