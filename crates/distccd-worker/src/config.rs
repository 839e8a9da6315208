//! The configuration: a [`Config`] cannot be wrong, and everything wrong on the way to one is said at once.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use cluster_file::discovery::SERVICE_USER;
use daemon_kit::layers::{Key, Layers, Mistake, Origins, Raw, quoted, quoted_list, shown_duration, size_text};
use daemon_kit::telemetry::LogFormat;

use crate::facts;
use crate::tools::ToolPattern;

/// The file that is read unless `--config` names another.
pub const DEFAULT_FILE: &str = "/etc/distccd/worker.toml";

/// More slots than any machine has; the number guards against a slip of the finger.
pub const MOST_SLOTS: u64 = 4096;

/// Host and port, checked for form only: the name may resolve later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr {
    host: String,
    port: u16,
}

impl ServerAddr {
    /// Reads `HOST:PORT`, an IPv6 address in brackets.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be HOST:PORT, such as `build.example.org:50051` or `[::1]:50051`".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
        };
        if good { Ok(Self { host: host.to_owned(), port }) } else { Err(wrong()) }
    }

    /// Whether it is surely this very machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_matches(['[', ']']);
        address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether attempts are isolated, see `keeper/view.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationWish {
    /// Where this machine can.
    Auto,
    /// Always: a machine that cannot takes no work.
    Overlay,
    /// No overlays; plain compiles are told other names for their outputs, all else writes in place.
    Redirect,
    /// Never: commands write in place.
    Off,
}

impl IsolationWish {
    const ALL: &[Self] = &[Self::Auto, Self::Overlay, Self::Redirect, Self::Off];
}

impl fmt::Display for IsolationWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Overlay => "overlay",
            Self::Redirect => "redirect",
            Self::Off => "off",
        })
    }
}

/// Whether attempts have control groups of their own, see `groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupsWish {
    /// Where this machine can.
    Auto,
    /// Never.
    Off,
}

impl CgroupsWish {
    const ALL: &[Self] = &[Self::Auto, Self::Off];
}

impl fmt::Display for CgroupsWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
        })
    }
}

/// When a result may be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As with a direct run: when files are closed.
    None,
    /// When they are on disk.
    Fsync,
}

impl Durability {
    const ALL: &[Self] = &[Self::None, Self::Fsync];
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Fsync => "fsync",
        })
    }
}

/// What the worker runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is.
    pub server_addr: ServerAddr,
    /// Whether the mounts are asked where the server is, because nobody has said so; `server_addr` is what counts when
    /// they do not know.
    pub discovers: bool,
    /// Whose word on the mount is taken besides root's and our own user's.
    pub service_user: String,
    /// The shared mounts, absolute, without a trailing slash.
    pub mounts: Vec<PathBuf>,
    /// Slots, at least 1.
    pub slots: u32,
    /// Whether it takes link jobs.
    pub linking: bool,
    /// Directories whose warmth is reported.
    pub max_dirs_tracked: usize,
    /// How often it is reported in full.
    pub dir_report_interval: Duration,
    /// Unique in the fleet.
    pub name: String,
    /// Allows plain text to a server on another machine.
    pub insecure: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Programs allowed beside the known ones.
    pub allowed_tools: Vec<ToolPattern>,
    /// Between SIGTERM and SIGKILL of a cancelled command.
    pub kill_grace: Duration,
    /// How long a drain lets running commands finish.
    pub drain_grace: Duration,
    /// Whether attempts have control groups of their own.
    pub cgroups: CgroupsWish,
    /// What the processes of one attempt may have of memory together, in bytes; `None` for what the machine has.
    pub attempt_memory: Option<u64>,
    /// Whether attempts are isolated.
    pub isolation: IsolationWish,
    /// When a result may be reported.
    pub durability: Durability,
    /// What an isolated attempt may write before it is published, in bytes of memory.
    pub scratch_limit: u64,
    /// Whether directories are looked at afresh that others have changed; see `HIDDEN`.
    pub coherence: bool,
    /// Where long output of commands is kept until the server has it.
    pub scratch: PathBuf,
    /// So much may one attempt print, in bytes: it bounds what `scratch` must hold, together with the slots.
    pub max_output: u64,
}

