//! Worlds made for fairness and against starvation: users who always want more than they get, on a fleet where nothing
//! goes wrong. What each gets is measured in slot time over a window, and how long anybody waited.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::ids::{Attempt, BuildId, Incarnation, JobId, OutputKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind, Priority};
use model::outcome::{ExitStatus, Outcome, ResourceUsage};
use model::time::Timestamp;
use scheduler_core::{Action, ClientId, Config, Input, Scheduler, SubmittedJob, WorkerFacts};

use crate::rng::Rng;

/// Somebody who always has so many jobs submitted and not done.
#[derive(Clone, Debug, Default)]
pub struct Customer {
    /// Whose jobs they are.
    pub uid: u32,
    /// Of which build of theirs.
    pub build: u64,
    /// Submitted and not done, always.
    pub backlog: usize,
    /// How long the jobs take, from and to, in milliseconds.
    pub lasting: (u64, u64),
    /// What the jobs say about the size of their input.
    pub input_bytes: u64,
    /// Hundredths of the usual share; `None` is the usual share.
    pub weight: Option<u32>,
    /// Of the jobs.
    pub nice: i32,
    /// Comes only after this time.
    pub from: Duration,
    /// What each job needs of a worker's memory, of which there is [`MEMORY`]; jobs that need some are links.
    pub memory: u64,
}

/// What each worker has.
pub const MEMORY: u64 = 64 << 30;

/// What a customer got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// Slot time within the window.
    pub slot_time: Duration,
    /// Jobs begun since the market opened.
    pub begun: u64,
    /// The longest that any job waited from its submission to its start, those that still wait included.
    pub longest_wait: Duration,
}

#[derive(Debug)]
enum Event {
    Submit(usize),
    Arrive(usize, Vec<Attempt>),
    Finish(usize, Attempt),
    Wake,
}

#[derive(Debug)]
struct Order {
    customer: usize,
    submitted: Timestamp,
    begun: Option<Timestamp>,
    lasts: Duration,
}

#[derive(Debug)]
struct Stand {
    slots: usize,
    running: usize,
    waiting: VecDeque<Attempt>,
}

/// A market day.
#[derive(Debug)]
pub struct Market {
    scheduler: Scheduler,
    rng: Rng,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Event>,
    events: u64,
    /// The wake-up that stands in the agenda.
    wake_at: Option<Timestamp>,
    customers: Vec<Customer>,
    stands: Vec<Stand>,
    orders: BTreeMap<JobId, Order>,
    window: (Timestamp, Timestamp),
    got: Vec<Got>,
}

/// One way between the server and a worker.
const ONE_WAY: Duration = Duration::from_millis(1);

impl Market {
    /// Workers with so many slots each, and who wants them. What is got counts from `from` to `until`.
    ///
    /// # Panics
    /// If the settings are impossible.
    #[must_use]
    pub fn open(slots: &[usize], customers: Vec<Customer>, window: (Duration, Duration), seed: u64) -> Self {
        let user_weights = customers.iter().filter_map(|it| Some((UserId::new(it.uid), it.weight?))).collect();
        let config = Config { lease: Duration::from_secs(1_000_000), user_weights, ..Config::default() };
        let scheduler = Scheduler::new(config).unwrap_or_else(|error| panic!("impossible settings: {error}"));
        let mut market = Self {
            scheduler,
            rng: Rng::new(seed),
            now: Timestamp::ZERO,
            agenda: BTreeMap::new(),
            events: 0,
            wake_at: None,
            got: vec![Got::default(); customers.len()],
            stands: slots.iter().map(|&slots| Stand { slots, running: 0, waiting: VecDeque::new() }).collect(),
            customers,
            orders: BTreeMap::new(),
            window: (Timestamp::ZERO + window.0, Timestamp::ZERO + window.1),
        };
        for (worker, &slots) in slots.iter().enumerate() {
            market.step(Input::WorkerRegistered { worker: id(worker), facts: facts(slots), holding: vec![] });
        }
        for customer in 0..market.customers.len() {
            for _ in 0..market.customers[customer].backlog {
                market.after(market.customers[customer].from, Event::Submit(customer));
            }
        }
        market
    }

