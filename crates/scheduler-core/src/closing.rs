//! Demands that nobody can take now: they are remembered until a worker that could has got room, so that a decision
//! does not ask the fleet about each of them again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use model::ids::{JobId, WorkerId};

use crate::dispatch::MAX_LOOKS;
use crate::patience::Patient;
use crate::queue::Readiness;
use crate::scheduler::Scheduler;
use crate::workers::table::Gain;
use crate::workers::{ClassId, Group, GroupId};

/// The classes that are shut for one kind of dispatch.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    classes: BTreeMap<ClassId, Need>,
    by_group: BTreeSet<(GroupId, u64, ClassId)>,
}

/// What opens a class again: a worker of one of these groups with so much memory.
#[derive(Debug)]
struct Need {
    memory: u64,
    groups: Vec<GroupId>,
}

impl Closed {
    fn insert(&mut self, class: ClassId, memory: u64, groups: Vec<GroupId>) {
        self.by_group.extend(groups.iter().map(|&group| (group, memory, class)));
        self.classes.insert(class, Need { memory, groups });
    }

    /// Whether it was there.
    fn remove(&mut self, class: ClassId) -> bool {
        let Some(Need { memory, groups }) = self.classes.remove(&class) else { return false };
        for group in groups {
            self.by_group.remove(&(group, memory, class));
        }
        true
    }

    /// Those that a worker of this group might take, with so much memory free.
    fn within(&self, group: GroupId, memory: u64) -> Vec<ClassId> {
        let all = self.by_group.range((group, 0, ClassId::FIRST)..);
        all.take_while(|&&(of, need, _)| of == group && need <= memory).map(|&(_, _, class)| class).collect()
    }
}

/// What nobody can take, by the kind of dispatch.
#[derive(Debug, Default)]
pub(crate) struct Closings {
    any: Closed,
    ripe: Closed,
    /// Of which nobody idle can take what others have to spare.
    spare: Closed,
    /// How often the fleet was asked about a class.
    pub(crate) looks: u64,
}

impl Closings {
    fn of(&mut self, which: Readiness) -> &mut Closed {
        match which {
            Readiness::Any => &mut self.any,
            Readiness::Ripe => &mut self.ripe,
        }
    }
}

impl Scheduler {
    /// The job whose turn it is, of those that somebody can take, and one who can. `refused` are the classes that were asked for in
    /// vain in this step, and `patient` are jobs that wait for better ones than there are.
    pub(crate) fn whose_turn(
        &mut self,
        which: Readiness,
        refused: &mut BTreeSet<ClassId>,
        patient: &Patient,
    ) -> Option<(JobId, WorkerId)> {
        let (mut looks, mut refused_now, mut found) = (0, Vec::new(), None);
        let taker = |class| match which {
            Readiness::Any => self.first_idle(class),
            Readiness::Ripe => self.first_roomy(class),
        };
        let next = self.queue.next(which, self.now, |class, job| {
            if refused.contains(&class) || patient.contains(job) {
                return false;
            }
            looks += 1;
            let Some(worker) = taker(class) else {
                refused.insert(class);
                refused_now.push(class);
                return false;
            };
            found = Some((class, worker));
            true
        });
        // Where many are asked, it need not be the last one whose turn it is.
        let found = found.filter(|&(of, _)| next.is_some_and(|(_, class)| of == class)).map(|(_, worker)| worker);
        let worker = found.or_else(|| next.and_then(|(_, class)| taker(class)));
        self.closings.looks += looks;
        refused_now.into_iter().for_each(|class| self.close(which, class));
        next.map(|(id, _)| id).zip(worker)
    }

    /// Whether any idle worker, or any with room, has the memory that the least demanding of the waiting jobs needs. Else
    /// nobody need be asked about any of them, and what somebody may take as soon as the next slot falls free need not be
    /// shut until then.
    pub(crate) fn has_memory_for_any(&self, which: Readiness) -> bool {
        let Some(least) = self.queue.least_memory() else { return false };
        let has_memory = |worker| self.workers.get(worker).is_some_and(|worker| worker.free_memory() >= least);
        least == 0
            || match which {
                // Whoever is kept for a class is in no list.
                Readiness::Any => {
                    !self.kept.is_empty() || self.workers.groups().any(|(_, it)| it.most_free() >= Some(least))
                }
                Readiness::Ripe => {
                    let has_any = |group: &Group| group.roomy().take(MAX_LOOKS).any(|(_, worker)| has_memory(worker));
                    self.workers.groups().any(|(_, group)| has_any(group))
                }
            }
    }

    /// Opens what may be taken again since workers have got room.
    pub(crate) fn reopen_by_gains(&mut self) {
        while let Some(class) = self.queue.pop_left_shut() {
            self.closings.any.remove(class);
            self.closings.ripe.remove(class);
        }
        while let Some(Gain { group, memory, idle, room }) = self.workers.pop_gain() {
            if idle {
                for class in self.closings.spare.within(group, memory) {
                    self.reopen_spare(class);
                }
            }
            if room {
                self.ahead_again = self.now;
            }
            for (which, _) in [(Readiness::Any, idle), (Readiness::Ripe, room)].into_iter().filter(|(_, gain)| *gain) {
                for class in self.closings.of(which).within(group, memory) {
                    self.reopen(class, which);
                }
            }
        }
    }

