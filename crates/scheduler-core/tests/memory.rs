//! Jobs that need much memory.

mod world;

use model::ids::{JobId, OutputKey, ToolchainKey};
use model::job::{JobFacts, JobKind, Priority};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use scheduler_core::{Condition, Config, LocalReason, Placement, PlacementKind, Unmet};
use world::{Answer, LAUNCHER, World, facts_of_a_job, seconds};

const GIB: u64 = 1 << 30;

fn link(output: u64) -> JobFacts {
    JobFacts { kind: JobKind::Link, output: Some(OutputKey::new(output)), ..facts_of_a_job() }
}

fn measured(peak_memory: u64) -> Outcome {
    let usage = ResourceUsage { wall: seconds(1), peak_memory, ..ResourceUsage::default() };
    Outcome { exit: ExitStatus::Code(0), usage }
}

/// Workers get what they can start.
fn nothing_ahead() -> Config {
    Config { prefetch: 0, ..Config::default() }
}

/// A cluster that has seen the link of this output take that much memory.
fn world_that_knows(output: u64, peak: u64, config: Config) -> World {
    let mut world = World::configured(config, []);
    world.join("teacher", 1);
    let job = world.submit_all(LAUNCHER, vec![link(output)])[0];
    let (worker, attempt) = world.sent[&job];
    world.report(worker, attempt, Ok(measured(peak)));
    world.lose("teacher");
    world.pass(seconds(10));
    world
}

fn join(world: &mut World, name: &str, slots: u32, memory: u64) {
    world.join_with(name, |facts| (facts.slots, facts.memory) = (slots, memory));
}

fn reserved(world: &World, name: &str) -> u64 {
    let id = world.id(name);
    world.snapshot().workers.iter().find(|status| status.worker == id).map_or(0, |status| status.reserved)
}

#[test]
fn known_needs_are_reserved_and_never_more_than_there_is() {
    let mut world = world_that_knows(1, 3 * GIB, nothing_ahead());
    join(&mut world, "ash", 8, 8 * GIB);

    let links = world.submit_all(LAUNCHER, vec![link(1); 4]);

    assert_eq!(links.iter().filter(|&&job| world.is_sent(job)).count(), 2);
    assert_eq!(reserved(&world, "ash"), 6 * GIB);
    world.finish(links[0]);
    assert!(world.is_sent(links[2]));
}

#[test]
fn who_has_just_what_is_needed_has_enough_at_once_and_as_soon_as_it_is_free() {
    let mut world = world_that_knows(1, 8 * GIB, nothing_ahead());
    join(&mut world, "ash", 2, 8 * GIB);
    join(&mut world, "birch", 1, 2 * GIB);
    let links = world.submit_all(LAUNCHER, vec![link(1); 2]);
    assert_eq!(world.host_of(links[0]), "ash");
    // Another that waits, for what only a busy worker has, and needs less than is free: so the fleet is asked for both.
    world.join_with("cedar", |facts| (facts.slots, facts.toolchains) = (1, vec![ToolchainKey::new(2)]));
    let special = JobFacts { toolchain: Some(ToolchainKey::new(2)), ..facts_of_a_job() };
    let held = world.submit_all(LAUNCHER, vec![special.clone(); 2]);
    assert_eq!((world.host_of(held[0]), world.is_sent(held[1])), ("cedar", false));
    assert!(!world.is_sent(links[1]));

    world.finish(links[0]);

    assert_eq!(world.host_of(links[1]), "ash");
    assert_eq!(reserved(&world, "ash"), 8 * GIB);
}

#[test]
fn who_has_just_what_is_needed_has_enough_for_an_idle_slot_and_for_what_is_sent_ahead() {
    let mut world = world_that_knows(1, 4 * GIB, Config { prefetch: 1, ..Config::default() });
    join(&mut world, "ash", 1, 8 * GIB);
    join(&mut world, "birch", 1, 4 * GIB);

    let links = world.submit_all(LAUNCHER, vec![link(1); 3]);

    let kind = |link| world.placement_of(link).map(|placement| placement.kind);
    let kinds = [PlacementKind::IdleSlot, PlacementKind::IdleSlot, PlacementKind::AheadOfSlots].map(Some);
    assert_eq!(links.into_iter().map(kind).collect::<Vec<_>>(), kinds);
}

