//! Plans by one who knows the whole graph and what everything takes: a yardstick, and bounds that nobody can beat.
//!
//! Both plans are list schedules by critical path (the longest way to the end goes first): one takes the jobs strictly
//! in that order and gives each the slot where it ends first, even if that one is busy yet (HEFT: Topcuoglu, Hariri,
//! Wu, 2002); the other goes forward in time and never leaves a slot idle. The better of the two is the yardstick.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use super::fleet::{CLIENT_CPUS, COLD_DIR, Caches, Fleet};
use crate::graph::{BuildGraph, Edge, EdgeKind};

/// The better plan's makespan, and the caches as it leaves them.
#[must_use]
pub fn best_plan(graph: &BuildGraph, work: &[Duration], fleet: &Fleet, caches: &Caches) -> (Duration, Caches) {
    let plans = [Order::ByRank, Order::ByTime].map(|order| Plan::make(graph, work, fleet, caches.clone(), order));
    let [ranked, timed] = plans;
    if ranked.0 <= timed.0 { ranked } else { timed }
}

/// What no schedule can beat: all work spread evenly over all slots, or the critical path on the fastest worker with
/// nothing cold, whichever is longer.
#[must_use]
pub fn lower_bound(graph: &BuildGraph, work: &[Duration], fleet: &Fleet) -> Duration {
    let total = |which: fn(EdgeKind) -> bool| -> Duration {
        graph.edges.iter().zip(work).filter(|(edge, _)| which(edge.kind)).map(|(_, &work)| work).sum()
    };
    let remote = total(|kind| matches!(kind, EdgeKind::Remote(_))).div_f64(fleet.power().max(f64::MIN_POSITIVE));
    let local = total(|kind| kind == EdgeKind::Local) / u32::try_from(CLIENT_CPUS).unwrap_or(1);
    let path = to_the_end(graph, work, |edge, work| match edge.kind {
        EdgeKind::Remote(_) => work * 100 / fleet.top_speed() + fleet.client_one_way * 2,
        EdgeKind::Local | EdgeKind::Phony => work,
    });
    remote.max(local).max(path.into_iter().max().unwrap_or_default())
}

/// The longest way to the end from the start of each edge, itself included, on machines of usual speed.
pub(super) fn ranks(graph: &BuildGraph, work: &[Duration], fleet: &Fleet) -> Vec<Duration> {
    let usual_speed = u32::try_from((fleet.power() * 100.0 / fleet.slots() as f64) as u64).unwrap_or(100).max(1);
    to_the_end(graph, work, |edge, work| match edge.kind {
        EdgeKind::Remote(_) => work * 100 / usual_speed + fleet.client_one_way * 4,
        EdgeKind::Local | EdgeKind::Phony => work,
    })
}

fn to_the_end(graph: &BuildGraph, work: &[Duration], cost: impl Fn(&Edge, Duration) -> Duration) -> Vec<Duration> {
    let mut longest = vec![Duration::ZERO; graph.edges.len()];
    for (index, edge) in graph.edges.iter().enumerate().rev() {
        longest[index] += cost(edge, work[index]);
        for &need in edge.needs.iter() {
            longest[need] = longest[need].max(longest[index]);
        }
    }
    longest
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    ByRank,
    ByTime,
}

/// Where an edge goes, and when the client knows it to be done; the earliest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    end: Duration,
    worker: usize,
    slot: usize,
}

struct Plan<'a> {
    graph: &'a BuildGraph,
    work: &'a [Duration],
    fleet: &'a Fleet,
    caches: Caches,
    rank: Vec<Duration>,
    /// When each slot of each worker falls free; the client's CPUs come last.
    free: Vec<Vec<Duration>>,
    /// When the client knows each edge to be done.
    done: Vec<Duration>,
    unmet: Vec<usize>,
    waiters: Vec<Vec<usize>>,
}

impl<'a> Plan<'a> {
    fn make(
        graph: &'a BuildGraph,
        work: &'a [Duration],
        fleet: &'a Fleet,
        caches: Caches,
        order: Order,
    ) -> (Duration, Caches) {
        let rank = ranks(graph, work, fleet);
        let mut waiters = vec![Vec::new(); graph.edges.len()];
        for (index, edge) in graph.edges.iter().enumerate() {
            edge.needs.iter().for_each(|&need| waiters[need].push(index));
        }
        let mut free: Vec<Vec<Duration>> =
            fleet.machines.iter().map(|machine| vec![Duration::ZERO; machine.slots]).collect();
        free.push(vec![Duration::ZERO; CLIENT_CPUS]);
        let mut plan = Self {
            graph,
            work,
            fleet,
            caches,
            rank,
            free,
            done: vec![Duration::ZERO; graph.edges.len()],
            unmet: graph.edges.iter().map(|edge| edge.needs.len()).collect(),
            waiters,
        };
        match order {
            Order::ByRank => plan.by_rank(),
            Order::ByTime => plan.by_time(),
        }
        (plan.done.iter().copied().max().unwrap_or_default(), plan.caches)
    }

