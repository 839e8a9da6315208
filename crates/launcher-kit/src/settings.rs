//! Settings of a launcher, weakest first: defaults, the cluster file ([`crate::discovery`]), `/etc/distccd/launcher.toml`, the user's
//! `~/.config/distccd/launcher.toml`, environment `DISTCCD_*`, flags (design.md section 3).
//!
//! Every mistake is collected before any is reported, and each names where it was made, the key, and what would be right.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_file::discovery::SERVICE_USER;

use crate::value::{Value, address, boolean, duration, list, mounts, names, nice, path, paths, positive, size, text};

/// What happens when the cluster cannot take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// An error.
    Never,
    /// A local run, throttled over all launchers of the user on this host.
    Limited,
    /// A local run at once.
    Always,
}

impl Fallback {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "limited" => Some(Self::Limited),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// What a launcher was told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server is: `HOST:PORT`.
    pub server_addr: String,
    /// Whether anybody has said so; else the mount is asked.
    pub server_is_configured: bool,
    /// Whose cluster file is believed besides root's and one's own: a name of `/etc/passwd`, or a number.
    pub service_user: String,
    /// The shared mounts.
    pub fs_mounts: Vec<PathBuf>,
    /// Root of the build's outputs; the working directory when not given.
    pub build_dir: Option<PathBuf>,
    /// At most so many jobs in one message.
    pub batch_size: u32,
    /// No job waits longer than this for company.
    pub batch_timeout: Duration,
    /// How urgent the jobs are, as `nice` counts: -20 the most, 19 the least.
    pub priority: i32,
    /// What to do without a cluster.
    pub fallback: Fallback,
    /// How many throttled local runs at once; `None` is one per CPU.
    pub local_slots: Option<usize>,
    /// Memory in bytes that a throttled local run must find beside those that have just begun; a link four times as
    /// much. 0 does not look.
    pub local_memory: u64,
    /// How long to try to reach the server before a job was submitted.
    pub connect_timeout: Duration,
    /// How long to try to reach the server again after the connection was lost with jobs submitted. Longer than the
    /// workers' lease, so that nothing of ours still runs when the launcher gives up and runs the job itself.
    pub reattach_timeout: Duration,
    /// How long to wait until this machine sees the outputs that a worker committed.
    pub visibility_timeout: Duration,
    /// Directories that are the same on every machine without being shared: the system's and the toolchains' own.
    pub system_dirs: Vec<PathBuf>,
    /// Variables passed to the compiler besides those that compilers are known to read.
    pub pass_env: Vec<String>,
    /// Say on stderr what is done.
    pub verbose: bool,
    /// Say in this file what is done.
    pub log_file: Option<PathBuf>,
    /// `DISTCCD_DISABLE=1`: run everything locally.
    pub disabled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_addr: "localhost:50051".to_owned(),
            server_is_configured: false,
            service_user: SERVICE_USER.to_owned(),
            fs_mounts: vec![PathBuf::from("/mnt/cephfs")],
            build_dir: None,
            batch_size: 1,
            batch_timeout: Duration::from_millis(500),
            priority: 0,
            fallback: Fallback::Limited,
            local_slots: None,
            local_memory: 512 << 20,
            connect_timeout: Duration::from_secs(1),
            reattach_timeout: Duration::from_secs(15),
            visibility_timeout: Duration::from_secs(60),
            system_dirs: ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt"]
                .map(PathBuf::from)
                .into(),
            pass_env: Vec::new(),
            verbose: false,
            log_file: None,
            disabled: false,
        }
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was made: a file, `environment`, `flag`.
    pub place: String,
    /// The key, the variable or the flag.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.place, self.key, self.problem)
    }
}

/// Every setting that a file, the environment or a flag may give, under the name it has in files.
const KEYS: &[(&str, Setter)] = &[
    ("batch_size", |s, v| put(&mut s.batch_size, positive(v))),
    ("batch_timeout", |s, v| put(&mut s.batch_timeout, duration(v))),
    ("build_dir", |s, v| put(&mut s.build_dir, path(v).map(Some))),
    ("connect_timeout", |s, v| put(&mut s.connect_timeout, duration(v))),
    ("fallback", |s, v| {
        s.fallback = v.text().and_then(Fallback::parse).ok_or("must be `never`, `limited` or `always`")?;
        Ok(())
    }),
    ("fs_mount", |s, v| put(&mut s.fs_mounts, mounts(v))),
    ("local_memory", |s, v| put(&mut s.local_memory, size(v))),
    ("local_slots", |s, v| put(&mut s.local_slots, positive(v).map(|number| Some(number as usize)))),
    ("log_file", |s, v| put(&mut s.log_file, path(v).map(Some))),
    ("pass_env", |s, v| put(&mut s.pass_env, list(v).map(names))),
    ("priority", |s, v| put(&mut s.priority, nice(v))),
    ("reattach_timeout", |s, v| put(&mut s.reattach_timeout, duration(v))),
    ("server_addr", |s, v| {
        s.server_is_configured = true;
        put(&mut s.server_addr, address(v))
    }),
    ("service_user", |s, v| put(&mut s.service_user, text(v))),
    ("system_dirs", |s, v| put(&mut s.system_dirs, list(v).map(paths))),
    ("verbose", |s, v| put(&mut s.verbose, boolean(v))),
    ("visibility_timeout", |s, v| put(&mut s.visibility_timeout, duration(v))),
];

