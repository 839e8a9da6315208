//! Jobs that travel together, go ahead of the slots, and are taken back.

mod world;

use std::time::Duration;

use model::ids::ToolchainKey;
use model::job::{BatchHint, JobFacts};
use model::outcome::AttemptFailure;
use scheduler_core::{Action, Config, PlacementKind};
use world::{Answer, LAUNCHER, World, facts_of_a_job, millis};

fn in_batches_of(size: u32) -> JobFacts {
    JobFacts { batch: BatchHint { size, timeout: millis(500) }, ..facts_of_a_job() }
}

/// How many attempts each message carried.
fn sizes(orders: &[Action]) -> Vec<usize> {
    let sizes = orders.iter().map(|order| match order {
        Action::Assign { attempts, .. } => attempts.len(),
        _ => 0,
    });
    sizes.filter(|&size| size > 0).collect()
}

#[test]
fn all_that_goes_to_a_worker_in_one_step_goes_in_one_message() {
    let mut world = World::configured(Config { prefetch: 1, ..Config::default() }, [("ash", 3)]);

    world.submit_all(LAUNCHER, vec![facts_of_a_job(); 5]);

    assert_eq!(sizes(&world.orders), [4]);
    assert_eq!(world.snapshot().waiting, 1);
}

#[test]
fn prefetch_goes_to_who_has_least_to_do_for_its_size() {
    let mut world = World::configured(Config { prefetch: 2, ..Config::default() }, [("ash", 1), ("birch", 4)]);
    world.submit_all(LAUNCHER, vec![facts_of_a_job(); 5]);

    let jobs = [world.submit(), world.submit(), world.submit()];

    assert_eq!(jobs.map(|job| world.host_of(job)), ["ash", "birch", "birch"]);
}

#[test]
fn a_job_never_waits_for_company_while_a_slot_idles() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);

    let jobs = world.submit_all(LAUNCHER, vec![in_batches_of(8)]);

    assert!(world.is_sent(jobs[0]));
}

#[test]
fn a_job_that_could_only_be_prefetched_waits_for_company_until_its_batch_is_full() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    world.submit();

    let mut jobs = world.submit_all(LAUNCHER, vec![in_batches_of(3)]);
    jobs.extend(world.submit_all(LAUNCHER, vec![in_batches_of(3)]));
    assert_eq!(sizes(&world.orders), [1]);
    jobs.extend(world.submit_all(LAUNCHER, vec![in_batches_of(3)]));

    assert_eq!(sizes(&world.orders), [1, 3]);
    let kinds = jobs.into_iter().map(|job| world.placement_of(job).map(|it| it.kind));
    let expected = [PlacementKind::AheadOfSlots, PlacementKind::Company, PlacementKind::Company].map(Some);
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
}

#[test]
fn no_job_waits_longer_for_company_than_it_said() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    world.submit();
    world.submit_all(LAUNCHER, vec![in_batches_of(3)]);
    world.pass(millis(300));
    world.submit_all(LAUNCHER, vec![in_batches_of(3)]);

    world.pass(millis(199));
    assert_eq!(sizes(&world.orders), [1]);
    world.pass(millis(1));

    assert_eq!(sizes(&world.orders), [1, 2], "the second came along, though it had time");
}

#[test]
fn a_slot_that_falls_free_ends_the_wait_for_company() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let running = world.submit();
    let waiting = world.submit_all(LAUNCHER, vec![in_batches_of(3)])[0];
    assert!(!world.is_sent(waiting));

    world.finish(running);

    assert!(world.is_sent(waiting));
}

#[test]
fn jobs_of_different_builds_keep_no_company() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    world.submit();

    let other_build = JobFacts { build: model::ids::BuildId::new(2), ..in_batches_of(2) };
    world.submit_all(LAUNCHER, vec![in_batches_of(2), other_build]);

    assert_eq!(sizes(&world.orders), [1]);
}

#[test]
fn an_idle_worker_gets_what_can_only_wait_elsewhere() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let [running, prefetched] = [world.submit(), world.submit()];
    world.start(running);
    let (ash, attempt) = (world.id("ash"), world.attempt_of(prefetched));

    world.join("birch", 1);
    assert_eq!(world.orders.last(), Some(&Action::Recall { worker: ash, attempt }));
    world.fail(prefetched, AttemptFailure::HandedBack);

    assert_eq!(world.host_of(prefetched), "birch");
    world.finish(prefetched);
    assert_eq!(world.answers_for(prefetched), [Answer::Completed(2)]);
}

#[test]
fn one_idle_slot_asks_for_one_attempt_at_a_time() {
    let mut world = World::configured(Config { prefetch: 3, ..Config::default() }, [("ash", 1)]);
    world.submit_all(LAUNCHER, vec![facts_of_a_job(); 4]);

    world.join("birch", 1);
    world.pass(Duration::from_secs(3));

    assert_eq!(recalls(&world), 1);
}

#[test]
fn what_no_idle_worker_could_take_is_not_recalled() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let [_running, _prefetched] = [world.submit(), world.submit()];

    world.join_with("birch", |facts| facts.toolchains.clear());

    assert_eq!(recalls(&world), 0);
}

#[test]
fn what_has_started_is_not_recalled() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let [running, prefetched] = [world.submit(), world.submit()];
    world.start(prefetched);
    world.start(running);

    world.join("birch", 1);

    assert_eq!(recalls(&world), 0);
}

fn recalls(world: &World) -> usize {
    world.orders.iter().filter(|order| matches!(order, Action::Recall { .. })).count()
}

#[test]
fn what_is_sent_ahead_goes_to_who_can_take_it_whoever_else_has_room() {
    let mut world = World::configured(Config { prefetch: 1, ..Config::default() }, []);
    let names = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple"];
    let tools = || (0..8).map(ToolchainKey::new);
    for (name, tool) in names.into_iter().zip(tools()) {
        world.join_with(name, |facts| facts.toolchains = vec![tool]);
    }
    let of = |tool| JobFacts { toolchain: Some(tool), ..facts_of_a_job() };
    world.submit_all(LAUNCHER, tools().map(of).collect());
    // Of one build are then asked for, before two that have room, six that have none.
    world.submit_all(LAUNCHER, tools().take(6).map(of).collect());

    let ahead = world.submit_all(LAUNCHER, tools().map(of).collect());

    let sent: Vec<bool> = ahead.iter().map(|&job| world.is_sent(job)).collect();
    assert_eq!(sent, [false, false, false, false, false, false, true, true]);
    assert_eq!([world.host_of(ahead[6]), world.host_of(ahead[7])], ["larch", "maple"]);
}
