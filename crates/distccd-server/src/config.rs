//! The server's settings: flags, and the layers below them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use daemon_kit::layers::{self, Key, Layers, Mistake, Origins, quoted, quoted_list, shown_duration};
use daemon_kit::patience::{MOUNT_TIMEOUT, within};
use daemon_kit::telemetry::LogFormat;
use proto::convert::Sameness;
use scheduler_core::Config as SchedulerConfig;

use crate::people;
use crate::state_dir::StateDir;

/// The file that is read unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/distccd/server.toml";

/// The command line. Help texts are the documentation; values are checked with those of the other layers.
#[derive(Debug, Default, Parser)]
#[command(
    name = "distccd-server",
    version,
    about = "Accepts compile, link and archive jobs and gives them to workers that share the filesystem",
    after_help = "Every flag but --config and --print-config is also a key of the configuration file (with `_` for `-`) and a variable \
                  DISTCCD_NAME. Strength: defaults < file < environment < flags.\n\n\
                  Exit codes: 0 stopped in order, 64 wrong flag, 69 the address cannot be listened on or another \
                  server serves the mount, 78 wrong configuration."
)]
pub struct Cli {
    /// Where to listen; port 0 takes any free one [default: localhost:50051]
    #[arg(long, value_name = "HOST:PORT")]
    pub server_addr: Option<String>,
    /// The shared mount; may be repeated or hold a `:`-list [default: /mnt/cephfs]
    #[arg(long, value_name = "PATH")]
    pub fs_mount: Vec<String>,
    /// Listen beyond loopback without authentication or encryption: everybody who reaches the port can run compilers
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure: Option<String>,
    /// Start although another server answers that serves the mount
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub take_over: Option<String>,
    /// How long running jobs may finish after SIGTERM [default: 30s]
    #[arg(long, value_name = "DUR")]
    pub stop_grace: Option<String>,
    /// Silence after which a worker counts as lost [default: 5s]
    #[arg(long, value_name = "DUR")]
    pub lease: Option<String>,
    /// How often workers report [default: 1s]
    #[arg(long, value_name = "DUR")]
    pub heartbeat: Option<String>,
    /// Attempts of a job in all, for failures that are not the command's [default: 3]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<String>,
    /// Most jobs sent to a worker beyond its slots, to hide the round trip [default: 4]
    #[arg(long, value_name = "N")]
    pub prefetch: Option<String>,
    /// Jobs that may wait; more are sent home [default: 100000]
    #[arg(long, value_name = "N")]
    pub max_queued: Option<String>,
    /// Jobs of one user that may wait; launchers of more wait and ask again [default: 50000]
    #[arg(long, value_name = "N")]
    pub max_queued_per_user: Option<String>,
    /// How long a job waits for a worker that can take it after one was lost or the server started [default: 5s]
    #[arg(long, value_name = "DUR")]
    pub fleet_grace: Option<String>,
    /// What of a toolchain outside the mount must be the same for a job to go to a worker: `exact` (the contents of the
    /// compiler, all it executes, and the system's headers), `version` (what it says of itself) or `off` (its path)
    /// [default: exact]
    #[arg(long, value_name = "HOW")]
    pub toolchain_match: Option<String>,
    /// Keep here what jobs took, for the next run: a directory, `auto` or `off` [default: auto, which is /var/lib/distccd
    /// or one of the user's own]
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<String>,
    /// Write down here what the scheduler is told, to be replayed; `off` is nowhere [default: off]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<String>,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// The configuration file [default: /etc/distccd/server.toml, which need not exist]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings as they are put together, and end
    #[arg(long)]
    pub print_config: bool,
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub server_addr: String,
    /// The shared mounts.
    pub fs_mount: Vec<PathBuf>,
    /// Listen beyond loopback without protection.
    pub insecure: bool,
    /// Start although another server serves the mount.
    pub take_over: bool,
    /// How long running jobs may finish after SIGTERM.
    pub stop_grace: Duration,
    /// How often workers report.
    pub heartbeat: Duration,
    /// How long the filesystem of any machine may hide what another has committed. Directories that changed are
    /// remembered for so long; 0 is not at all.
    pub coherence_horizon: Duration,
    /// Where what the next run is to know is kept. [`crate::run`] takes `Auto` for `Off`: who calls it settles that.
    pub state_dir: StateDir,
    /// A worker whose clock is off by more gets no jobs.
    pub max_clock_skew: Duration,
    /// How much is kept of jobs, and of what they print, in MiB.
    pub max_kept_mib: u64,
    /// What of a toolchain must be the same for a job to go to a worker.
    pub toolchain_match: Sameness,
    /// Where the scheduler's journal goes, if anywhere.
    pub journal: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How the scheduler behaves.
    pub scheduler: SchedulerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_addr: "localhost:50051".to_owned(),
            fs_mount: vec![PathBuf::from("/mnt/cephfs")],
            insecure: false,
            take_over: false,
            stop_grace: Duration::from_secs(30),
            heartbeat: Duration::from_secs(1),
            // The longest that NFS caches a directory (acdirmax, nfs(5)).
            coherence_horizon: Duration::from_secs(60),
            max_clock_skew: Duration::from_secs(30),
            max_kept_mib: 1_024,
            state_dir: StateDir::Auto,
            toolchain_match: Sameness::Exact,
            journal: None,
            log_format: LogFormat::Text,
            scheduler: SchedulerConfig::default(),
        }
    }
}

