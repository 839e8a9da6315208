//! How attempts and jobs end. Everything that finishes a job, or sends it round again, goes through
//! [`Scheduler::settle`], which lets nothing happen to a job while an attempt of it may be executing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use model::ids::{Attempt, JobId, WorkerId};
use model::outcome::{AttemptFailure, Outcome};

use crate::action::{Action, LocalReason};
use crate::input::ClientId;
use crate::jobs::{Answer, Hold, Job, JobState, Next, Past, Progress, Troubles};
use crate::retention::{self, Finished};
use crate::retry::{self, Record, Verdict};
use crate::scheduler::Scheduler;
use crate::timers::Timer;

/// How an attempt of an unknown job ended. The driver keeps the outcome itself.
#[derive(Debug)]
pub(crate) struct OrphanEnd {
    pub(crate) number: u32,
    pub(crate) worker: WorkerId,
    pub(crate) result: Result<(), AttemptFailure>,
}

/// What an attempt is to its job.
enum Role {
    /// Nobody submitted the job to us.
    Orphan,
    Current(Hold),
    /// The second attempt, while the first goes on.
    Second(Hold),
    /// One that must not go on.
    Stray,
}

impl Scheduler {
    pub(crate) fn on_attempt_started(&mut self, worker: WorkerId, attempt: Attempt) {
        let hold = match self.role(worker, attempt) {
            Role::Current(hold) => hold,
            Role::Second(_) => return self.seconds.on_progress(attempt.job, Progress::Started),
            Role::Orphan | Role::Stray => return,
        };
        if hold.progress == Progress::Started {
            return;
        }
        self.recalls.clear(attempt.job);
        self.jobs.move_to(attempt.job, JobState::Held(Hold { progress: Progress::Started, ..hold }));
        self.refresh_spare(worker);
        self.on_turn_started(attempt.job, worker, hold.placement.kind);
        self.watch(attempt, worker);
    }

    pub(crate) fn on_attempt_ended(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        result: Result<Outcome, AttemptFailure>,
        out: &mut Vec<Action>,
    ) {
        if self.audits.is_shadow(attempt.job) {
            return self.on_shadow_ended(worker, attempt, &result, out);
        }
        let nominee = self.nominee(worker, attempt, &result);
        self.end_attempt(worker, attempt, result, out);
        if let Some(nominee) = nominee {
            self.nominate(nominee, out);
        }
    }

    fn end_attempt(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        result: Result<Outcome, AttemptFailure>,
        out: &mut Vec<Action>,
    ) {
        let role = self.role(worker, attempt);
        let Some((cancelled, count)) = self.release(worker, attempt) else {
            return self.on_echo(attempt.job, out);
        };
        if result.is_err() {
            self.recount_to(worker, count);
        }
        match &result {
            Ok(outcome) => self.on_done(attempt.job, worker, count, outcome, out),
            // The turn is the first attempt's.
            Err(_) if matches!(role, Role::Second(_)) => {}
            Err(failure) => {
                self.cool_again(attempt.job, worker, failure);
                self.end_turn(attempt.job, failure);
            }
        }
        let result = result.map(|_| ());
        match role {
            Role::Orphan => self.on_orphan_ended(worker, attempt, result, cancelled, out),
            Role::Current(hold) => match result {
                Ok(()) => self.settle(attempt.job, Next::Complete(attempt.number), out),
                Err(failure) => self.on_attempt_failed(attempt.job, worker, failure, hold.progress, out),
            },
            Role::Second(hold) => match result {
                // Without permission: the worker is wrong, and what it did is done.
                Ok(()) => self.settle(attempt.job, Next::Complete(attempt.number), out),
                Err(failure) => self.on_second_failed(attempt.job, hold, &failure, out),
            },
            Role::Stray => self.on_stray_ended(attempt, result, out),
        }
    }

    /// The attempt is lost with its worker, or with a message to it.
    pub(crate) fn on_attempt_lost(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        failure: AttemptFailure,
        out: &mut Vec<Action>,
    ) {
        if self.audits.is_shadow(attempt.job) {
            return self.on_shadow_lost(worker, attempt, out);
        }
        let role = self.role(worker, attempt);
        self.take_attempt(worker, attempt);
        if let Role::Second(hold) = role {
            return self.on_second_failed(attempt.job, hold, &failure, out);
        }
        self.cool_again(attempt.job, worker, &failure);
        self.end_turn(attempt.job, &failure);
        match role {
            Role::Orphan => self.close_orphan(attempt.job, out),
            Role::Current(hold) => self.on_attempt_failed(attempt.job, worker, failure, hold.progress, out),
            Role::Second(_) | Role::Stray => self.on_stray_ended(attempt, Err(failure), out),
        }
    }

