//! Second attempts: who gets one, and how it comes that of the two only one commits.

mod world;

use std::time::Duration;

use model::ids::{Attempt, BuildId, OutputKey, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use scheduler_core::{
    Action, Commit, Condition, Config, ConfigError, HeldAttempt, Input, Placement, PlacementKind, Scheduler,
};
use world::{Answer, LAUNCHER, World, facts_of_a_worker, success};

const OUTPUT: u64 = 77;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cluster of isolating workers that knows how long the job with [`OUTPUT`] takes: a second.
fn cluster<const N: usize>(workers: [(&str, u32); N]) -> World {
    configured(Config::default(), workers)
}

fn configured<const N: usize>(config: Config, workers: [(&str, u32); N]) -> World {
    let mut world = World::configured(Config { prefetch: 0, ..config }, []);
    for (name, slots) in workers {
        world.join_with(name, |facts| (facts.slots, facts.isolates) = (slots, true));
    }
    let job = straggler(&mut world);
    world.start(job);
    let (worker, attempt) = world.sent[&job];
    let usage = ResourceUsage { wall: seconds(1), ..ResourceUsage::default() };
    world.report(worker, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));
    world
}

fn straggler(world: &mut World) -> model::ids::JobId {
    world.submit_with(|facts| facts.output = Some(OutputKey::new(OUTPUT)))
}

/// A job at its first worker, and its second attempt beside it.
fn doubled(world: &mut World) -> ((WorkerId, Attempt), (WorkerId, Attempt)) {
    let job = straggler(world);
    world.start(job);
    world.pass(seconds(4));
    (world.sent[&job], world.seconds[&job])
}

fn start(world: &mut World, (worker, attempt): (WorkerId, Attempt)) {
    world.tell(Input::AttemptStarted { worker, attempt });
}

fn ready(world: &mut World, (worker, attempt): (WorkerId, Attempt)) -> Vec<Action> {
    world.tell(Input::AttemptReady { worker, attempt })
}

fn register(world: &mut World, worker: WorkerId, holding: &[(Attempt, Commit)]) -> Vec<Action> {
    let facts = scheduler_core::WorkerFacts { isolates: true, ..facts_of_a_worker(1) };
    let holding = holding.iter().map(|&(attempt, commit)| HeldAttempt { attempt, commit }).collect();
    world.tell(Input::WorkerRegistered { worker, facts, holding })
}

#[test]
fn a_job_that_runs_far_too_long_is_tried_a_second_time_beside_the_first() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    world.start(job);

    world.pass(Duration::from_millis(1_900));
    assert!(world.seconds.is_empty(), "it has not run for twice its time");
    world.pass(Duration::from_millis(600));

    let (worker, attempt) = world.seconds[&job];
    assert_eq!((worker, attempt.number), (world.id("birch"), 2));
    assert!(world.permitted.is_empty());
    assert_eq!(world.snapshot().doubled, 1);
    let Some(Condition::Placed { second: Some(second), awaits_permission: false, .. }) =
        world.explain(job).map(|it| it.state)
    else {
        panic!("{:?}", world.explain(job));
    };
    assert_eq!((second.worker, second.number, second.started), (worker, 2, false));
}

#[test]
fn the_second_commits_when_it_is_ready_and_the_first_is_dead() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    start(&mut world, second);

    let orders = ready(&mut world, second);
    assert_eq!(orders, [Action::Cancel { worker: first.0, attempt: first.1 }]);
    let orders = world.report(first.0, first.1, Err(AttemptFailure::Cancelled));
    assert_eq!(orders, [Action::PermitCommit { worker: second.0, attempt: second.1 }]);
    world.report(second.0, second.1, Ok(success()));

    assert_eq!(world.answers_for(second.1.job), [Answer::Completed(2)]);
}

#[test]
fn the_first_to_give_an_outcome_answers_and_nobody_waits_for_the_end_of_the_second() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    start(&mut world, second);

    world.report(first.0, first.1, Ok(success()));
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1)]);
    assert!(world.orders.contains(&Action::Cancel { worker: second.0, attempt: second.1 }));
    world.report(second.0, second.1, Err(AttemptFailure::Cancelled));

    assert!(world.permitted.is_empty());
    assert_eq!(world.snapshot().cancelling, 0);
}

