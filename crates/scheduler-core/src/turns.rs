//! What turns cost, and what is learned from them: how long jobs run, how much memory they need, how fast workers are.

use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{BuildId, JobId, UserId, WorkerId};
use model::outcome::{AttemptFailure, Outcome};

use crate::action::Action;
use crate::explain::PlacementKind;
use crate::history::Basis;
use crate::input::MAX_MEMORY;
use crate::jobs::Turn;
use crate::scheduler::Scheduler;

/// What a job that was done costs at the least.
const LEAST_TURN: Duration = Duration::from_millis(1);

impl Scheduler {
    /// The attempt runs from now on; if a slot was idle for it, this says how far away the worker is.
    pub(crate) fn on_turn_started(&mut self, id: JobId, worker: WorkerId, kind: PlacementKind) {
        let now = self.now;
        let Some(turn) = self.jobs.get_mut(id).and_then(|job| job.turn.as_mut()) else { return };
        let after = now.since(turn.began);
        turn.began = now;
        turn.started = true;
        if matches!(kind, PlacementKind::IdleSlot | PlacementKind::KeptFree) {
            self.workers.update(worker, |worker| worker.pace.on_started(after));
        }
    }

    /// The attempt gave an outcome, and is not at the worker any more, which holds so much now.
    pub(crate) fn on_done(
        &mut self,
        id: JobId,
        worker: WorkerId,
        count: (u32, u64),
        outcome: &Outcome,
        out: &mut Vec<Action>,
    ) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else {
            if self.workers.on_done(worker, count, |worker| worker.health.on_success()) {
                self.changed.push(worker);
            }
            return;
        };
        let (turn, suspect) = (job.turn.take(), job.take_suspect());
        let watched = turn.filter(|turn| turn.started).map(|turn| now.since(turn.began));
        let took = if outcome.usage.wall.is_zero() { watched } else { Some(outcome.usage.wall) };
        if let Some(turn) = turn {
            // Jobs of no length take turns too.
            let used = took.unwrap_or_else(|| now.since(turn.began)).max(LEAST_TURN);
            self.queue.settle(job.facts.user, job.facts.build, turn.charge, used);
        }
        // A command that fails ends early, and says nothing about how long it takes when it does not.
        let took = took.filter(|_| outcome.exit.is_success());
        // What it waited for directories there, another worker need not wait for.
        let fetching = turn.map_or(Duration::ZERO, |turn| self.config.cold_directory * turn.missing.count());
        let took = took.map(|took| took.saturating_sub(fetching).max(took / 4));
        // What was only guessed when it came, others of its kind may have shown since.
        let known = job.prediction.basis == Basis::Output;
        let prediction = if known { job.prediction } else { self.history.predict(&job.facts) };
        if let Some(took) = took.filter(|_| self.config.speculation) {
            let build = (job.facts.user, job.facts.build);
            self.stragglers.learn(build, job.prediction.duration, took, now);
        }
        let predicted = (prediction.basis != Basis::Guess).then_some((prediction.duration, known));
        let mut usually = took;
        let is_news = self.workers.on_done(worker, count, |worker| {
            worker.health.on_success();
            usually = took.map(|took| worker.pace.usual_time(took));
            took.into_iter().for_each(|took| worker.pace.on_ran(predicted, took));
        });
        if is_news {
            self.changed.push(worker);
        }
        self.history.learn(&job.facts, usually, outcome.usage.peak_memory.min(MAX_MEMORY));
        self.clear_name(suspect, worker, out);
    }

    /// The attempt gave nothing, or is not wanted any more. What never started cost nothing.
    pub(crate) fn end_turn(&mut self, id: JobId, failure: &AttemptFailure) {
        let turn = self.jobs.get_mut(id).and_then(|job| Some((job.turn.take()?, job.facts.user, job.facts.build)));
        if let Some((turn, user, build)) = turn {
            self.pay_for(turn, user, build, *failure != AttemptFailure::HandedBack);
        }
    }

    /// The turn is over.
    pub(crate) fn pay_for(&mut self, turn: Turn, user: UserId, build: BuildId, ran: bool) {
        let used = if ran && turn.started { self.now.since(turn.began) } else { Duration::ZERO };
        self.queue.settle(user, build, turn.charge, used);
    }

    /// If the attempt never started there, it warmed nothing there.
    pub(crate) fn cool_again(&mut self, id: JobId, worker: WorkerId, failure: &AttemptFailure) {
        let job = self.jobs.get(id).filter(|_| *failure == AttemptFailure::HandedBack);
        if let Some((job, turn)) = job.and_then(|job| Some((job, job.turn?))) {
            self.affinity.untouch(worker, &job.facts.dirs, turn.missing);
        }
    }

    /// Killed for want of memory: the job needs more than was reserved for it. Twice as much, or half of what that
    /// worker has if that is more; and if it had that already, then more than such a worker has.
    pub(crate) fn learn_from(&mut self, id: JobId, worker: WorkerId, failure: &AttemptFailure) {
        if *failure != AttemptFailure::OutOfMemory {
            return;
        }
        let Some(had) = self.class_of(id).map(|class| self.classes.memory(class)) else { return };
        let Some(whole) = self.workers.get(worker).map(|worker| worker.facts.memory) else { return };
        let twice = had.saturating_mul(2);
        let needs = match whole {
            0 => twice.max(1 << 30),
            whole if twice > whole => whole + 1,
            whole => twice.max(whole / 2),
        };
        let needs = needs.min(MAX_MEMORY);
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.prediction.memory = job.prediction.memory.max(needs);
        job.prediction.memory_known = true;
        self.history.learn_out_of_memory(&job.facts, needs);
    }
}
