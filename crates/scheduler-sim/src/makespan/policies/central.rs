//! Simple policies of a central queue: first come, first served, each job to a worker that can start it.

use std::collections::VecDeque;
use std::time::Duration;

use model::time::Timestamp;

use crate::graph::BuildGraph;
use crate::makespan::engine::{News, Order, Policy};
use crate::makespan::fleet::Fleet;
use crate::rng::Rng;

/// How a worker is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The first in the order of registration that has a free slot: distccGo.
    FirstFit,
    /// Any with a free slot.
    Random,
    /// The fastest by what it has done so far, less the more it has to do, as `scheduler.cpp` of icecream 1.4 does:
    /// each worker one job first, then by speed times load, and one job more than its slots when all are full. It is
    /// treated well here: speeds are learned from true work, not from the size of outputs.
    Icecream,
}

/// A queue and a way to pick.
#[derive(Debug)]
pub struct Central<'a> {
    graph: &'a BuildGraph,
    fleet: &'a Fleet,
    pick: Pick,
    rng: Rng,
    queue: VecDeque<usize>,
    held: Vec<usize>,
    /// Work done, and the time that it took, of each worker.
    done: Vec<(Duration, Duration)>,
}

impl<'a> Central<'a> {
    /// Nothing queued, nothing learned.
    #[must_use]
    pub fn new(graph: &'a BuildGraph, fleet: &'a Fleet, pick: Pick, seed: u64) -> Self {
        let workers = fleet.machines.len();
        let done = vec![(Duration::ZERO, Duration::ZERO); workers];
        Self { graph, fleet, pick, rng: Rng::new(seed), queue: VecDeque::new(), held: vec![0; workers], done }
    }

    fn place(&mut self, orders: &mut Vec<Order>) {
        while !self.queue.is_empty()
            && let Some(worker) = self.worker()
            && let Some(edge) = self.queue.pop_front()
        {
            self.held[worker] += 1;
            orders.push(Order::Assign { worker, edge, waits: false });
        }
    }

    fn worker(&mut self) -> Option<usize> {
        let slots = |worker: usize| self.fleet.machines[worker].slots;
        let free: Vec<usize> = (0..self.held.len()).filter(|&worker| self.held[worker] < slots(worker)).collect();
        match self.pick {
            Pick::FirstFit => free.first().copied(),
            Pick::Random => self.rng.pick(&free),
            Pick::Icecream => {
                let untried = |worker: &usize| self.held[*worker] == 0 && self.done[*worker].1.is_zero();
                let by_speed = |a: &usize, b: &usize| self.speed(*a).total_cmp(&self.speed(*b)).then(b.cmp(a));
                let new = (0..self.held.len()).find(untried);
                let preload = (0..self.held.len()).filter(|&worker| self.held[worker] == slots(worker));
                new.or_else(|| free.into_iter().max_by(by_speed)).or_else(|| preload.max_by(by_speed))
            }
        }
    }

    fn speed(&self, worker: usize) -> f64 {
        let (work, time) = self.done[worker];
        let rate = if time.is_zero() { 0.0 } else { work.as_secs_f64() / time.as_secs_f64() };
        rate * (1.0 - 0.5 * self.held[worker] as f64 / self.fleet.machines[worker].slots as f64)
    }
}

impl Policy for Central<'_> {
    fn hear(&mut self, _: Timestamp, news: News, orders: &mut Vec<Order>) {
        match news {
            News::Submitted(edge) => self.queue.push_back(edge),
            News::Ended { worker, edge, wall } => {
                self.held[worker] -= 1;
                self.done[worker].0 += self.graph.edges[edge].work;
                self.done[worker].1 += wall;
            }
            News::Started { .. }
            | News::Ready { .. }
            | News::Cancelled { .. }
            | News::HandedBack { .. }
            | News::Wake => {}
        }
        self.place(orders);
    }
}
