//! How long recorded builds take on simulated fleets: under the scheduler, under what others do, and under a plan by
//! one who knows everything beforehand. Nothing goes wrong here; the worlds are for that.
//!
//! Each build is done twice by the same policy: the first time nothing is known and every cache is cold, the second
//! time history is there and caches are as the first build left them. Each command takes up to 15 % more or less than
//! recorded, anew each time.

pub mod clairvoyant;
pub mod engine;
pub mod fleet;
pub mod policies;
pub mod report;

use std::collections::BTreeSet;
use std::time::Duration;

use model::time::Timestamp;

use crate::graph::BuildGraph;
use crate::rng::Rng;
use engine::{Effort, Policy, Run};
use fleet::{Caches, Fleet};
use policies::central::{Central, Pick};
use policies::foresight::{Foresight, Patience};
use policies::ours::Ours;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The scheduler.
    Ours,
    /// The scheduler, on workers that isolate: stragglers get second attempts.
    OursTwice,
    /// The scheduler, not told the jobs' directories.
    OursWithoutWarmth,
    /// First come, first served by the first worker with a free slot, as distccGo.
    FirstFit,
    /// By speed times load, as icecream.
    Icecream,
    /// By chance.
    Random,
}

impl Who {
    /// Everybody.
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::OursTwice, Self::OursWithoutWarmth, Self::FirstFit, Self::Icecream, Self::Random];

    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "distccd",
            Self::OursTwice => "distccd, stragglers twice",
            Self::OursWithoutWarmth => "without warmth",
            Self::FirstFit => "first fit",
            Self::Icecream => "icecream",
            Self::Random => "random",
        }
    }
}

/// The first build, and the second after it.
pub type Twice<T> = [T; 2];

/// One fleet, one graph, one seed: what a clairvoyant would need, and no one can beat.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick {
    /// See [`clairvoyant::best_plan`].
    pub plan: Twice<Duration>,
    /// The same by one who knows as much and is asked by the same client, over the same ways, as everybody: the
    /// better of two, see [`policies::foresight`].
    pub list: Twice<Duration>,
    /// The one of the two that leaves no slot idle beside a job that waits, as we promise and as a list schedule does by
    /// its definition (Graham, "Bounds on multiprocessing timing anomalies", 1969).
    pub busy: Twice<Duration>,
    /// See [`clairvoyant::lower_bound`].
    pub bound: Twice<Duration>,
}

/// A build to be done twice on a fleet.
#[derive(Debug)]
pub struct Trial<'a> {
    graph: &'a BuildGraph,
    fleet: Fleet,
    seed: u64,
    /// What each edge takes, each time.
    work: Twice<Vec<Duration>>,
    /// Edges whose first execution strikes a bad moment of its machine, each time.
    unlucky: Twice<BTreeSet<usize>>,
    /// `ninja -j`.
    jobs: usize,
}

impl<'a> Trial<'a> {
    /// The seed makes the fleet and what commands take; ninja has twice as many jobs as the fleet has slots.
    #[must_use]
    pub fn new(graph: &'a BuildGraph, workers: usize, seed: u64) -> Self {
        let fleet = Fleet::mixed(workers, seed);
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut work = || graph.edges.iter().map(|edge| edge.work * percent(&mut rng) / 100).collect();
        let work = [work(), work()];
        let jobs = fleet.slots() * 2;
        Self { graph, fleet, seed, work, unlucky: Twice::default(), jobs }
    }

    /// The same, but one command in `so_many` strikes a bad moment: see [`engine::BAD_MOMENT`].
    #[must_use]
    pub fn with_one_unlucky_in(mut self, so_many: u64) -> Self {
        let mut rng = Rng::new(self.seed ^ 0xbad);
        let edges = self.graph.edges.len();
        self.unlucky = [0, 1].map(|_| (0..edges).filter(|_| rng.between(1, so_many) == 1).collect());
        self
    }

