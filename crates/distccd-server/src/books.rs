//! What the driver keeps beside the scheduler: what jobs run, what they printed, how they ended. The scheduler decides
//! over ids; here is what stands behind them, until it says to forget.

use std::collections::{BTreeMap, VecDeque};

use model::ids::{Attempt, JobId, WorkerId};
use prost::Message as _;
use proto::v1;
use scheduler_core::ClientId;

/// Bytes of output kept per job for a launcher that comes back. What is beyond is passed on all the same, but cannot
/// be told again.
const KEPT_OUTPUT: usize = 1 << 20;

/// All jobs known.
pub struct Books {
    jobs: BTreeMap<JobId, Entry>,
    /// Bytes that are kept of them, of all and of each user's, and how many may be.
    kept: usize,
    kept_of: BTreeMap<u32, usize>,
    most: usize,
}

/// One job.
#[derive(Default)]
pub struct Entry {
    job: Option<v1::Job>,
    /// Whose it is, and how large on the wire, which is about what it takes.
    owner: u32,
    size: usize,
    /// Which launcher its answers go to.
    pub client: Option<ClientId>,
    /// The outcome, and which attempt had it.
    pub outcome: Option<(Attempt, v1::Outcome)>,
    outcome_size: usize,
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

impl Default for Books {
    /// Books without bounds.
    fn default() -> Self {
        Self::of_size(usize::MAX)
    }
}

impl Books {
    /// Books that keep about so many bytes of jobs and of what they print.
    #[must_use]
    pub const fn of_size(most: usize) -> Self {
        Self { jobs: BTreeMap::new(), kept: 0, kept_of: BTreeMap::new(), most }
    }

    /// Whether a new job of this size finds room. No user gets more than half of it, so that there is some for others.
    #[must_use]
    pub fn has_room(&self, owner: u32, size: usize) -> bool {
        let own = self.kept_of.get(&owner).copied().unwrap_or(0);
        self.kept.saturating_add(size) <= self.most && own.saturating_add(size) <= self.most / 2
    }

    /// Notes what a job is, until it is done or forgotten.
    pub fn put_job(&mut self, id: JobId, owner: u32, job: v1::Job) {
        self.take_job(id);
        let size = job.encoded_len();
        self.kept += size;
        *self.kept_of.entry(owner).or_default() += size;
        let entry = self.entry(id);
        (entry.job, entry.owner, entry.size) = (Some(job), owner, size);
    }

    /// Gives out what a job is: nobody will run it again.
    pub fn take_job(&mut self, id: JobId) -> Option<v1::Job> {
        let entry = self.jobs.get_mut(&id)?;
        let (job, size, owner) = (entry.job.take()?, std::mem::take(&mut entry.size), entry.owner);
        self.kept -= size;
        if let Some(own) = self.kept_of.get_mut(&owner) {
            *own -= size;
            if *own == 0 {
                self.kept_of.remove(&owner);
            }
        }
        Some(job)
    }

    /// Keeps the outcome of a known job's attempt, unless a later attempt had one, and that its worker waits to hear that.
    pub fn put_outcome(&mut self, worker: WorkerId, attempt: Attempt, outcome: v1::Outcome) {
        let Some(entry) = self.jobs.get_mut(&attempt.job) else { return };
        if entry.outcome.as_ref().is_some_and(|(known, _)| known.number > attempt.number) {
            return;
        }
        let before = std::mem::replace(&mut entry.outcome_size, outcome.encoded_len());
        self.kept = self.kept - before + entry.outcome_size;
        entry.outcome = Some((attempt, outcome));
        entry.unacknowledged = Some((worker, attempt));
    }

    /// Takes a piece of output for whoever wants it: see `Entry::take_chunk`. It is kept while there is room.
    pub fn take_chunk(&mut self, attempt: Attempt, chunk: v1::OutputChunk) -> Option<(ClientId, v1::OutputChunk)> {
        let has_room = self.kept + chunk.data.len() <= self.most;
        let entry = self.jobs.get_mut(&attempt.job)?;
        let before = entry.output.bytes;
        let told = entry.take_chunk(attempt, chunk, has_room);
        self.kept = self.kept - before + entry.output.bytes;
        entry.client.zip(told)
    }

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
        self.take_job(job);
        let gone = self.jobs.remove(&job)?;
        self.kept -= gone.output.bytes + gone.outcome_size;
        Some(gone)
    }
}

