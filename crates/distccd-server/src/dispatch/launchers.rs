//! Launchers: their sessions, the jobs that they submit, and how these are answered.

use std::collections::BTreeSet;
use std::time::Duration;

use model::ids::{Attempt, JobId};
use prost::Message as _;
use proto::convert::attempt_ref;
use proto::limits;
use proto::v1::{self, launcher_reply};
use scheduler_core::{ClientId, LocalReason, Unmet};

use super::attempts::user_of;
use super::output::HeldUp;
use super::{Client, Dispatch, micros};
use crate::books::Telling;
use crate::session::outbox::{CutOff, Outbox};
use crate::toolchains::Comparison;

/// How many times longer than the first the longest pause of a job may be whose user has too many waiting.
const LONGEST_WAIT: u32 = 8;

impl Dispatch {
    /// Opens a launcher's session.
    pub fn admit_client(&mut self, client: ClientId, replies: Outbox<v1::LauncherReply>, knows_waiting: bool) {
        let (jobs, held_up) = (BTreeSet::new(), HeldUp::default());
        self.clients.insert(client, Client { replies: Some(replies), knows_waiting, jobs, held_up });
    }

    /// Closes a launcher's session; false when it was closed before. The workers of its finished jobs may forget them.
    pub fn dismiss_client(&mut self, client: ClientId) -> bool {
        self.let_go_on(client);
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

    pub(super) fn complete(&mut self, client: ClientId, attempt: Attempt) {
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

    pub(super) fn send_home(&mut self, client: ClientId, job: JobId, reason: &LocalReason) {
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

    pub(super) fn comparison(&self) -> Comparison<'_> {
        let registers: Vec<&v1::Register> = self.workers.values().map(|worker| &worker.register).collect();
        Comparison::of(&self.client_toolchains, &registers)
    }

    /// Launchers older than the answer run such jobs at home, where they queue among themselves.
    pub(super) fn ask_to_wait(&mut self, client: ClientId, job: JobId, delay: Duration) {
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

    /// Queues a reply; a launcher that does not read is cut off, and comes back by itself.
    pub(super) fn reply(&mut self, client: ClientId, message: launcher_reply::Message) {
        let Some(session) = self.clients.get_mut(&client) else { return };
        let sent = session.replies.as_ref().map(|replies| replies.send(v1::LauncherReply { message: Some(message) }));
        let Some(Err(why)) = sent else { return };
        session.replies = None;
        if why == CutOff::TooSlow {
            tracing::warn!(client = client.0, "a launcher does not read its replies: it is cut off");
            self.let_go_on(client);
        }
    }

    pub(super) fn forget(&mut self, job: JobId) {
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

fn local(job: JobId, reason: String) -> v1::RunLocally {
    v1::RunLocally { job: job.as_bytes().to_vec().into(), reason }
}