    /// Slots of the fleet.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.fleet.slots()
    }

    /// What it could be at best.
    #[must_use]
    pub fn yardstick(&self) -> Yardstick {
        let cold = Caches::cold(self.fleet.machines.len());
        let (first, warm) = clairvoyant::best_plan(self.graph, &self.work[0], &self.fleet, &cold);
        let (second, _) = clairvoyant::best_plan(self.graph, &self.work[1], &self.fleet, &warm);
        let bound = [0, 1].map(|time: usize| clairvoyant::lower_bound(self.graph, &self.work[time], &self.fleet));
        let list = self.list(&[Patience::EarliestEnd, Patience::NeverIdle]);
        Yardstick { plan: [first, second], list, busy: self.list(&[Patience::NeverIdle]), bound }
    }

    /// What a list schedule makes of it whose jobs come as ninja sends them: the best of these. Nobody strikes a bad
    /// moment there.
    fn list(&self, rules: &[Patience]) -> Twice<Duration> {
        let mut caches = Caches::cold(self.fleet.machines.len());
        [0, 1].map(|time: usize| {
            let runs = rules.iter().map(|&patience| {
                let mut touched = caches.clone();
                let work = &self.work[time];
                let mut policy = Foresight::new(self.graph, work, &self.fleet, caches.clone(), patience);
                let effort = Effort { work, unlucky: &BTreeSet::new() };
                let start = Timestamp::from_millis(1_000);
                let run = engine::build(self.graph, effort, &self.fleet, &mut touched, self.jobs, start, &mut policy);
                (run.makespan, touched)
            });
            let best = runs.min_by_key(|&(makespan, _)| makespan);
            let (makespan, touched) = best.unwrap_or_else(|| (Duration::MAX, Caches::cold(0)));
            caches = touched;
            makespan
        })
    }

    /// What it is.
    #[must_use]
    pub fn run(&self, who: Who) -> Twice<Run> {
        let ours = |tells_dirs, isolates| Ours::new(self.graph, &self.fleet, tells_dirs, isolates);
        let central = |pick| Central::new(self.graph, &self.fleet, pick, self.seed);
        match who {
            Who::Ours => self.twice(&mut ours(true, false), Ours::begin_another_build),
            Who::OursTwice => self.twice(&mut ours(true, true), Ours::begin_another_build),
            Who::OursWithoutWarmth => self.twice(&mut ours(false, false), Ours::begin_another_build),
            Who::FirstFit => self.twice(&mut central(Pick::FirstFit), |_| {}),
            Who::Icecream => self.twice(&mut central(Pick::Icecream), |_| {}),
            Who::Random => self.twice(&mut central(Pick::Random), |_| {}),
        }
    }

    fn twice<P: Policy>(&self, policy: &mut P, between: impl Fn(&mut P)) -> Twice<Run> {
        let mut caches = Caches::cold(self.fleet.machines.len());
        let mut build = |time: usize, start, policy: &mut P| {
            let effort = Effort { work: &self.work[time], unlucky: &self.unlucky[time] };
            engine::build(self.graph, effort, &self.fleet, &mut caches, self.jobs, start, policy)
        };
        let start = Timestamp::from_millis(1_000);
        let first = build(0, start, policy);
        between(policy);
        // Long enough that nothing of the first build is remembered but what is meant to be.
        let second = build(1, start + first.makespan + Duration::from_secs(3_600), policy);
        [first, second]
    }
}

fn percent(rng: &mut Rng) -> u32 {
    u32::try_from(rng.between(85, 115)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_beats_the_bound_and_everybody_finishes() {
        let graph = &crate::graph::recorded()[0];
        let trial = Trial::new(graph, 4, 1);
        let yardstick = trial.yardstick();

        for who in Who::ALL {
            let runs = trial.run(who);
            for time in [0, 1] {
                assert!(runs[time].makespan >= yardstick.bound[time], "{who:?} is faster than can be");
                assert!(runs[time].remote >= graph.remote_edges(), "{who:?}");
            }
        }
        assert!(yardstick.plan[0] >= yardstick.bound[0] && yardstick.plan[1] >= yardstick.bound[1]);
    }

    #[test]
    fn second_attempts_shorten_builds_with_stragglers() {
        let graph = &crate::graph::recorded()[1];
        let trial = Trial::new(graph, 16, 1).with_one_unlucky_in(50);

        let [once, twice] = [Who::Ours, Who::OursTwice].map(|who| trial.run(who)[1].makespan);

        assert!(twice < once, "{twice:?} with second attempts, {once:?} without");
    }

    #[test]
    fn the_same_trial_ends_the_same() {
        let graph = &crate::graph::recorded()[0];
        let makespans = || Trial::new(graph, 16, 3).run(Who::Ours).map(|run| run.makespan);

        assert_eq!(makespans(), makespans());
    }
}
