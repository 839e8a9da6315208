//! Who gets what: idle slots first, then prefetch and batches, then taking back for slots that stay idle.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{Attempt, DirKey, JobId, WorkerId};
use model::job::JobKind;

use crate::action::Action;
use crate::explain::{Placement, PlacementKind};
use crate::input::Commit;
use crate::jobs::{Job, JobState, Turn};
use crate::patience::Patient;
use crate::placement::{self, Candidate};
use crate::queue::{Asking, Place, Readiness};
use crate::scheduler::Scheduler;
use crate::timers::Timer;
use crate::workers::{ClassId, Demand, Group, Worker};

/// Candidates laid before the ranking for their room, of each group of workers.
const MAX_ROOMY: usize = 8;
/// The same for their warmth.
const MAX_WARM: usize = 16;
/// Directories of a job that are asked for warm workers.
const MAX_DIRS: usize = 4;
/// Warm workers looked at for one directory, and workers with room for one memory need, busy ones included.
pub(crate) const MAX_LOOKS: usize = 64;
/// Eighths of an octave by which a worker must be slower than the fastest to be no place for a long job.
const SLOW: i8 = 1;
/// What a job must lose on a slow worker not to be sent ahead to it: much more than the round trip that it saves.
const LONG_WAIT: Duration = Duration::from_millis(500);
/// How long nothing is sent ahead when the workers with room are no place for the job whose turn it is, unless one more
/// gets room: asking again at every step would cost more than what is sent ahead saves.
const AHEAD_PAUSE: Duration = Duration::from_millis(5);
/// With no more idle workers than this, those that are warm are among them anyway.
const FEW_IDLE: usize = MAX_ROOMY;

/// What becomes of the job whose turn it is.
enum Match {
    /// This one goes, there.
    With(JobId, (WorkerId, Placement)),
    /// It waits for a faster worker, and nobody goes instead.
    Later,
}

/// What goes to each worker in this step, in one message; in the order of the workers.
pub(crate) type Sending = Vec<(WorkerId, Vec<Attempt>)>;

impl Scheduler {
    /// Whether jobs that came at the same time are kept back until they are together.
    pub(crate) fn is_gathering(&self) -> bool {
        self.timers.is_set(Timer::Gathered)
    }

    /// Gives out what can be given out. Afterwards no job waits that a worker with an idle slot could take, unless more
    /// like it are expected within [`crate::Config::gather`].
    pub(crate) fn place_ready_jobs(&mut self, out: &mut Vec<Action>) {
        if self.is_gathering() {
            // What workers have got room for meanwhile is not to be forgotten.
            self.reopen_by_room();
            return;
        }
        let mut sending = core::mem::take(&mut self.sending);
        self.fill_idle_slots(&mut sending);
        while self.let_go_of_kept() {
            self.fill_idle_slots(&mut sending);
        }
        self.send_ahead(&mut sending);
        let assign = |(worker, attempts)| Action::Assign { worker, attempts, commit: Commit::WhenDone };
        out.extend(sending.drain(..).map(assign));
        self.sending = sending;
        self.recall_for_idle_slots(out);
    }

    pub(crate) fn enqueue(&mut self, id: JobId, in_front: bool) {
        self.jobs.move_to(id, JobState::Waiting);
        self.push_to_queue(id, in_front);
    }

    pub(crate) fn push_to_queue(&mut self, id: JobId, in_front: bool) {
        let Some(asking) = self.jobs.get(id).and_then(|job| self.asking(job, in_front)) else { return };
        let place = self.push(id, asking);
        if let Some(job) = self.jobs.get_mut(id) {
            job.place = Some(place);
        }
    }

    /// Queues a job that is new: nothing of it is anywhere, and nobody knows it yet.
    pub(crate) fn queue_new(&mut self, id: JobId, job: &mut Job) {
        if let Some(asking) = self.asking(job, false) {
            job.line_up(self.push(id, asking));
        }
    }

