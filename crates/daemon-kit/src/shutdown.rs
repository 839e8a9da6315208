//! An orderly end: the first SIGTERM or SIGINT asks for it, the second one insists.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the operator has asked for.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled when the daemon shall finish what it has and end.
    pub asked: CancellationToken,
    /// Cancelled when it shall end now.
    pub insisted: CancellationToken,
}

impl Stop {
    /// A stop that only code asks for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens to SIGTERM and SIGINT for the rest of the process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told = stop.clone();
        tokio::spawn(async move {
            for token in [&told.asked, &told.insisted] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }
}
