//! Settings, checked once at start so that the scheduler never meets a wrong one.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::time::Duration;

use model::ids::UserId;

/// How the scheduler behaves. [`Config::default`] is what the server uses when nothing is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a worker may be silent before its attempts are tried elsewhere. The worker kills its own attempts
    /// earlier than this after it last heard from the server (see `distccd_worker`'s lease).
    pub lease: Duration,
    /// Attempts a job gets in all.
    pub max_attempts: u32,
    /// Workers that may be lost with a job before it is suspected of killing them and gets no other.
    pub max_losses: u32,
    /// Attempts a worker may hold beyond its slots at the most, to hide the round trip; how many it is sent of them
    /// depends on its round trip and on how long its jobs run. 0 sends only what can start at once.
    pub prefetch: u32,
    /// How long a job that no present worker can take waits for one to (re)appear, counted from the last loss of a
    /// worker or the server's start; after that it is sent home at once.
    pub fleet_grace: Duration,
    /// Jobs that may wait in all; more are sent home.
    pub max_queued: usize,
    /// Jobs of one user that may wait; more are told to ask again later.
    pub max_queued_per_user: usize,
    /// After how long they shall ask again.
    pub ask_again: Duration,
    /// How long a delivered outcome is kept for a launcher that lost the answer and asks again.
    pub retain: Duration,
    /// Delivered outcomes that are kept at the most, the latest.
    pub max_retained: usize,
    /// Shares of slot time, in hundredths of the usual share; a user who is not named has 100.
    pub user_weights: BTreeMap<UserId, u32>,
    /// Users, beside root, whose negative priorities count against other users too.
    pub urgent_users: BTreeSet<UserId>,
    /// A build with at most so many jobs outstanding is interactive: it gets four times its share of its user's slots.
    /// 0 makes none of them so.
    pub interactive_jobs: u32,
    /// A job that has waited so long goes before all that came to its build after it, whatever their priority and
    /// length; and if it waits for memory, a worker is kept free for it.
    pub ageing: Duration,
    /// Jobs that are looked at, beyond the one whose turn it is, for one whose directory is warm on the worker that
    /// has a slot. They must be of the same build and kind and at least half as long; 0 takes turns strictly.
    pub look_ahead: usize,
    /// How long a job may wait beside an idle slot for others of its build that come at the same time: so that the
    /// longest of them gets the fastest slot. A job whose build has nothing else at workers does not wait; 0: none does.
    pub gather: Duration,
    /// How long a job waits beside an idle slot for a faster one, if it would lose there at least eight times as long,
    /// compared with the fastest worker that could take it. 0: none does.
    pub patience: Duration,
    /// What fetching a directory is taken to cost a worker that is cold for it: names, attributes and capabilities of a
    /// shared filesystem. 0: warmth counts for nothing.
    pub cold_directory: Duration,
    /// Workers that may write into one directory at once while there is other work for them; 0 is no limit.
    pub writers_per_dir: usize,
    /// Durations and memory needs that are remembered, at the most.
    pub history_entries: usize,
    /// Failures in a row that are a worker's own, after which it is benched; 0 benches nobody.
    pub bench_after: u32,
    /// How long it is benched the first time; twice as long each next time.
    pub bench_time: Duration,
    /// How long it is benched at the most.
    pub max_bench_time: Duration,
    /// Whether jobs that run far too long, or whose worker fell silent, get second attempts on idle slots. Only jobs
    /// that may be repeated, and only on workers that isolate.
    pub speculation: bool,
    /// How many times longer than predicted, and than jobs of its build lately run at the most against their
    /// predictions, a job must have run; hundredths, at least 100.
    pub speculation_factor: u32,
    /// How long it must have run at the least.
    pub speculation_after: Duration,
    /// Second attempts at once at the most, in hundredths of the jobs at workers; one is always allowed.
    pub speculation_share: u32,
    /// One job in so many is done twice and compared; 0 is none.
    pub audit_rate: u32,
    /// Scatters the hash tables, so that nobody can choose ids that make them slow. No decision depends on it.
    pub hash_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            max_attempts: 3,
            max_losses: 3,
            prefetch: 4,
            fleet_grace: Duration::from_secs(5),
            max_queued: 100_000,
            max_queued_per_user: 50_000,
            ask_again: Duration::from_secs(1),
            retain: Duration::from_secs(60),
            max_retained: 1_000_000,
            user_weights: BTreeMap::new(),
            urgent_users: BTreeSet::new(),
            interactive_jobs: 4,
            ageing: Duration::from_secs(60),
            look_ahead: 8,
            gather: Duration::from_millis(1),
            patience: Duration::from_millis(120),
            cold_directory: Duration::from_millis(100),
            writers_per_dir: 8,
            history_entries: 100_000,
            bench_after: 3,
            bench_time: Duration::from_secs(10),
            max_bench_time: Duration::from_secs(600),
            speculation: true,
            speculation_factor: 200,
            speculation_after: Duration::from_secs(2),
            speculation_share: 10,
            audit_rate: 0,
            hash_seed: 0x5851_f42d_4c95_7f2d,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The named setting must be above zero.
    MustBePositive {
        /// Which setting.
        field: &'static str,
    },
    /// The named setting must not be below this.
    TooSmall {
        /// Which setting.
        field: &'static str,
        /// The least that it may be.
        least: u32,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MustBePositive { field } => write!(f, "`{field}` must be above zero"),
            Self::TooSmall { field, least } => write!(f, "`{field}` must be at least {least}"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Finds the settings that cannot be.
    ///
    /// # Errors
    /// The first impossible setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("lease", !self.lease.is_zero()),
            ("max_attempts", self.max_attempts > 0),
            ("max_losses", self.max_losses > 0),
            ("max_queued", self.max_queued > 0),
            ("max_queued_per_user", self.max_queued_per_user > 0),
            ("ask_again", !self.ask_again.is_zero()),
            ("ageing", !self.ageing.is_zero()),
            ("bench_time", !self.bench_time.is_zero()),
            ("speculation_after", !self.speculation_after.is_zero()),
            ("user_weights", self.user_weights.values().all(|&weight| weight > 0)),
        ];
        match positive.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(ConfigError::MustBePositive { field }),
            None if self.speculation_factor < 100 => {
                Err(ConfigError::TooSmall { field: "speculation_factor", least: 100 })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_must_be_positive_may_be_zero() {
        let none = Duration::ZERO;
        let usual = Config::default;
        let zeroes = [
            ("lease", Config { lease: none, ..usual() }),
            ("max_attempts", Config { max_attempts: 0, ..usual() }),
            ("max_losses", Config { max_losses: 0, ..usual() }),
            ("max_queued", Config { max_queued: 0, ..usual() }),
            ("max_queued_per_user", Config { max_queued_per_user: 0, ..usual() }),
            ("ask_again", Config { ask_again: none, ..usual() }),
            ("ageing", Config { ageing: none, ..usual() }),
            ("bench_time", Config { bench_time: none, ..usual() }),
            ("speculation_after", Config { speculation_after: none, ..usual() }),
            ("user_weights", Config { user_weights: [(UserId::new(1), 0)].into(), ..usual() }),
        ];

        for (field, config) in zeroes {
            assert_eq!(config.check(), Err(ConfigError::MustBePositive { field }));
        }
    }

    #[test]
    fn ones_are_enough_and_the_usual_settings_are_possible() {
        let ones =
            Config { max_attempts: 1, max_losses: 1, max_queued: 1, max_queued_per_user: 1, ..Config::default() };

        assert_eq!(ones.check(), Ok(()));
        assert_eq!(Config { speculation_factor: 100, ..Config::default() }.check(), Ok(()));
        assert_eq!(Config::default().check(), Ok(()));
    }
}
