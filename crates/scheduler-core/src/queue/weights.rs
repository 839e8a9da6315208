//! What priorities are worth.

use model::job::Priority;

/// The weight of a job of usual priority.
pub(crate) const USUAL: u64 = 1024;

/// Linux's `sched_prio_to_weight`: each step of `nice` is worth a factor of 1.25.
const BY_NICE: [u64; 40] = [
    88_761, 71_755, 56_483, 46_273, 36_291, 29_154, 23_254, 18_705, 14_949, 11_916, 9_548, 7_620, 6_100, 4_904, 3_906,
    3_121, 2_501, 1_991, 1_586, 1_277, USUAL, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29,
    23, 18, 15,
];

/// Between the builds of one user every priority counts.
pub(crate) fn among_builds(priority: Priority) -> u64 {
    let index = usize::try_from(i32::from(priority.nice()) + 20).unwrap_or(20);
    BY_NICE.get(index).copied().unwrap_or(USUAL)
}

/// Between users only modesty counts, unless this one may be urgent: nobody else can take slots from others by calling the
/// own jobs urgent.
pub(crate) fn among_users(priority: Priority, may_be_urgent: bool) -> u64 {
    let weight = among_builds(priority);
    if may_be_urgent { weight } else { weight.min(USUAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_priority_has_the_usual_weight_and_the_ends_have_the_ends() {
        assert_eq!(among_builds(Priority::default()), USUAL);
        assert_eq!(among_builds(Priority::MOST), 88_761);
        assert_eq!(among_builds(Priority::LEAST), 15);
    }

    #[test]
    fn urgency_counts_between_users_only_for_those_who_may() {
        assert_eq!([false, true].map(|may| among_users(Priority::MOST, may)), [USUAL, 88_761]);
        assert_eq!([false, true].map(|may| among_users(Priority::LEAST, may)), [15, 15]);
    }
}
