//! The server's side of the world: it is told, wakes, dies and comes back with empty books.

use std::time::Duration;

use model::time::Timestamp;

use super::{Event, World};
use crate::driver::{Driver, Wish};
use crate::network::{LinkId, Peer};

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
        self.journals.extend(driver.into_journal());
        for link in self.network.all() {
            self.break_link(link);
        }
        self.after(back_after, Event::ServerComesUp);
    }

    pub(super) fn on_server_comes_up(&mut self) {
        if self.driver.is_none() {
            self.driver = Some(Driver::start(self.config.clone(), self.now, self.recorded));
            self.wake_at = None;
            self.plan_wake();
        }
    }
}
