//! Bugs that were planted, and that the worlds have to find.

use std::panic::catch_unwind;

use scheduler_sim::{Manner, Plant, run_as, run_planted};

#[test]
fn a_roster_that_is_written_after_the_welcome_is_found_out() {
    let restless = Manner { restless: true, ..Manner::default() };
    let late = Manner { late_rosters: true, ..restless };
    let caught = (0..1_000).find(|&seed| catch_unwind(|| run_as(seed, late)).is_err());

    let seed = caught.expect("no world noticed that servers forget whom they welcomed");
    println!("the world of seed {seed} noticed");
    // And it was that bug.
    let _ = run_as(seed, restless);
}

/// Worlds in which clocks drift and daemons stand still.
fn restless_worlds() -> impl Iterator<Item = u64> {
    (0..2_000).step_by(2)
}

#[test]
fn a_keeper_that_nothing_holds_between_its_look_and_its_publishing_is_found_out() {
    let is_noticed = |&seed: &u64| catch_unwind(|| run_planted(seed, Plant::NoFence)).is_err();
    let seed = restless_worlds().find(is_noticed).expect("no world noticed that a keeper published after its lease");
    println!("the world of seed {seed} noticed");
    let _ = scheduler_sim::run(seed);
}

#[test]
fn a_worker_that_leaves_nothing_of_its_lease_for_drift_and_killing_is_found_out() {
    let is_noticed = |&seed: &u64| catch_unwind(|| run_planted(seed, Plant::WholeLease)).is_err();
    let seed = restless_worlds().find(is_noticed).expect("no world noticed that a worker took the whole lease");
    println!("the world of seed {seed} noticed");
    let _ = scheduler_sim::run(seed);
}
