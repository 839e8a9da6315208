//! Whose turn it is.

mod world;

use model::ids::{BuildId, JobId, UserId};
use model::job::{JobFacts, JobKind};
use world::{LAUNCHER, World, facts_of_a_job};

fn job_of(user: u32, build: u64) -> JobFacts {
    JobFacts { user: UserId::new(user), build: BuildId::new(build), ..facts_of_a_job() }
}

/// Runs one job after the other on the only slot, from the one that runs now, and tells the order.
fn order_of_running(world: &mut World, mut running: JobId, all: &[JobId]) -> Vec<JobId> {
    let mut order = Vec::new();
    loop {
        let before: Vec<_> = all.iter().filter(|&&job| world.is_sent(job)).copied().collect();
        world.finish(running);
        match all.iter().find(|job| world.is_sent(**job) && !before.contains(job)) {
            Some(&next) => running = next,
            None => return order,
        }
        order.push(running);
    }
}

fn on_one_slot(facts: Vec<JobFacts>) -> (Vec<JobId>, Vec<JobId>) {
    let mut world = World::with_workers([("ash", 1)]);
    let busy = world.submit_with(|job| job.user = UserId::new(99));
    let jobs = world.submit_all(LAUNCHER, facts);
    let order = order_of_running(&mut world, busy, &jobs);
    (jobs, order)
}

#[test]
fn users_take_turns_however_much_each_has_queued() {
    let (jobs, order) = on_one_slot(vec![job_of(1, 1), job_of(1, 1), job_of(1, 1), job_of(2, 2)]);

    assert_eq!(order, [jobs[0], jobs[3], jobs[1], jobs[2]]);
}

#[test]
fn builds_of_one_user_take_turns() {
    let (jobs, order) = on_one_slot(vec![job_of(1, 1), job_of(1, 1), job_of(1, 2), job_of(1, 2)]);

    assert_eq!(order, [jobs[0], jobs[2], jobs[1], jobs[3]]);
}

#[test]
fn a_user_with_many_builds_gets_no_more_turns_than_one_with_few() {
    let (jobs, order) = on_one_slot(vec![job_of(1, 1), job_of(1, 2), job_of(1, 3), job_of(2, 4), job_of(2, 4)]);

    assert_eq!(order, [jobs[0], jobs[3], jobs[1], jobs[4], jobs[2]]);
}

#[test]
fn inside_a_build_links_go_first_then_the_larger_inputs_then_the_older_jobs() {
    let small = job_of(1, 1);
    let large = JobFacts { input_bytes: 9_000, ..job_of(1, 1) };
    let link = JobFacts { kind: JobKind::Link, ..job_of(1, 1) };

    let (jobs, order) = on_one_slot(vec![small.clone(), small, large, link]);

    assert_eq!(order, [jobs[3], jobs[2], jobs[0], jobs[1]]);
}
