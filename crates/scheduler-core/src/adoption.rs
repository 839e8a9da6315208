//! What servers before this one left running: who may run some of it, and for how long at the most. Why that is enough
//! is in the crate's documentation.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use model::ids::Incarnation;
use model::time::Timestamp;

use crate::action::Action;
use crate::jobs::{JobState, Next};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// Until when jobs of earlier servers wait for news of them.
#[derive(Debug, Default)]
pub(crate) struct Adoption {
    /// Until then at the most; nothing before the first step.
    until: Option<Timestamp>,
    is_first_step: bool,
    is_over: bool,
    /// Who may run something and has not been heard of; nothing when nobody knows.
    awaited: Option<BTreeSet<Incarnation>>,
    /// Whether one of those who were on the roster has registered.
    is_vouched: bool,
    /// Jobs of earlier servers that were let in to wait for news of them.
    let_in: usize,
}

impl Adoption {
    /// A step begins; true if it is the first.
    pub(crate) fn on_step(&mut self, now: Timestamp, lease: Duration) -> bool {
        self.is_first_step = self.until.is_none();
        self.until.get_or_insert(now + lease);
        self.is_first_step
    }

    /// Whether one more job of an earlier server may wait for news of it. They are not counted out again: that time is
    /// short, and whoever is turned away asks again.
    pub(crate) fn takes_one_more(&mut self, most: usize) -> bool {
        let takes = self.let_in < most;
        self.let_in += usize::from(takes);
        takes
    }
}

impl Scheduler {
    /// Whether a worker may yet turn up that ran jobs for an earlier server.
    pub(crate) fn is_adoption_open(&self) -> bool {
        !self.adoption.is_over && self.adoption.until.is_none_or(|until| self.now < until)
    }

    pub(crate) fn on_roster(&mut self, expected: Vec<Incarnation>, lease: Duration) {
        // Later there are workers and jobs that were met without it.
        if self.adoption.is_first_step {
            self.adoption.awaited = Some(expected.into_iter().collect());
            let until = self.now + lease.max(self.config.lease);
            self.adoption.until = Some(until);
            self.timers.set(Timer::AdoptionOver, until);
        }
    }

    pub(crate) fn on_roster_doubted(&mut self) {
        self.adoption.awaited = None;
    }

    /// This worker has named all that it runs.
    pub(crate) fn on_awaited_registered(&mut self, incarnation: Incarnation, out: &mut Vec<Action>) {
        self.adoption.is_vouched |= self.adoption.awaited.as_ref().is_some_and(|all| all.contains(&incarnation));
        self.on_awaited_heard_of(incarnation, out);
    }

    /// This worker runs nothing that we do not know of. It may have been the last of whom that was not certain.
    pub(crate) fn on_awaited_heard_of(&mut self, incarnation: Incarnation, out: &mut Vec<Action>) {
        let Some(awaited) = &mut self.adoption.awaited else { return };
        let was_awaited = awaited.remove(&incarnation);
        if was_awaited && awaited.is_empty() && self.adoption.is_vouched {
            self.on_adoption_over(out);
        }
    }

    /// Workers of an earlier server have said what they run, or have had a whole lease to say it. What they did not name
    /// is not running: it ended, or they killed it.
    pub(crate) fn on_adoption_over(&mut self, out: &mut Vec<Action>) {
        self.adoption.is_over = true;
        self.adoption.awaited = None;
        self.timers.clear(Timer::AdoptionOver);
        for id in self.jobs.ids_where(|job| job.inherited) {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.inherited = false;
            let next = match job.state() {
                JobState::AwaitingAdoption => Next::Queue { in_front: false },
                JobState::Cancelling { next } => next.clone(),
                JobState::Held(_) => {
                    self.permit_if_safe(id, out);
                    continue;
                }
                JobState::Waiting => continue,
            };
            self.settle(id, next, out);
        }
    }
}
