//! The server died, and another took over.

mod world;

use model::ids::{Attempt, JobId};
use model::outcome::AttemptFailure;
use scheduler_core::{Action, ClientId, Config, LocalReason, PlacementKind};
use world::{Answer, LAUNCHER, World, millis, seconds};

fn attempt(job: JobId, number: u32) -> Attempt {
    Attempt { job, number }
}

fn new_server() -> (World, JobId) {
    let mut world = World::new(Config { prefetch: 0, ..Config::default() });
    let job = world.new_id();
    (world, job)
}

#[test]
fn a_job_that_a_worker_names_first_is_adopted_when_its_launcher_comes() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 2)], |_| {});

    world.resubmit(LAUNCHER, job);
    world.pass(seconds(5));
    assert!(!world.is_sent(job));
    assert_eq!(world.placement_of(job).map(|it| it.kind), Some(PlacementKind::Adopted));
    world.report(world.id("ash"), attempt(job, 2), Ok(world::success()));

    assert_eq!(world.answers_for(job), [Answer::Completed(2)]);
}

#[test]
fn a_job_that_its_launcher_names_first_is_adopted_when_its_worker_comes() {
    let (mut world, job) = new_server();
    world.join("birch", 4);
    world.resubmit(LAUNCHER, job);
    world.pass(seconds(4));
    assert!(!world.is_sent(job), "somebody may be running it");

    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));
    world.pass(seconds(1));

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
    assert!(!world.is_sent(job));
}

#[test]
fn a_job_that_no_worker_names_within_a_lease_is_given_out() {
    let (mut world, job) = new_server();
    world.join("ash", 1);
    world.resubmit(LAUNCHER, job);

    world.pass(millis(4_999));
    assert!(!world.is_sent(job));
    world.pass(millis(1));

    assert_eq!(world.host_of(job), "ash");
}

#[test]
fn a_job_submitted_for_the_first_time_need_not_wait() {
    let (mut world, _) = new_server();
    world.join("ash", 1);

    let job = world.submit();

    assert!(world.is_sent(job));
}

#[test]
fn a_result_that_came_before_its_launcher_is_kept_for_it() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 3)], |_| {});
    world.report(world.id("ash"), attempt(job, 3), Ok(world::success()));
    world.pass(seconds(5));

    let orders = world.resubmit(LAUNCHER, job);

    assert_eq!(orders, [Action::Complete { client: LAUNCHER, attempt: attempt(job, 3) }]);
}

#[test]
fn a_failure_that_came_before_its_launcher_leads_to_another_attempt() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 3)], |_| {});
    world.join("birch", 1);
    world.report(world.id("ash"), attempt(job, 3), Err(AttemptFailure::OutOfMemory));

    world.resubmit(LAUNCHER, job);
    world.pass(seconds(5));

    assert_eq!(world.host_of(job), "birch");
    assert_eq!(world.attempts_of(job), 4);
}

#[test]
fn what_cannot_be_repeated_is_not_run_again_after_a_restart_that_saw_it_fail() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |facts| facts.slots = 2);
    world.report(world.id("ash"), attempt(job, 1), Err(AttemptFailure::Cancelled));

    world.resubmit_with(LAUNCHER, job, |job| job.repeatable = false);
    world.pass(seconds(5));

    let exhausted = LocalReason::AttemptsExhausted(AttemptFailure::Cancelled);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
}

#[test]
fn what_cannot_be_repeated_is_not_run_when_nobody_knows_what_became_of_it() {
    let (mut world, job) = new_server();
    world.join("ash", 1);
    world.resubmit_with(LAUNCHER, job, |job| job.repeatable = false);

    world.pass(seconds(5));

    let exhausted = LocalReason::AttemptsExhausted(AttemptFailure::WorkerLost);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
    assert!(!world.is_sent(job));
}

#[test]
fn what_an_earlier_server_may_have_begun_and_cannot_be_repeated_stays_so_when_it_is_handed_back() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 2)], |_| {});
    world.resubmit_with(LAUNCHER, job, |job| job.repeatable = false);

    world.report(world.id("ash"), attempt(job, 2), Err(AttemptFailure::HandedBack));
    world.pass(seconds(30));

    assert!(!world.is_sent(job) && world.attempts_of(job) == 0, "attempt 1 may have done part of it");
    assert!(matches!(&world.answers_for(job)[..], [Answer::Local(LocalReason::AttemptsExhausted(_))]));
}

#[test]
fn an_adopted_job_that_fails_gets_a_higher_number() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 7)], |_| {});
    world.join("birch", 1);
    world.resubmit(LAUNCHER, job);

    world.report(world.id("ash"), attempt(job, 7), Err(AttemptFailure::OutOfMemory));
    world.pass(seconds(5));

    assert_eq!(world.attempts_of(job), 8);
}

