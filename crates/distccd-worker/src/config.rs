//! The configuration: a [`Config`] cannot be wrong, and everything wrong on the way to one is said at once.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use crate::facts;
use crate::layers::read;
pub use crate::layers::{Layers, Problem, Source};
use crate::tools::ToolPattern;

/// Where the configuration is looked for when none is named.
pub const FILE: &str = "/etc/distccd/worker.toml";

/// More slots than any machine has; the number guards against a slip of the finger.
pub const MOST_SLOTS: u64 = 4096;

/// All keys of the file; the flags are the same with dashes.
pub const KEYS: [&str; 13] = [
    "server_addr",
    "fs_mount",
    "max_jobs",
    "disable_linking",
    "max_dirs_tracked",
    "dir_report_interval",
    "name",
    "insecure",
    "log_format",
    "allowed_tools",
    "kill_grace",
    "drain_grace",
    "scratch",
];

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
        let wrong = || format!("\"{text}\" is not HOST:PORT, such as \"build.example.org:50051\" or \"[::1]:50051\"");
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

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the worker runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is.
    pub server_addr: ServerAddr,
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
    /// Where long output of commands is kept until the server has it.
    pub scratch: PathBuf,
}

impl Default for Config {
    /// The built-in defaults.
    fn default() -> Self {
        Self {
            server_addr: ServerAddr { host: "localhost".to_owned(), port: 50051 },
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
            scratch: std::env::temp_dir(),
        }
    }
}

impl Config {
    /// Turns what was said into a configuration.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn from_layers(mut layers: Layers) -> Result<(Self, Provenance), Vec<Problem>> {
        let mut config = Self::default();
        let said = &mut layers;
        assign(&mut config.server_addr, said.take("server_addr", |value| ServerAddr::parse(&read::text(value)?)));
        assign(&mut config.mounts, said.take("fs_mount", mounts));
        assign(&mut config.slots, said.take("max_jobs", slots));
        assign(&mut config.linking, said.take("disable_linking", read::boolean).map(|disabled| !disabled));
        assign(&mut config.max_dirs_tracked, said.take("max_dirs_tracked", dirs_tracked));
        assign(&mut config.dir_report_interval, said.take("dir_report_interval", positive_duration));
        assign(&mut config.name, said.take("name", read::text));
        assign(&mut config.insecure, said.take("insecure", read::boolean));
        assign(&mut config.log_format, said.take("log_format", log_format));
        assign(&mut config.allowed_tools, said.take("allowed_tools", tool_patterns));
        assign(&mut config.kill_grace, said.take("kill_grace", read::duration));
        assign(&mut config.drain_grace, said.take("drain_grace", read::duration));
        assign(&mut config.scratch, said.take("scratch", |value| absolute(&read::text(value)?)));
        config.refuse_open_plaintext(&mut layers);
        if layers.is_wrong() {
            return Err(layers.into_problems());
        }
        let sources = KEYS.map(|key| layers.source(key));
        Ok((config, Provenance(sources)))
    }

    fn refuse_open_plaintext(&self, layers: &mut Layers) {
        if self.server_addr.is_loopback() || self.insecure {
            return;
        }
        let text = format!(
            "{} is another machine and the connection is not encrypted: say --insecure (insecure = true) if the \
             network between is trusted",
            self.server_addr
        );
        layers.complain(layers.source("server_addr"), "server_addr", text);
    }

    /// The configuration as a file that would say the same, with where each value comes from.
    #[must_use]
    pub fn print(&self, provenance: &Provenance) -> String {
        let lines = KEYS.iter().zip(&provenance.0).map(|(key, source)| {
            let line = format!("{key} = {}", self.value(key));
            format!("{line:<50} # {source}\n")
        });
        lines.collect()
    }

    fn value(&self, key: &str) -> Value {
        let text = |text: &dyn fmt::Display| Value::String(text.to_string());
        let duration = |duration: Duration| text(&humantime::format_duration(duration));
        let number = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        match key {
            "server_addr" => text(&self.server_addr),
            "fs_mount" => Value::Array(self.mounts.iter().map(|mount| text(&mount.display())).collect()),
            "max_jobs" => Value::Integer(self.slots.into()),
            "disable_linking" => Value::Boolean(!self.linking),
            "max_dirs_tracked" => number(self.max_dirs_tracked),
            "dir_report_interval" => duration(self.dir_report_interval),
            "name" => text(&self.name),
            "insecure" => Value::Boolean(self.insecure),
            "log_format" => text(match self.log_format {
                LogFormat::Text => &"text",
                LogFormat::Json => &"json",
            }),
            "allowed_tools" => Value::Array(self.allowed_tools.iter().map(|pattern| text(pattern)).collect()),
            "kill_grace" => duration(self.kill_grace),
            "drain_grace" => duration(self.drain_grace),
            "scratch" => text(&self.scratch.display()),
            other => unreachable!("{other} is not in KEYS"),
        }
    }
}

