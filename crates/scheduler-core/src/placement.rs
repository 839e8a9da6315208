//! Which of the workers that may start a job at once gets it: a pure ranking of the candidates laid before it.

use core::cmp::Reverse;

use model::ids::WorkerId;

/// A worker that may take the job now, with all that the ranking looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) worker: WorkerId,
    /// How warm it is for the job's directories; see [`crate::locality`].
    pub(crate) warmth: u32,
    /// Slots with nothing to run.
    pub(crate) idle: u32,
    /// Run-queue length that is not ours, in hundredths.
    pub(crate) foreign_load: u32,
    /// Memory that a link could use, in bytes.
    pub(crate) memory: u64,
}

/// The best place: the warmest, then the one with most idle slots, then the least loaded by others, then (for a link)
/// the one with most memory, then the lowest id.
pub(crate) fn best(link: bool, candidates: impl IntoIterator<Item = Candidate>) -> Option<WorkerId> {
    let rank = |c: &Candidate| {
        let memory = if link { c.memory } else { 0 };
        (Reverse(c.warmth), Reverse(c.idle), c.foreign_load, Reverse(memory), c.worker)
    };
    candidates.into_iter().min_by_key(rank).map(|candidate| candidate.worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u32) -> Candidate {
        Candidate { worker: WorkerId::new(id), warmth: 0, idle: 1, foreign_load: 0, memory: 1 }
    }

    #[test]
    fn warmth_beats_room_and_room_beats_quiet() {
        let warm = Candidate { warmth: 1, ..candidate(3) };
        let roomy = Candidate { idle: 9, foreign_load: 50, ..candidate(2) };

        assert_eq!(best(false, [candidate(1), roomy, warm]), Some(warm.worker));
        assert_eq!(best(false, [candidate(1), roomy]), Some(roomy.worker));
    }

    #[test]
    fn only_links_care_for_memory() {
        let big = Candidate { memory: 64, ..candidate(2) };

        assert_eq!(best(true, [candidate(1), big]), Some(big.worker));
        assert_eq!(best(false, [candidate(1), big]), Some(WorkerId::new(1)));
    }

    #[test]
    fn a_full_tie_goes_to_the_lowest_id() {
        assert_eq!(best(true, [candidate(2), candidate(1), candidate(3)]), Some(WorkerId::new(1)));
    }
}
