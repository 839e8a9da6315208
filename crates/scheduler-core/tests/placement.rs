//! Where a job goes, and what nobody can take.

mod world;

use model::ids::{CpuClass, DirKey, JobId, ToolchainKey, UserId};
use model::job::JobKind;
use model::outcome::AttemptFailure;
use scheduler_core::{Action, Config, LocalReason, Placement, PlacementKind, Unmet, WorkerLoad, WorkerState};
use world::{Answer, World, dirs, seconds};

#[test]
fn a_job_goes_where_its_output_directory_is_warm() {
    let mut world = World::with_workers([("ash", 8), ("birch", 2)]);
    world.warm("birch", &[7]);

    let job = world.submit_with(|job| job.dirs = dirs(&[7, 8]));

    assert_eq!(world.host_of(job), "birch");
    let expected = Placement { kind: PlacementKind::IdleSlot, candidates: 2, warmth: 2, ..Placement::default() };
    assert_eq!(world.placement_of(job), Some(expected));
}

#[test]
fn a_job_makes_its_directories_warm_where_it_goes() {
    let mut world = World::with_workers([("ash", 2), ("birch", 2)]);
    let first = world.submit_with(|job| job.dirs = dirs(&[7]));

    let second = world.submit_with(|job| job.dirs = dirs(&[7]));

    assert_eq!(world.host_of(second), world.host_of(first));
}

#[test]
fn no_job_waits_for_warmth_while_a_cold_slot_idles() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    world.warm("ash", &[7]);
    let first = world.submit_with(|job| job.dirs = dirs(&[7]));

    let second = world.submit_with(|job| job.dirs = dirs(&[7]));

    assert_eq!(world.host_of(first), "ash");
    assert_eq!(world.host_of(second), "birch");
}

#[test]
fn cold_jobs_go_where_most_slots_idle_then_where_others_load_least() {
    let mut world = World::with_workers([("ash", 1), ("birch", 2), ("cedar", 2)]);
    world.alive("birch", WorkerLoad { memory_available: 0, foreign_load_centi: 150 });

    let [first, second] = [world.submit(), world.submit()];

    assert_eq!(world.host_of(first), "cedar");
    assert_eq!(world.host_of(second), "birch");
}

#[test]
fn a_link_goes_where_memory_is_left() {
    let mut world = World::with_workers([("ash", 1), ("birch", 1)]);
    world.alive("ash", WorkerLoad { memory_available: 1 << 20, foreign_load_centi: 0 });

    let link = world.submit_with(|job| job.kind = JobKind::Link);

    assert_eq!(world.host_of(link), "birch");
}

#[test]
fn a_link_that_no_idle_worker_may_take_does_not_block_the_compiles_behind_it() {
    let mut world = World::with_workers([]);
    world.join_with("ash", |facts| facts.linking = false);
    world.join_with("birch", |_| {});
    let running = world.submit_with(|job| job.kind = JobKind::Link);
    let blocked = world.submit_with(|job| job.kind = JobKind::Link);

    let compile = world.submit();

    assert_eq!(world.host_of(running), "birch");
    assert!(!world.is_sent(blocked));
    assert_eq!(world.host_of(compile), "ash");
}

#[test]
fn the_scheduler_never_sends_a_worker_more_than_its_slots_when_nothing_is_prefetched() {
    let mut world = World::with_workers([("ash", 2)]);

    let jobs = [world.submit(), world.submit(), world.submit()];

    assert_eq!(jobs.map(|job| world.is_sent(job)), [true, true, false]);
    assert_eq!(world.snapshot().waiting, 1);
    assert_eq!(world.snapshot().workers[0].held, 2);
}

#[test]
fn a_draining_worker_gets_nothing() {
    let mut world = World::with_workers([("ash", 4), ("birch", 1)]);

    world.drain("ash");
    let job = world.submit();

    assert_eq!(world.host_of(job), "birch");
    assert_eq!(world.snapshot().workers[0].state, WorkerState::Draining);
}

#[test]
fn a_worker_that_drained_takes_jobs_again_when_it_says_so() {
    let mut world = World::with_workers([("ash", 1)]);
    world.drain("ash");
    let job = world.submit();
    assert_eq!(world.snapshot().waiting, 1);

    world.resume("ash");

    assert_eq!(world.host_of(job), "ash");
}

#[test]
fn a_job_for_one_class_of_cpu_goes_to_a_worker_of_that_class() {
    let mut world = World::with_workers([]);
    world.join_with("ash", |facts| facts.cpu_class = Some(CpuClass::new(1)));
    world.join_with("birch", |facts| facts.cpu_class = Some(CpuClass::new(2)));
    world.join_with("cedar", |_| {});

    let native = world.submit_with(|job| job.cpu_class = Some(CpuClass::new(2)));

    assert_eq!(world.host_of(native), "birch");
    world.join_with("dogwood", |facts| facts.cpu_class = Some(CpuClass::new(2)));
    world.fail(native, AttemptFailure::NoSpace("scratch".into()));
    assert_eq!(world.host_of(native), "dogwood", "and so does its next attempt");
}