/// Who had the last word on each key.
#[derive(Clone, Debug)]
pub struct Provenance([Source; KEYS.len()]);

fn assign<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

fn slots(value: &Value) -> Result<u32, String> {
    if value.as_str().is_some_and(|text| text.trim() == "auto") {
        return Ok(facts::usable_cpus());
    }
    let count = read::count(value).ok().filter(|count| (1..=MOST_SLOTS).contains(count));
    let count = count.and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| format!("{value} is neither \"auto\" nor a number of slots from 1 to {MOST_SLOTS}"))
}

fn dirs_tracked(value: &Value) -> Result<usize, String> {
    let most = proto::limits::MAX_DIRS;
    let count = read::count(value).ok().and_then(|count| usize::try_from(count).ok());
    count.filter(|count| *count <= most).ok_or_else(|| format!("{value} is not a number from 0 to {most}"))
}

fn positive_duration(value: &Value) -> Result<Duration, String> {
    let duration = read::duration(value)?;
    if duration.is_zero() { Err(format!("{value} is no time at all: it must be positive")) } else { Ok(duration) }
}

fn log_format(value: &Value) -> Result<LogFormat, String> {
    match value.as_str() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        _ => Err(format!("{value} is neither \"text\" nor \"json\"")),
    }
}

fn mounts(value: &Value) -> Result<Vec<PathBuf>, String> {
    let mounts = read::list(value, ':')?.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    if mounts.is_empty() { Err("names no mount".to_owned()) } else { Ok(mounts) }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err(format!("\"{path}\" is not an absolute path"));
    }
    // Components leave out trailing and doubled slashes, which would make another mount of it.
    Ok(Path::new(path).components().collect())
}

fn tool_patterns(value: &Value) -> Result<Vec<ToolPattern>, String> {
    let pattern = |text: &String| {
        ToolPattern::try_new(text).ok_or_else(|| format!("\"{text}\" is a path: give file names, such as \"nvcc\""))
    };
    read::list(value, ',')?.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let mut layers = Layers::default();
        for (key, value) in settings {
            layers.set(key, Source::Flag(format!("--{key}")), Value::String((*value).to_owned()));
        }
        let read = Config::from_layers(layers).map(|(config, _)| config);
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = config(&[]).unwrap();

        assert_eq!(config.server_addr.to_string(), "localhost:50051");
        assert_eq!(config.mounts, [PathBuf::from("/mnt/cephfs")]);
        assert_eq!((config.slots, config.max_dirs_tracked), (4, 100));
        assert_eq!(config.dir_report_interval, Duration::from_secs(300));
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
        ]);

        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().any(|line| line.contains("HOST:PORT")));
        assert!(problems.iter().any(|line| line.contains("from 1 to 4096")));
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
    fn what_is_printed_reads_back() {
        let (first, provenance) = Config::from_layers(Layers::default()).unwrap();
        let printed = first.print(&provenance);

        let table: toml::Table = printed.parse().unwrap();
        let mut layers = Layers::default();
        for (key, value) in table {
            layers.set(&key, Source::Default, value);
        }
        let (second, provenance) = Config::from_layers(layers).unwrap();

        assert_eq!(second.print(&provenance), printed);
    }
}
