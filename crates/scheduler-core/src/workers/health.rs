//! Whether a worker is trusted. One that fails what others then do, or fails one job after the other, is benched: for
//! longer each time. It comes back on probation, with one job at a time, until it has done one.

use core::time::Duration;

use model::time::Timestamp;

/// Jobs done in a row after which earlier terms are forgotten.
const FORGIVEN_AFTER: u32 = 50;

/// How benching is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BenchPolicy {
    /// Failures in a row that are the worker's own; 0 benches nobody.
    pub(crate) strikes: u32,
    pub(crate) first_term: Duration,
    pub(crate) longest_term: Duration,
}

impl BenchPolicy {
    fn term(self, terms_before: u32) -> Duration {
        self.first_term.saturating_mul(1 << terms_before.min(16)).min(self.longest_term)
    }
}

/// What a worker is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All that it has room for.
    #[default]
    Trusted,
    /// Nothing, until then.
    Benched(Timestamp),
    /// One job at a time.
    Probation,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    standing: Standing,
    /// Failures since the last success.
    strikes: u32,
    /// Times it was benched.
    terms: u32,
    /// Jobs done since the last failure.
    done: u32,
}

impl Health {
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn is_benched(&self) -> bool {
        matches!(self.standing, Standing::Benched(_))
    }

    pub(crate) fn on_success(&mut self) {
        self.strikes = 0;
        self.done = self.done.saturating_add(1);
        if self.done >= FORGIVEN_AFTER {
            self.terms = 0;
        }
        if self.standing == Standing::Probation {
            self.standing = Standing::Trusted;
        }
    }

    /// It failed a job that is not known to fail elsewhere. If it is to be benched for that: until when.
    pub(crate) fn on_strike(&mut self, policy: BenchPolicy, now: Timestamp) -> Option<Timestamp> {
        self.strikes = self.strikes.saturating_add(1);
        self.done = 0;
        let is_enough = self.strikes >= policy.strikes || self.standing == Standing::Probation;
        if policy.strikes == 0 || !is_enough || self.is_benched() {
            return None;
        }
        let until = now + policy.term(self.terms);
        self.terms = self.terms.saturating_add(1);
        self.strikes = 0;
        self.standing = Standing::Benched(until);
        Some(until)
    }

    /// The job that it failed fails elsewhere too: it was not the worker.
    pub(crate) fn on_cleared(&mut self) {
        self.strikes = self.strikes.saturating_sub(1);
    }

    pub(crate) fn on_term_over(&mut self) {
        if self.is_benched() {
            self.standing = Standing::Probation;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BenchPolicy =
        BenchPolicy { strikes: 3, first_term: Duration::from_secs(10), longest_term: Duration::from_secs(60) };

    fn benched_for(health: &mut Health) -> Option<Duration> {
        health.on_strike(POLICY, Timestamp::ZERO).map(|until| until.since(Timestamp::ZERO))
    }

    #[test]
    fn terms_grow_to_a_limit_and_a_failed_probe_is_enough_for_the_next() {
        let mut health = Health::default();
        assert_eq!((benched_for(&mut health), benched_for(&mut health)), (None, None));

        let terms = [10, 20, 40, 60, 60].map(Duration::from_secs);
        for term in terms {
            assert_eq!(benched_for(&mut health), Some(term));
            health.on_term_over();
        }
    }

    #[test]
    fn a_success_wipes_strikes_out_and_ends_probation() {
        let mut health = Health::default();
        (0..2).for_each(|_| assert_eq!(benched_for(&mut health), None));
        health.on_success();
        (0..2).for_each(|_| assert_eq!(benched_for(&mut health), None));

        assert_eq!(benched_for(&mut health), Some(POLICY.first_term));
        health.on_term_over();
        assert_eq!(health.standing(), Standing::Probation);
        health.on_success();
        assert_eq!(health.standing(), Standing::Trusted);
    }
}
