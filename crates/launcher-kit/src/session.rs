//! Jobs at the server: submitted, asked for again when the connection or the server went away, and answered once each.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use model::ids::JobId;
use proto::convert::{attempt_from, job_id_from};
use proto::limits::MAX_BATCH_JOBS;
use proto::v1::{self, launcher_message, launcher_reply};
use tokio::time::Instant;

use crate::answer::{Answer, Done};
use crate::breaker::Breaker;
use crate::draft::fresh_id;
use crate::leftovers::{self, Before};
use crate::link::{Link, LinkError};
use crate::log::Log;
use crate::output::Output;
use crate::patience::Patience;
use crate::settings::Settings;
use crate::times;

/// Pauses between two tries to reach a server that went away.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection that lasted so long was one; those that break sooner are tries, and tries come to an end.
const STEADY: Duration = Duration::from_secs(10);

/// For how many times the `reattach_timeout` a server is asked again whose connections all break soon.
const MOST_FLAPPING: u32 = 4;

/// How many times longer than its connection a server may take for its hello: it is there, and may be busy.
const HELLO_PATIENCE: u32 = 5;

/// A server that was remembered as silent answers again when a conversation has lasted so long, or it has said anything of
/// a job.
const PROVEN: Duration = Duration::from_secs(1);

/// How long a cancelled job's end is waited for: the server acts on the cancellation in any case.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Turns that the connection's task has for a last message: to take it, to frame it, to write it; and some more.
const TURNS: usize = 8;

struct Pending {
    job: v1::Job,
    output: Output,
    before: Before,
    /// As this machine stamps files.
    handed_over: i64,
    /// Whether any conversation has carried it.
    sent: bool,
}

type Opening = Pin<Box<dyn Future<Output = Result<Link, LinkError>>>>;

/// A launcher's jobs at the server.
pub struct Session<'a> {
    settings: &'a Settings,
    log: &'a Log,
    software: &'static str,
    incarnation: [u8; 16],
    addresses: Vec<SocketAddr>,
    link: Option<Link>,
    /// The conversation that is being opened.
    opening: Option<Opening>,
    /// Whether a server may know our jobs: from then on it is asked again, and not given up at the first refusal.
    submitted: bool,
    /// When the connection was opened.
    linked_at: Option<Instant>,
    /// Until when it is tried to open it again. While there was one, a worker with our jobs was not told to end them; so this
    /// counts from the last, and is longer than the server takes to miss us and a worker to miss the server.
    give_up_at: Option<Instant>,
    /// Since when no connection has been steady.
    flapping_since: Option<Instant>,
    pause: Duration,
    /// What all launchers of the user remember of the server, and when it is to be told that it is silent, or is not.
    breaker: Breaker,
    silent_at: Option<Instant>,
    proven_at: Option<Instant>,
    pending: BTreeMap<JobId, Pending>,
    /// Those of them that the present conversation has not carried.
    unsent: Vec<JobId>,
    /// Those that the server told to come again.
    patience: Patience,
    answers: VecDeque<(JobId, Answer)>,
}

impl<'a> Session<'a> {
    /// A session that will speak to one of `addresses` once there is a job.
    #[must_use]
    pub fn new(settings: &'a Settings, log: &'a Log, software: &'static str, addresses: Vec<SocketAddr>) -> Self {
        Self {
            settings,
            log,
            software,
            incarnation: fresh_id(),
            addresses,
            link: None,
            opening: None,
            submitted: false,
            linked_at: None,
            give_up_at: None,
            flapping_since: None,
            pause: FIRST_PAUSE,
            breaker: Breaker::default(),
            silent_at: None,
            proven_at: None,
            pending: BTreeMap::new(),
            unsent: Vec::new(),
            patience: Patience::default(),
            answers: VecDeque::new(),
        }
    }

    /// Shares with the user's other launchers what is found out about the server's silence.
    #[must_use]
    pub fn remembering(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// Jobs not answered yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len() + self.answers.len()
    }

