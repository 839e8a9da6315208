//! What launchers ask: jobs submitted, asked for again, taken back; and the server's wish to stop.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::ids::{Attempt, JobId};
use model::job::JobFacts;

use crate::action::{Action, LocalReason};
use crate::endings::OrphanEnd;
use crate::input::{ClientId, MAX_BATCH, MAX_DEMANDED_MOUNTS, MAX_JOB_DIRS, SubmittedJob};
use crate::jobs::{Answer, Job, JobState, Next, Progress};
use crate::scheduler::Scheduler;
use crate::timers::Timer;
use crate::workers::holdings::Live;

impl Scheduler {
    pub(crate) fn on_jobs_submitted(&mut self, client: ClientId, jobs: Vec<SubmittedJob>, out: &mut Vec<Action>) {
        for job in jobs {
            if self.jobs.get(job.id).is_some() {
                self.on_asked_again(client, job.id);
            } else if self.retention.finished(job.id).is_some() {
                self.answer_again(job.id, client, out);
            } else {
                self.on_new_job(client, job, out);
            }
        }
    }

    pub(crate) fn on_jobs_cancelled(&mut self, client: ClientId, jobs: &[JobId], out: &mut Vec<Action>) {
        for &id in jobs {
            if self.jobs.get(id).is_some_and(|job| job.client() == client && job.state().is_open()) {
                self.take_back(id, out);
            }
        }
    }

    pub(crate) fn on_client_gone(&mut self, client: ClientId, out: &mut Vec<Action>) {
        for id in self.jobs.open_of(client) {
            self.take_back(id, out);
        }
    }

    /// What waits goes home; what was sent and has not started is asked back, and goes home when it comes.
    pub(crate) fn on_stopping(&mut self, out: &mut Vec<Action>) {
        self.stopping = true;
        for id in self.jobs.ids_where(|job| job.place.is_some()) {
            self.unqueue(id);
            self.settle(id, Next::SendHome(LocalReason::Stopping), out);
        }
        for id in self.jobs.ids_where(|job| job.hold().is_some()) {
            self.recall_for_stop(id, out);
        }
    }

    /// The same job from a new conversation: the answer goes there.
    fn on_asked_again(&mut self, client: ClientId, id: JobId) {
        self.jobs.hand_to(id, client);
        let state = self.jobs.get(id).map(Job::state);
        if matches!(state, Some(JobState::Cancelling { next: Next::Forget })) {
            self.jobs.move_to(id, JobState::Cancelling { next: Next::Queue { in_front: false } });
        }
        // Else it is still on its way, and nothing changes but the address.
    }

    fn on_new_job(&mut self, client: ClientId, job: SubmittedJob, out: &mut Vec<Action>) {
        let SubmittedJob { id, mut facts, resubmitted } = job;
        facts.dirs.truncate(MAX_JOB_DIRS);
        facts.batch.size = facts.batch.size.clamp(1, MAX_BATCH);
        if self.audits.is_shadow(id) {
            // Not by chance; whoever did it must not get the shadow's outcome for his own.
            self.drop_audit(id, out);
        }
        let is_orphan = self.holdings.has_live(id) || self.orphan_ends.contains_key(&id);
        let may_run_unheard = resubmitted && self.is_adoption_open();
        if !is_orphan && !may_run_unheard && self.is_turned_away(id, client, &facts, out) {
            return;
        }
        if !is_orphan && may_run_unheard && !self.adoption.takes_one_more(self.config.max_queued) {
            // Not home: somebody may be running it.
            return self.ask_to_wait(id, client, out);
        }

        let buried = self.retention.exhume(id).unwrap_or(0);
        let (mut end, mut last_number) = (None, buried);
        if is_orphan {
            end = self.orphan_ends.remove(&id);
            self.timers.clear(Timer::Orphan(id));
            last_number = buried.max(self.highest_number(id, end.as_ref()));
        }
        let prediction = self.history.predict(&facts);
        let class = self.classify(&facts, &prediction, &[]);
        let mut job = Box::new(Job::new(client, facts, prediction, self.now));
        job.class = Some(class);
        job.last_number = last_number;
        // What an earlier server, or this one before it forgot the job, did with it is not known any more.
        job.half_done = resubmitted;
        job.inherited = self.is_adoption_open() && (resubmitted || is_orphan);
        self.gather_for(&job);
        self.jobs.insert(id, job);
        if is_orphan {
            self.claim_orphan(id, end, out);
        } else if !may_run_unheard {
            self.settle(id, Next::Queue { in_front: false }, out);
        }
    }

