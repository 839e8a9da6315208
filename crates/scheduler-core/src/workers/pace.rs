//! How fast a worker is: against what was predicted, and in answering.

use core::time::Duration;

use model::speed::Speed;

use crate::history::{exp2, log2};

/// Steps of the logarithm in an octave.
const OCTAVE: i32 = 256;
/// Of how many times as long a job takes: one, and its logarithm.
const ONE: u64 = 1 << 10;
const ONE_LOGARITHM: i32 = 10 * OCTAVE;
/// What a measurement weighs that is compared with the job's own times.
const OWN: u32 = 10;
/// What one weighs that is compared with other jobs' times: they differ by far more.
const NEIGHBOURS: u32 = 2;
/// A worker's first measurements count as if others of this weight had said that it is as fast as all.
const DOUBT: u32 = 10;
/// The same where it said itself how fast it is.
const TRUST: u32 = 20;
/// What it says is believed up to so many octaves.
const MOST_SAID: i32 = 2;
/// Measurements of this weight make an average; from then on the older ones fade.
const WINDOW: u32 = 16 * OWN;

/// Running averages of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Logarithm of measured time over predicted time, in 256ths of 256ths of an octave.
    slowness: i32,
    /// Of the measurements so far, and of what was believed before them.
    weight: u32,
    /// From sending an attempt for an idle slot to hearing that it started, in microseconds; 0 when unknown.
    round_trip: u64,
    /// How long attempts run, in microseconds; 0 when unknown.
    length: u64,
}

impl Pace {
    /// Of a worker that says this of itself, and has run nothing yet.
    pub(crate) fn of(said: Option<Speed>) -> Self {
        let unknown = Self { slowness: 0, weight: DOUBT, round_trip: 0, length: 0 };
        let Some(said) = said else { return unknown };
        let logarithm = |speed: Speed| i32::from(log2(speed.per_second().into()));
        let most = MOST_SAID * OCTAVE;
        let slowness = (logarithm(Speed::USUAL) - logarithm(said)).clamp(-most, most) * OCTAVE;
        Self { slowness, weight: TRUST, ..unknown }
    }

    /// An attempt took so long. Of the prediction it is said whether it rests on the job's own times.
    pub(crate) fn on_ran(&mut self, predicted: Option<(Duration, bool)>, took: Duration) {
        let took = micros(took);
        if took == 0 {
            return;
        }
        self.length = averaged(self.length, took);
        if let Some((predicted, is_its_own)) = predicted {
            let off = i32::from(log2(took)) - i32::from(log2(micros(predicted)));
            let most = if is_its_own { 2 * OCTAVE } else { OCTAVE };
            let weight = if is_its_own { OWN } else { NEIGHBOURS };
            self.weight = (self.weight + weight).min(WINDOW);
            let share = OCTAVE * weight.cast_signed() / self.weight.cast_signed();
            self.slowness += (off - self.slowness()).clamp(-most, most) * share;
        }
    }

    /// What it would have to say of itself to be believed to be as fast as it is believed to be.
    pub(crate) fn speed(&self) -> Speed {
        let logarithm = i32::from(log2(Speed::USUAL.per_second().into())) - self.slowness();
        let per_second = exp2(u16::try_from(logarithm.max(0)).unwrap_or(u16::MAX));
        u32::try_from(per_second).ok().and_then(Speed::new).unwrap_or(Speed::USUAL)
    }

    pub(crate) fn on_started(&mut self, after: Duration) {
        self.round_trip = averaged(self.round_trip, micros(after).max(1));
    }

    /// How many times slower than expected, as a power of 2; 0 is usual, below it is faster.
    pub(crate) fn octaves_slow(&self) -> i8 {
        i8::try_from((self.slowness() + OCTAVE / 2).div_euclid(OCTAVE)).unwrap_or(0)
    }

    /// The same in eighths of an octave.
    pub(crate) fn eighths_slow(&self) -> i8 {
        i8::try_from((self.slowness() + OCTAVE / 16).div_euclid(OCTAVE / 8)).unwrap_or(0)
    }

    /// What so long a job will take here.
    pub(crate) fn time_for(&self, expected: Duration) -> Duration {
        let logarithm = i32::from(log2(micros(expected))) + self.slowness();
        Duration::from_micros(exp2(u16::try_from(logarithm.max(0)).unwrap_or(u16::MAX)))
    }

    /// How much longer so long a job takes here than on a worker that is so many eighths of an octave slow, in microseconds:
    /// in proportion to its length, so that who loses little can be told by that.
    pub(crate) fn loss_against(&self, eighths_slow: i8, expected: Duration) -> u64 {
        let lost = times(self.slowness()).saturating_sub(times(i32::from(eighths_slow) * (OCTAVE / 8)));
        micros(expected).saturating_mul(lost) / ONE
    }

    /// So much more work as it takes longer here.
    pub(crate) fn stretched(&self, work: u64) -> u64 {
        let logarithm = i32::from(log2(work)) + i32::from(self.eighths_slow()) * (OCTAVE / 8);
        exp2(u16::try_from(logarithm.max(0)).unwrap_or(u16::MAX))
    }

    /// What a job that took so long here takes elsewhere.
    pub(crate) fn usual_time(&self, took: Duration) -> Duration {
        let logarithm = i32::from(log2(micros(took))) - self.slowness();
        Duration::from_micros(exp2(u16::try_from(logarithm.max(1)).unwrap_or(u16::MAX)))
    }

    /// Logarithm of measured time over predicted time, in 256ths of an octave.
    fn slowness(&self) -> i32 {
        self.slowness / OCTAVE
    }

