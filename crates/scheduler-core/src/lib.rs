//! Every scheduling decision of distccd, and nothing else: queueing, fairness, locality, batches, retry, recovery.
//!
//! Facts in, orders out. The crate never waits, reads a clock, sends, logs or draws a random number: a driver hands
//! [`Scheduler::step`] one dated [`Input`] at a time, carries out the [`Action`]s that come back, in order, and calls
//! again with [`Input::Wake`] at [`Scheduler::next_deadline`] if nothing else happened before. The same history of
//! inputs gives the same actions, so a journal of inputs replays any incident.
//!
//! ```
//! use model::ids::{BuildId, Incarnation, JobId, UserId, WorkerId};
//! use model::job::{JobFacts, JobKind};
//! use model::time::Timestamp;
//! use scheduler_core::{Action, ClientId, Config, Input, Scheduler, SubmittedJob, WorkerFacts};
//!
//! let mut scheduler = Scheduler::new(Config::default())?;
//! let mut actions = Vec::new();
//!
//! let ash = WorkerId::new(1);
//! let facts = WorkerFacts {
//!     incarnation: Incarnation::from_bytes([1; 16]),
//!     slots: 4,
//!     linking: true,
//!     toolchains: vec![],
//!     cpu_class: None,
//!     mounts: vec![],
//!     only_user: None,
//!     memory: 8 << 30,
//!     isolates: true,
//!     speed: None,
//! };
//! scheduler.step(Timestamp::ZERO, Input::WorkerRegistered { worker: ash, facts, holding: vec![] }, &mut actions);
//!
//! let facts = JobFacts::new(UserId::new(1000), BuildId::new(1), JobKind::Compile);
//! let job = SubmittedJob { id: JobId::from_bytes([7; 16]), facts, resubmitted: false };
//! let submitted = Input::JobsSubmitted { client: ClientId(1), jobs: vec![job] };
//! scheduler.step(Timestamp::from_millis(3), submitted, &mut actions);
//!
//! // A real driver would now send each order to the session of its worker or launcher.
//! assert!(matches!(&actions[..], [Action::Assign { worker, attempts, .. }] if *worker == ash && attempts.len() == 1));
//! # Ok::<(), scheduler_core::ConfigError>(())
//! ```
//!
//! # What is promised after every step
//! [`Scheduler::check_invariants`] checks these; the properties and `scheduler-sim` run it after every step.
//! - No two live attempts of a job may both commit. An attempt is live from its `Assign`, or from a worker's naming it
//!   when it registers, until that worker reports its end, registers without it, or is lost. A second attempt may be
//!   live beside the first if both are isolated, but then it may not commit before `PermitCommit`, which is not ordered
//!   while another is live that may; there is never a third that goes on. While an attempt is live that must not go on and may
//!   commit, its job waits for that and nothing else happens to it.
//! - An attempt number is never used again for a job while anybody may remember it.
//! - A submission is answered once, to the launcher that asked last, unless that launcher took it back.
//! - No job waits longer than [`Config::gather`] while a worker that could take it has an idle slot, and so long only
//!   for others of its build that come at the same time: neither for warmth nor for company. (A worker
//!   that is kept free for a job which has waited too long for memory counts as able to take that one only.)
//! - What is reserved of a worker's memory is the sum of what its attempts are predicted to need, and nothing is sent
//!   to a worker that has less than that left.
//! - Whatever waits for something that may never come has a deadline.
//!
//! # Nobody starves
//! Users share slot time by weight, and so do the builds of a user: an account is charged for what its job is expected
//! to take, and pays for what it took. Who has less than his share has the next slot, so a build that has jobs waiting
//! waits for its share at the most. Inside it a job that has waited [`Config::ageing`] is passed only by jobs that came
//! before it; and a job that waits for memory so long has a worker kept free for it within half as long again. Before
//! that links go first, then whoever has the longest way to the end of the build: its own expected time and that of all
//! that follows on it, as far as earlier builds showed which link or archive reads what.
//!
//! # Why a lease is enough
//! The scheduler gives a worker's attempts to others one `lease` after it last *heard* of it
//! ([`Input::WorkerAlive`], [`Input::WorkerRegistered`]). The worker counts from when it *sent* the last heartbeat, or
//! registration, that the server acknowledged, which is earlier than the server's hearing it, and kills its attempts
//! at four fifths of a lease. So whatever the network does, the worker's attempts are dead when the scheduler moves
//! them, given a fifth of a lease for killing and for the difference between two monotonic clocks.
//! This holds only if the driver acknowledges a heartbeat *after* the step that absorbed it, and never one of a worker
//! that was forgotten ([`Action::ForgetWorker`]); such a worker must register under a new number.
//! A new server knows no leases. For one lease after its first step it gives nobody a job that was submitted to an
//! earlier server (`resubmitted`) unless the worker that runs it has said so: after that, whoever has not is dead.
//! Nor does it answer for such a job before, not even with an outcome in hand: that may be of an attempt which the
//! earlier server had given up, and the one that followed it still runs on a worker that has not spoken yet.
//!
//! That time ends sooner when the driver knows who may run something ([`Input::Roster`]) and all of them have registered,
//! and so named all that they hold, or are proven dead ([`Input::WorkerDied`]). It holds only if the driver's roster is
//! complete: whoever is welcomed stands on it *before* the welcome is sent, and leaves it only when it is lost or gone.
//! Who was welcomed by nobody has no lease, and starts nothing. The roster of a server that had none itself is complete
//! only once that server's own time of waiting was over. One of those on the roster must have registered besides:
//! a roster of dead workers alone may be one that has lain somewhere for long.
//!
//! # Second attempts
//! A job that has run far longer than predicted, and than the jobs of its build do against their predictions, gets a
//! second attempt while slots idle ([`Config::speculation`]); so do, at once, the attempts of a worker whose connection
//! broke. The second runs to its end and says so ([`Input::AttemptReady`]); then the first is cancelled, and when it has
//! ended without an outcome, or its worker's lease is over, the second may commit ([`Action::PermitCommit`]). An outcome
//! of the first that comes before is the job's outcome, and the second is cancelled, for whose end nobody need wait: it
//! never got its permission. Nobody's share is charged for a second attempt: nobody else could use the slot.
//!
//! # Audits
//! One job in [`Config::audit_rate`] is done again on a slot that nobody wants ([`Action::Audit`]), by a shadow that may
//! never commit, and the driver says for each such attempt what it wrote ([`Input::AttemptDigested`]). See [`audits`].
//!
//! # What is expected of the driver
//! - A worker's facts arrive in the order in which it sent them; its registration comes first on every connection,
//!   and a late [`Input::WorkerDisconnected`] of an older connection is not passed on.
//! - A worker re-sends the ends that were not acknowledged when it reconnects, and names those attempts as held.
//! - Outcomes are kept by the driver, by attempt, until [`Action::Forget`] of their job.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod action;
mod adoption;
pub mod audits;
mod blame;
mod closing;
pub mod config;
mod dispatch;
mod endings;
pub mod explain;
mod fleet;
pub mod history;
mod idmap;
pub mod input;
mod intake;
mod invariants;
mod jobs;
mod keeping;
mod locality;
mod ordered;
mod patience;
mod placement;
mod queue;
mod recalls;
mod retention;
mod retry;
mod scheduler;
mod second_attempts;
mod snapshot;
mod stragglers;
mod stranded;
mod taking_back;
mod timers;
mod turns;
mod workers;

pub use action::{Action, AuditVerdict, LocalReason, Unmet};
pub use audits::AuditRate;
pub use config::{Config, ConfigError};
pub use explain::{Condition, Explanation, Obstacles, Placement, PlacementKind, SecondAttempt, TurnOrder};
pub use history::{Basis, HistoryEntry, Prediction};
pub use input::{ClientId, Commit, HeldAttempt, Input, SubmittedJob, WorkerFacts, WorkerLoad};
pub use scheduler::Scheduler;
pub use snapshot::{Snapshot, WorkerState, WorkerStatus};
