//! How slot time is shared: by weight, by what jobs really took, with priorities, and without starving anybody.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{BuildId, JobId, OutputKey, UserId};
use model::job::{JobFacts, Priority};
use scheduler_core::Config;
use world::{LAUNCHER, World, facts_of_a_job, millis, seconds};

const ANN: u32 = 1;
const BOB: u32 = 2;

fn job_of(user: u32, build: u64) -> JobFacts {
    JobFacts { user: UserId::new(user), build: BuildId::new(build), ..facts_of_a_job() }
}

fn nice(nice: i32, facts: JobFacts) -> JobFacts {
    JobFacts { priority: Priority::from_nice(nice), ..facts }
}

/// One worker of one slot, which is busy, and what runs on it.
fn one_slot(config: Config) -> (World, JobId) {
    let config = Config { prefetch: 0, interactive_jobs: 0, ..config };
    let mut world = World::configured(config, [("ash", 1)]);
    let busy = world.submit_with(|job| job.user = UserId::new(99));
    world.start(busy);
    (world, busy)
}

/// Lets so many jobs run to their end, one after the other, each as long as `lasts` says; tells them in order.
fn run(
    world: &mut World,
    running: &mut JobId,
    all: &[JobId],
    turns: usize,
    lasts: impl Fn(JobId) -> u64,
) -> Vec<JobId> {
    let mut order = Vec::new();
    for _ in 0..turns {
        let before: Vec<_> = all.iter().filter(|&&job| world.is_sent(job)).copied().collect();
        world.finish(*running);
        let next = all.iter().find(|job| world.is_sent(**job) && !before.contains(job));
        let Some(&next) = next else { break };
        world.start(next);
        world.pass(millis(lasts(next)));
        order.push(next);
        *running = next;
    }
    order
}

fn time_by<K: Ord>(order: &[JobId], key: impl Fn(JobId) -> K, lasts: impl Fn(JobId) -> u64) -> BTreeMap<K, u64> {
    let mut time = BTreeMap::new();
    order.iter().for_each(|&job| *time.entry(key(job)).or_default() += lasts(job));
    time
}

#[test]
fn equal_users_get_equal_slot_time_though_the_jobs_of_one_take_four_times_as_long() {
    let (mut world, mut running) = one_slot(Config::default());
    let long = world.submit_all(LAUNCHER, vec![job_of(ANN, 1); 60]);
    let short = world.submit_all(LAUNCHER, vec![job_of(BOB, 2); 60]);
    let all = [long.clone(), short].concat();
    let lasts = |job: JobId| if long.contains(&job) { 400 } else { 100 };

    let order = run(&mut world, &mut running, &all, 60, lasts);

    let time = time_by(&order, |job| long.contains(&job), lasts);
    let (ann, bob) = (time[&true], time[&false]);
    assert!(ann.abs_diff(bob) <= 800, "{ann} ms for ann and {bob} ms for bob");
}

#[test]
fn a_user_with_three_times_the_weight_gets_three_times_the_slots() {
    let user_weights = BTreeMap::from([(UserId::new(ANN), 300)]);
    let (mut world, mut running) = one_slot(Config { user_weights, ..Config::default() });
    let ann = world.submit_all(LAUNCHER, vec![job_of(ANN, 1); 60]);
    let bob = world.submit_all(LAUNCHER, vec![job_of(BOB, 2); 60]);

    let order = run(&mut world, &mut running, &[ann.clone(), bob].concat(), 40, |_| 100);

    let turns = order.iter().filter(|job| ann.contains(job)).count();
    assert!((29..=31).contains(&turns), "{turns} of 40");
}

#[test]
fn a_nice_build_yields_to_the_other_builds_of_its_user_and_is_not_starved() {
    let (mut world, mut running) = one_slot(Config::default());
    let nice_build = world.submit_all(LAUNCHER, vec![nice(5, job_of(ANN, 1)); 60]);
    let usual = world.submit_all(LAUNCHER, vec![job_of(ANN, 2); 60]);

    let order = run(&mut world, &mut running, &[nice_build.clone(), usual].concat(), 40, |_| 100);

    // Five steps of a factor of 1.25 each: about three turns to one.
    let turns = order.iter().filter(|job| nice_build.contains(job)).count();
    assert!((8..=12).contains(&turns), "{turns} of 40");
}

#[test]
fn calling_ones_jobs_urgent_takes_nothing_from_other_users() {
    let (mut world, mut running) = one_slot(Config::default());
    let pushy = world.submit_all(LAUNCHER, vec![nice(-20, job_of(ANN, 1)); 40]);
    let bob = world.submit_all(LAUNCHER, vec![job_of(BOB, 2); 40]);

    let order = run(&mut world, &mut running, &[pushy.clone(), bob].concat(), 20, |_| 100);

    assert_eq!(order.iter().filter(|job| pushy.contains(job)).count(), 10);
}

