//! Clocks that are everybody's own, and what stands still for a while between any two steps: a daemon alone (SIGSTOP), all
//! of a worker's host (a frozen cgroup, a machine that sleeps), the server. What comes for it meanwhile waits, and the time
//! of its clocks goes on.

use model::time::Timestamp;

use super::{Event, World};
use crate::clock::Clock;
use crate::driver::Driver;
use crate::fake_worker::WorkerTimer;
use crate::messages::{Message, WorkerSays};
use crate::network::{LinkId, Peer};

/// Something on a host stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    host: usize,
    until: Timestamp,
    /// Commands and keepers too, and not the daemon alone.
    whole_host: bool,
}

impl World {
    /// The clock of a daemon that starts now. The server's starts at nothing, and that of a worker it need not know.
    pub(super) fn some_clock(&mut self) -> Clock {
        match self.has_stops {
            true => Clock::some(self.now, Timestamp::ZERO, &mut self.stops),
            false => Clock::exact(self.now),
        }
    }

    pub(super) fn on_somebody_stops(&mut self) {
        if !self.faulty {
            return;
        }
        let lease = u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX);
        // A moment between two steps, about a lease, or far longer.
        let longest = self.stops.pick(&[40, lease / 2, lease * 3 / 2, lease * 4]).unwrap_or(lease);
        let until = self.now + self.stops.millis(0, longest);
        if self.stops.percent(15) {
            if self.driver.is_some() && self.server_stops_until.is_none() {
                self.server_stops_until = Some(until);
                // First of all that waits for that moment: a timer is due before what came meanwhile is read.
                self.at(until, Event::ServerGoesOn);
                self.faults += 1;
            }
        } else {
            self.stop_a_host(until);
        }
        let pause = self.stops.millis(1, 1_000);
        self.after(pause, Event::SomebodyStops);
    }

    fn stop_a_host(&mut self, until: Timestamp) {
        let host = usize::try_from(self.stops.between(0, self.hosts.len() as u64 - 1)).unwrap_or(0);
        // A command in place that goes on with its keeper may execute some instructions before that ends it: leases do not
        // cover that, isolation does (`distccd-worker/src/lease.rs`).
        let whole_host = self.stops.percent(60) && self.hosts[host].facts.isolates;
        let stop = Stop { host, until, whole_host };
        if self.hosts[host].stop.is_none() && self.hosts[host].worker.is_some() {
            self.with_worker(host, |worker, world| worker.stand_still(whole_host, world));
            self.hosts[host].stop = Some(stop);
            self.at(until, Event::GoesOn(stop));
            self.faults += 1;
        }
    }

    pub(super) fn on_goes_on(&mut self, stop: Stop) {
        // Unless it has been killed meanwhile.
        if self.hosts[stop.host].stop == Some(stop) {
            self.hosts[stop.host].stop = None;
            self.with_worker(stop.host, |worker, world| worker.go_on(world));
        }
    }

    pub(super) fn on_server_goes_on(&mut self) {
        // Unless it has died meanwhile.
        if self.server_stops_until == Some(self.now) {
            self.server_stops_until = None;
            self.with_driver(Driver::wake);
        }
    }

    pub(super) fn on_speaks(&mut self, host: usize, link: LinkId, what: WorkerSays) {
        let still_there = self.hosts[host].worker.as_ref().is_some_and(|worker| worker.link == Some(link));
        if still_there {
            self.send(link, Message::FromWorker(what));
        }
    }

    /// Until when a daemon can do nothing, if it cannot.
    pub(super) fn stands_still_until(&self, host: usize) -> Option<Timestamp> {
        self.hosts[host].stop.map(|stop| stop.until)
    }

    /// The event, unless it is for somebody who stands still: then it comes later, in the same order.
    pub(super) fn unless_it_stands_still(&mut self, event: Event) -> Option<Event> {
        let until = match &event {
            Event::Arrival(_, message) if message.is_to_server() => self.server_stops_until,
            Event::ServerLosesLink(..) | Event::ServerWakes | Event::Obituary { .. } => self.server_stops_until,
            Event::Arrival(link, _) => match self.network.peer(*link) {
                Some(Peer::Worker(host)) => self.stands_still_until(host),
                _ => None,
            },
            Event::Connect(Peer::Worker(host)) | Event::Speaks { host, .. } => self.stands_still_until(*host),
            &Event::Worker { host, run, timer } if self.hosts[host].run == run => self.timer_waits_until(host, timer),
            _ => None,
        };
        match until {
            Some(until) => {
                self.at(until, event);
                None
            }
            None => Some(event),
        }
    }

    /// Keepers and commands go on when the daemon alone is stopped, and when the lease is over they need nobody.
    fn timer_waits_until(&mut self, host: usize, timer: WorkerTimer) -> Option<Timestamp> {
        let stop = self.hosts[host].stop?;
        let isolates = self.hosts[host].facts.isolates;
        let waits = match timer {
            WorkerTimer::LeaseOver => {
                self.with_worker(host, |worker, world| worker.on_fence(stop.whole_host, world));
                true
            }
            WorkerTimer::Heartbeat => true,
            // The word to commit is the daemon's.
            WorkerTimer::Finished(_) => stop.whole_host || isolates,
            WorkerTimer::Killed(_) | WorkerTimer::Publishes(_) => stop.whole_host,
        };
        waits.then_some(stop.until)
    }
}
