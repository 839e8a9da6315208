//! A worker as it ought to be: starts what it has slots for, tells what becomes of it until it is sure to have been
//! heard, and kills everything in time when it may not be heard any more. Isolated, it waits with a commit for which it
//! was not permitted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::ids::{Attempt, DirKey, Incarnation, JobId};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::time::Timestamp;
use scheduler_core::{Commit, HeldAttempt, WorkerFacts, WorkerLoad};

use crate::checks::Checks;
use crate::checks::executions::Execution;
use crate::messages::{Ending, Order, WorkerSays};
use crate::network::LinkId;
use crate::rng::Rng;

/// A bug of workers' that worlds have to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Keepers look at the lease and then publish, and nothing holds them when they are stopped in between.
    NoFence,
    /// Attempts are killed when the lease is over by the worker's own clock, and not before.
    WholeLease,
}

/// What a worker asks the world to do for it.
#[derive(Debug)]
pub(crate) enum Effect {
    Say(WorkerSays),
    After(Duration, WorkerTimer),
}

/// What a worker waits for. Those of an earlier run of the worker are dropped by the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WorkerTimer {
    Heartbeat,
    LeaseOver,
    /// The command of this attempt ends by itself.
    Finished(Attempt),
    /// The processes of this attempt are dead.
    Killed(Attempt),
    /// The keeper of this attempt comes to the moment in which what it wrote appears.
    Publishes(Attempt),
}

/// What a worker's methods see of the world.
pub(crate) struct Surroundings<'a> {
    /// By the host's own clock.
    pub(crate) now: Timestamp,
    pub(crate) lease: Duration,
    pub(crate) rng: &'a mut Rng,
    pub(crate) checks: &'a mut Checks,
    /// Jobs that must not be started twice.
    pub(crate) unrepeatable: &'a BTreeSet<JobId>,
    /// Whether machines fail attempts of themselves.
    pub(crate) faulty: bool,
    /// Whether this one fails all of them, at once.
    pub(crate) is_black_hole: bool,
    /// Chance for what takes time between two steps of a commit; without it, nothing does.
    pub(crate) hesitation: Option<&'a mut Rng>,
    pub(crate) plant: Option<Plant>,
    pub(crate) effects: Vec<Effect>,
}

impl Surroundings<'_> {
    fn say(&mut self, what: WorkerSays) {
        self.effects.push(Effect::Say(what));
    }

    fn after(&mut self, delay: Duration, timer: WorkerTimer) {
        self.effects.push(Effect::After(delay, timer));
    }
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Executing,
    /// It is done, and waits for the permission to commit.
    Ready,
    /// The agent has looked at the lease, and told its keeper to publish what it wrote.
    Committing,
    Dying,
    /// It stands still with its whole host, and its lease is over: when it goes on it ends before anything else.
    Fenced,
}

/// One run of the worker daemon on a host.
#[derive(Debug)]
pub(crate) struct FakeWorker {
    host: usize,
    pub(crate) facts: WorkerFacts,
    /// A command takes so many hundredths of its usual time here.
    slowness: u64,
    pub(crate) link: Option<LinkId>,
    waiting: VecDeque<Attempt>,
    running: BTreeMap<Attempt, Phase>,
    /// Of those that wait or run, those that must not commit before they are told.
    unpermitted: BTreeSet<Attempt>,
    /// Of these, those that never will be.
    shadows: BTreeSet<Attempt>,
    /// What commands came to whose commit is under way.
    committing: BTreeMap<Attempt, Outcome>,
    /// The daemon stands still, and perhaps all else on its host.
    is_stopped: bool,
    /// It knows no shadows, and takes them for second attempts.
    is_old: bool,
    ended: BTreeMap<Attempt, Ending>,
    heartbeats: BTreeMap<u64, Timestamp>,
    sequence: u64,
    lease_until: Timestamp,
    draining: bool,
}

impl FakeWorker {
    pub(crate) fn new(host: usize, facts: WorkerFacts, rng: &mut Rng) -> Self {
        let facts = WorkerFacts { incarnation: Incarnation::from_bytes(rng.bytes()), ..facts };
        Self {
            host,
            facts,
            slowness: rng.between(50, 200),
            link: None,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            unpermitted: BTreeSet::new(),
            shadows: BTreeSet::new(),
            committing: BTreeMap::new(),
            is_stopped: false,
            is_old: host == 1,
            ended: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            sequence: 0,
            lease_until: Timestamp::ZERO,
            draining: false,
        }
    }