#[test]
fn an_outcome_of_the_first_that_overtakes_its_cancellation_is_the_jobs() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    ready(&mut world, second);

    world.report(first.0, first.1, Ok(success()));

    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1)]);
    assert!(world.permitted.is_empty());
    assert!(world.orders.contains(&Action::Cancel { worker: second.0, attempt: second.1 }));
}

#[test]
fn a_second_that_fails_is_forgotten_and_the_first_goes_on() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    start(&mut world, second);

    world.report(second.0, second.1, Err(AttemptFailure::OutOfMemory));
    world.pass(seconds(60));
    assert_eq!(world.explain(first.1.job).map(|it| it.failed), Some(0));
    assert_eq!(world.seconds.len(), 1, "and it is not tried a third time at once");
    world.report(first.0, first.1, Ok(success()));

    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1)]);
}

#[test]
fn a_second_whose_worker_is_lost_is_forgotten_and_the_first_goes_on() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, _) = doubled(&mut world);

    world.lose("birch");
    world.report(first.0, first.1, Ok(success()));

    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1)]);
}

/// Who is lost with a second attempt counts as much as who is lost with a first: the job may be what kills them.
#[test]
fn a_job_whose_second_attempt_and_then_whose_first_kill_their_workers_is_not_given_a_third() {
    for (has_begun, goes_home) in [(true, true), (false, false)] {
        let config = Config { max_losses: 2, max_attempts: 9, ..Config::default() };
        let mut world = configured(config, [("ash", 1), ("birch", 1)]);
        let (first, second) = doubled(&mut world);
        if has_begun {
            start(&mut world, second);
        }

        world.lose("birch");
        world.lose("ash");

        let answers = world.answers_for(first.1.job);
        assert_eq!(!answers.is_empty(), goes_home, "the second had begun: {has_begun}, and {answers:?}");
    }
}

#[test]
fn when_the_first_fails_the_second_may_commit_without_asking() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    start(&mut world, second);

    let orders = world.report(first.0, first.1, Err(AttemptFailure::OutOfMemory));

    assert_eq!(orders, [Action::PermitCommit { worker: second.0, attempt: second.1 }]);
    assert_eq!(world.attempts_of(first.1.job), 1, "no third attempt is made");
    world.report(second.0, second.1, Ok(success()));
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(2)]);
}

#[test]
fn what_is_given_up_goes_on_where_it_runs_already() {
    let mut world = configured(Config { max_attempts: 1, ..Config::default() }, [("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);

    let orders = world.report(first.0, first.1, Err(AttemptFailure::OutOfMemory));

    assert_eq!(orders, [Action::PermitCommit { worker: second.0, attempt: second.1 }]);
    world.report(second.0, second.1, Ok(success()));
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(2)]);
}

#[test]
fn a_silent_workers_job_is_tried_elsewhere_at_once_and_commits_when_the_lease_is_over() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    world.start(job);

    world.disconnect("ash");
    let second = world.seconds[&job];
    assert_eq!(second.0, world.id("birch"));
    start(&mut world, second);
    ready(&mut world, second);
    world.pass(Duration::from_millis(4_900));
    assert!(world.permitted.is_empty(), "ash may be committing");
    world.pass(Duration::from_millis(100));

    assert_eq!(world.permitted, [second]);
}

#[test]
fn a_silent_worker_that_comes_back_with_an_outcome_wins() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    world.start(job);
    let first = world.sent[&job];
    world.disconnect("ash");
    let second = world.seconds[&job];

    register(&mut world, first.0, &[(first.1, Commit::WhenDone)]);
    world.report(first.0, first.1, Ok(success()));

    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
    assert!(world.orders.contains(&Action::Cancel { worker: second.0, attempt: second.1 }));
}

#[test]
fn a_permission_that_was_lost_on_its_way_is_given_again() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    ready(&mut world, second);
    world.report(first.0, first.1, Err(AttemptFailure::Cancelled));

    world.disconnect("birch");
    let orders = register(&mut world, second.0, &[(second.1, Commit::WhenPermitted)]);

    assert_eq!(orders, [Action::PermitCommit { worker: second.0, attempt: second.1 }]);
}

