//! The jobs that wait, by user, build and lane. A lane holds the jobs of one build that make the same demands on a
//! worker, so one question a lane ("has anybody room for this class?") answers for all jobs in it, and a link that no
//! idle worker may take never blocks the compiles behind it. A decision costs by the number of lanes, not of jobs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use model::ids::{BuildId, JobId, UserId};
use model::job::{JobFacts, JobKind};

use super::fair_share::Turns;
use crate::workers::ClassId;

/// The order inside a build: what was handed back, then links, then the larger inputs, then the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    newcomer: bool,
    not_link: bool,
    input_bytes: Reverse<u64>,
    arrival: u64,
}

/// Where a waiting job stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    user: UserId,
    build: BuildId,
    class: ClassId,
    rank: Rank,
}

#[derive(Debug)]
struct Entry {
    job: JobId,
    /// The most jobs of one dispatch that this one asks for.
    company: u32,
}

#[derive(Debug, Default)]
struct Lane {
    jobs: BTreeMap<Rank, Entry>,
    /// Those that wait for no company (any more).
    ripe: BTreeSet<Rank>,
}

impl Lane {
    fn head(&self) -> Option<(Rank, JobId)> {
        self.jobs.first_key_value().map(|(&rank, entry)| (rank, entry.job))
    }

    /// The first job that may be sent beyond a worker's slots: its wait for company is over, or it has company.
    fn ripe_head(&self) -> Option<(Rank, JobId)> {
        let (&rank, first) = self.jobs.first_key_value()?;
        if self.jobs.len() >= first.company as usize {
            return Some((rank, first.job));
        }
        let &rank = self.ripe.first()?;
        self.jobs.get(&rank).map(|entry| (rank, entry.job))
    }
}

#[derive(Debug, Default)]
struct Build {
    lanes: BTreeMap<ClassId, Lane>,
}

#[derive(Debug, Default)]
struct User {
    builds: BTreeMap<BuildId, Build>,
    turns: Turns<BuildId>,
}

/// Which jobs of a lane may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Any: a slot is idle, and nobody waits for company then.
    Any,
    /// Only those that need not wait for company.
    Ripe,
}

/// The waiting jobs.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    users: BTreeMap<UserId, User>,
    turns: Turns<UserId>,
    places: BTreeMap<JobId, Place>,
    arrivals: u64,
}

impl ReadyQueue {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.places.contains_key(&job)
    }

    /// Queues a job; `in_front` of its build if it was to run already and came back.
    pub(crate) fn push(&mut self, job: JobId, facts: &JobFacts, class: ClassId, in_front: bool) {
        let rank = Rank {
            newcomer: !in_front,
            not_link: facts.kind != JobKind::Link,
            input_bytes: Reverse(facts.input_bytes),
            arrival: self.arrivals,
        };
        self.arrivals += 1;
        self.places.insert(job, Place { user: facts.user, build: facts.build, class, rank });
        self.turns.join(facts.user);
        let user = self.users.entry(facts.user).or_default();
        user.turns.join(facts.build);
        let lane = user.builds.entry(facts.build).or_default().lanes.entry(class).or_default();
        lane.jobs.insert(rank, Entry { job, company: facts.batch.size });
        if facts.batch.size <= 1 {
            lane.ripe.insert(rank);
        }
    }

    /// The job's wait for company is over.
    pub(crate) fn ripen(&mut self, job: JobId) {
        let Some(place) = self.places.get(&job).copied() else { return };
        if let Some(lane) = self.lane_mut(&place) {
            lane.ripe.insert(place.rank);
        }
    }

    /// The job whose turn it is, among those whose class is `open`. It stays queued until it is served or removed.
    pub(crate) fn next(&self, which: Readiness, mut open: impl FnMut(ClassId) -> bool) -> Option<JobId> {
        self.turns.in_order().find_map(|user| {
            let user = self.users.get(&user)?;
            user.turns.in_order().find_map(|build| {
                let lanes = user.builds.get(&build)?.lanes.iter();
                // Asking the lane is cheaper than asking the fleet, so it is asked first.
                let heads = lanes.filter_map(|(&class, lane)| match which {
                    Readiness::Any => lane.head().filter(|_| open(class)),
                    Readiness::Ripe => lane.ripe_head().filter(|_| open(class)),
                });
                heads.min().map(|(_, job)| job)
            })
        })
    }

    /// Up to `most` jobs that may share a dispatch with this one: the next of its lane.
    pub(crate) fn company_of(&self, job: JobId, most: usize) -> Vec<JobId> {
        let Some(place) = self.places.get(&job) else { return Vec::new() };
        let lane = self.users.get(&place.user).and_then(|user| user.builds.get(&place.build)?.lanes.get(&place.class));
        let others = lane.into_iter().flat_map(|lane| lane.jobs.values()).map(|entry| entry.job);
        others.filter(|&other| other != job).take(most).collect()
    }

    /// Takes the job out because it got its turn: its user and build go to the end of their lines.
    pub(crate) fn serve(&mut self, job: JobId) {
        let Some(place) = self.places.get(&job).copied() else { return };
        self.turns.served(place.user);
        if let Some(user) = self.users.get_mut(&place.user) {
            user.turns.served(place.build);
        }
        self.remove(job);
    }

    /// Takes the job out without its having had a turn.
    pub(crate) fn remove(&mut self, job: JobId) {
        let Some(place) = self.places.remove(&job) else { return };
        let Some(user) = self.users.get_mut(&place.user) else { return };
        let Some(build) = user.builds.get_mut(&place.build) else { return };
        if let Some(lane) = build.lanes.get_mut(&place.class) {
            lane.jobs.remove(&place.rank);
            lane.ripe.remove(&place.rank);
            if lane.jobs.is_empty() {
                build.lanes.remove(&place.class);
            }
        }
        if build.lanes.is_empty() {
            user.builds.remove(&place.build);
            user.turns.leave(place.build);
        }
        if user.builds.is_empty() {
            self.users.remove(&place.user);
            self.turns.leave(place.user);
        }
    }

    /// Every waiting job, in the order of their ids.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.places.keys().copied()
    }

    /// The waiting jobs of one class, in no order that means anything but always the same.
    pub(crate) fn of_class(&self, class: ClassId) -> Vec<JobId> {
        let builds = self.users.values().flat_map(|user| user.builds.values());
        let lanes = builds.filter_map(|build| build.lanes.get(&class));
        lanes.flat_map(|lane| lane.jobs.values()).map(|entry| entry.job).collect()
    }

    fn lane_mut(&mut self, place: &Place) -> Option<&mut Lane> {
        self.users.get_mut(&place.user)?.builds.get_mut(&place.build)?.lanes.get_mut(&place.class)
    }
}
