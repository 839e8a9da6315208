//! Each action to its session's queue, with what the books hold for it. Queues only, never waits, decides nothing.

mod attempts;
mod launchers;
mod output;
mod people;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::ids::{Attempt, DirKey, Incarnation, JobId, WorkerId};
use model::time::Timestamp;
use proto::convert::{Sameness, attempt_ref};
use proto::v1::{self, worker_order};
use scheduler_core::{Action, AuditRate, ClientId};

use crate::audits::Audits;
use crate::books::Books;
use crate::directory_book::DirectoryBook;
use crate::roster::Roster;
use crate::session::outbox::Outbox;
use crate::toolchains::Clients;
use crate::visibility::Visibility;
use output::HeldUp;
pub use workers::worker_incarnation;

/// The sessions and the books behind the scheduler's ids.
pub struct Dispatch {
    incarnation: Incarnation,
    lease: Duration,
    heartbeat: Duration,
    sameness: Sameness,
    client_toolchains: Clients,
    books: Books,
    clients: BTreeMap<ClientId, Client>,
    workers: BTreeMap<WorkerId, Worker>,
    numbers: u32,
    conversations: u64,
    done: BTreeMap<String, BTreeMap<i32, u64>>,
    roster: Arc<Roster>,
    audits: Audits,
    directories: DirectoryBook,
    visibility: Visibility,
}

struct Client {
    /// None once it is cut off.
    replies: Option<Outbox<v1::LauncherReply>>,
    knows_waiting: bool,
    jobs: BTreeSet<JobId>,
    held_up: HeldUp,
}

struct Worker {
    name: String,
    register: v1::Register,
    dirs: Vec<DirKey>,
    conversation: u64,
    orders: Option<Outbox<v1::WorkerOrder>>,
    said_goodbye: bool,
    /// Its spawner has seen that nothing of it runs any more.
    dead: bool,
    /// Its place on the roster.
    entry: u64,
}

impl Dispatch {
    /// No sessions yet. `lease` and `heartbeat` are what workers are told; `horizon` is how long a commit may be hidden
    /// from some machine by its filesystem's caches.
    #[must_use]
    pub fn new(
        incarnation: Incarnation,
        lease: Duration,
        heartbeat: Duration,
        sameness: Sameness,
        horizon: Duration,
        roster: Arc<Roster>,
        rate: AuditRate,
    ) -> Self {
        Self {
            incarnation,
            lease,
            heartbeat,
            sameness,
            client_toolchains: Clients::default(),
            books: Books::default(),
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            numbers: 0,
            conversations: 0,
            done: BTreeMap::new(),
            roster,
            audits: Audits::new(rate),
            directories: DirectoryBook::new(horizon, Timestamp::ZERO),
            visibility: Visibility::default(),
        }
    }

    /// Keeps so many bytes of jobs at the most. Before the first of them.
    #[must_use]
    pub fn keeping(self, most: usize) -> Self {
        Self { books: Books::of_size(most), ..self }
    }

    /// Which run of the server this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where workers stand before they are welcomed.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// Says what time it is, which what follows goes by.
    pub fn advance(&mut self, now: Timestamp) {
        self.directories.advance(now);
    }

    /// Carries out an order of the scheduler.
    pub fn perform(&mut self, action: Action) {
        match action {
            Action::Assign { worker, attempts, commit } => self.assign(worker, &attempts, commit),
            Action::PermitCommit { worker, attempt } => {
                self.order(worker, worker_order::Message::PermitCommit(attempts(&[attempt])));
            }
            Action::Cancel { worker, attempt } => {
                self.order(worker, worker_order::Message::Cancel(attempts(&[attempt])));
            }
            Action::Recall { worker, attempt } => {
                self.order(worker, worker_order::Message::Recall(attempts(&[attempt])));
            }
            Action::Complete { client, attempt } => self.complete(client, attempt),
            Action::RunLocally { client, job, reason } => self.send_home(client, job, &reason),
            Action::Wait { client, job, delay } => self.ask_to_wait(client, job, delay),
            Action::KeepForAudit { of } => self.keep_for_audit(of),
            Action::Audit { worker, attempt, of } => self.audit(worker, attempt, of),
            Action::EndAudit { of, verdict } => self.audits.end(of, verdict),
            Action::Forget { job } => self.forget(job),
            Action::ForgetWorker { worker } => {
                self.directories.forget_told(worker);
                if let Some(gone) = self.workers.remove(&worker) {
                    self.roster.leave(worker_incarnation(&gone.register), gone.entry);
                    match gone.said_goodbye {
                        true => tracing::info!(worker = worker.number(), name = gone.name, "worker left"),
                        false => tracing::warn!(worker = worker.number(), name = gone.name, "worker lost"),
                    }
                }
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn attempts(which: &[Attempt]) -> v1::Attempts {
    v1::Attempts { attempts: which.iter().map(|&attempt| attempt_ref(attempt)).collect() }
}
