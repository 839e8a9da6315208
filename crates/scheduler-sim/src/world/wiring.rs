//! What travels between the server and the others, and what happens when a link breaks or comes back.

use std::time::Duration;

use super::{Event, World};
use crate::checks::Checks;
use crate::messages::{Answer, Message, Order, WorkerSays};
use crate::network::{LinkId, Peer};

/// What may reach a worker a second time, late.
fn is_order_that_may_echo(message: &Message) -> bool {
    matches!(message, Message::ToWorker(order) if !matches!(order, Order::Assign(..) | Order::Shadow(_)))
}

impl World {
    pub(super) fn send(&mut self, link: LinkId, message: Message) {
        let Some(at) = self.network.arrival(link, message.is_to_server(), self.now, &mut self.rng) else { return };
        let may_echo = matches!(&message, Message::FromWorker(what) if what.may_echo());
        if self.faulty && may_echo && self.rng.percent(3) {
            let late = self.rng.millis(0, 1_500);
            self.at(at + late, Event::Arrival(link, message.clone()));
        }
        if self.faulty && self.has_stops && is_order_that_may_echo(&message) && self.stops.percent(3) {
            let late = self.stops.millis(0, 1_500);
            self.at(at + late, Event::Arrival(link, message.clone()));
        }
        self.at(at, Event::Arrival(link, message));
    }

    pub(super) fn on_arrival(&mut self, link: LinkId, message: Message) {
        let Some(peer) = self.network.deliver(link) else { return };
        match (peer, message) {
            (Peer::Worker(_), Message::FromWorker(what)) if self.dies_over(&what) => {}
            (Peer::Worker(host), Message::FromWorker(what)) => {
                let leaves = matches!(what, WorkerSays::Goodbye);
                self.with_driver(|driver, now| driver.on_worker(now, host, link, what));
                if leaves {
                    self.retire(host);
                }
            }
            (Peer::Worker(host), Message::ToWorker(order)) => {
                if self.hosts[host].worker.as_ref().is_some_and(|worker| worker.link == Some(link)) {
                    self.with_worker(host, |worker, world| worker.on_order(order, world));
                }
            }
            (Peer::Launcher(_), Message::FromLauncher(what)) => {
                self.with_driver(|driver, now| driver.on_launcher(now, link, what));
            }
            (Peer::Launcher(launcher), Message::ToLauncher(Answer::Wait(job, delay))) => {
                self.launchers[launcher].on_wait(job);
                self.after(delay, Event::ComesAgain { launcher, link, job });
            }
            (Peer::Launcher(launcher), Message::ToLauncher(answer)) => {
                if self.launchers[launcher].on_answer(&answer) {
                    let Checks { executions, answers } = &mut self.checks;
                    answers.on_delivered(&answer, executions);
                }
            }
            (peer, message) => panic!("{message:?} on a link with {peer:?}"),
        }
    }

    pub(super) fn break_link(&mut self, link: LinkId) {
        let Some(peer) = self.network.break_link(link) else { return };
        let (server_delay, peer_delay) = (self.rng.millis(0, 300), self.rng.millis(1, 500));
        if self.driver.is_some() {
            self.after(server_delay, Event::ServerLosesLink(link, peer));
        }
        match peer {
            Peer::Worker(host) => {
                if let Some(worker) = self.hosts[host].worker.as_mut().filter(|worker| worker.link == Some(link)) {
                    worker.link = None;
                }
            }
            Peer::Launcher(launcher) => self.launchers[launcher].link = None,
        }
        self.after(peer_delay, Event::Connect(peer));
    }

    pub(super) fn connect(&mut self, peer: Peer) {
        let wants = match peer {
            Peer::Worker(host) => self.hosts[host].worker.as_ref().is_some_and(|worker| worker.link.is_none()),
            Peer::Launcher(launcher) => self.launchers[launcher].link.is_none() && !self.launchers[launcher].is_dead,
        };
        if !wants {
            return;
        }
        if self.driver.is_none() || self.network.is_cut_off(peer) {
            self.after(Duration::from_millis(150), Event::Connect(peer));
            return;
        }
        let link = self.network.connect(peer);
        match peer {
            Peer::Worker(host) => self.with_worker(host, |worker, world| worker.on_connected(link, world)),
            Peer::Launcher(launcher) => {
                if let Some(what) = self.launchers[launcher].on_connected(link) {
                    self.send(link, Message::FromLauncher(what));
                }
            }
        }
    }

    pub(super) fn heal(&mut self, peer: Peer) {
        for link in self.network.heal(peer) {
            self.break_link(link);
        }
    }
}
