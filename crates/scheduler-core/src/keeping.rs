//! Jobs that need much memory must not starve behind those that need little: when one has waited too long, a worker
//! that could take it is given nothing else until it has it.

use alloc::vec::Vec;

use model::ids::WorkerId;

use crate::queue::Readiness;
use crate::scheduler::Scheduler;
use crate::timers::Timer;
use crate::workers::ClassId;

/// Workers of a group that are considered for being kept, the largest.
const MAX_LOOKS: usize = 256;

impl Scheduler {
    /// Looks for the overdue, every half of the time after which they are.
    pub(crate) fn keep_for_the_overdue(&mut self) {
        let overdue = self.queue.overdue(self.now);
        let mut any = false;
        for (class, oldest) in self.queue.classes() {
            if self.classes.memory(class) == 0 {
                continue;
            }
            any = true;
            if oldest <= overdue && self.classes.kept(class).is_none() && self.first_idle(class).is_none() {
                self.keep_one_for(class);
            }
        }
        if any {
            self.timers.set(Timer::Ageing, self.now + self.config.ageing / 2);
        }
    }

    pub(crate) fn stop_keeping(&mut self, class: ClassId) {
        let Some(worker) = self.kept.remove(&class) else { return };
        self.classes.set_kept(class, None);
        self.workers.update(worker, |worker| worker.kept_for = None);
    }

    /// Keeps nobody for jobs that do not wait any more, and nobody who cannot take them. Says whether anybody was.
    pub(crate) fn let_go_of_kept(&mut self) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let is_vain = |class: ClassId, worker: WorkerId| {
            !self.queue.has_class(class) || !self.classes.is_able(class, worker, &self.workers)
        };
        let vain = self.kept.iter().filter(|&(&class, &worker)| is_vain(class, worker));
        let vain: Vec<_> = vain.map(|(&class, _)| class).collect();
        let any = !vain.is_empty();
        vain.into_iter().for_each(|class| self.stop_keeping(class));
        any
    }

    fn keep_one_for(&mut self, class: ClassId) {
        let Some(demand) = self.classes.demand(class) else { return };
        let able = self.classes.groups(class, &self.workers).flat_map(|group| group.able(demand).take(MAX_LOOKS));
        let usable = able.filter_map(|id| {
            let worker = self.workers.get(id)?;
            let is_usable = worker.is_placeable() && !worker.is_on_probation() && worker.kept_for.is_none();
            is_usable.then(|| (worker.free_memory(), core::cmp::Reverse(id)))
        });
        let Some((_, core::cmp::Reverse(worker))) = usable.max() else { return };
        self.kept.insert(class, worker);
        self.classes.set_kept(class, Some(worker));
        self.reopen(class, Readiness::Any);
        self.workers.update(worker, |worker| worker.kept_for = Some(class));
    }
}
