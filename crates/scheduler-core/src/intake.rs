//! What launchers ask: jobs submitted, asked for again, taken back; and the server's wish to stop.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::ids::{Attempt, JobId};
use model::job::JobFacts;

use crate::action::{Action, LocalReason};
use crate::endings::OrphanEnd;
use crate::input::{ClientId, MAX_BATCH, MAX_DEMANDED_MOUNTS, MAX_JOB_DIRS, MAX_JOB_INPUTS, SubmittedJob};
use crate::jobs::{Answer, Job, JobState, Known, Live, Next, Past, Progress};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

impl Scheduler {
    pub(crate) fn on_jobs_submitted(&mut self, client: ClientId, jobs: Vec<SubmittedJob>, out: &mut Vec<Action>) {
        for job in jobs {
            match self.jobs.known(job.id) {
                Some(Known::Present(_)) => self.on_asked_again(client, job.id),
                Some(Known::Past(Past::Answered(_))) => self.answer_again(job.id, client, out),
                Some(&Known::Past(Past::Buried { last_number, .. })) => self.on_new_job(client, job, last_number, out),
                None => self.on_new_job(client, job, 0, out),
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

    /// Attempts of an earlier job of this id had numbers up to `buried`.
    fn on_new_job(&mut self, client: ClientId, job: SubmittedJob, buried: u32, out: &mut Vec<Action>) {
        let SubmittedJob { id, mut facts, resubmitted } = job;
        facts.dirs.truncate(MAX_JOB_DIRS);
        facts.inputs.truncate(MAX_JOB_INPUTS);
        facts.batch.size = facts.batch.size.clamp(1, MAX_BATCH);
        if self.audits.is_shadow(id) {
            // Not by chance; whoever did it must not get the shadow's outcome for his own.
            self.drop_audit(id, out);
        }
        let is_orphan = self.jobs.has_strays(id) || self.orphan_ends.contains_key(&id);
        let may_run_unheard = resubmitted && self.is_adoption_open();
        if !is_orphan && !may_run_unheard && self.is_turned_away(id, client, &facts, out) {
            return;
        }
        if !is_orphan && may_run_unheard && !self.adoption.takes_one_more(self.config.max_queued) {
            // Not home: somebody may be running it.
            return self.ask_to_wait(id, client, out);
        }

        let (mut end, mut last_number) = (None, buried);
        if is_orphan {
            end = self.orphan_ends.remove(&id);
            self.timers.clear(Timer::Orphan(id));
            last_number = buried.max(self.highest_number(id, end.as_ref()));
        }
        self.history.learn_readers(&facts);
        let prediction = self.history.predict(&facts);
        let class = self.classify(&facts, &prediction, &[]);
        let mut job = Box::new(Job::new(client, facts.into(), prediction, self.now));
        job.class = Some(class);
        job.last_number = last_number;
        // What an earlier server, or this one before it forgot the job, did with it is not known any more.
        job.half_done = resubmitted;
        job.inherited = self.is_adoption_open() && (resubmitted || is_orphan);
        self.gather_for(&job);
        let next = self.last_word(&job, Next::Queue { in_front: false });
        let is_nowhere = !is_orphan && !may_run_unheard;
        if is_nowhere && next == (Next::Queue { in_front: false }) {
            self.queue_new(id, &mut job);
            self.jobs.insert(id, job);
            return;
        }
        self.jobs.insert(id, job);
        if is_orphan {
            self.claim_orphan(id, end, out);
        } else if is_nowhere {
            self.settle(id, next, out);
        }
    }

    /// Its build sends many at once, perhaps, and slots idle: whoever comes within a moment is placed together, the
    /// longest first.
    fn gather_for(&mut self, job: &Job) {
        let is_of_use =
            self.queue.is_empty() && self.workers.idle() > 0 && self.queue.is_serving(job.facts.user, job.facts.build);
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
        let live = self.jobs.attempts_of(id).map(|((number, _), _)| number).max().unwrap_or(0);
        ended.max(live)
    }

    /// A worker runs this new job already, or has done it.
    fn claim_orphan(&mut self, id: JobId, end: Option<OrphanEnd>, out: &mut Vec<Action>) {
        if let Some(OrphanEnd { number, result: Ok(()), .. }) = end {
            self.settle(id, Next::Complete(number), out);
            return;
        }
        let going_on = || self.jobs.attempts_of(id).rev().filter(|&(_, cancelled)| !cancelled).map(|(live, _)| live);
        let waits = |&(number, worker): &Live| self.jobs.awaits_permission(worker, Attempt { job: id, number });
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
