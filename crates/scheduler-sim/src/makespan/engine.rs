//! A build on a fleet where nothing goes wrong: a client like `ninja -jN`, the ways between the machines, workers that
//! run what they are sent in order. Who gets what is a [`Policy`]'s business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::time::Timestamp;

use super::fleet::{CLIENT_CPUS, COLD_DIR, Caches, Fleet};
use crate::graph::{BuildGraph, EdgeKind};

/// What a policy orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this edge on this worker, after what it was sent before.
    Assign {
        /// Whom.
        worker: usize,
        /// What.
        edge: usize,
        /// Whether its end waits for [`Order::Permit`]: it runs elsewhere too.
        waits: bool,
    },
    /// Let this edge, which runs elsewhere too, end.
    Permit {
        /// Whom.
        worker: usize,
        /// What.
        edge: usize,
    },
    /// Kill this edge, or drop it.
    Cancel {
        /// Whom.
        worker: usize,
        /// What.
        edge: usize,
    },
    /// Hand this edge back if it has not started.
    Recall {
        /// Whom.
        worker: usize,
        /// What.
        edge: usize,
    },
}

/// What workers and the client tell a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The client wants this edge done.
    Submitted(usize),
    /// A worker started it.
    Started {
        /// Which worker.
        worker: usize,
        /// Which edge.
        edge: usize,
    },
    /// A worker has done it; it took so long there.
    Ended {
        /// Which worker.
        worker: usize,
        /// Which edge.
        edge: usize,
        /// How long.
        wall: Duration,
    },
    /// A worker has done it and waits for [`Order::Permit`].
    Ready {
        /// Which worker.
        worker: usize,
        /// Which edge.
        edge: usize,
    },
    /// A worker has killed it.
    Cancelled {
        /// Which worker.
        worker: usize,
        /// Which edge.
        edge: usize,
    },
    /// A worker handed it back.
    HandedBack {
        /// Which worker.
        worker: usize,
        /// Which edge.
        edge: usize,
    },
    /// Only time passed.
    Wake,
}

/// Who decides which worker gets which edge, and when.
pub trait Policy {
    /// Hears news; says what follows.
    fn hear(&mut self, now: Timestamp, news: News, orders: &mut Vec<Order>);

    /// When it wants [`News::Wake`] if nothing else comes.
    fn next_wake(&self) -> Option<Timestamp> {
        None
    }
}

/// How a build went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// From its start until the client knew everything to be done.
    pub makespan: Duration,
    /// Commands that ran on workers.
    pub remote: usize,
    /// Those of them that found their output's directory warm.
    pub warm: usize,
}

#[derive(Debug)]
enum Event {
    AtServer(News),
    AtWorker(usize, Order),
    Finished { worker: usize, edge: usize },
    LocalDone(usize),
    AtClient(usize),
    Wake,
}

#[derive(Debug, Default)]
struct Worker {
    waiting: VecDeque<usize>,
    running: BTreeMap<usize, Execution>,
    /// Of those that wait or run, those whose end waits for permission.
    unpermitted: BTreeSet<usize>,
}

#[derive(Debug)]
struct Execution {
    wall: Duration,
    is_done: bool,
}

/// How many times longer than usual a command takes that strikes a bad moment of its machine.
pub const BAD_MOMENT: u32 = 10;

/// What the edges of a build take, one time.
#[derive(Clone, Copy, Debug)]
pub struct Effort<'a> {
    /// Of each edge, at speed 100.
    pub work: &'a [Duration],
    /// Edges whose first execution strikes a bad moment of its machine, and takes [`BAD_MOMENT`] times as long.
    pub unlucky: &'a BTreeSet<usize>,
}

