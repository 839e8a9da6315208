//! Why a job waits, or why it went where it is: as data, for people's tools.

use model::ids::{JobId, WorkerId};
use model::time::Timestamp;

use crate::action::Unmet;
use crate::history::Prediction;
use crate::jobs::{Job, JobState, Progress};
use crate::retention::Finished;
use crate::scheduler::Scheduler;
use crate::workers::table::Liveness;
use crate::workers::{Demand, Worker};

/// What there is to say about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// When it was submitted.
    pub arrived: Timestamp,
    /// What is expected of it.
    pub prediction: Prediction,
    /// Bytes that are reserved for it wherever it runs.
    pub reserved: u64,
    /// Attempts that failed so as to count.
    pub failed: u32,
    /// What it waits for.
    pub state: Condition,
}

/// What a job waits for, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// For a worker of an earlier server to say that it runs it.
    AwaitingAdoption,
    /// For a worker.
    Waiting {
        /// What keeps it from each of the workers.
        obstacles: Obstacles,
        /// Whose turn comes before.
        turn: TurnOrder,
    },
    /// For the end of its attempt.
    Placed {
        /// Where it is.
        worker: WorkerId,
        /// Which try it is.
        number: u32,
        /// Whether it was heard to start.
        started: bool,
        /// Why it is there.
        placement: Placement,
        /// It may not commit yet: the attempt before it has not ended, or nobody knows whether it has.
        awaits_permission: bool,
        /// Where else it is tried, if it is.
        second: Option<SecondAttempt>,
    },
    /// For the end of attempts that must not go on.
    Cancelling,
    /// For nothing: it was answered.
    Done,
}

/// A second attempt, while the first goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondAttempt {
    /// Where it is.
    pub worker: WorkerId,
    /// Which try it is.
    pub number: u32,
    /// Whether it was heard to start.
    pub started: bool,
}

/// How many workers cannot take a job now, each counted once under the first reason that holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// All registered workers.
    pub workers: usize,
    /// Have not its mounts.
    pub mount: usize,
    /// Run commands for another user only.
    pub user: usize,
    /// Have not its compiler or tool.
    pub toolchain: usize,
    /// Have another processor.
    pub cpu_class: usize,
    /// Take no links.
    pub linking: usize,
    /// Have less memory than it needs, whatever else they do.
    pub too_small: usize,
    /// Failed it before.
    pub tried: usize,
    /// Are draining.
    pub draining: usize,
    /// Are benched.
    pub benched: usize,
    /// Are not connected.
    pub silent: usize,
    /// Are kept free for a job that has waited too long for memory.
    pub kept: usize,
    /// Have no idle slot.
    pub busy: usize,
    /// Have too much of their memory reserved.
    pub memory: usize,
    /// Are so slow that it waits a moment for a faster one.
    pub slow: usize,
    /// Could take it now.
    pub free: usize,
}

/// Who has the turn before a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnOrder {
    /// Users before its own.
    pub users: usize,
    /// Builds of its user before its own.
    pub builds: usize,
    /// Jobs of its build that make the same demands and go before it.
    pub jobs: usize,
    /// It has waited so long that its rank in its build does not matter any more.
    pub overdue: bool,
}

/// Why an attempt is where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// What made the scheduler send it.
    pub kind: PlacementKind,
    /// How many workers were compared.
    pub candidates: u32,
    /// How warm the worker was for its directories: above the number of them if for the output's.
    pub warmth: u32,
    /// How many times slower than others the worker is, as a power of 2.
    pub octaves_slow: i8,
    /// It was taken before its turn: its directory was warm there, or whose turn it was waits for a faster worker.
    pub out_of_turn: bool,
}

/// What made the scheduler send an attempt to a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlacementKind {
    /// A slot was idle.
    #[default]
    IdleSlot,
    /// So that a slot that falls free need not ask.
    AheadOfSlots,
    /// It belongs to a batch with one that was sent ahead.
    Company,
    /// The worker was kept free for it.
    KeptFree,
    /// The worker had it when it registered.
    Adopted,
    /// A slot was idle, and the first attempt runs far too long, or its worker's connection is broken.
    SecondAttempt,
}

