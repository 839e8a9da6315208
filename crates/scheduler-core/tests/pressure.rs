//! What clients and workers may ask and claim: bounded, and answered by name.

mod world;

use model::ids::{Attempt, DirKey, UserId};
use model::job::{BatchHint, JobFacts};
use scheduler_core::input::{MAX_DEMANDED_MOUNTS, MAX_SLOTS};
use scheduler_core::{Action, Condition, Config, LocalReason, Obstacles};
use world::{Answer, LAUNCHER, World, facts_of_a_job, millis, seconds};

#[test]
fn a_user_with_too_many_jobs_waiting_is_told_to_ask_again_and_others_are_let_in() {
    let config = Config { max_queued_per_user: 2, ask_again: seconds(3), prefetch: 0, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1)]);
    let jobs = world.submit_all(LAUNCHER, vec![facts_of_a_job(); 4]);

    let other = world.submit_with(|job| job.user = UserId::new(2));

    // All four came in one message, so none was sent before the last was let in.
    let told: Vec<_> = world.orders.iter().filter(|order| matches!(order, Action::Wait { .. })).cloned().collect();
    let wait = |job| Action::Wait { client: LAUNCHER, job, delay: seconds(3) };
    assert_eq!(told, [wait(jobs[2]), wait(jobs[3])]);
    assert!(world.forgotten.contains(&jobs[3]));
    assert!(world.answers_for(other).is_empty());
}

#[test]
fn no_more_jobs_of_earlier_servers_wait_for_news_of_them_than_may_wait_and_none_of_the_others_goes_home() {
    let config = Config { max_queued: 2, ask_again: seconds(3), ..Config::default() };
    let mut world = World::new(config);
    let jobs: Vec<_> = (0..3).map(|_| world.new_id()).collect();

    for &job in &jobs {
        world.resubmit(LAUNCHER, job);
    }

    assert_eq!(world.snapshot().waiting, 2);
    assert!(world.orders.contains(&Action::Wait { client: LAUNCHER, job: jobs[2], delay: seconds(3) }));
    assert!(jobs.iter().all(|&job| world.answers_for(job).is_empty()));
    // And it is not lost: who runs it says so, and its launcher asks again.
    let attempt = Attempt { job: jobs[2], number: 1 };
    world.join_holding("ash", &[attempt], |_| {});
    world.resubmit(LAUNCHER, jobs[2]);
    world.pass(seconds(5));
    world.report(world.id("ash"), attempt, Ok(world::success()));
    assert_eq!(world.answers_for(jobs[2]), [Answer::Completed(1)]);
}

#[test]
fn a_job_that_demands_more_mounts_than_there_can_be_is_refused_by_name() {
    let mut world = World::with_workers([("ash", 1)]);
    let so_many = |number: usize| (0..number as u64).map(DirKey::new).collect();
    world.join_with("birch", |facts| facts.mounts = so_many(MAX_DEMANDED_MOUNTS));

    let just = world.submit_with(|job| job.mounts = so_many(MAX_DEMANDED_MOUNTS));
    let more = world.submit_with(|job| job.mounts = so_many(MAX_DEMANDED_MOUNTS + 1));

    assert_eq!(world.host_of(just), "birch");
    assert_eq!(world.answers_for(more), [Answer::Local(LocalReason::Unreasonable { what: "mounts" })]);
}

#[test]
fn a_worker_is_not_believed_to_have_four_billion_slots() {
    let mut world = World::with_workers([("ash", u32::MAX), ("birch", 0)]);

    assert_eq!(world.snapshot().workers.iter().map(|it| it.slots).collect::<Vec<_>>(), [MAX_SLOTS, 1]);
    assert!((0..100).all(|_| {
        let job = world.submit();
        world.is_sent(job)
    }));
}

#[test]
fn a_hundred_thousand_directories_and_an_endless_batch_are_cut_short() {
    let mut world = World::with_workers([("ash", 1)]);
    let dirs = (0..100_000).map(DirKey::new).collect();
    let batch = BatchHint { size: u32::MAX, timeout: millis(100) };

    let job = world.submit_all(LAUNCHER, vec![JobFacts { dirs, batch, ..facts_of_a_job() }])[0];

    assert!(world.is_sent(job));
    assert!(world.snapshot().workers[0].warm_dirs < 100);
}

