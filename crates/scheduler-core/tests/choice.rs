//! Which of many idle workers a job goes to, and which of many jobs an idle worker gets.

mod world;

use std::time::Duration;

use model::ids::{JobId, OutputKey};
use model::job::JobFacts;
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use scheduler_core::Config;
use world::{LAUNCHER, World, dirs, facts_of_a_job};

const GIB: u64 = 1 << 30;

/// Workers of one slot, more than are compared one by one.
const MANY: u32 = 20;

fn in_dirs(digests: &[u64]) -> JobFacts {
    JobFacts { dirs: dirs(digests), ..facts_of_a_job() }
}

fn submit(world: &mut World, facts: JobFacts) -> JobId {
    world.submit_all(LAUNCHER, vec![facts])[0]
}

fn of_many(describe: impl Fn(u32, &mut scheduler_core::WorkerFacts)) -> World {
    let mut world = World::with_workers([]);
    (0..MANY).for_each(|number| world.join_with(&number.to_string(), |facts| describe(number, facts)));
    world
}

#[test]
fn of_many_idle_workers_the_warm_one_is_found() {
    let mut world = of_many(|_, _| {});
    world.warm("13", &[7]);

    let job = submit(&mut world, in_dirs(&[7]));

    assert_eq!(world.host_of(job), "13");
}

#[test]
fn of_many_idle_workers_the_largest_is_found_for_a_job_that_needs_memory() {
    let mut world = of_many(|number, facts| facts.memory = if number == 13 { 8 * GIB } else { 4 * GIB });
    let known = || JobFacts { output: Some(OutputKey::new(1)), ..facts_of_a_job() };
    let teach = submit(&mut world, known());
    let usage = ResourceUsage { wall: Duration::from_secs(1), peak_memory: GIB, ..ResourceUsage::default() };
    let (worker, attempt) = world.sent[&teach];
    world.report(worker, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));

    let job = submit(&mut world, known());

    assert_eq!(world.host_of(job), "13");
}

#[test]
fn the_only_idle_worker_is_said_to_be_warm_if_it_is() {
    let mut world = World::with_workers([("ash", 1)]);
    world.warm("ash", &[7]);

    let job = submit(&mut world, in_dirs(&[7]));

    assert_eq!(world.placement_of(job).map(|placement| placement.warmth), Some(1));
}

#[test]
fn where_nobody_is_kept_from_a_directory_the_faster_worker_writes_there_too() {
    let host_with = |writers_per_dir| {
        let mut world = World::configured(Config { prefetch: 0, writers_per_dir, ..Config::default() }, []);
        world.join_with("slow", |facts| (facts.slots, facts.speed) = (2, Speed::new(1_000)));
        submit(&mut world, in_dirs(&[7]));
        world.warm("slow", &[]);
        world.join_with("fast", |facts| facts.speed = Speed::new(4_000));
        let job = submit(&mut world, in_dirs(&[7]));
        world.host_of(job).to_owned()
    };

    assert_eq!([0, 1].map(host_with), ["fast", "slow"]);
}

#[test]
fn of_several_jobs_that_suit_a_worker_better_the_one_that_suits_it_best_gets_its_slot() {
    let config = Config { prefetch: 0, writers_per_dir: 1, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1), ("birch", 1)]);
    let running = world.submit_all(LAUNCHER, vec![in_dirs(&[1]), in_dirs(&[2])]);
    let other = if world.host_of(running[0]) == "ash" { 2 } else { 1 };
    world.warm("ash", &[4]);
    // It crowds the directory of the other worker; it is cold; it is warm.
    let waiting = [other, 3, 4].map(|dir| submit(&mut world, in_dirs(&[dir])));

    let at_ash = running.into_iter().find(|&job| world.host_of(job) == "ash").expect("one of the two");
    world.finish(at_ash);

    assert_eq!(waiting.map(|job| world.is_sent(job)), [false, false, true]);
}