#[test]
fn a_compile_passes_a_link_that_waits_for_memory() {
    let mut world = world_that_knows(1, 6 * GIB, nothing_ahead());
    join(&mut world, "ash", 4, 8 * GIB);
    let links = world.submit_all(LAUNCHER, vec![link(1); 2]);

    let compile = world.submit();

    assert!(!world.is_sent(links[1]));
    assert!(world.is_sent(compile));
}

#[test]
fn a_job_that_fits_nowhere_goes_home_at_once_and_is_told_why() {
    let mut world = world_that_knows(1, 20 * GIB, nothing_ahead());
    join(&mut world, "ash", 4, 8 * GIB);
    world.pass(seconds(10));

    let job = world.submit_all(LAUNCHER, vec![link(1)])[0];

    assert_eq!(world.answers_for(job), [Answer::Local(LocalReason::NoEligibleWorker(Unmet::Memory))]);
}

#[test]
fn a_need_that_is_only_guessed_sends_nobody_home() {
    let mut world = World::with_workers([]);
    join(&mut world, "ash", 4, 8 * GIB);
    world.pass(seconds(10));

    let guessed = JobFacts { input_bytes: 30 * GIB, output: None, ..link(0) };
    let job = world.submit_all(LAUNCHER, vec![guessed])[0];

    assert_eq!(world.host_of(job), "ash");
    assert_eq!(reserved(&world, "ash"), 8 * GIB);
}

#[test]
fn a_guess_that_only_a_lost_worker_could_have_met_sends_nobody_home_either() {
    let mut world = World::with_workers([]);
    join(&mut world, "ash", 1, 8 * GIB);
    join(&mut world, "cedar", 1, 64 * GIB);
    let guessed = JobFacts { input_bytes: 16 * GIB, output: None, ..link(0) };
    let links = world.submit_all(LAUNCHER, vec![guessed; 2]);
    assert_eq!((world.host_of(links[0]), world.is_sent(links[1])), ("cedar", false));

    world.finish(links[0]);
    assert_eq!((world.host_of(links[1]), reserved(&world, "cedar")), ("cedar", 32 * GIB));
    world.lose("cedar");
    world.pass(seconds(10));

    assert_eq!((world.host_of(links[1]), reserved(&world, "ash")), ("ash", 8 * GIB));
}

#[test]
fn out_of_memory_goes_to_a_bigger_worker_and_is_remembered() {
    let mut world = World::with_workers([]);
    join(&mut world, "ash", 1, 4 * GIB);
    let job = world.submit_all(LAUNCHER, vec![link(1)])[0];
    join(&mut world, "birch", 1, 4 * GIB);
    join(&mut world, "cedar", 1, 64 * GIB);
    assert_eq!(world.host_of(job), "ash");

    world.fail(job, AttemptFailure::OutOfMemory);
    assert_eq!(world.host_of(job), "cedar", "half of what it had, and the one with most of it");
    let reserved_then = reserved(&world, "cedar");
    world.finish(job);
    let again = world.submit_all(LAUNCHER, vec![link(1)])[0];

    assert_eq!(reserved_then, 2 * GIB);
    assert_eq!(world.host_of(again), "cedar");
    assert_eq!(reserved(&world, "cedar"), 2 * GIB);
}