impl Scheduler {
    /// Why a job waits or went where it is; `None` for a job that is not known (any more). Looks at every worker:
    /// meant for people, not for loops.
    #[must_use]
    pub fn explain(&self, id: JobId) -> Option<Explanation> {
        if let Some(finished) = self.finished(id) {
            let Finished { arrived, prediction, failed, .. } = *finished;
            return Some(Explanation { arrived, prediction, reserved: 0, failed, state: Condition::Done });
        }
        let job = self.jobs.get(id)?;
        let demand = job.class.and_then(|class| self.classes.demand(class));
        Some(Explanation {
            arrived: job.arrived,
            prediction: job.prediction,
            reserved: demand.map_or(0, |demand| demand.memory),
            failed: job.troubles().spent,
            state: self.condition(id, job, demand),
        })
    }

    fn condition(&self, id: JobId, job: &Job, demand: Option<&Demand>) -> Condition {
        match job.state() {
            JobState::AwaitingAdoption => Condition::AwaitingAdoption,
            JobState::Waiting => Condition::Waiting {
                obstacles: demand.map(|demand| self.obstacles(job, demand)).unwrap_or_default(),
                turn: self.turn_order(id, job),
            },
            JobState::Held(hold) => Condition::Placed {
                worker: hold.worker,
                number: hold.number,
                started: hold.progress == Progress::Started,
                placement: hold.placement,
                awaits_permission: self.jobs.awaits_permission(hold.worker, hold.attempt(id)),
                second: self.seconds.get(id).map(|second| SecondAttempt {
                    worker: second.worker,
                    number: second.number,
                    started: second.progress == Progress::Started,
                }),
            },
            JobState::Cancelling { .. } => Condition::Cancelling,
        }
    }

    fn turn_order(&self, id: JobId, job: &Job) -> TurnOrder {
        let (users, builds, jobs) = self.place_of(id).and_then(|place| self.queue.ahead_of(&place)).unwrap_or_default();
        TurnOrder { users, builds, jobs, overdue: job.arrived < self.queue.overdue(self.now) }
    }

    fn obstacles(&self, job: &Job, demand: &Demand) -> Obstacles {
        let mut seen = Obstacles::default();
        for (id, worker) in self.workers.iter() {
            seen.workers += 1;
            *self.obstacle(job, demand, id, worker, &mut seen) += 1;
        }
        seen
    }

    fn obstacle<'a>(
        &self,
        job: &Job,
        demand: &Demand,
        id: WorkerId,
        worker: &Worker,
        seen: &'a mut Obstacles,
    ) -> &'a mut usize {
        let unmet = self.workers.group(worker.group()).and_then(|group| demand.unmet_by(&group.abilities));
        match unmet {
            Some(Unmet::Mount) => return &mut seen.mount,
            Some(Unmet::User) => return &mut seen.user,
            Some(Unmet::Toolchain) => return &mut seen.toolchain,
            Some(Unmet::CpuClass) => return &mut seen.cpu_class,
            Some(Unmet::Linking) => return &mut seen.linking,
            Some(Unmet::NoWorkers | Unmet::Memory | Unmet::Exhausted) | None => {}
        }
        match () {
            () if worker.memory() < demand.memory => &mut seen.too_small,
            () if demand.avoid.contains(&id) => &mut seen.tried,
            () if worker.draining => &mut seen.draining,
            () if worker.health.is_benched() => &mut seen.benched,
            () if worker.liveness == Liveness::Silent => &mut seen.silent,
            () if worker.kept_for.is_some() && worker.kept_for != job.class => &mut seen.kept,
            () if worker.idle() == 0 => &mut seen.busy,
            () if worker.free_memory() < demand.memory => &mut seen.memory,
            () if self.is_patient(job, id) => &mut seen.slow,
            () => &mut seen.free,
        }
    }
}
