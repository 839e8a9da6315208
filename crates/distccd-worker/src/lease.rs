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
//! whatever the network did in between: a heartbeat that was received and whose acknowledgement was lost only makes the
//! server wait longer. Both clocks are monotonic and never compared with each other, so they may show anything; but they
//! have to go about equally fast. The allowance is a twentieth each: our clock may be 5 % slow and the server's 5 % fast
//! (a hundred times what NTP slews by). Then, in time as it is, with `k` for our being scheduled late and SIGKILL's taking
//! effect,
//!
//! ```text
//! dead by  sent + (4/5 L) / 0.95 + k  =  sent + 0.842 L + k        given away at  received + L / 1.05  =  received + 0.952 L
//! ```
//!
//! which leaves `k` a tenth of the lease: half a second of the default. `scheduler-sim` lives at the edges of this: clocks
//! 5 % wrong, killing that takes a tenth of a lease, and daemons, hosts and the server stopped between any two steps; and a
//! worker that took the whole lease, or a keeper without the timer below, is found out there (`tests/planted.rs`).
//!
//! A worker that is stopped keeps no lease and kills nothing. So the same deadline also stands on the `lease_page`, on
//! `CLOCK_BOOTTIME`, which goes on while a machine sleeps and counts from the same sending; every keeper has a timer of
//! its own at it (`keeper/fence.rs`) and needs no worker to die: running or stopped, it executes nothing of its own after
//! the deadline, and takes its command with it. A stopped worker that goes on finds its keepers gone.
//!
//! What the argument does not cover: a process in uninterruptible sleep, which no signal ends; a pause of the whole
//! machine within the one system call that publishes; and a command that works in place, when it is stopped together
//! with its keeper and runs some instructions before that kills it. The second has a further fence
//! (`commit::remove_leftovers`), and isolation is the remedy for the last.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::lease_page::boot_time;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    boot: u64,
}

impl Moment {
    /// Now. The clock that goes on while the machine sleeps is read first, so that it says no later time.
    pub(crate) fn now() -> Self {
        let boot = boot_time();
        Self { at: Instant::now(), boot }
    }
}

/// When attempts must be dead.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    length: Duration,
    granted_from: Option<Moment>,
    unacknowledged: VecDeque<(u64, Moment)>,
    greeted_at: Option<Moment>,
}

impl Lease {
    /// A stream begins: the registration was sent now. What was granted before holds on.
    pub(crate) fn on_register_sent(&mut self, now: Moment) {
        self.unacknowledged.clear();
        self.greeted_at = Some(now);
    }

    /// The server's welcome acknowledges the registration.
    pub(crate) fn on_welcome(&mut self, length: Duration) {
        self.length = length;
        self.granted_from = self.greeted_at.take().or(self.granted_from);
    }

    pub(crate) fn on_heartbeat_sent(&mut self, sequence: u64, now: Moment) {
        self.unacknowledged.push_back((sequence, now));
    }

    pub(crate) fn on_heartbeat_ack(&mut self, sequence: u64) {
        while let Some(&(oldest, sent)) = self.unacknowledged.front() {
            if oldest > sequence {
                break;
            }
            self.unacknowledged.pop_front();
            if self.granted_from.is_none_or(|granted| granted.at < sent.at) {
                self.granted_from = Some(sent);
            }
        }
    }

    /// The attempts were killed: nothing is held any more, until the next welcome or acknowledgement.
    pub(crate) fn on_expired(&mut self) {
        self.granted_from = None;
    }

    /// When all attempts must be dead, if a lease was ever granted and has not run out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.granted_from?.at + self.holds_for())
    }

    /// The same for keepers, in nanoseconds of `CLOCK_BOOTTIME`; 0 without a lease.
    pub(crate) fn boot_deadline(&self) -> u64 {
        let holds_for = u64::try_from(self.holds_for().as_nanos()).unwrap_or(u64::MAX);
        self.granted_from.map_or(0, |granted| granted.boot.saturating_add(holds_for))
    }

    /// Whether there was one and it has run out, at this time of [`boot_time`]: keepers have ended themselves.
    pub(crate) fn has_run_out(&self, boot_now: u64) -> bool {
        self.granted_from.is_some() && boot_now >= self.boot_deadline()
    }

    fn holds_for(&self) -> Duration {
        self.length * 4 / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn moment(at: Instant) -> Moment {
        Moment { at, boot: 7_000_000_000 }
    }

    fn welcomed(start: Instant) -> Lease {
        let mut lease = Lease::default();
        lease.on_register_sent(moment(start));
        lease.on_welcome(LEASE);
        lease
    }

    #[test]
    fn the_lease_counts_from_the_sending_of_what_was_acknowledged() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_sent(1, moment(start + Duration::from_secs(1)));
        lease.on_heartbeat_sent(2, moment(start + Duration::from_secs(2)));
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_ack(1);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(9)));
    }

    #[test]
    fn a_lost_stream_keeps_what_was_granted_and_forgets_what_was_not() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        lease.on_heartbeat_sent(1, moment(start + Duration::from_secs(1)));

        lease.on_register_sent(moment(start + Duration::from_secs(3)));
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_heartbeat_ack(1); // an echo of nothing: numbers count from 1 within a stream
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(8)));

        lease.on_welcome(LEASE);
        assert_eq!(lease.deadline(), Some(start + Duration::from_secs(11)));
    }

    #[test]
    fn an_expired_lease_has_no_deadline() {
        let mut lease = welcomed(Instant::now());

        assert_eq!(lease.boot_deadline(), 15_000_000_000);
        assert!(!lease.has_run_out(14_999_999_999) && lease.has_run_out(15_000_000_000));
        lease.on_expired();

        assert!(!lease.has_run_out(u64::MAX), "there is none to run out");
        assert_eq!((lease.deadline(), lease.boot_deadline()), (None, 0));
    }
}
