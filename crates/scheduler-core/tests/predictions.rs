//! What is learned from jobs, and what becomes of it.

mod world;

use model::ids::OutputKey;
use model::job::JobFacts;
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use scheduler_core::{Basis, Config, Prediction};
use world::{LAUNCHER, World, dirs, facts_of_a_job, millis, seconds};

fn made(output: u64, dir: u64) -> JobFacts {
    JobFacts { output: Some(OutputKey::new(output)), dirs: dirs(&[dir]), input_bytes: 1_000, ..facts_of_a_job() }
}

fn done_in(wall: std::time::Duration) -> Outcome {
    Outcome { exit: ExitStatus::Code(0), usage: ResourceUsage { wall, ..ResourceUsage::default() } }
}

fn taught(config: Config, lessons: &[(JobFacts, Outcome)]) -> World {
    let mut world = World::configured(Config { prefetch: 0, ..config }, [("ash", 4)]);
    for (facts, outcome) in lessons {
        let job = world.submit_all(LAUNCHER, vec![facts.clone()])[0];
        let (worker, attempt) = world.sent[&job];
        world.report(worker, attempt, Ok(*outcome));
    }
    world
}

fn expected(world: &mut World, facts: JobFacts) -> Prediction {
    let job = world.submit_all(LAUNCHER, vec![facts])[0];
    world.explain(job).expect("it is known").prediction
}

#[test]
fn an_output_is_expected_to_take_what_it_took() {
    let mut world = taught(Config::default(), &[(made(1, 7), done_in(seconds(8)))]);

    let known = expected(&mut world, made(1, 9));

    assert_eq!(known.basis, Basis::Output);
    assert!(known.duration.abs_diff(seconds(8)) < millis(100), "{known:?}");
}

#[test]
fn a_new_output_is_expected_to_take_what_its_neighbours_take_and_then_what_its_size_does() {
    let mut world = taught(Config::default(), &[(made(1, 7), done_in(seconds(8)))]);

    assert_eq!(expected(&mut world, made(2, 7)).basis, Basis::Directory);
    assert_eq!(expected(&mut world, made(3, 8)).basis, Basis::Size);
    assert_eq!(expected(&mut world, JobFacts { input_bytes: 1 << 30, ..made(4, 8) }).basis, Basis::Guess);
}

#[test]
fn a_command_that_failed_says_nothing_about_how_long_it_takes() {
    let failed = Outcome { exit: ExitStatus::Code(1), ..done_in(millis(20)) };
    let mut world = taught(Config::default(), &[(made(1, 7), failed)]);

    assert_eq!(expected(&mut world, made(1, 7)).basis, Basis::Guess);
}

#[test]
fn what_was_learned_outlives_the_server() {
    let world = taught(Config::default(), &[(made(1, 7), done_in(seconds(8)))]);

    let mut next = World::with_workers([("birch", 4)]);
    next.remember(&world.history());

    assert_eq!(expected(&mut next, made(1, 7)).basis, Basis::Output);
    assert_eq!(next.history().len(), world.history().len());
}

#[test]
fn memory_of_the_past_is_bounded() {
    let lessons: Vec<_> = (0..500).map(|output| (made(output, output), done_in(seconds(1)))).collect();

    let world = taught(Config { history_entries: 64, ..Config::default() }, &lessons);

    assert_eq!(world.history().len(), 64);
}

#[test]
fn a_fast_worker_is_preferred_once_it_is_known_to_be_fast() {
    let mut world = World::configured(Config { prefetch: 0, ..Config::default() }, [("slow", 1), ("fast", 1)]);
    for round in 0..30 {
        let pair = world.submit_all(LAUNCHER, vec![made(1, 1), made(2, 2)]);
        for job in pair {
            let took = if world.host_of(job) == "fast" { seconds(1) } else { seconds(4) };
            let (worker, attempt) = world.sent[&job];
            world.report(worker, attempt, Ok(done_in(took)));
        }
        world.warm(if round % 2 == 0 { "slow" } else { "fast" }, &[1]);
        world.warm(if round % 2 == 0 { "fast" } else { "slow" }, &[2]);
    }
    world.warm("slow", &[3]);

    let job = world.submit_all(LAUNCHER, vec![made(3, 3)])[0];

    assert_eq!(world.host_of(job), "fast");
}
