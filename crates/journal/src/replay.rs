//! Living through a journal again.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use model::ids::{DirKey, JobId, WorkerId, fnv1a};
use model::time::Timestamp;
use scheduler_core::{Action, Config, ConfigError, HistoryEntry, Input, Scheduler};

use crate::codec::{Bytes, Record, Undecodable};
use crate::writer::digest;
use crate::{HEADER, MAX_PAYLOAD, chain};

/// A journal that was replayed, every step with the same orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Steps taken.
    pub steps: u64,
    /// Orders given, all the same as recorded.
    pub actions: u64,
    /// The time of the last step.
    pub lasted: Timestamp,
    /// Attempts that were sent to workers.
    pub sent: u64,
    /// Those of them whose worker had been sent a job with the same output directory before.
    pub warm: u64,
    /// The journal ends in the middle of a step: whoever wrote it died.
    pub is_torn: bool,
}

/// Why a journal was not replayed to its end. Steps count from 1; the settings and the history are step 0.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("cannot read the journal: {0}")]
    Unreadable(#[from] io::Error),
    /// It begins with something else, or is of another version.
    #[error("this is no journal of version 8")]
    NotAJournal,
    /// Its bytes are not those that were written.
    #[error("step {step} is damaged: its bytes are not those that were written")]
    Damaged {
        /// Which.
        step: u64,
    },
    /// It was written with settings that this scheduler does not take.
    #[error("the settings are impossible: {0}")]
    Settings(ConfigError),
    /// Time runs backwards.
    #[error("step {step} is before the one before it")]
    Backwards {
        /// Which.
        step: u64,
    },
    /// The scheduler did something else this time: it is another version, or not deterministic.
    #[error("step {step} at {} us went another way: {input:?} now leads to {actions:?}", now.as_micros())]
    Diverged {
        /// Which.
        step: u64,
        /// When.
        now: Timestamp,
        /// What it was told.
        input: Box<Input>,
        /// What it ordered now.
        actions: Vec<Action>,
    },
}

/// Replays a journal; checks the scheduler's invariants as well.
///
/// # Errors
/// The first step that is damaged or ends otherwise than recorded.
///
/// # Panics
/// If an invariant is broken: that is the bug one is looking for.
pub fn replay(journal: impl Read) -> Result<Replayed, ReplayError> {
    let mut frames = Frames::open(journal)?;
    let mut replayed = Replayed::default();
    let Some(settings) = frames.next(0)? else { return Err(ReplayError::NotAJournal) };
    let config = whole::<Config>(&settings).map_err(|_| ReplayError::Damaged { step: 0 })?;
    let mut scheduler = Scheduler::new(config).map_err(ReplayError::Settings)?;
    let Some(history) = frames.next(0)? else {
        return Ok(Replayed { is_torn: frames.is_torn, ..replayed });
    };
    let history = whole::<Vec<HistoryEntry>>(&history).map_err(|_| ReplayError::Damaged { step: 0 })?;
    scheduler.import_history(&history);
    let mut traces = Traces::default();
    while let Some(payload) = frames.next(replayed.steps + 1)? {
        let step = replayed.steps + 1;
        let Recorded { now, input, expected } = Recorded::read(&payload).map_err(|_| ReplayError::Damaged { step })?;
        if now < replayed.lasted {
            return Err(ReplayError::Backwards { step });
        }
        let mut actions = Vec::new();
        scheduler.step(now, input.clone(), &mut actions);
        scheduler.check_invariants();
        if digest(&actions) != expected {
            return Err(ReplayError::Diverged { step, now, input: Box::new(input), actions });
        }
        traces.follow(&input, &actions);
        replayed = Replayed { steps: step, actions: replayed.actions + actions.len() as u64, lasted: now, ..replayed };
    }
    (replayed.sent, replayed.warm) = (traces.sent, traces.warm);
    Ok(Replayed { is_torn: frames.is_torn, ..replayed })
}

/// Which worker was sent to write into which directory.
#[derive(Default)]
struct Traces {
    dirs: HashMap<JobId, DirKey>,
    written: HashSet<(WorkerId, DirKey)>,
    sent: u64,
    warm: u64,
}

impl Traces {
    fn follow(&mut self, input: &Input, actions: &[Action]) {
        if let Input::JobsSubmitted { jobs, .. } = input {
            let dirs = jobs.iter().filter_map(|job| Some((job.id, *job.facts.dirs.first()?)));
            self.dirs.extend(dirs);
        }
        for action in actions {
            let Action::Assign { worker, attempts, .. } = action else { continue };
            for attempt in attempts {
                let Some(&dir) = self.dirs.get(&attempt.job) else { continue };
                self.sent += 1;
                self.warm += u64::from(!self.written.insert((*worker, dir)));
            }
        }
    }
}

struct Recorded {
    now: Timestamp,
    input: Input,
    expected: u64,
}

impl Recorded {
    fn read(payload: &[u8]) -> Result<Self, Undecodable> {
        let (body, expected) = payload.split_last_chunk::<8>().ok_or(Undecodable)?;
        let mut from = Bytes(body);
        let (now, input) = (Record::get(&mut from)?, Record::get(&mut from)?);
        if !from.0.is_empty() {
            return Err(Undecodable);
        }
        Ok(Self { now, input, expected: u64::from_le_bytes(*expected) })
    }
}

pub(crate) fn whole<T: Record>(bytes: &[u8]) -> Result<T, Undecodable> {
    let mut from = Bytes(bytes);
    let value = T::get(&mut from)?;
    if from.0.is_empty() { Ok(value) } else { Err(Undecodable) }
}

/// The frames of a journal, each checked against those before it.
struct Frames<R> {
    from: R,
    digest: u64,
    is_torn: bool,
}

impl<R: Read> Frames<R> {
    fn open(mut from: R) -> Result<Self, ReplayError> {
        let mut header = [0; HEADER.len()];
        match from.read_exact(&mut header) {
            Ok(()) if header == HEADER => Ok(Self { from, digest: fnv1a(HEADER), is_torn: false }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(ReplayError::NotAJournal),
        }
    }

    /// The next payload; nothing at the end, be it in the middle of a frame.
    fn next(&mut self, step: u64) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut head = Vec::new();
        self.from.by_ref().take(12).read_to_end(&mut head)?;
        let Some((length, recorded)) = split(&head) else {
            self.is_torn = !head.is_empty();
            return Ok(None);
        };
        if length > MAX_PAYLOAD {
            return Err(ReplayError::Damaged { step });
        }
        let mut payload = Vec::new();
        self.from.by_ref().take(u64::from(length)).read_to_end(&mut payload)?;
        if payload.len() < length as usize {
            self.is_torn = true;
            return Ok(None);
        }
        self.digest = chain(self.digest, &payload);
        if self.digest != recorded {
            return Err(ReplayError::Damaged { step });
        }
        Ok(Some(payload))
    }
}

fn split(head: &[u8]) -> Option<(u32, u64)> {
    let (length, rest) = head.split_first_chunk::<4>()?;
    let (digest, _) = rest.split_first_chunk::<8>()?;
    Some((u32::from_le_bytes(*length), u64::from_le_bytes(*digest)))
}
