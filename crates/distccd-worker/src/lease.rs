//! The worker's side of the lease.
//!
//! The server lets another worker start an attempt once it has heard no heartbeat of ours for the lease `L`, timed from
//! when it *received* the last one. We count from when we *sent* the last one that the server has acknowledged, and stop
//! at four fifths of `L`:
//!
//! ```text
//! we sent it <= server received it,  so  sent + 4/5 L <= received + L - 1/5 L
//! ```
//!
//! Our last attempt is therefore dead at least `L/5` before the server may give it away, whatever the network did in
//! between: a heartbeat that was received and whose acknowledgement was lost only makes the server wait longer. The
//! fifth pays for clock rates that differ, for this process being scheduled late, and for SIGKILL taking effect. Both
//! clocks are monotonic and never compared with each other. What the argument does not cover is a process in
//! uninterruptible sleep, which no signal ends.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When attempts must be dead.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    length: Duration,
    granted_from: Option<Instant>,
    unacknowledged: VecDeque<(u64, Instant)>,
    greeted_at: Option<Instant>,
}

impl Lease {
    /// A stream begins: the registration was sent now. What was granted before holds on.
    pub(crate) fn on_register_sent(&mut self, now: Instant) {
        self.unacknowledged.clear();
        self.greeted_at = Some(now);
    }

    /// The server's welcome acknowledges the registration.
    pub(crate) fn on_welcome(&mut self, length: Duration) {
        self.length = length;
        self.granted_from = self.greeted_at.take().or(self.granted_from);
    }

    pub(crate) fn on_heartbeat_sent(&mut self, sequence: u64, now: Instant) {
        self.unacknowledged.push_back((sequence, now));
    }

    pub(crate) fn on_heartbeat_ack(&mut self, sequence: u64) {
        while let Some(&(oldest, sent)) = self.unacknowledged.front() {
            if oldest > sequence {
                break;
            }
            self.unacknowledged.pop_front();
            self.granted_from = self.granted_from.max(Some(sent));
        }
    }

    /// The attempts were killed: nothing is held any more, until the next welcome or acknowledgement.
    pub(crate) fn on_expired(&mut self) {
        self.granted_from = None;
    }

    /// When all attempts must be dead, if a lease was ever granted and has not run out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.granted_from? + self.length * 4 / 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn welcomed(start: Instant) -> Lease {
        let mut lease = Lease::default();
        lease.on_register_sent(start);
        lease.on_welcome(LEASE);
        lease
    }

    #[test]
    fn the_lease_counts_from_the_sending_of_what_was_acknowledged() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_sent(1, start + Duration::from_secs(1));
        lease.on_heartbeat_sent(2, start + Duration::from_secs(2));
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_ack(1);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(9)));
    }

    #[test]
    fn a_lost_stream_keeps_what_was_granted_and_forgets_what_was_not() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        lease.on_heartbeat_sent(1, start + Duration::from_secs(1));

        lease.on_register_sent(start + Duration::from_secs(3));
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_ack(1); // an echo of nothing: numbers count from 1 within a stream
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_welcome(LEASE);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(11)));
    }

    #[test]
    fn an_expired_lease_has_no_deadline() {
        let mut lease = welcomed(Instant::now());

        lease.on_expired();

        assert_eq!(lease.deadline(), None);
    }
}
