//! What the driver keeps beside the scheduler: what jobs run, what they printed, how they ended. The scheduler decides
//! over ids; here is what stands behind them, until it says to forget.

use std::collections::{BTreeMap, VecDeque};

use model::ids::{Attempt, JobId, WorkerId};
use proto::v1;
use scheduler_core::ClientId;

/// Bytes of output kept per job for a launcher that comes back. What is beyond is passed on all the same, but cannot
/// be told again.
const KEPT_OUTPUT: usize = 1 << 20;

/// All jobs known.
#[derive(Default)]
pub struct Books {
    jobs: BTreeMap<JobId, Entry>,
}

/// One job.
#[derive(Default)]
pub struct Entry {
    /// What it is; gone once it is done, for nobody will run it again.
    pub job: Option<v1::Job>,
    /// Which launcher its answers go to.
    pub client: Option<ClientId>,
    /// The outcome, and which attempt had it.
    pub outcome: Option<(Attempt, v1::Outcome)>,
    /// The worker that waits to hear that the outcome has been received.
    pub unacknowledged: Option<(WorkerId, Attempt)>,
    output: Output,
}

/// What the latest attempt printed so far.
#[derive(Default)]
struct Output {
    attempt: u32,
    chunks: VecDeque<v1::OutputChunk>,
    bytes: usize,
    truncated: bool,
    told: Option<ClientId>,
}

/// What a launcher is to be told of a job's output.
pub enum Telling {
    /// These pieces, in order.
    Chunks(Vec<v1::OutputChunk>),
    /// Nothing that would be whole.
    Lost,
}

impl Books {
    /// The entry of a job, made if it is new.
    pub fn entry(&mut self, job: JobId) -> &mut Entry {
        self.jobs.entry(job).or_default()
    }

    /// The entry of a known job.
    #[must_use]
    pub fn get(&self, job: JobId) -> Option<&Entry> {
        self.jobs.get(&job)
    }

    /// The entry of a known job.
    pub fn get_mut(&mut self, job: JobId) -> Option<&mut Entry> {
        self.jobs.get_mut(&job)
    }

    /// What may still be run, by id.
    pub fn unfinished(&self) -> impl Iterator<Item = (JobId, &v1::Job)> {
        self.jobs.iter().filter_map(|(&id, entry)| Some((id, entry.job.as_ref()?)))
    }

    /// Drops a job.
    pub fn forget(&mut self, job: JobId) -> Option<Entry> {
        self.jobs.remove(&job)
    }
}

impl Entry {
    /// Takes a piece of output, and gives it back when the present launcher has heard all before it and should hear it.
    /// Pieces of an earlier attempt, and pieces taken before (a worker repeats itself after reconnecting), are dropped.
    pub fn take_chunk(&mut self, attempt: Attempt, chunk: v1::OutputChunk) -> Option<v1::OutputChunk> {
        if attempt.number < self.output.attempt {
            return None;
        }
        if attempt.number > self.output.attempt {
            let told = self.client;
            self.output = Output { attempt: attempt.number, told, ..Output::default() };
        }
        let next = self.output.chunks.back().map_or(0, |last| last.sequence + 1);
        let known = !self.output.truncated && chunk.sequence < next;
        if known {
            return None;
        }
        if self.output.bytes + chunk.data.len() <= KEPT_OUTPUT && !self.output.truncated {
            self.output.bytes += chunk.data.len();
            self.output.chunks.push_back(chunk.clone());
        } else {
            self.output.truncated = true;
        }
        (self.client.is_some() && self.output.told == self.client).then_some(chunk)
    }

    /// What the present launcher has not heard yet because it came later than the output.
    pub fn catch_up(&mut self) -> Telling {
        if self.client.is_none() || self.output.told == self.client || self.output.attempt == 0 {
            return Telling::Chunks(Vec::new());
        }
        if self.output.truncated {
            return Telling::Lost;
        }
        self.output.told = self.client;
        Telling::Chunks(self.output.chunks.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> Attempt {
        Attempt { job: JobId::from_bytes([1; 16]), number }
    }

    fn chunk(sequence: u64, bytes: usize) -> v1::OutputChunk {
        v1::OutputChunk { sequence, data: vec![b'x'; bytes].into(), ..Default::default() }
    }

    fn sequences(telling: &Telling) -> Vec<u64> {
        match telling {
            Telling::Chunks(chunks) => chunks.iter().map(|chunk| chunk.sequence).collect(),
            Telling::Lost => panic!("lost"),
        }
    }

    #[test]
    fn a_launcher_that_came_late_is_told_all_and_then_goes_along() {
        let mut entry = Entry::default();
        assert!(entry.take_chunk(attempt(1), chunk(0, 1)).is_none());

        entry.client = Some(ClientId(1));
        let told = entry.catch_up();

        assert_eq!(sequences(&told), [0]);
        assert!(entry.take_chunk(attempt(1), chunk(1, 1)).is_some());
        assert!(sequences(&entry.catch_up()).is_empty());
    }

    #[test]
    fn another_launcher_is_told_from_the_start() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };
        assert!(entry.take_chunk(attempt(1), chunk(0, 1)).is_some());

        entry.client = Some(ClientId(2));

        assert!(entry.take_chunk(attempt(1), chunk(1, 1)).is_none());
        assert_eq!(sequences(&entry.catch_up()), [0, 1]);
    }

    #[test]
    fn repeated_pieces_and_those_of_an_earlier_attempt_are_dropped() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };
        assert!(entry.take_chunk(attempt(2), chunk(0, 1)).is_some());

        assert!(entry.take_chunk(attempt(2), chunk(0, 1)).is_none());
        assert!(entry.take_chunk(attempt(1), chunk(1, 1)).is_none());
    }

    #[test]
    fn endless_output_is_passed_on_but_not_kept() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };

        for sequence in 0..100 {
            assert!(entry.take_chunk(attempt(1), chunk(sequence, 64 << 10)).is_some());
        }

        assert!(entry.output.bytes <= KEPT_OUTPUT);
        entry.client = Some(ClientId(2));
        assert!(matches!(entry.catch_up(), Telling::Lost));
    }
}
