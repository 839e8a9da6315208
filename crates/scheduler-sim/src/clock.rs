//! Clocks that are nobody else's: each starts somewhere and goes a little too fast or too slow, as far as the leases allow
//! for that (`distccd-worker/src/lease.rs`: a twentieth either way).

use model::time::Timestamp;

use crate::rng::Rng;

const MILLION: i128 = 1_000_000;
/// The most that a clock is off, in millionths of what it counts.
const MOST_DRIFT: u64 = 50_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The world's time at which it was looked at first, and what it showed.
    began: Timestamp,
    showed: Timestamp,
    /// So many millionths too fast.
    drift: i128,
}

impl Clock {
    /// One that begins `now` and goes as the world's.
    pub(crate) fn exact(now: Timestamp) -> Self {
        Self { began: now, ..Self::default() }
    }

    /// One that shows that `now`, and goes as it will.
    pub(crate) fn some(now: Timestamp, showed: Timestamp, rng: &mut Rng) -> Self {
        let drift = match rng.between(0, 3) {
            0 => 0,
            1 => -i128::from(MOST_DRIFT),
            2 => i128::from(MOST_DRIFT),
            _ => i128::from(rng.between(0, 2 * MOST_DRIFT)) - i128::from(MOST_DRIFT),
        };
        Self { began: now, showed, drift }
    }

    /// What it shows at a time of the world.
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        let passed = micros(now) - micros(self.began);
        timestamp(micros(self.showed) + passed * (MILLION + self.drift) / MILLION)
    }

    /// When it will show that, or more, for the first time.
    pub(crate) fn when(&self, shown: Timestamp) -> Timestamp {
        let to_pass = micros(shown) - micros(self.showed);
        let rate = MILLION + self.drift;
        timestamp(micros(self.began) + (to_pass * MILLION + rate - 1) / rate)
    }
}

fn micros(time: Timestamp) -> i128 {
    i128::from(time.as_micros())
}

/// What is before the beginning is the beginning, and what is behind the end never comes.
fn timestamp(micros: i128) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_shown_then_and_not_before() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let (began, showed) = (rng.between(0, 1_000_000), rng.between(0, 1_000_000_000));
            let clock = Clock::some(Timestamp::from_micros(began), Timestamp::from_micros(showed), &mut rng);
            let wanted = Timestamp::from_micros(showed + rng.between(1, 100_000_000));

            let when = clock.when(wanted);

            assert!(clock.at(when) >= wanted, "seed {seed}");
            assert!(clock.at(Timestamp::from_micros(when.as_micros() - 1)) < wanted, "seed {seed}");
        }
    }
}
