//! What jobs took before, and so what they will take: by what they make, else by where they write, else by the size of
//! what they read. Memory is bounded: so many outputs and directories, the longest unused go first.

mod estimate;
mod readers;
mod recollections;

use alloc::vec::Vec;
use core::time::Duration;

use model::ids::{DirKey, OutputKey};
use model::job::{JobFacts, JobKind};

use estimate::{Estimate, Measured};
pub(crate) use estimate::{exp2, log2};
use readers::Reader;
use recollections::Recollections;

use crate::jobs::KeptFacts;

/// The longest duration that is believed: one measurement of a command that hung must not rule the queue.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What is expected of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// How long it runs.
    pub duration: Duration,
    /// Its peak memory in bytes; 0 when nobody knows.
    pub memory: u64,
    /// Whether the memory is known of this very output, and not guessed from others.
    pub memory_known: bool,
    /// What the prediction rests on.
    pub basis: Basis,
    /// How long those run that wait for its output, one after the other, by what earlier builds showed; zero when nobody
    /// is known to. Of several chains the longest.
    pub tail: Duration,
}

impl Prediction {
    /// From its start until the last one has ended that waits for it.
    #[must_use]
    pub fn way(&self) -> Duration {
        self.duration + self.tail
    }
}

/// What a prediction rests on, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// The same output was made before.
    Output,
    /// Jobs of its kind wrote to the same directory.
    Directory,
    /// Jobs of its kind with inputs of that size.
    Size,
    /// Nothing: a guess that grows with the inputs.
    Guess,
}

/// One remembered estimate, for keeping over a restart of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What it is about; a digest.
    pub key: u64,
    /// Expected duration; zero when unknown.
    pub duration: Duration,
    /// Expected peak memory in bytes; 0 when unknown.
    pub memory: u64,
    /// The key of who reads the output; 0 when unknown.
    pub reader: u64,
}

/// What of a job's facts tells what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    kind: JobKind,
    output: Option<OutputKey>,
    /// Where it writes.
    dir: Option<DirKey>,
    input_bytes: u64,
}

impl From<&JobFacts> for Subject {
    fn from(facts: &JobFacts) -> Self {
        let &JobFacts { kind, output, input_bytes, ref dirs, .. } = facts;
        Self { kind, output, dir: dirs.first().copied(), input_bytes }
    }
}

impl From<&KeptFacts> for Subject {
    fn from(facts: &KeptFacts) -> Self {
        let &KeptFacts { kind, output, input_bytes, ref dirs, .. } = facts;
        Self { kind, output, dir: dirs.first().copied(), input_bytes }
    }
}

/// Everything remembered.
#[derive(Debug)]
pub(crate) struct History {
    remembered: Recollections,
}

impl History {
    /// An empty memory of at most `capacity` estimates.
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        Self { remembered: Recollections::new(capacity, seed) }
    }

    pub(crate) fn predict(&self, subject: impl Into<Subject>) -> Prediction {
        self.predict_subject(subject.into())
    }

    fn predict_subject(&self, subject: Subject) -> Prediction {
        let (mut duration, mut memory, mut reader) = (None, None, None);
        for (key, basis) in keys(subject).iter() {
            let Some((estimate, its_reader)) = self.remembered.get(key) else { continue };
            // It is the first of them, if there is one.
            reader = if basis == Basis::Output { its_reader } else { reader };
            memory = memory.or(estimate.memory().map(|memory| (memory, basis)));
            duration = duration.or(estimate.duration().map(|duration| (duration, basis)));
            if memory.is_some() && duration.is_some() {
                break; // What is left is less telling.
            }
        }
        let (duration, basis) = duration.unwrap_or((guessed_duration(subject), Basis::Guess));
        let (memory, memory_basis) = memory.unwrap_or((guessed_memory(subject), Basis::Guess));
        let tail = self.tail(reader);
        Prediction { duration, memory, memory_known: memory_basis == Basis::Output, basis, tail }
    }

    /// What an attempt took; `None` where it was not measured or means nothing (a failed compile ends early).
    pub(crate) fn learn(&mut self, subject: impl Into<Subject>, duration: Option<Duration>, peak_memory: u64) {
        if duration.is_none_or(|it| it.is_zero()) && peak_memory == 0 {
            return;
        }
        let measured = Measured::new(duration.map(|duration| duration.min(LONGEST)), peak_memory);
        keys(subject.into())
            .iter()
            .for_each(|(key, _)| self.remembered.update(key, |estimate| estimate.learn(measured)));
    }

    /// The job was killed for want of memory and needs at least this. Only its own record learns it: its neighbours
    /// are not to be suspected of the same.
    pub(crate) fn learn_out_of_memory(&mut self, subject: impl Into<Subject>, at_least: u64) {
        if let Some(key) = own_key(subject.into()) {
            self.remembered.update(key, |estimate| estimate.raise_memory(at_least));
        }
    }

    pub(crate) fn export(&self) -> Vec<HistoryEntry> {
        let entry = |(key, estimate, reader): (u64, Estimate, u64)| HistoryEntry {
            key,
            duration: estimate.duration().unwrap_or_default(),
            memory: estimate.memory().unwrap_or(0),
            reader,
        };
        self.remembered.oldest_first().map(entry).collect()
    }

    pub(crate) fn import(&mut self, entries: &[HistoryEntry]) {
        for entry in entries {
            let measured = Measured::new(Some(entry.duration.min(LONGEST)), entry.memory);
            self.remembered.update(entry.key, |estimate| *estimate = Estimate::of(measured));
            self.remembered.set_reader(entry.key, Reader::new(entry.reader));
        }
    }
}

