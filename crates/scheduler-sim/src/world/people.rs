//! Workers that come, act, crash and leave; launchers that think of more.

use std::time::Duration;

use super::{Character, Event, Host, World};
use crate::fake_worker::{Effect, FakeWorker, Surroundings};
use crate::messages::Message;
use crate::network::Peer;

impl World {
    pub(super) fn with_worker(&mut self, host: usize, act: impl FnOnce(&mut FakeWorker, &mut Surroundings<'_>)) {
        let Host { worker, character, run, .. } = &mut self.hosts[host];
        let (Some(worker), character, run) = (worker, *character, *run) else { return };
        let mut surroundings = Surroundings {
            now: self.now,
            lease: self.config.lease,
            rng: &mut self.rng,
            checks: &mut self.checks,
            unrepeatable: &self.unrepeatable,
            faulty: self.faulty,
            is_black_hole: self.faulty && character == Character::BlackHole,
            effects: Vec::new(),
        };
        act(worker, &mut surroundings);
        let (effects, link) = (surroundings.effects, worker.link);
        for effect in effects {
            match (effect, link) {
                (Effect::Say(what), Some(link)) => self.send(link, Message::FromWorker(what)),
                (Effect::Say(_), None) => {} // Said again on the next link.
                (Effect::After(delay, timer), _) => self.after(delay, Event::Worker { host, run, timer }),
            }
        }
    }

    pub(super) fn on_worker_comes_up(&mut self, host: usize) {
        if self.hosts[host].worker.is_none() {
            let facts = self.hosts[host].facts.clone();
            self.hosts[host].run += 1;
            self.hosts[host].worker = Some(FakeWorker::new(host, facts, &mut self.rng));
            self.connect(Peer::Worker(host));
        }
    }

    pub(super) fn crash(&mut self, host: usize, back_after: Duration) {
        let Some(worker) = self.hosts[host].worker.take() else { return };
        let (left, dies_within) = (worker.running(), self.config.lease / 5);
        self.after(dies_within / 2, Event::Guardian { host, left });
        self.after(back_after.max(dies_within), Event::WorkerComesUp(host));
        for link in self.network.of_peer(Peer::Worker(host)) {
            self.break_link(link);
        }
    }

    /// A worker that said goodbye, and was heard, is gone; another run of it comes up.
    pub(super) fn retire(&mut self, host: usize) {
        if self.hosts[host].worker.as_ref().is_some_and(FakeWorker::is_quiet) {
            self.crash(host, Duration::from_millis(700));
        }
    }

    pub(super) fn on_launcher_thinks(&mut self, launcher: usize) {
        if self.launchers[launcher].is_dead {
            return;
        }
        let unrepeatable = self.launchers[launcher].think(&mut self.rng);
        self.unrepeatable.extend(unrepeatable);
        if let Some(link) = self.launchers[launcher].link
            && let Some(what) = self.launchers[launcher].submit_new()
        {
            self.send(link, Message::FromLauncher(what));
        }
        if self.launchers[launcher].has_more_to_come() {
            let pause = self.rng.millis(0, 1_500);
            self.after(pause, Event::LauncherThinks(launcher));
        }
    }
}