#[test]
fn what_nobody_claims_is_cancelled_after_two_leases() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    let cancel = Action::Cancel { worker: world.id("ash"), attempt: attempt(job, 1) };

    world.pass(millis(9_999));
    assert!(!world.orders.contains(&cancel));
    world.pass(millis(1));

    assert!(world.orders.contains(&cancel));
}

#[test]
fn what_was_cancelled_because_nobody_claimed_it_is_forgotten_when_it_ends() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.pass(seconds(120));
    assert!(!world.forgotten.contains(&job), "it has not ended");

    world.report(world.id("ash"), attempt(job, 1), Err(AttemptFailure::Cancelled));

    assert!(world.forgotten.contains(&job));
}

#[test]
fn of_two_ends_of_a_job_that_nobody_has_claimed_yet_the_good_one_counts_and_else_the_last_attempts() {
    let held_twice = || {
        let (mut world, job) = new_server();
        world.join_holding("ash", &[attempt(job, 1)], |_| {});
        world.join_holding("birch", &[attempt(job, 2)], |_| {});
        (world, job)
    };
    let failed = || Err(AttemptFailure::NoSpace("scratch".into()));

    let (mut world, job) = held_twice();
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));
    world.report(world.id("birch"), attempt(job, 2), failed());
    world.resubmit(LAUNCHER, job);
    world.pass(seconds(6));
    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);

    let (mut world, job) = held_twice();
    world.report(world.id("birch"), attempt(job, 2), failed());
    world.report(world.id("ash"), attempt(job, 1), failed());
    world.join("cedar", 1);
    world.resubmit(LAUNCHER, job);
    world.pass(seconds(6));
    assert_eq!(world.attempts_of(job), 3, "no number is used twice");
}

#[test]
fn a_result_that_nobody_claims_is_forgotten() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));

    world.pass(seconds(60));

    assert!(world.forgotten.contains(&job));
}

#[test]
fn of_two_attempts_of_one_job_only_one_is_adopted_and_the_other_ends_first() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.join_holding("birch", &[attempt(job, 2)], |_| {});

    let orders = world.resubmit(LAUNCHER, job);
    assert_eq!(orders, [Action::Cancel { worker: world.id("ash"), attempt: attempt(job, 1) }]);
    world.report(world.id("birch"), attempt(job, 2), Ok(world::success()));
    world.pass(seconds(5));
    assert_eq!(world.answers_for(job), [], "the other may still be writing");
    world.report(world.id("ash"), attempt(job, 1), Err(AttemptFailure::Cancelled));

    assert_eq!(world.answers_for(job), [Answer::Completed(2)]);
}

#[test]
fn the_outcome_of_a_given_up_attempt_waits_for_the_one_that_followed_it() {
    // The earlier server lost ash, gave the job to birch, and died; ash is the first to speak to the new one.
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));
    world.resubmit(LAUNCHER, job);
    assert_eq!(world.answers_for(job), [], "birch may be running it");

    world.join_holding("birch", &[attempt(job, 2)], |_| {});
    let birch = world.id("birch");
    assert_eq!(world.orders.last(), Some(&Action::Cancel { worker: birch, attempt: attempt(job, 2) }));
    world.report(birch, attempt(job, 2), Err(AttemptFailure::Cancelled));
    world.pass(seconds(5));

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
}

#[test]
fn the_attempt_that_followed_a_failed_one_is_adopted_when_it_turns_up() {
    let (mut world, job) = new_server();
    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.resubmit(LAUNCHER, job);
    world.report(world.id("ash"), attempt(job, 1), Err(AttemptFailure::Cancelled));
    assert!(!world.is_sent(job), "birch may be running it");

    world.join_holding("birch", &[attempt(job, 2)], |_| {});
    world.pass(seconds(5));
    world.report(world.id("birch"), attempt(job, 2), Ok(world::success()));

    assert_eq!(world.answers_for(job), [Answer::Completed(2)]);
    assert!(!world.is_sent(job) && !world.orders.iter().any(|it| matches!(it, Action::Cancel { .. })));
}

#[test]
fn a_job_taken_back_while_it_awaits_adoption_leaves_its_worker_to_be_told_later() {
    let (mut world, job) = new_server();
    world.resubmit(LAUNCHER, job);
    world.launcher_gone(LAUNCHER);

    world.join_holding("ash", &[attempt(job, 1)], |_| {});
    world.resubmit(ClientId(2), job);
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));
    world.pass(seconds(5));

    assert_eq!(world.answers, [(ClientId(2), job, Answer::Completed(1))]);
}

#[test]
fn a_scheduler_that_has_seen_nothing_has_no_deadline() {
    let scheduler = scheduler_core::Scheduler::new(Config::default()).expect("default settings");

    assert_eq!(scheduler.next_deadline(), None);
}