    /// A new link: says everything that the server may not know.
    pub(crate) fn on_connected(&mut self, link: LinkId, world: &mut Surroundings<'_>) {
        self.link = Some(link);
        let holding = self.waiting.iter().chain(self.running.keys()).chain(self.ended.keys());
        let commit_of = |attempt| match self.unpermitted.contains(attempt) {
            true => Commit::WhenPermitted,
            false => Commit::WhenDone,
        };
        let holding = holding.map(|attempt| HeldAttempt { attempt: *attempt, commit: commit_of(attempt) }).collect();
        let sequence = self.next_sequence(world.now);
        world.say(WorkerSays::Register { sequence, facts: self.facts.clone(), holding });
        if self.draining {
            world.say(WorkerSays::Draining);
        }
        for (&attempt, &phase) in &self.running {
            world.say(WorkerSays::Started(attempt));
            if phase == Phase::Ready {
                world.say(WorkerSays::Ready(attempt));
            }
        }
        for (&attempt, ending) in &self.ended {
            world.say(WorkerSays::Ended(attempt, ending.clone()));
        }
        world.after(world.lease / 5, WorkerTimer::Heartbeat);
    }

    pub(crate) fn on_order(&mut self, order: Order, world: &mut Surroundings<'_>) {
        match order {
            Order::Heard(sequence) => self.on_heard(sequence, world),
            Order::Assign(attempts, commit) => self.on_assigned(attempts, commit, world),
            Order::Shadow(attempt) => {
                if !self.is_old {
                    self.shadows.insert(attempt);
                }
                self.on_assigned(vec![attempt], Commit::WhenPermitted, world);
            }
            Order::Permit(attempt) => self.on_permitted(attempt, world),
            Order::Cancel(attempt) => self.on_cancel(attempt, world),
            Order::Recall(attempt) => {
                if self.unqueue(attempt) {
                    self.end(attempt, Err(AttemptFailure::HandedBack), world);
                }
            }
            Order::Received(attempt) => {
                self.ended.remove(&attempt);
            }
        }
        self.leave_if_done(world);
    }

    pub(crate) fn on_timer(&mut self, timer: WorkerTimer, world: &mut Surroundings<'_>) {
        match timer {
            WorkerTimer::Heartbeat => self.on_heartbeat_due(world),
            WorkerTimer::LeaseOver if world.now >= self.lease_until => self.kill_everything(world),
            WorkerTimer::LeaseOver => {} // Renewed meanwhile, with a later deadline of its own.
            WorkerTimer::Finished(attempt) if self.running.get(&attempt) == Some(&Phase::Executing) => {
                let ending = how_it_ends(world);
                match ending {
                    Ok(_) if !self.shadows.contains(&attempt) && self.unpermitted.contains(&attempt) => {
                        self.running.insert(attempt, Phase::Ready);
                        world.say(WorkerSays::Ready(attempt));
                    }
                    Ok(outcome) if !self.shadows.contains(&attempt) => self.commit(attempt, outcome, world),
                    ending => self.stop(attempt, ending, world),
                }
            }
            WorkerTimer::Publishes(attempt) if self.running.get(&attempt) == Some(&Phase::Committing) => {
                self.publish(attempt, world);
            }
            WorkerTimer::Killed(attempt) if self.running.contains_key(&attempt) => {
                self.stop(attempt, Err(AttemptFailure::Cancelled), world);
            }
            // It ended the other way before.
            WorkerTimer::Finished(_) | WorkerTimer::Killed(_) | WorkerTimer::Publishes(_) => {}
        }
    }

    pub(crate) fn drain(&mut self, world: &mut Surroundings<'_>) {
        self.draining = true;
        world.say(WorkerSays::Draining);
        self.hand_everything_back(world);
        self.leave_if_done(world);
    }

    /// What runs when the daemon dies; its spawner will kill it.
    pub(crate) fn running(&self) -> Vec<Attempt> {
        self.running.keys().copied().collect()
    }

    /// What of that has been killed already, and needs nobody any more to die.
    pub(crate) fn dying(&self) -> Vec<Attempt> {
        let dying = self.running.iter().filter(|&(_, phase)| *phase == Phase::Dying);
        dying.map(|(&attempt, _)| attempt).collect()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.ended.is_empty()
    }

