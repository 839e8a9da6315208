//! Taking no more jobs: for good, on SIGTERM or an operator's word, or until told otherwise.

use std::time::Duration;

use daemon_kit::systemd;
use proto::v1::{self, worker_message::Message};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Agent;
use crate::link::LinkEvent;

/// How long a draining worker waits for the server to say that it has the last results.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long it waits for its goodbye to be on its way.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) enum Drain {
    No,
    /// Until then what runs may finish.
    Finishing {
        until: Instant,
    },
    /// Nothing runs; until then the server may acknowledge.
    LastWords {
        until: Instant,
    },
}

impl Agent {
    pub(super) const fn takes_nothing(&self) -> bool {
        self.resting || !matches!(self.drain, Drain::No) || self.usable_slots() == 0
    }

    /// An operator's word, by the server: end when all is done, as on SIGTERM; or only take nothing more; or take it back.
    pub(super) fn on_drain_order(&mut self, order: &v1::DrainOrder) {
        match (order.undo, order.stay) {
            (true, _) if self.resting => {
                tracing::info!("taking jobs again, as the server says");
                self.resting = false;
                self.register_again();
            }
            (false, true) if !self.takes_nothing() => {
                tracing::info!(running = self.busy, "taking no more jobs, as the server says");
                self.resting = true;
                self.first.push_back(Message::Draining(v1::Draining {}));
                self.books.hand_back_waiting();
            }
            (false, false) if matches!(self.drain, Drain::No) => self.on_drain(),
            _ => {}
        }
    }

    pub(super) fn on_drain(&mut self) {
        tracing::info!(running = self.busy, "draining");
        systemd::stopping("waiting for running commands");
        self.drain = Drain::Finishing { until: Instant::now() + self.config.drain_grace };
        if self.rhythm().is_some() {
            self.first.push_back(Message::Draining(v1::Draining {}));
        }
        self.books.hand_back_waiting();
    }

    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        match self.drain {
            Drain::No => None,
            Drain::Finishing { until } | Drain::LastWords { until } => Some(until),
        }
    }

    pub(super) fn on_drain_deadline(&mut self) {
        match &mut self.drain {
            Drain::Finishing { until } => {
                tracing::warn!(running = self.busy, "the drain grace is over: killing");
                // From here on it is a matter of seconds; look again then.
                *until = Instant::now() + LAST_WORDS;
                self.books.kill_running();
            }
            // `is_done` sees that it has passed.
            Drain::LastWords { .. } | Drain::No => {}
        }
    }

    pub(super) fn advance_drain(&mut self) {
        if matches!(self.drain, Drain::Finishing { .. }) && self.busy == 0 {
            self.drain = Drain::LastWords { until: Instant::now() + LAST_WORDS };
        }
    }

    /// Drained, and the server has all results or had its time to say so.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.drain, Drain::LastWords { until } if self.books.is_empty() || Instant::now() >= until)
    }

    pub(super) async fn say_goodbye(&mut self, link: &mut mpsc::Receiver<LinkEvent>) {
        if !self.books.is_empty() {
            tracing::warn!("leaving although the server has not acknowledged {} results", self.books.holding().len());
        }
        let Some(up) = self.up.take() else { return };
        let goodbye = async {
            let message = v1::WorkerMessage { message: Some(Message::Goodbye(v1::Goodbye {})) };
            let _ = up.outgoing.send(message).await;
            drop(up.outgoing); // ends our half of the stream, and the server then ends its own
            while !matches!(link.recv().await, None | Some(LinkEvent::Lost)) {}
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}
