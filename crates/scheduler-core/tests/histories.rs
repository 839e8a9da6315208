//! Histories out of bytes, lived through by the scheduler and by a simple reference model: see [`reference`]. The fuzzer
//! does the same for as long as one likes (`cargo xtask fuzz`); what it found to be worth keeping is lived through here.

mod reference;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scheduler_does_what_the_reference_model_does(bytes in vec(any::<u8>(), 1..1_500)) {
        reference::live_through(&bytes);
    }
}

/// What the fuzzer found that reaches most of the code, and what once went wrong.
#[test]
fn histories_that_were_worth_keeping_are_lived_through() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/histories");
    let entries = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let histories: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    assert!(histories.len() >= 20, "only {} histories: they prove nothing", histories.len());
    for path in histories {
        reference::live_through(&std::fs::read(&path).expect("readable"));
    }
}
