//! Workers that come, act, crash and leave; launchers that think of more.

use std::time::Duration;

use model::ids::{Attempt, Incarnation};

use super::{Character, Event, Host, World};
use crate::fake_worker::{Effect, FakeWorker, Surroundings};
use crate::messages::Message;
use crate::network::Peer;

impl World {
    pub(super) fn with_worker(&mut self, host: usize, act: impl FnOnce(&mut FakeWorker, &mut Surroundings<'_>)) {
        let Host { worker, character, run, clock, .. } = &mut self.hosts[host];
        let (Some(worker), character, run, clock) = (worker, *character, *run, *clock) else { return };
        let now = clock.at(self.now);
        let mut surroundings = Surroundings {
            now,
            lease: self.config.lease,
            rng: &mut self.rng,
            checks: &mut self.checks,
            unrepeatable: &self.unrepeatable,
            faulty: self.faulty,
            is_black_hole: self.faulty && character == Character::BlackHole,
            hesitation: self.has_stops.then_some(&mut self.stops),
            plant: self.plant,
            effects: Vec::new(),
        };
        act(worker, &mut surroundings);
        let (effects, link) = (surroundings.effects, worker.link);
        for effect in effects {
            match (effect, link) {
                (Effect::Say(what), Some(link)) => match self.stands_still_until(host) {
                    Some(until) => self.at(until, Event::Speaks { host, link, what }),
                    None => self.send(link, Message::FromWorker(what)),
                },
                (Effect::Say(_), None) => {} // Said again on the next link.
                (Effect::After(delay, timer), _) => {
                    self.at(clock.when(now + delay), Event::Worker { host, run, timer });
                }
            }
        }
    }

    pub(super) fn on_worker_comes_up(&mut self, host: usize) {
        if self.hosts[host].worker.is_none() {
            let facts = self.hosts[host].facts.clone();
            self.hosts[host].run += 1;
            self.hosts[host].clock = self.some_clock();
            self.hosts[host].worker = Some(FakeWorker::new(host, facts, &mut self.rng));
            self.connect(Peer::Worker(host));
        }
    }

    pub(super) fn crash(&mut self, host: usize, back_after: Duration) {
        let Some(worker) = self.hosts[host].worker.take() else { return };
        self.hosts[host].stop = None;
        let (mut left, dying, dies_within) = (worker.running(), worker.dying(), self.config.lease / 5);
        left.retain(|attempt| !dying.contains(attempt));
        dying.into_iter().for_each(|attempt| self.checks.executions.on_ended(host, attempt, false));
        let incarnation = worker.facts.incarnation;
        self.after(dies_within / 2, Event::Guardian { host, left, incarnation });
        self.after(back_after.max(dies_within), Event::WorkerComesUp(host));
        for link in self.network.of_peer(Peer::Worker(host)) {
            self.break_link(link);
        }
    }

    /// What a dead daemon left is dead too; mostly the guardian lives to tell that.
    pub(super) fn on_guardian(&mut self, host: usize, left: Vec<Attempt>, incarnation: Incarnation) {
        for attempt in left {
            self.checks.executions.on_ended(host, attempt, false);
        }
        if self.fates.percent(70) {
            let delay = self.fates.millis(0, 200);
            self.after(delay, Event::Obituary { incarnation, tries: 0 });
        }
    }

    pub(super) fn on_obituary(&mut self, incarnation: Incarnation, tries: u32) {
        if self.driver.is_some() {
            self.with_driver(|driver, now| driver.on_obituary(now, incarnation));
        } else if tries < 20 {
            self.after(Duration::from_millis(150), Event::Obituary { incarnation, tries: tries + 1 });
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
