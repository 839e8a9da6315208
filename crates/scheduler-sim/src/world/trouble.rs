//! What goes wrong, inflicted; and the end of it.

use std::time::Duration;

use super::{Event, World};
use crate::driver::Driver;
use crate::fake_worker::FakeWorker;
use crate::faults::Fault;
use crate::messages::Message;
use crate::network::Peer;

impl World {
    pub(super) fn on_something_goes_wrong(&mut self) {
        if !self.faulty {
            return;
        }
        let fault = Fault::some(self.hosts.len(), self.launchers.len(), self.config.lease, &mut self.rng);
        let fault = match self.manner.restless && self.fates.percent(25) {
            true => Fault::CrashServer(self.fates.millis(10, 300)),
            false => fault,
        };
        self.faults += 1;
        self.inflict(fault);
        let pause = self.rng.millis(1, 1_500);
        self.after(pause, Event::SomethingGoesWrong);
    }

    pub(super) fn flap(&mut self, host: usize) {
        if self.faulty {
            self.break_links_of(Peer::Worker(host));
            let pause = self.rng.millis(100, 900);
            self.after(pause, Event::Flaps(host));
        }
    }

    pub(super) fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::BreakWorkerLink(host) => self.break_links_of(Peer::Worker(host)),
            Fault::BreakLauncherLink(launcher) => self.break_links_of(Peer::Launcher(launcher)),
            Fault::CutOff(host, time) => {
                self.network.cut_off(Peer::Worker(host));
                self.after(time, Event::Heals(Peer::Worker(host)));
            }
            Fault::CrashWorker(host, back_after) => self.crash(host, back_after),
            // One that stands still cannot hear it.
            Fault::Drain(host) if self.stands_still_until(host).is_some() => {}
            Fault::Drain(host) => self.with_worker(host, FakeWorker::drain),
            Fault::ChangeMind(launcher) => {
                let what = self.launchers[launcher].change_mind(&mut self.rng);
                if let (Some(what), Some(link)) = (what, self.launchers[launcher].link) {
                    self.send(link, Message::FromLauncher(what));
                }
            }
            Fault::KillLauncher(launcher) => {
                self.launchers[launcher].die();
                self.break_links_of(Peer::Launcher(launcher));
            }
            Fault::CrashServer(back_after) => self.on_server_dies(back_after),
            Fault::StopServer(grace) => {
                self.with_driver(Driver::stop);
                self.after(grace, Event::ServerDies { back_after: Duration::from_millis(100) });
            }
        }
    }

    pub(super) fn break_links_of(&mut self, peer: Peer) {
        for link in self.network.of_peer(peer) {
            self.break_link(link);
        }
    }

    pub(super) fn on_everything_heals(&mut self) {
        self.faulty = false;
        for host in 0..self.hosts.len() {
            self.heal(Peer::Worker(host));
        }
    }
}
