//! Demands, interned and counted, each with the groups of workers that meet it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use model::ids::WorkerId;
use model::job::JobFacts;

use super::class_map::{ClassId, ClassIds, ClassMap};
use super::demand::Demand;
use super::group::{Group, GroupId};
use super::table::WorkerTable;
use crate::idmap::IdMap;

/// Classes that nobody uses any more but that are kept, because the next job of the same build wants them again.
const MAX_UNUSED: usize = 256;

#[derive(Debug)]
struct Class {
    demand: Demand,
    users: usize,
    /// Whose workers meet the demand, but for their memory; in order.
    groups: Vec<GroupId>,
    /// The worker that is kept for it.
    kept: Option<WorkerId>,
}

/// All classes.
#[derive(Debug)]
pub(crate) struct Classes {
    by_demand: IdMap<Demand, ClassId>,
    classes: ClassMap<Class>,
    /// Used classes that no worker can take. A silent worker may come back, and counts.
    stranded: BTreeSet<ClassId>,
    unused: usize,
    ids: ClassIds,
    /// The demand that was asked for last.
    probe: Demand,
}

impl Classes {
    pub(crate) fn new(seed: u64) -> Self {
        let (by_demand, classes, ids) = (IdMap::with_seed(seed), ClassMap::default(), ClassIds::default());
        Self { by_demand, classes, stranded: BTreeSet::new(), unused: 0, ids, probe: Demand::NONE }
    }

    /// The class of this demand, which is kept until as many `release` calls.
    pub(crate) fn acquire(
        &mut self,
        facts: &JobFacts,
        memory: u64,
        tried: &[WorkerId],
        workers: &WorkerTable,
    ) -> ClassId {
        self.probe.become_that_of(facts, memory, tried);
        let id = match self.by_demand.get(&self.probe) {
            Some(&id) => id,
            None => self.intern(self.probe.clone(), workers),
        };
        if let Some(class) = self.classes.get_mut(id) {
            class.users += 1;
            if class.users == 1 {
                self.unused -= 1;
                self.judge(id, workers);
            }
        }
        id
    }

    pub(crate) fn release(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(id) else { return };
        class.users -= 1;
        if class.users > 0 {
            return;
        }
        self.unused += 1;
        self.stranded.remove(&id);
        // A class that avoids workers belongs to one job's bad luck and will hardly be wanted again.
        if !class.demand.avoid.is_empty() || self.unused > MAX_UNUSED {
            self.drop_class(id);
        }
    }

    /// Whether this worker could take jobs of the class if it had nothing else to do.
    pub(crate) fn is_able(&self, id: ClassId, worker_id: WorkerId, workers: &WorkerTable) -> bool {
        let (Some(class), Some(worker)) = (self.classes.get(id), workers.get(worker_id)) else { return false };
        worker.is_present()
            && class.groups.binary_search(&worker.group()).is_ok()
            && worker.memory() >= class.demand.memory
            && class.demand.avoid.binary_search(&worker_id).is_err()
    }

    /// Whether this worker could start a job of the class at once.
    pub(crate) fn could_start(&self, id: ClassId, worker_id: WorkerId, workers: &WorkerTable) -> bool {
        let Some(worker) = workers.get(worker_id) else { return false };
        worker.idle() > 0
            && worker.free_memory() >= self.memory(id)
            && worker.kept_for.is_none_or(|kept| kept == id)
            && self.is_able(id, worker_id, workers)
    }

