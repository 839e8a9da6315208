//! What whoever sees inputs and orders only can hold the scheduler to, whatever is said.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Attempt, JobId, WorkerId};
use scheduler_core::{Action, ClientId, Commit, Input};

/// Who waits for which answer, told from the public language alone.
#[derive(Default)]
pub(crate) struct Expectations {
    asked: BTreeMap<JobId, ClientId>,
}

impl Expectations {
    pub(crate) fn on_input(&mut self, input: &Input) {
        match input {
            Input::JobsSubmitted { client, jobs } => self.asked.extend(jobs.iter().map(|job| (job.id, *client))),
            Input::JobsCancelled { client, jobs } => {
                self.asked.retain(|job, asker| asker != client || !jobs.contains(job));
            }
            Input::ClientGone { client } => self.asked.retain(|_, asker| asker != client),
            _ => {}
        }
    }

    pub(crate) fn on_action(&mut self, action: &Action) {
        match action {
            Action::Complete { client, attempt } => self.on_answer(*client, attempt.job),
            Action::RunLocally { client, job, .. } | Action::Wait { client, job, .. } => self.on_answer(*client, *job),
            _ => {}
        }
    }

    fn on_answer(&mut self, client: ClientId, job: JobId) {
        assert_eq!(self.asked.remove(&job), Some(client), "{job:?} was answered and nobody asked");
    }
}

/// What may be executing, and whether it may commit, told from the public language alone.
#[derive(Default)]
pub(crate) struct Executing {
    at: BTreeMap<(WorkerId, Attempt), Commit>,
    /// Whether each isolates.
    registered: BTreeMap<WorkerId, bool>,
    in_place: BTreeSet<(WorkerId, Attempt)>,
}

impl Executing {
    pub(crate) fn on_input(&mut self, input: &Input) {
        match input {
            Input::WorkerRegistered { worker, holding, facts } => {
                self.registered.insert(*worker, facts.isolates);
                self.at.retain(|(at, _), _| at != worker);
                let named = |live: &Attempt| holding.iter().any(|held| held.attempt == *live);
                self.in_place.retain(|(at, live)| at != worker || named(live));
                // The last word on an attempt that is named twice.
                self.at.extend(holding.iter().map(|held| ((*worker, held.attempt), held.commit)));
            }
            Input::AttemptEnded { worker, attempt, .. } => {
                self.at.remove(&(*worker, *attempt));
                self.in_place.remove(&(*worker, *attempt));
            }
            Input::AttemptInPlace { worker, attempt } if self.at.contains_key(&(*worker, *attempt)) => {
                self.in_place.insert((*worker, *attempt));
            }
            _ => {}
        }
    }

    pub(crate) fn on_action(&mut self, action: &Action) {
        match action {
            Action::ForgetWorker { worker } => self.on_lost(*worker),
            Action::Assign { worker, attempts, commit } => {
                attempts.iter().for_each(|&attempt| self.on_assigned(*worker, attempt, *commit));
            }
            Action::Audit { worker, attempt, .. } => self.on_shadowed(*worker, *attempt),
            Action::PermitCommit { worker, attempt } => self.on_permitted(*worker, *attempt),
            _ => {}
        }
    }

    fn on_lost(&mut self, worker: WorkerId) {
        self.at.retain(|(at, _), _| *at != worker);
        self.in_place.retain(|(at, _)| *at != worker);
        self.registered.remove(&worker);
    }

    fn others(&self, worker: WorkerId, attempt: Attempt) -> Vec<WorkerId> {
        let others = self.at.keys().filter(|&&(at, live)| live.job == attempt.job && (at, live) != (worker, attempt));
        others.map(|&(at, _)| at).collect()
    }

    fn on_assigned(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) {
        let others = self.others(worker, attempt);
        assert!(self.registered.contains_key(&worker), "{attempt} was assigned to a stranger");
        if commit == Commit::WhenPermitted {
            assert_eq!(others.len(), 1, "{attempt} is the second of {others:?}");
            let isolated = others.iter().chain([&worker]).all(|worker| self.registered[worker]);
            assert!(isolated, "{attempt} is a second attempt, and one of the two can be seen before it commits");
            let mut seen = self.in_place.iter().filter(|(_, live)| live.job == attempt.job);
            assert_eq!(seen.next(), None, "{attempt} is the second of one that works in place");
        } else {
            assert_eq!(others, [], "{attempt} was assigned while another may be executing");
        }
        self.at.insert((worker, attempt), commit);
    }

    /// A shadow is nobody else's, and is never permitted.
    fn on_shadowed(&mut self, worker: WorkerId, attempt: Attempt) {
        assert_eq!(self.registered.get(&worker), Some(&true), "{attempt} is a shadow that can be seen");
        assert_eq!(self.others(worker, attempt), [], "{attempt} is a shadow beside another");
        self.at.insert((worker, attempt), Commit::WhenPermitted);
    }

    fn on_permitted(&mut self, worker: WorkerId, attempt: Attempt) {
        let may_commit =
            self.at.iter().filter(|((_, live), commit)| live.job == attempt.job && **commit == Commit::WhenDone);
        assert_eq!(may_commit.count(), 0, "{attempt} may commit beside another, or already");
        let before = self.at.insert((worker, attempt), Commit::WhenDone);
        assert_eq!(before, Some(Commit::WhenPermitted), "{attempt} is permitted what it cannot do any more");
    }
}
