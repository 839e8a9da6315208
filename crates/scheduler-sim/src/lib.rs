//! Seeded worlds that try to break the scheduler.
//!
//! [`run`] makes a small cluster out of a seed: a server around [`scheduler_core::Scheduler`], workers, launchers, and
//! a network that delays, breaks and partitions. For a while things go wrong: links break with whatever is under way,
//! workers crash, drain, or are cut off without anybody's being told, launchers die, change their minds and ask
//! again, the server dies or stops and another takes over with empty books, and with or without a roster of the workers
//! to wait for; guardians of crashed workers tell their deaths, or do not; some hosts fail all they are given,
//! or flap, and some reports arrive a second time, late and out of order. In the worlds of even seeds every clock goes a
//! little wrong, and daemons, whole hosts and the server stand still, for any time and between any two steps, also between
//! a keeper's look at the lease and its publishing. Then everything heals, and every job that
//! is still wanted must be answered. All the while independent checks watch:
//! - no two attempts of a job *execute* at once that may both be seen to write, as the fake workers really run them: a
//!   second one runs only beside a first, both isolated, and waits with its commit until the first is dead; none that
//!   may commit executes after the launcher was answered; what cannot be repeated starts once;
//! - what an attempt wrote appears only while no other may write, and its launcher waits for it;
//! - second attempts take idle slots only, and are not more than their share;
//! - no worker runs more than its slots, is sent more than its slots and prefetch, or is sent anything while it
//!   drains or is not connected;
//! - every job is answered once, and as complete only if that attempt completed;
//! - no job waits while a worker that could take it idles: by the scheduler's own account, and by demands written a
//!   second time, which excuse only who is benched, on probation, kept free or short of memory;
//! - what is reserved for the jobs that a worker was sent is within its memory;
//! - in the end nothing is under way and nothing is kept for ever.
//!
//! [`market`] is made for fairness and against starvation, [`makespan`] runs recorded builds ([`graph`]) on simulated
//! fleets, and [`run_recorded`] keeps journals that can be replayed.
//!
//! The same seed is the same world. `sim --seed N` runs one again; a failure prints how.

mod checks;
mod clock;
mod driver;
mod fake_launcher;
mod fake_worker;
mod faults;
pub mod graph;
pub mod makespan;
pub mod market;
mod messages;
mod network;
pub mod rng;
mod roster;
mod world;

use std::cell::Cell;
use std::sync::Once;

pub use fake_worker::Plant;
pub use world::Report;

thread_local! {
    /// The seed of the world that this thread lives in, and in which manner.
    static SEED: Cell<Option<(u64, Manner)>> = const { Cell::new(None) };
}

/// Lives through the world of this seed.
///
/// # Panics
/// If a check fails. The seed, and how to run it again, are printed then.
#[must_use]
pub fn run(seed: u64) -> Report {
    live_through(seed, |_| {}).0
}

/// Lives through the world of this seed, and returns the journal of each run of its server as well.
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn run_recorded(seed: u64) -> (Report, Vec<Vec<u8>>) {
    live_through(seed, |world| world.recorded = true)
}

/// How a world is to be lived through, when not as always.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// The scheduler does not check itself: what is wrong must be seen from outside.
    pub outside_only: bool,
    /// Servers die more often.
    pub restless: bool,
    /// Servers have a bug: they write down whom they welcomed a lease too late.
    pub late_rosters: bool,
}

/// Lives through the world of this seed in another manner.
///
/// # Panics
/// As [`run`], and with a bug it must in some worlds.
#[must_use]
pub fn run_as(seed: u64, manner: Manner) -> Report {
    live_through(seed, |world| world.manner = manner).0
}

/// Lives through the world of this seed, whose workers have a bug. Of every other world clocks drift and daemons stand still:
/// the even ones.
///
/// # Panics
/// As [`run`], and in some worlds it must.
#[must_use]
pub fn run_planted(seed: u64, plant: Plant) -> Report {
    live_through(seed, |world| world.plant = Some(plant)).0
}

fn live_through(seed: u64, change: impl FnOnce(&mut world::World)) -> (Report, Vec<Vec<u8>>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(print_seed_on_panic);
    let mut world = world::World::random(seed);
    change(&mut world);
    SEED.set(Some((seed, world.manner)));
    let ended = world.run();
    SEED.set(None);
    ended
}

/// A hook and not a guard on the stack, because release builds abort.
fn print_seed_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if let Some((seed, Manner { outside_only, restless, .. })) = SEED.get() {
            let flags = [(outside_only, " --outside-only"), (restless, " --restless")];
            let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
            eprintln!("\nseed {seed} failed; again: cargo run -p scheduler-sim --bin sim -- --seed {seed}{flags}");
        }
    }));
}
