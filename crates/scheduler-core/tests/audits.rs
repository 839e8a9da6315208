//! One job in so many is done twice: when, where, and what comes of it.

mod world;

use model::ids::{Attempt, JobId, ToolchainKey, WorkerId};
use model::job::JobKind;
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use scheduler_core::audits::{MAX_AUDITS, shadow_of};
use scheduler_core::{Action, AuditRate, AuditVerdict, Config, Input};

use crate::world::{World, millis, seconds, success};

/// Every job is audited.
fn audited() -> Config {
    Config { prefetch: 0, audit_rate: 1, ..Config::default() }
}

/// Workers of one slot that isolate.
fn cluster<const N: usize>(names: [&str; N]) -> World {
    let mut world = World::configured(audited(), []);
    names.into_iter().for_each(|name| world.join_with(name, |facts| facts.isolates = true));
    world
}

/// The attempt ends well, having written this.
fn end(world: &mut World, worker: WorkerId, attempt: Attempt, digest: u64) -> Vec<Action> {
    world.tell(Input::AttemptDigested { worker, attempt, digest });
    world.report(worker, attempt, Ok(success()))
}

fn finish(world: &mut World, job: JobId, digest: u64) -> Vec<Action> {
    let (worker, attempt) = world.sent[&job];
    end(world, worker, attempt, digest)
}

/// The shadow that was sent last, and where to.
fn shadow(orders: &[Action]) -> Option<(WorkerId, Attempt)> {
    orders.iter().rev().find_map(|order| match order {
        Action::Audit { worker, attempt, .. } => Some((*worker, *attempt)),
        _ => None,
    })
}

fn verdicts(world: &World) -> Vec<AuditVerdict> {
    let ends = world.orders.iter().filter_map(|order| match order {
        Action::EndAudit { verdict, .. } => Some(*verdict),
        _ => None,
    });
    ends.collect()
}

/// A job that has been done at `ash` and runs again at `elm`.
fn being_audited() -> (World, JobId, (WorkerId, Attempt)) {
    let mut world = cluster(["ash", "elm"]);
    let job = world.submit();
    let orders = finish(&mut world, job, 7);
    let shadow = shadow(&orders).expect("it is done again");
    (world, job, shadow)
}

#[test]
fn an_audited_job_is_answered_first_and_then_done_again_by_another_who_may_not_commit() {
    let mut world = cluster(["ash", "elm"]);
    let job = world.submit();

    let orders = finish(&mut world, job, 7);

    let answered = orders.iter().position(|it| matches!(it, Action::Complete { .. }));
    let kept = orders.iter().position(|it| matches!(it, Action::KeepForAudit { of } if of.job == job));
    let again = orders.iter().position(|it| matches!(it, Action::Audit { .. }));
    assert!(answered < kept && kept < again && answered.is_some(), "{orders:?}");
    let (worker, attempt) = shadow(&orders).expect("it is done again");
    assert_ne!(worker, world.sent[&job].0);
    assert_eq!(attempt, Attempt { job: shadow_of(job), number: 1 });
    assert!(world.permitted.is_empty());
}

#[test]
fn an_end_that_is_reported_twice_is_audited_once() {
    let (mut world, job, shadow) = being_audited();

    let orders = finish(&mut world, job, 7);

    assert!(!orders.iter().any(|it| matches!(it, Action::KeepForAudit { .. })), "{orders:?}");
    end(&mut world, shadow.0, shadow.1, 7);
    end(&mut world, shadow.0, shadow.1, 8);
    assert_eq!(verdicts(&world), [AuditVerdict::Same]);
}

#[test]
fn the_same_bytes_are_no_news() {
    let (mut world, _, (worker, attempt)) = being_audited();

    end(&mut world, worker, attempt, 7);

    assert_eq!(verdicts(&world), [AuditVerdict::Same]);
}

#[test]
fn two_workers_differ_only_if_the_first_one_repeats_itself() {
    let (mut world, job, (other, attempt)) = being_audited();
    let first = world.sent[&job].0;

    let orders = end(&mut world, other, attempt, 8);

    let (again, attempt) = shadow(&orders).expect("the first one is asked once more");
    assert_eq!((again, attempt.number, verdicts(&world)), (first, 2, vec![]));
    end(&mut world, again, attempt, 7);
    assert_eq!(verdicts(&world), [AuditVerdict::Differs { first, other }]);
    let benched = world.snapshot().workers.into_iter().filter(|it| it.state != scheduler_core::WorkerState::Up);
    assert_eq!(benched.count(), 0, "nobody knows which of them is wrong");
}

#[test]
fn the_first_one_is_asked_once_more_when_it_has_a_slot_for_it() {
    let (mut world, job, (other, attempt)) = being_audited();
    let first = world.sent[&job].0;
    let busy = world.submit();
    assert_eq!(world.sent[&busy].0, first);

    let orders = end(&mut world, other, attempt, 8);
    assert_eq!(shadow(&orders), None);

    let orders = world.finish(busy);
    assert_eq!(shadow(&orders), Some((first, Attempt { job: shadow_of(job), number: 2 })));
}

