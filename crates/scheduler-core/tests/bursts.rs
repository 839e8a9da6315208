//! Jobs that are kept back for a moment, for others of their build that come at the same time.

mod world;

use std::time::Duration;

use model::ids::OutputKey;
use model::job::{JobFacts, JobKind};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use scheduler_core::{Action, Config, Input};
use world::{LAUNCHER, World, facts_of_a_job, seconds};

const GIB: u64 = 1 << 30;
const GATHER: Duration = Duration::from_millis(1);

/// It is known to take 6 GiB.
fn link() -> JobFacts {
    JobFacts { kind: JobKind::Link, output: Some(OutputKey::new(1)), ..facts_of_a_job() }
}

fn join(world: &mut World, name: &str, slots: u32, memory: u64) {
    world.join_with(name, |facts| (facts.slots, facts.memory) = (slots, memory));
}

fn world_that_gathers() -> World {
    let mut world = World::gathering(Config { gather: GATHER, ..Config::default() }, Input::Wake);
    world.pass(seconds(30));
    world.join("teacher", 1);
    let job = world.submit_all(LAUNCHER, vec![link()])[0];
    let (worker, attempt) = world.sent[&job];
    let usage = ResourceUsage { wall: seconds(1), peak_memory: 6 * GIB, ..ResourceUsage::default() };
    world.report(worker, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));
    world.lose("teacher");
    world.pass(seconds(10));
    world
}

#[test]
fn memory_that_comes_free_while_others_are_waited_for_is_not_forgotten() {
    let mut world = world_that_gathers();
    join(&mut world, "birch", 2, 8 * GIB);
    let at_birch = world.submit_all(LAUNCHER, vec![link()])[0];
    join(&mut world, "ash", 1, 32 * GIB);
    let at_ash = world.submit_all(LAUNCHER, vec![link(), link()]);
    world.pass(GATHER);
    assert_eq!(at_ash.iter().map(|&job| world.host_of(job)).collect::<Vec<_>>(), ["ash", "ash"]);

    let compile = world.submit();
    assert!(!world.is_sent(compile), "more may come");
    world.finish(at_birch);
    world.pass(GATHER);

    assert_eq!(world.host_of(compile), "birch");
    let (worker, attempt) = world.sent[&at_ash[1]];
    assert!(world.orders.contains(&Action::Recall { worker, attempt }), "and birch has a slot for it too");
}

#[test]
fn nobody_is_kept_back_longer_than_a_moment_however_many_come() {
    let mut world = world_that_gathers();
    join(&mut world, "ash", 64, 64 * GIB);
    let alone = world.submit();
    assert!(world.is_sent(alone), "its build has nothing else at workers");
    let first = world.submit();

    for _ in 0..4 {
        assert!(!world.is_sent(first));
        world.submit();
        world.pass(GATHER / 4);
    }

    assert!(world.is_sent(first));
}

#[test]
fn what_comes_back_while_others_are_waited_for_is_not_forgotten() {
    let mut world = world_that_gathers();
    world.join("ash", 1);
    let at_ash = [0; 4].map(|_| world.submit());
    assert!(at_ash.iter().all(|&job| world.is_sent(job)), "three of them ahead of its slot");
    world.join("birch", 2);
    let recalled = |world: &World| {
        let asked = world.orders.iter().filter(|order| matches!(order, Action::Recall { .. }));
        asked.count()
    };
    assert_eq!(recalled(&world), 2, "one for each slot");

    let next = world.submit();
    assert!(!world.is_sent(next), "more may come");
    world.fail(at_ash[3], AttemptFailure::HandedBack);
    world.pass(GATHER);

    assert_eq!((world.host_of(at_ash[3]), world.host_of(next)), ("birch", "birch"));
}