#[test]
fn a_job_that_was_too_big_for_a_whole_worker_asks_for_more_than_such_a_worker_has() {
    let mut world = World::with_workers([]);
    join(&mut world, "ash", 1, 4 * GIB);
    join(&mut world, "birch", 1, 4 * GIB);
    let job = world.submit_all(LAUNCHER, vec![link(1)])[0];
    world.pass(seconds(10));

    world.fail(job, AttemptFailure::OutOfMemory);
    world.fail(job, AttemptFailure::OutOfMemory);

    // It had half of the second one, so all of such a one might do; but both have been tried.
    assert_eq!(world.attempts_of(job), 2);
    assert!(matches!(&world.answers_for(job)[..], [Answer::Local(_)]));
}

/// Two slots share 8 GiB, of which a link is known to take 7, and another job, which is told, 2.
fn world_of_small_jobs() -> (World, JobFacts) {
    let mut world = world_that_knows(1, 7 * GIB, Config { ageing: seconds(20), ..nothing_ahead() });
    join(&mut world, "ash", 2, 8 * GIB);
    let medium = JobFacts { output: Some(OutputKey::new(3)), ..facts_of_a_job() };
    let teach = world.submit_all(LAUNCHER, vec![medium.clone()])[0];
    let (worker, attempt) = world.sent[&teach];
    world.report(worker, attempt, Ok(measured(2 * GIB)));
    (world, medium)
}

#[test]
fn a_job_that_has_waited_too_long_for_memory_has_a_worker_kept_for_it() {
    let (mut world, medium) = world_of_small_jobs();
    // From now on there is always one that takes two, so that seven are never free.
    let mut small: Vec<JobId> = world.submit_all(LAUNCHER, vec![medium.clone(); 2]);
    let starving = world.submit_all(LAUNCHER, vec![link(1)])[0];

    for _ in 0..12 {
        world.pass(seconds(5));
        small.extend(world.submit_all(LAUNCHER, vec![medium.clone()]));
        if let Some(place) = small.iter().position(|&job| world.is_sent(job)) {
            let done = small.remove(place);
            world.finish(done);
        }
    }

    assert!(world.is_sent(starving));
    let placement = Placement { kind: PlacementKind::KeptFree, candidates: 1, ..Placement::default() };
    assert_eq!(world.placement_of(starving), Some(placement));
}

#[test]
fn a_worker_is_kept_for_the_next_one_when_the_first_has_gone_elsewhere() {
    let (mut world, medium) = world_of_small_jobs();
    let running = world.submit_all(LAUNCHER, vec![medium.clone(); 2]);
    let starving = world.submit_all(LAUNCHER, vec![link(1); 2]);
    world.pass(seconds(31));

    join(&mut world, "birch", 1, 8 * GIB);
    assert_eq!(world.host_of(starving[0]), "birch");
    world.finish(running[0]);
    let more = world.submit_all(LAUNCHER, vec![medium])[0];

    assert!(!world.is_sent(more), "ash is kept");
    world.finish(running[1]);
    assert_eq!(world.host_of(starving[1]), "ash");
}

#[test]
fn who_waits_for_memory_is_kept_a_worker_though_nobody_else_ever_waited() {
    let mut world = world_that_knows(1, 7 * GIB, Config { ageing: seconds(20), ..nothing_ahead() });
    join(&mut world, "ash", 2, 8 * GIB);
    world.pass(seconds(60));
    let running = world.submit_all(LAUNCHER, vec![link(1)])[0];
    let starving = world.submit_all(LAUNCHER, vec![link(1)])[0];

    world.pass(seconds(31));
    world.finish(running);

    let placement = Placement { kind: PlacementKind::KeptFree, candidates: 1, ..Placement::default() };
    assert_eq!(world.placement_of(starving), Some(placement));
}

#[test]
fn a_worker_that_has_just_what_a_job_needs_is_not_too_small() {
    let mut world = world_that_knows(1, 7 * GIB, nothing_ahead());
    join(&mut world, "ash", 2, 64 * GIB);
    let probe = world.submit_all(LAUNCHER, vec![link(1)])[0];
    let need = reserved(&world, "ash");
    world.finish(probe);
    world.lose("ash");
    join(&mut world, "birch", 2, need);

    let links = world.submit_all(LAUNCHER, vec![link(1); 2]);

    assert_eq!(world.host_of(links[0]), "birch");
    let state = world.explain(links[1]).map(|it| it.state);
    let Some(Condition::Waiting { obstacles, .. }) = state else { panic!("{state:?}") };
    assert_eq!((obstacles.too_small, obstacles.memory), (0, 1));
}