    fn push(&mut self, id: JobId, asking: Asking) -> Place {
        if let Some(timeout) = asking.patience() {
            self.timers.set(Timer::Company(id), self.now + timeout);
        }
        if asking.memory > 0 && !self.timers.is_set(Timer::Ageing) {
            self.timers.set(Timer::Ageing, self.now + self.config.ageing);
        }
        self.queue.push(id, asking)
    }

    fn asking(&self, job: &Job, in_front: bool) -> Option<Asking> {
        let (class, facts) = (job.class?, &job.facts);
        Some(Asking {
            user: facts.user,
            build: facts.build,
            kind: facts.kind,
            priority: facts.priority,
            class,
            memory: self.classes.memory(class),
            expected: job.prediction.duration,
            tail: job.prediction.tail,
            dir: facts.dirs.first().copied(),
            company: if self.config.prefetch > 0 { facts.batch.size } else { 1 },
            timeout: facts.batch.timeout,
            since: job.arrived,
            in_front,
        })
    }

    /// Where the job stands in the queue.
    pub(crate) fn place_of(&self, id: JobId) -> Option<Place> {
        self.jobs.get(id).and_then(|job| job.place)
    }

    /// Takes a job out of the queue, if it is there, without giving it to anybody.
    pub(crate) fn unqueue(&mut self, id: JobId) {
        self.clear_company(id);
        if let Some(place) = self.jobs.get_mut(id).and_then(|job| job.place.take()) {
            self.queue.remove(place);
        }
    }

    fn clear_company(&mut self, id: JobId) {
        if self.jobs.get(id).is_some_and(|job| job.facts.batch.size > 1) {
            self.timers.clear(Timer::Company(id));
        }
    }

    fn fill_idle_slots(&mut self, sending: &mut Sending) {
        // A class that found nobody idle finds nobody for the rest of the step.
        let mut refused = BTreeSet::new();
        let mut patient = Patient::default();
        self.reopen_by_gains();
        let may = |it: &Self| it.workers.idle() > 0 || !it.kept.is_empty();
        while may(self) && self.has_memory_for_any(Readiness::Any) {
            let Some((first, taker)) = self.whose_turn(Readiness::Any, &mut refused, &patient) else { break };
            let (id, best) = match self.match_up(first, taker, !patient.is_full()) {
                Some(Match::With(id, best)) => (id, best),
                Some(Match::Later) => {
                    self.wait_for_faster(first, &mut patient);
                    continue;
                }
                None => break,
            };
            self.assign(id, best.0, best.1, sending);
            if best.1.kind == PlacementKind::KeptFree {
                // The worker is there for everybody again.
                refused.clear();
                self.reopen_by_gains();
            }
        }
    }

    /// Prefetch: sends workers more than they can start, so that a slot that falls free need not ask.
    fn send_ahead(&mut self, sending: &mut Sending) {
        let mut refused = BTreeSet::new();
        while self.workers.roomy() > 0 && self.now >= self.ahead_again && self.has_memory_for_any(Readiness::Ripe) {
            let Some((first, roomiest)) = self.whose_turn(Readiness::Ripe, &mut refused, &Patient::default()) else {
                break;
            };
            let Some((first, worker)) = self.place_ahead(first, roomiest) else {
                // It need not go yet, for no slot is idle, nor need what is behind it, which may be very much.
                self.ahead_again = self.now + AHEAD_PAUSE;
                break;
            };
            let id = self.suited_like(first, worker);
            let Some(job) = self.jobs.get(id) else { break };
            let (Some(class), size) = (job.class, job.facts.batch.size.max(1)) else { break };
            let room = self.room_for_batch(worker, class, size);
            let company = match self.place_of(id).filter(|_| room > 1) {
                Some(place) => self.queue.company_of(id, &place, room - 1),
                None => Vec::new(),
            };
            let placement = Placement { kind: PlacementKind::AheadOfSlots, ..Placement::default() };
            self.assign(id, worker, placement, sending);
            let placement = Placement { kind: PlacementKind::Company, ..placement };
            company.into_iter().for_each(|other| self.assign(other, worker, placement, sending));
        }
    }