#[test]
fn what_gives_other_bytes_every_time_accuses_nobody() {
    let (mut world, _, (other, attempt)) = being_audited();

    let orders = end(&mut world, other, attempt, 8);
    let (again, attempt) = shadow(&orders).expect("the first one is asked once more");
    end(&mut world, again, attempt, 9);

    assert_eq!(verdicts(&world), [AuditVerdict::NotRepeatable]);
}

#[test]
fn what_was_edited_since_accuses_nobody() {
    let (mut world, _, (other, attempt)) = being_audited();

    let orders = end(&mut world, other, attempt, 8);
    let (again, attempt) = shadow(&orders).expect("the first one is asked once more");
    end(&mut world, again, attempt, 8);

    assert_eq!(verdicts(&world), [AuditVerdict::NotRepeatable]);
}

#[test]
fn what_cannot_be_compared_is_not_audited() {
    let fails = |world: &mut World, job| {
        let (worker, attempt) = world.sent[&job];
        world.tell(Input::AttemptDigested { worker, attempt, digest: 7 });
        let outcome = Outcome { exit: ExitStatus::Code(1), usage: ResourceUsage::default() };
        world.report(worker, attempt, Ok(outcome))
    };
    let mut world = cluster(["ash", "elm"]);

    let archive = world.submit_with(|facts| facts.kind = JobKind::Archive);
    assert_eq!(shadow(&finish(&mut world, archive, 7)), None);
    let once = world.submit_with(|facts| facts.repeatable = false);
    assert_eq!(shadow(&finish(&mut world, once, 7)), None);
    let wrong = world.submit();
    assert_eq!(shadow(&fails(&mut world, wrong)), None);
    let unsaid = world.submit();
    assert_eq!(shadow(&world.finish(unsaid)), None);
    assert_eq!(verdicts(&world), []);
}

#[test]
fn only_workers_that_isolate_are_asked_and_never_the_same() {
    let mut world = cluster(["ash"]);
    world.join("oak", 1);
    let job = world.submit();
    while world.host_of(job) != "ash" {
        let (worker, attempt) = world.sent[&job];
        world.report(worker, attempt, Err(AttemptFailure::HandedBack));
    }

    assert_eq!(shadow(&finish(&mut world, job, 7)), None);

    world.join_with("elm", |facts| facts.isolates = true);
    let orders = world.orders.clone();
    assert_eq!(shadow(&orders).map(|(worker, _)| worker), Some(world.id("elm")));
}

#[test]
fn an_audit_gives_way_to_a_job_that_waits() {
    let (mut world, _, (elm, attempt)) = being_audited();
    let first = world.submit();
    assert_eq!(world.host_of(first), "ash");

    let second = world.submit();

    assert!(world.orders.contains(&Action::Cancel { worker: elm, attempt }));
    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
    world.report(elm, attempt, Err(AttemptFailure::Cancelled));
    assert_eq!(world.host_of(second), "elm");
}

#[test]
fn audits_wait_for_a_slot_for_so_long_and_no_longer() {
    let mut world = cluster(["ash"]);
    let job = world.submit();
    finish(&mut world, job, 7);

    world.pass(seconds(59));
    assert_eq!(verdicts(&world), []);
    world.pass(seconds(2));

    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
}

#[test]
fn an_audit_that_waited_too_long_is_given_up_by_who_wakes_late_too() {
    let mut world = cluster(["ash"]);
    let job = world.submit();
    finish(&mut world, job, 7);

    world.oversleep(seconds(100));

    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
}

#[test]
fn only_four_are_done_again_at_a_time() {
    let names = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew"];
    let mut world = cluster(names);
    let jobs = world.submit_all(world::LAUNCHER, vec![world::facts_of_a_job(); 6]);

    jobs.iter().for_each(|&job| drop(finish(&mut world, job, 7)));

    let shadows = |world: &World| world.orders.iter().filter(|it| matches!(it, Action::Audit { .. })).count();
    assert_eq!((shadows(&world), verdicts(&world)), (4, vec![]));
    let (worker, attempt) = shadow(&world.orders).expect("they are done again");
    end(&mut world, worker, attempt, 7);
    assert_eq!((shadows(&world), verdicts(&world)), (5, vec![AuditVerdict::Same]));
}

#[test]
fn nothing_is_done_again_while_a_job_waits_for_something_else_than_a_slot() {
    let mut world = cluster(["ash", "elm"]);
    let other = |facts: &mut model::job::JobFacts| facts.toolchain = Some(ToolchainKey::new(2));
    world.join_with("yew", |facts| facts.toolchains = vec![ToolchainKey::new(2)]);
    let (_busy, waiting) = (world.submit_with(other), world.submit_with(other));
    assert!(!world.is_sent(waiting));

    let job = world.submit();
    let orders = finish(&mut world, job, 7);

    assert!(orders.iter().any(|it| matches!(it, Action::KeepForAudit { .. })), "{orders:?}");
    assert_eq!(shadow(&world.orders), None);
}