#[test]
fn a_second_attempt_that_never_arrived_is_none() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);

    world.disconnect("birch");
    register(&mut world, second.0, &[]);

    assert_eq!(world.snapshot().doubled, 0);
    world.report(first.0, first.1, Ok(success()));
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1)]);
}

#[test]
fn a_second_attempt_outlives_a_broken_connection_and_takes_over_as_if_nothing_had_been() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);

    world.disconnect("birch");
    let orders = register(&mut world, second.0, &[(second.1, Commit::WhenPermitted)]);

    assert_eq!((orders, world.snapshot().doubled), (vec![], 1));
    world.lose("ash");
    assert_eq!(world.permitted, [second]);
    world.report(second.0, second.1, Ok(success()));
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(2)]);
}

#[test]
fn a_second_attempt_may_have_begun_while_its_worker_was_not_heard() {
    let mut world = configured(Config { max_losses: 2, ..Config::default() }, [("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    world.disconnect("birch");
    register(&mut world, second.0, &[(second.1, Commit::WhenPermitted)]);

    world.lose("birch");
    world.lose("ash");

    assert!(!world.answers_for(first.1.job).is_empty(), "it may have killed both");
}

#[test]
fn a_new_server_keeps_the_one_that_may_commit_whoever_comes_first() {
    for waiting_first in [true, false] {
        let mut world = World::new(Config { prefetch: 0, ..Config::default() });
        let job = world.new_id();
        world.resubmit(LAUNCHER, job);
        let (first, second) = (Attempt { job, number: 1 }, Attempt { job, number: 2 });
        let (ash, birch) = (WorkerId::new(1), WorkerId::new(2));

        let mut told = [(ash, first, Commit::WhenDone), (birch, second, Commit::WhenPermitted)];
        if waiting_first {
            told.reverse();
        }
        told.into_iter().for_each(|(worker, attempt, commit)| drop(register(&mut world, worker, &[(attempt, commit)])));

        assert!(world.permitted.is_empty());
        assert!(world.orders.contains(&Action::Cancel { worker: birch, attempt: second }));
        world.report(ash, first, Ok(success()));
        world.pass(seconds(5));
        assert_eq!(world.answers_for(job), [Answer::Completed(1)], "birch came first: {waiting_first}");
    }
}

#[test]
fn a_new_server_permits_nothing_before_every_worker_has_had_its_time_to_speak() {
    let mut world = World::new(Config { prefetch: 0, ..Config::default() });
    let job = world.new_id();
    world.resubmit(LAUNCHER, job);
    let (birch, second) = (WorkerId::new(2), Attempt { job, number: 2 });

    register(&mut world, birch, &[(second, Commit::WhenPermitted)]);
    ready(&mut world, (birch, second));
    world.pass(Duration::from_millis(4_999));
    assert!(world.permitted.is_empty());
    world.pass(Duration::from_millis(1));

    assert_eq!(world.permitted, [(birch, second)]);
}

#[test]
fn only_what_may_be_repeated_and_edits_nothing_in_place_gets_a_second_attempt() {
    let spared: [fn(&mut JobFacts); 2] = [|facts| facts.repeatable = false, |facts| facts.kind = JobKind::Archive];
    for spare in spared {
        let mut world = cluster([("ash", 1), ("birch", 1)]);
        let job = world.submit_with(|facts| {
            facts.output = Some(OutputKey::new(OUTPUT));
            spare(facts);
        });
        world.start(job);

        world.pass(seconds(3_600));
        world.disconnect("ash");

        assert!(world.seconds.is_empty());
    }
}

#[test]
fn both_workers_must_isolate() {
    let mut world = cluster([("ash", 1)]);
    world.join("birch", 1);
    let job = straggler(&mut world);
    world.start(job);
    let elsewhere = straggler(&mut world);
    world.start(elsewhere);
    assert_eq!((world.host_of(job), world.host_of(elsewhere)), ("ash", "birch"));
    world.join("cedar", 1);

    world.pass(seconds(60));
    assert!(world.seconds.is_empty(), "cedar does not isolate");
    world.join_with("fir", |facts| facts.isolates = true);
    world.pass(seconds(60));

    assert_eq!(world.seconds.keys().copied().collect::<Vec<_>>(), [job], "birch does not isolate");
}

#[test]
fn of_an_earlier_servers_two_attempts_the_one_that_may_commit_is_the_first() {
    let mut world = World::new(Config::default());
    world.join_with("ash", |facts| facts.isolates = true);
    world.join_with("birch", |facts| facts.isolates = true);
    let job = world.new_id();
    let held = |number, commit| [(Attempt { job, number }, commit)];
    let (ash, birch) = (world.id("ash"), world.id("birch"));
    register(&mut world, ash, &held(1, Commit::WhenDone));
    register(&mut world, birch, &held(2, Commit::WhenPermitted));

    world.resubmit(LAUNCHER, job);

    let state = world.explain(job).map(|it| it.state);
    assert!(matches!(state, Some(Condition::Placed { worker, number: 1, .. }) if worker == ash), "{state:?}");
}

#[test]
fn the_end_of_a_second_attempt_does_not_take_the_answer_away_that_the_first_gave() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    world.report(first.0, first.1, Ok(success()));

    let orders = world.report(second.0, second.1, Err(AttemptFailure::Cancelled));

    assert_eq!(orders, []);
    world.resubmit(LAUNCHER, first.1.job);
    assert_eq!(world.answers_for(first.1.job), [Answer::Completed(1), Answer::Completed(1)]);
}

#[test]
fn a_first_attempt_that_works_in_place_gets_no_second_however_long_it_takes() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    let (worker, attempt) = world.sent[&job];
    world.tell(Input::AttemptInPlace { worker, attempt });
    world.start(job);

    world.pass(seconds(3_600));
    world.disconnect("ash");

    assert!(world.seconds.is_empty());
    register(&mut world, worker, &[(attempt, Commit::WhenDone)]);
    world.disconnect("ash");
    assert!(world.seconds.is_empty(), "it is remembered when the worker comes back");
}

#[test]
fn an_attempt_that_is_heard_to_work_in_place_before_it_is_heard_to_have_started_gets_no_second() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    let (worker, attempt) = world.sent[&job];
    world.tell(Input::AttemptInPlace { worker, attempt });

    world.disconnect("ash");

    assert!(world.seconds.is_empty());
}

