//! What goes to the server, and when: heartbeats, reports, and what the books have to say.

use std::future::pending;
use std::time::Duration;

use proto::v1::{self, worker_message::Message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Agent, Up};
use crate::facts;
use crate::lease::Moment;

/// What the server asked for in its welcome.
pub(super) struct Rhythm {
    pub(super) heartbeat: Duration,
    pub(super) next_heartbeat: Instant,
    pub(super) last_sequence: u64,
    pub(super) next_report: Instant,
}

impl Agent {
    /// Sends what there is to say; true if there is more than the connection takes now.
    pub(super) fn speak(&mut self) -> bool {
        let Some(up) = &self.up else { return false };
        loop {
            let permit = match up.outgoing.try_reserve() {
                Ok(permit) => permit,
                Err(mpsc::error::TrySendError::Full(())) => return true,
                Err(mpsc::error::TrySendError::Closed(())) => return false,
            };
            let from_books = || up.welcome.as_ref().and_then(|_| self.books.next_message());
            let Some(message) = self.first.pop_front().or_else(from_books) else { return false };
            permit.send(v1::WorkerMessage { message: Some(message) });
        }
    }

    pub(super) fn on_heartbeat_due(&mut self) {
        let foreign_load_centi = self.foreign_load.sample(self.busy);
        let Some(rhythm) = self.up.as_mut().and_then(|up| up.welcome.as_mut()) else { return };
        let sent = Moment::now();
        rhythm.next_heartbeat = sent.at + rhythm.heartbeat;
        rhythm.last_sequence += 1;
        self.first.push_back(Message::Heartbeat(v1::Heartbeat {
            sequence: rhythm.last_sequence,
            memory_available: facts::memory_available(),
            foreign_load_centi,
            dirs_touched: self.warmth.take_changes(),
            clock_us: facts::clock_us(),
        }));
        self.lease.on_heartbeat_sent(rhythm.last_sequence, sent);
    }

    pub(super) fn on_report_due(&mut self) {
        let Some(rhythm) = self.up.as_mut().and_then(|up| up.welcome.as_mut()) else { return };
        rhythm.next_report = Instant::now() + self.config.dir_report_interval;
        self.first.push_back(Message::Directories(v1::DirectoryReport { dirs: self.warmth.take_all() }));
    }

    pub(super) fn rhythm(&self) -> Option<&Rhythm> {
        self.up.as_ref()?.welcome.as_ref()
    }

    pub(super) fn next_heartbeat(&self) -> Option<Instant> {
        Some(self.rhythm()?.next_heartbeat)
    }

    pub(super) fn next_report(&self) -> Option<Instant> {
        Some(self.rhythm()?.next_report)
    }
}

/// Waits until the connection takes another message.
pub(super) async fn room(up: Option<&Up>) {
    match up {
        Some(up) => drop(up.outgoing.reserve().await),
        None => pending().await,
    }
}