#[test]
fn a_job_that_nobody_can_take_goes_home_at_once_and_is_told_what_is_missing() {
    let mut world = World::with_workers([]);
    world.join_with("ash", |facts| facts.linking = false);
    world.join_with("birch", |facts| facts.only_user = Some(UserId::new(7)));
    world.pass(seconds(10));

    let link = world.submit_with(|job| job.kind = JobKind::Link);
    let foreign = world.submit_with(|job| job.toolchain = Some(ToolchainKey::new(99)));
    let native = world.submit_with(|job| job.cpu_class = Some(CpuClass::new(5)));
    let unmounted = world.submit_with(|job| job.mounts = vec![DirKey::new(99)]);

    assert_eq!(world.answers_for(link), [home(Unmet::Linking)]);
    assert_eq!(world.answers_for(foreign), [home(Unmet::Toolchain)]);
    assert_eq!(world.answers_for(native), [home(Unmet::CpuClass)]);
    assert_eq!(world.answers_for(unmounted), [home(Unmet::Mount)]);
}

#[test]
fn a_job_waits_a_while_for_a_worker_that_was_just_lost() {
    let mut world = World::with_workers([("ash", 1)]);
    world.lose("ash");

    let saved = world.submit();
    world.pass(seconds(4));
    world.join("ash again", 1);

    assert_eq!(world.host_of(saved), "ash again");
}

#[test]
fn a_job_does_not_wait_longer_than_the_grace_for_a_fleet_that_stays_away() {
    let mut world = World::with_workers([("ash", 1)]);
    world.lose("ash");

    let job = world.submit();
    world.pass(seconds(4));
    assert_eq!(world.answers_for(job), []);
    world.pass(seconds(1));

    assert_eq!(world.answers_for(job), [home(Unmet::NoWorkers)]);
}

#[test]
fn a_new_server_gives_its_fleet_time_to_come() {
    let mut world = World::new(Config::default());

    let job = world.submit();
    world.join("ash", 1);

    assert_eq!(world.host_of(job), "ash");
}

#[test]
fn a_full_queue_sends_the_next_job_home() {
    let mut world = World::configured(Config { max_queued: 1, prefetch: 0, ..Config::default() }, [("ash", 1)]);
    let [_running, _waiting] = [world.submit(), world.submit()];

    let refused = world.submit();

    assert_eq!(world.answers_for(refused), [Answer::Local(LocalReason::QueueFull)]);
    assert!(world.forgotten.contains(&refused));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let config = Config { max_attempts: 0, ..Config::default() };

    let refusal = scheduler_core::Scheduler::new(config).expect_err("no attempts at all");

    assert_eq!(refusal.to_string(), "`max_attempts` must be above zero");
}

#[test]
fn placing_costs_by_the_lanes_and_not_by_the_jobs_that_wait() {
    // Not a benchmark: with a scan of the queue in every step this would take minutes.
    let mut world = scheduler_core::Scheduler::new(Config::default()).expect("default settings");
    let facts: Vec<_> = (0..20_000u64).map(|_| world::facts_of_a_job()).collect();
    let jobs = facts.into_iter().enumerate().map(|(number, facts)| {
        let id = JobId::from_bytes((number as u128).to_be_bytes());
        scheduler_core::SubmittedJob { id, facts, resubmitted: false }
    });
    let ash = model::ids::WorkerId::new(1);
    let (mut now, mut actions, mut assigned) = (model::time::Timestamp::ZERO, Vec::new(), 0);
    let submitted = scheduler_core::Input::JobsSubmitted { client: world::LAUNCHER, jobs: jobs.collect() };
    world.step(now, submitted, &mut actions);
    let facts = world::facts_of_a_worker(16);
    world.step(now, scheduler_core::Input::WorkerRegistered { worker: ash, facts, holding: vec![] }, &mut actions);

    while let Some(action) = actions.pop() {
        let Action::Assign { worker, attempts, .. } = action else { continue };
        for attempt in attempts {
            assigned += 1;
            now = now + std::time::Duration::from_micros(10);
            let result = Ok(world::success());
            world.step(now, scheduler_core::Input::AttemptEnded { worker, attempt, result }, &mut actions);
        }
    }

    assert_eq!(assigned, 20_000);
}

fn home(unmet: Unmet) -> Answer {
    Answer::Local(LocalReason::NoEligibleWorker(unmet))
}