/// Every setting.
pub const KEYS: &[Key<Config>] = &[
    Key {
        name: "ageing",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.ageing = it),
        show: |c| shown_duration(c.scheduler.ageing),
    },
    Key {
        name: "ask_again",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.ask_again = it),
        show: |c| shown_duration(c.scheduler.ask_again),
    },
    Key {
        name: "audit_rate",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.audit_rate = small(it)),
        show: |c| c.scheduler.audit_rate.to_string(),
    },
    Key {
        name: "bench_after",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.bench_after = small(it)),
        show: |c| c.scheduler.bench_after.to_string(),
    },
    Key {
        name: "bench_time",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.bench_time = it),
        show: |c| shown_duration(c.scheduler.bench_time),
    },
    Key {
        name: "coherence_horizon",
        set: |c, raw| raw.as_grace().map(|it| c.coherence_horizon = it),
        show: |c| shown_duration(c.coherence_horizon),
    },
    Key {
        name: "cold_directory",
        set: |c, raw| raw.as_grace().map(|it| c.scheduler.cold_directory = it),
        show: |c| shown_duration(c.scheduler.cold_directory),
    },
    Key {
        name: "fleet_grace",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.fleet_grace = it),
        show: |c| shown_duration(c.scheduler.fleet_grace),
    },
    Key {
        name: "fs_mount",
        set: |c, raw| raw.as_mounts().map(|it| c.fs_mount = it),
        show: |c| quoted_list(c.fs_mount.iter().map(|mount| mount.display())),
    },
    Key {
        name: "gather",
        set: |c, raw| raw.as_grace().map(|it| c.scheduler.gather = it),
        show: |c| shown_duration(c.scheduler.gather),
    },
    Key {
        name: "heartbeat",
        set: |c, raw| raw.as_duration().map(|it| c.heartbeat = it),
        show: |c| shown_duration(c.heartbeat),
    },
    Key {
        name: "history_entries",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.history_entries = small(it) as usize),
        show: |c| c.scheduler.history_entries.to_string(),
    },
    Key { name: "insecure", set: |c, raw| raw.as_bool().map(|it| c.insecure = it), show: |c| c.insecure.to_string() },
    Key {
        name: "interactive_jobs",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.interactive_jobs = small(it)),
        show: |c| c.scheduler.interactive_jobs.to_string(),
    },
    Key {
        name: "journal",
        set: |c, raw| raw.as_text().map(|it| c.journal = (it != "off").then(|| PathBuf::from(it))),
        show: |c| quoted(c.journal.as_deref().unwrap_or(Path::new("off")).display()),
    },
    Key {
        name: "lease",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.lease = it),
        show: |c| shown_duration(c.scheduler.lease),
    },
    Key {
        name: "log_format",
        set: |c, raw| Ok(raw.as_text()?.parse().map(|it| c.log_format = it)?),
        show: |c| quoted(c.log_format),
    },
    Key {
        name: "look_ahead",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.look_ahead = small(it) as usize),
        show: |c| c.scheduler.look_ahead.to_string(),
    },
    Key {
        name: "max_attempts",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.max_attempts = small(it)),
        show: |c| c.scheduler.max_attempts.to_string(),
    },
    Key {
        name: "max_bench_time",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.max_bench_time = it),
        show: |c| shown_duration(c.scheduler.max_bench_time),
    },
    Key {
        name: "max_clock_skew",
        set: |c, raw| raw.as_duration().map(|it| c.max_clock_skew = it),
        show: |c| shown_duration(c.max_clock_skew),
    },
    Key {
        name: "max_kept_mib",
        set: |c, raw| raw.as_number(64).map(|it| c.max_kept_mib = it),
        show: |c| c.max_kept_mib.to_string(),
    },
    Key {
        name: "max_losses",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.max_losses = small(it)),
        show: |c| c.scheduler.max_losses.to_string(),
    },
    Key {
        name: "max_queued",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.max_queued = small(it) as usize),
        show: |c| c.scheduler.max_queued.to_string(),
    },
    Key {
        name: "max_queued_per_user",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.max_queued_per_user = small(it) as usize),
        show: |c| c.scheduler.max_queued_per_user.to_string(),
    },
    Key {
        name: "max_retained",
        set: |c, raw| raw.as_number(1).map(|it| c.scheduler.max_retained = small(it) as usize),
        show: |c| c.scheduler.max_retained.to_string(),
    },
    Key {
        name: "patience",
        set: |c, raw| raw.as_grace().map(|it| c.scheduler.patience = it),
        show: |c| shown_duration(c.scheduler.patience),
    },
    Key {
        name: "prefetch",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.prefetch = small(it)),
        show: |c| c.scheduler.prefetch.to_string(),
    },
    Key {
        name: "retain",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.retain = it),
        show: |c| shown_duration(c.scheduler.retain),
    },
    Key {
        name: "server_addr",
        set: |c, raw| raw.as_address().map(|it| c.server_addr = it),
        show: |c| quoted(&c.server_addr),
    },
    Key {
        name: "speculation",
        set: |c, raw| raw.as_bool().map(|it| c.scheduler.speculation = it),
        show: |c| c.scheduler.speculation.to_string(),
    },
    Key {
        name: "speculation_after",
        set: |c, raw| raw.as_duration().map(|it| c.scheduler.speculation_after = it),
        show: |c| shown_duration(c.scheduler.speculation_after),
    },
    Key {
        name: "speculation_factor",
        set: |c, raw| raw.as_number(100).map(|it| c.scheduler.speculation_factor = small(it)),
        show: |c| c.scheduler.speculation_factor.to_string(),
    },
    Key {
        name: "speculation_share",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.speculation_share = small(it)),
        show: |c| c.scheduler.speculation_share.to_string(),
    },
    Key {
        name: "state_dir",
        set: |c, raw| StateDir::parse(&raw.as_text()?).map(|it| c.state_dir = it),
        show: |c| quoted(c.state_dir.shown().display()),
    },
    Key {
        name: "stop_grace",
        set: |c, raw| raw.as_duration().map(|it| c.stop_grace = it),
        show: |c| shown_duration(c.stop_grace),
    },
    Key {
        name: "take_over",
        set: |c, raw| raw.as_bool().map(|it| c.take_over = it),
        show: |c| c.take_over.to_string(),
    },
    Key {
        name: "toolchain_match",
        set: |c, raw| raw.as_text()?.parse().map(|it| c.toolchain_match = it),
        show: |c| quoted(c.toolchain_match),
    },
    Key {
        name: "urgent_users",
        set: |c, raw| people::users(raw).map(|it| c.scheduler.urgent_users = it),
        show: |c| people::shown_users(&c.scheduler.urgent_users),
    },
    Key {
        name: "weights",
        set: |c, raw| people::weights(raw).map(|it| c.scheduler.user_weights = it),
        show: |c| people::shown_weights(&c.scheduler.user_weights),
    },
    Key {
        name: "writers_per_dir",
        set: |c, raw| raw.as_number(0).map(|it| c.scheduler.writers_per_dir = small(it) as usize),
        show: |c| c.scheduler.writers_per_dir.to_string(),
    },
];

