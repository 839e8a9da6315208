//! Each action to its session's queue, with what the books hold for it. Queues only, never waits, decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::ids::{Attempt, DirKey, Incarnation, JobId, WorkerId};
use model::outcome::AttemptFailure;
use model::time::Timestamp;
use prost::Message as _;
use proto::convert::{Sameness, attempt_ref, dir_keys};
use proto::limits;
use proto::v1::{self, launcher_reply, worker_order};
use scheduler_core::{Action, AuditRate, ClientId, Commit, HeldAttempt, LocalReason, Snapshot, Unmet, WorkerState};

use crate::SOFTWARE;
use crate::audits::Audits;
use crate::books::{Books, Entry, Telling};
use crate::directory_book::{DirectoryBook, Reader};
use crate::fact::Seat;
use crate::mount_check;
use crate::peer;
use crate::roster::Roster;
use crate::session::outbox::Outbox;
use crate::toolchains::{self, Clients, Comparison};
use crate::visibility::Visibility;

/// Directories remembered per worker between its full reports.
const MAX_DIRS: usize = 4096;

/// How many times longer than the first the longest pause of a job may be whose user has too many waiting.
const LONGEST_WAIT: u32 = 8;

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
    replies: Outbox<v1::LauncherReply>,
    knows_waiting: bool,
    jobs: BTreeSet<JobId>,
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

    // --- launchers ---

    /// Opens a launcher's session.
    pub fn admit_client(&mut self, client: ClientId, replies: Outbox<v1::LauncherReply>, knows_waiting: bool) {
        self.clients.insert(client, Client { replies, knows_waiting, jobs: BTreeSet::new() });
    }

    /// Closes a launcher's session; false when it was closed before. The workers of its finished jobs may forget them.
    pub fn dismiss_client(&mut self, client: ClientId) -> bool {
        let Some(gone) = self.clients.remove(&client) else { return false };
        for job in gone.jobs {
            self.acknowledge_outcome(job);
        }
        true
    }

    /// Whether a submitted job is taken; if not, its launcher is told why, or to ask again after `delay`. What is known
    /// already is the same job, and takes no more room.
    pub fn admits(&mut self, client: ClientId, id: JobId, job: &v1::Job, delay: Duration) -> bool {
        let size = job.encoded_len();
        if self.books.get(id).is_some() {
            true
        } else if size > limits::MAX_JOB_BYTES {
            let reason = format!("it is larger than {} MiB", limits::MAX_JOB_BYTES >> 20);
            tracing::info!(job = %id, size, "refused: {reason}");
            self.reply(client, launcher_reply::Message::RunLocally(local(id, reason)));
            false
        } else if !self.books.has_room(user_of(job).unwrap_or_default(), size) {
            self.ask_to_wait(client, id, delay);
            false
        } else {
            true
        }
    }

    /// Keeps what a submitted job is; from now on `client` gets its answers.
    pub fn note_job(&mut self, client: ClientId, id: JobId, mut job: v1::Job) {
        if let Some(toolchain) = &mut job.toolchain {
            self.client_toolchains.note(toolchain);
        }
        if self.books.entry(id).outcome.is_none() {
            self.books.put_job(id, user_of(&job).unwrap_or_default(), job);
        }
        let entry = self.books.entry(id);
        let before = entry.client.replace(client);
        if let Some(before) = before.and_then(|before| self.clients.get_mut(&before)) {
            before.jobs.remove(&id);
        }
        if let Some(session) = self.clients.get_mut(&client) {
            session.jobs.insert(id);
        }
    }

    /// Tells a launcher what its jobs had printed before it came (back).
    pub fn catch_up(&mut self, client: ClientId) {
        let jobs: Vec<JobId> =
            self.clients.get(&client).into_iter().flat_map(|known| known.jobs.iter().copied()).collect();
        for job in jobs {
            // What is lost is said when the job is done: nothing can be made of it before.
            self.tell_output(client, job);
        }
    }

    /// The launcher's jobs that it takes back are confirmed at once when nothing of them runs.
    pub fn note_cancelled(&mut self, client: ClientId, jobs: &[JobId]) {
        for &job in jobs {
            if self.books.get(job).is_none() {
                self.confirm_cancelled(client, job);
            }
        }
    }

    fn confirm_cancelled(&mut self, client: ClientId, job: JobId) {
        let id = job.as_bytes().to_vec().into();
        self.reply(client, launcher_reply::Message::Cancelled(v1::CancelJobs { jobs: vec![id] }));
    }

    fn complete(&mut self, client: ClientId, attempt: Attempt) {
        let job = attempt.job;
        let whole = self.tell_output(client, job);
        let taken = self.books.take_job(job);
        let Some(entry) = self.books.get(job) else { return };
        let kind = taken.as_ref().map(|job| job.kind);
        let mount = taken.as_ref().and_then(|job| job.mounts.first().cloned());
        if let Some(taken) = taken {
            self.audits.offer(job, taken);
        }
        let Some((_, mut outcome)) = entry.outcome.clone().filter(|(known, _)| *known == attempt && whole) else {
            let reason = "its output is not kept any more".to_owned();
            return self.reply(client, launcher_reply::Message::RunLocally(local(job, reason)));
        };
        outcome.digests = Vec::new();
        if let Some(kind) = kind {
            *self.done.entry(outcome.worker.clone()).or_default().entry(kind).or_default() += 1;
        }
        mount.iter().for_each(|mount| self.visibility.on_done(mount));
        tracing::debug!(%attempt, worker = outcome.worker, "done");
        let done = v1::JobDone { attempt: Some(attempt_ref(attempt)), outcome: Some(outcome) };
        self.reply(client, launcher_reply::Message::Done(done));
    }

    /// A launcher says how long it waited to see what a job left.
    pub fn note_seen(&mut self, seen: v1::Seen) {
        self.visibility.on_seen(seen);
    }

    fn send_home(&mut self, client: ClientId, job: JobId, reason: &LocalReason) {
        tracing::info!(%job, ?reason, "sent home");
        let mut words = in_words(reason);
        if *reason == LocalReason::NoEligibleWorker(Unmet::Toolchain) {
            words.extend(self.what_differs(job).map(|what| format!(" ({what})")));
        }
        self.reply(client, launcher_reply::Message::RunLocally(local(job, words)));
    }

    /// How the toolchain of some worker is another than a job's.
    fn what_differs(&self, job: JobId) -> Option<String> {
        let path = &self.books.get(job)?.job()?.toolchain.as_ref()?.path;
        let comparison = self.comparison();
        self.workers.values().find_map(|worker| {
            let found = comparison.differences(&worker.register).into_iter().find(|found| found.path == *path)?;
            Some(format!("on {}, {}", worker.name, found.text))
        })
    }

    fn comparison(&self) -> Comparison<'_> {
        let registers: Vec<&v1::Register> = self.workers.values().map(|worker| &worker.register).collect();
        Comparison::of(&self.client_toolchains, &registers)
    }

    /// Launchers older than the answer run such jobs at home, where they queue among themselves.
    fn ask_to_wait(&mut self, client: ClientId, job: JobId, delay: Duration) {
        if !self.clients.get(&client).is_some_and(|session| session.knows_waiting) {
            return self.send_home(client, job, &LocalReason::QueueFull);
        }
        tracing::debug!(%job, ?delay, "told to wait");
        let wait = v1::Wait {
            job: job.as_bytes().to_vec().into(),
            delay_us: micros(delay),
            longest_us: micros(delay.saturating_mul(LONGEST_WAIT)),
        };
        self.reply(client, launcher_reply::Message::Wait(wait));
    }

    /// Sends a launcher what it has not heard of a job's output; false when that is not there any more.
    fn tell_output(&mut self, client: ClientId, job: JobId) -> bool {
        let Some(entry) = self.books.get_mut(job).filter(|entry| entry.client == Some(client)) else { return true };
        match entry.catch_up() {
            Telling::Chunks(chunks) => {
                for chunk in chunks {
                    self.reply(client, launcher_reply::Message::Output(chunk));
                }
                true
            }
            Telling::Lost => false,
        }
    }

    /// Queues a reply; a launcher that does not read is cut off, and its session's end then says so.
    fn reply(&mut self, client: ClientId, message: launcher_reply::Message) {
        let Some(session) = self.clients.get(&client) else { return };
        if session.replies.send(v1::LauncherReply { message: Some(message) }).is_err() {
            tracing::info!(client = client.0, "a launcher does not read its replies");
        }
    }

    fn forget(&mut self, job: JobId) {
        self.acknowledge_outcome(job);
        let Some(entry) = self.books.forget(job) else { return };
        let Some(client) = entry.client else { return };
        if entry.outcome.is_none() {
            self.confirm_cancelled(client, job);
        }
        if let Some(session) = self.clients.get_mut(&client) {
            session.jobs.remove(&job);
        }
    }

    // --- attempts ---

    fn assign(&mut self, worker: WorkerId, assigned: &[Attempt], commit: Commit) {
        let assignments = assigned.iter().filter_map(|&attempt| self.assignment(worker, attempt, commit)).collect();
        self.order(worker, worker_order::Message::Assign(v1::AssignBatch { assignments }));
    }

    fn assignment(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) -> Option<v1::Assignment> {
        let job = self.books.get(attempt.job)?.job()?;
        Some(v1::Assignment {
            attempt: Some(attempt_ref(attempt)),
            when_permitted: commit == Commit::WhenPermitted,
            audit: self.audits.of(attempt.job, job).into(),
            toolchain: job.toolchain.clone().filter(|_| self.sameness == Sameness::Exact),
            ..assignment_of(job, worker, &mut self.directories)
        })
    }

    /// Keeps what was done, for it to be done again.
    fn keep_for_audit(&mut self, of: Attempt) {
        if let Some((_, outcome)) = self.books.get(of.job).and_then(|entry| entry.outcome.as_ref()) {
            self.audits.keep(of, outcome);
        }
    }

    fn audit(&mut self, worker: WorkerId, shadow: Attempt, of: Attempt) {
        let nothing = v1::Job::default();
        // A worker refuses to run nothing, and so the audit ends: silence would keep the slot for ever.
        let job = self.audits.job(of).unwrap_or(&nothing);
        let assignment = v1::Assignment {
            attempt: Some(attempt_ref(shadow)),
            when_permitted: true,
            audit: v1::Audit::Shadow.into(),
            toolchain: job.toolchain.clone().filter(|_| self.sameness == Sameness::Exact),
            ..assignment_of(job, worker, &mut self.directories)
        };
        self.order(worker, worker_order::Message::Assign(v1::AssignBatch { assignments: vec![assignment] }));
    }

    /// Makes room for what a worker will say of the attempts that it brings along, which may be another server's. The
    /// scheduler says when to forget them.
    pub fn note_held(&mut self, holding: &[HeldAttempt]) {
        for held in holding {
            self.books.entry(held.attempt.job);
        }
    }

    /// Passes on what an attempt prints. Of a job that is forgotten nobody wants to hear.
    pub fn pass_output(&mut self, attempt: Attempt, chunk: v1::OutputChunk) {
        if let Some((client, chunk)) = self.books.take_chunk(attempt, chunk) {
            self.reply(client, launcher_reply::Message::Output(chunk));
        }
    }

    /// Keeps the outcome of an attempt, for the scheduler to say what becomes of it.
    pub fn keep_outcome(&mut self, seat: Seat, attempt: Attempt, mut outcome: v1::Outcome) {
        outcome.worker = self.worker_name(seat.worker);
        if self.audits.take(attempt, &outcome) {
            return;
        }
        self.note_commit(seat, attempt, &outcome);
        self.books.put_outcome(seat.worker, attempt, outcome);
    }

    /// Before anybody hears of the outcome, and may submit what depends on it.
    fn note_commit(&mut self, seat: Seat, attempt: Attempt, outcome: &v1::Outcome) {
        let job = self.books.get(attempt.job).and_then(Entry::job);
        let user = job.and_then(user_of);
        let cwd = job.and_then(|job| job.command.as_ref()).map_or(Bytes::new(), |command| command.cwd.clone());
        let written = outcome.outputs.iter().map(|stamp| &stamp.path).chain(&outcome.removed);
        let written = written.chain(outcome.made.iter().map(|made| &made.path));
        let files: Vec<Vec<u8>> = written.map(|path| absolute(&cwd, path)).collect();
        self.directories.note_files(seat.worker, user, files.iter().map(Vec::as_slice));
    }

    /// An attempt that failed may have published a part of what it was to write; or all, if it could not say so any more.
    pub fn note_failure(&mut self, attempt: Attempt, failure: &AttemptFailure) {
        use AttemptFailure::{HandedBack, InputsNotVisible, Refused};
        let Some(job) = self.books.get(attempt.job).and_then(Entry::job) else { return };
        if matches!(failure, HandedBack | InputsNotVisible(_) | Refused(_)) {
            return;
        }
        let cwd = job.command.as_ref().map_or(Bytes::new(), |command| command.cwd.clone());
        let files = job.outputs.iter().map(|output| absolute(&cwd, output));
        let mut dirs: BTreeSet<Vec<u8>> = files.filter_map(parent).collect();
        dirs.insert(cwd.to_vec());
        self.directories.note_directories(user_of(job), dirs.iter().map(Vec::as_slice));
    }

    /// After the scheduler absorbed an attempt's end: the worker need not keep what nobody will ask for. An outcome is
    /// acknowledged later, when its launcher has left: until then only the worker can tell it to another server.
    pub fn settle(&mut self, seat: Seat, attempt: Attempt) {
        let waits = self.books.get(attempt.job).is_some_and(|entry| {
            // An orphan's launcher may come yet; one that came and left will not.
            let expected = entry.client.is_none_or(|client| self.clients.contains_key(&client));
            expected && entry.unacknowledged == Some((seat.worker, attempt))
        });
        if !waits {
            self.order(seat.worker, worker_order::Message::ResultsReceived(attempts(&[attempt])));
        }
    }

    fn acknowledge_outcome(&mut self, job: JobId) {
        let waiting = self.books.get_mut(job).and_then(|entry| entry.unacknowledged.take());
        if let Some((worker, attempt)) = waiting {
            self.order(worker, worker_order::Message::ResultsReceived(attempts(&[attempt])));
        }
    }

    // --- workers ---

    /// Gives a worker its number: the one that its incarnation has already, or a new one.
    pub fn seat_worker(&mut self, register: &v1::Register, entry: u64, orders: Outbox<v1::WorkerOrder>) -> Seat {
        self.conversations += 1;
        let incarnation = incarnation_of(register);
        let known = self.workers.iter().find(|(_, worker)| incarnation_of(&worker.register) == incarnation);
        let worker = known.map(|(&id, _)| id).unwrap_or_else(|| {
            self.numbers += 1;
            WorkerId::new(self.numbers)
        });
        let name = self.name_for(worker, &register.name);
        tracing::info!(
            worker = worker.number(),
            name,
            slots = register.slots,
            linking = register.linking,
            "worker joined"
        );
        if register.lost_slots > 0 {
            let lost = register.lost_slots;
            tracing::warn!(worker = worker.number(), name, lost, "something there survives SIGKILL, and holds slots");
        }
        for refused in mount_check::refused(register) {
            let mount = String::from_utf8_lossy(&refused.path).into_owned();
            tracing::warn!(worker = worker.number(), name, mount, "no jobs of this mount: it {}", refused.problem);
        }
        let seat = Seat { worker, conversation: self.conversations };
        let dirs = self.workers.remove(&worker).map(|known| known.dirs).unwrap_or_default();
        // Assignments that were on their way may have been lost, with what they told.
        self.directories.forget_told(worker);
        let entry = Worker {
            name,
            register: register.clone(),
            dirs,
            conversation: seat.conversation,
            orders: Some(orders),
            said_goodbye: false,
            dead: false,
            entry,
        };
        self.workers.insert(worker, entry);
        seat
    }

    /// Several workers of one host are told apart by their numbers.
    /// What a worker is called; nothing when it left.
    #[must_use]
    pub fn worker_name(&self, id: WorkerId) -> String {
        self.workers.get(&id).map_or_else(String::new, |worker| worker.name.clone())
    }

    fn name_for(&self, id: WorkerId, wanted: &str) -> String {
        let taken = self.workers.iter().any(|(&other, worker)| other != id && worker.name == wanted);
        if taken { format!("{wanted}#{}", id.number()) } else { wanted.to_owned() }
    }

    /// Tells a worker that it is in.
    pub fn welcome(&mut self, worker: WorkerId) {
        let hello = proto::version::hello(SOFTWARE, *self.incarnation.as_bytes(), &peer::host_name());
        let welcome = v1::Welcome {
            hello: Some(hello),
            worker_id: worker.number(),
            lease_us: micros(self.lease),
            heartbeat_us: micros(self.heartbeat),
            refused_mounts: self.workers.get(&worker).map(|it| mount_check::refused(&it.register)).unwrap_or_default(),
        };
        self.order(worker, worker_order::Message::Welcome(welcome));
    }

    /// Whether this is the worker's present conversation, with a worker that has not been forgotten.
    #[must_use]
    pub fn is_current(&self, seat: Seat) -> bool {
        self.workers.get(&seat.worker).is_some_and(|worker| worker.conversation == seat.conversation)
    }

    /// Closes a worker's conversation; false when it was not the present one.
    pub fn unseat_worker(&mut self, seat: Seat) -> bool {
        let current = self.is_current(seat);
        if let Some(worker) = self.workers.get_mut(&seat.worker).filter(|_| current) {
            worker.orders = None;
            tracing::info!(worker = seat.worker.number(), name = worker.name, "worker disconnected");
        }
        current
    }

    /// Notes that a worker goes by its own will.
    pub fn note_goodbye(&mut self, worker: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.said_goodbye = true;
        }
    }

    /// Notes that a worker is dead and nothing of it runs any more, if it is the worker's own spawner that says so.
    pub fn note_death(&mut self, obituary: &v1::Obituary) -> Option<WorkerId> {
        let is_it = |worker: &Worker| incarnation_of(&worker.register) == obituary.incarnation;
        let (&id, worker) = self.workers.iter_mut().find(|(_, worker)| is_it(worker))?;
        if obituary.key.is_empty() || worker.register.obituary_key != obituary.key {
            tracing::warn!(worker = id.number(), name = worker.name, "somebody else claims that this worker is dead");
            return None;
        }
        tracing::info!(
            worker = id.number(),
            name = worker.name,
            "the worker was killed, and nothing of it runs any more"
        );
        worker.dead = true;
        Some(id)
    }

    /// Whether the worker's spawner has told its death.
    #[must_use]
    pub fn is_dead(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.dead)
    }

    /// Whether the worker has a conversation.
    #[must_use]
    pub fn is_seated(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.orders.is_some())
    }

    /// Acknowledges a heartbeat, unless the scheduler has meanwhile forgotten the worker.
    pub fn acknowledge_heartbeat(&mut self, seat: Seat, sequence: u64) {
        if self.is_current(seat) {
            self.order(seat.worker, worker_order::Message::HeartbeatAck(v1::HeartbeatAck { sequence }));
        }
    }

    /// Replaces what is known of a worker's warm directories.
    pub fn set_dirs(&mut self, worker: WorkerId, dirs: Vec<DirKey>) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.dirs = dirs;
            worker.dirs.truncate(MAX_DIRS);
        }
    }

    /// Adds directories that a worker touched, the last one most recently; the whole list, warmest first, when it
    /// changed.
    pub fn touch_dirs(&mut self, worker: WorkerId, touched: &[bytes::Bytes]) -> Option<Vec<DirKey>> {
        let keys = dir_keys(touched).unwrap_or_default();
        let worker = self.workers.get_mut(&worker).filter(|_| !keys.is_empty())?;
        for key in keys {
            worker.dirs.retain(|&known| known != key);
            worker.dirs.insert(0, key);
        }
        worker.dirs.truncate(MAX_DIRS);
        Some(worker.dirs.clone())
    }

    /// Queues an order; a worker that does not read is cut off, and comes back by itself.
    fn order(&mut self, worker: WorkerId, message: worker_order::Message) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        let sent = worker.orders.as_ref().map(|orders| orders.send(v1::WorkerOrder { message: Some(message) }));
        if sent.is_some_and(|sent| sent.is_err()) {
            worker.orders = None;
        }
    }

    // --- people ---

    fn attached(&self, name: &str) -> Option<WorkerId> {
        let found = self.workers.iter().find(|(_, worker)| worker.name == name && worker.orders.is_some());
        found.map(|(&id, _)| id)
    }

    /// Has a worker make a file; who that is, if such a worker is attached.
    pub fn have_appear(&mut self, name: &str, appear: v1::Appear) -> Option<WorkerId> {
        let worker = self.attached(name)?;
        self.order(worker, worker_order::Message::Appear(appear));
        Some(worker)
    }

    /// Tells a worker to take nothing more, or that it may again; false when no such worker is attached.
    pub fn drain(&mut self, name: &str, order: v1::DrainOrder) -> bool {
        let Some(worker) = self.attached(name) else { return false };
        tracing::info!(worker = worker.number(), name, stay = order.stay, undo = order.undo, "drain, by an operator");
        self.order(worker, worker_order::Message::Drain(order));
        true
    }

    /// The jobs that are not done, as many as wanted.
    #[must_use]
    pub fn jobs(&self, limit: usize, explain: impl Fn(JobId) -> Option<v1::Explanation>) -> v1::JobList {
        let mut list = v1::JobList::default();
        for (id, job) in self.books.unfinished() {
            if list.jobs.len() == limit {
                list.more += 1;
                continue;
            }
            let Some(explanation) = explain(id) else { continue };
            let command = job.command.as_ref();
            list.jobs.push(v1::JobLine {
                id: job.id.clone(),
                kind: job.kind,
                uid: command.and_then(|command| command.identity.as_ref()).map_or(u32::MAX, |identity| identity.uid),
                cwd: command.map(|command| command.cwd.clone()).unwrap_or_default(),
                output: job.outputs.first().cloned().unwrap_or_default(),
                explanation: Some(explanation),
            });
        }
        list
    }

    /// How things are.
    #[must_use]
    pub fn status(&self, snapshot: &Snapshot) -> v1::Status {
        let comparison = self.comparison();
        let workers = snapshot.workers.iter().filter_map(|seen| {
            let worker = self.workers.get(&seen.worker)?;
            let done = self.done.get(&worker.name).into_iter().flatten();
            Some(v1::WorkerStatus {
                id: seen.worker.number(),
                name: worker.name.clone(),
                state: state_name(seen.state).to_owned(),
                slots: seen.slots,
                lost_slots: worker.register.lost_slots,
                held: seen.held,
                done: done.map(|(&kind, &outcomes)| v1::KindCount { kind, outcomes }).collect(),
                toolchains: worker.register.toolchains.iter().map(toolchains::listed).collect(),
                differences: comparison.differences(&worker.register),
                warm_dirs: u32::try_from(seen.warm_dirs).unwrap_or(u32::MAX),
                linking: worker.register.linking,
                mounts: worker.register.mount_reports.clone(),
                headers: worker.register.headers.clone(),
                software: worker.register.hello.as_ref().map(|hello| hello.software.clone()).unwrap_or_default(),
                host: worker.register.hello.as_ref().map(|hello| hello.host.clone()).unwrap_or_default(),
                clock_skew_us: 0,
                speed: worker.register.speed,
                pace: seen.pace.per_second(),
            })
        });
        v1::Status {
            server: None,
            time_ms: 0,
            mounts: Vec::new(),
            workers: workers.collect(),
            jobs_waiting: snapshot.waiting as u64,
            audits: Some(self.audits.told()),
            visibility: self.visibility.told(),
            jobs_running: (snapshot.sent + snapshot.running + snapshot.cancelling) as u64,
        }
    }
}

