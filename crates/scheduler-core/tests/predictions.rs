//! What is learned from jobs, and what becomes of it.

mod world;

use model::ids::{BuildId, JobId, OutputKey, ToolchainKey};
use model::job::{JobFacts, JobKind, Priority};
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use scheduler_core::{Basis, Condition, Config, Input, Prediction};
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
fn an_output_is_expected_to_take_what_it_took_less_the_fetching_of_its_directory() {
    let mut world = taught(Config::default(), &[(made(1, 7), done_in(seconds(8)))]);

    let known = expected(&mut world, made(1, 9));

    assert_eq!(known.basis, Basis::Output);
    assert!(known.duration.abs_diff(seconds(8) - Config::default().cold_directory) < millis(20), "{known:?}");
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
    let usage = ResourceUsage { wall: seconds(8), peak_memory: 3 << 20, ..ResourceUsage::default() };
    let world = taught(Config::default(), &[(made(1, 7), Outcome { exit: ExitStatus::Code(0), usage })]);

    let mut next = World::with_workers([("birch", 4)]);
    next.remember(&world.history());

    let known = expected(&mut next, made(1, 7));
    assert_eq!((known.basis, known.memory, known.memory_known), (Basis::Output, 3 << 20, true));
    assert_eq!(next.history().len(), world.history().len());
    assert_eq!(next.history(), world.history());
}

#[test]
fn an_output_is_no_directory_though_both_have_the_same_digest() {
    let in_dir = JobFacts { output: None, ..made(0, 7) };
    let mut world = taught(Config::default(), &[(in_dir, done_in(seconds(8)))]);

    let other = JobFacts { output: Some(OutputKey::new(7)), dirs: vec![], input_bytes: 0, ..facts_of_a_job() };

    assert_eq!(expected(&mut world, other).basis, Basis::Guess);
}

#[test]
fn memory_of_the_past_is_bounded() {
    let lessons: Vec<_> = (0..500).map(|output| (made(output, output), done_in(seconds(1)))).collect();

    let world = taught(Config { history_entries: 64, ..Config::default() }, &lessons);

    assert_eq!(world.history().len(), 64);
}

/// A slow worker and a fast one with a slot each, both known for what they are, and a build with long jobs and short.
fn world_with_a_slow_worker(prefetch: u32) -> World {
    impatient_or_not(Config { prefetch, patience: std::time::Duration::ZERO, ..Config::default() })
}

fn impatient_or_not(config: Config) -> World {
    let patience = config.patience;
    let mut world = World::configured(config, [("slow", 1), ("fast", 1)]);
    for _ in 0..30 {
        let pair = world.submit_all(LAUNCHER, vec![made(1, 1), made(2, 1)]);
        world.pass(patience);
        for job in pair {
            let took = if world.host_of(job) == "fast" { seconds(10) } else { seconds(40) };
            end(&mut world, job, took);
        }
    }
    for (output, took) in [(3, seconds(1)), (4, millis(50))] {
        let short = world.submit_all(LAUNCHER, vec![made(output, 1)])[0];
        world.pass(patience);
        end(&mut world, short, took);
    }
    world
}

fn end(world: &mut World, job: JobId, took: std::time::Duration) {
    let (worker, attempt) = world.sent[&job];
    world.report(worker, attempt, Ok(done_in(took)));
}

#[test]
fn a_slow_worker_gets_a_short_job_and_the_long_one_waits_for_a_fast_worker() {
    let mut world = world_with_a_slow_worker(0);
    let running = world.submit_all(LAUNCHER, vec![made(1, 1), made(2, 1)]);
    let (on_slow, on_fast) = match world.host_of(running[0]) {
        "slow" => (running[0], running[1]),
        _ => (running[1], running[0]),
    };
    let waiting = world.submit_all(LAUNCHER, vec![made(1, 1), made(3, 1)]);

    end(&mut world, on_slow, seconds(40));
    end(&mut world, on_fast, seconds(10));

    assert_eq!((world.host_of(waiting[0]), world.host_of(waiting[1])), ("fast", "slow"));
    assert_eq!(
        waiting.into_iter().map(|job| world.placement_of(job).map(|it| it.out_of_turn)).collect::<Vec<_>>(),
        [Some(false), Some(true)]
    );
}