    /// Hands jobs over, in messages of at most `batch_size`; at once, or when there is a conversation.
    pub fn submit(&mut self, jobs: Vec<v1::Job>) {
        for job in jobs {
            // Ids are made by `decide`, 16 bytes each.
            if let Ok(id) = job_id_from(&job.id) {
                let before = Before::of(&job);
                let (output, handed_over) = (Output::default(), times::stamp_of_now());
                self.pending.insert(id, Pending { job, output, before, handed_over, sent: false });
                self.unsent.push(id);
            }
        }
        self.send_unsent();
    }

    /// The next answer; waits for ever when nothing is outstanding. Cancel safe.
    pub async fn next(&mut self) -> (JobId, Answer) {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return answer;
            }
            if self.pending.is_empty() {
                std::future::pending::<()>().await;
            }
            if self.is_first_to_ask() {
                if !self.breaker.admits() {
                    self.give_up("the server did not answer a moment ago");
                    continue;
                }
                self.silent_at = Some(Instant::now() + self.settings.connect_timeout);
            }
            match &mut self.link {
                None => {
                    let silent_at = self.silent_at;
                    tokio::select! { biased;
                        opened = self.open() => self.on_opened(opened),
                        () = until(silent_at) => self.on_silence(),
                    }
                }
                Some(link) => tokio::select! { biased;
                    received = link.receive() => match received {
                        Ok(message) => self.on_message(message),
                        Err(error) => self.on_lost(&error),
                    },
                    () = self.patience.until_next() => self.come_again(),
                    () = until(self.proven_at) => self.on_proven(),
                },
            }
        }
    }

    /// Tells the server how long what a job left took to be seen. Lost if nobody speaks to us any more.
    pub async fn report(&mut self, seen: v1::Seen) {
        let Some(link) = &self.link else { return };
        link.send(launcher_message::Message::Seen(seen));
        // This may be the last that the process does: the connection's own task is to have its turn.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// Takes all jobs back, and waits a moment until nothing of them runs any more.
    pub async fn cancel(&mut self) {
        let Some(link) = &mut self.link else { return };
        let jobs = self.pending.values().map(|pending| pending.job.id.clone()).collect();
        let message = launcher_message::Message::Cancel(v1::CancelJobs { jobs });
        link.send(message);
        let pending = &mut self.pending;
        let confirmed = async {
            while !pending.is_empty() {
                let Ok(message) = link.receive().await else { return };
                if let launcher_reply::Message::Cancelled(cancelled) = message {
                    for id in cancelled.jobs.iter().filter_map(|id| job_id_from(id).ok()) {
                        pending.remove(&id);
                    }
                }
            }
        };
        if tokio::time::timeout(CANCEL_TIMEOUT, confirmed).await.is_err() {
            self.log.note(|| "the server has not confirmed the cancellation yet; it will act on it".to_owned());
        }
    }

    /// Whether nobody can know our jobs, and no conversation is being opened.
    fn is_first_to_ask(&self) -> bool {
        !self.submitted && self.link.is_none() && self.opening.is_none()
    }

    /// The others need not wait as long as we do: the server may be busy, but most likely it is not there.
    fn on_silence(&mut self) {
        self.silent_at = None;
        self.breaker.trip();
    }

    fn on_proven(&mut self) {
        self.proven_at = None;
        self.breaker.reset();
    }

    /// Goes on opening a conversation, or begins to; after a pause when the last one broke.
    async fn open(&mut self) -> Result<Link, LinkError> {
        // Launchers that lost their server together do not come back in step.
        let spread = u32::from(self.incarnation[0]);
        let pause = self.give_up_at.map(|_| self.pause / 2 + self.pause / 2 * spread / u32::from(u8::MAX));
        let resigned = self.give_up_at.filter(|_| self.is_hopeless());
        let hello = proto::version::hello(self.software, self.incarnation, "");
        let (addresses, timeout) = (self.addresses.clone(), self.settings.connect_timeout);
        let patience = if self.breaker.is_probing() { 1 } else { HELLO_PATIENCE };
        let open = async move {
            if let Some(at) = resigned {
                tokio::time::sleep_until(at).await;
                return Err(LinkError::Flapping);
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            Link::open(addresses, hello, timeout, patience).await
        };
        self.opening.get_or_insert_with(|| Box::pin(open)).await
    }

    fn on_opened(&mut self, opened: Result<Link, LinkError>) {
        (self.opening, self.silent_at) = (None, None);
        match opened {
            Ok(link) => {
                self.proven_at = self.breaker.is_tripped().then(|| Instant::now() + PROVEN);
                self.link = Some(link);
                self.linked_at = Some(Instant::now());
                self.submitted = true;
                // Also those that waited: this may be another server, with room for them.
                self.unsent = self.pending.keys().copied().collect();
                self.patience.end_pauses();
                self.send_unsent();
            }
            Err(error) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.on_failure(&error);
            }
        }
    }

    /// Sends what the present conversation has not carried; what an earlier one carried is marked as asked for again.
    fn send_unsent(&mut self) {
        let Some(link) = &self.link else { return };
        let mut jobs = Vec::with_capacity(self.unsent.len());
        for id in self.unsent.drain(..) {
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.job.resubmitted = pending.sent;
                pending.sent = true;
                jobs.push(pending.job.clone());
            }
        }
        batches(jobs, self.settings).into_iter().for_each(|batch| link.send(batch));
    }

    /// Submits again what has waited long enough.
    fn come_again(&mut self) {
        self.unsent.extend(self.patience.take_due(Instant::now()));
        self.send_unsent();
    }

    /// The server has forgotten the job and nothing of this submission runs. If that was the first one, so will be the
    /// next; a job that was submitted to somebody before stays one of which some worker may know.
    fn on_wait(&mut self, wait: &v1::Wait) {
        let Some(id) = self.known(&wait.job) else { return };
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.sent = pending.job.resubmitted;
        }
        let pause = self.patience.note(id, wait, Instant::now());
        self.log.note(|| format!("as many jobs of this user wait as one user may have: asking again in {pause:?}"));
    }

    fn on_lost(&mut self, error: &LinkError) {
        (self.link, self.proven_at) = (None, None);
        let steady = self.linked_at.take().is_some_and(|since| since.elapsed() >= STEADY);
        if steady {
            self.flapping_since = None;
            self.pause = FIRST_PAUSE;
        } else {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.flapping_since.get_or_insert_with(Instant::now);
        self.give_up_at = None;
        self.on_failure(error);
    }

    /// Asking again has had its time. What remains is to be silent until nobody can be running our jobs any more.
    fn is_hopeless(&self) -> bool {
        let most = self.settings.reattach_timeout.saturating_mul(MOST_FLAPPING);
        self.flapping_since.is_some_and(|since| since.elapsed() >= most)
    }

    /// Another try, unless that is hopeless, pointless, or has been tried long enough.
    fn on_failure(&mut self, error: &LinkError) {
        let refused = match error {
            LinkError::Refused(status) => is_final(status),
            LinkError::Version(_) | LinkError::Unresolved(..) => true,
            _ => false,
        };
        let deadline = *self.give_up_at.get_or_insert(Instant::now() + self.settings.reattach_timeout);
        if !self.submitted || refused || Instant::now() >= deadline {
            let has_waited = self.submitted || matches!(error, LinkError::Timeout(_));
            if has_waited && !refused {
                self.breaker.trip();
            }
            return self.give_up(&error.to_string());
        }
        self.log.note(|| format!("{error}; asking again"));
    }

    /// Sends everything home.
    fn give_up(&mut self, why: &str) {
        let ids: Vec<JobId> = self.pending.keys().copied().collect();
        for id in ids {
            self.answer(id, Answer::Locally(why.to_owned()));
        }
        self.link = None;
        self.submitted = false;
        (self.give_up_at, self.flapping_since) = (None, None);
        self.pause = FIRST_PAUSE;
    }

    fn answer(&mut self, id: JobId, answer: Answer) {
        self.patience.forget(id);
        if let Some(pending) = self.pending.remove(&id) {
            self.clear_the_way(&pending, &answer);
        }
        self.answers.push_back((id, answer));
    }

    /// Where a worker may have tried what is now to be run here, nothing of its tries may remain.
    fn clear_the_way(&self, pending: &Pending, answer: &Answer) {
        if let (true, Answer::Locally(_)) = (pending.sent, answer) {
            let removed = leftovers::remove(&pending.job);
            if removed > 0 {
                self.log.note(|| format!("{removed} files that workers left unfinished are removed"));
            }
            match pending.before.restore() {
                Ok(0) => {}
                Ok(restored) => {
                    self.log.note(|| format!("{restored} outputs of an attempt without an outcome are undone"));
                }
                Err(error) => self.log.note(|| format!("an output of an attempt without an outcome stays: {error}")),
            }
        }
    }

    fn on_message(&mut self, message: launcher_reply::Message) {
        if self.breaker.is_tripped() {
            self.on_proven();
        }
        match message {
            launcher_reply::Message::Output(chunk) => self.on_output(chunk),
            launcher_reply::Message::Done(done) => self.on_done(done),
            launcher_reply::Message::RunLocally(local) => {
                if let Some(id) = self.known(&local.job) {
                    self.answer(id, Answer::Locally(local.reason));
                }
            }
            launcher_reply::Message::Wait(wait) => self.on_wait(&wait),
            // A second hello says nothing new.
            launcher_reply::Message::Cancelled(_) | launcher_reply::Message::Hello(_) => {}
        }
    }

    fn known(&self, id: &[u8]) -> Option<JobId> {
        job_id_from(id).ok().filter(|id| self.pending.contains_key(id))
    }

    fn on_output(&mut self, chunk: v1::OutputChunk) {
        let Ok(attempt) = attempt_from(chunk.attempt.as_ref()) else { return };
        let Some(pending) = self.pending.get_mut(&attempt.job) else { return };
        // A gap shows when the outcome counts the pieces.
        if let Err(error) = pending.output.take(attempt, chunk) {
            self.log.note(|| format!("job {}: {error}", attempt.job));
        }
    }

    fn on_done(&mut self, done: v1::JobDone) {
        let Ok(attempt) = attempt_from(done.attempt.as_ref()) else { return };
        let Some(pending) = self.pending.get_mut(&attempt.job) else { return };
        let (handed_over, mount) = (pending.handed_over, pending.job.mounts.first().cloned().unwrap_or_default());
        let repeatable = pending.job.repeatable;
        let command = pending.job.command.take().unwrap_or_default();
        let answer = match Done::read(attempt, done, std::mem::take(&mut pending.output)) {
            // What must not be done twice is as it is.
            Ok(done) if !repeatable => {
                let (system_files, asked) = (Vec::new(), Vec::new());
                Answer::Done(Box::new(Done { command, handed_over, mount, system_files, asked, ..done }))
            }
            Ok(done) => Answer::Done(Box::new(Done { command, handed_over, mount, ..done })),
            Err(problem) => Answer::Locally(problem),
        };
        self.answer(attempt.job, answer);
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Whether asking again cannot help: the server knows us and does not want us.
fn is_final(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::Unauthenticated
    )
}

fn batches(jobs: Vec<v1::Job>, settings: &Settings) -> Vec<launcher_message::Message> {
    let timeout = u64::try_from(settings.batch_timeout.as_micros()).unwrap_or(u64::MAX);
    let batch = |jobs: &[v1::Job]| {
        launcher_message::Message::Submit(v1::SubmitBatch {
            jobs: jobs.to_vec(),
            batch_size: settings.batch_size,
            batch_timeout_us: timeout,
        })
    };
    let size = (settings.batch_size as usize).min(MAX_BATCH_JOBS);
    jobs.chunks(size).map(batch).collect()
}