fn put<T>(place: &mut T, value: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = value?;
    Ok(())
}

type Setter = fn(&mut Settings, &Value) -> Result<(), &'static str>;

/// A setting given on the command line: its name as in files, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key, such as `server_addr`.
    pub key: &'static str,
    /// The value as typed.
    pub value: OsString,
}

/// The key for a flag's name without dashes (`server-addr`), if launchers have such a flag.
#[must_use]
pub fn key_of_flag(name: &str) -> Option<&'static str> {
    let key = name.replace('-', "_");
    KEYS.iter().map(|&(known, _)| known).find(|&known| known == key && !name.contains('_'))
}

/// Puts the layers together.
///
/// # Errors
/// Every mistake found in any layer.
pub fn load(given: &[Given], env: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, Vec<Mistake>> {
    let mut settings = Settings::default();
    let mut mistakes = Vec::new();
    for file in files(env) {
        apply_file(&mut settings, &file, &mut mistakes);
    }
    for &(key, set) in KEYS {
        let variable = format!("DISTCCD_{}", key.to_uppercase());
        if let Some(text) = env(&variable) {
            apply(&mut settings, set, Value::Text(text), ("environment", &variable), &mut mistakes);
        }
    }
    let disabled = Value::Text(env("DISTCCD_DISABLE").unwrap_or_default());
    let set: Setter = |s, v| put(&mut s.disabled, boolean(v));
    apply(&mut settings, set, disabled, ("environment", "DISTCCD_DISABLE"), &mut mistakes);
    apply_flags(&mut settings, given, &mut mistakes);
    if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
}

/// The files that may hold settings, weakest first.
fn files(env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home_config = env("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home_config = home_config.or_else(|| Some(PathBuf::from(env("HOME")?).join(".config")));
    let system = PathBuf::from("/etc/distccd/launcher.toml");
    [Some(system), home_config.map(|dir| dir.join("distccd/launcher.toml"))].into_iter().flatten().collect()
}

fn apply_file(settings: &mut Settings, file: &Path, mistakes: &mut Vec<Mistake>) {
    let place = file.display().to_string();
    let mut wrong = |key: &str, problem: String| {
        mistakes.push(Mistake { place: place.clone(), key: key.to_owned(), problem });
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        // No such file is the common case and no mistake. Neither is a directory on the way that is not ours to search
        // (sudo that keeps HOME): nobody has configured this user there.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && file.metadata().is_err() => return,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return,
        Err(error) => return wrong("(file)", format!("cannot be read: {error}; make it readable or remove it")),
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            let first_line = error.message().lines().next().unwrap_or_default().to_owned();
            return wrong("(syntax)", format!("is not TOML: {first_line}"));
        }
    };
    for (key, value) in table {
        match KEYS.iter().find(|&&(known, _)| known == key) {
            Some(&(known, set)) => apply(settings, set, Value::Toml(value), (&place, known), mistakes),
            None => mistakes.push(Mistake { place: place.clone(), key, problem: unknown_key() }),
        }
    }
}

fn unknown_key() -> String {
    let known: Vec<&str> = KEYS.iter().map(|&(key, _)| key).collect();
    format!("unknown key; launchers know {}", known.join(", "))
}

/// Flags win. `--fs-mount` may be repeated: the flags together replace what weaker layers say.
fn apply_flags(settings: &mut Settings, given: &[Given], mistakes: &mut Vec<Mistake>) {
    let mut mounts = Vec::new();
    for flag in given {
        let set = KEYS.iter().find(|&&(known, _)| known == flag.key).map(|&(_, set)| set);
        let Some(set) = set else { continue };
        let name = format!("--{}", flag.key.replace('_', "-"));
        apply(settings, set, Value::Text(flag.value.clone()), ("flag", &name), mistakes);
        if flag.key == "fs_mount" {
            mounts.append(&mut settings.fs_mounts.clone());
        }
    }
    if !mounts.is_empty() {
        settings.fs_mounts = mounts;
    }
}

fn apply(settings: &mut Settings, set: Setter, value: Value, at: (&str, &str), mistakes: &mut Vec<Mistake>) {
    if let Err(problem) = set(settings, &value) {
        let shown = match &value {
            Value::Text(text) => format!("`{}`", text.to_string_lossy()),
            Value::Toml(value) => format!("`{value}`"),
        };
        mistakes.push(Mistake { place: at.0.to_owned(), key: at.1.to_owned(), problem: format!("{shown} {problem}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_of(vars: Vec<(&'static str, String)>) -> impl Fn(&str) -> Option<OsString> {
        move |name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    fn given(key: &'static str, value: &str) -> Given {
        Given { key, value: value.into() }
    }

    #[test]
    fn the_keys_are_sorted_and_known_as_flags() {
        assert!(KEYS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(key_of_flag("server-addr"), Some("server_addr"));
        assert_eq!(key_of_flag("server_addr"), None);
        assert_eq!(key_of_flag("sever-addr"), None);
    }

    #[test]
    fn a_priority_is_a_nice_value_in_every_layer() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("distccd")).unwrap();
        std::fs::write(home.path().join("distccd/launcher.toml"), "priority = -20\n").unwrap();
        let config_home = home.path().to_str().unwrap().to_owned();
        let file = env_of(vec![("XDG_CONFIG_HOME", config_home)]);
        let variable = env_of(vec![("DISTCCD_PRIORITY", "19".into())]);

        assert_eq!(load(&[], &env_of(Vec::new())).unwrap().priority, 0);
        assert_eq!(load(&[], &file).unwrap().priority, -20);
        assert_eq!(load(&[], &variable).unwrap().priority, 19);
        assert_eq!(load(&[given("priority", "-5")], &variable).unwrap().priority, -5);
        for wrong in ["-21", "20", "high", "", "1.5"] {
            let mistakes = load(&[given("priority", wrong)], &env_of(Vec::new())).unwrap_err();
            let told = format!("flag: `--priority`: `{wrong}` must be a whole number from -20 to 19");
            assert_eq!(mistakes[0].to_string(), told);
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_files() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("distccd")).unwrap();
        let file = home.path().join("distccd/launcher.toml");
        std::fs::write(&file, "server_addr = 'file:1'\nbatch_size = 7\nbatch_timeout = '1s'\n").unwrap();
        let config_home = home.path().to_str().unwrap().to_owned();
        let env = env_of(vec![("XDG_CONFIG_HOME", config_home), ("DISTCCD_BATCH_SIZE", "8".into())]);

        let settings = load(&[given("batch_timeout", "2s")], &env).unwrap();

        assert_eq!(settings.server_addr, "file:1");
        assert_eq!(settings.batch_size, 8);
        assert_eq!(settings.batch_timeout, Duration::from_secs(2));
    }

    #[test]
    fn repeated_mounts_add_up_and_each_may_be_a_list() {
        let flags = [given("fs_mount", "/home/:/./proj"), given("fs_mount", "/lustre//")];

        let settings = load(&flags, &env_of(vec![("DISTCCD_FS_MOUNT", "/other".into())])).unwrap();

        // Paths are equal that have other names.
        let names: Vec<&str> = settings.fs_mounts.iter().filter_map(|mount| mount.to_str()).collect();
        assert_eq!(names, ["/home", "/proj", "/lustre"]);
    }

    #[test]
    fn every_mistake_is_reported_with_its_place_and_what_would_be_right() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("distccd")).unwrap();
        let file = home.path().join("distccd/launcher.toml");
        std::fs::write(&file, "sever_addr = 'x:1'\nbatch_size = 0\n").unwrap();
        let config_home = home.path().to_str().unwrap().to_owned();
        let env = env_of(vec![("XDG_CONFIG_HOME", config_home), ("DISTCCD_FALLBACK", "perhaps".into())]);

        let mistakes = load(&[given("server_addr", "nowhere")], &env).unwrap_err();

        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 4, "{text:#?}");
        assert!(text.iter().any(|t| t.contains("`sever_addr`: unknown key") && t.contains("server_addr")), "{text:#?}");
        assert!(
            text.iter().any(|t| t.contains("launcher.toml: `batch_size`: `0` must be a whole number")),
            "{text:#?}"
        );
        assert!(text.iter().any(|t| t.contains("`DISTCCD_FALLBACK`: `perhaps` must be `never`")), "{text:#?}");
        assert!(text.iter().any(|t| t.contains("flag: `--server-addr`: `nowhere` must be HOST:PORT")), "{text:#?}");
    }
}