#[test]
fn a_long_job_does_not_wait_for_a_fast_worker_longer_than_it_gains() {
    let mut world = world_with_a_slow_worker(0);
    let running = world.submit_all(LAUNCHER, vec![made(1, 1), made(2, 1)]);
    let on_slow = if world.host_of(running[0]) == "slow" { running[0] } else { running[1] };
    let waiting = world.submit_all(LAUNCHER, vec![made(1, 1), made(3, 1)]);
    world.pass(seconds(30));

    end(&mut world, on_slow, seconds(40));

    assert_eq!(world.host_of(waiting[0]), "slow");
    assert!(!world.is_sent(waiting[1]));
}

#[test]
fn a_long_job_is_not_sent_ahead_to_a_slow_worker_while_it_gains_by_waiting() {
    let mut world = world_with_a_slow_worker(1);
    let long = |output| vec![made(output, 1)];
    let running = [world.submit_all(LAUNCHER, long(1)), world.submit_all(LAUNCHER, long(2))].concat();
    let ahead = world.submit_all(LAUNCHER, long(1))[0];
    let waiting = world.submit_all(LAUNCHER, long(2))[0];
    assert!(running.iter().all(|&job| world.is_sent(job)));
    assert_eq!(world.host_of(ahead), "fast");
    assert!(!world.is_sent(waiting), "only the slow worker has room");

    world.pass(seconds(30));

    assert_eq!(world.host_of(waiting), "slow", "it would gain nothing by waiting longer");
}

#[test]
fn of_jobs_that_come_at_the_same_time_the_longest_has_the_choice() {
    let mut teacher = taught(Config::default(), &[(made(1, 7), done_in(seconds(1)))]);
    let long = teacher.submit_all(LAUNCHER, vec![made(2, 8)])[0];
    end(&mut teacher, long, seconds(90));
    let gather = millis(1);
    let config = Config { prefetch: 0, gather, ..Config::default() };
    let mut world = World::gathering(config, scheduler_core::Input::Wake);
    world.remember(&teacher.history());
    world.pass(seconds(30));
    world.join("ash", 2);

    let alone = world.submit_all(LAUNCHER, vec![made(3, 9)])[0];
    assert!(world.is_sent(alone), "nobody else is expected");
    let short = world.submit_all(LAUNCHER, vec![made(1, 7)])[0];
    let long = world.submit_all(LAUNCHER, vec![made(2, 8)])[0];
    assert!(!world.is_sent(short) && !world.is_sent(long));
    world.pass(gather);

    assert!(world.is_sent(long) && !world.is_sent(short));
    end(&mut world, alone, seconds(1));
    assert!(world.is_sent(short), "a slot that falls free is for those that wait");
}

#[test]
fn a_fast_worker_is_preferred_once_it_is_known_to_be_fast() {
    let config = Config { prefetch: 0, patience: std::time::Duration::ZERO, ..Config::default() };
    let mut world = World::configured(config, [("slow", 1), ("fast", 1)]);
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

/// The same two workers, with the usual patience; the fast one has its slot taken, by this job.
fn world_with_a_slow_idle_worker() -> (World, JobId) {
    let mut world = impatient_or_not(Config { prefetch: 0, ..Config::default() });
    let running = world.submit_all(LAUNCHER, vec![made(1, 1)])[0];
    assert_eq!(world.host_of(running), "fast");
    (world, running)
}

#[test]
fn a_long_job_waits_a_moment_beside_a_slow_idle_worker_for_a_faster_one() {
    let (mut world, running) = world_with_a_slow_idle_worker();

    let long = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];
    assert!(!world.is_sent(long), "40 s on the slow worker, 10 s on the fast one");
    world.pass(millis(100));
    end(&mut world, running, seconds(10));

    assert_eq!(world.host_of(long), "fast");
}

