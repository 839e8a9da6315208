//! A world's servers keep journals that can be lived through again.

use journal::{ReplayError, replay};

#[test]
fn every_server_of_a_world_can_be_lived_through_again() {
    let mut servers = 0;
    for seed in 0..20 {
        let (_, journals) = scheduler_sim::run_recorded(seed);
        for journal in journals {
            let replayed = replay(&journal[..]).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(replayed.steps > 0 && !replayed.is_torn, "seed {seed}: {replayed:?}");
            servers += 1;
        }
    }
    assert!(servers > 20, "no server of these worlds ever died");
}

#[test]
fn recording_changes_nothing() {
    assert_eq!(scheduler_sim::run(11), scheduler_sim::run_recorded(11).0);
}

#[test]
fn a_worlds_journal_that_was_tampered_with_is_noticed() {
    let (_, journals) = scheduler_sim::run_recorded(3);
    let mut journal = journals.into_iter().max_by_key(Vec::len).expect("every world has a server");
    let middle = journal.len() / 2;
    journal[middle] = journal[middle].wrapping_add(1);

    match replay(&journal[..]) {
        Err(ReplayError::Damaged { step }) => assert!(step > 0),
        other => panic!("{other:?}"),
    }
}
