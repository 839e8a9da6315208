//! What the sessions tell the driver.

use model::ids::{JobId, WorkerId};
use proto::v1;
use scheduler_core::{ClientId, HeldAttempt};
use tokio::sync::oneshot;

use crate::roster::Entered;
use crate::session::outbox::Outbox;

/// A fact from a session, in the order in which the session's peer made it true.
pub enum Fact {
    /// A launcher opened a conversation.
    ClientJoined {
        /// The number that the gate gave it.
        client: ClientId,
        /// Where its replies go.
        replies: Outbox<v1::LauncherReply>,
        /// Whether it can be told to wait.
        knows_waiting: bool,
    },
    /// A launcher submitted jobs, whose facts and commands were checked.
    Submitted {
        /// Who.
        client: ClientId,
        /// What.
        batch: Vec<Checked>,
    },
    /// A launcher took jobs back.
    Cancelled {
        /// Who.
        client: ClientId,
        /// Which.
        jobs: Vec<JobId>,
    },
    /// A launcher has seen what a job left, after a while or never.
    Seen {
        /// How long that took.
        seen: v1::Seen,
    },
    /// A launcher has taken most of what waited for it.
    LittleWaits {
        /// Who.
        client: ClientId,
    },
    /// A launcher's conversation ended.
    ClientLeft {
        /// Who.
        client: ClientId,
    },
    /// A worker introduced itself.
    WorkerJoined {
        /// What it says of itself.
        register: Box<v1::Register>,
        /// That it has been written down.
        entered: Entered,
        /// Its attempts.
        holding: Vec<HeldAttempt>,
        /// Where its orders go.
        orders: Outbox<v1::WorkerOrder>,
        /// Tells its session the number it got, and which conversation of the worker this is.
        seat: oneshot::Sender<Seat>,
    },
    /// A worker said something.
    WorkerSaid {
        /// Who, in which conversation.
        seat: Seat,
        /// What.
        message: Box<v1::worker_message::Message>,
    },
    /// A worker's conversation ended.
    WorkerLeft {
        /// Who, in which conversation.
        seat: Seat,
    },
    /// A spawner says that its worker is dead and that nothing of it runs any more.
    WorkerDied {
        /// What it knows of the worker.
        obituary: v1::Obituary,
    },
    /// Somebody asks why a job is where it is.
    ExplanationAsked {
        /// Which.
        job: JobId,
        /// Where the answer goes: nothing for a job that is not known.
        answer: oneshot::Sender<Option<v1::Explanation>>,
    },
    /// Somebody asks what is waiting and running.
    JobsAsked {
        /// At most so many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<v1::JobList>,
    },
    /// An operator wants a worker to take nothing more.
    DrainAsked {
        /// Its name.
        worker: String,
        /// How.
        order: v1::DrainOrder,
        /// Whether there is such a worker, and it has been told.
        answer: oneshot::Sender<bool>,
    },
    /// Somebody wants to know when he sees what a worker makes.
    AppearanceAsked {
        /// Its name.
        worker: String,
        /// What it is to make.
        appear: v1::Appear,
        /// Where the worker's answer goes; closed if no such worker is attached, or it leaves.
        answer: oneshot::Sender<v1::Appeared>,
    },
    /// Somebody asks how things are.
    StatusAsked {
        /// Where the answer goes.
        answer: oneshot::Sender<v1::Status>,
    },
}

/// A worker in one of its conversations: word of an earlier one comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which worker.
    pub worker: WorkerId,
    /// Which of its conversations, counted over all workers.
    pub conversation: u64,
}

/// A job that the door has checked.
pub struct Checked {
    /// Its id.
    pub id: JobId,
    /// What scheduling may look at.
    pub facts: model::job::JobFacts,
    /// All of it.
    pub job: v1::Job,
}