    /// The groups whose workers can take the class, as far as abilities go.
    pub(crate) fn groups<'a>(&self, id: ClassId, workers: &'a WorkerTable) -> impl Iterator<Item = &'a Group> {
        self.group_ids(id).iter().filter_map(|&group| workers.group(group))
    }

    pub(crate) fn group_ids(&self, id: ClassId) -> &[GroupId] {
        self.classes.get(id).map_or(&[], |class| &class.groups)
    }

    pub(crate) fn demand(&self, id: ClassId) -> Option<&Demand> {
        self.classes.get(id).map(|class| &class.demand)
    }

    /// What is reserved for each job of the class, in bytes.
    pub(crate) fn memory(&self, id: ClassId) -> u64 {
        self.demand(id).map_or(0, |demand| demand.memory)
    }

    pub(crate) fn is_stranded(&self, id: ClassId) -> bool {
        self.stranded.contains(&id)
    }

    pub(crate) fn stranded(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.stranded.iter().copied()
    }

    pub(crate) fn kept(&self, id: ClassId) -> Option<WorkerId> {
        self.classes.get(id).and_then(|class| class.kept)
    }

    pub(crate) fn set_kept(&mut self, id: ClassId, worker: Option<WorkerId>) {
        if let Some(class) = self.classes.get_mut(id) {
            class.kept = worker;
        }
    }

    /// A group of workers came, or (it is not in the table) went.
    pub(crate) fn on_group_changed(&mut self, group: GroupId, workers: &WorkerTable) {
        for id in self.classes.sorted_keys() {
            let Some(class) = self.classes.get_mut(id) else { continue };
            let offer = workers.group(group).map(|group| &group.abilities);
            let is_able = offer.is_some_and(|offer| class.demand.unmet_by(offer).is_none());
            match (class.groups.binary_search(&group), is_able) {
                (Err(place), true) => class.groups.insert(place, group),
                (Ok(place), false) => {
                    class.groups.remove(place);
                }
                _ => {}
            }
        }
    }

    /// A worker came, went, drains, was benched or let back: who can take what?
    pub(crate) fn on_fleet_changed(&mut self, workers: &WorkerTable) {
        for id in self.classes.sorted_keys() {
            if self.classes.get(id).is_some_and(|class| class.users > 0) {
                self.judge(id, workers);
            }
        }
    }

    fn judge(&mut self, id: ClassId, workers: &WorkerTable) {
        let Some(class) = self.classes.get(id) else { return };
        let has_able = self.groups(id, workers).any(|group| group.able(&class.demand).next().is_some());
        if has_able {
            self.stranded.remove(&id);
        } else {
            self.stranded.insert(id);
        }
    }

    fn intern(&mut self, demand: Demand, workers: &WorkerTable) -> ClassId {
        let id = self.ids.make();
        let able = workers.groups().filter(|(_, group)| demand.unmet_by(&group.abilities).is_none());
        let groups = able.map(|(group, _)| group).collect();
        self.by_demand.insert(demand.clone(), id);
        self.classes.insert(id, Class { demand, users: 0, groups, kept: None });
        self.unused += 1;
        id
    }

    fn drop_class(&mut self, id: ClassId) {
        if let Some(class) = self.classes.remove(id) {
            self.by_demand.remove(&class.demand);
            self.ids.recycle(id);
            self.unused -= 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.classes.sorted_keys().into_iter().filter_map(|id| Some((id, self.classes.get(id)?)))
    }

    /// Recomputes what is kept up to date and compares.
    pub(crate) fn check(&self, workers: &WorkerTable) {
        for (id, class) in self.iter() {
            let able = workers.groups().filter(|(_, group)| class.demand.unmet_by(&group.abilities).is_none());
            assert!(able.map(|(group, _)| group).eq(class.groups.iter().copied()), "groups of {class:?}");
            let is_stranded = !workers.iter().any(|(worker, _)| self.is_able(id, worker, workers));
            assert_eq!(class.users > 0 && is_stranded, self.stranded.contains(&id), "{class:?} stranded or not");
            if let Some(worker) = class.kept {
                let kept_for = workers.get(worker).and_then(|worker| worker.kept_for);
                assert_eq!(kept_for, Some(id), "{worker:?} is kept for {class:?} and does not know");
            }
        }
        assert_eq!(self.unused, self.iter().filter(|(_, class)| class.users == 0).count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::{BuildId, UserId};
    use model::job::JobKind;

    /// Demands of a fleet of nobody: each is stranded while it is used.
    struct Demands {
        classes: Classes,
        workers: WorkerTable,
    }

    impl Demands {
        fn new() -> Self {
            Self { classes: Classes::new(1), workers: WorkerTable::new(0) }
        }

        fn acquire(&mut self, memory: u64, tried: &[WorkerId]) -> ClassId {
            let facts = JobFacts::new(UserId::new(1), BuildId::new(1), JobKind::Compile);
            let id = self.classes.acquire(&facts, memory, tried, &self.workers);
            self.classes.check(&self.workers);
            id
        }

        fn release(&mut self, id: ClassId) {
            self.classes.release(id);
            self.classes.check(&self.workers);
        }

        fn count(&self) -> usize {
            self.classes.iter().count()
        }
    }

    #[test]
    fn of_demands_that_nobody_uses_so_many_are_kept() {
        let mut demands = Demands::new();
        let limit = u64::try_from(MAX_UNUSED).unwrap_or(u64::MAX);
        let ids: Vec<_> = (0..limit + 9).map(|memory| demands.acquire(memory, &[])).collect();
        assert_eq!(demands.count(), MAX_UNUSED + 9, "what is used is kept, however much it is");

        ids.iter().for_each(|&id| demands.release(id));

        assert_eq!(demands.count(), MAX_UNUSED);
        assert_eq!(demands.acquire(0, &[]), ids[0], "the first of them was kept");
        assert!(!ids.contains(&demands.acquire(limit + 8, &[])), "the last of them was forgotten, and is made anew");
    }

    #[test]
    fn a_demand_is_kept_until_its_last_user_is_gone() {
        let mut demands = Demands::new();
        let (first, second) = (demands.acquire(1, &[]), demands.acquire(1, &[]));
        assert_eq!(first, second);

        demands.release(first);
        assert!(demands.classes.is_stranded(first), "somebody waits for it yet");
        demands.release(second);
        assert!(!demands.classes.is_stranded(first), "nobody waits for it");
        assert_eq!(demands.count(), 1, "it may be wanted again");
    }

    #[test]
    fn a_demand_that_avoids_somebody_is_forgotten_with_its_last_user() {
        let mut demands = Demands::new();
        let (first, _) = (demands.acquire(1, &[WorkerId::new(3)]), demands.acquire(1, &[WorkerId::new(3)]));

        demands.release(first);
        assert_eq!(demands.classes.memory(first), 1, "it is used yet");
        demands.release(first);
        assert_eq!(demands.count(), 0);
        assert_ne!(demands.acquire(1, &[WorkerId::new(3)]), first, "made anew");
    }
}