impl Default for Config {
    /// The built-in defaults.
    fn default() -> Self {
        Self {
            server_addr: ServerAddr { host: "localhost".to_owned(), port: 50051 },
            discovers: false,
            service_user: SERVICE_USER.to_owned(),
            mounts: vec![PathBuf::from("/mnt/cephfs")],
            slots: 4,
            linking: true,
            max_dirs_tracked: 100,
            dir_report_interval: Duration::from_secs(300),
            name: facts::host_name(),
            insecure: false,
            log_format: LogFormat::Text,
            allowed_tools: Vec::new(),
            kill_grace: Duration::from_secs(2),
            drain_grace: Duration::from_secs(600),
            cgroups: CgroupsWish::Auto,
            attempt_memory: None,
            isolation: IsolationWish::Auto,
            durability: Durability::None,
            scratch_limit: default_scratch_limit(),
            coherence: true,
            scratch: std::env::temp_dir(),
            max_output: 1 << 30,
        }
    }
}

/// Every setting; the flags are the same with dashes.
pub const KEYS: &[Key<Config>] = &[
    Key {
        name: "allowed_tools",
        set: |c, raw| tool_patterns(raw).map(|it| c.allowed_tools = it),
        show: |c| quoted_list(&c.allowed_tools),
    },
    Key {
        name: "attempt_memory",
        set: |c, raw| attempt_memory(raw).map(|it| c.attempt_memory = it),
        show: |c| quoted(c.attempt_memory.map_or_else(|| NO_LIMIT.to_owned(), size_text)),
    },
    Key {
        name: "cgroups",
        set: |c, raw| choice(raw, CgroupsWish::ALL).map(|it| c.cgroups = it),
        show: |c| quoted(c.cgroups),
    },
    Key {
        name: "dir_report_interval",
        set: |c, raw| raw.as_duration().map(|it| c.dir_report_interval = it),
        show: |c| shown_duration(c.dir_report_interval),
    },
    Key {
        name: "disable_linking",
        set: |c, raw| raw.as_bool().map(|disabled| c.linking = !disabled),
        show: |c| (!c.linking).to_string(),
    },
    Key {
        name: "drain_grace",
        set: |c, raw| raw.as_grace().map(|it| c.drain_grace = it),
        show: |c| shown_duration(c.drain_grace),
    },
    Key {
        name: "durability",
        set: |c, raw| choice(raw, Durability::ALL).map(|it| c.durability = it),
        show: |c| quoted(c.durability),
    },
    Key {
        name: "fs_mount",
        set: |c, raw| raw.as_mounts().map(|it| c.mounts = it),
        show: |c| quoted_list(c.mounts.iter().map(|mount| mount.display())),
    },
    Key { name: "insecure", set: |c, raw| raw.as_bool().map(|it| c.insecure = it), show: |c| c.insecure.to_string() },
    Key {
        name: "isolation",
        set: |c, raw| choice(raw, IsolationWish::ALL).map(|it| c.isolation = it),
        show: |c| quoted(c.isolation),
    },
    Key {
        name: "kill_grace",
        set: |c, raw| raw.as_grace().map(|it| c.kill_grace = it),
        show: |c| shown_duration(c.kill_grace),
    },
    Key {
        name: "log_format",
        set: |c, raw| {
            c.log_format = raw.as_text()?.parse()?;
            Ok(())
        },
        show: |c| quoted(c.log_format),
    },
    Key {
        name: "max_dirs_tracked",
        set: |c, raw| dirs_tracked(raw).map(|it| c.max_dirs_tracked = it),
        show: |c| c.max_dirs_tracked.to_string(),
    },
    Key { name: "max_jobs", set: |c, raw| slots(raw).map(|it| c.slots = it), show: |c| c.slots.to_string() },
    Key {
        name: "max_output",
        set: |c, raw| raw.as_size().map(|it| c.max_output = it),
        show: |c| quoted(size_text(c.max_output)),
    },
    Key { name: "name", set: |c, raw| raw.as_text().map(|it| c.name = it), show: |c| quoted(&c.name) },
    Key {
        name: "scratch",
        set: |c, raw| raw.as_path().map(|it| c.scratch = it),
        show: |c| quoted(c.scratch.display()),
    },
    Key {
        name: "scratch_limit",
        set: |c, raw| raw.as_size().map(|it| c.scratch_limit = it),
        show: |c| quoted(size_text(c.scratch_limit)),
    },
    Key {
        name: "server_addr",
        set: |c, raw| ServerAddr::parse(&raw.as_text()?).map(|it| c.server_addr = it),
        show: |c| quoted(&c.server_addr),
    },
    Key {
        name: "service_user",
        set: |c, raw| raw.as_text().map(|it| c.service_user = it),
        show: |c| quoted(&c.service_user),
    },
];