    /// What a job usually takes at the most that is worth sending here before a slot is free: of a longer one the round
    /// trip is less than a hundredth. Without limit while nobody knows the round trip.
    pub(crate) fn longest_ahead(&self) -> Duration {
        if self.round_trip == 0 {
            return Duration::MAX;
        }
        self.usual_time(Duration::from_micros(self.round_trip.saturating_mul(100)))
    }

    /// Attempts that must lie ready for the slots never to wait for the round trip; at least one, at most `most`.
    pub(crate) fn prefetch(&self, slots: u32, most: u32) -> u32 {
        if self.length == 0 || self.round_trip == 0 {
            return most;
        }
        // In one round trip (and its spread: twice that) so many attempts end.
        let ends = u64::from(slots).saturating_mul(2).saturating_mul(self.round_trip).div_ceil(self.length);
        u32::try_from(ends).unwrap_or(most).clamp(most.min(1), most)
    }
}

/// How many times as long a job takes that takes so many steps of an octave longer, in parts of [`ONE`].
fn times(steps: i32) -> u64 {
    exp2(u16::try_from((ONE_LOGARITHM + steps).max(0)).unwrap_or(u16::MAX))
}

fn averaged(before: u64, next: u64) -> u64 {
    if before == 0 { next } else { before - before / 8 + next / 8 }
}

/// Without the 128 bits of [`Duration::as_micros`]: every decision asks for some.
fn micros(time: Duration) -> u64 {
    time.as_secs()
        .checked_mul(1_000_000)
        .map_or(u64::MAX >> 8, |whole| whole.saturating_add(time.subsec_micros().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_jobs_the_longer_one_loses_more_in_proportion() {
        let slow = Pace::of(Speed::new(500));
        let loss = |micros| slow.loss_against(-8, Duration::from_micros(micros));

        assert_eq!(loss(1_000_000), 1_500_000);
        for length in (1..2_000_000).step_by(997) {
            assert!((loss(1_000_000) * length / 1_000_000).abs_diff(loss(length)) <= 2, "{length}");
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_worker_that_takes_twice_the_time_is_an_octave_slow() {
        let mut pace = Pace::of(None);
        (0..40).for_each(|_| pace.on_ran(Some((SECOND, true)), SECOND * 2));
        assert_eq!(pace.octaves_slow(), 1);

        (0..60).for_each(|_| pace.on_ran(Some((SECOND, true)), SECOND / 2));
        assert_eq!(pace.octaves_slow(), -1);
    }

    #[test]
    fn one_measurement_is_believed_by_half_and_what_others_took_by_far_less() {
        let (mut own, mut others) = (Pace::of(None), Pace::of(None));
        own.on_ran(Some((SECOND, true)), SECOND * 2);
        others.on_ran(Some((SECOND, false)), SECOND * 2);

        assert_eq!((own.eighths_slow(), others.eighths_slow()), (4, 1));
    }

    #[test]
    fn what_a_worker_says_of_itself_is_believed_within_reason_until_its_jobs_say_otherwise() {
        let said = |per_second| Pace::of(Speed::new(per_second)).eighths_slow();
        assert_eq!((said(0), said(1_000), said(2_000), said(500)), (0, 0, -8, 8));
        assert_eq!((said(1), said(u32::MAX)), (16, -16), "two octaves and no more");
        assert!(Pace::of(Speed::new(1_600)).speed().per_second().abs_diff(1_600) < 16);

        let mut boaster = Pace::of(Speed::new(u32::MAX));
        (0..2).for_each(|_| boaster.on_ran(Some((SECOND, true)), SECOND * 2));
        assert!(boaster.eighths_slow() > -8, "{boaster:?}");
        (0..60).for_each(|_| boaster.on_ran(Some((SECOND, true)), SECOND * 2));
        assert_eq!(boaster.eighths_slow(), 8);
    }

    #[test]
    fn what_took_long_on_a_slow_worker_is_known_to_take_less_elsewhere() {
        let mut pace = Pace::of(None);
        (0..40).for_each(|_| pace.on_ran(Some((SECOND, true)), SECOND * 2));

        assert!(pace.usual_time(SECOND * 8).abs_diff(SECOND * 4) < MS * 200);
        assert!(pace.time_for(SECOND).abs_diff(SECOND * 2) < MS * 100);
        let loss = Duration::from_micros(pace.loss_against(-8, SECOND));
        assert!(loss.abs_diff(SECOND * 3 / 2) < MS * 150, "an octave is eight eighths");
    }

    #[test]
    fn work_is_stretched_by_as_much_as_a_worker_is_slow_and_averages_move_an_eighth_of_the_way() {
        let mut pace = Pace::of(None);
        assert!(pace.stretched(1 << 20).abs_diff(1 << 20) < 1 << 13, "a worker like all");
        (0..40).for_each(|_| pace.on_ran(Some((SECOND, true)), SECOND * 2));
        assert!(pace.stretched(1 << 20).abs_diff(2 << 20) < 1 << 18, "{}", pace.stretched(1 << 20));

        assert_eq!((averaged(0, 80), averaged(80, 160), averaged(160, 80)), (80, 90, 150));
    }

    #[test]
    fn prefetch_is_deep_for_short_jobs_far_away_and_shallow_for_long_ones_nearby() {
        let (mut far, mut near) = (Pace::of(None), Pace::of(None));
        far.on_ran(None, MS * 50);
        far.on_started(MS * 20);
        near.on_ran(None, SECOND * 5);
        near.on_started(MS);

        assert_eq!(far.prefetch(8, 16), 7);
        assert_eq!(near.prefetch(8, 16), 1);
        assert_eq!(Pace::of(None).prefetch(8, 3), 3, "unknown: what is allowed");
        assert_eq!(near.prefetch(8, 0), 0, "none allowed");
    }
}
