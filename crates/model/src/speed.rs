//! How fast a machine is, beside others.

use core::num::NonZeroU32;

/// What a worker measured of itself when it started: how often a core does the piece of work of `distccd-worker`'s speed
/// test in a second of CPU time. Only the ratio of two such figures means anything, and only as long as both did the same
/// piece of work; it is one core's, with whatever keeps the machine's others busy at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Speed(NonZeroU32);

impl Speed {
    /// What a worker is taken for that has not measured. The machine that this was written on, with a core of an AMD EPYC,
    /// says about 1300.
    pub const USUAL: Self = Self(NonZeroU32::new(1_000).expect("it is not zero"));

    /// So many times a second; 0 times is no speed.
    #[must_use]
    pub fn new(per_second: u32) -> Option<Self> {
        NonZeroU32::new(per_second).map(Self)
    }

    /// Times a second.
    #[must_use]
    pub fn per_second(self) -> u32 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_nothing_in_a_second_has_no_speed() {
        assert_eq!(Speed::new(0), None);
        assert_eq!(Speed::new(u32::MAX).map(Speed::per_second), Some(u32::MAX));
    }
}
