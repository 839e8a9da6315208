//! The scheduler of the product, driven by its inputs and actions alone.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ids::{Attempt, BuildId, Incarnation, JobId, OutputKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Commit, Config, Input, Scheduler, SubmittedJob, WorkerFacts};

use crate::graph::{BuildGraph, Edge, EdgeKind};
use crate::makespan::engine::{News, Order, Policy};
use crate::makespan::fleet::Fleet;

/// The scheduler, and how edges and jobs, workers and their numbers correspond.
#[derive(Debug)]
pub struct Ours<'a> {
    scheduler: Scheduler,
    graph: &'a BuildGraph,
    /// Which build this is, of those that this scheduler has seen: part of the jobs' ids.
    build: u32,
    /// The attempt number last given for each edge to each worker.
    numbers: BTreeMap<(usize, usize), u32>,
    /// Whether jobs tell their directories.
    tells_dirs: bool,
}

impl<'a> Ours<'a> {
    /// The scheduler as the server would configure it, all workers registered. Without `tells_dirs` it cannot know
    /// what is warm where. Without `isolates` nothing is tried twice.
    #[must_use]
    pub fn new(graph: &'a BuildGraph, fleet: &Fleet, tells_dirs: bool, isolates: bool) -> Self {
        // Nobody falls silent in these builds, and heartbeats would only make them slower to simulate.
        let config = Config { lease: Duration::from_secs(1_000_000), ..Config::default() };
        let scheduler = Scheduler::new(config).unwrap_or_else(|error| panic!("impossible settings: {error}"));
        let mut ours = Self { scheduler, graph, build: 0, numbers: BTreeMap::new(), tells_dirs };
        for (number, machine) in (0..).zip(&fleet.machines) {
            let facts = WorkerFacts {
                incarnation: Incarnation::from_bytes([1; 16]),
                slots: u32::try_from(machine.slots).unwrap_or(u32::MAX),
                linking: true,
                toolchains: vec![],
                mounts: vec![],
                only_user: None,
                memory: machine.memory,
                cpu_class: None,
                isolates,
                speed: Speed::new(machine.says),
            };
            let registered = Input::WorkerRegistered { worker: WorkerId::new(number), facts, holding: vec![] };
            ours.scheduler.step(Timestamp::ZERO, registered, &mut Vec::new());
        }
        ours
    }

    /// The next build by the same scheduler, with all that it learned.
    pub fn begin_another_build(&mut self) {
        self.build += 1;
        self.numbers.clear();
    }

    fn job(&self, edge: usize) -> JobId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.build.to_be_bytes());
        bytes[8..].copy_from_slice(&(edge as u64).to_be_bytes());
        JobId::from_bytes(bytes)
    }

    fn edge(attempt: Attempt) -> usize {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&attempt.job.as_bytes()[8..]);
        usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX)
    }

    fn attempt(&self, worker: usize, edge: usize) -> Attempt {
        Attempt { job: self.job(edge), number: self.numbers.get(&(worker, edge)).copied().unwrap_or(0) }
    }

    fn input(&self, news: News) -> Input {
        let id = |worker: usize| WorkerId::new(u32::try_from(worker).unwrap_or(u32::MAX));
        match news {
            News::Submitted(edge) => {
                let job = SubmittedJob { id: self.job(edge), facts: self.facts(edge), resubmitted: false };
                Input::JobsSubmitted { client: ClientId(edge as u64), jobs: vec![job] }
            }
            News::Started { worker, edge } => {
                Input::AttemptStarted { worker: id(worker), attempt: self.attempt(worker, edge) }
            }
            News::Ready { worker, edge } => {
                Input::AttemptReady { worker: id(worker), attempt: self.attempt(worker, edge) }
            }
            News::Cancelled { worker, edge } => {
                let result = Err(AttemptFailure::Cancelled);
                Input::AttemptEnded { worker: id(worker), attempt: self.attempt(worker, edge), result }
            }
            News::Ended { worker, edge, wall } => {
                let peak_memory = self.graph.edges[edge].peak_memory;
                let usage = ResourceUsage { wall, user: wall, system: Duration::ZERO, peak_memory };
                let result = Ok(Outcome { exit: ExitStatus::Code(0), usage });
                Input::AttemptEnded { worker: id(worker), attempt: self.attempt(worker, edge), result }
            }
            News::HandedBack { worker, edge } => {
                let result = Err(AttemptFailure::HandedBack);
                Input::AttemptEnded { worker: id(worker), attempt: self.attempt(worker, edge), result }
            }
            News::Wake => Input::Wake,
        }
    }

    fn facts(&self, edge: usize) -> JobFacts {
        let edge = &self.graph.edges[edge];
        let kind = if let EdgeKind::Remote(kind) = edge.kind { kind } else { JobKind::Compile };
        JobFacts {
            dirs: if self.tells_dirs { edge.dirs.clone() } else { vec![] },
            input_bytes: edge.input_bytes,
            output: Some(OutputKey::new(edge.output.digest())),
            inputs: self.inputs(edge, kind),
            ..JobFacts::new(UserId::new(1000), BuildId::new(1), kind)
        }
    }

    /// What a link or an archiver names: what is made by commands that ran on workers.
    fn inputs(&self, edge: &Edge, kind: JobKind) -> Vec<OutputKey> {
        if !matches!(kind, JobKind::Link | JobKind::Archive) {
            return Vec::new();
        }
        let makers = edge.needs.iter().map(|&need| &self.graph.edges[need]);
        let remote = makers.filter(|maker| matches!(maker.kind, EdgeKind::Remote(_)));
        remote.map(|maker| OutputKey::new(maker.output.digest())).collect()
    }

    fn follow(&mut self, action: Action, orders: &mut Vec<Order>) {
        let place = |worker: WorkerId| usize::try_from(worker.number()).unwrap_or(usize::MAX);
        match action {
            Action::Assign { worker, attempts, commit } => {
                for attempt in attempts {
                    let edge = Self::edge(attempt);
                    self.numbers.insert((place(worker), edge), attempt.number);
                    let waits = commit == Commit::WhenPermitted;
                    orders.push(Order::Assign { worker: place(worker), edge, waits });
                }
            }
            Action::Recall { worker, attempt } => {
                orders.push(Order::Recall { worker: place(worker), edge: Self::edge(attempt) });
            }
            Action::PermitCommit { worker, attempt } => {
                orders.push(Order::Permit { worker: place(worker), edge: Self::edge(attempt) });
            }
            Action::Cancel { worker, attempt } => {
                orders.push(Order::Cancel { worker: place(worker), edge: Self::edge(attempt) });
            }
            // The engine tells the client itself.
            Action::Complete { .. } | Action::Forget { .. } => {}
            unexpected => panic!("nothing goes wrong here, and yet: {unexpected:?}"),
        }
    }
}

impl Policy for Ours<'_> {
    fn hear(&mut self, now: Timestamp, news: News, orders: &mut Vec<Order>) {
        let mut actions = Vec::new();
        let input = self.input(news);
        self.scheduler.step(now, input, &mut actions);
        for action in actions {
            self.follow(action, orders);
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        self.scheduler.next_deadline()
    }
}
