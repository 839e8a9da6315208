//! Jobs that launchers take back, and the server that stops.

mod world;

use model::ids::OutputKey;
use model::job::JobKind;
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use scheduler_core::{Action, ClientId, Config, LocalReason};
use world::{Answer, LAUNCHER, World, seconds};

const ANOTHER: ClientId = ClientId(2);

#[test]
fn a_waiting_job_is_forgotten_at_once() {
    let mut world = World::with_workers([("ash", 1)]);
    let [_running, waiting] = [world.submit(), world.submit()];

    let orders = world.cancel(LAUNCHER, waiting);

    assert_eq!(orders, [Action::Forget { job: waiting }]);
}

#[test]
fn a_running_job_is_forgotten_when_its_worker_has_confirmed_its_end() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    let (worker, attempt) = (world.id("ash"), world.attempt_of(job));

    let orders = world.cancel(LAUNCHER, job);
    assert_eq!(orders, [Action::Cancel { worker, attempt }]);
    let orders = world.fail(job, AttemptFailure::Cancelled);

    assert_eq!(orders, [Action::Forget { job }]);
    assert_eq!(world.answers_for(job), []);
}

#[test]
fn a_cancelled_attempt_keeps_its_slot_until_it_has_ended() {
    let mut world = World::with_workers([("ash", 1)]);
    let [job, next] = [world.submit(), world.submit()];

    world.cancel(LAUNCHER, job);
    assert!(!world.is_sent(next));
    world.fail(job, AttemptFailure::Cancelled);

    assert!(world.is_sent(next));
}

#[test]
fn a_launcher_that_vanishes_takes_all_its_jobs_back() {
    let mut world = World::with_workers([("ash", 1)]);
    let [running, waiting] = [world.submit(), world.submit()];
    let (worker, attempt) = (world.id("ash"), world.attempt_of(running));

    let orders = world.launcher_gone(LAUNCHER);

    assert_eq!(orders, [Action::Cancel { worker, attempt }, Action::Forget { job: waiting }]);
}

#[test]
fn only_the_present_launcher_of_a_job_can_take_it_back() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.resubmit(ANOTHER, job);

    let by_cancelling = world.cancel(LAUNCHER, job);
    let by_vanishing = world.launcher_gone(LAUNCHER);
    world.finish(job);

    assert_eq!((by_cancelling, by_vanishing), (vec![], vec![]));
    assert_eq!(world.answers, [(ANOTHER, job, Answer::Completed(1))]);
}

#[test]
fn a_job_submitted_again_while_its_attempt_is_being_killed_waits_for_that() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    let job = world.submit();
    world.launcher_gone(LAUNCHER);

    world.resubmit(ANOTHER, job);
    assert_eq!(world.attempts_of(job), 1, "the first attempt may still be executing");
    world.fail(job, AttemptFailure::Cancelled);
    assert_eq!(world.attempts_of(job), 2);
    world.finish(job);

    assert_eq!(world.answers, [(ANOTHER, job, Answer::Completed(2))]);
}

#[test]
fn an_attempt_that_was_faster_than_its_cancellation_answers_whoever_asked_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.launcher_gone(LAUNCHER);
    world.resubmit(ANOTHER, job);

    world.finish(job);

    assert_eq!(world.answers, [(ANOTHER, job, Answer::Completed(1))]);
}

#[test]
fn an_attempt_number_is_not_used_twice_for_a_job_that_comes_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.launcher_gone(LAUNCHER);
    world.fail(job, AttemptFailure::Cancelled);
    assert!(world.forgotten.contains(&job));

    world.resubmit(ANOTHER, job);

    assert_eq!(world.attempts_of(job), 2);
}

#[test]
fn a_cancellation_that_got_lost_with_the_connection_is_sent_again() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    let (worker, attempt) = (world.id("ash"), world.attempt_of(job));
    world.disconnect("ash");
    assert_eq!(world.cancel(LAUNCHER, job), [], "nobody is there to be told");

    let orders = world.reconnect("ash", 1, &[attempt]);

    assert_eq!(orders, [Action::Cancel { worker, attempt }]);
}

#[test]
fn a_cancelled_job_on_a_lost_worker_is_forgotten() {
    let mut world = World::with_workers([("ash", 1)]);
    let job = world.submit();
    world.cancel(LAUNCHER, job);

    world.lose("ash");

    assert!(world.forgotten.contains(&job));
}

#[test]
fn no_worker_is_kept_any_longer_for_a_job_that_was_taken_back() {
    let config = Config { prefetch: 0, ageing: seconds(20), ..Config::default() };
    let mut world = World::configured(config, []);
    world.join_with("ash", |facts| (facts.slots, facts.memory) = (2, 64 << 30));
    let link =
        |world: &mut World| world.submit_with(|job| (job.kind, job.output) = (JobKind::Link, Some(OutputKey::new(1))));
    let measured = link(&mut world);
    let usage = ResourceUsage { wall: seconds(1), peak_memory: 60 << 30, ..ResourceUsage::default() };
    let (ash, attempt) = world.sent[&measured];
    world.report(ash, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));
    let [running, starving] = [link(&mut world), link(&mut world)];
    world.pass(seconds(31));
    let small = world.submit();
    assert_eq!([running, starving, small].map(|job| world.is_sent(job)), [true, false, false]);

    world.cancel(LAUNCHER, starving);

    assert!(world.is_sent(small));
}

#[test]
fn a_stopping_server_sends_home_what_waits_and_lets_what_runs_finish() {
    let mut world = World::with_workers([("ash", 1)]);
    let [running, waiting] = [world.submit(), world.submit()];
    world.start(running);

    world.tell(scheduler_core::Input::Stopping);
    let late = world.submit();
    world.finish(running);

    assert_eq!(world.answers_for(waiting), [Answer::Local(LocalReason::Stopping)]);
    assert_eq!(world.answers_for(late), [Answer::Local(LocalReason::Stopping)]);
    assert_eq!(world.answers_for(running), [Answer::Completed(1)]);
}

#[test]
fn a_stopping_server_answers_for_prefetched_jobs_only_when_they_came_back() {
    let mut world = World::configured(Config::default(), [("ash", 1)]);
    let [running, prefetched] = [world.submit(), world.submit()];
    world.start(running);
    let (worker, attempt) = (world.id("ash"), world.attempt_of(prefetched));

    let orders = world.tell(scheduler_core::Input::Stopping);
    assert_eq!(orders, [Action::Recall { worker, attempt }]);
    assert_eq!(world.answers_for(prefetched), []);
    world.fail(prefetched, AttemptFailure::HandedBack);

    assert_eq!(world.answers_for(prefetched), [Answer::Local(LocalReason::Stopping)]);
}