/// One build under way.
struct Engine<'a> {
    graph: &'a BuildGraph,
    /// What each edge takes this time, at speed 100.
    work: &'a [Duration],
    /// Edges whose first execution strikes a bad moment.
    unlucky: BTreeSet<usize>,
    fleet: &'a Fleet,
    caches: &'a mut Caches,
    policy: &'a mut dyn Policy,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    events: u64,
    wake_at: Option<Timestamp>,
    workers: Vec<Worker>,
    /// Unmet needs of each edge.
    unmet: Vec<usize>,
    waiters: Vec<Vec<usize>>,
    /// Whose needs are met, in ninja's order.
    ready: BTreeSet<usize>,
    outstanding: usize,
    jobs: usize,
    local_waiting: VecDeque<usize>,
    local_running: usize,
    left: usize,
    run: Run,
}

/// Builds `graph`, whose edges take `effort` this time, with `-j jobs`, starting at `start`; `caches` are used and
/// warmed.
///
/// # Panics
/// If the policy leaves the build unfinished: a bug of the policy.
pub fn build(
    graph: &BuildGraph,
    effort: Effort<'_>,
    fleet: &Fleet,
    caches: &mut Caches,
    jobs: usize,
    start: Timestamp,
    policy: &mut dyn Policy,
) -> Run {
    let mut waiters = vec![Vec::new(); graph.edges.len()];
    for (index, edge) in graph.edges.iter().enumerate() {
        edge.needs.iter().for_each(|&need| waiters[need].push(index));
    }
    let unmet: Vec<usize> = graph.edges.iter().map(|edge| edge.needs.len()).collect();
    let mut engine = Engine {
        graph,
        work: effort.work,
        unlucky: effort.unlucky.clone(),
        fleet,
        caches,
        policy,
        now: start,
        agenda: BTreeMap::new(),
        events: 0,
        wake_at: None,
        workers: fleet.machines.iter().map(|_| Worker::default()).collect(),
        ready: (0..graph.edges.len()).filter(|&index| unmet[index] == 0).collect(),
        unmet,
        waiters,
        outstanding: 0,
        jobs,
        local_waiting: VecDeque::new(),
        local_running: 0,
        left: graph.edges.len(),
        run: Run::default(),
    };
    engine.start_ready();
    while engine.left > 0 {
        let next = engine.agenda.pop_first();
        let Some(((now, _), event)) = next else { panic!("the policy forgot {} edges", engine.left) };
        engine.now = now;
        engine.happen(event);
    }
    engine.run.makespan = engine.now.since(start);
    engine.run
}

