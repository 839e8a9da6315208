//! Who is to blame for a failed attempt, and what follows for the worker: see [`crate::workers::health`].

use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};
use model::outcome::{AttemptFailure, Blame};

use crate::action::Action;
use crate::scheduler::Scheduler;
use crate::timers::Timer;

impl Scheduler {
    /// The worker did the job. If another had failed it before, that one failed what others do.
    pub(crate) fn clear_name(&mut self, suspect: Option<WorkerId>, worker: WorkerId, out: &mut Vec<Action>) {
        if let Some(suspect) = suspect.filter(|&suspect| suspect != worker) {
            self.strike(suspect, out);
        }
    }

    /// The worker failed the job. The first to fail it is under suspicion, until another fails it too: then it is the
    /// job, and neither is to blame.
    pub(crate) fn blame(&mut self, id: JobId, worker: WorkerId, failure: &AttemptFailure, out: &mut Vec<Action>) {
        let is_suspicious = match failure.blame() {
            Blame::Worker => *failure != AttemptFailure::WorkerLost,
            Blame::Filesystem => true,
            Blame::Job | Blame::Nobody => false,
        };
        let Some(job) = self.jobs.get_mut(id).filter(|_| is_suspicious) else { return };
        match job.take_suspect() {
            Some(suspect) if suspect != worker => {
                self.workers.update(suspect, |worker| worker.health.on_cleared());
            }
            _ if job.troubles().tried.is_empty() => {
                job.troubles_mut().suspect = Some(worker);
                self.strike(worker, out);
            }
            _ => {}
        }
    }

    pub(crate) fn on_bench_over(&mut self, worker: WorkerId) {
        self.workers.update(worker, |worker| worker.health.on_term_over());
        self.classes.on_fleet_changed(&self.workers);
    }

    fn strike(&mut self, id: WorkerId, out: &mut Vec<Action>) {
        let (policy, now, mut until) = (self.benching, self.now, None);
        self.workers.update(id, |worker| until = worker.health.on_strike(policy, now));
        let Some(until) = until else { return };
        self.timers.set(Timer::BenchOver(id), until);
        self.classes.on_fleet_changed(&self.workers);
        self.note_loss();
        // What it has not started is better off elsewhere.
        for (job, _) in self.unstarted_at(id).collect::<Vec<_>>() {
            self.recall(job, None, out);
        }
    }
}