/// Counts beyond 32 bits mean the same as the largest one.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Cli {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("insecure", &self.insecure),
            ("take_over", &self.take_over),
            ("server_addr", &self.server_addr),
            ("stop_grace", &self.stop_grace),
            ("lease", &self.lease),
            ("heartbeat", &self.heartbeat),
            ("max_attempts", &self.max_attempts),
            ("prefetch", &self.prefetch),
            ("max_queued", &self.max_queued),
            ("max_queued_per_user", &self.max_queued_per_user),
            ("fleet_grace", &self.fleet_grace),
            ("state_dir", &self.state_dir),
            ("toolchain_match", &self.toolchain_match),
            ("journal", &self.journal),
            ("log_format", &self.log_format),
        ];
        let mut flags: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        flags.extend(self.fs_mount.iter().map(|mount| ("fs_mount", mount.clone())));
        flags
    }
}

/// Puts the layers together.
///
/// # Errors
/// Every mistake found in any layer.
pub fn load(cli: &Cli, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Mistake>> {
    let file = cli.config.clone().map_or((PathBuf::from(DEFAULT_FILE), false), |file| (file, true));
    let mut config = Config::default();
    let (origins, mut mistakes) = Layers { file: Some(file), env, flags: cli.flags() }.lay(&mut config, KEYS);
    mistakes.extend(impossible(&config, &origins));
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// What each value allows but they do not together.
fn impossible(config: &Config, origins: &Origins) -> Vec<Mistake> {
    let wrong = |key: &str, problem: String| Mistake { place: "settings".to_owned(), key: key.to_owned(), problem };
    let mut mistakes = Vec::new();
    if config.heartbeat * 3 > config.scheduler.lease {
        let lease = humantime::format_duration(config.scheduler.lease);
        mistakes.push(wrong(
            "heartbeat",
            format!("must be at most a third of `lease` ({lease}), or a late one loses the worker"),
        ));
    }
    if config.scheduler.bench_time > config.scheduler.max_bench_time {
        let longest = humantime::format_duration(config.scheduler.max_bench_time);
        mistakes.push(wrong("bench_time", format!("must be at most `max_bench_time` ({longest})")));
    }
    // The server itself needs no mount yet, so only one that somebody named must be there.
    let named = config.fs_mount.iter().filter(|_| origins.is_configured("fs_mount"));
    for mount in named {
        let (shown, path) = (mount.display(), mount.clone());
        match within(MOUNT_TIMEOUT, move || path.is_dir()) {
            Some(true) => {}
            Some(false) => mistakes.push(wrong("fs_mount", format!("{shown} is not there; mount it or name another"))),
            None => {
                let why =
                    format!("{shown} does not answer within {MOUNT_TIMEOUT:?}; check its servers, or name another");
                mistakes.push(wrong("fs_mount", why));
            }
        }
    }
    if let Err(error) = config.scheduler.check() {
        mistakes.push(wrong("scheduler", error.to_string()));
    }
    mistakes
}

/// The settings as a file that would give them.
#[must_use]
pub fn show(config: &Config) -> String {
    layers::show(config, KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_a_key() {
        let own = ["config", "print_config", "help", "version"];
        for arg in Cli::command().get_arguments() {
            let name = arg.get_id().as_str();
            assert!(own.contains(&name) || KEYS.iter().any(|key| key.name == name), "{name}");
        }
    }

    #[test]
    fn flags_win_over_the_environment() {
        let cli = Cli::parse_from(["distccd-server", "--lease=9s"]);
        let env = |name: &str| match name {
            "DISTCCD_LEASE" => Some("7s".to_owned()),
            "DISTCCD_SERVER_ADDR" => Some("[::1]:7".to_owned()),
            _ => None,
        };

        let config = load(&cli, &env).unwrap();

        assert_eq!(config.scheduler.lease, Duration::from_secs(9));
        assert_eq!(config.server_addr, "[::1]:7");
    }

    #[test]
    fn everything_wrong_with_how_users_share_is_told_at_once_and_says_what_would_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.toml");
        let text =
            "bench_time = '2h'\nageing = '0s'\nmax_losses = 0\nurgent_users = ['no-such-user']\n[weights]\n0 = 0\n";
        std::fs::write(&file, text).unwrap();
        let cli = Cli { config: Some(file), ..Cli::default() };

        let mistakes = load(&cli, &|_| None).unwrap_err();

        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 5, "{texts:#?}");
        assert!(texts.iter().any(|text| text.contains("`bench_time`: must be at most `max_bench_time` (10m)")));
        assert!(texts.iter().any(|text| text.contains("`ageing`: `0s` must be a duration above zero")));
        assert!(texts.iter().any(|text| text.contains("`max_losses`: `0` must be a whole number from 1")));
        assert!(texts.iter().any(|text| text.contains("`no-such-user` is no user of this machine")), "{texts:#?}");
        assert!(texts.iter().any(|text| text.contains("`weights`") && text.contains("from 1 to 10000")), "{texts:#?}");
    }

    #[test]
    fn what_is_printed_of_how_users_share_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.toml");
        std::fs::write(&file, "fs_mount = '/'\nurgent_users = ['root', '77']\n[weights]\nroot = 400\n77 = 50\n")
            .unwrap();
        let cli = Cli { config: Some(file.clone()), ..Cli::default() };
        let config = load(&cli, &|_| None).unwrap();
        assert_eq!(config.scheduler.user_weights.values().copied().collect::<Vec<_>>(), [400, 50]);

        std::fs::write(&file, show(&config)).unwrap();

        assert_eq!(load(&cli, &|_| None).unwrap(), config);
    }

    #[test]
    fn a_heartbeat_as_long_as_the_lease_and_a_missing_mount_are_told_together() {
        let cli = Cli::parse_from(["distccd-server", "--heartbeat=5s", "--fs-mount=/no/such/mount"]);

        let mistakes = load(&cli, &|_| None).unwrap_err();

        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.contains("`heartbeat`: must be at most a third")), "{texts:#?}");
        assert!(texts.iter().any(|text| text.contains("/no/such/mount is not there")), "{texts:#?}");
    }
}
