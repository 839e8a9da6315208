//! What follows a failed attempt.

mod world;

use model::outcome::AttemptFailure;
use scheduler_core::LocalReason;
use world::{Answer, World, seconds};

#[test]
fn a_job_that_a_machine_failed_is_tried_on_another() {
    let mut world = World::with_workers([("ash", 2), ("birch", 1)]);
    let job = world.submit();

    world.fail(job, AttemptFailure::NoSpace("scratch".into()));

    assert_eq!(world.host_of(job), "birch");
    assert_eq!(world.attempts_of(job), 2);
}

#[test]
fn a_failed_job_waits_for_an_untried_worker_rather_than_go_back() {
    let mut world = World::with_workers([("ash", 2), ("birch", 1)]);
    let [job, _other] = [world.submit(), world.submit()];
    let busy = world.submit();
    assert_eq!(world.host_of(busy), "birch");

    world.fail(job, AttemptFailure::OutOfMemory);
    assert_eq!(world.attempts_of(job), 1, "ash has room, and has failed it");
    world.finish(busy);

    assert_eq!(world.host_of(job), "birch");
}

#[test]
fn attempts_run_out() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1), ("cedar", 1), ("fir", 1)]);
    let job = world.submit();

    world.fail(job, AttemptFailure::KilledByStranger(9));
    world.fail(job, AttemptFailure::KilledByStranger(9));
    world.fail(job, AttemptFailure::OutOfMemory);

    let exhausted = LocalReason::AttemptsExhausted(AttemptFailure::OutOfMemory);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
    assert_eq!(world.attempts_of(job), 3);
}

#[test]
fn a_job_that_every_worker_has_failed_goes_home_with_attempts_left() {
    let mut world = World::with_workers([("ash", 1)]);
    world.pass(seconds(10));
    let job = world.submit();

    let failure = AttemptFailure::InputsNotVisible("a.h".into());
    world.fail(job, failure.clone());

    assert_eq!(world.answers_for(job), [Answer::Local(LocalReason::AttemptsExhausted(failure))]);
}

#[test]
fn being_handed_back_costs_no_attempt_and_bars_no_worker() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();

    for _ in 0..5 {
        world.fail(job, AttemptFailure::HandedBack);
    }
    // Were those attempts, this one that failed would have been the last.
    world.fail(job, AttemptFailure::Cancelled);
    world.finish(job);

    assert_eq!(world.answers_for(job), [Answer::Completed(7)]);
}

#[test]
fn an_outcome_is_final_whatever_the_compiler_said() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    let error = model::outcome::Outcome { exit: model::outcome::ExitStatus::Code(1), ..world::success() };

    world.report(world.id("ash"), world.attempt_of(job), Ok(error));

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
    assert_eq!(world.attempts_of(job), 1);
}

#[test]
fn a_repeated_or_late_report_changes_nothing() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    let first = world.attempt_of(job);
    world.fail(job, AttemptFailure::OutOfMemory);
    assert_eq!(world.host_of(job), "birch");

    let late = world.report(world.id("ash"), first, Ok(world::success()));
    world.finish(job);
    let repeated = world.finish(job);

    assert_eq!(late, []);
    assert_eq!(repeated, []);
    assert_eq!(world.answers_for(job), [Answer::Completed(2)]);
}

#[test]
fn what_cannot_be_repeated_goes_home_once_it_may_have_begun() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit_with(|job| job.repeatable = false);
    world.start(job);

    world.lose("ash");

    let exhausted = LocalReason::AttemptsExhausted(AttemptFailure::WorkerLost);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
}

#[test]
fn what_a_worker_still_has_when_it_comes_back_may_have_begun() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit_with(|job| job.repeatable = false);
    let attempt = world.attempt_of(job);
    world.disconnect("ash");
    world.reconnect("ash", 1, &[attempt]);

    world.lose("ash");

    let exhausted = LocalReason::AttemptsExhausted(AttemptFailure::WorkerLost);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
}

#[test]
fn what_cannot_be_repeated_is_tried_again_while_it_has_not_begun() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit_with(|job| job.repeatable = false);

    world.fail(job, AttemptFailure::SpawnFailed("no such file".into()));

    assert_eq!(world.host_of(job), "birch");
}

#[test]
fn an_answer_that_got_lost_is_given_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.finish(job);

    world.resubmit(scheduler_core::ClientId(2), job);

    assert_eq!(world.answers_for(job), [Answer::Completed(1), Answer::Completed(1)]);
    assert_eq!(world.answers[1].0, scheduler_core::ClientId(2));
}

#[test]
fn a_delivered_outcome_is_forgotten_in_the_end() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.finish(job);

    world.pass(seconds(59));
    assert!(!world.forgotten.contains(&job));
    world.pass(seconds(2));

    assert!(world.forgotten.contains(&job));
}

#[test]
fn commits_that_failed_are_counted_and_two_of_them_are_enough() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1), ("cedar", 1)]);
    let job = world.submit();

    world.fail(job, AttemptFailure::CommitFailed("no space".into()));
    assert_eq!((world.attempts_of(job), world.answers_for(job)), (2, vec![]));
    world.fail(job, AttemptFailure::CommitFailed("no space".into()));

    assert_eq!(world.attempts_of(job), 2);
    assert!(matches!(&world.answers_for(job)[..], [Answer::Local(LocalReason::AttemptsExhausted(_))]));
}
