//! What is written is lived through again, and what was changed is found.

use std::time::Duration;

use journal::{ReplayError, Writer, replay};
use model::ids::{BuildId, CpuClass, DirKey, Incarnation, JobId, OutputKey, ToolchainKey, UserId, WorkerId};
use model::job::{BatchHint, JobFacts, JobKind, Priority};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Config, Input, Scheduler, SubmittedJob, WorkerFacts, WorkerLoad};

const ASH: WorkerId = WorkerId::new(7);

fn worker() -> Input {
    let facts = WorkerFacts {
        incarnation: Incarnation::from_bytes([9; 16]),
        slots: 2,
        linking: true,
        toolchains: vec![ToolchainKey::new(u64::MAX)],
        mounts: vec![DirKey::new(1)],
        only_user: Some(UserId::new(1000)),
        memory: 1 << 40,
        isolates: true,
        speed: Speed::new(1_234),
        cpu_class: Some(CpuClass::new(88)),
    };
    Input::WorkerRegistered { worker: ASH, facts, holding: vec![] }
}

fn job(number: u8) -> Input {
    let facts = JobFacts {
        user: UserId::new(1000),
        build: BuildId::new(0xfeed_beef_0000_0001),
        kind: JobKind::Link,
        toolchain: Some(ToolchainKey::new(u64::MAX)),
        mounts: vec![DirKey::new(1)],
        dirs: vec![DirKey::new(2), DirKey::new(3)],
        input_bytes: 12_345,
        batch: BatchHint { size: 3, timeout: Duration::from_micros(1_500) },
        repeatable: false,
        priority: Priority::from_nice(-5),
        output: Some(OutputKey::new(77)),
        inputs: vec![OutputKey::new(78), OutputKey::new(u64::MAX)],
        cpu_class: Some(CpuClass::new(88)),
    };
    let jobs = vec![SubmittedJob { id: JobId::from_bytes([number; 16]), facts, resubmitted: false }];
    Input::JobsSubmitted { client: ClientId(number.into()), jobs }
}

/// Four steps, the last of which fails the attempt that the second led to.
fn recorded() -> Vec<u8> {
    let config = Config {
        max_attempts: 1,
        user_weights: [(UserId::new(5), 300)].into(),
        urgent_users: [UserId::new(6)].into(),
        ..Config::default()
    };
    let (mut scheduler, mut actions) = (Scheduler::new(config.clone()).expect("settings"), Vec::new());
    let mut journal = Writer::start(Vec::new(), &config, &[]).expect("memory takes everything");
    let load = WorkerLoad { memory_available: 5, foreign_load_centi: 250 };
    let mut inputs = vec![worker(), job(1), Input::WorkerAlive { worker: ASH, load }];
    for tick in 0..4 {
        let now = Timestamp::from_millis(tick * 100);
        let input = inputs.remove(0);
        let step = journal.before(now, &input);
        actions.clear();
        scheduler.step(now, input, &mut actions);
        journal.after(step, &actions).expect("memory takes everything");
        if let Some(Action::Assign { worker, attempts, .. }) = actions.first() {
            let result = Err(AttemptFailure::SpawnFailed("no such program: ö".to_owned()));
            inputs.push(Input::AttemptEnded { worker: *worker, attempt: attempts[0], result });
        }
    }
    journal.into_inner()
}

#[test]
fn what_was_recorded_happens_again() {
    let replayed = replay(&recorded()[..]).expect("nothing was changed");

    assert_eq!((replayed.steps, replayed.lasted, replayed.is_torn), (4, Timestamp::from_millis(300), false));
    assert!(replayed.actions >= 2, "an assignment and an answer at least: {replayed:?}");
}

#[test]
fn a_history_that_decided_decides_again() {
    let config = Config::default();
    let mut teacher = Scheduler::new(config.clone()).expect("settings");
    let mut actions = Vec::new();
    teacher.step(Timestamp::ZERO, worker(), &mut actions);
    teacher.step(Timestamp::ZERO, job(1), &mut actions);
    let Some(Action::Assign { worker: ash, attempts, .. }) = actions.first() else { panic!("{actions:?}") };
    let usage = ResourceUsage { wall: Duration::from_secs(1), peak_memory: 1 << 42, ..ResourceUsage::default() };
    let result = Ok(Outcome { exit: ExitStatus::Code(0), usage });
    let ended = Input::AttemptEnded { worker: *ash, attempt: attempts[0], result };
    teacher.step(Timestamp::from_millis(1), ended, &mut Vec::new());
    let history = teacher.export_history();

    let mut scheduler = Scheduler::new(config.clone()).expect("settings");
    scheduler.import_history(&history);
    let mut journal = Writer::start(Vec::new(), &config, &history).expect("memory takes everything");
    let mut actions = Vec::new();
    for input in [worker(), job(2)] {
        let step = journal.before(Timestamp::ZERO, &input);
        actions.clear();
        scheduler.step(Timestamp::ZERO, input, &mut actions);
        journal.after(step, &actions).expect("memory takes everything");
    }

    assert!(!actions.iter().any(|action| matches!(action, Action::Assign { .. })), "too large for ash: {actions:?}");
    assert_eq!(replay(&journal.into_inner()[..]).expect("the history is in it").steps, 2);
}

#[test]
fn every_changed_byte_is_found() {
    let whole = recorded();
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;

        // A length that promises more than there is looks like a server that died.
        let is_found = match replay(&changed[..]) {
            Err(ReplayError::NotAJournal | ReplayError::Damaged { .. }) => true,
            Ok(replayed) => replayed.is_torn && replayed.steps < 4,
            Err(_) => false,
        };
        assert!(is_found, "byte {place} was changed unnoticed");
    }
}

#[test]
fn a_damaged_step_is_named() {
    let mut journal = recorded();
    let last = journal.len() - 1;
    journal[last] ^= 1;

    let error = replay(&journal[..]).expect_err("the last byte belongs to step 4");

    assert_eq!(error.to_string(), "step 4 is damaged: its bytes are not those that were written");
}

#[test]
fn a_step_that_went_another_way_is_named() {
    let config = Config::default();
    let mut journal = Writer::start(Vec::new(), &config, &[]).expect("memory takes everything");
    for (tick, input) in [(1, worker()), (2, job(1))] {
        // As if the scheduler had ordered nothing.
        let step = journal.before(Timestamp::from_millis(tick), &input);
        journal.after(step, &[]).expect("memory takes everything");
    }

    let error = replay(&journal.into_inner()[..]).expect_err("the job is assigned");

    assert!(matches!(error, ReplayError::Diverged { step: 2, .. }), "{error}");
    assert!(error.to_string().contains("Assign"), "{error}");
}

#[test]
fn half_a_step_at_the_end_is_a_server_that_died() {
    let mut journal = recorded();
    journal.truncate(journal.len() - 3);

    let replayed = replay(&journal[..]).expect("three steps are whole");

    assert_eq!((replayed.steps, replayed.is_torn), (3, true));
}

#[test]
fn something_else_is_no_journal() {
    for other in [&b""[..], b"distccd journal 1\n", b"\x7fELF and so on, as long as a header"] {
        assert!(matches!(replay(other), Err(ReplayError::NotAJournal)));
    }
}
