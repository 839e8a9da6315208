//! Bugs that were planted, and that the worlds have to find.

use std::panic::catch_unwind;

use scheduler_sim::{Manner, run_as};

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