/// What any attempt of the job is told, and its worker by the way.
fn assignment_of(job: &v1::Job, worker: WorkerId, directories: &mut DirectoryBook) -> v1::Assignment {
    let searched = job.searched.iter().map(|stamp| stamp.path.clone());
    let near: Vec<Bytes> = job.dirs.iter().cloned().chain(searched).collect();
    let user = user_of(job).unwrap_or_default();
    let told = directories.tell(&Reader { worker, user, near: &near, below: &job.build_dir });
    v1::Assignment {
        changed: told.changed,
        changes_unknown: told.is_unsure,
        searched: job.searched.clone(),
        command: job.command.clone(),
        kind: job.kind,
        dirs: job.dirs.clone(),
        inputs: job.inputs.clone(),
        outputs: job.outputs.clone(),
        redirects: job.redirects.clone(),
        ..v1::Assignment::default()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const fn state_name(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Up => "up",
        WorkerState::Draining => "draining",
        WorkerState::Silent => "silent",
        WorkerState::Benched => "benched",
        WorkerState::OnProbation => "on probation",
    }
}

fn incarnation_of(register: &v1::Register) -> &[u8] {
    register.hello.as_ref().map_or(&[], |hello| &hello.incarnation)
}

/// Which run of the daemon a registration is of.
#[must_use]
pub fn worker_incarnation(register: &v1::Register) -> Incarnation {
    Incarnation::from_bytes(incarnation_of(register).try_into().unwrap_or_default())
}

fn attempts(which: &[Attempt]) -> v1::Attempts {
    v1::Attempts { attempts: which.iter().map(|&attempt| attempt_ref(attempt)).collect() }
}

fn local(job: JobId, reason: String) -> v1::RunLocally {
    v1::RunLocally { job: job.as_bytes().to_vec().into(), reason }
}

fn in_words(reason: &LocalReason) -> String {
    match reason {
        LocalReason::NoEligibleWorker(Unmet::NoWorkers) => "no worker is attached".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::Mount) => "no worker has the shared mount that the job is on".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::User) => "no worker runs commands for this user".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::Toolchain) => "no worker has this very compiler or tool".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::CpuClass) => "no worker has this machine's kind of CPU".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::Memory) => "no worker has the memory that the job needs".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::Linking) => "no worker takes links".to_owned(),
        LocalReason::NoEligibleWorker(Unmet::Exhausted) => {
            "the workers that could take it drain, are benched, or were tried".to_owned()
        }
        LocalReason::AttemptsExhausted(failure) => format!("attempts are used up; the last one: {failure}"),
        LocalReason::QueueFull => "too many jobs wait at the server".to_owned(),
        LocalReason::Unreasonable { what } => format!("it asks for too many {what}"),
        LocalReason::Stopping => "the server is stopping".to_owned(),
    }
}

fn user_of(job: &v1::Job) -> Option<u32> {
    Some(job.command.as_ref()?.identity.as_ref()?.uid)
}

fn absolute(cwd: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { [cwd, b"/", path].concat() }
}

fn parent(mut path: Vec<u8>) -> Option<Vec<u8>> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.truncate(slash.max(1));
    Some(path)
}