impl Entry {
    /// What the job is; gone once it is done.
    #[must_use]
    pub const fn job(&self) -> Option<&v1::Job> {
        self.job.as_ref()
    }

    /// Takes a piece of output, and gives it back when the present launcher has heard all before it and should hear it.
    /// Pieces of an earlier attempt, and pieces taken before (a worker repeats itself after reconnecting), are dropped.
    fn take_chunk(&mut self, attempt: Attempt, chunk: v1::OutputChunk, has_room: bool) -> Option<v1::OutputChunk> {
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
        if has_room && self.output.bytes + chunk.data.len() <= KEPT_OUTPUT && !self.output.truncated {
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
        assert!(entry.take_chunk(attempt(1), chunk(0, 1), true).is_none());

        entry.client = Some(ClientId(1));
        let told = entry.catch_up();

        assert_eq!(sequences(&told), [0]);
        assert!(entry.take_chunk(attempt(1), chunk(1, 1), true).is_some());
        assert!(sequences(&entry.catch_up()).is_empty());
    }

    #[test]
    fn another_launcher_is_told_from_the_start() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };
        assert!(entry.take_chunk(attempt(1), chunk(0, 1), true).is_some());

        entry.client = Some(ClientId(2));

        assert!(entry.take_chunk(attempt(1), chunk(1, 1), true).is_none());
        assert_eq!(sequences(&entry.catch_up()), [0, 1]);
    }

    #[test]
    fn repeated_pieces_and_those_of_an_earlier_attempt_are_dropped() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };
        assert!(entry.take_chunk(attempt(2), chunk(0, 1), true).is_some());

        assert!(entry.take_chunk(attempt(2), chunk(0, 1), true).is_none());
        assert!(entry.take_chunk(attempt(1), chunk(1, 1), true).is_none());
    }

    #[test]
    fn endless_output_is_passed_on_but_not_kept() {
        let mut entry = Entry { client: Some(ClientId(1)), ..Entry::default() };

        for sequence in 0..100 {
            assert!(entry.take_chunk(attempt(1), chunk(sequence, 64 << 10), true).is_some());
        }

        assert!(entry.output.bytes <= KEPT_OUTPUT);
        entry.client = Some(ClientId(2));
        assert!(matches!(entry.catch_up(), Telling::Lost));
    }

    fn job(bytes: usize) -> v1::Job {
        v1::Job { build_dir: vec![b'x'; bytes].into(), ..v1::Job::default() }
    }

    fn id(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    #[test]
    fn a_user_fills_half_of_the_books_and_no_more_and_what_is_done_makes_room() {
        let mut books = Books::of_size(10_000);
        books.put_job(id(1), 7, job(4_000));
        assert!(books.has_room(7, 900) && !books.has_room(7, 1_100));
        assert!(books.has_room(8, 4_900) && !books.has_room(8, 5_100), "nor does another");

        books.put_job(id(2), 8, job(4_000));
        assert!(!books.has_room(9, 2_000), "all together");
        assert_eq!(books.take_job(id(1)), Some(job(4_000)));
        assert!(books.has_room(9, 2_000));
        // Asked for again, it is the same job.
        books.put_job(id(2), 8, job(3_000));
        books.put_outcome(WorkerId::new(1), Attempt { job: id(2), number: 1 }, v1::Outcome::default());
        books.forget(id(2));

        assert_eq!((books.kept, books.kept_of.len()), (0, 0));
    }

    #[test]
    fn output_that_finds_no_room_is_passed_on_and_cannot_be_told_again() {
        let mut books = Books::of_size(100);
        let first = Attempt { job: id(1), number: 1 };
        books.entry(id(1)).client = Some(ClientId(1));

        for sequence in 0..3 {
            assert!(books.take_chunk(first, chunk(sequence, 40)).is_some_and(|(client, _)| client == ClientId(1)));
        }

        assert_eq!(books.kept, 80);
        books.entry(id(1)).client = Some(ClientId(2));
        assert!(matches!(books.entry(id(1)).catch_up(), Telling::Lost));
        books.forget(id(1));
        assert_eq!(books.kept, 0);
    }
}
