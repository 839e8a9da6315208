//! Workers that fail what others do, and jobs that fail everywhere.

mod world;

use model::ids::{Attempt, JobId};
use model::outcome::AttemptFailure;
use scheduler_core::{Action, Config, WorkerState};
use world::{Answer, World, millis, seconds};

fn broken() -> AttemptFailure {
    AttemptFailure::SpawnFailed("no such file".into())
}

fn state_of(world: &World, name: &str) -> WorkerState {
    let id = world.id(name);
    let workers = world.snapshot().workers;
    workers.iter().find(|status| status.worker == id).expect("it is registered").state
}

fn cluster() -> World {
    let config = Config { prefetch: 0, max_attempts: 9, ..Config::default() };
    World::configured(config, [("ash", 4), ("birch", 4)])
}

/// Jobs one after the other, until so many have gone to this worker; there they fail.
fn fail_on(world: &mut World, name: &str, times: usize) -> Vec<JobId> {
    let mut failed = Vec::new();
    while failed.len() < times {
        let job = world.submit();
        if world.host_of(job) == name {
            world.fail(job, broken());
            failed.push(job);
        } else {
            world.finish(job);
        }
    }
    failed
}

#[test]
fn a_black_hole_is_benched_after_three_jobs_and_the_rest_of_the_queue_is_safe() {
    let mut world = cluster();

    let failed = fail_on(&mut world, "ash", 3);

    assert_eq!(state_of(&world, "ash"), WorkerState::Benched);
    assert!(failed.iter().all(|&job| world.host_of(job) == "birch"));
    let next = world.submit();
    assert_eq!(world.host_of(next), "birch");
}

#[test]
fn failing_what_another_then_does_weighs_double() {
    let mut world = cluster();

    let failed = fail_on(&mut world, "ash", 1);
    world.finish(failed[0]);
    assert_eq!(state_of(&world, "ash"), WorkerState::Up);
    fail_on(&mut world, "ash", 1);

    assert_eq!(state_of(&world, "ash"), WorkerState::Benched);
}

#[test]
fn a_benched_worker_comes_back_with_one_job_at_a_time_and_then_in_full() {
    let mut world = cluster();
    fail_on(&mut world, "ash", 3);
    world.drain("birch");

    world.pass(seconds(10));
    assert_eq!(state_of(&world, "ash"), WorkerState::OnProbation);
    let [probe, waiting] = [world.submit(), world.submit()];
    assert_eq!((world.is_sent(probe), world.is_sent(waiting)), (true, false));
    world.finish(probe);

    assert_eq!(state_of(&world, "ash"), WorkerState::Up);
    assert!(world.is_sent(waiting));
}

#[test]
fn a_failed_probe_benches_for_twice_as_long() {
    let mut world = cluster();
    fail_on(&mut world, "ash", 3);
    world.pass(seconds(10));

    fail_on(&mut world, "ash", 1);

    world.pass(seconds(19));
    assert_eq!(state_of(&world, "ash"), WorkerState::Benched);
    world.pass(seconds(1));
    assert_eq!(state_of(&world, "ash"), WorkerState::OnProbation);
}

#[test]
fn a_job_that_fails_everywhere_gives_no_worker_a_bad_name() {
    let config = Config { prefetch: 0, max_attempts: 2, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1), ("birch", 1)]);

    for _ in 0..6 {
        let job = world.submit();
        world.fail(job, broken());
        world.fail(job, broken());
        assert!(matches!(&world.answers_for(job)[..], [Answer::Local(_)]));
    }

    assert_eq!(state_of(&world, "ash"), WorkerState::Up);
    assert_eq!(state_of(&world, "birch"), WorkerState::Up);
}

#[test]
fn the_third_to_fail_a_job_is_not_blamed_for_it() {
    let config = Config { prefetch: 0, max_attempts: 9, bench_after: 2, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1), ("birch", 1), ("cedar", 1)]);
    for _ in 0..2 {
        let job = world.submit();
        (0..3).for_each(|_| drop(world.fail(job, broken())));
    }

    let benched = world.snapshot().workers.into_iter().filter(|it| it.state == WorkerState::Benched);
    assert_eq!(benched.count(), 0);
}

#[test]
fn out_of_memory_is_not_the_workers_fault() {
    let mut world = cluster();

    for _ in 0..6 {
        let job = world.submit();
        world.fail(job, AttemptFailure::OutOfMemory);
    }

    assert!(["ash", "birch"].iter().all(|name| state_of(&world, name) == WorkerState::Up));
}

#[test]
fn what_a_benched_worker_has_not_started_is_taken_back() {
    let mut world = World::configured(Config { prefetch: 4, ..Config::default() }, [("ash", 2)]);
    let jobs: [JobId; 6] = core::array::from_fn(|_| world.submit());
    world.start(jobs[3]);
    let [unstarted, last] = [world.attempt_of(jobs[4]), world.attempt_of(jobs[5])];

    let [first, second, third] = [jobs[0], jobs[1], jobs[2]].map(|job| world.fail(job, broken()));

    assert_eq!(state_of(&world, "ash"), WorkerState::Benched);
    let asked_back = |actions: &[Action]| -> Vec<Attempt> {
        let recall = |action: &Action| match action {
            Action::Recall { attempt, .. } => Some(*attempt),
            _ => None,
        };
        actions.iter().filter_map(recall).collect()
    };
    assert_eq!([asked_back(&first), asked_back(&second)], [[], []]);
    // What runs goes on.
    assert_eq!(asked_back(&third), [last, unstarted]);

    world.join("birch", 2);
    world.report(world.id("ash"), unstarted, Err(AttemptFailure::HandedBack));
    assert_eq!(world.host_of(jobs[4]), "birch");
    world.finish(jobs[3]);
    assert_eq!(world.answers_for(jobs[3]), [Answer::Completed(1)]);
}

#[test]
fn a_job_that_kills_its_workers_is_not_given_a_fourth() {
    let config = Config { prefetch: 0, max_attempts: 9, ..Config::default() };
    let mut world = World::configured(config, [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)]);
    let job = world.submit();

    for _ in 0..3 {
        world.start(job);
        let host = world.host_of(job).to_owned();
        world.lose(&host);
    }

    assert_eq!(world.attempts_of(job), 3);
    assert!(matches!(&world.answers_for(job)[..], [Answer::Local(_)]));
}

#[test]
fn a_flapping_connection_loses_neither_work_nor_trust() {
    let mut world = World::configured(Config { prefetch: 0, ..Config::default() }, [("ash", 1)]);
    let job = world.submit();
    world.start(job);
    let attempt = world.attempt_of(job);

    for _ in 0..20 {
        world.disconnect("ash");
        world.pass(millis(200));
        world.reconnect("ash", 1, &[attempt]);
    }
    world.finish(job);

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
    assert_eq!(state_of(&world, "ash"), WorkerState::Up);
}