/// Settings that are neither shown nor documented for users: with `coherence` off, builds on filesystems like NFS go
/// wrong, and a test can show that it would notice.
const HIDDEN: Key<Config> = Key {
    name: "coherence",
    set: |c, raw| raw.as_bool().map(|it| c.coherence = it),
    show: |c| c.coherence.to_string(),
};

/// One of these, by what it is shown as.
fn choice<T: fmt::Display + Copy>(raw: &Raw, all: &[T]) -> Result<T, String> {
    let text = raw.as_text()?;
    let names = || all.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(" or ");
    all.iter().copied().find(|choice| choice.to_string() == text).ok_or_else(|| format!("must be {}", names()))
}

/// How no bound of memory is written.
const NO_LIMIT: &str = "unlimited";

fn attempt_memory(raw: &Raw) -> Result<Option<u64>, String> {
    match raw.as_text() {
        Ok(text) if text == NO_LIMIT => Ok(None),
        _ => raw.as_size().map(Some).map_err(|error| format!("{error}, or `{NO_LIMIT}`")),
    }
}

/// A quarter of the memory that this worker may use: room for the largest link, and no ruin if one fills it.
fn default_scratch_limit() -> u64 {
    const LEAST: u64 = 64 << 20;
    // In whole mebibytes, which print well.
    (facts::usable_memory() / 4).max(LEAST) >> 20 << 20
}

fn slots(raw: &Raw) -> Result<u32, String> {
    let count = raw.as_number_or_auto(1..=MOST_SLOTS)?;
    Ok(count.and_then(|count| u32::try_from(count).ok()).unwrap_or_else(facts::usable_cpus))
}

fn dirs_tracked(raw: &Raw) -> Result<usize, String> {
    let most = proto::limits::MAX_DIRS;
    let count = raw.as_number_in(0..=most as u64)?;
    Ok(usize::try_from(count).unwrap_or(most))
}

fn tool_patterns(raw: &Raw) -> Result<Vec<ToolPattern>, String> {
    let pattern = |text: &String| {
        ToolPattern::try_new(text).ok_or_else(|| "must be file names without a path, such as `nvcc`".to_owned())
    };
    raw.as_list(',')?.iter().map(pattern).collect()
}

/// Puts the layers over the defaults.
///
/// # Errors
/// Every mistake found in any layer, and what the settings do not allow together.
pub fn load(layers: &Layers<'_>) -> Result<(Config, Origins), Vec<Mistake>> {
    let mut config = Config::default();
    let (origins, mut mistakes) = layers.lay(&mut config, &[KEYS, &[HIDDEN]].concat());
    config.discovers = !origins.is_configured("server_addr");
    mistakes.extend(open_plaintext(&config).map(|problem| origins.mistake("server_addr", problem)));
    if config.attempt_memory.is_some() && config.cgroups == CgroupsWish::Off {
        mistakes
            .push(origins.mistake("attempt_memory", "is bounded by control groups, and `cgroups` is `off`".to_owned()));
    }
    if mistakes.is_empty() { Ok((config, origins)) } else { Err(mistakes) }
}

fn open_plaintext(config: &Config) -> Option<String> {
    let open = !config.server_addr.is_loopback() && !config.insecure;
    open.then(|| {
        let server = &config.server_addr;
        format!("{server} {OPEN_PLAINTEXT}")
    })
}