#[test]
fn what_an_earlier_servers_shadow_may_still_do_is_not_audited() {
    let held = |world: &mut World, job| {
        let attempt = Attempt { job: shadow_of(job), number: 1 };
        world.join_holding("elm", &[attempt], |facts| facts.isolates = true);
        (world.id("elm"), attempt)
    };
    let has_audit = |orders: &[Action]| orders.iter().any(|it| matches!(it, Action::KeepForAudit { .. }));
    let mut world = cluster(["ash"]);
    let job = world.submit();
    held(&mut world, job);
    assert!(!has_audit(&finish(&mut world, job, 7)), "it runs");

    let mut world = cluster(["ash"]);
    let job = world.submit();
    let (worker, attempt) = held(&mut world, job);
    world.report(worker, attempt, Ok(success()));
    assert!(!has_audit(&finish(&mut world, job, 7)), "it has ended, and may be claimed");
}

#[test]
fn a_shadow_whose_worker_is_silent_is_not_cancelled_and_what_is_kept_of_it_goes_at_its_end() {
    let (mut world, job, (elm, attempt)) = being_audited();
    world.disconnect("elm");
    let forgets = |orders: &[Action]| orders.contains(&Action::Forget { job: shadow_of(job) });
    let before = world.orders.len();

    world.submit();
    world.submit();

    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
    let orders = world.orders[before..].to_vec();
    assert!(!orders.contains(&Action::Cancel { worker: elm, attempt }), "{orders:?}");
    assert!(!forgets(&orders), "it may be running");
    world.lose("elm");
    assert!(forgets(&world.orders[before..]));
}

#[test]
fn what_is_kept_of_a_shadow_goes_with_the_verdict() {
    let (mut world, job, (worker, attempt)) = being_audited();

    let orders = end(&mut world, worker, attempt, 7);

    assert!(orders.contains(&Action::Forget { job: shadow_of(job) }), "{orders:?}");
}

#[test]
fn only_so_many_wait_the_latest() {
    let mut world = cluster(["ash"]);
    for _ in 0..=MAX_AUDITS {
        let job = world.submit();
        finish(&mut world, job, 7);
        world.pass(millis(1));
    }

    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
    let dropped = world.orders.iter().find_map(|it| match it {
        Action::EndAudit { of, .. } => Some(of.job),
        _ => None,
    });
    let first = world.answers[0].1;
    assert_eq!(dropped, Some(first));
}

#[test]
fn a_shadow_that_fails_or_is_lost_or_asks_to_commit_ends_its_audit() {
    let ends: [fn(&mut World, WorkerId, Attempt); 4] = [
        |world, worker, attempt| drop(world.report(worker, attempt, Err(AttemptFailure::OutOfMemory))),
        |world, _, _| world.lose("elm"),
        |world, worker, attempt| drop(world.tell(Input::AttemptReady { worker, attempt })),
        |world, _, _| drop(world.tell(Input::Stopping)),
    ];
    for end in ends {
        let (mut world, _, (worker, attempt)) = being_audited();

        end(&mut world, worker, attempt);

        assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
        assert!(world.permitted.is_empty());
    }
}

#[test]
fn the_id_of_a_shadow_is_nobodys_way_to_its_outcome() {
    let (mut world, job, (worker, attempt)) = being_audited();

    world.resubmit(world::LAUNCHER, shadow_of(job));

    assert_eq!(verdicts(&world), [AuditVerdict::Dropped]);
    let orders = world.report(worker, attempt, Ok(success()));
    assert!(!orders.contains(&Action::PermitCommit { worker, attempt }), "{orders:?}");
}

#[test]
fn a_job_that_has_the_id_of_a_shadow_keeps_it_and_nothing_is_audited_for_it() {
    let mut world = cluster(["ash"]);
    let job = world.submit();
    let waiting = shadow_of(job);
    world.resubmit(world::LAUNCHER, waiting);
    assert!(!world.is_sent(waiting));

    let orders = finish(&mut world, job, 7);

    assert!(!orders.iter().any(|it| matches!(it, Action::KeepForAudit { .. })), "{orders:?}");
    assert_eq!(world.host_of(waiting), "ash");
}

#[test]
fn one_job_in_so_many_is_chosen_and_always_the_same_ones() {
    let ids = || {
        (0..10_000u64).map(|number| {
            let bits = model::ids::fnv1a_more(0xcbf2_9ce4_8422_2325, &number.to_le_bytes());
            let mut bytes = [0; 16];
            bytes[8..].copy_from_slice(&bits.to_be_bytes());
            JobId::from_bytes(bytes)
        })
    };
    let chosen = |rate| ids().filter(|&id| AuditRate(rate).chooses(id)).count();

    assert_eq!((chosen(0), chosen(1)), (0, 10_000));
    assert!((800..1_200).contains(&chosen(10)), "{}", chosen(10));
    assert_eq!(chosen(10), chosen(10));
    assert!(chosen(1_000) < 25, "{}", chosen(1_000));
}

#[test]
fn nobody_is_audited_unless_asked_for() {
    let mut world = World::configured(Config::default(), []);
    ["ash", "elm"].into_iter().for_each(|name| world.join_with(name, |facts| facts.isolates = true));
    let job = world.submit();

    assert_eq!(shadow(&finish(&mut world, job, 7)), None);
}
