//! A small cluster around a scheduler, spoken to in the words of the domain. Workers do nothing by themselves: a story
//! says what they report.

// Every story file uses its own part of this vocabulary.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{Attempt, BuildId, DirKey, Incarnation, JobId, ToolchainKey, UserId, WorkerId};
use model::job::{JobFacts, JobKind};
use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};
use model::time::Timestamp;
use scheduler_core::{
    Action, ClientId, Commit, Condition, Config, Explanation, HistoryEntry, Input, LocalReason, Placement, Scheduler,
    Snapshot, SubmittedJob, WorkerFacts, WorkerLoad,
};

/// The launcher that submits unless a story names another.
pub(crate) const LAUNCHER: ClientId = ClientId(1);

/// What a launcher was told about a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Completed(u32),
    Local(LocalReason),
}

/// A scheduler, a clock, and what the orders so far come to.
pub(crate) struct World {
    scheduler: Scheduler,
    now: Timestamp,
    names: BTreeMap<String, WorkerId>,
    next_worker: u32,
    next_job: u64,
    /// Every order since the story began.
    pub(crate) orders: Vec<Action>,
    /// Where each job was last sent, and as which attempt.
    pub(crate) sent: BTreeMap<JobId, (WorkerId, Attempt)>,
    /// Where each job's second attempt was last sent, and which it is.
    pub(crate) seconds: BTreeMap<JobId, (WorkerId, Attempt)>,
    /// Permissions to commit, in order.
    pub(crate) permitted: Vec<(WorkerId, Attempt)>,
    pub(crate) answers: Vec<(ClientId, JobId, Answer)>,
    pub(crate) forgotten: BTreeSet<JobId>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self::told_first(config, Input::Wake)
    }

    /// A server whose scheduler is told this before anything else.
    pub(crate) fn told_first(config: Config, first: Input) -> Self {
        // Stories are told one job at a time.
        Self::gathering(Config { gather: Duration::ZERO, ..config }, first)
    }

    /// The same, whose scheduler may keep jobs back for others that come at the same time.
    pub(crate) fn gathering(config: Config, first: Input) -> Self {
        let scheduler = Scheduler::new(config).expect("the story's settings are possible");
        let mut world = Self {
            scheduler,
            now: Timestamp::ZERO,
            names: BTreeMap::new(),
            next_worker: 1,
            next_job: 1,
            orders: Vec::new(),
            sent: BTreeMap::new(),
            seconds: BTreeMap::new(),
            permitted: Vec::new(),
            answers: Vec::new(),
            forgotten: BTreeSet::new(),
        };
        world.tell(first);
        world
    }

    /// A cluster long after its start, with workers of so many slots; nothing is prefetched.
    pub(crate) fn with_workers<const N: usize>(workers: [(&str, u32); N]) -> Self {
        Self::configured(Config { prefetch: 0, ..Config::default() }, workers)
    }

    pub(crate) fn configured<const N: usize>(config: Config, workers: [(&str, u32); N]) -> Self {
        let mut world = Self::new(config);
        world.pass(Duration::from_secs(30));
        workers.into_iter().for_each(|(name, slots)| world.join(name, slots));
        world
    }

    /// Tells the scheduler one fact; its orders take effect and its promises are checked.
    pub(crate) fn tell(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scheduler.step(self.now, input, &mut actions);
        self.scheduler.check_invariants();
        actions.iter().for_each(|action| self.note(action));
        self.orders.extend(actions.iter().cloned());
        actions
    }

    /// Lets time pass; the driver wakes at every deadline and the connected workers stay in touch.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.stay_in_touch();
        while let Some(deadline) = self.next_wake().filter(|&at| at <= end) {
            self.now = self.now.max(deadline);
            self.stay_in_touch();
            self.tell(Input::Wake);
        }
        self.now = end;
        self.tell(Input::Wake);
    }

    /// Lets time pass without a sign of any worker.
    pub(crate) fn pass_in_silence(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.scheduler.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(deadline);
            self.tell(Input::Wake);
        }
        self.now = end;
        self.tell(Input::Wake);
    }

    /// Lets time pass with a driver that wakes for no deadline in between, and workers that stay in touch.
    pub(crate) fn oversleep(&mut self, time: Duration) {
        self.stay_in_touch();
        self.now = self.now + time;
        self.tell(Input::Wake);
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.scheduler.next_deadline()
    }

    pub(crate) fn explain(&self, job: JobId) -> Option<Explanation> {
        self.scheduler.explain(job)
    }

    /// Why the job is where it is, if it is anywhere.
    pub(crate) fn placement_of(&self, job: JobId) -> Option<Placement> {
        match self.explain(job)?.state {
            Condition::Placed { placement, .. } => Some(placement),
            _ => None,
        }
    }

    /// What this scheduler remembers, for another.
    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        self.scheduler.export_history()
    }

    pub(crate) fn remember(&mut self, history: &[HistoryEntry]) {
        self.scheduler.import_history(history);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.scheduler.snapshot()
    }

    // Workers.

    pub(crate) fn join(&mut self, name: &str, slots: u32) {
        self.join_with(name, |facts| facts.slots = slots);
    }

    pub(crate) fn join_with(&mut self, name: &str, describe: impl FnOnce(&mut WorkerFacts)) {
        self.join_holding(name, &[], describe);
    }

    /// A worker registers for the first time at this server, with attempts in its hands.
    pub(crate) fn join_holding(&mut self, name: &str, holding: &[Attempt], describe: impl FnOnce(&mut WorkerFacts)) {
        let worker = WorkerId::new(self.next_worker);
        self.next_worker += 1;
        self.names.insert(name.to_owned(), worker);
        let mut facts = facts_of_a_worker(1);
        describe(&mut facts);
        let holding = holding.iter().map(|&attempt| attempt.into()).collect();
        self.tell(Input::WorkerRegistered { worker, facts, holding });
    }

    /// A known worker connects again, and says what it holds.
    pub(crate) fn reconnect(&mut self, name: &str, slots: u32, holding: &[Attempt]) -> Vec<Action> {
        let (worker, facts) = (self.id(name), facts_of_a_worker(slots));
        let holding = holding.iter().map(|&attempt| attempt.into()).collect();
        self.tell(Input::WorkerRegistered { worker, facts, holding })
    }

    pub(crate) fn disconnect(&mut self, name: &str) {
        let worker = self.id(name);
        self.tell(Input::WorkerDisconnected { worker });
    }

    /// The worker is gone, and nothing of it runs any more.
    pub(crate) fn lose(&mut self, name: &str) {
        let worker = self.id(name);
        self.tell(Input::WorkerGone { worker });
    }

    pub(crate) fn drain(&mut self, name: &str) {
        let worker = self.id(name);
        self.tell(Input::WorkerDraining { worker });
    }

    pub(crate) fn resume(&mut self, name: &str) {
        let worker = self.id(name);
        self.tell(Input::WorkerResumed { worker });
    }

    pub(crate) fn alive(&mut self, name: &str, load: WorkerLoad) {
        let worker = self.id(name);
        self.tell(Input::WorkerAlive { worker, load });
    }

    pub(crate) fn warm(&mut self, name: &str, dirs: &[u64]) {
        let worker = self.id(name);
        let dirs = dirs.iter().map(|&dir| DirKey::new(dir)).collect();
        self.tell(Input::WorkerWarmth { worker, dirs });
    }

    pub(crate) fn id(&self, name: &str) -> WorkerId {
        self.names[name]
    }

    // Jobs.

    pub(crate) fn submit(&mut self) -> JobId {
        self.submit_with(|_| {})
    }

    pub(crate) fn submit_with(&mut self, describe: impl FnOnce(&mut JobFacts)) -> JobId {
        let mut facts = facts_of_a_job();
        describe(&mut facts);
        self.submit_all(LAUNCHER, vec![facts])[0]
    }

    pub(crate) fn submit_all(&mut self, client: ClientId, facts: Vec<JobFacts>) -> Vec<JobId> {
        let with_ids: Vec<_> = facts.into_iter().map(|facts| (self.new_id(), facts)).collect();
        let ids = with_ids.iter().map(|(id, _)| *id).collect();
        let jobs = with_ids.into_iter().map(|(id, facts)| SubmittedJob { id, facts, resubmitted: false }).collect();
        self.tell(Input::JobsSubmitted { client, jobs });
        ids
    }

    pub(crate) fn resubmit(&mut self, client: ClientId, id: JobId) -> Vec<Action> {
        self.resubmit_with(client, id, |_| {})
    }

    pub(crate) fn resubmit_with(
        &mut self,
        client: ClientId,
        id: JobId,
        describe: impl FnOnce(&mut JobFacts),
    ) -> Vec<Action> {
        let mut facts = facts_of_a_job();
        describe(&mut facts);
        self.tell(Input::JobsSubmitted { client, jobs: vec![SubmittedJob { id, facts, resubmitted: true }] })
    }

    pub(crate) fn cancel(&mut self, client: ClientId, job: JobId) -> Vec<Action> {
        self.tell(Input::JobsCancelled { client, jobs: vec![job] })
    }

    pub(crate) fn launcher_gone(&mut self, client: ClientId) -> Vec<Action> {
        self.tell(Input::ClientGone { client })
    }

    pub(crate) fn start(&mut self, job: JobId) {
        let (worker, attempt) = self.sent[&job];
        self.tell(Input::AttemptStarted { worker, attempt });
    }

    pub(crate) fn finish(&mut self, job: JobId) -> Vec<Action> {
        let (worker, attempt) = self.sent[&job];
        self.report(worker, attempt, Ok(success()))
    }

    pub(crate) fn fail(&mut self, job: JobId, failure: AttemptFailure) -> Vec<Action> {
        let (worker, attempt) = self.sent[&job];
        self.report(worker, attempt, Err(failure))
    }

    pub(crate) fn report(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        result: Result<Outcome, AttemptFailure>,
    ) -> Vec<Action> {
        self.tell(Input::AttemptEnded { worker, attempt, result })
    }

    /// The name of the worker that the job was last sent to.
    pub(crate) fn host_of(&self, job: JobId) -> &str {
        let (worker, _) = self.sent.get(&job).expect("the job was sent somewhere");
        self.names.iter().find(|(_, id)| *id == worker).map_or("?", |(name, _)| name)
    }

    pub(crate) fn is_sent(&self, job: JobId) -> bool {
        self.sent.contains_key(&job)
    }

    /// How often the job was tried.
    pub(crate) fn attempts_of(&self, job: JobId) -> u32 {
        self.sent.get(&job).map_or(0, |(_, attempt)| attempt.number)
    }

    pub(crate) fn attempt_of(&self, job: JobId) -> Attempt {
        self.sent[&job].1
    }

    /// The answers for a job, in order.
    pub(crate) fn answers_for(&self, job: JobId) -> Vec<Answer> {
        self.answers.iter().filter(|(_, id, _)| *id == job).map(|(_, _, answer)| answer.clone()).collect()
    }

    pub(crate) fn new_id(&mut self) -> JobId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_job.to_be_bytes());
        self.next_job += 1;
        JobId::from_bytes(bytes)
    }

    fn stay_in_touch(&mut self) {
        let up = |status: &scheduler_core::WorkerStatus| status.state != scheduler_core::WorkerState::Silent;
        let connected: Vec<_> = self.scheduler.snapshot().workers.into_iter().filter(up).collect();
        for status in connected {
            self.tell(Input::WorkerAlive { worker: status.worker, load: WorkerLoad::default() });
        }
    }

    /// Half a second at most, so that the workers are heard from in between.
    fn next_wake(&self) -> Option<Timestamp> {
        let heartbeat = self.now + Duration::from_millis(500);
        Some(self.scheduler.next_deadline().map_or(heartbeat, |deadline| deadline.min(heartbeat)))
    }

    fn note(&mut self, action: &Action) {
        match action {
            Action::Assign { worker, attempts, commit: Commit::WhenPermitted } => {
                self.seconds.extend(attempts.iter().map(|&attempt| (attempt.job, (*worker, attempt))));
            }
            Action::PermitCommit { worker, attempt } => self.permitted.push((*worker, *attempt)),
            Action::Assign { worker, attempts, .. } => {
                self.sent.extend(attempts.iter().map(|&attempt| (attempt.job, (*worker, attempt))));
            }
            Action::Complete { client, attempt } => {
                self.answers.push((*client, attempt.job, Answer::Completed(attempt.number)));
            }
            Action::RunLocally { client, job, reason } => {
                self.answers.push((*client, *job, Answer::Local(reason.clone())));
            }
            Action::Forget { job } => {
                self.forgotten.insert(*job);
            }
            Action::Wait { .. } | Action::Cancel { .. } | Action::Recall { .. } | Action::ForgetWorker { .. } => {}
            Action::KeepForAudit { .. } | Action::Audit { .. } | Action::EndAudit { .. } => {}
        }
    }
}

pub(crate) fn facts_of_a_worker(slots: u32) -> WorkerFacts {
    WorkerFacts {
        incarnation: Incarnation::from_bytes([0; 16]),
        slots,
        linking: true,
        toolchains: vec![ToolchainKey::new(1)],
        cpu_class: None,
        mounts: vec![DirKey::new(1)],
        only_user: None,
        memory: 1 << 30,
        isolates: false,
        speed: None,
    }
}

pub(crate) fn facts_of_a_job() -> JobFacts {
    JobFacts {
        toolchain: Some(ToolchainKey::new(1)),
        mounts: vec![DirKey::new(1)],
        ..JobFacts::new(UserId::new(1000), BuildId::new(1), JobKind::Compile)
    }
}

/// The id of a job that nobody submitted.
pub(crate) fn nobodys_job() -> JobId {
    JobId::from_bytes([0xee; 16])
}

pub(crate) fn success() -> Outcome {
    Outcome { exit: ExitStatus::Code(0), usage: ResourceUsage::default() }
}

pub(crate) fn dirs(digests: &[u64]) -> Vec<DirKey> {
    digests.iter().map(|&digest| DirKey::new(digest)).collect()
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
