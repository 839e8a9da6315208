//! Which of the workers that may start a job at once gets it: a pure ranking of the candidates laid before it.

use core::cmp::Reverse;
use core::time::Duration;

use model::ids::WorkerId;

use crate::history::log2;

/// Times are compared in eighths of an octave: no prediction is better.
const GRAIN: u16 = 32;

/// A worker that may take the job now, with all that the ranking looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) worker: WorkerId,
    /// As many workers as may write into the job's output directory already do, and this is none of them.
    pub(crate) crowds: bool,
    /// How long the job is expected to take there, fetching its directories included.
    pub(crate) time: Duration,
    /// How many times slower than others, as a power of 2.
    pub(crate) octaves_slow: i8,
    /// How warm it is for the job's directories; see [`crate::locality`].
    pub(crate) warmth: u32,
    /// Slots with nothing to run.
    pub(crate) idle: u32,
    /// Run-queue length that is not ours, in hundredths.
    pub(crate) foreign_load: u32,
    /// Memory that the job could use, in bytes.
    pub(crate) memory: u64,
}

/// The best place: one that does not crowd the output directory, then where the job ends first, which prices warmth
/// against speed, then the warmest, then the one with
/// most idle slots, then the least loaded by others, then (for a job that needs memory) the one with most of it, then
/// the lowest id.
pub(crate) fn best(needs_memory: bool, candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    let rank = |c: &Candidate| {
        let memory = if needs_memory { c.memory } else { 0 };
        let micros = u64::try_from(c.time.as_micros()).unwrap_or(u64::MAX);
        (c.crowds, log2(micros) / GRAIN, Reverse(c.warmth), Reverse(c.idle), c.foreign_load, Reverse(memory), c.worker)
    };
    candidates.into_iter().min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u32) -> Candidate {
        let (worker, crowds, octaves_slow) = (WorkerId::new(id), false, 0);
        let time = Duration::from_secs(1);
        Candidate { worker, crowds, time, octaves_slow, warmth: 0, idle: 1, foreign_load: 0, memory: 1 }
    }

    fn best_of<const N: usize>(needs_memory: bool, candidates: [Candidate; N]) -> u32 {
        best(needs_memory, candidates).map_or(0, |it| it.worker.number())
    }

    #[test]
    fn warmth_beats_room_and_room_beats_quiet() {
        let warm = Candidate { warmth: 1, ..candidate(3) };
        let roomy = Candidate { idle: 9, foreign_load: 50, ..candidate(2) };

        assert_eq!(best_of(false, [candidate(1), roomy, warm]), 3);
        assert_eq!(best_of(false, [candidate(1), roomy]), 2);
    }

    #[test]
    fn an_early_end_beats_warmth_and_elbow_room_beats_an_early_end() {
        let warm = Candidate { warmth: 9, time: Duration::from_millis(1_200), ..candidate(1) };
        let fast = Candidate { time: Duration::from_millis(500), crowds: true, ..candidate(2) };

        assert_eq!(best_of(false, [warm, candidate(3)]), 3);
        assert_eq!(best_of(false, [fast, candidate(3)]), 3);
    }

    #[test]
    fn only_jobs_that_need_memory_care_for_it() {
        let big = Candidate { memory: 64, ..candidate(2) };

        assert_eq!(best_of(true, [candidate(1), big]), 2);
        assert_eq!(best_of(false, [candidate(1), big]), 1);
    }

    #[test]
    fn a_full_tie_goes_to_the_lowest_id() {
        assert_eq!(best_of(true, [candidate(2), candidate(1), candidate(3)]), 1);
    }
}