#[test]
fn its_patience_ends_by_itself_and_is_explained() {
    let (mut world, _running) = world_with_a_slow_idle_worker();

    let long = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];
    let Some(Condition::Waiting { obstacles, .. }) = world.explain(long).map(|it| it.state) else {
        panic!("{:?}", world.explain(long));
    };
    assert_eq!((obstacles.slow, obstacles.busy, obstacles.free), (1, 1, 0));
    world.pass(Config::default().patience);

    assert_eq!(world.host_of(long), "slow");
}

#[test]
fn nobody_waits_for_a_fast_worker_that_could_not_take_it() {
    let (mut world, running) = world_with_a_slow_idle_worker();
    let (fast, _) = world.sent[&running];
    end(&mut world, running, seconds(10));
    world.tell(Input::WorkerGone { worker: fast });
    world.join_with("birch", |facts| {
        facts.toolchains = vec![ToolchainKey::new(2)];
        facts.speed = Speed::new(4_000);
    });

    let long = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];

    assert_eq!(world.host_of(long), "slow");
}

#[test]
fn nobody_is_kept_from_a_slow_idle_worker_by_one_who_is_patient() {
    let (mut world, _running) = world_with_a_slow_idle_worker();
    let long = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];

    let short = world.submit_all(LAUNCHER, vec![made(4, 1)])[0];
    assert_eq!((world.is_sent(long), world.host_of(short)), (false, "slow"));
    assert_eq!(world.placement_of(short).map(|it| it.out_of_turn), Some(true));
    end(&mut world, short, millis(50));
    let other_build = JobFacts { build: BuildId::new(77), ..made(4, 1) };
    let other = world.submit_all(LAUNCHER, vec![other_build])[0];

    assert_eq!((world.is_sent(long), world.host_of(other)), (false, "slow"));
}

#[test]
fn a_stream_of_patient_jobs_holds_up_nobody_for_longer_than_one_of_them() {
    let (mut world, _running) = world_with_a_slow_idle_worker();
    let half = Config::default().patience / 2;
    let less_urgent = JobFacts { priority: Priority::from_nice(10), ..made(3, 1) };
    let first = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];
    let behind = world.submit_all(LAUNCHER, vec![less_urgent])[0];
    assert!(!world.is_sent(behind), "a more urgent one has the turn");
    world.pass(half);
    let second = world.submit_all(LAUNCHER, vec![made(2, 1)])[0];
    world.pass(half);
    assert_eq!((world.host_of(first), world.is_sent(second)), ("slow", false));

    end(&mut world, first, seconds(40));

    assert_eq!((world.host_of(behind), world.is_sent(second)), ("slow", false), "it has waited long enough");
}

#[test]
fn what_much_waits_for_goes_before_a_longer_command_that_nobody_waits_for() {
    let library = made(1, 7);
    let lone = made(2, 7);
    let link = JobFacts { kind: JobKind::Link, inputs: vec![OutputKey::new(1)], ..made(3, 8) };
    let lessons = [(library.clone(), seconds(2)), (lone.clone(), seconds(5)), (link, seconds(9))];
    let mut world = taught(Config::default(), &lessons.map(|(facts, wall)| (facts, done_in(wall))));
    let busy = world.submit_all(LAUNCHER, (10..14).map(|output| made(output, 9)).collect());

    let [first, second] = world.submit_all(LAUNCHER, vec![lone, library])[..] else { panic!("two jobs") };
    let (worker, attempt) = world.sent[&busy[0]];
    world.report(worker, attempt, Ok(done_in(seconds(1))));

    assert!(world.sent.contains_key(&second) && !world.sent.contains_key(&first));
}
