//! What people ask for: drains, lists of jobs, and how things are.

use model::ids::{JobId, WorkerId};
use proto::v1::{self, worker_order};
use scheduler_core::{Snapshot, WorkerState};

use super::Dispatch;
use crate::toolchains;

impl Dispatch {
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

const fn state_name(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Up => "up",
        WorkerState::Draining => "draining",
        WorkerState::Silent => "silent",
        WorkerState::Benched => "benched",
        WorkerState::OnProbation => "on probation",
    }
}
