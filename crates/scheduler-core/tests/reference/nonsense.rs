//! Histories in which anything may be said, and what must hold all the same.

use model::time::Timestamp;
use scheduler_core::{Action, Config, Input, Scheduler};

use super::facts::{any_input, millis, pause};
use super::observers::{Executing, Expectations};
use super::source::Source;

/// More orders than these do not follow from one fact: nobody names more jobs and workers than these histories do.
const MANY: usize = 1_000;

pub(crate) fn live_through(source: &mut Source<'_>) {
    let config = config(source);
    let other_hashes = Config { hash_seed: !config.hash_seed, ..config.clone() };
    let [mut scheduler, mut twin] = [config, other_hashes].map(|it| Scheduler::new(it).expect("possible settings"));
    let (mut now, mut expected, mut executing) = (Timestamp::ZERO, Expectations::default(), Executing::default());
    while !source.is_empty() {
        now = now + pause(source);
        let input = any_input(source);
        // Wakes it before the fact, so that what the clock causes and what the fact causes can be told apart. A roster
        // is the first fact, or none.
        let wake = (!matches!(input, Input::Roster { .. })).then_some(&Input::Wake);
        for input in wake.into_iter().chain([&input]) {
            let actions = step(&mut scheduler, now, input);
            assert_eq!(step(&mut twin, now, input), actions, "the same history gives other orders");
            scheduler.check_invariants();
            assert!(actions.len() < MANY, "{} orders follow from one fact", actions.len());
            expected.on_input(input);
            executing.on_input(input);
            for action in &actions {
                expected.on_action(action);
                executing.on_action(action);
            }
        }
    }
}

fn step(scheduler: &mut Scheduler, now: Timestamp, input: &Input) -> Vec<Action> {
    let mut actions = Vec::new();
    scheduler.step(now, input.clone(), &mut actions);
    actions
}

fn config(source: &mut Source<'_>) -> Config {
    let small = |number: u64| u32::try_from(number).expect("small");
    Config {
        lease: millis(500),
        max_attempts: 1 + small(source.below(3)),
        prefetch: small(source.below(4)),
        fleet_grace: millis(300),
        max_queued: 6,
        max_queued_per_user: 4,
        retain: millis(700),
        max_retained: 8,
        ageing: millis(200),
        gather: millis(source.below(4)),
        bench_after: small(source.below(3)),
        bench_time: millis(100),
        history_entries: 16,
        writers_per_dir: 1,
        speculation: source.chance(128),
        speculation_factor: 100,
        speculation_after: millis(50),
        speculation_share: 50,
        audit_rate: small(source.below(2)),
        ..Config::default()
    }
}