    fn on_heard(&mut self, sequence: u64, world: &mut Surroundings<'_>) {
        let Some(sent) = self.heartbeats.remove(&sequence) else { return };
        let holds_for = if world.plant == Some(Plant::WholeLease) { world.lease } else { world.lease * 4 / 5 };
        let until = sent + holds_for;
        if until > self.lease_until {
            self.lease_until = until;
            world.after(until.since(world.now), WorkerTimer::LeaseOver);
        }
    }

    fn on_assigned(&mut self, attempts: Vec<Attempt>, commit: Commit, world: &mut Surroundings<'_>) {
        if commit == Commit::WhenPermitted {
            assert!(
                self.facts.isolates,
                "{attempts:?} are to wait with their commit on a worker that does not isolate"
            );
            self.unpermitted.extend(&attempts);
        }
        self.waiting.extend(attempts);
        if self.draining || world.now >= self.lease_until {
            self.hand_everything_back(world);
        }
        self.start_what_fits(world);
    }

    fn on_permitted(&mut self, attempt: Attempt, world: &mut Surroundings<'_>) {
        if !self.unpermitted.remove(&attempt) {
            return; // It has ended, or been told before.
        }
        match self.running.get(&attempt) {
            None | Some(Phase::Dying | Phase::Fenced | Phase::Committing) => {}
            Some(Phase::Executing) => world.checks.executions.on_permitted(attempt),
            Some(Phase::Ready) => {
                world.checks.executions.on_permitted(attempt);
                let exit = ExitStatus::Code(0);
                self.commit(attempt, Outcome { exit, usage: ResourceUsage::default() }, world);
            }
        }
    }

    fn on_cancel(&mut self, attempt: Attempt, world: &mut Surroundings<'_>) {
        if self.unqueue(attempt) {
            self.end(attempt, Err(AttemptFailure::Cancelled), world);
        } else if self.running.get(&attempt).is_some_and(|phase| *phase != Phase::Committing) {
            // What is being published is a matter of a moment, and the lease's.
            self.kill(attempt, world);
        }
    }

    /// The agent's word, under a live lease; the keeper's steps come after it.
    fn commit(&mut self, attempt: Attempt, outcome: Outcome, world: &mut Surroundings<'_>) {
        if !self.facts.isolates || world.hesitation.is_none() {
            return self.stop(attempt, Ok(outcome), world);
        }
        if world.now >= self.lease_until {
            return self.stop(attempt, Err(AttemptFailure::Cancelled), world);
        }
        self.running.insert(attempt, Phase::Committing);
        self.committing.insert(attempt, outcome);
        let time = world.hesitation.as_mut().map_or(Duration::ZERO, |chance| chance.millis(0, 300));
        world.after(time, WorkerTimer::Publishes(attempt));
    }

    /// The one step by which others see it. The keeper's timer lets it not come to that when the lease is over.
    fn publish(&mut self, attempt: Attempt, world: &mut Surroundings<'_>) {
        let Some(outcome) = self.committing.remove(&attempt) else { return };
        if world.now >= self.lease_until && world.plant != Some(Plant::NoFence) {
            return self.stop(attempt, Err(AttemptFailure::Cancelled), world);
        }
        world.checks.executions.on_published(self.host, attempt);
        self.stop(attempt, Ok(outcome), world);
    }

    /// The daemon stops, or all that runs on its host does. What had been killed by then does nothing more when it goes on.
    pub(crate) fn stand_still(&mut self, with_its_host: bool, world: &mut Surroundings<'_>) {
        self.is_stopped = true;
        for attempt in self.running() {
            if with_its_host && self.running[&attempt] == Phase::Dying {
                self.fence(attempt, world);
            }
        }
    }

    fn fence(&mut self, attempt: Attempt, world: &mut Surroundings<'_>) {
        self.running.insert(attempt, Phase::Fenced);
        world.checks.executions.on_fenced(self.host, attempt);
    }

    /// The lease is over while the daemon stands still. Each keeper has a timer of its own: one that runs ends its command,
    /// and one that stands still too will do nothing else when it goes on.
    pub(crate) fn on_fence(&mut self, with_its_host: bool, world: &mut Surroundings<'_>) {
        if world.now < self.lease_until {
            return;
        }
        for attempt in self.running() {
            match with_its_host {
                false => self.kill(attempt, world),
                true if world.plant == Some(Plant::NoFence) => {}
                true => self.fence(attempt, world),
            }
        }
    }

    pub(crate) fn go_on(&mut self, world: &mut Surroundings<'_>) {
        self.is_stopped = false;
        for attempt in self.running() {
            if self.running[&attempt] == Phase::Fenced {
                self.stop(attempt, Err(AttemptFailure::Cancelled), world);
            }
        }
        self.start_what_fits(world);
    }

