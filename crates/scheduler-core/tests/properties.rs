//! Whatever happens, in whatever order: the promises hold. Histories are arbitrary, far beyond what a correct driver
//! and correct workers could produce, except that time does not run backwards.

#[path = "reference/observers.rs"]
mod observers;

use std::time::Duration;

use model::ids::{Attempt, BuildId, DirKey, Incarnation, JobId, OutputKey, ToolchainKey, UserId, WorkerId};
use model::job::{BatchHint, JobFacts, JobKind, Priority};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use model::time::Timestamp;
use observers::{Executing, Expectations};
use proptest::collection::vec;
use proptest::prelude::*;
use scheduler_core::{
    Action, ClientId, Commit, Config, HeldAttempt, Input, Scheduler, SubmittedJob, WorkerFacts, WorkerLoad,
};

/// Milliseconds since the last fact, and the fact.
type History = Vec<(u64, Input)>;

fn config() -> Config {
    Config {
        lease: Duration::from_millis(500),
        max_attempts: 3,
        prefetch: 2,
        fleet_grace: Duration::from_millis(300),
        max_queued: 6,
        max_queued_per_user: 4,
        retain: Duration::from_millis(700),
        max_retained: 8,
        ageing: Duration::from_millis(200),
        bench_time: Duration::from_millis(100),
        history_entries: 16,
        writers_per_dir: 1,
        speculation_factor: 100,
        speculation_after: Duration::from_millis(50),
        speculation_share: 50,
        ..Config::default()
    }
}

fn job_id() -> impl Strategy<Value = JobId> {
    (0..10u8).prop_map(|number| JobId::from_bytes([number; 16]))
}

fn worker_id() -> impl Strategy<Value = WorkerId> {
    (0..4u32).prop_map(WorkerId::new)
}

fn client_id() -> impl Strategy<Value = ClientId> {
    (0..3u64).prop_map(ClientId)
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (job_id(), 1..4u32).prop_map(|(job, number)| Attempt { job, number })
}

fn job() -> impl Strategy<Value = SubmittedJob> {
    let kind = (0..JobKind::ALL.len()).prop_map(|index| JobKind::ALL[index]);
    let dirs = vec((0..5u64).prop_map(DirKey::new), 0..3);
    let batch = (1..4u32, 0..400u64).prop_map(|(size, ms)| BatchHint { size, timeout: Duration::from_millis(ms) });
    let toolchain = proptest::option::of((0..2u64).prop_map(ToolchainKey::new));
    let (repeatable, resubmitted) = (prop::bool::weighted(0.8), any::<bool>());
    (job_id(), 0..2u32, 0..2u64, kind, dirs, batch, toolchain, size(), repeatable, resubmitted).prop_map(
        |(id, user, build, kind, dirs, batch, toolchain, input_bytes, repeatable, resubmitted)| {
            let (user, build) = (UserId::new(user), BuildId::new(build));
            let output = toolchain.map(|_| OutputKey::new(input_bytes % 4));
            let priority = Priority::from_nice(if repeatable { 0 } else { -30 });
            let basic = JobFacts::new(user, build, kind);
            let facts = JobFacts { toolchain, dirs, input_bytes, batch, repeatable, output, priority, ..basic };
            SubmittedJob { id, facts, resubmitted }
        },
    )
}

/// A job is named once in a message: twice would be two questions.
fn jobs() -> impl Strategy<Value = Vec<SubmittedJob>> {
    vec(job(), 1..4).prop_map(|mut jobs| {
        jobs.sort_by_key(|job| job.id);
        jobs.dedup_by_key(|job| job.id);
        jobs
    })
}

fn worker_facts() -> impl Strategy<Value = WorkerFacts> {
    let toolchains = vec((0..2u64).prop_map(ToolchainKey::new), 0..3);
    let only_user = proptest::option::weighted(0.2, (0..2u32).prop_map(UserId::new));
    let slots = prop_oneof![9 => 0..4u32, 1 => Just(u32::MAX)];
    let bools = (prop::bool::weighted(0.7), prop::bool::weighted(0.8));
    let speed = prop_oneof![3 => Just(0), 3 => 100..10_000u32, 1 => 1..100u32, 1 => Just(u32::MAX)];
    let facts = (slots, bools, toolchains, only_user, size(), speed.prop_map(Speed::new));
    facts.prop_map(|(slots, (linking, isolates), toolchains, only_user, memory, speed)| {
        let incarnation = Incarnation::from_bytes([0; 16]);
        let (cpu_class, mounts) = (None, vec![]);
        WorkerFacts { incarnation, slots, linking, toolchains, cpu_class, mounts, only_user, memory, isolates, speed }
    })
}

/// From nothing to more than anything.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 4 => 0..(64u64 << 30), 1 => Just(u64::MAX)]
}

fn usage() -> impl Strategy<Value = ResourceUsage> {
    (size(), size()).prop_map(|(micros, peak_memory)| {
        let wall = Duration::from_micros(micros);
        ResourceUsage { wall, user: wall, system: Duration::MAX, peak_memory }
    })
}