#[test]
fn a_small_build_starts_at_once_beside_a_large_one_of_the_same_user() {
    let (mut world, mut running) = one_slot(Config::default());
    let large = world.submit_all(LAUNCHER, vec![job_of(ANN, 1); 50]);
    run(&mut world, &mut running, &large, 20, |_| 100);

    let small = world.submit_all(LAUNCHER, vec![job_of(ANN, 2)]);
    let order = run(&mut world, &mut running, &[large, small.clone()].concat(), 2, |_| 100);

    assert!(order.contains(&small[0]));
}

#[test]
fn an_interactive_build_gets_four_turns_for_one() {
    let mut world = World::configured(Config { prefetch: 0, ..Config::default() }, [("ash", 1)]);
    let mut running = world.submit_with(|job| job.user = UserId::new(99));
    world.start(running);
    let large = world.submit_all(LAUNCHER, vec![job_of(ANN, 1); 50]);
    let small = world.submit_all(LAUNCHER, vec![job_of(ANN, 2); 4]);

    let order = run(&mut world, &mut running, &[large, small.clone()].concat(), 6, |_| 500);

    assert_eq!(order.iter().filter(|job| small.contains(job)).count(), 4, "{order:?}");
}

#[test]
fn longer_jobs_of_a_build_go_first_once_it_is_known_that_they_are_longer() {
    let (mut world, mut running) = one_slot(Config::default());
    let made = |output| JobFacts { output: Some(OutputKey::new(output)), ..job_of(ANN, 1) };
    let first = world.submit_all(LAUNCHER, vec![made(1), made(2), made(3)]);
    let lasts = |job: JobId| if job == first[1] { 3_000 } else { 300 };
    run(&mut world, &mut running, &first, 3, lasts);
    world.finish(running);
    let mut running = world.submit_with(|job| job.user = UserId::new(99));

    let again = world.submit_all(LAUNCHER, vec![made(1), made(2), made(3)]);
    let order = run(&mut world, &mut running, &again, 3, |_| 100);

    assert_eq!(order[0], again[1]);
}

#[test]
fn a_job_that_waited_too_long_goes_before_longer_ones_that_came_later() {
    let (mut world, mut running) = one_slot(Config { ageing: seconds(10), ..Config::default() });
    let large = JobFacts { input_bytes: 5_000_000, ..job_of(ANN, 1) };
    let small = world.submit_all(LAUNCHER, vec![job_of(ANN, 1)])[0];
    let mut larger = world.submit_all(LAUNCHER, vec![large.clone(); 5]);
    let all = [vec![small], larger.clone()].concat();
    assert_eq!(run(&mut world, &mut running, &all, 1, |_| 4_000), [larger[0]]);
    world.pass(seconds(7));

    larger.extend(world.submit_all(LAUNCHER, vec![large; 5]));
    let all = [vec![small], larger].concat();
    let order = run(&mut world, &mut running, &all, 5, |_| 100);

    // Before it only those that came with it and are longer; none of the new ones.
    assert!(order.contains(&small), "{order:?} and not {small:?}");
}

#[test]
fn what_is_handed_back_unstarted_costs_its_user_nothing() {
    let (mut world, running) = one_slot(Config::default());
    let ann = world.submit_all(LAUNCHER, vec![job_of(ANN, 1); 3]);
    let bob = world.submit_all(LAUNCHER, vec![job_of(BOB, 2); 3]);
    world.pass(Duration::from_millis(100));
    world.finish(running);
    assert!(world.is_sent(ann[0]));

    world.fail(ann[0], model::outcome::AttemptFailure::HandedBack);

    assert_eq!(world.attempts_of(ann[0]), 2, "it is ann's turn still");
    assert!(!world.is_sent(bob[0]));
}

/// Whose job of two is next, of one who calls it urgent and of one who came before and does not.
fn next_beside_an_urgent_one(urgent: u32, urgent_users: BTreeSet<UserId>) -> &'static str {
    let (mut world, mut running) = one_slot(Config { urgent_users, ..Config::default() });
    let usual = world.submit_all(LAUNCHER, vec![job_of(BOB, 2); 40]);
    let urgent = world.submit_all(LAUNCHER, vec![nice(-20, job_of(urgent, 1)); 40]);
    let all = [usual, urgent.clone()].concat();
    let order = run(&mut world, &mut running, &all, 20, |_| 100);
    if order.iter().filter(|job| urgent.contains(job)).count() > 15 { "the urgent ones" } else { "both in turn" }
}

#[test]
fn urgency_counts_against_others_for_root_and_those_whom_root_allows_it() {
    assert_eq!(next_beside_an_urgent_one(ANN, BTreeSet::new()), "both in turn");
    assert_eq!(next_beside_an_urgent_one(ANN, BTreeSet::from([UserId::new(ANN)])), "the urgent ones");
    assert_eq!(next_beside_an_urgent_one(0, BTreeSet::new()), "the urgent ones");
}
