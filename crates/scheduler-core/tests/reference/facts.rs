//! What histories are made of: few ids, so that they meet again, and numbers from nothing to more than anything.

use std::time::Duration;

use model::ids::{Attempt, BuildId, DirKey, Incarnation, JobId, OutputKey, ToolchainKey, UserId, WorkerId};
use model::job::{BatchHint, JobFacts, JobKind, Priority};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::speed::Speed;
use scheduler_core::audits::shadow_of;
use scheduler_core::{ClientId, Commit, HeldAttempt, Input, SubmittedJob, WorkerFacts, WorkerLoad};

use super::source::Source;

/// A report of how an attempt ended.
pub(crate) type Ending = Result<Outcome, AttemptFailure>;

pub(crate) fn job_id(source: &mut Source<'_>) -> JobId {
    let plain = |number| JobId::from_bytes([u8::try_from(number).expect("small"); 16]);
    match source.below(14) {
        // The ids of what audits have done again are nobody's to name, and somebody will.
        number @ 12.. => shadow_of(plain(number - 12)),
        number => plain(number),
    }
}

pub(crate) fn worker_id(source: &mut Source<'_>) -> WorkerId {
    WorkerId::new(u32::try_from(source.below(4)).expect("small"))
}

pub(crate) fn client_id(source: &mut Source<'_>) -> ClientId {
    ClientId(source.below(3))
}

pub(crate) fn attempt(source: &mut Source<'_>) -> Attempt {
    Attempt { job: job_id(source), number: number(source) }
}

pub(crate) fn number(source: &mut Source<'_>) -> u32 {
    1 + u32::try_from(source.below(4)).expect("small")
}

fn size(source: &mut Source<'_>) -> u64 {
    match source.below(4) {
        0 => 0,
        1 => u64::MAX,
        _ => source.below(256) << source.below(40),
    }
}

fn toolchain(source: &mut Source<'_>) -> ToolchainKey {
    ToolchainKey::new(source.below(2))
}

fn dir(source: &mut Source<'_>) -> DirKey {
    DirKey::new(source.below(5))
}

/// A job that may ask for anything.
pub(crate) fn any_job(source: &mut Source<'_>) -> SubmittedJob {
    let mut job = tame_job(source);
    job.facts.input_bytes = size(source);
    job.facts.output = source.chance(128).then(|| OutputKey::new(source.below(4)));
    job.facts.inputs = source.some(3, |source| OutputKey::new(source.below(4)));
    if source.chance(4) {
        job.facts.inputs = (0..100_000).map(OutputKey::new).collect();
    }
    if source.chance(4) {
        job.facts.mounts = (0..100_000).map(DirKey::new).collect();
    }
    if source.chance(4) {
        job.facts.dirs = (0..100_000).map(DirKey::new).collect();
    }
    if source.chance(4) {
        job.facts.batch = BatchHint { size: u32::MAX, timeout: Duration::MAX };
    }
    job
}

/// A job whose place in the queue and whose workers the reference model can tell: nothing of it has to do with memory.
pub(crate) fn tame_job(source: &mut Source<'_>) -> SubmittedJob {
    let id = job_id(source);
    let (user, build) = (u32::try_from(source.below(2)).expect("small"), source.below(2));
    let kind = source.pick(&JobKind::ALL);
    let batch = BatchHint { size: u32::try_from(source.below(4)).expect("small"), timeout: millis(source.below(256)) };
    let facts = JobFacts {
        toolchain: source.chance(100).then(|| toolchain(source)),
        mounts: if source.chance(40) { vec![dir(source)] } else { vec![] },
        dirs: source.some(3, dir),
        input_bytes: source.below(200) << 12,
        batch,
        repeatable: !source.chance(50),
        priority: Priority::from_nice(if source.chance(40) { 5 } else { 0 }),
        ..JobFacts::new(UserId::new(user), BuildId::new(build), kind)
    };
    SubmittedJob { id, facts, resubmitted: source.chance(60) }
}

/// Jobs of one message. A job is named once in it: twice would be two questions.
pub(crate) fn jobs(source: &mut Source<'_>, draw: impl FnMut(&mut Source<'_>) -> SubmittedJob) -> Vec<SubmittedJob> {
    let mut jobs = source.some(4, draw);
    jobs.sort_by_key(|job| job.id);
    jobs.dedup_by_key(|job| job.id);
    jobs
}

/// A worker that may claim anything.
pub(crate) fn any_worker(source: &mut Source<'_>) -> WorkerFacts {
    let mut facts = tame_worker(source);
    facts.memory = size(source);
    facts.speed = Speed::new(u32::try_from(size(source)).unwrap_or(u32::MAX));
    if source.chance(8) {
        facts.slots = u32::MAX;
    }
    if source.chance(4) {
        facts.toolchains = (0..100_000).map(ToolchainKey::new).collect();
        facts.mounts = (0..100_000).map(DirKey::new).collect();
    }
    facts
}

