//! Settings, checked once at start so that the scheduler never meets a wrong one.

use core::fmt;
use core::time::Duration;

/// How the scheduler behaves. [`Config::default`] is what the server uses when nothing is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a worker may be silent before its attempts are tried elsewhere. The worker kills its own attempts
    /// earlier than this after it last heard from the server (see `distccd_worker`'s lease).
    pub lease: Duration,
    /// Attempts a job gets in all.
    pub max_attempts: u32,
    /// Attempts a worker may hold beyond its slots, to hide the round trip; 0 sends only what can start at once.
    pub prefetch: u32,
    /// How long a job that no present worker can take waits for one to (re)appear, counted from the last loss of a
    /// worker or the server's start; after that it is sent home at once.
    pub fleet_grace: Duration,
    /// Jobs that may wait in all; more are sent home.
    pub max_queued: usize,
    /// How long a delivered outcome is kept for a launcher that lost the answer and asks again.
    pub retain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            max_attempts: 3,
            prefetch: 1,
            fleet_grace: Duration::from_secs(5),
            max_queued: 100_000,
            retain: Duration::from_secs(60),
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
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MustBePositive { field } => write!(f, "`{field}` must be above zero"),
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
        if self.lease.is_zero() {
            return Err(ConfigError::MustBePositive { field: "lease" });
        }
        if self.max_attempts == 0 {
            return Err(ConfigError::MustBePositive { field: "max_attempts" });
        }
        if self.max_queued == 0 {
            return Err(ConfigError::MustBePositive { field: "max_queued" });
        }
        Ok(())
    }
}
