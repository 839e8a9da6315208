//! The server's side of the world: it is told, wakes, dies and comes back with empty books.

use std::time::Duration;

use model::time::Timestamp;

use super::{Event, World};
use crate::driver::{Driver, Habits, Wish};
use crate::messages::WorkerSays;
use crate::network::{LinkId, Peer};
use crate::roster::Roster;

impl World {
    pub(super) fn with_driver(&mut self, act: impl FnOnce(&mut Driver, Timestamp) -> Vec<Wish>) {
        let Some(driver) = &mut self.driver else { return };
        for wish in act(driver, self.now) {
            match wish {
                Wish::Send(link, message) => self.send(link, message),
                Wish::Close(link) => self.break_link(link),
            }
        }
        self.plan_wake();
    }

    pub(super) fn plan_wake(&mut self) {
        let Some(deadline) = self.driver.as_ref().and_then(Driver::next_deadline) else { return };
        let deadline = deadline.max(self.now);
        if self.wake_at.is_none_or(|planned| deadline < planned) {
            self.wake_at = Some(deadline);
            self.at(deadline, Event::ServerWakes);
        }
    }

    pub(super) fn on_server_loses_link(&mut self, link: LinkId, peer: Peer) {
        match peer {
            Peer::Worker(_) => self.with_driver(|driver, now| driver.on_worker_link_lost(now, link)),
            Peer::Launcher(_) => self.with_driver(|driver, now| driver.on_launcher_link_lost(now, link)),
        }
    }

    pub(super) fn on_server_dies(&mut self, back_after: Duration) {
        let Some(driver) = self.driver.take() else { return };
        self.server_stops_until = None;
        self.disk = Some(driver.roster().clone());
        self.journals.extend(driver.into_journal());
        for link in self.network.all() {
            self.break_link(link);
        }
        self.after(back_after, Event::ServerComesUp);
        self.cut_somebody_off();
    }

    /// Now and then a worker cannot come back when the others do: what it runs is known to nobody.
    fn cut_somebody_off(&mut self) {
        if !self.faulty || !self.fates.percent(40) {
            return;
        }
        let host = usize::try_from(self.fates.between(0, self.hosts.len() as u64 - 1)).unwrap_or(0);
        let lease = u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX);
        let time = self.fates.millis(lease / 4, lease * 2);
        self.network.cut_off(Peer::Worker(host));
        self.after(time, Event::Heals(Peer::Worker(host)));
    }

    /// The server dies between its writing down a worker and its welcoming it.
    pub(super) fn dies_over(&mut self, what: &WorkerSays) -> bool {
        let WorkerSays::Register { facts, .. } = what else { return false };
        if !self.faulty || !self.fates.percent(1) {
            return false;
        }
        let Some(driver) = &mut self.driver else { return false };
        driver.write_down(self.now, facts.incarnation);
        let back_after = self.fates.millis(10, 1_000);
        self.on_server_dies(back_after);
        true
    }

    pub(super) fn on_server_comes_up(&mut self) {
        if self.driver.is_none() {
            // A machine that was started anew, or another one, knows nothing of the roster.
            let disk = self.disk.take().filter(|_| !(self.faulty && self.fates.percent(20)));
            let (roster, first) = Roster::take_over(disk, self.config.lease, self.manner.late_rosters);
            let (recorded, checks_itself) = (self.recorded, !self.manner.outside_only);
            let habits = Habits { recorded, checks_itself, clock: self.some_clock() };
            self.driver = Some(Driver::start(self.config.clone(), self.now, habits, roster, first));
            self.wake_at = None;
            self.plan_wake();
        }
    }
}