    /// Some worker that could start a job of this class at once.
    pub(crate) fn first_idle(&self, class: ClassId) -> Option<WorkerId> {
        let kept = self.classes.kept(class).filter(|&worker| self.could_start(class, worker));
        let demand = self.classes.demand(class)?;
        kept.or_else(|| self.classes.groups(class, &self.workers).find_map(|group| group.first_idle(demand)))
    }

    pub(crate) fn could_start(&self, class: ClassId, worker: WorkerId) -> bool {
        self.classes.could_start(class, worker, &self.workers)
    }

    /// The worker with least to do for its size that may be sent a job of this class ahead.
    pub(crate) fn first_roomy(&self, class: ClassId) -> Option<WorkerId> {
        let demand = self.classes.demand(class)?;
        let firsts = self.classes.groups(class, &self.workers).filter_map(|group| {
            // Only a search among the first: it is no loss when nobody is found.
            group.roomy().take(MAX_LOOKS).find(|&(_, worker)| self.fits(demand, worker))
        });
        firsts.min().map(|(_, worker)| worker)
    }

    /// Whom to send this job ahead, or a shorter one in its place: a job that loses much on a slow worker waits for a
    /// faster one. Nobody while the job is so long that a round trip is nothing beside it: it had better go to whoever has
    /// a slot first, and what is behind it would only lie behind others like it.
    fn place_ahead(&self, first: JobId, roomiest: WorkerId) -> Option<(JobId, WorkerId)> {
        let is_well_off = |job: &Job, worker| self.loss(job, worker).is_none_or(|loss| loss < LONG_WAIT);
        let job = self.jobs.get(first)?;
        let longest = self.workers.get(roomiest)?.pace.longest_ahead();
        if job.facts.batch.size <= 1 && job.prediction.duration > longest {
            return None;
        }
        if is_well_off(job, roomiest) {
            return Some((first, roomiest));
        }
        let instead = self.shorter_than_half_of(job)?;
        is_well_off(self.jobs.get(instead)?, roomiest).then_some((instead, roomiest))
    }

    pub(crate) fn fits(&self, demand: &Demand, worker: WorkerId) -> bool {
        let has_memory = || self.workers.get(worker).is_some_and(|worker| worker.free_memory() >= demand.memory);
        demand.avoid.binary_search(&worker).is_err() && (demand.memory == 0 || has_memory())
    }

    /// How many jobs of a batch of this size may go to a worker that has room for at least one.
    fn room_for_batch(&self, worker: WorkerId, class: ClassId, size: u32) -> usize {
        let Some(worker) = self.workers.get(worker) else { return 0 };
        let limit = worker.slots().saturating_add(self.config.prefetch.max(size));
        let room = limit.saturating_sub(worker.held()).min(size) as usize;
        match worker.free_memory().checked_div(self.classes.memory(class)) {
            Some(fit) => room.min(usize::try_from(fit).unwrap_or(usize::MAX)),
            None => room,
        }
    }

    /// The job whose turn it is, or another that suits the idle slot better; and its place. The taker is one of the workers
    /// that could start it.
    fn match_up(&self, first: JobId, taker: WorkerId, may_wait: bool) -> Option<Match> {
        let job = self.jobs.get(first)?;
        let is_alone = self.workers.idle() == 1 && self.classes.kept(job.class?).is_none();
        // Where there is nobody to compare the worker with, why it is the best need not be known before it has the job.
        let compared = if is_alone { None } else { Some(self.best_idle(job, |_| true)?) };
        let worker = compared.map_or(taker, |(best, _)| best);
        let placed = || compared.or_else(|| self.only_idle(job, worker));
        let loss = if may_wait || self.workers.idle() <= 1 { self.loss(job, worker) } else { None };
        if let Some(loss) = loss.filter(|&loss| may_wait && self.is_patient_for(job, loss)) {
            return self.match_up_patiently(first, job, placed, loss);
        }
        if self.workers.idle() > 1 {
            return Some(Match::With(first, placed()?));
        }
        let spared = loss.and_then(|_| self.shorter_than_half_of(job)).unwrap_or(first);
        let chosen = self.suited_like(spared, worker);
        let placement = Placement { out_of_turn: chosen != first, ..placed()?.1 };
        Some(Match::With(chosen, (worker, placement)))
    }

