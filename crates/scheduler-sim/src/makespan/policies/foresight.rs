//! A list schedule by one who knows the whole graph and what everything takes, but not by one who could also change
//! how `ninja` behaves: it gives out what the client has asked for, over the same ways as everybody.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use model::time::Timestamp;

use crate::graph::{BuildGraph, EdgeKind};
use crate::makespan::engine::{News, Order, Policy};
use crate::makespan::fleet::{COLD_DIR, Caches, Fleet};

/// Jobs of the queue that are planned at a time by who lets slots idle: those behind them are not looked at. Who leaves
/// none idle looks at all for which there is a slot.
const HORIZON: usize = 128;

/// Whether a job may wait for a fast slot beside an idle one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It goes where it ends first, even if that is a slot which is busy yet (HEFT).
    EarliestEnd,
    /// No slot idles while something waits.
    NeverIdle,
}

/// What is to be given out, and when each slot will be free.
#[derive(Debug)]
pub struct Foresight<'a> {
    graph: &'a BuildGraph,
    work: &'a [Duration],
    fleet: &'a Fleet,
    patience: Patience,
    caches: Caches,
    rank: Vec<Duration>,
    waiting: BTreeSet<(Reverse<Duration>, usize)>,
    /// When each slot of each worker falls free, the first of a worker first.
    free: Vec<Vec<Timestamp>>,
    wake: Option<Timestamp>,
}

impl<'a> Foresight<'a> {
    /// For one build whose edges take `work`, with caches as they are when it starts.
    #[must_use]
    pub fn new(
        graph: &'a BuildGraph,
        work: &'a [Duration],
        fleet: &'a Fleet,
        caches: Caches,
        patience: Patience,
    ) -> Self {
        let rank = crate::makespan::clairvoyant::ranks(graph, work, fleet);
        let free = fleet.machines.iter().map(|machine| vec![Timestamp::ZERO; machine.slots]).collect();
        Self { graph, work, fleet, patience, caches, rank, waiting: BTreeSet::new(), free, wake: None }
    }

    fn plan(&mut self, now: Timestamp, orders: &mut Vec<Order>) {
        let mut free = self.free.clone();
        let mut next: Option<Timestamp> = None;
        let horizon = match self.patience {
            Patience::EarliestEnd => HORIZON,
            Patience::NeverIdle => self.free.iter().map(Vec::len).sum(),
        };
        let ahead: Vec<_> = self.waiting.iter().take(horizon).copied().collect();
        for entry in ahead {
            let Some((worker, end)) = self.place(entry.1, now, &free) else { break };
            let reachable = now + self.fleet.machines[worker].one_way;
            let starts_at_once = free[worker][0] <= reachable;
            if starts_at_once {
                self.waiting.remove(&entry);
                self.caches.touch(worker, &self.graph.edges[entry.1]);
                orders.push(Order::Assign { worker, edge: entry.1, waits: false });
                occupy(&mut self.free[worker], end);
            } else {
                let at = before(free[worker][0], self.fleet.machines[worker].one_way);
                next = Some(next.map_or(at, |next| next.min(at)));
            }
            occupy(&mut free[worker], end);
        }
        if self.waiting.is_empty() {
            next = None;
        } else if next.is_none() && self.patience == Patience::EarliestEnd {
            // All that was looked at has gone.
            next = Some(now);
        } else if self.patience == Patience::NeverIdle {
            let slots = self.free.iter().zip(&self.fleet.machines);
            next = slots
                .map(|(free, machine)| before(free[0], machine.one_way))
                .filter(|&at| at > now)
                .min()
                .or(Some(now));
        }
        self.wake = next;
    }

    /// The worker where it ends first, and when its slot is free again.
    fn place(&self, edge: usize, now: Timestamp, free: &[Vec<Timestamp>]) -> Option<(usize, Timestamp)> {
        let facts = &self.graph.edges[edge];
        let on = |(worker, slots): (usize, &Vec<Timestamp>)| {
            let machine = &self.fleet.machines[worker];
            let arrives = now + machine.one_way;
            if self.patience == Patience::NeverIdle && slots[0] > arrives {
                return None;
            }
            let cold = COLD_DIR * self.caches.missing(worker, facts);
            let end = slots[0].max(arrives) + machine.time_for(self.work[edge]) + cold;
            Some((end + machine.one_way, worker, end))
        };
        free.iter().enumerate().filter_map(on).min().map(|(_, worker, end)| (worker, end))
    }
}

/// The first slot of the worker is taken until then.
fn occupy(slots: &mut [Timestamp], until: Timestamp) {
    slots[0] = until;
    slots.sort_unstable();
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

impl Policy for Foresight<'_> {
    fn hear(&mut self, now: Timestamp, news: News, orders: &mut Vec<Order>) {
        match news {
            News::Submitted(edge) => {
                debug_assert!(matches!(self.graph.edges[edge].kind, EdgeKind::Remote(_)));
                self.waiting.insert((Reverse(self.rank[edge]), edge));
                // Not before everything is there that comes at the same moment.
                self.wake = Some(now);
            }
            News::Wake if self.wake.is_some_and(|wake| wake <= now) => self.plan(now, orders),
            _ => {}
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        self.wake
    }
}
