//! Why a job waits, or why it went where it is, for people and their tools.

use std::time::Duration;

use model::ids::WorkerId;
use model::time::Timestamp;
use proto::v1;
use scheduler_core::{Basis, Condition, Explanation, Obstacles, Placement, PlacementKind, TurnOrder};

/// What the scheduler says of a job, on the wire.
#[must_use]
pub fn told(said: &Explanation, now: Timestamp, name_of: impl Fn(WorkerId) -> String) -> v1::Explanation {
    let age = now.since(said.arrived);
    let (obstacles, turn, placement) = match said.state {
        Condition::Waiting { obstacles, turn } => (Some(self::obstacles(&obstacles)), Some(order(turn)), None),
        Condition::Placed { worker, number, placement, .. } => {
            (None, None, Some(place(name_of(worker), number, placement)))
        }
        Condition::AwaitingAdoption | Condition::Cancelling | Condition::Done => (None, None, None),
    };
    let mut wire = v1::Explanation {
        state: state_name(said.state).to_owned(),
        age_us: micros(age),
        expected_us: micros(said.prediction.duration),
        tail_us: micros(said.prediction.tail),
        expected_memory: said.prediction.memory,
        basis: basis_name(said.prediction.basis).to_owned(),
        reserved_memory: said.reserved,
        failed_attempts: said.failed,
        obstacles,
        turn,
        placement,
        text: String::new(),
    };
    wire.text = sentence(&wire);
    wire
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const fn state_name(state: Condition) -> &'static str {
    match state {
        Condition::AwaitingAdoption => "awaiting adoption",
        Condition::Waiting { .. } => "waiting",
        Condition::Placed { started: false, .. } => "sent",
        Condition::Placed { started: true, .. } => "running",
        Condition::Cancelling => "cancelling",
        Condition::Done => "done",
    }
}

const fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Output => "output",
        Basis::Directory => "directory",
        Basis::Size => "size",
        Basis::Guess => "guess",
    }
}

const fn kind_name(kind: PlacementKind) -> &'static str {
    match kind {
        PlacementKind::IdleSlot => "idle slot",
        PlacementKind::AheadOfSlots => "ahead of slots",
        PlacementKind::Company => "company",
        PlacementKind::KeptFree => "kept free",
        PlacementKind::Adopted => "adopted",
        PlacementKind::SecondAttempt => "second attempt",
    }
}

const fn obstacles(seen: &Obstacles) -> v1::Obstacles {
    v1::Obstacles {
        workers: seen.workers as u64,
        mount: seen.mount as u64,
        user: seen.user as u64,
        toolchain: seen.toolchain as u64,
        cpu_class: seen.cpu_class as u64,
        linking: seen.linking as u64,
        too_small: seen.too_small as u64,
        tried: seen.tried as u64,
        draining: seen.draining as u64,
        benched: seen.benched as u64,
        silent: seen.silent as u64,
        kept: seen.kept as u64,
        busy: seen.busy as u64,
        memory: seen.memory as u64,
        slow: seen.slow as u64,
        free: seen.free as u64,
    }
}

const fn order(turn: TurnOrder) -> v1::TurnOrder {
    let TurnOrder { users, builds, jobs, overdue } = turn;
    v1::TurnOrder { users: users as u64, builds: builds as u64, jobs: jobs as u64, overdue }
}

fn place(worker: String, attempt: u32, placement: Placement) -> v1::Placement {
    v1::Placement {
        worker,
        attempt,
        why: kind_name(placement.kind).to_owned(),
        candidates: placement.candidates,
        warmth: placement.warmth,
        octaves_slow: placement.octaves_slow.into(),
        out_of_turn: placement.out_of_turn,
    }
}

fn sentence(wire: &v1::Explanation) -> String {
    let shown = |micros: u64| humantime::format_duration(Duration::from_millis(micros / 1000));
    let mut parts = vec![wire.state.clone()];
    if let Some(place) = &wire.placement {
        let v1::Placement { worker, attempt, why, candidates, .. } = place;
        parts.push(format!("attempt {attempt} at {worker} ({why}; {candidates} compared)"));
    }
    if let Some(obstacles) = &wire.obstacles {
        parts.push(hindrances(obstacles));
    }
    if let Some(v1::TurnOrder { users, builds, jobs, .. }) = &wire.turn {
        parts.push(format!("before it: {users} users, {builds} builds, {jobs} jobs"));
    }
    parts.push(format!("expected to take {} by {}", shown(wire.expected_us), wire.basis));
    if wire.tail_us > 0 {
        parts.push(format!("what waits for its output takes {} more", shown(wire.tail_us)));
    }
    parts.join("; ")
}

/// Only what keeps some worker from it.
fn hindrances(seen: &v1::Obstacles) -> String {
    let counts = [
        (seen.mount, "lack a mount"),
        (seen.user, "run for another user"),
        (seen.toolchain, "lack the toolchain"),
        (seen.cpu_class, "have another CPU"),
        (seen.linking, "take no links"),
        (seen.too_small, "have too little memory"),
        (seen.tried, "failed it"),
        (seen.draining, "drain"),
        (seen.benched, "are benched"),
        (seen.silent, "are silent"),
        (seen.kept, "are kept free for others"),
        (seen.busy, "are busy"),
        (seen.memory, "have their memory reserved"),
        (seen.slow, "are too slow while a faster one may fall free"),
        (seen.free, "are free"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let told: Vec<String> = std::iter::once(format!("of {} workers", seen.workers)).chain(told).collect();
    told.join(", ")
}