/// Under which keys a job is remembered, the most telling first.
fn keys(subject: Subject) -> Keys {
    let mut keys = Keys { all: [(0, Basis::Guess); 3], count: 0 };
    let kind = subject.kind as u64 + 1;
    if let Some(output) = subject.output {
        keys.push(mix(output.digest(), kind), Basis::Output);
    }
    if let Some(dir) = subject.dir {
        keys.push(mix(dir.digest(), kind << 8), Basis::Directory);
    }
    if subject.input_bytes > 0 {
        let octave = u64::from(64 - subject.input_bytes.leading_zeros());
        keys.push(mix(octave, kind << 16), Basis::Size);
    }
    keys
}

/// Up to three: every job is looked up by them twice.
struct Keys {
    all: [(u64, Basis); 3],
    count: usize,
}

impl Keys {
    fn push(&mut self, key: u64, basis: Basis) {
        self.all[self.count] = (key, basis);
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = (u64, Basis)> {
        self.all[..self.count].iter().copied()
    }
}

/// Under which key its own output is remembered.
fn own_key(subject: Subject) -> Option<u64> {
    keys(subject).iter().next().filter(|&(_, basis)| basis == Basis::Output).map(|(key, _)| key)
}

/// Under which keys an output may be remembered, by whom makes it, the most usual first.
fn keys_of_output(output: OutputKey) -> impl Iterator<Item = u64> {
    let kinds = [JobKind::Compile, JobKind::Archive, JobKind::Link, JobKind::Assemble, JobKind::Preprocess];
    kinds.into_iter().map(move |kind| mix(output.digest(), kind as u64 + 1))
}

fn mix(digest: u64, salt: u64) -> u64 {
    (digest ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29)
}

/// Half a second, and a second more for every 100 kB (for a link: 10 MB) of input, up to a minute.
fn guessed_duration(subject: Subject) -> Duration {
    let micros = match subject.kind {
        JobKind::Link | JobKind::Archive => subject.input_bytes / 10,
        JobKind::Compile | JobKind::Assemble | JobKind::Preprocess => subject.input_bytes.saturating_mul(10),
    };
    Duration::from_micros(500_000 + micros.min(59_500_000))
}

/// A link maps what it reads and builds about as much again; what is small anyway is not worth reserving.
fn guessed_memory(subject: Subject) -> u64 {
    match subject.kind {
        JobKind::Link if subject.input_bytes >= 32 << 20 => subject.input_bytes.saturating_mul(2),
        _ => 0,
    }
}

/// The smallest size of a series (128 MiB, 192, 256, 384, ..., 2 EiB) that is at least this, or the largest; 0 stays 0.
/// Few sizes, so that few kinds of job need be told apart.
pub(crate) fn rounded_up(memory: u64) -> u64 {
    if memory == 0 {
        return 0;
    }
    let memory = memory.clamp(128 << 20, 1 << 61);
    let octave = 1 << memory.ilog2();
    match memory - octave {
        0 => octave,
        rest if rest <= octave / 2 => octave + octave / 2,
        _ => octave * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_large_links_is_it_guessed_that_they_need_memory() {
        const MIB: u64 = 1 << 20;
        let guess = |kind, input_bytes| {
            let facts = JobFacts::new(model::ids::UserId::new(1), model::ids::BuildId::new(1), kind);
            guessed_memory(Subject::from(&JobFacts { input_bytes, ..facts }))
        };
        assert_eq!(guess(JobKind::Link, 32 * MIB - 1), 0);
        assert_eq!(guess(JobKind::Link, 32 * MIB), 64 * MIB);
        assert_eq!(guess(JobKind::Compile, 64 * MIB), 0);
    }

    #[test]
    fn memory_is_rounded_up_in_half_octaves() {
        const MIB: u64 = 1 << 20;
        assert_eq!(rounded_up(0), 0);
        assert_eq!(rounded_up(1), 128 * MIB);
        assert_eq!(rounded_up(129 * MIB), 192 * MIB);
        assert_eq!(rounded_up(200 * MIB), 256 * MIB);
        assert_eq!(rounded_up(1025 * MIB), 1536 * MIB);
        assert!(rounded_up(u64::MAX) > 1 << 60);
    }
}