#[test]
fn a_second_attempt_ends_when_its_first_is_heard_to_work_in_place() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    let first = world.sent[&job];
    world.disconnect("ash");
    let second = world.seconds[&job];
    register(&mut world, first.0, &[(first.1, Commit::WhenDone)]);

    let orders = world.tell(Input::AttemptInPlace { worker: first.0, attempt: first.1 });

    assert_eq!(orders, [Action::Cancel { worker: second.0, attempt: second.1 }]);
    ready(&mut world, second);
    assert!(world.permitted.is_empty());
    world.report(second.0, second.1, Err(AttemptFailure::Cancelled));
    world.report(first.0, first.1, Ok(success()));
    assert_eq!(world.answers_for(job), [Answer::Completed(1)]);
}

#[test]
fn an_attempt_that_may_have_begun_in_place_unheard_gets_no_second() {
    let mut world = World::configured(Config { prefetch: 0, ..Config::default() }, []);
    let users = |facts: &mut scheduler_core::WorkerFacts| {
        (facts.isolates, facts.only_user) = (true, Some(world::facts_of_a_job().user));
    };
    world.join_with("ash", users);
    let job = straggler(&mut world);
    world.join_with("birch", |facts| facts.isolates = true);

    world.disconnect("ash");
    assert!(world.seconds.is_empty(), "a user's worker cannot isolate every command, and has not said");
    let (worker, attempt) = world.sent[&job];
    world.tell(Input::WorkerRegistered {
        worker,
        facts: {
            let mut facts = facts_of_a_worker(1);
            users(&mut facts);
            facts
        },
        holding: vec![attempt.into()],
    });
    world.start(job);
    world.disconnect("ash");

    assert_eq!(world.seconds[&job].0, world.id("birch"));
}

#[test]
fn what_waits_goes_before_second_attempts() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    world.start(job);
    let other = world.submit_with(|facts| facts.output = Some(OutputKey::new(5)));
    world.start(other);
    let waiting = world.submit();

    world.pass(seconds(60));
    assert!(world.seconds.is_empty());
    world.finish(other);
    world.pass(seconds(1));

    assert_eq!(world.host_of(waiting), "birch");
    assert!(world.seconds.is_empty());
}

