//! The lanes of one build, and whose turn it is among their first jobs.

use alloc::vec::Vec;

use model::ids::JobId;
use model::time::Timestamp;

use super::lane::{Lane, Rank, Standing};
use super::opening::{Open, OpenParts, Readiness};
use crate::workers::ClassId;

/// Lanes of a build that may be closed one after the other before all are asked.
const FEW_CLOSED: usize = 4;

/// The first job of a lane that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    rank: Rank,
    job: JobId,
    class: ClassId,
}

/// The first of the lanes' heads by rank, and when the oldest job came: copies, because every decision asks for them,
/// and there are many lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heads {
    any: Option<Head>,
    ripe: Option<Head>,
    oldest: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Build {
    /// In the order of their classes, side by side.
    lanes: Vec<(ClassId, Lane)>,
    open_lanes: OpenParts,
    heads: Heads,
    /// Jobs in the lanes.
    pub(crate) waiting: u32,
    /// Jobs that have had their turn, and are at workers.
    pub(crate) held: u32,
}

impl Build {
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.held == 0
    }

    /// What of it may go.
    pub(crate) fn open(&self) -> Open {
        self.open_lanes.open()
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (ClassId, &Lane)> {
        self.lanes.iter().map(|&(class, ref lane)| (class, lane))
    }

    pub(crate) fn lane(&self, class: ClassId) -> Option<&Lane> {
        self.find(class).ok().map(|at| &self.lanes[at].1)
    }

    /// Changes a lane. If that changes what of the build may go: what it was, and is.
    pub(crate) fn change_lane(&mut self, class: ClassId, change: impl FnOnce(&mut Lane)) -> Option<(Open, Open)> {
        let at = self.find(class).unwrap_or_else(|at| {
            self.lanes.insert(at, (class, Lane::default()));
            at
        });
        let (_, lane) = &mut self.lanes[at];
        let (lane_was, oldest_was) = (lane.open(), lane.oldest());
        change(lane);
        let (lane_is, oldest_is) = (lane.open(), lane.oldest());
        let heads = [Readiness::Any, Readiness::Ripe].map(|which| head(class, lane, which));
        if lane.is_empty() {
            self.lanes.remove(at);
        }
        self.note_head(Readiness::Any, class, heads[0]);
        self.note_head(Readiness::Ripe, class, heads[1]);
        self.note_oldest(oldest_was, oldest_is);
        let was = self.open_lanes.open();
        self.open_lanes.replace(lane_was, lane_is);
        let is = self.open_lanes.open();
        (was != is).then_some((was, is))
    }

    /// The job whose turn it is, among the first ones of their lanes that are `open`.
    pub(crate) fn next(
        &self,
        which: Readiness,
        overdue: Timestamp,
        mut open: impl FnMut(ClassId, JobId) -> bool,
    ) -> Option<(JobId, ClassId)> {
        let mut passed = None;
        if self.heads.oldest.is_none_or(|oldest| oldest >= overdue) {
            // Rank alone decides, and who is the first by rank is known.
            let Head { rank, job, class } = self.heads.get(which)?;
            if open(class, job) {
                return Some((job, class));
            }
            passed = Some(Standing::InTime(rank));
        }
        self.next_behind(passed, which, overdue, open)
    }

    /// The same when nobody but the ones behind this is to be asked.
    fn next_behind(
        &self,
        mut passed: Option<Standing>,
        which: Readiness,
        overdue: Timestamp,
        mut open: impl FnMut(ClassId, JobId) -> bool,
    ) -> Option<(JobId, ClassId)> {
        let heads = || {
            let head = |&(class, ref lane): &(ClassId, Lane)| {
                let (standing, job) = lane.next(which, overdue)?;
                Some((standing, job, class))
            };
            self.lanes.iter().filter_map(head)
        };
        // Asking lanes is cheaper than asking the fleet: mostly the first one that is asked for is open.
        for _ in usize::from(passed.is_some())..FEW_CLOSED {
            let behind = heads().filter(|(standing, ..)| passed.is_none_or(|passed| *standing > passed));
            let (standing, job, class): (Standing, JobId, ClassId) = behind.min_by_key(|&(standing, ..)| standing)?;
            if open(class, job) {
                return Some((job, class));
            }
            passed = Some(standing);
        }
        heads().filter(|&(_, job, class)| open(class, job)).min().map(|(_, job, class)| (job, class))
    }

    /// The head of this lane is now this one.
    fn note_head(&mut self, which: Readiness, class: ClassId, head: Option<Head>) {
        let first = self.heads.get(which);
        let is_first = head.is_some_and(|head| first.is_none_or(|first| head.rank <= first.rank));
        if is_first {
            *self.heads.get_mut(which) = head;
        } else if first.is_some_and(|first| first.class == class && head != Some(first)) {
            *self.heads.get_mut(which) = self.first_head(which);
        }
    }

    fn note_oldest(&mut self, was: Option<Timestamp>, is: Option<Timestamp>) {
        if was == is {
            return;
        }
        let oldest = self.heads.oldest;
        if is.is_some_and(|is| oldest.is_none_or(|oldest| is <= oldest)) {
            self.heads.oldest = is;
        } else if was == oldest {
            self.heads.oldest = self.oldest();
        }
    }

    fn first_head(&self, which: Readiness) -> Option<Head> {
        let heads = self.lanes.iter().filter_map(|&(class, ref lane)| head(class, lane, which));
        heads.min_by_key(|head| head.rank)
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|(_, lane)| lane.oldest()).min()
    }

    /// Where the lane of the class is, or would be.
    fn find(&self, class: ClassId) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&class, |&(of, _)| of)
    }

    /// What is kept beside the lanes is what they say.
    pub(crate) fn check(&self) {
        assert!(self.lanes.is_sorted_by(|(class, _), (next, _)| class < next), "lanes in order, each once");
        let lanes = || self.lanes.iter().map(|(_, lane)| lane);
        lanes().for_each(Lane::check);
        assert_eq!(OpenParts::of(lanes().map(Lane::open)), self.open_lanes, "open lanes");
        let [any, ripe] = [Readiness::Any, Readiness::Ripe].map(|which| self.first_head(which));
        assert_eq!(Heads { any, ripe, oldest: self.oldest() }, self.heads, "the first jobs of a build");
    }
}

impl Heads {
    fn get(&self, which: Readiness) -> Option<Head> {
        match which {
            Readiness::Any => self.any,
            Readiness::Ripe => self.ripe,
        }
    }

    fn get_mut(&mut self, which: Readiness) -> &mut Option<Head> {
        match which {
            Readiness::Any => &mut self.any,
            Readiness::Ripe => &mut self.ripe,
        }
    }
}

fn head(class: ClassId, lane: &Lane, which: Readiness) -> Option<Head> {
    let (rank, job) = lane.first_in_time(which)?;
    Some(Head { rank, job, class })
}
