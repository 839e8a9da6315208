//! What is sent beyond the idle slots, and which worker it waits for instead.

mod world;

use std::time::Duration;

use model::ids::{JobId, OutputKey};
use model::job::{BatchHint, JobFacts};
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use scheduler_core::{Action, Config, Input, PlacementKind};
use world::{LAUNCHER, World, dirs, facts_of_a_job, millis, seconds};

fn made(output: u64) -> JobFacts {
    JobFacts { output: Some(OutputKey::new(output)), ..facts_of_a_job() }
}

fn in_batches_of(size: u32, facts: JobFacts) -> JobFacts {
    JobFacts { batch: BatchHint { size, timeout: seconds(100) }, ..facts }
}

fn submit(world: &mut World, facts: JobFacts) -> JobId {
    world.submit_all(LAUNCHER, vec![facts])[0]
}

/// Does a job on the one worker that is there, which hears of it after a millisecond.
fn teach(world: &mut World, output: u64, wall: Duration) {
    let job = submit(world, made(output));
    world.pass(millis(1));
    world.start(job);
    let (worker, attempt) = world.sent[&job];
    let usage = ResourceUsage { wall, ..ResourceUsage::default() };
    world.report(worker, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));
}

/// A cluster of nobody that knows these jobs.
fn world_that_knows(config: Config, lessons: &[(u64, Duration)]) -> World {
    let mut world = World::configured(config, [("teacher", 1)]);
    lessons.iter().for_each(|&(output, wall)| teach(&mut world, output, wall));
    world.lose("teacher");
    world.pass(seconds(10));
    world
}

fn join(world: &mut World, name: &str, speed: u32) {
    world.join_with(name, |facts| facts.speed = Speed::new(speed));
}

#[test]
fn a_message_carries_no_more_jobs_than_asked_for() {
    let mut world = World::configured(Config { prefetch: 1, ..Config::default() }, [("ash", 1)]);
    world.submit();

    world.submit_all(LAUNCHER, vec![in_batches_of(2, facts_of_a_job()); 6]);

    let sizes = world.orders.iter().filter_map(|order| match order {
        Action::Assign { attempts, .. } => Some(attempts.len()),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_job_beside_which_a_round_trip_is_nothing_waits_for_a_slot_unless_it_asks_for_company() {
    let busy = || {
        let mut world = World::configured(Config { prefetch: 2, ..Config::default() }, [("ash", 1)]);
        [(1, seconds(60)), (2, millis(20))].into_iter().for_each(|(output, wall)| teach(&mut world, output, wall));
        submit(&mut world, made(2));
        world
    };
    let is_sent_ahead = |facts: Vec<JobFacts>| {
        let mut world = busy();
        let jobs = world.submit_all(LAUNCHER, facts);
        jobs.into_iter().all(|job| world.is_sent(job))
    };

    assert!(is_sent_ahead(vec![made(2)]));
    assert!(!is_sent_ahead(vec![made(1)]));
    assert!(is_sent_ahead(vec![in_batches_of(2, made(1)); 2]));
}

#[test]
fn a_job_that_loses_little_on_a_slow_worker_is_sent_ahead_to_it() {
    let is_sent_ahead = |output| {
        let config = Config { prefetch: 1, patience: Duration::ZERO, ..Config::default() };
        let mut world = world_that_knows(config, &[(1, millis(400)), (2, seconds(40))]);
        join(&mut world, "slow", 500);
        submit(&mut world, made(1));
        join(&mut world, "fast", 1_000);
        world.submit_all(LAUNCHER, vec![made(1); 2]);
        let job = submit(&mut world, made(output));
        world.is_sent(job).then(|| world.host_of(job).to_owned())
    };

    assert_eq!(is_sent_ahead(1).as_deref(), Some("slow"));
    assert_eq!(is_sent_ahead(2), None);
}

#[test]
fn a_long_job_waits_for_a_faster_worker_however_many_slow_ones_are_idle() {
    let mut world = world_that_knows(Config { prefetch: 0, ..Config::default() }, &[(1, seconds(10))]);
    join(&mut world, "fast", 4_000);
    let running = submit(&mut world, made(1));
    join(&mut world, "slow", 1_000);
    join(&mut world, "slower", 500);

    let waiting = submit(&mut world, made(1));
    assert!(!world.is_sent(waiting));
    world.finish(running);

    assert_eq!(world.host_of(waiting), "fast");
}

#[test]
fn a_worker_that_is_hardly_slower_than_the_fastest_is_not_slow() {
    let config = Config { prefetch: 1, ..Config::default() };
    let mut world = world_that_knows(config, &[(1, seconds(100))]);
    join(&mut world, "fast", 1_000);
    join(&mut world, "hardly slower", 920);

    let jobs = world.submit_all(LAUNCHER, vec![made(1); 4]);

    assert!(jobs.iter().all(|&job| world.is_sent(job)), "each has one ahead");
}

#[test]
fn a_long_job_that_would_crowd_its_directory_on_the_faster_of_two_idle_workers_goes_there() {
    let config = Config { prefetch: 0, writers_per_dir: 1, ..Config::default() };
    let mut world = world_that_knows(config, &[(1, seconds(10))]);
    let in_dir = || JobFacts { dirs: dirs(&[7]), ..made(1) };
    world.join_with("slow", |facts| (facts.slots, facts.speed) = (2, Speed::new(1_000)));
    submit(&mut world, in_dir());
    join(&mut world, "fast", 4_000);

    let job = submit(&mut world, in_dir());

    let kind = world.placement_of(job).map(|placement| placement.kind);
    assert_eq!((world.host_of(job), kind), ("fast", Some(PlacementKind::IdleSlot)));
}

#[test]
fn a_server_that_stops_asks_back_once_what_has_not_started_and_only_of_whom_it_can_reach() {
    let stopping = |prepare: fn(&mut World)| {
        let mut world = World::configured(Config { prefetch: 4, ..Config::default() }, [("ash", 1)]);
        let [running, ahead] = [(); 2].map(|()| submit(&mut world, facts_of_a_job()));
        world.start(running);
        prepare(&mut world);
        world.tell(Input::Stopping);
        let of_job = |order: &&Action| matches!(order, Action::Recall { attempt, .. } if attempt.job == ahead);
        world.orders.iter().filter(of_job).count()
    };

    assert_eq!(stopping(|_| {}), 1);
    assert_eq!(stopping(|world| world.disconnect("ash")), 0);
    assert_eq!(stopping(|world| world.join("birch", 1)), 1, "it was asked back for birch already");
}