#[test]
fn a_need_that_is_rounded_up_is_not_more_than_the_largest_worker_has() {
    let mut world = world_that_knows(1, 5 * GIB, nothing_ahead());
    join(&mut world, "ash", 1, 5 * GIB);

    let job = world.submit_all(LAUNCHER, vec![link(1)])[0];

    assert_eq!(world.host_of(job), "ash");
    // And when that one has failed it, it did not lack memory.
    let failure = AttemptFailure::SpawnFailed("no such file".into());
    world.fail(job, failure.clone());
    assert_eq!(world.answers_for(job), [Answer::Local(LocalReason::AttemptsExhausted(failure))]);
}

#[test]
fn who_asks_for_less_when_the_largest_worker_is_lost_goes_on_waiting_in_his_place() {
    let mut world = World::configured(nothing_ahead(), []);
    join(&mut world, "ash", 1, 8 * GIB);
    join(&mut world, "birch", 1, GIB);
    let busy = world.submit_all(LAUNCHER, vec![facts_of_a_job(); 2]);
    let first = world.submit_with(|_| {});
    let guessed = world.submit_with(|facts| {
        (facts.kind, facts.input_bytes, facts.priority) = (JobKind::Link, 3 * GIB, Priority::from_nice(10));
    });

    world.lose("ash");
    world.pass(seconds(30));
    let at_birch = busy.into_iter().find(|&job| world.host_of(job) == "birch").expect("one of the two");
    world.finish(at_birch);

    assert_eq!([first, guessed].map(|job| world.is_sent(job)), [true, false]);
}

#[test]
fn a_worker_that_does_not_say_what_it_has_takes_anything() {
    let mut world = world_that_knows(1, 20 * GIB, nothing_ahead());
    join(&mut world, "ash", 4, 0);

    let job = world.submit_all(LAUNCHER, vec![link(1)])[0];

    assert_eq!(world.host_of(job), "ash");
}

#[test]
fn a_job_that_waits_says_which_workers_are_too_small_for_it() {
    let mut world = world_that_knows(1, 20 * GIB, nothing_ahead());
    join(&mut world, "ash", 4, 8 * GIB);
    join(&mut world, "birch", 1, 64 * GIB);
    world.submit_all(LAUNCHER, vec![link(1)]);

    let waits = world.submit_all(LAUNCHER, vec![link(1)])[0];

    let Some(Condition::Waiting { obstacles, .. }) = world.explain(waits).map(|it| it.state) else {
        panic!("it waits");
    };
    assert_eq!((obstacles.too_small, obstacles.busy, obstacles.workers), (1, 1, 2));
}

#[test]
fn nobody_is_kept_for_who_has_not_waited_too_long() {
    let config = Config { ageing: seconds(60), ..nothing_ahead() };
    let mut world = world_that_knows(1, 60 * GIB, config);
    join(&mut world, "ash", 4, 64 * GIB);
    let compile = JobFacts { output: None, ..facts_of_a_job() };
    let running = world.submit_all(LAUNCHER, vec![link(1)])[0];
    let taken_back = world.submit_all(LAUNCHER, vec![link(1)])[0];
    world.cancel(LAUNCHER, taken_back);
    world.pass(seconds(50));
    let large = world.submit_all(LAUNCHER, vec![link(1)])[0];
    // By then it is looked at who has waited too long.
    world.pass(seconds(11));

    let small = world.submit_all(LAUNCHER, vec![compile])[0];

    assert!(world.is_sent(running) && !world.is_sent(large));
    assert!(world.is_sent(small), "and it has a slot there, for nobody keeps it");
}