impl Engine<'_> {
    fn happen(&mut self, event: Event) {
        match event {
            Event::AtServer(news) => self.tell_policy(news),
            Event::AtWorker(worker, order) => self.on_order(worker, order),
            Event::Finished { worker, edge } => self.on_finished(worker, edge),
            Event::LocalDone(edge) => {
                self.local_running -= 1;
                self.on_done(edge);
                self.start_local();
            }
            Event::AtClient(edge) => self.on_done(edge),
            // An earlier wake has come before it otherwise, and made a new appointment.
            Event::Wake if self.wake_at == Some(self.now) => {
                self.wake_at = None;
                self.tell_policy(News::Wake);
            }
            Event::Wake => {}
        }
    }

    fn on_done(&mut self, edge: usize) {
        self.outstanding -= 1;
        self.meet(edge);
        self.start_ready();
    }

    fn meet(&mut self, edge: usize) {
        self.left -= 1;
        for waiter in std::mem::take(&mut self.waiters[edge]) {
            self.unmet[waiter] -= 1;
            if self.unmet[waiter] == 0 {
                self.ready.insert(waiter);
            }
        }
    }

    /// What ninja does whenever something ends: starts what is ready, up to its limit.
    fn start_ready(&mut self) {
        while self.outstanding < self.jobs
            && let Some(edge) = self.ready.pop_first()
        {
            match self.graph.edges[edge].kind {
                EdgeKind::Phony => self.meet(edge),
                EdgeKind::Local => {
                    self.outstanding += 1;
                    self.local_waiting.push_back(edge);
                }
                EdgeKind::Remote(_) => {
                    self.outstanding += 1;
                    let at = self.now + self.fleet.client_one_way;
                    self.at(at, Event::AtServer(News::Submitted(edge)));
                }
            }
        }
        self.start_local();
    }

    fn start_local(&mut self) {
        while self.local_running < CLIENT_CPUS
            && let Some(edge) = self.local_waiting.pop_front()
        {
            self.local_running += 1;
            self.at(self.now + self.work[edge], Event::LocalDone(edge));
        }
    }

    fn tell_policy(&mut self, news: News) {
        let mut orders = Vec::new();
        self.policy.hear(self.now, news, &mut orders);
        if let News::Ended { edge, .. } = news {
            self.at(self.now + self.fleet.client_one_way, Event::AtClient(edge));
        }
        for order in orders {
            let (Order::Assign { worker, .. }
            | Order::Permit { worker, .. }
            | Order::Cancel { worker, .. }
            | Order::Recall { worker, .. }) = order;
            let at = self.now + self.fleet.machines[worker].one_way;
            self.at(at, Event::AtWorker(worker, order));
        }
        if let Some(wake) = self.policy.next_wake()
            && self.wake_at.is_none_or(|planned| wake < planned)
        {
            let wake = wake.max(self.now);
            self.wake_at = Some(wake);
            self.at(wake, Event::Wake);
        }
    }

    fn on_order(&mut self, worker: usize, order: Order) {
        match order {
            Order::Assign { edge, waits, .. } => {
                if waits {
                    self.workers[worker].unpermitted.insert(edge);
                }
                self.workers[worker].waiting.push_back(edge);
                self.start_at(worker);
            }
            Order::Permit { edge, .. } => {
                self.workers[worker].unpermitted.remove(&edge);
                if self.workers[worker].running.get(&edge).is_some_and(|execution| execution.is_done) {
                    self.on_finished(worker, edge);
                }
            }
            Order::Cancel { edge, .. } => {
                let at = &mut self.workers[worker];
                at.waiting.retain(|&other| other != edge);
                at.unpermitted.remove(&edge);
                at.running.remove(&edge);
                self.report(worker, News::Cancelled { worker, edge });
                self.start_at(worker);
            }
            Order::Recall { edge, .. } => {
                let waiting = &mut self.workers[worker].waiting;
                if let Some(place) = waiting.iter().position(|&other| other == edge) {
                    waiting.remove(place);
                    self.report(worker, News::HandedBack { worker, edge });
                }
            }
        }
    }

    /// The command has ended; what was cancelled does not run any more.
    fn on_finished(&mut self, worker: usize, edge: usize) {
        let at = &mut self.workers[worker];
        let Some(execution) = at.running.get_mut(&edge) else { return };
        if at.unpermitted.contains(&edge) {
            execution.is_done = true;
            self.report(worker, News::Ready { worker, edge });
            return;
        }
        let wall = execution.wall;
        at.running.remove(&edge);
        self.report(worker, News::Ended { worker, edge, wall });
        self.start_at(worker);
    }

    fn start_at(&mut self, worker: usize) {
        let machine = &self.fleet.machines[worker];
        while self.workers[worker].running.len() < machine.slots
            && let Some(edge) = self.workers[worker].waiting.pop_front()
        {
            let facts = &self.graph.edges[edge];
            self.run.remote += 1;
            self.run.warm += usize::from(self.caches.is_warm(worker, facts));
            let wall = machine.time_for(self.work[edge]) + COLD_DIR * self.caches.missing(worker, facts);
            let wall = if self.unlucky.remove(&edge) { wall * BAD_MOMENT } else { wall };
            self.caches.touch(worker, facts);
            self.workers[worker].running.insert(edge, Execution { wall, is_done: false });
            self.report(worker, News::Started { worker, edge });
            self.at(self.now + wall, Event::Finished { worker, edge });
        }
    }

    fn report(&mut self, worker: usize, news: News) {
        let at = self.now + self.fleet.machines[worker].one_way;
        self.at(at, Event::AtServer(news));
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.events += 1;
        self.agenda.insert((at, self.events), event);
    }
}
