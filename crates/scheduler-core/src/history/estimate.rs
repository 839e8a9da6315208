//! One remembered quantity pair: how long, and how much memory. Kept as logarithms, because times and sizes of jobs
//! differ by factors; one wild measurement moves the estimate by a small factor, a lasting change wins in a few.

use core::time::Duration;

/// Steps of the logarithm in an octave.
const STEPS: i32 = 256;
/// How far one measurement beyond it may pull, in steps: an octave, and more when the next ones agree.
const PULL: i32 = STEPS;

/// What an attempt took. Every key under which that is remembered learns the same logarithms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Of microseconds; 0 when unknown.
    duration: u16,
    /// Of bytes; 0 when unknown.
    memory: u16,
}

impl Measured {
    pub(crate) fn new(duration: Option<Duration>, memory: u64) -> Self {
        let micros = duration.map_or(0, |duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        Self { duration: log2(micros), memory: log2(memory) }
    }
}

/// What is remembered under one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Logarithm of microseconds; 0 when unknown.
    duration: u16,
    /// Logarithm of bytes; 0 when unknown.
    memory: u16,
    /// Measurements so far, up to 255.
    count: u8,
    /// Measurements in a row that lay far above (positive) or far below the estimate.
    streak: i8,
}

impl Estimate {
    /// One that was measured once.
    pub(crate) fn of(measured: Measured) -> Self {
        let mut estimate = Self::default();
        estimate.learn(measured);
        estimate
    }

    pub(crate) fn duration(self) -> Option<Duration> {
        (self.duration > 0).then(|| Duration::from_micros(exp2(self.duration)))
    }

    pub(crate) fn memory(self) -> Option<u64> {
        (self.memory > 0).then(|| exp2(self.memory))
    }

    pub(crate) fn learn(&mut self, measured: Measured) {
        self.learn_duration(measured.duration);
        self.learn_memory(measured.memory);
    }

    /// A measured duration: the estimate goes a quarter of the way, the first few times further.
    fn learn_duration(&mut self, measured: u16) {
        if measured == 0 {
            return;
        }
        self.count = self.count.saturating_add(1);
        if self.duration == 0 {
            self.duration = measured;
            return;
        }
        let off = i32::from(measured) - i32::from(self.duration);
        self.streak = match off {
            off if off > PULL => self.streak.max(0).saturating_add(1),
            off if off < -PULL => self.streak.min(0).saturating_sub(1),
            _ => 0,
        };
        let reach = PULL << u32::from(self.streak.unsigned_abs().saturating_sub(1)).min(3);
        let share = i32::from(self.count.min(4)).max(2);
        self.duration = moved(self.duration, off.clamp(-reach, reach) / share);
    }

    /// A measured peak: more than was thought is believed at once (up to fourfold), less is believed by halves.
    fn learn_memory(&mut self, measured: u16) {
        if measured == 0 {
            return;
        }
        if self.memory == 0 {
            self.memory = measured;
            return;
        }
        let off = i32::from(measured) - i32::from(self.memory);
        let step = if off > 0 { off.min(2 * STEPS) } else { (off / 4).max(-STEPS / 2) };
        self.memory = moved(self.memory, step);
    }

    /// It needs at least so much: it was killed with less.
    pub(crate) fn raise_memory(&mut self, at_least: u64) {
        self.memory = self.memory.max(log2(at_least));
    }
}

fn moved(from: u16, by: i32) -> u16 {
    u16::try_from((i32::from(from) + by).max(1)).unwrap_or(u16::MAX)
}

/// The logarithm to base 2 in 256ths of an octave, straight lines between the powers of two; 0 for 0 and 1.
pub(crate) fn log2(value: u64) -> u16 {
    if value <= 1 {
        return 0;
    }
    let zeros = value.leading_zeros();
    let octave = 63 - zeros;
    let fraction = (value << zeros << 1) >> 56;
    u16::try_from(octave * 256).unwrap_or(u16::MAX).saturating_add(u16::try_from(fraction).unwrap_or(0))
}

/// What [`log2`] came from, to within a 256th.
pub(crate) fn exp2(logarithm: u16) -> u64 {
    let (octave, mantissa) = (u32::from(logarithm >> 8).min(63), 256 + u64::from(logarithm & 0xff));
    if octave >= 8 { mantissa << (octave - 8) } else { mantissa >> (8 - octave) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(duration: Duration) -> Measured {
        Measured::new(Some(duration), 0)
    }

    fn about(estimate: Estimate, seconds: f64) -> bool {
        let got = estimate.duration().map_or(0.0, |it| it.as_secs_f64());
        (got / seconds - 1.0).abs() < 0.05
    }

    #[test]
    fn the_logarithm_can_be_undone() {
        for value in [2, 3, 1_000, 123_456_789, 1 << 40, u64::MAX] {
            let back = exp2(log2(value));
            assert!(back.abs_diff(value) <= value / 200 + 1, "{value} came back as {back}");
        }
    }

    #[test]
    fn one_wild_measurement_moves_little() {
        let mut estimate = Estimate::default();
        (0..10).for_each(|_| estimate.learn(after(SECOND)));

        estimate.learn(after(SECOND * 1_000));
        let after_one = estimate.duration();

        assert!(after_one < Some(SECOND * 5 / 4), "{after_one:?}");
    }

    #[test]
    fn a_lasting_change_is_learned_in_some_measurements() {
        let mut estimate = Estimate::default();
        (0..10).for_each(|_| estimate.learn(after(SECOND)));

        (0..12).for_each(|_| estimate.learn(after(SECOND * 20)));

        assert!(estimate.duration() > Some(SECOND * 15), "{:?}", estimate.duration());
    }

    #[test]
    fn steady_measurements_are_met() {
        let mut estimate = Estimate::of(after(SECOND));
        (0..20).for_each(|_| estimate.learn(after(SECOND * 3 / 2)));
        assert!(about(estimate, 1.5), "{:?}", estimate.duration());
    }

    #[test]
    fn more_memory_is_believed_at_once_and_less_by_and_by() {
        let mut estimate = Estimate::of(Measured::new(None, 1 << 30));

        estimate.learn(Measured::new(None, 3 << 30));
        assert_eq!(estimate.memory(), Some(3 << 30));
        estimate.learn(Measured::new(None, 1 << 20));
        assert!(estimate.memory() > Some(1 << 30));
    }
}