    fn match_up_patiently(
        &self,
        first: JobId,
        job: &Job,
        placed: impl Fn() -> Option<(WorkerId, Placement)>,
        loss: Duration,
    ) -> Option<Match> {
        // It had other reasons to be the best than to be fast, if there were others.
        let is_fast = |worker| !self.is_patient(job, worker);
        if self.workers.idle() > 1
            && let Some(faster) = self.best_idle(job, is_fast)
        {
            return Some(Match::With(first, faster));
        }
        let Some(other) = self.instead_of_patient(job, loss) else { return Some(Match::Later) };
        let (worker, placement) = placed()?;
        Some(Match::With(other, (worker, Placement { out_of_turn: true, ..placement })))
    }

    /// What a job loses on a worker that is slow, compared with the fastest that could take it: none if it has waited for
    /// that for as long as it gains by it.
    pub(crate) fn loss(&self, job: &Job, worker: WorkerId) -> Option<Duration> {
        let able = self.classes.groups(job.class?, &self.workers);
        let fastest = able.filter_map(Group::fastest).min()?;
        let pace = &self.workers.get(worker).filter(|worker| worker.pace.eighths_slow() > fastest + SLOW)?.pace;
        let loss = pace.loss_against(fastest, job.prediction.duration);
        let waited = self.now.as_micros().saturating_sub(job.arrived.as_micros());
        (waited.saturating_mul(2) < loss).then(|| Duration::from_micros(loss))
    }

    /// A job that is half as long: if the worker is slow and this one shall go to a faster one, it waits for that as
    /// long as it gains by it, and the slot does not.
    fn shorter_than_half_of(&self, job: &Job) -> Option<JobId> {
        self.queue.shorter_than(&job.place?, job.prediction.duration / 2, self.now)
    }

    /// This job, or an equal of it that suits the worker better: one that does not crowd its output directory, then one
    /// for whose the worker is warm, then the first.
    fn suited_like(&self, first: JobId, worker: WorkerId) -> JobId {
        if self.config.look_ahead == 0 {
            return first;
        }
        let Some(job) = self.jobs.get(first) else { return first };
        let (Some(place), dir) = (job.place, job.facts.dirs.first().copied()) else { return first };
        let is_warm = self.affinity.warmth_of(worker);
        let is_cold = |dir: Option<DirKey>| dir.is_some_and(|dir| !is_warm(dir));
        let mut best = ((self.crowds(dir, worker), is_cold(dir)), first);
        // Nobody else is looked for before it is known that this one does not suit.
        if best.0 == (false, false) {
            return first;
        }
        for (id, dir) in self.queue.equals_of(&place, self.config.look_ahead, self.now) {
            let is_cold = is_cold(dir);
            if best.0 <= (false, is_cold) {
                continue; // It could not be better, so nobody need look whether it crowds.
            }
            let suits = (self.crowds(dir, worker), is_cold);
            if suits < best.0 {
                best = (suits, id);
            }
            if suits == (false, false) {
                break;
            }
        }
        best.1
    }

    fn crowds(&self, dir: Option<DirKey>, worker: WorkerId) -> bool {
        let most = self.config.writers_per_dir;
        most > 0 && dir.is_some_and(|dir| self.holdings.is_crowded(dir, most, worker))
    }

    /// The place of a job at the only worker with idle slots: there is nobody to compare it with.
    fn only_idle(&self, job: &Job, worker: WorkerId) -> Option<(WorkerId, Placement)> {
        let octaves_slow = self.workers.get(worker)?.pace.octaves_slow();
        let counts = !self.config.cold_directory.is_zero();
        let warmth = if counts { self.affinity.warmth(worker, &job.facts.dirs) } else { 0 };
        let kind = PlacementKind::IdleSlot;
        Some((worker, Placement { kind, candidates: 1, warmth, octaves_slow, out_of_turn: false }))
    }