    /// A job's current attempt ended without an outcome: is there another, or is there to be?
    pub(crate) fn on_attempt_failed(
        &mut self,
        id: JobId,
        worker: WorkerId,
        failure: AttemptFailure,
        progress: Progress,
        out: &mut Vec<Action>,
    ) {
        let policy = self.retry;
        self.blame(id, worker, &failure, out);
        self.learn_from(id, worker, &failure);
        let Some(job) = self.jobs.get_mut(id) else { return };
        let started = progress != Progress::Sent;
        job.half_done |= retry::may_have_begun(&failure, started);
        let repeatable = job.facts.repeatable;
        let job = job.troubles_mut();
        job.spent += u32::from(retry::counts(&failure));
        job.losses += u32::from(failure == AttemptFailure::WorkerLost && started);
        job.unpublished += u32::from(matches!(failure, AttemptFailure::CommitFailed(_)));
        let Troubles { spent, losses, unpublished, .. } = *job;
        let record = Record { spent, losses, unpublished, repeatable };
        let verdict = policy.judge(&failure, record, started);
        let in_front = failure == AttemptFailure::HandedBack;
        job.last_failure = Some(failure.clone());
        match verdict {
            Verdict::Again { avoid } => {
                if avoid {
                    self.avoid(id, worker);
                }
                if !self.promote(id, out) {
                    self.settle(id, Next::Queue { in_front }, out);
                }
            }
            // What runs already may as well go on.
            Verdict::GiveUp if self.promote(id, out) => {}
            Verdict::GiveUp => self.settle(id, Next::SendHome(LocalReason::AttemptsExhausted(failure)), out),
        }
    }

    /// Does with a job what `next` says: at once if nothing of it is at any worker, and else when that has ended. An
    /// attempt that waits for permission to commit never gets it any more, so answers need not wait for its end.
    ///
    /// An inherited job waits for the end of the adoption time besides, even with an outcome in hand: an earlier
    /// server may have given it to several workers one after the other, and only one of them has spoken yet.
    pub(crate) fn settle(&mut self, id: JobId, next: Next, out: &mut Vec<Action>) {
        self.clear_recall(id);
        let job = self.jobs.get(id);
        let (next, is_inherited, is_anywhere) = match job {
            Some(job) => (self.last_word(job, next), job.inherited, job.has_attempts()),
            None => (next, false, true),
        };
        self.seconds.remove(id);
        let is_held = is_anywhere && self.jobs.attempts_of(id).next().is_some();
        if is_held {
            self.cancel_all_but(id, None, out);
        }
        let may_be_elsewhere = next != Next::Forget && is_inherited;
        let must_end = match next {
            _ if !is_held => false,
            Next::Queue { .. } => true,
            Next::Forget | Next::SendHome(_) | Next::Complete(_) => self.jobs.may_commit(id),
        };
        if may_be_elsewhere || must_end {
            self.jobs.move_to(id, JobState::Cancelling { next });
        } else {
            self.conclude(id, next, out);
        }
    }

    fn conclude(&mut self, id: JobId, next: Next, out: &mut Vec<Action>) {
        match next {
            Next::Forget => self.forget(id, out),
            Next::Queue { in_front } => self.enqueue(id, in_front),
            Next::SendHome(reason) => self.answer(id, Answer::SentHome(reason), out),
            Next::Complete(number) => self.answer(id, Answer::Complete(number), out),
        }
    }

    /// Cancels the attempts of a job at workers, except the one that may go on.
    pub(crate) fn cancel_all_but(&mut self, id: JobId, keep: Option<(u32, WorkerId)>, out: &mut Vec<Action>) {
        let others: Vec<_> =
            self.jobs.attempts_of(id).map(|(live, _)| live).filter(|&live| Some(live) != keep).collect();
        for (number, worker) in others {
            let attempt = Attempt { job: id, number };
            if self.jobs.mark_cancelled(worker, attempt) && self.is_up(worker) {
                out.push(Action::Cancel { worker, attempt });
            }
            self.refresh_spare(worker);
        }
    }

    /// Tells a launcher an answer, for the first time or again.
    pub(crate) fn give(&self, id: JobId, client: ClientId, answer: &Answer, out: &mut Vec<Action>) {
        match answer {
            Answer::Complete(number) => {
                out.push(Action::Complete { client, attempt: Attempt { job: id, number: *number } });
            }
            Answer::SentHome(reason) => {
                out.push(Action::RunLocally { client, job: id, reason: reason.clone() });
                out.push(Action::Forget { job: id });
            }
        }
    }

    /// Nobody claimed what a worker of an earlier server ran.
    pub(crate) fn on_orphan_unclaimed(&mut self, id: JobId, out: &mut Vec<Action>) {
        self.orphan_ends.remove(&id);
        self.cancel_all_but(id, None, out);
        self.close_orphan(id, out);
    }

    fn role(&self, worker: WorkerId, attempt: Attempt) -> Role {
        match self.jobs.get(attempt.job) {
            None if self.finished(attempt.job).is_some() => Role::Stray,
            None => Role::Orphan,
            Some(job) => match job.hold() {
                Some(hold) if hold.is(worker, attempt) => Role::Current(hold),
                _ => match self.seconds.get(attempt.job) {
                    Some(hold) if hold.is(worker, attempt) => Role::Second(hold),
                    _ => Role::Stray,
                },
            },
        }
    }

