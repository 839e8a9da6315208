//! The server died, and the next one knows whom to wait for.

mod world;

use std::time::Duration;

use model::ids::{Attempt, Incarnation, JobId};
use model::outcome::AttemptFailure;
use scheduler_core::{Config, Input};
use world::{Answer, LAUNCHER, World, millis, seconds};

const ASH: Incarnation = Incarnation::from_bytes([1; 16]);
const BIRCH: Incarnation = Incarnation::from_bytes([2; 16]);

fn attempt(job: JobId, number: u32) -> Attempt {
    Attempt { job, number }
}

/// A new server with this roster, and a job that was submitted to the one before.
fn new_server(expected: &[Incarnation], lease: Duration) -> (World, JobId) {
    let roster = Input::Roster { expected: expected.to_vec(), lease };
    let mut world = World::told_first(Config { prefetch: 0, ..Config::default() }, roster);
    let job = world.new_id();
    world.resubmit(LAUNCHER, job);
    (world, job)
}

fn join(world: &mut World, name: &str, incarnation: Incarnation, holding: &[Attempt]) {
    world.join_holding(name, holding, |facts| facts.incarnation = incarnation);
}

#[test]
fn a_job_that_nobody_names_is_given_out_when_all_have_spoken() {
    let (mut world, job) = new_server(&[ASH, BIRCH], seconds(5));

    join(&mut world, "ash", ASH, &[]);
    assert!(!world.is_sent(job), "birch may be running it");
    join(&mut world, "birch", BIRCH, &[]);

    assert!(world.is_sent(job));
}

#[test]
fn a_job_that_somebody_runs_is_adopted_and_answered_at_once() {
    let (mut world, job) = new_server(&[ASH, BIRCH], seconds(5));

    join(&mut world, "ash", ASH, &[]);
    join(&mut world, "birch", BIRCH, &[attempt(job, 4)]);
    assert!(!world.is_sent(job));
    world.report(world.id("birch"), attempt(job, 4), Ok(world::success()));

    assert_eq!(world.answers_for(job), [Answer::Completed(4)]);
}

#[test]
fn an_outcome_in_hand_waits_only_for_those_who_have_not_spoken() {
    let (mut world, job) = new_server(&[ASH, BIRCH], seconds(5));
    join(&mut world, "ash", ASH, &[attempt(job, 1)]);
    world.report(world.id("ash"), attempt(job, 1), Ok(world::success()));
    assert_eq!(world.answers_for(job), [], "birch may be running a later attempt");

    join(&mut world, "birch", BIRCH, &[]);

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
}

#[test]
fn the_dead_are_not_waited_for() {
    let (mut world, job) = new_server(&[ASH, BIRCH], seconds(5));
    join(&mut world, "ash", ASH, &[]);

    world.tell(Input::WorkerDied { incarnation: BIRCH });

    assert_eq!(world.host_of(job), "ash");
}

#[test]
fn a_stranger_neither_ends_the_waiting_nor_prolongs_it() {
    let (mut world, job) = new_server(&[ASH], seconds(5));

    join(&mut world, "birch", BIRCH, &[]);
    world.tell(Input::WorkerDied { incarnation: BIRCH });
    assert!(!world.is_sent(job));
    join(&mut world, "ash", ASH, &[]);

    assert!(world.is_sent(job));
}

#[test]
fn a_roster_of_which_nobody_registers_is_not_believed() {
    let (mut world, job) = new_server(&[BIRCH], seconds(5));
    join(&mut world, "ash", ASH, &[]);

    world.tell(Input::WorkerDied { incarnation: BIRCH });
    world.pass(millis(4_999));
    assert!(!world.is_sent(job));
    world.pass(millis(1));

    assert!(world.is_sent(job));
}

#[test]
fn an_empty_roster_is_as_good_as_none() {
    let (mut world, job) = new_server(&[], seconds(5));

    join(&mut world, "ash", ASH, &[]);
    world.pass(millis(4_999));

    assert!(!world.is_sent(job));
}

#[test]
fn who_does_not_come_back_is_waited_for_as_long_as_any_lease_may_run() {
    let (mut world, job) = new_server(&[ASH, BIRCH], seconds(20));
    join(&mut world, "ash", ASH, &[]);

    world.pass(millis(19_999));
    assert!(!world.is_sent(job));
    world.pass(millis(1));

    assert!(world.is_sent(job));
}

#[test]
fn a_roster_that_is_doubted_shortens_nothing() {
    let (mut world, job) = new_server(&[ASH], seconds(5));

    world.tell(Input::RosterDoubted);
    join(&mut world, "ash", ASH, &[]);
    world.pass(millis(4_999));

    assert!(!world.is_sent(job));
}

#[test]
fn a_roster_that_comes_late_is_passed_over() {
    let mut world = World::new(Config { prefetch: 0, ..Config::default() });
    world.tell(Input::Roster { expected: vec![ASH], lease: seconds(5) });
    let job = world.new_id();
    world.resubmit(LAUNCHER, job);

    join(&mut world, "ash", ASH, &[]);

    assert!(!world.is_sent(job));
}

#[test]
fn what_cannot_be_repeated_goes_home_as_soon_as_it_is_certain_that_nobody_runs_it() {
    let roster = Input::Roster { expected: vec![ASH], lease: seconds(5) };
    let mut world = World::told_first(Config { prefetch: 0, ..Config::default() }, roster);
    let job = world.new_id();
    world.resubmit_with(LAUNCHER, job, |job| job.repeatable = false);

    join(&mut world, "ash", ASH, &[]);

    let exhausted = scheduler_core::LocalReason::AttemptsExhausted(AttemptFailure::WorkerLost);
    assert_eq!(world.answers_for(job), [Answer::Local(exhausted)]);
}