fn result() -> impl Strategy<Value = Result<Outcome, AttemptFailure>> {
    prop_oneof![
        3 => usage().prop_map(|usage| Ok(Outcome { exit: ExitStatus::Code(0), usage })),
        1 => Just(Err(AttemptFailure::SpawnFailed("no such file".into()))),
        3 => Just(Ok(Outcome { exit: ExitStatus::Code(0), usage: ResourceUsage::default() })),
        1 => Just(Err(AttemptFailure::HandedBack)),
        1 => Just(Err(AttemptFailure::Cancelled)),
        1 => Just(Err(AttemptFailure::OutOfMemory)),
        1 => Just(Err(AttemptFailure::InputsNotVisible("a.cpp".into()))),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let commit = prop_oneof![3 => Just(Commit::WhenDone), 1 => Just(Commit::WhenPermitted)];
    let held = (attempt(), commit).prop_map(|(attempt, commit)| HeldAttempt { attempt, commit });
    let (lists, holding) = (vec(job_id(), 0..3), vec(held, 0..4));
    prop_oneof![
        8 => (client_id(), jobs()).prop_map(|(client, jobs)| Input::JobsSubmitted { client, jobs }),
        2 => (client_id(), lists).prop_map(|(client, jobs)| Input::JobsCancelled { client, jobs }),
        1 => client_id().prop_map(|client| Input::ClientGone { client }),
        4 => (worker_id(), worker_facts(), holding)
            .prop_map(|(worker, facts, holding)| Input::WorkerRegistered { worker, facts, holding }),
        4 => worker_id().prop_map(|worker| Input::WorkerAlive { worker, load: WorkerLoad::default() }),
        1 => (worker_id(), vec((0..5u64).prop_map(DirKey::new), 0..4))
            .prop_map(|(worker, dirs)| Input::WorkerWarmth { worker, dirs }),
        2 => worker_id().prop_map(|worker| Input::WorkerDisconnected { worker }),
        1 => worker_id().prop_map(|worker| Input::WorkerDraining { worker }),
        1 => worker_id().prop_map(|worker| Input::WorkerGone { worker }),
        5 => (worker_id(), attempt()).prop_map(|(worker, attempt)| Input::AttemptStarted { worker, attempt }),
        1 => (worker_id(), attempt()).prop_map(|(worker, attempt)| Input::AttemptInPlace { worker, attempt }),
        3 => (worker_id(), attempt()).prop_map(|(worker, attempt)| Input::AttemptReady { worker, attempt }),
        8 => (worker_id(), attempt(), result())
            .prop_map(|(worker, attempt, result)| Input::AttemptEnded { worker, attempt, result }),
        1 => Just(Input::RosterDoubted),
        1 => Just(Input::WorkerDied { incarnation: Incarnation::from_bytes([0; 16]) }),
        2 => Just(Input::Wake),
    ]
}

/// Mostly short steps, some longer than every deadline; perhaps the server knows whom to wait for, and perhaps it is told
/// to stop near the end.
fn history() -> impl Strategy<Value = History> {
    let pause = prop_oneof![6 => 0..40u64, 1 => 100..900u64];
    (vec((pause, input()), 1..120), any::<bool>(), any::<bool>()).prop_map(|(mut history, stops, has_roster)| {
        if stops {
            let place = history.len() * 3 / 4;
            history.insert(place, (0, Input::Stopping));
        }
        if has_roster {
            let expected = vec![Incarnation::from_bytes([0; 16])];
            history.insert(0, (0, Input::Roster { expected, lease: Duration::from_millis(900) }));
        }
        history
    })
}

/// Wakes the scheduler before every fact, so that what the clock causes and what the fact causes can be told apart.
fn run(history: &History, mut look: impl FnMut(&Scheduler, &Input, &[Action])) -> Vec<Action> {
    let mut scheduler = Scheduler::new(config()).expect("possible settings");
    let (mut now, mut all) = (0, Vec::new());
    for (pause, input) in history {
        now += pause;
        // A roster is the first fact, or none.
        let wake = (!matches!(input, Input::Roster { .. })).then_some(&Input::Wake);
        for input in wake.into_iter().chain([input]) {
            let mut actions = Vec::new();
            scheduler.step(Timestamp::from_millis(now), input.clone(), &mut actions);
            look(&scheduler, input, &actions);
            all.append(&mut actions);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_the_books(history in history()) {
        run(&history, |scheduler, _, _| scheduler.check_invariants());
    }

    #[test]
    fn the_same_history_gives_the_same_actions(history in history()) {
        prop_assert_eq!(run(&history, |_, _, _| {}), run(&history, |_, _, _| {}));
    }

    #[test]
    fn every_submission_is_answered_at_most_once_and_to_who_asked_last(history in history()) {
        let mut expected = Expectations::default();
        run(&history, |_, input, actions| {
            expected.on_input(input);
            actions.iter().for_each(|action| expected.on_action(action));
        });
    }

    #[test]
    fn no_attempt_may_commit_while_another_of_its_job_may_be_executing(history in history()) {
        let mut executing = Executing::default();
        run(&history, |_, input, actions| {
            executing.on_input(input);
            actions.iter().for_each(|action| executing.on_action(action));
        });
    }
}
