//! Histories through which the reference model lives too.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ids::{Attempt, WorkerId};
use model::time::Timestamp;
use scheduler_core::{Config, HeldAttempt, Input, Scheduler, WorkerLoad};

use super::facts::{
    attempt, client_id, job_id, jobs, millis, number, pause, tame_ending, tame_job, tame_worker, worker_id,
};
use super::jobs::{Model, State};
use super::source::Source;

pub(crate) fn live_through(source: &mut Source<'_>) {
    let config = config(source);
    let mut scheduler = Scheduler::new(config.clone()).expect("possible settings");
    let mut now = Timestamp::ZERO;
    let mut actions = Vec::new();
    // What earlier servers left is over after a lease.
    scheduler.step(now, Input::Wake, &mut actions);
    let mut reference = Model::new(config.clone(), now);
    now = now + config.lease;
    scheduler.step(now, Input::Wake, &mut actions);
    assert_eq!(actions, []);
    while !source.is_empty() {
        now = now + pause(source);
        reference.on_time(now);
        // First the clock alone: what has been let go of by then is the scheduler's choice.
        live_on(&mut reference, &mut scheduler, Input::Wake);
        let input = some_input(source, &reference);
        live_on(&mut reference, &mut scheduler, input);
    }
}

/// Both live through the same fact.
fn live_on(reference: &mut Model, scheduler: &mut Scheduler, input: Input) {
    absorb(reference, &input);
    reference.send_stranded_home();
    let mut actions = Vec::new();
    scheduler.step(reference.now, input, &mut actions);
    scheduler.check_invariants();
    reference.judge(&actions, scheduler);
}

/// Nothing is learned, nobody is benched, nothing is done twice, and warmth and length choose among workers only.
fn config(source: &mut Source<'_>) -> Config {
    let small = |number: u64| u32::try_from(number).expect("small");
    Config {
        lease: millis(500),
        max_attempts: 1 + small(source.below(3)),
        max_losses: 1 + small(source.below(3)),
        prefetch: small(source.below(4)),
        fleet_grace: millis(300),
        max_queued: 6,
        max_queued_per_user: 4,
        retain: millis(700),
        ageing: Duration::from_secs(3_600),
        look_ahead: 0,
        gather: Duration::ZERO,
        history_entries: 0,
        bench_after: 0,
        speculation: false,
        ..Config::default()
    }
}

fn some_input(source: &mut Source<'_>, reference: &Model) -> Input {
    match source.below(32) {
        0..=7 => Input::JobsSubmitted { client: client_id(source), jobs: jobs(source, tame_job) },
        8 => Input::JobsCancelled { client: client_id(source), jobs: source.some(3, job_id) },
        9 => Input::ClientGone { client: client_id(source) },
        10..=13 => {
            let worker = worker_id(source);
            let facts = match reference.workers.get(&worker) {
                Some(known) if !source.chance(60) => known.facts.clone(),
                _ => tame_worker(source),
            };
            let holding = holding(source, reference, worker).into_iter().map(HeldAttempt::from).collect();
            Input::WorkerRegistered { worker, facts, holding }
        }
        14..=16 => Input::WorkerAlive { worker: worker_id(source), load: WorkerLoad::default() },
        17 => Input::WorkerDisconnected { worker: worker_id(source) },
        18 => Input::WorkerDraining { worker: worker_id(source) },
        19 => Input::WorkerResumed { worker: worker_id(source) },
        20 => Input::WorkerGone { worker: worker_id(source) },
        21..=24 => {
            let (worker, attempt) = place(source, reference);
            Input::AttemptStarted { worker, attempt }
        }
        25..=29 => {
            let (worker, attempt) = place(source, reference);
            Input::AttemptEnded { worker, attempt, result: tame_ending(source) }
        }
        30 => {
            let (worker, attempt) = place(source, reference);
            match source.below(8) {
                0 => Input::Stopping,
                1..=3 => Input::AttemptDigested { worker, attempt, digest: 1 },
                _ => Input::AttemptReady { worker, attempt },
            }
        }
        _ => Input::Wake,
    }
}

/// Mostly an attempt where it is, now and then one that nobody made.
fn place(source: &mut Source<'_>, reference: &Model) -> (WorkerId, Attempt) {
    let held = reference.workers.iter().flat_map(|(&id, worker)| worker.held.keys().map(move |&it| (id, it)));
    let held: Vec<_> = held.collect();
    if held.is_empty() || source.chance(60) { (worker_id(source), attempt(source)) } else { source.pick(&held) }
}

/// What the worker says that it has: all that it was sent, or some of it, or something besides: an attempt that was given
/// up, or one that nobody made, of a job that is not over.
fn holding(source: &mut Source<'_>, reference: &Model, worker: WorkerId) -> BTreeSet<Attempt> {
    let sent = reference.workers.get(&worker).into_iter().flat_map(|worker| worker.held.keys().copied());
    if source.chance(128) {
        return sent.filter(|_| !source.chance(80)).collect();
    }
    let mut holding: BTreeSet<_> = sent.collect();
    let is_open = |state: &State| !matches!(state, State::Done { .. });
    let open: Vec<_> = reference.jobs.iter().filter(|(_, job)| is_open(&job.state)).map(|(&id, _)| id).collect();
    if !open.is_empty() && source.chance(100) {
        holding.insert(Attempt { job: source.pick(&open), number: number(source) });
    }
    holding
}

fn absorb(reference: &mut Model, input: &Input) {
    match input.clone() {
        Input::JobsSubmitted { client, jobs } => reference.on_submitted(client, jobs),
        Input::JobsCancelled { client, jobs } => reference.on_unwanted(client, |job| jobs.contains(&job)),
        Input::ClientGone { client } => reference.on_unwanted(client, |_| true),
        Input::WorkerRegistered { worker, facts, holding } => {
            reference.on_registered(worker, facts, &holding.iter().map(|held| held.attempt).collect());
        }
        Input::WorkerAlive { worker, .. } => reference.on_alive(worker),
        Input::WorkerDisconnected { worker } => reference.on_disconnected(worker),
        Input::WorkerDraining { worker } => reference.on_draining(worker, true),
        Input::WorkerResumed { worker } => reference.on_draining(worker, false),
        Input::WorkerGone { worker } => reference.on_lost(worker),
        Input::AttemptStarted { worker, attempt } => reference.on_started(worker, attempt),
        Input::AttemptEnded { worker, attempt, result } => reference.on_ended(worker, attempt, result.map(drop)),
        Input::Stopping => reference.on_stopping(),
        // Of no meaning here.
        Input::WorkerWarmth { .. }
        | Input::Roster { .. }
        | Input::RosterDoubted
        | Input::WorkerDied { .. }
        | Input::AttemptInPlace { .. }
        | Input::AttemptReady { .. }
        | Input::AttemptDigested { .. }
        | Input::Wake => {}
    }
}
