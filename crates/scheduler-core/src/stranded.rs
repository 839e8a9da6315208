//! What a job is classed as, and the jobs that nobody can take.

use alloc::vec::Vec;

use model::ids::JobId;
use model::job::JobFacts;

use crate::action::{Action, LocalReason, Unmet};
use crate::history::{Prediction, rounded_up};
use crate::input::MAX_MEMORY;
use crate::jobs::{Job, Next};
use crate::scheduler::Scheduler;
use crate::workers::{ClassId, Demand};

impl Scheduler {
    /// Jobs that no registered worker can take go home once the fleet has had its time to come back.
    pub(crate) fn send_stranded_home(&mut self, out: &mut Vec<Action>) {
        if self.queue.is_empty() || self.now < self.last_loss + self.config.fleet_grace {
            return;
        }
        let stranded: Vec<_> = self.classes.stranded().filter(|&class| self.queue.has_class(class)).collect();
        for id in stranded.into_iter().flat_map(|class| self.queue.of_class(class)).collect::<Vec<_>>() {
            if self.ask_for_less(id) {
                continue;
            }
            let reason = self.why_stranded(id);
            self.unqueue(id);
            self.settle(id, Next::SendHome(reason), out);
        }
    }

    /// The class of a job that needs what was predicted, rounded. Memory that is only guessed strands nobody.
    pub(crate) fn classify(
        &mut self,
        facts: &JobFacts,
        prediction: &Prediction,
        tried: &[model::ids::WorkerId],
    ) -> ClassId {
        let memory = prediction.memory.min(MAX_MEMORY);
        let whole = self.largest_that_fits(memory);
        let class = self.classes.acquire(facts, whole, tried, &self.workers);
        if prediction.memory_known || memory == 0 || !self.classes.is_stranded(class) {
            return class;
        }
        self.classes.release(class);
        let anywhere = Demand::new(facts, 0, tried);
        let largest = self.workers.groups().filter(|(_, group)| anywhere.unmet_by(&group.abilities).is_none());
        let largest =
            largest.filter_map(|(_, group)| group.able(&anywhere).next()).filter_map(|id| self.workers.get(id));
        let most = largest.map(|worker| worker.memory()).max().unwrap_or(0);
        self.classes.acquire(facts, whole.min(most), tried, &self.workers)
    }

    /// All that the job demands, which its class knows, as the facts that say so.
    pub(crate) fn demanding_facts(&self, job: &Job) -> JobFacts {
        let demand = job.class.and_then(|class| self.classes.demand(class));
        demand.map_or_else(|| Demand::NONE.with(&job.facts), |demand| demand.with(&job.facts))
    }

    /// The job's demands have changed.
    pub(crate) fn classify_again(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        let (facts, prediction, tried) = (self.demanding_facts(job), job.prediction, job.troubles().tried.clone());
        let class = self.classify(&facts, &prediction, &tried);
        if let Some(job) = self.jobs.get_mut(id)
            && let Some(before) = job.class.replace(class)
        {
            self.classes.release(before);
        }
    }

    /// Rounds a need up, but not beyond the largest worker if that has enough for it unrounded.
    fn largest_that_fits(&self, memory: u64) -> u64 {
        let rounded = rounded_up(memory);
        let largest = self.workers.groups().filter_map(|(_, group)| group.largest()).max().unwrap_or(0);
        if rounded > largest && memory <= largest { largest } else { rounded }
    }

    /// A queued job for which only too much memory was guessed asks for less from now on.
    fn ask_for_less(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(id) else { return false };
        let Some(before) = job.class else { return false };
        if job.prediction.memory_known || self.classes.memory(before) == 0 {
            return false;
        }
        self.unqueue(id);
        self.classify_again(id);
        self.requeue(id);
        let after = self.class_of(id);
        after.is_some_and(|class| !self.classes.is_stranded(class))
    }

    /// What nobody has that the job needs; or that those who have it have failed it.
    pub(crate) fn why_stranded(&self, id: JobId) -> LocalReason {
        let Some(job) = self.jobs.get(id) else { return LocalReason::NoEligibleWorker(Unmet::NoWorkers) };
        let Some(demand) = job.class.and_then(|class| self.classes.demand(class)) else {
            return LocalReason::NoEligibleWorker(Unmet::NoWorkers);
        };
        let best = self.workers.groups().map(|(_, group)| match demand.unmet_by(&group.abilities) {
            Some(unmet) => unmet,
            None if group.largest().is_some_and(|largest| largest < demand.memory) => Unmet::Memory,
            None => Unmet::Exhausted,
        });
        let best = best.max();
        let was_tried = demand.avoid.iter().any(|&worker| self.workers.get(worker).is_some());
        match (best, &job.troubles().last_failure) {
            (Some(Unmet::Exhausted), Some(failure)) if was_tried => LocalReason::AttemptsExhausted(failure.clone()),
            (best, _) => LocalReason::NoEligibleWorker(best.unwrap_or(Unmet::NoWorkers)),
        }
    }

    fn requeue(&mut self, id: JobId) {
        let in_front = self.jobs.get(id).is_some_and(|job: &Job| job.last_number > 0);
        self.push_to_queue(id, in_front);
    }
}