    /// Other workers than before may be able to take jobs.
    pub(crate) fn reopen_all(&mut self) {
        for which in [Readiness::Any, Readiness::Ripe] {
            for class in self.closings.of(which).classes.keys().copied().collect::<Vec<_>>() {
                self.reopen(class, which);
            }
        }
        for class in self.closings.spare.classes.keys().copied().collect::<Vec<_>>() {
            self.reopen_spare(class);
        }
    }

    fn reopen_spare(&mut self, class: ClassId) {
        if self.closings.spare.remove(class) {
            self.spare.open(class);
        }
    }

    /// Nothing of the class is to be spared any more.
    pub(crate) fn forget_spare(&mut self, class: ClassId) {
        self.closings.spare.remove(class);
    }

    /// Nobody idle can take what others have to spare of the class, until a worker gains something.
    pub(crate) fn close_spare(&mut self, class: ClassId) {
        if self.spare.close(class) {
            let (memory, groups) = (self.classes.memory(class), self.classes.group_ids(class).to_vec());
            self.closings.spare.insert(class, memory, groups);
        }
    }

    pub(crate) fn reopen(&mut self, class: ClassId, which: Readiness) {
        if self.closings.of(which).remove(class) {
            self.queue.set_shut(class, which, false);
        }
    }

    /// Nobody can take the class; that is remembered if a gain of some worker would end it.
    fn close(&mut self, which: Readiness, class: ClassId) {
        let groups = self.classes.group_ids(class);
        let is_certain = match which {
            // Whoever is kept for it is in no list.
            Readiness::Any => self.classes.kept(class).is_none(),
            // Of more workers with room not all were looked at.
            Readiness::Ripe => self.classes.groups(class, &self.workers).all(|it| it.roomy().len() <= MAX_LOOKS),
        };
        if is_certain {
            let memory = self.classes.memory(class);
            self.closings.of(which).insert(class, memory, groups.to_vec());
            self.queue.set_shut(class, which, true);
        }
    }

