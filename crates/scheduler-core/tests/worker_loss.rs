//! Silence, reconnection and loss of workers.

mod world;

use model::ids::{Attempt, JobId};
use model::outcome::AttemptFailure;
use scheduler_core::{Action, ClientId, Config, LocalReason, WorkerState};
use world::{Answer, World, millis, seconds};

#[test]
fn a_job_on_a_dead_worker_is_tried_again_elsewhere() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    assert_eq!(world.host_of(job), "ash");

    world.lose("ash");

    assert_eq!(world.host_of(job), "birch");
    assert_eq!(world.attempts_of(job), 2);
}

#[test]
fn a_disconnected_workers_jobs_stay_until_its_lease_is_over() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    world.start(job);
    world.pass(seconds(1));

    world.disconnect("ash");
    world.pass(millis(4_999));
    assert_eq!(world.attempts_of(job), 1);
    world.pass(millis(1));

    assert_eq!(world.host_of(job), "birch");
}

#[test]
fn a_worker_that_merely_falls_silent_is_lost_a_lease_later() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();

    world.pass_in_silence(seconds(5));

    let ash = world.id("ash");
    assert!(world.orders.contains(&Action::ForgetWorker { worker: ash }));
    assert_eq!(world.attempts_of(job), 1);
    assert_eq!(world.snapshot().waiting, 1);
}

#[test]
fn a_silent_worker_is_given_nothing() {
    let mut world = World::with_workers([("ash", 1)]);
    world.disconnect("ash");

    let job = world.submit();

    assert!(!world.is_sent(job));
    assert_eq!(world.snapshot().workers[0].state, WorkerState::Silent);
}

#[test]
fn a_worker_that_comes_back_in_time_goes_on_with_what_it_runs() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    world.start(job);

    world.disconnect("ash");
    world.pass(seconds(4));
    let orders = world.reconnect("ash", 1, &[world.attempt_of(job)]);
    world.pass(seconds(10));
    world.finish(job);

    assert_eq!(orders, []);
    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
}

#[test]
fn an_assignment_that_got_lost_with_the_connection_costs_no_attempt() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit_with(|job| job.repeatable = false);

    world.disconnect("ash");
    world.reconnect("ash", 1, &[]);

    assert_eq!(world.attempts_of(job), 2);
    assert_eq!(world.host_of(job), "ash");
    assert_eq!(world.answers_for(job), []);
}

#[test]
fn a_worker_that_lost_what_it_had_started_is_not_asked_again() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    world.start(job);

    world.reconnect("ash", 1, &[]);

    assert_eq!(world.host_of(job), "birch");
}

#[test]
fn an_attempt_that_is_no_longer_the_jobs_own_is_cancelled_when_it_turns_up() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    let old = world.attempt_of(job);
    world.lose("ash");
    assert_eq!(world.host_of(job), "birch");

    world.join_holding("ash again", &[old], |_| {});

    let worker = world.id("ash again");
    assert_eq!(world.orders.last(), Some(&Action::Cancel { worker, attempt: old }));
}

#[test]
fn a_job_is_not_tried_again_before_every_old_attempt_of_it_has_ended() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    let old = world.attempt_of(job);
    world.lose("ash");
    world.join_holding("ash again", &[old], |facts| facts.slots = 2);

    world.fail(job, AttemptFailure::OutOfMemory);
    assert_eq!(world.attempts_of(job), 2, "the old attempt may still be executing");
    world.report(world.id("ash again"), old, Err(AttemptFailure::Cancelled));

    assert_eq!(world.attempts_of(job), 3);
    assert_eq!(world.host_of(job), "ash again");
}

#[test]
fn an_old_attempt_found_for_a_job_that_waits_is_taken_up_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    let old = world.attempt_of(job);
    world.lose("ash");

    world.join_holding("ash again", &[old], |_| {});
    world.report(world.id("ash again"), old, Ok(world::success()));

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
}

#[test]
fn a_worker_occupied_by_what_nobody_knows_gets_only_what_fits_beside_it() {
    let mut world = World::with_workers([]);
    let unknown = Attempt { job: JobId::from_bytes([9; 16]), number: 1 };
    world.join_holding("ash", &[unknown], |facts| facts.slots = 2);

    let [first, second] = [world.submit(), world.submit()];

    assert!(world.is_sent(first));
    assert!(!world.is_sent(second));
}

#[test]
fn the_prefetch_of_a_lost_worker_moves_too() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let [running, prefetched] = [world.submit(), world.submit()];
    assert_eq!(world.host_of(prefetched), "ash");
    world.join("birch", 2);

    world.lose("ash");

    assert_eq!(world.host_of(running), "birch");
    assert_eq!(world.host_of(prefetched), "birch");
}

#[test]
fn an_answer_is_not_given_again_while_an_attempt_that_was_given_up_is_back_and_may_commit() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit_with(|facts| facts.repeatable = false);
    world.start(job);
    let attempt = world.attempt_of(job);
    world.lose("ash");
    let answer = || Answer::Local(LocalReason::AttemptsExhausted(AttemptFailure::WorkerLost));
    assert_eq!(world.answers_for(job), [answer()]);

    world.join_holding("ash again", &[attempt], |_| {});
    let orders = world.resubmit(ClientId(2), job);

    let wait = Action::Wait { client: ClientId(2), job, delay: Config::default().ask_again };
    assert_eq!(orders, [wait, Action::Forget { job }]);
    world.report(world.id("ash again"), attempt, Err(AttemptFailure::Cancelled));
    world.resubmit(ClientId(2), job);
    assert_eq!(world.answers_for(job), [answer(), answer()]);
}

#[test]
fn an_outcome_is_kept_while_it_is_not_given_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    let attempt = world.attempt_of(job);
    world.join("birch", 1);
    world.lose("ash");
    world.finish(job);
    world.join_holding("ash again", &[attempt], |_| {});

    let orders = world.resubmit(ClientId(2), job);

    assert_eq!(orders, [Action::Wait { client: ClientId(2), job, delay: Config::default().ask_again }]);
    world.report(world.id("ash again"), attempt, Err(AttemptFailure::Cancelled));
    world.resubmit(ClientId(2), job);
    assert_eq!(world.answers_for(job), [Answer::Completed(2), Answer::Completed(2)]);
}