    /// A report about an attempt that we do not believe to be there: late, or repeated. It changes nothing, but
    /// what the driver kept of it for a job that nobody knows can go.
    fn on_echo(&self, id: JobId, out: &mut Vec<Action>) {
        if !self.is_known(id) && !self.orphan_ends.contains_key(&id) && !self.jobs.has_live(id) {
            out.push(Action::Forget { job: id });
        }
    }

    fn on_orphan_ended(
        &mut self,
        worker: WorkerId,
        attempt: Attempt,
        result: Result<(), AttemptFailure>,
        cancelled: bool,
        out: &mut Vec<Action>,
    ) {
        let id = attempt.job;
        let has_better = self.orphan_ends.get(&id).is_some_and(|end| end.result.is_ok() || end.number > attempt.number);
        if cancelled || has_better {
            self.close_orphan(id, out);
            return;
        }
        self.orphan_ends.insert(id, OrphanEnd { number: attempt.number, worker, result });
        let patience = self.config.lease.saturating_mul(2).max(self.config.retain);
        self.timers.set(Timer::Orphan(id), self.now + patience);
    }

    /// Lets go of an unknown job if nothing is left of it.
    fn close_orphan(&mut self, id: JobId, out: &mut Vec<Action>) {
        if !self.jobs.has_live(id) && !self.orphan_ends.contains_key(&id) {
            self.timers.clear(Timer::Orphan(id));
            out.push(Action::Forget { job: id });
        }
    }

    /// An attempt that had to end has ended; perhaps it was the last of its job's.
    fn on_stray_ended(&mut self, attempt: Attempt, result: Result<(), AttemptFailure>, out: &mut Vec<Action>) {
        let id = attempt.job;
        let Some(job) = self.jobs.get_mut(id) else { return };
        let mut next = match job.state() {
            JobState::Cancelling { next } => Some(next.clone()),
            _ => None,
        };
        match (&result, &next) {
            // It was faster than its cancellation, and its outcome is as good as any other.
            (Ok(()), Some(Next::Queue { .. } | Next::SendHome(_))) => next = Some(Next::Complete(attempt.number)),
            (Ok(()), _) => {}
            (Err(failure), _) => job.half_done |= retry::may_have_begun(failure, true),
        }
        match next {
            Some(next) => self.settle(id, next, out),
            None => self.on_predecessor_ended(attempt, result.is_ok(), out),
        }
    }

    /// What `next` comes to when the server is stopping, or the job may not be executed again.
    pub(crate) fn last_word(&self, job: &Job, next: Next) -> Next {
        match next {
            Next::Queue { .. } if job.half_done && !job.facts.repeatable => {
                let failure = job.troubles().last_failure.clone().unwrap_or(AttemptFailure::WorkerLost);
                Next::SendHome(LocalReason::AttemptsExhausted(failure))
            }
            Next::Queue { .. } if self.stopping => Next::SendHome(LocalReason::Stopping),
            next => next,
        }
    }

    fn answer(&mut self, id: JobId, answer: Answer, out: &mut Vec<Action>) {
        let receipt = self.retention.next_receipt();
        let Some(job) = self.retire(id, |_| Some(Past::Answered(receipt))) else { return };
        let (client, failed) = (job.client(), job.troubles().spent);
        self.give(id, client, &answer, out);
        let Job { last_number, arrived, prediction, .. } = *job;
        let until = self.now;
        self.retain(id, Finished { answer, until, last_number, failed, arrived, prediction });
        self.bound_retention(out);
    }

    /// The job demands nothing any more, and leaves. Of it is known from now on what `past` says.
    fn retire(&mut self, id: JobId, past: impl FnOnce(&Job) -> Option<Past>) -> Option<Box<Job>> {
        let job = self.jobs.remove(id, past)?;
        if let Some(turn) = job.turn {
            self.pay_for(turn, job.facts.user, job.facts.build, true);
        }
        if let Some(class) = job.class {
            self.classes.release(class);
        }
        Some(job)
    }

    pub(crate) fn forget(&mut self, id: JobId, out: &mut Vec<Action>) {
        out.push(Action::Forget { job: id });
        self.drop_job(id);
    }

    /// Takes the job off the books. Its attempt numbers are kept a while longer, so that the same job submitted
    /// again has attempts that no late echo can be taken for.
    fn drop_job(&mut self, id: JobId) {
        let until = self.now + self.config.retain;
        let Some(job) = self.retire(id, |job| retention::grave(job.last_number, until)) else { return };
        if job.last_number > 0 {
            self.mark_grave(id);
        }
    }

    /// The job is not tried on this worker again, nor are its demands those of its old class.
    fn avoid(&mut self, id: JobId, worker: WorkerId) {
        if self.workers.get(worker).is_none() {
            return; // Its number will not come back.
        }
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.troubles_mut().tried.push(worker);
        self.classify_again(id);
    }
}