#[test]
fn no_more_answers_are_kept_than_configured() {
    let mut world = World::configured(Config { max_retained: 2, ..Config::default() }, [("ash", 1)]);

    let jobs: Vec<_> = (0..5)
        .map(|_| {
            let job = world.submit();
            world.finish(job);
            job
        })
        .collect();

    assert_eq!(jobs.iter().filter(|job| !world.forgotten.contains(job)).count(), 2);
    assert!(!world.forgotten.contains(&jobs[4]));
}

#[test]
fn a_waiting_job_says_what_keeps_it_from_each_worker_and_whose_turn_it_is() {
    let mut world = World::with_workers([("busy", 1)]);
    world.submit();
    world.join_with("bare", |facts| facts.toolchains.clear());
    world.join_with("unmounted", |facts| facts.mounts.clear());
    world.join("gone", 1);
    world.disconnect("gone");
    world.join("leaving", 1);
    world.drain("leaving");
    let first = world.submit();

    let job = world.submit();

    assert!(!world.is_sent(first));
    let Some(Condition::Waiting { obstacles, turn }) = world.explain(job).map(|it| it.state) else {
        panic!("it waits");
    };
    let expected =
        Obstacles { workers: 5, busy: 1, toolchain: 1, mount: 1, silent: 1, draining: 1, ..Obstacles::default() };
    assert_eq!(obstacles, expected);
    assert_eq!((turn.users, turn.builds, turn.jobs), (0, 0, 1));
}

#[test]
fn a_job_that_has_waited_too_long_says_so() {
    let config = Config { ageing: seconds(10), prefetch: 0, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1)]);
    world.submit();
    let job = world.submit();
    let is_overdue = |world: &World| match world.explain(job).map(|it| it.state) {
        Some(Condition::Waiting { turn, .. }) => turn.overdue,
        other => panic!("{other:?}"),
    };

    world.pass(seconds(9));
    assert!(!is_overdue(&world));
    world.pass(seconds(2));
    assert!(is_overdue(&world));
}

#[test]
fn a_job_that_was_sent_says_why_it_went_there() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    world.warm("birch", &[7]);

    let job = world.submit_with(|job| job.dirs = world::dirs(&[7, 8]));

    let Some(Condition::Placed { worker, placement, started: false, .. }) = world.explain(job).map(|it| it.state)
    else {
        panic!("it was sent");
    };
    assert_eq!(worker, world.id("birch"));
    assert_eq!((placement.candidates, placement.warmth), (2, 2));
    assert_eq!(world.explain(world::nobodys_job()), None);
}

#[test]
fn a_freed_slot_takes_the_job_whose_directory_is_warm_there() {
    let config = Config { prefetch: 0, look_ahead: 4, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1)]);
    let in_dir = |dir| JobFacts { dirs: world::dirs(&[dir]), ..facts_of_a_job() };
    let running = world.submit_all(LAUNCHER, vec![in_dir(1)])[0];
    let waiting = world.submit_all(LAUNCHER, vec![in_dir(2), in_dir(3), in_dir(1)]);

    world.finish(running);

    assert!(world.is_sent(waiting[2]));
    assert!(!world.is_sent(waiting[0]));
}

#[test]
fn no_more_workers_than_configured_write_into_a_directory_while_there_is_other_work() {
    let config = Config { prefetch: 0, writers_per_dir: 1, ..Config::default() };
    let mut world = World::configured(config, [("ash", 1)]);
    let in_dir = |dir| JobFacts { dirs: world::dirs(&[dir]), ..facts_of_a_job() };
    world.submit_all(LAUNCHER, vec![in_dir(1)]);
    let jobs = world.submit_all(LAUNCHER, vec![in_dir(1), in_dir(2)]);

    world.join("birch", 1);
    assert_eq!((world.is_sent(jobs[0]), world.is_sent(jobs[1])), (false, true), "other work goes first");
    world.join("cedar", 1);

    assert_eq!(world.host_of(jobs[0]), "cedar", "but no slot is left idle for it");
}