    /// Its build sends many at once, perhaps, and slots idle: whoever comes within a moment is placed together, the
    /// longest first.
    fn gather_for(&mut self, job: &Job) {
        let comes_alone = !self.queue.is_serving(job.facts.user, job.facts.build);
        let is_of_use = self.queue.is_empty() && self.workers.idle() > 0 && !comes_alone;
        if is_of_use && !self.config.gather.is_zero() && !self.is_gathering() {
            self.timers.set(Timer::Gathered, self.now + self.config.gather);
        }
    }

    /// Sends a job that nobody can be running away if it cannot be let in.
    fn is_turned_away(&self, job: JobId, client: ClientId, facts: &JobFacts, out: &mut Vec<Action>) -> bool {
        let reason = if self.stopping {
            LocalReason::Stopping
        } else if facts.mounts.len() > MAX_DEMANDED_MOUNTS {
            LocalReason::Unreasonable { what: "mounts" }
        } else if self.queue.len() >= self.config.max_queued {
            LocalReason::QueueFull
        } else if self.queue.len_of(facts.user) >= self.config.max_queued_per_user {
            self.ask_to_wait(job, client, out);
            return true;
        } else {
            return false;
        };
        self.give(job, client, &Answer::SentHome(reason), out);
        true
    }

    fn ask_to_wait(&self, job: JobId, client: ClientId, out: &mut Vec<Action>) {
        out.push(Action::Wait { client, job, delay: self.config.ask_again });
        out.push(Action::Forget { job });
    }

    /// The highest number of the attempts that workers have, or had, of a job that is new to us.
    fn highest_number(&self, id: JobId, end: Option<&OrphanEnd>) -> u32 {
        let ended = end.map_or(0, |end| end.number);
        let live = self.holdings.of_job(id).map(|((number, _), _)| number).max().unwrap_or(0);
        ended.max(live)
    }

    /// A worker runs this new job already, or has done it.
    fn claim_orphan(&mut self, id: JobId, end: Option<OrphanEnd>, out: &mut Vec<Action>) {
        if let Some(OrphanEnd { number, result: Ok(()), .. }) = end {
            self.settle(id, Next::Complete(number), out);
            return;
        }
        let going_on = || self.holdings.of_job(id).rev().filter(|&(_, cancelled)| !cancelled).map(|(live, _)| live);
        let waits = |&(number, worker): &Live| self.holdings.awaits_permission(worker, Attempt { job: id, number });
        let running = going_on().find(|live| !waits(live)).or_else(|| going_on().next());
        match (running, end) {
            (Some((number, worker)), _) => self.adopt(id, worker, number, out),
            (None, Some(OrphanEnd { worker, result: Err(failure), .. })) => {
                self.on_attempt_failed(id, worker, failure, Progress::Unsure, out);
            }
            (None, _) => self.settle(id, Next::Queue { in_front: false }, out),
        }
    }

    /// The launcher does not want the job any more.
    fn take_back(&mut self, id: JobId, out: &mut Vec<Action>) {
        self.unqueue(id);
        self.settle(id, Next::Forget, out);
    }

    /// Asks an attempt back that need not have started.
    pub(crate) fn recall_for_stop(&mut self, id: JobId, out: &mut Vec<Action>) {
        let Some(hold) = self.jobs.get(id).and_then(Job::hold) else { return };
        if hold.progress == Progress::Started || self.recalls.is_asked(id) || !self.is_up(hold.worker) {
            return;
        }
        self.recall(id, None, out);
    }
}
