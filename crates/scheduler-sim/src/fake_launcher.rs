//! A launcher that submits jobs, asks again when its link breaks, takes some back, and may die.

use std::collections::BTreeMap;
use std::time::Duration;

use model::ids::{BuildId, DirKey, JobId, OutputKey, ToolchainKey, UserId};
use model::job::{BatchHint, JobFacts, JobKind};
use scheduler_core::SubmittedJob;

use crate::messages::{Answer, LauncherSays};
use crate::network::LinkId;
use crate::rng::Rng;

#[derive(Debug)]
struct Wanted {
    facts: JobFacts,
    /// It was submitted before, and is known to somebody perhaps.
    submitted: bool,
    /// That was so when it was submitted last.
    resubmitted: bool,
    /// The server told it to come again.
    waits: bool,
}

/// One launcher; its jobs belong to one build.
#[derive(Debug)]
pub(crate) struct FakeLauncher {
    user: UserId,
    build: BuildId,
    pub(crate) link: Option<LinkId>,
    /// Neither answered nor taken back.
    wanted: BTreeMap<JobId, Wanted>,
    /// Jobs still to be thought of.
    to_come: u64,
    pub(crate) is_dead: bool,
}

impl FakeLauncher {
    pub(crate) fn new(rng: &mut Rng, to_come: u64) -> Self {
        let user = UserId::new(u32::try_from(rng.between(1, 3)).unwrap_or(1));
        let build = BuildId::new(rng.between(1, 4));
        Self { user, build, link: None, wanted: BTreeMap::new(), to_come, is_dead: false }
    }

    /// Thinks of some more jobs. The new ones that cannot be repeated are among those returned.
    pub(crate) fn think(&mut self, rng: &mut Rng) -> Vec<JobId> {
        let size = rng.between(1, 6).min(self.to_come);
        self.to_come -= size;
        let mut unrepeatable = Vec::new();
        for _ in 0..size {
            let (id, facts) = (JobId::from_bytes(rng.bytes()), self.some_job(rng));
            if !facts.repeatable {
                unrepeatable.push(id);
            }
            self.wanted.insert(id, Wanted { facts, submitted: false, resubmitted: false, waits: false });
        }
        unrepeatable
    }

    pub(crate) fn has_more_to_come(&self) -> bool {
        self.to_come > 0 && !self.is_dead
    }

    /// On a new link: everything that is wanted.
    pub(crate) fn on_connected(&mut self, link: LinkId) -> Option<LauncherSays> {
        self.link = Some(link);
        self.submit(|_, _| true)
    }

    /// What was thought of since the last time.
    pub(crate) fn submit_new(&mut self) -> Option<LauncherSays> {
        self.submit(|_, wanted| !wanted.submitted && !wanted.waits)
    }

    /// The server has forgotten the job: what it was when it was submitted, it is again.
    pub(crate) fn on_wait(&mut self, job: JobId) {
        if let Some(wanted) = self.wanted.get_mut(&job) {
            (wanted.submitted, wanted.waits) = (wanted.resubmitted, true);
        }
    }

    /// It has waited long enough on this link.
    pub(crate) fn come_again(&mut self, link: LinkId, job: JobId) -> Option<LauncherSays> {
        if self.link != Some(link) {
            return None;
        }
        self.submit(|id, wanted| id == job && wanted.waits)
    }

    fn submit(&mut self, which: impl Fn(JobId, &Wanted) -> bool) -> Option<LauncherSays> {
        let mut jobs = Vec::new();
        for (&id, wanted) in self.wanted.iter_mut().filter(|(id, wanted)| which(**id, wanted)) {
            let resubmitted = std::mem::replace(&mut wanted.submitted, true);
            (wanted.resubmitted, wanted.waits) = (resubmitted, false);
            jobs.push(SubmittedJob { id, facts: wanted.facts.clone(), resubmitted });
        }
        (!jobs.is_empty()).then_some(LauncherSays::Submit(jobs))
    }

    /// Takes some of its jobs back.
    pub(crate) fn change_mind(&mut self, rng: &mut Rng) -> Option<LauncherSays> {
        let jobs: Vec<_> = self.wanted.keys().copied().filter(|_| rng.percent(30)).collect();
        jobs.iter().for_each(|job| drop(self.wanted.remove(job)));
        (!jobs.is_empty()).then_some(LauncherSays::Cancel(jobs))
    }

    /// The answer is for a job that it still wants.
    pub(crate) fn on_answer(&mut self, answer: &Answer) -> bool {
        self.wanted.remove(&answer.job()).is_some()
    }

    pub(crate) fn die(&mut self) {
        self.is_dead = true;
        self.wanted.clear();
    }

    pub(crate) fn unanswered(&self) -> Vec<JobId> {
        self.wanted.keys().copied().collect()
    }

    fn some_job(&self, rng: &mut Rng) -> JobFacts {
        let kind = rng.pick(&JobKind::ALL).unwrap_or(JobKind::Compile);
        let batch = BatchHint { size: u32::try_from(rng.between(1, MAX_BATCH)).unwrap_or(1), timeout: SOON };
        let dirs = (0..rng.between(0, 3)).map(|_| DirKey::new(rng.between(0, 9))).collect();
        let output = |rng: &mut Rng| OutputKey::new(rng.between(0, 20));
        JobFacts {
            kind: if rng.percent(60) { JobKind::Compile } else { kind },
            cpu_class: None,
            toolchain: rng.percent(80).then(|| ToolchainKey::new(rng.between(1, 2))),
            mounts: if rng.percent(10) { vec![DirKey::new(100)] } else { vec![] },
            dirs,
            input_bytes: rng.between(0, 3),
            output: rng.percent(70).then(|| output(rng)),
            inputs: (0..rng.between(0, 3)).map(|_| output(rng)).collect(),
            batch: if rng.percent(30) { batch } else { BatchHint::default() },
            repeatable: !rng.percent(10),
            ..JobFacts::new(self.user, self.build, JobKind::Compile)
        }
    }
}

/// The largest batch that any job asks for.
pub(crate) const MAX_BATCH: u64 = 4;
const SOON: Duration = Duration::from_millis(100);
