//! Demands, interned and counted, each with the set of workers that meet it, kept up to date as the fleet changes.

use alloc::collections::{BTreeMap, BTreeSet};

use model::ids::WorkerId;

use super::demand::Demand;
use super::table::{Worker, WorkerTable};

/// Classes that nobody uses any more but that are kept, because the next job of the same build wants them again.
const MAX_UNUSED: usize = 256;

/// A class of equal demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassId(u64);

#[derive(Debug)]
struct Class {
    demand: Demand,
    users: usize,
    /// Registered workers that meet the demand and are not draining; a silent one may come back, and counts.
    able: BTreeSet<WorkerId>,
}

/// All classes.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_demand: BTreeMap<Demand, ClassId>,
    classes: BTreeMap<ClassId, Class>,
    /// Classes that no worker can take.
    stranded: BTreeSet<ClassId>,
    unused: usize,
    next: u64,
}

impl Classes {
    /// The class of this demand, which is kept until as many `release` calls.
    pub(crate) fn acquire(&mut self, demand: Demand, workers: &WorkerTable) -> ClassId {
        let id = match self.by_demand.get(&demand) {
            Some(&id) => id,
            None => self.intern(demand, workers),
        };
        if let Some(class) = self.classes.get_mut(&id) {
            if class.users == 0 {
                self.unused -= 1;
            }
            class.users += 1;
        }
        id
    }

    pub(crate) fn release(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.users -= 1;
        if class.users > 0 {
            return;
        }
        self.unused += 1;
        // A class that avoids workers belongs to one job's bad luck and will hardly be wanted again.
        if !class.demand.avoid.is_empty() || self.unused > MAX_UNUSED {
            self.drop_class(id);
        }
    }

    /// Whether the class has this worker among those that can take its jobs.
    pub(crate) fn is_able(&self, id: ClassId, worker: WorkerId) -> bool {
        self.able(id).is_some_and(|able| able.contains(&worker))
    }

    pub(crate) fn able(&self, id: ClassId) -> Option<&BTreeSet<WorkerId>> {
        self.classes.get(&id).map(|class| &class.able)
    }

    pub(crate) fn demand(&self, id: ClassId) -> Option<&Demand> {
        self.classes.get(&id).map(|class| &class.demand)
    }

    pub(crate) fn stranded(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.stranded.iter().copied()
    }

    /// The worker came, changed or (`None`) went.
    pub(crate) fn on_worker_changed(&mut self, id: WorkerId, worker: Option<&Worker>) {
        for (&class_id, class) in &mut self.classes {
            if worker.is_some_and(|worker| is_able(&class.demand, id, worker)) {
                class.able.insert(id);
                self.stranded.remove(&class_id);
            } else if class.able.remove(&id) && class.able.is_empty() {
                self.stranded.insert(class_id);
            }
        }
    }

    fn intern(&mut self, demand: Demand, workers: &WorkerTable) -> ClassId {
        let id = ClassId(self.next);
        self.next += 1;
        let able = workers.iter().filter(|&(id, worker)| is_able(&demand, id, worker)).map(|(id, _)| id);
        let able: BTreeSet<_> = able.collect();
        if able.is_empty() {
            self.stranded.insert(id);
        }
        self.by_demand.insert(demand.clone(), id);
        self.classes.insert(id, Class { demand, users: 0, able });
        self.unused += 1;
        id
    }

    fn drop_class(&mut self, id: ClassId) {
        if let Some(class) = self.classes.remove(&id) {
            self.by_demand.remove(&class.demand);
            self.stranded.remove(&id);
            self.unused -= 1;
        }
    }

    /// Recomputes what is kept up to date and compares.
    pub(crate) fn check(&self, workers: &WorkerTable) {
        for (id, class) in &self.classes {
            for (worker_id, worker) in workers.iter() {
                let able = is_able(&class.demand, worker_id, worker);
                assert_eq!(able, class.able.contains(&worker_id), "{worker_id:?} misjudged for {:?}", class.demand);
            }
            assert!(class.able.iter().all(|worker| workers.get(*worker).is_some()), "{class:?} names a lost worker");
            assert_eq!(class.able.is_empty(), self.stranded.contains(id), "{class:?} stranded or not");
        }
        assert_eq!(self.unused, self.classes.values().filter(|class| class.users == 0).count());
    }
}

fn is_able(demand: &Demand, id: WorkerId, worker: &Worker) -> bool {
    !worker.draining && !demand.avoid.contains(&id) && demand.unmet_by(&worker.facts).is_none()
}
