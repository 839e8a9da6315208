//! Two hundred worlds, the same ones every time. Long runs are for the `sim` binary.

#[test]
fn two_hundred_worlds_break_no_promise() {
    let reports = (0..200).map(scheduler_sim::run);

    let completed: u64 = reports.map(|report| report.completed).sum();

    assert!(completed > 2_000, "only {completed} jobs were completed: these worlds test nothing");
}

#[test]
fn the_same_seed_is_the_same_world() {
    assert_eq!(scheduler_sim::run(7), scheduler_sim::run(7));
}