/// One that does not say how much memory it has, and so has it without limit.
pub(crate) fn tame_worker(source: &mut Source<'_>) -> WorkerFacts {
    WorkerFacts {
        incarnation: Incarnation::from_bytes([0; 16]),
        slots: u32::try_from(source.below(4)).expect("small"),
        linking: !source.chance(60),
        toolchains: source.some(2, toolchain),
        cpu_class: None,
        mounts: source.some(3, dir),
        only_user: source.chance(40).then(|| UserId::new(u32::try_from(source.below(2)).expect("small"))),
        memory: 0,
        isolates: !source.chance(50),
        speed: None,
    }
}

pub(crate) fn tame_ending(source: &mut Source<'_>) -> Ending {
    let exit = ExitStatus::Code(u8::from(source.chance(60)));
    let text = || "a.cpp".to_owned();
    match source.below(16) {
        0 => Err(AttemptFailure::SpawnFailed(text())),
        1 => Err(AttemptFailure::HandedBack),
        2 => Err(AttemptFailure::Cancelled),
        3 => Err(AttemptFailure::InputsNotVisible(text())),
        4 => Err(AttemptFailure::NoSpace(text())),
        5 => Err(AttemptFailure::CommitFailed(text())),
        6 => Err(AttemptFailure::KilledByStranger(9)),
        7 => Err(AttemptFailure::WorkerLost),
        _ => Ok(Outcome { exit, usage: ResourceUsage::default() }),
    }
}

fn any_ending(source: &mut Source<'_>) -> Ending {
    match source.below(8) {
        0 => Err(AttemptFailure::OutOfMemory),
        1 | 2 => {
            let wall = Duration::from_micros(size(source));
            let usage = ResourceUsage { wall, user: wall, system: Duration::MAX, peak_memory: size(source) };
            Ok(Outcome { exit: ExitStatus::Code(0), usage })
        }
        _ => tame_ending(source),
    }
}

fn held(source: &mut Source<'_>) -> HeldAttempt {
    let commit = if source.chance(60) { Commit::WhenPermitted } else { Commit::WhenDone };
    HeldAttempt { attempt: attempt(source), commit }
}

/// Anything that can be said, by whomever, whenever.
pub(crate) fn any_input(source: &mut Source<'_>) -> Input {
    match source.below(32) {
        0..=6 => Input::JobsSubmitted { client: client_id(source), jobs: jobs(source, any_job) },
        7 => Input::JobsCancelled { client: client_id(source), jobs: source.some(3, job_id) },
        8 => Input::ClientGone { client: client_id(source) },
        9..=11 => Input::WorkerRegistered {
            worker: worker_id(source),
            facts: any_worker(source),
            holding: source.some(4, held),
        },
        12..=14 => {
            let load = WorkerLoad { memory_available: size(source), foreign_load_centi: u32::MAX };
            Input::WorkerAlive { worker: worker_id(source), load }
        }
        15 => {
            let most = if source.chance(8) { 100_000 } else { 4 };
            let dirs = (0..most).map(|_| dir(source)).collect();
            Input::WorkerWarmth { worker: worker_id(source), dirs }
        }
        16 => Input::WorkerDisconnected { worker: worker_id(source) },
        17 => Input::WorkerDraining { worker: worker_id(source) },
        18 => Input::WorkerResumed { worker: worker_id(source) },
        19 => Input::WorkerGone { worker: worker_id(source) },
        20..=22 => Input::AttemptStarted { worker: worker_id(source), attempt: attempt(source) },
        23 => Input::AttemptReady { worker: worker_id(source), attempt: attempt(source) },
        24 => {
            let (worker, attempt) = (worker_id(source), attempt(source));
            Input::AttemptDigested { worker, attempt, digest: source.below(2) }
        }
        25..=29 => {
            let (worker, attempt) = (worker_id(source), attempt(source));
            Input::AttemptEnded { worker, attempt, result: any_ending(source) }
        }
        30 => match source.below(16) {
            0 => Input::Stopping,
            1 => Input::RosterDoubted,
            2 => Input::Roster { expected: vec![Incarnation::from_bytes([0; 16])], lease: millis(900) },
            3 => Input::WorkerDied { incarnation: Incarnation::from_bytes([0; 16]) },
            _ => Input::Wake,
        },
        _ => Input::Wake,
    }
}

/// How long nothing happens: mostly a moment, now and then longer than a deadline.
pub(crate) fn pause(source: &mut Source<'_>) -> Duration {
    match source.below(8) {
        0 => millis(100 + 4 * source.below(256)),
        1 => Duration::ZERO,
        _ => millis(source.below(40)),
    }
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