    fn on_heartbeat_due(&mut self, world: &mut Surroundings<'_>) {
        if self.link.is_none() {
            return; // The next link starts the next series.
        }
        let sequence = self.next_sequence(world.now);
        let load = WorkerLoad { memory_available: world.rng.between(0, 8), foreign_load_centi: 0 };
        world.say(WorkerSays::Heartbeat { sequence, load });
        if world.rng.percent(10) {
            let dirs = (0..3).map(|_| DirKey::new(world.rng.between(0, 9))).collect();
            world.say(WorkerSays::Warmth(dirs));
        }
        world.after(world.lease / 5, WorkerTimer::Heartbeat);
    }

    /// The server may give our attempts to others soon.
    fn kill_everything(&mut self, world: &mut Surroundings<'_>) {
        self.hand_everything_back(world);
        for attempt in self.running() {
            self.kill(attempt, world);
        }
    }

    fn hand_everything_back(&mut self, world: &mut Surroundings<'_>) {
        for attempt in std::mem::take(&mut self.waiting) {
            self.end(attempt, Err(AttemptFailure::HandedBack), world);
        }
    }

    fn start_what_fits(&mut self, world: &mut Surroundings<'_>) {
        if self.is_stopped {
            return;
        }
        while self.running.len() < self.facts.slots as usize && world.now < self.lease_until {
            let Some(attempt) = self.waiting.pop_front() else { return };
            if world.is_black_hole {
                self.end(attempt, Err(AttemptFailure::SpawnFailed(String::from("no such file"))), world);
                continue;
            }
            if world.faulty && world.rng.percent(3) {
                self.end(attempt, Err(AttemptFailure::InputsNotVisible(String::from("a.h"))), world);
                continue;
            }
            let repeatable = !world.unrepeatable.contains(&attempt.job);
            let may_commit = !self.unpermitted.contains(&attempt);
            let execution = Execution { host: self.host, attempt, isolated: self.facts.isolates, may_commit };
            world.checks.executions.on_begun(execution, self.facts.slots, repeatable);
            self.running.insert(attempt, Phase::Executing);
            world.say(WorkerSays::Started(attempt));
            let usual = if world.rng.percent(5) { world.rng.millis(2_000, 6_000) } else { world.rng.millis(10, 600) };
            let time = usual * u32::try_from(self.slowness).unwrap_or(100) / 100;
            world.after(time, WorkerTimer::Finished(attempt));
        }
    }

    fn kill(&mut self, attempt: Attempt, world: &mut Surroundings<'_>) {
        self.running.insert(attempt, Phase::Dying);
        let time = world.rng.millis(0, 1) + world.lease / 20 * u32::try_from(world.rng.between(0, 2)).unwrap_or(0);
        world.after(time, WorkerTimer::Killed(attempt));
    }

    fn stop(&mut self, attempt: Attempt, ending: Ending, world: &mut Surroundings<'_>) {
        self.running.remove(&attempt);
        self.committing.remove(&attempt);
        world.checks.executions.on_ended(self.host, attempt, ending.is_ok() && !self.shadows.contains(&attempt));
        self.end(attempt, ending, world);
        self.start_what_fits(world);
        self.leave_if_done(world);
    }

    fn end(&mut self, attempt: Attempt, ending: Ending, world: &mut Surroundings<'_>) {
        self.unpermitted.remove(&attempt);
        self.shadows.remove(&attempt);
        self.ended.insert(attempt, ending.clone());
        world.say(WorkerSays::Ended(attempt, ending));
    }

    fn leave_if_done(&mut self, world: &mut Surroundings<'_>) {
        if self.draining && self.is_quiet() {
            world.say(WorkerSays::Goodbye);
        }
    }

    fn unqueue(&mut self, attempt: Attempt) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != attempt);
        self.waiting.len() < before
    }

    fn next_sequence(&mut self, now: Timestamp) -> u64 {
        self.sequence += 1;
        self.heartbeats.insert(self.sequence, now);
        self.sequence
    }
}

fn how_it_ends(world: &mut Surroundings<'_>) -> Ending {
    if world.faulty && world.rng.percent(4) {
        return Err(AttemptFailure::OutOfMemory);
    }
    let exit = ExitStatus::Code(u8::from(world.rng.percent(5)));
    Ok(Outcome { exit, usage: ResourceUsage::default() })
}