    fn best_idle(&self, job: &Job, may: impl Fn(WorkerId) -> bool) -> Option<(WorkerId, Placement)> {
        let class = job.class?;
        if let Some(kept) = self.classes.kept(class).filter(|&worker| self.could_start(class, worker)) {
            return Some((kept, Placement { kind: PlacementKind::KeptFree, candidates: 1, ..Placement::default() }));
        }
        let demand = self.classes.demand(class)?;
        let mut candidates = Vec::new();
        for group in self.classes.groups(class, &self.workers) {
            let idle = group.idle().take(MAX_LOOKS).filter(|&worker| self.fits(demand, worker)).take(MAX_ROOMY);
            candidates.extend(idle);
            if demand.memory > 0 {
                candidates.extend(group.by_free_memory(demand).take(MAX_ROOMY));
            }
        }
        if self.workers.idle() > FEW_IDLE {
            let by_dir = job.facts.dirs.iter().take(MAX_DIRS);
            let warm = by_dir.flat_map(|&dir| self.affinity.warm_for(dir).take(MAX_LOOKS));
            candidates.extend(warm.filter(|&worker| self.could_start(class, worker)).take(MAX_WARM));
        }
        // Who is found in several lists is compared once.
        candidates.sort_unstable();
        candidates.dedup();
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let candidates = candidates.into_iter().filter(|&worker| may(worker));
        let candidates = candidates.filter_map(|worker| self.candidate(job, worker));
        let needs_memory = demand.memory > 0 || job.facts.kind == JobKind::Link;
        let best = placement::best(needs_memory, candidates)?;
        let placement = Placement {
            kind: PlacementKind::IdleSlot,
            candidates: count,
            warmth: best.warmth,
            octaves_slow: best.octaves_slow,
            out_of_turn: false,
        };
        Some((best.worker, placement))
    }

    pub(crate) fn candidate(&self, job: &Job, id: WorkerId) -> Option<Candidate> {
        let worker: &Worker = self.workers.get(id)?;
        let price = self.config.cold_directory;
        let counts = !price.is_zero();
        let missing = self.affinity.missing(id, &job.facts.dirs);
        let cold = price.saturating_mul(missing.count());
        let time = worker.pace.time_for(job.prediction.duration).saturating_add(cold);
        Some(Candidate {
            worker: id,
            crowds: self.crowds(job.facts.dirs.first().copied(), id),
            time,
            octaves_slow: worker.pace.octaves_slow(),
            warmth: if counts { missing.warmth(&job.facts.dirs) } else { 0 },
            idle: worker.idle(),
            foreign_load: worker.load.foreign_load_centi,
            memory: worker.headroom(),
        })
    }

    fn assign(&mut self, id: JobId, worker: WorkerId, placement: Placement, sending: &mut Sending) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Some(place) = job.place.take() else { return };
        if job.facts.batch.size > 1 {
            self.timers.clear(Timer::Company(id));
        }
        let charge = self.queue.serve(place);
        let missing = self.affinity.visit(worker, &job.facts.dirs);
        job.turn = Some(Turn { charge, began: self.now, started: false, missing });
        let attempt = job.send_to(worker, placement).attempt(id);
        let (class, dir) = (job.class, job.facts.dirs.first().copied());
        let memory = class.map_or(0, |class| self.classes.memory(class));
        let count = self.hold(worker, attempt, Commit::WhenDone, memory, dir);
        self.recount_to(worker, count);
        if let Some(class) = class.filter(|class| self.kept.get(class) == Some(&worker)) {
            self.stop_keeping(class);
        }
        match sending.binary_search_by_key(&worker, |&(other, _)| other) {
            Ok(place) => sending[place].1.push(attempt),
            Err(place) => sending.insert(place, (worker, vec![attempt])),
        }
    }
}
