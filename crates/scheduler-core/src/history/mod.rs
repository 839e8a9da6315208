//! What jobs took before, and so what they will take: by what they make, else by where they write, else by the size of
//! what they read. Memory is bounded: so many outputs and directories, the longest unused go first.

mod estimate;
mod recollections;

use alloc::vec::Vec;
use core::time::Duration;

use model::job::{JobFacts, JobKind};

use estimate::Estimate;
pub(crate) use estimate::{exp2, log2};
use recollections::Recollections;

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

    pub(crate) fn predict(&self, facts: &JobFacts) -> Prediction {
        let (mut duration, mut memory) = (None, None);
        for (key, basis) in keys(facts) {
            let Some(estimate) = self.remembered.get(key) else { continue };
            memory = memory.or(estimate.memory().map(|memory| (memory, basis)));
            duration = duration.or(estimate.duration().map(|duration| (duration, basis)));
        }
        let (duration, basis) = duration.unwrap_or((guessed_duration(facts), Basis::Guess));
        let (memory, memory_basis) = memory.unwrap_or((guessed_memory(facts), Basis::Guess));
        Prediction { duration, memory, memory_known: memory_basis == Basis::Output, basis }
    }

    /// What an attempt took; `None` where it was not measured or means nothing (a failed compile ends early).
    pub(crate) fn learn(&mut self, facts: &JobFacts, duration: Option<Duration>, peak_memory: u64) {
        if duration.is_none_or(|it| it.is_zero()) && peak_memory == 0 {
            return;
        }
        for (key, _) in keys(facts) {
            self.remembered.update(key, |estimate| {
                if let Some(duration) = duration {
                    estimate.learn_duration(duration.min(LONGEST));
                }
                estimate.learn_memory(peak_memory);
            });
        }
    }

    /// The job was killed for want of memory and needs at least this. Only its own record learns it: its neighbours
    /// are not to be suspected of the same.
    pub(crate) fn learn_out_of_memory(&mut self, facts: &JobFacts, at_least: u64) {
        if let Some((key, Basis::Output)) = keys(facts).next() {
            self.remembered.update(key, |estimate| estimate.raise_memory(at_least));
        }
    }

    pub(crate) fn export(&self) -> Vec<HistoryEntry> {
        let entry = |(key, estimate): (u64, Estimate)| HistoryEntry {
            key,
            duration: estimate.duration().unwrap_or_default(),
            memory: estimate.memory().unwrap_or(0),
        };
        self.remembered.oldest_first().map(entry).collect()
    }

    pub(crate) fn import(&mut self, entries: &[HistoryEntry]) {
        for entry in entries {
            let duration = (!entry.duration.is_zero()).then_some(entry.duration.min(LONGEST));
            let memory = (entry.memory > 0).then_some(entry.memory);
            self.remembered.update(entry.key, |estimate| *estimate = Estimate::new(duration, memory));
        }
    }
}

/// Under which keys a job is remembered, the most telling first.
fn keys(facts: &JobFacts) -> impl Iterator<Item = (u64, Basis)> {
    let kind = facts.kind as u64 + 1;
    let output = facts.output.map(|output| (mix(output.digest(), kind), Basis::Output));
    let dir = facts.dirs.first().map(|dir| (mix(dir.digest(), kind << 8), Basis::Directory));
    let octave = u64::from(64 - facts.input_bytes.leading_zeros());
    let size = (facts.input_bytes > 0).then(|| (mix(octave, kind << 16), Basis::Size));
    [output, dir, size].into_iter().flatten()
}

fn mix(digest: u64, salt: u64) -> u64 {
    (digest ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29)
}

/// Half a second, and a second more for every 100 kB (for a link: 10 MB) of input, up to a minute.
fn guessed_duration(facts: &JobFacts) -> Duration {
    let micros = match facts.kind {
        JobKind::Link | JobKind::Archive => facts.input_bytes / 10,
        JobKind::Compile | JobKind::Assemble | JobKind::Preprocess => facts.input_bytes.saturating_mul(10),
    };
    Duration::from_micros(500_000 + micros.min(59_500_000))
}

/// A link maps what it reads and builds about as much again; what is small anyway is not worth reserving.
fn guessed_memory(facts: &JobFacts) -> u64 {
    match facts.kind {
        JobKind::Link if facts.input_bytes >= 32 << 20 => facts.input_bytes.saturating_mul(2),
        _ => 0,
    }
}

/// The smallest size of a series (128 MiB, 192, 256, 384, ...) that is at least this; 0 stays 0. Few sizes, so that
/// few kinds of job need be told apart.
pub(crate) fn rounded_up(memory: u64) -> u64 {
    if memory == 0 {
        return 0;
    }
    let smallest = 128u64 << 20;
    let (mut size, limit) = (smallest, exp2(61 * 256));
    while size < memory && size < limit {
        size = if size.is_power_of_two() { size + size / 2 } else { size / 3 * 4 };
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_large_links_is_it_guessed_that_they_need_memory() {
        const MIB: u64 = 1 << 20;
        let guess = |kind, input_bytes| {
            let facts = JobFacts::new(model::ids::UserId::new(1), model::ids::BuildId::new(1), kind);
            guessed_memory(&JobFacts { input_bytes, ..facts })
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
