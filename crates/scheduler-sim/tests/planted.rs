//! Bugs that were planted, and that the worlds have to find.

use std::panic::catch_unwind;

#[test]
fn a_roster_that_is_written_after_the_welcome_is_found_out() {
    let caught = (0..1_000).find(|&seed| catch_unwind(|| scheduler_sim::run_restless(seed, true)).is_err());

    let seed = caught.expect("no world noticed that servers forget whom they welcomed");
    println!("the world of seed {seed} noticed");
    // And it was that bug.
    let _ = scheduler_sim::run_restless(seed, false);
}