    pub(crate) fn check_closings(&self) {
        let closed = self.closings.spare.classes.keys();
        assert!(closed.eq(self.spare.closed()), "classes of which nobody can take what is spare");
        for &class in self.closings.spare.classes.keys() {
            let taker = self.first_expecting_nothing(class);
            assert_eq!(taker, None, "could take what is spare of {class:?}, and is not asked");
        }
        for (&class, _) in self.closings.any.classes.iter().filter(|(class, _)| self.queue.has_class(**class)) {
            let is_shut = self.queue.is_shut(class, Readiness::Any);
            assert!(!is_shut || self.first_idle(class).is_none(), "{class:?} is shut, and somebody is idle");
        }
        for (&class, _) in self.closings.ripe.classes.iter().filter(|(class, _)| self.queue.has_class(**class)) {
            let is_shut = self.queue.is_shut(class, Readiness::Ripe);
            assert!(!is_shut || self.first_roomy(class).is_none(), "{class:?} is shut, and somebody has room");
        }
        for class in self.queue.classes().into_keys() {
            let is_known =
                |which, closed: &Closed| !self.queue.is_shut(class, which) || closed.classes.contains_key(&class);
            assert!(is_known(Readiness::Any, &self.closings.any), "{class:?} is shut for ever");
            assert!(is_known(Readiness::Ripe, &self.closings.ripe), "{class:?} is shut for ever");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, ClientId, Config, Input, SubmittedJob, WorkerFacts};
    use model::ids::{Attempt, BuildId, Incarnation, UserId};
    use model::job::{JobFacts, JobKind};
    use model::outcome::{ExitStatus, Outcome, ResourceUsage};
    use model::time::Timestamp;

    const GIB: u64 = 1 << 30;

    /// Two workers of 64 GiB, of which one does a link that has it all to itself, and links that wait for as much.
    struct Crowd {
        scheduler: Scheduler,
        running: Vec<(WorkerId, Attempt)>,
        jobs: u64,
    }

    impl Crowd {
        fn new(blocked_users: u32, builds_of_each: u64) -> Self {
            let mut crowd = Self::of_nobody();
            crowd.join(1);
            crowd.submit(1, 0, JobKind::Link, 31 * GIB);
            crowd.join(2);
            (0..40).for_each(|_| crowd.submit(2, 0, JobKind::Compile, GIB));
            for user in 10..10 + blocked_users {
                (0..builds_of_each).for_each(|build| crowd.submit(user, build, JobKind::Link, 31 * GIB));
            }
            crowd
        }

        fn of_nobody() -> Self {
            let config = Config { gather: core::time::Duration::ZERO, ..Config::default() };
            let scheduler = Scheduler::new(config).expect("the usual settings");
            Self { scheduler, running: Vec::new(), jobs: 0 }
        }

        fn join(&mut self, number: u32) {
            let facts = WorkerFacts {
                incarnation: Incarnation::from_bytes([1; 16]),
                slots: 8,
                linking: true,
                toolchains: Vec::new(),
                cpu_class: None,
                mounts: Vec::new(),
                only_user: None,
                memory: 64 * GIB,
                isolates: false,
                speed: None,
            };
            self.tell(Input::WorkerRegistered { worker: WorkerId::new(number), facts, holding: Vec::new() });
        }

        fn submit(&mut self, user: u32, build: u64, kind: JobKind, input_bytes: u64) {
            self.jobs += 1;
            let facts = JobFacts { input_bytes, ..JobFacts::new(UserId::new(user), BuildId::new(build), kind) };
            let id = JobId::from_bytes(u128::from(self.jobs).to_le_bytes());
            let jobs = Vec::from([SubmittedJob { id, facts, resubmitted: false }]);
            self.tell(Input::JobsSubmitted { client: ClientId(1), jobs });
        }

        /// The compile that was sent first is done. It took long, so that it is the turn of others.
        fn end_one(&mut self) {
            self.end_one_at(2);
        }

        fn end_one_at(&mut self, number: u32) {
            let place = self.running.iter().position(|(worker, _)| worker.number() == number);
            let (worker, attempt) = self.running.remove(place.expect("compiles run"));
            let wall = core::time::Duration::from_secs(600);
            let usage = ResourceUsage { wall, peak_memory: GIB, ..ResourceUsage::default() };
            self.tell(Input::AttemptEnded {
                worker,
                attempt,
                result: Ok(Outcome { exit: ExitStatus::Code(0), usage }),
            });
        }

        fn tell(&mut self, input: Input) {
            let mut out = Vec::new();
            self.scheduler.step(Timestamp::from_millis(1), input, &mut out);
            for action in out {
                if let Action::Assign { worker, attempts, .. } = action {
                    self.running.extend(attempts.into_iter().map(|attempt| (worker, attempt)));
                }
            }
            self.scheduler.check_invariants();
        }

        fn looks_while(&mut self, act: impl FnOnce(&mut Self)) -> u64 {
            let before = self.scheduler.closings.looks;
            act(self);
            self.scheduler.closings.looks - before
        }
    }

    #[test]
    fn builds_that_nobody_can_serve_are_asked_for_once_and_not_in_each_decision() {
        let looks = |users, builds| {
            let mut crowd = Crowd::new(users, builds);
            (0..4).for_each(|_| crowd.end_one());
            crowd.looks_while(|crowd| (0..10).for_each(|_| crowd.end_one()))
        };

        let few = looks(1, 1);

        assert!((10..=60).contains(&few), "{few}: each end of a job asks for one that may follow");
        let many = looks(20, 10);
        assert!(many <= few + 20, "{many} instead of {few}: each of 20 demands more is asked for once at the most");
    }

    /// One worker has idle slots and no memory, and eight have jobs to spare, of as many users as are given.
    fn looks_for_what_is_spare(users: u32) -> u64 {
        let mut crowd = Crowd::of_nobody();
        crowd.join(1);
        // From then on it is known what compiles need.
        crowd.submit(2, 0, JobKind::Compile, GIB);
        crowd.end_one_at(1);
        crowd.submit(1, 0, JobKind::Link, 31 * GIB);
        (2..=9).for_each(|number| crowd.join(number));
        (0..120).for_each(|job| crowd.submit(10 + job % users, 0, JobKind::Compile, GIB));
        assert_eq!(crowd.running.iter().filter(|(worker, _)| worker.number() == 1).count(), 1, "only the link");
        assert!(crowd.scheduler.workers.idle() > 0, "its other slots");
        crowd.looks_while(|crowd| (0..8).for_each(|_| crowd.end_one()))
    }

    #[test]
    fn slots_that_lack_memory_are_not_offered_all_that_could_be_taken_back_in_each_decision() {
        let few = looks_for_what_is_spare(1);
        let many = looks_for_what_is_spare(30);

        assert!(few <= 40, "{few}");
        assert!(many <= few + 24, "{many} instead of {few}: of each demand it is asked once");
    }

    #[test]
    fn what_is_blocked_goes_when_a_worker_has_room_for_it() {
        let mut crowd = Crowd::new(3, 2);
        let (worker, attempt) = crowd.running[0];
        assert_eq!(worker.number(), 1, "the first link");
        let waiting = crowd.scheduler.snapshot().waiting;

        let looks = crowd.looks_while(|crowd| {
            let outcome = Outcome { exit: ExitStatus::Code(0), usage: ResourceUsage::default() };
            crowd.tell(Input::AttemptEnded { worker, attempt, result: Ok(outcome) });
        });

        assert!(crowd.scheduler.snapshot().waiting < waiting, "{looks} looks, and nothing goes");
    }
}
