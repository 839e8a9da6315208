//! What both daemons start and stop with: configuration in layers ([`layers`]), a clock ([`clock`]), logs
//! ([`telemetry`]), an orderly end ([`shutdown`]), patience with filesystems that hang ([`patience`]) and word to systemd
//! ([`systemd`]).

#![forbid(unsafe_code)]

pub mod clock;
pub mod layers;
pub mod patience;
pub mod shutdown;
pub mod system_headers;
pub mod systemd;
pub mod telemetry;
mod value;

/// Exit codes of the daemons, after sysexits.h; documented in the README and the man pages.
pub mod exit {
    /// A flag is wrong (`EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// The service cannot be given: the port is in use, the peer speaks another protocol (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: u8 = 69;
    /// A bug of ours (`EX_SOFTWARE`).
    pub const SOFTWARE: u8 = 70;
    /// The operating system refuses what no daemon can do without (`EX_OSERR`).
    pub const OS: u8 = 71;
    /// The configuration, or what it names, is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;
}