    /// Lets the day pass, and says what each customer got.
    #[must_use]
    pub fn close(mut self) -> Vec<Got> {
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.window.1) {
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.happen(event);
        }
        self.now = self.window.1;
        for (_, order) in std::mem::take(&mut self.orders) {
            self.account(&order);
        }
        self.got
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Submit(customer) => self.submit(customer),
            Event::Arrive(worker, attempts) => {
                self.stands[worker].waiting.extend(attempts);
                self.begin(worker);
            }
            Event::Finish(worker, attempt) => {
                self.stands[worker].running -= 1;
                self.begin(worker);
                let Some(order) = self.orders.remove(&attempt.job) else { return };
                self.account(&order);
                let peak_memory = self.customers[order.customer].memory;
                let usage = ResourceUsage { wall: order.lasts, user: order.lasts, peak_memory, ..Default::default() };
                let result = Ok(Outcome { exit: ExitStatus::Code(0), usage });
                self.step(Input::AttemptEnded { worker: id(worker), attempt, result });
                self.after(Duration::ZERO, Event::Submit(order.customer));
            }
            Event::Wake => {
                self.wake_at = None;
                self.step(Input::Wake);
            }
        }
    }

    fn submit(&mut self, customer: usize) {
        let Customer { uid, build, lasting: (low, high), input_bytes, nice, memory, .. } = self.customers[customer];
        let (job, lasts) = (JobId::from_bytes(self.rng.bytes()), self.rng.millis(low, high));
        self.orders.insert(job, Order { customer, submitted: self.now, begun: None, lasts });
        let kind = if memory > 0 { JobKind::Link } else { JobKind::Compile };
        let new = JobFacts::new(UserId::new(uid), BuildId::new(build), kind);
        let output = (memory > 0).then(|| OutputKey::new(customer as u64));
        let priority = Priority::from_nice(nice);
        // What a link is believed to need, as long as nobody knows.
        let facts = JobFacts { input_bytes: input_bytes.max(memory / 2), output, priority, ..new };
        let jobs = vec![SubmittedJob { id: job, facts, resubmitted: false }];
        self.step(Input::JobsSubmitted { client: ClientId(customer as u64), jobs });
    }

    fn begin(&mut self, worker: usize) {
        while self.stands[worker].running < self.stands[worker].slots
            && let Some(attempt) = self.stands[worker].waiting.pop_front()
        {
            let Some(order) = self.orders.get_mut(&attempt.job) else { continue };
            order.begun = Some(self.now);
            let lasts = order.lasts;
            self.stands[worker].running += 1;
            self.step(Input::AttemptStarted { worker: id(worker), attempt });
            self.after(lasts, Event::Finish(worker, attempt));
        }
    }

    fn account(&mut self, order: &Order) {
        let got = &mut self.got[order.customer];
        let waited = order.begun.unwrap_or(self.now).since(order.submitted);
        got.longest_wait = got.longest_wait.max(waited);
        let Some(begun) = order.begun else { return };
        got.begun += 1;
        let end = (begun + order.lasts).min(self.now).min(self.window.1);
        got.slot_time += end.since(begun.max(self.window.0));
    }

    fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.scheduler.step(self.now, input, &mut actions);
        for action in actions {
            match action {
                Action::Assign { worker, attempts, .. } => {
                    let worker = usize::try_from(worker.number()).unwrap_or(usize::MAX);
                    self.after(ONE_WAY, Event::Arrive(worker, attempts));
                }
                // Slots are always wanted here, so nobody's prefetch is asked back; answers go nowhere.
                Action::Complete { .. } | Action::Forget { .. } | Action::Recall { .. } => {}
                unexpected => panic!("nothing goes wrong here, and yet: {unexpected:?}"),
            }
        }
        if let Some(deadline) = self.scheduler.next_deadline()
            && self.wake_at.is_none_or(|planned| deadline < planned)
        {
            self.wake_at = Some(deadline);
            self.at(deadline.max(self.now), Event::Wake);
        }
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.events += 1;
        self.agenda.insert((at, self.events), event);
    }
}

/// Jain's index of how equal these are: 1 when all are, 1/n when one has everything (Jain, Chiu, Hawe, 1984).
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|share| share * share).sum::<f64>());
    if squares == 0.0 { 1.0 } else { sum * sum / (shares.len() as f64 * squares) }
}

fn id(worker: usize) -> WorkerId {
    WorkerId::new(u32::try_from(worker).unwrap_or(u32::MAX))
}

fn facts(slots: usize) -> WorkerFacts {
    WorkerFacts {
        incarnation: Incarnation::from_bytes([1; 16]),
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        linking: true,
        toolchains: vec![],
        mounts: vec![],
        only_user: None,
        memory: MEMORY,
        cpu_class: None,
        isolates: true,
        speed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equals_and_a_share_for_a_monopoly() {
        assert!((jain(&[2.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[5.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }
}