#[test]
fn second_attempts_are_a_share_of_what_runs() {
    let config = Config { speculation_share: 50, ..Config::default() };
    let mut world = configured(config, [("ash", 4), ("birch", 16)]);
    let jobs: Vec<_> = (0..6).map(|_| straggler(&mut world)).collect();
    jobs.iter().for_each(|&job| world.start(job));

    world.pass(seconds(60));

    assert_eq!(world.seconds.len(), 3);
}

#[test]
fn a_second_attempt_that_nobody_wants_any_more_is_none_though_no_worker_can_be_told() {
    let names = ["ash", "birch", "cedar", "dogwood"];
    let mut world = cluster(names.map(|name| (name, 1)));
    let jobs = [straggler(&mut world), straggler(&mut world)];
    jobs.iter().for_each(|&job| world.start(job));
    world.pass(seconds(4));
    assert_eq!(world.seconds.len(), 1, "one is what is allowed");
    let (first, other) = if world.seconds.contains_key(&jobs[0]) { (jobs[0], jobs[1]) } else { (jobs[1], jobs[0]) };
    let its_workers = [world.sent[&first].0, world.seconds[&first].0];
    for name in names.into_iter().filter(|name| its_workers.contains(&world.id(name))).collect::<Vec<_>>() {
        world.disconnect(name);
    }

    let orders = world.cancel(LAUNCHER, first);
    world.pass(seconds(1));

    assert_eq!(orders, [], "there is nobody to tell");
    assert!(world.seconds.contains_key(&other));
}

#[test]
fn a_build_whose_jobs_all_take_longer_than_predicted_has_no_stragglers() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    for number in 0..10 {
        let slow = straggler_of(&mut world, number);
        world.start(slow);
        world.pass(seconds(1));
        let (worker, attempt) = world.sent[&slow];
        let wall = world.explain(slow).map_or(seconds(1), |it| it.prediction.duration) * 10;
        let usage = ResourceUsage { wall, ..ResourceUsage::default() };
        world.report(worker, attempt, Ok(Outcome { exit: ExitStatus::Code(0), usage }));
    }
    let job = straggler_of(&mut world, 99);
    world.start(job);

    world.pass(seconds(8));

    assert!(world.seconds.is_empty());
}

/// Another job of another build, of which only its directory's history is known.
fn straggler_of(world: &mut World, output: u64) -> model::ids::JobId {
    world.submit_with(|facts| (facts.output, facts.build) = (Some(OutputKey::new(1_000 + output)), BuildId::new(9)))
}

#[test]
fn nobody_is_tried_twice_where_that_is_switched_off() {
    let mut world = configured(Config { speculation: false, ..Config::default() }, [("ash", 1), ("birch", 1)]);
    let job = straggler(&mut world);
    world.start(job);

    world.pass(seconds(60));
    world.disconnect("ash");

    assert!(world.seconds.is_empty());
}

#[test]
fn a_launcher_that_takes_a_doubled_job_back_has_both_killed() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);

    world.cancel(LAUNCHER, first.1.job);
    for (worker, attempt) in [second, first] {
        assert!(world.orders.contains(&Action::Cancel { worker, attempt }));
        world.report(worker, attempt, Err(AttemptFailure::Cancelled));
    }

    assert!(world.forgotten.contains(&first.1.job));
    assert!(world.permitted.is_empty() && world.answers_for(first.1.job).is_empty());
}

#[test]
fn the_second_is_there_because_a_slot_was_idle() {
    let mut world = cluster([("ash", 1), ("birch", 1)]);
    let (first, second) = doubled(&mut world);
    ready(&mut world, second);

    let state = world.explain(first.1.job).map(|it| it.state);

    let Some(Condition::Placed { placement: Placement { kind, .. }, awaits_permission, .. }) = state else {
        panic!("{state:?}");
    };
    assert_eq!((kind, awaits_permission), (PlacementKind::SecondAttempt, true));
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let too_small = Config { speculation_factor: 99, ..Config::default() };
    let least = ConfigError::TooSmall { field: "speculation_factor", least: 100 };
    assert_eq!(Scheduler::new(too_small).err(), Some(least));

    let at_once = Config { speculation_after: Duration::ZERO, ..Config::default() };
    assert_eq!(Scheduler::new(at_once).err(), Some(ConfigError::MustBePositive { field: "speculation_after" }));
}