    fn by_rank(&mut self) {
        let mut ready: BTreeSet<_> = self.first().map(|edge| (Reverse(self.rank[edge]), edge)).collect();
        while let Some((_, edge)) = ready.pop_first() {
            let ready_at = self.ready_at(edge);
            let place = self.place_to_end_first(edge, ready_at, Duration::MAX);
            self.put(edge, place);
            ready.extend(self.freed_by(edge).into_iter().map(|edge| (Reverse(self.rank[edge]), edge)));
        }
    }

    /// Goes forward in time: at each moment the ready edges of the longest ways go to slots that are free by then.
    fn by_time(&mut self) {
        let mut waiting: BTreeSet<_> = self.first().map(|edge| (self.ready_at(edge), edge)).collect();
        // Those for workers, and those for the client.
        let mut ready: [BTreeSet<(Reverse<Duration>, usize)>; 2] = Default::default();
        let mut now = Duration::ZERO;
        loop {
            while let Some(&(at, edge)) = waiting.first().filter(|&&(at, _)| at <= now) {
                waiting.remove(&(at, edge));
                let side = usize::from(!matches!(self.graph.edges[edge].kind, EdgeKind::Remote(_)));
                ready[side].insert((Reverse(self.rank[edge]), edge));
            }
            let limit = now + self.longest_way();
            for (side, ready) in ready.iter_mut().enumerate() {
                while self.has_free(side, limit)
                    && let Some((_, edge)) = ready.pop_first()
                {
                    let place = self.place_to_end_first(edge, now, limit);
                    self.put(edge, place);
                    waiting.extend(self.freed_by(edge).into_iter().map(|edge| (self.ready_at(edge), edge)));
                }
            }
            let anybody_waits = ready.iter().any(|ready| !ready.is_empty());
            // A slot counts as free already while the job is on its way to it.
            let slots = self.free.iter().flatten().map(|free| free.saturating_sub(self.longest_way()));
            let slots = slots.filter(|&free| free > now && anybody_waits).min();
            let next = waiting.first().map(|&(at, _)| at).into_iter().chain(slots).min();
            match next {
                Some(next) => now = next.max(now),
                None => return,
            }
        }
    }

    /// Whether a worker (side 0) or the client (side 1) has a slot that is free by `limit`.
    fn has_free(&self, side: usize, limit: Duration) -> bool {
        let client = self.fleet.machines.len();
        let slots = if side == 0 { &self.free[..client] } else { &self.free[client..] };
        slots.iter().flatten().any(|&free| free <= limit)
    }

    fn longest_way(&self) -> Duration {
        let ways = self.fleet.machines.iter().map(|machine| machine.one_way);
        ways.max().unwrap_or_default() + self.fleet.client_one_way
    }

    fn first(&self) -> impl Iterator<Item = usize> + use<'a> {
        let graph = self.graph;
        (0..graph.edges.len()).filter(|&edge| graph.edges[edge].needs.is_empty())
    }

    fn ready_at(&self, edge: usize) -> Duration {
        self.graph.edges[edge].needs.iter().map(|&need| self.done[need]).max().unwrap_or_default()
    }

    /// Worker, slot and end there, where it ends first among the slots that are free by `limit`; nothing for a phony
    /// edge.
    fn place_to_end_first(&self, edge: usize, ready: Duration, limit: Duration) -> Option<Place> {
        let facts = &self.graph.edges[edge];
        let client = self.fleet.machines.len();
        let places = match facts.kind {
            EdgeKind::Phony => return None,
            EdgeKind::Local => client..client + 1,
            EdgeKind::Remote(_) => 0..client,
        };
        let on = |worker: usize| {
            let (slot, &free) = self.free[worker].iter().enumerate().min_by_key(|&(slot, &free)| (free, slot))?;
            if free > limit {
                return None;
            }
            let (way, time) = match self.fleet.machines.get(worker) {
                Some(machine) => {
                    let cold = COLD_DIR * self.caches.missing(worker, facts);
                    (machine.one_way + self.fleet.client_one_way, machine.time_for(self.work[edge]) + cold)
                }
                None => (Duration::ZERO, self.work[edge]),
            };
            Some(Place { end: free.max(ready + way) + time + way, worker, slot })
        };
        places.filter_map(on).min()
    }

    fn put(&mut self, edge: usize, place: Option<Place>) {
        let Some(Place { end, worker, slot }) = place else {
            self.done[edge] = self.ready_at(edge);
            return;
        };
        let way = match self.fleet.machines.get(worker) {
            Some(machine) => {
                self.caches.touch(worker, &self.graph.edges[edge]);
                machine.one_way + self.fleet.client_one_way
            }
            None => Duration::ZERO,
        };
        self.free[worker][slot] = end - way;
        self.done[edge] = end;
    }

    fn freed_by(&mut self, edge: usize) -> Vec<usize> {
        let mut freed = Vec::new();
        for waiter in std::mem::take(&mut self.waiters[edge]) {
            self.unmet[waiter] -= 1;
            if self.unmet[waiter] == 0 {
                freed.push(waiter);
            }
        }
        freed
    }
}