/// What is said of an address of another machine.
pub(crate) const OPEN_PLAINTEXT: &str = "is another machine and the connection is not encrypted: say --insecure \
                                         (insecure = true) if the network between is trusted";

#[cfg(test)]
mod tests {
    use super::*;
    use daemon_kit::layers::show_with_origins;

    /// The settings as flags.
    fn config(settings: &[(&'static str, &str)]) -> Result<Config, Vec<String>> {
        let flags = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let read = load(&Layers { file: None, env: &|_| None, flags }).map(|(config, _)| config);
        read.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = config(&[]).unwrap();

        assert_eq!(config.server_addr.to_string(), "localhost:50051");
        assert_eq!(config.mounts, [PathBuf::from("/mnt/cephfs")]);
        assert_eq!((config.slots, config.max_dirs_tracked), (4, 100));
        assert_eq!(config.dir_report_interval, Duration::from_secs(300));
        assert_eq!(config.max_output, 1 << 30);
        assert!(config.linking && !config.insecure);
    }

    #[test]
    fn every_bad_value_is_reported_and_says_what_would_be_right() {
        let problems = config(&[
            ("server_addr", "http://x"),
            ("max_jobs", "0"),
            ("dir_report_interval", "0s"),
            ("fs_mount", "relative"),
            ("log_format", "xml"),
            ("max_output", "1GB"),
            ("allowed_tools", "nvcc,/bin/sh"),
        ]);

        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 7, "{problems:?}");
        assert!(problems.iter().any(|line| line.contains("HOST:PORT")));
        assert!(problems.iter().any(|line| line.contains("from 1 to 4096")));
        assert!(problems.iter().any(|line| line.contains("1GiB")));
    }

    #[test]
    fn mounts_are_a_list_and_lose_their_trailing_slash() {
        let config = config(&[("fs_mount", "/a/:/b//c")]).unwrap();

        assert_eq!(config.mounts, [PathBuf::from("/a"), PathBuf::from("/b/c")]);
        assert_eq!(config.mounts[0].as_os_str(), "/a");
    }

    #[test]
    fn auto_is_one_slot_a_cpu() {
        assert_eq!(config(&[("max_jobs", "auto")]).unwrap().slots, facts::usable_cpus());
    }

    #[test]
    fn plaintext_beyond_this_machine_wants_to_be_said() {
        for near in ["localhost:1", "127.0.0.9:1", "[::1]:1"] {
            assert!(config(&[("server_addr", near)]).is_ok(), "{near}");
        }
        let problems = config(&[("server_addr", "build.example.org:1")]).unwrap_err();
        assert!(problems[0].starts_with("flag: `--server-addr`: "), "{problems:?}");
        assert!(problems[0].contains("--insecure"), "{problems:?}");
        assert!(config(&[("server_addr", "build.example.org:1"), ("insecure", "true")]).is_ok());
    }

    #[test]
    fn addresses_are_checked_for_form() {
        for wrong in ["", "host", "host:", ":1", "host:0", "host:65536", "::1:1", "[::1:1", "a b:1", "[x]:1"] {
            assert!(ServerAddr::parse(wrong).is_err(), "{wrong}");
        }
        assert!(ServerAddr::parse("build_1.example-x.org:50051").is_ok());
    }

    #[test]
    fn graces_may_be_none_at_all() {
        let config = config(&[("kill_grace", "0s"), ("drain_grace", "0s")]).unwrap();

        assert_eq!((config.kill_grace, config.drain_grace), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let odd = Config {
            mounts: vec!["/a".into(), "/with \"quotes\" and \\".into()],
            allowed_tools: vec![ToolPattern::try_new("nv*").unwrap(), ToolPattern::try_new("b").unwrap()],
            max_output: 100 << 20,
            linking: false,
            ..Config::default()
        };
        let printed = show_with_origins(&odd, KEYS, &Origins::default());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("worker.toml");
        std::fs::write(&file, &printed).unwrap();

        let (read, _) = load(&Layers { file: Some((file, true)), env: &|_| None, flags: Vec::new() }).unwrap();

        assert_eq!(show_with_origins(&read, KEYS, &Origins::default()), printed);
    }
}
