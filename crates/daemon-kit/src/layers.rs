//! Configuration in layers, weakest first: defaults < file < environment `DISTCCD_*` < flags (design.md section 3).
//!
//! A daemon describes its settings as a table of [`Key`]s over a struct of checked values. Every mistake of every layer
//! is collected; each names its place, its key, and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{ConfigError, File, FileFormat, Source, Value, ValueKind};

/// A setting: its name in files, and how it is put into `T`. The error says what would be right, to be read after the
/// value ("must be ...").
pub struct Key<T> {
    /// The name in files; the variable is `DISTCCD_` and the name in capitals, the flag `--` with dashes.
    pub name: &'static str,
    /// Checks a value and keeps it.
    pub set: fn(&mut T, &Raw) -> Result<(), String>,
    /// Shows the present value as a file would give it (TOML).
    pub show: fn(&T) -> String,
}

/// A value as some layer gives it.
#[derive(Clone, Debug)]
pub struct Raw(Value);

impl Raw {
    /// A value from a flag or a variable.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Value::new(None, text))
    }

    /// The value as text.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_text(&self) -> Result<String, String> {
        match &self.0.kind {
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err("must be a text".to_owned()),
        }
    }

    /// The value as a whole number of at least `least`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_number(&self, least: u64) -> Result<u64, String> {
        let number = match &self.0.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|&number| number >= least).ok_or_else(|| format!("must be a whole number from {least}"))
    }

    /// The value as true or false.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_bool(&self) -> Result<bool, String> {
        match &self.0.kind {
            ValueKind::Boolean(value) => Ok(*value),
            ValueKind::String(text) => match text.as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "" | "0" | "false" | "no" | "off" => Ok(false),
                _ => Err("must be `true` or `false`".to_owned()),
            },
            _ => Err("must be `true` or `false`".to_owned()),
        }
    }

    /// The value as a duration above zero.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_duration(&self) -> Result<Duration, String> {
        let wrong = || "must be a duration above zero such as `500ms`, `3m` or `1m30s`".to_owned();
        let text = self.as_text().map_err(|_| wrong())?;
        humantime::parse_duration(&text).ok().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
    }

    /// The value as `HOST:PORT`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_address(&self) -> Result<String, String> {
        let wrong = || "must be HOST:PORT, for example `localhost:50051`".to_owned();
        let text = self.as_text().map_err(|_| wrong())?;
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() { Err(wrong()) } else { Ok(text) }
    }

    /// The value as a list of texts: an array of a file, or a text with `:` between the parts.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_list(&self) -> Result<Vec<String>, String> {
        match &self.0.kind {
            ValueKind::Array(values) => values.iter().map(|value| Self(value.clone()).as_text()).collect(),
            ValueKind::String(text) => Ok(text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()),
            _ => Err("must be a text or a list of texts".to_owned()),
        }
    }

    /// The value as one or more absolute paths.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_mounts(&self) -> Result<Vec<PathBuf>, String> {
        let paths: Vec<PathBuf> = self.as_list()?.into_iter().map(PathBuf::from).collect();
        if paths.is_empty() || paths.iter().any(|path| !path.is_absolute()) {
            return Err("must be one or more absolute paths, with `:` between them".to_owned());
        }
        Ok(paths)
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: `{key}`: {problem}")]
pub struct Mistake {
    /// Where it was made: a file, `environment`, `flag`.
    pub place: String,
    /// The key, the variable or the flag.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Where settings come from.
pub struct Layers<'a> {
    /// The configuration file, and whether it must exist (it was asked for by name).
    pub file: Option<(PathBuf, bool)>,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Flags that were given: key name and value; a repeated one replaces, but for `fs_mount`, which adds up.
    pub flags: Vec<(&'static str, String)>,
}

impl Layers<'_> {
    /// Puts the layers over `settings`, which holds the defaults.
    ///
    /// # Errors
    /// Every mistake found in any layer.
    pub fn apply<T>(&self, settings: &mut T, keys: &[Key<T>]) -> Result<(), Vec<Mistake>> {
        let mut mistakes = Vec::new();
        if let Some((file, must_exist)) = &self.file {
            apply_file(settings, keys, file, *must_exist, &mut mistakes);
        }
        for key in keys {
            let variable = format!("DISTCCD_{}", key.name.to_uppercase());
            if let Some(text) = (self.env)(&variable) {
                put(settings, key, &Raw::text(&text), ("environment", &variable), &mut mistakes);
            }
        }
        for (name, value) in self.merged_flags() {
            if let Some(key) = keys.iter().find(|key| key.name == name) {
                let flag = format!("--{}", name.replace('_', "-"));
                put(settings, key, &Raw::text(&value), ("flag", &flag), &mut mistakes);
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn merged_flags(&self) -> BTreeMap<&'static str, String> {
        let mut merged: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, value) in &self.flags {
            let before = merged.remove(name).filter(|_| *name == "fs_mount");
            let value = before.map_or_else(|| value.clone(), |before| format!("{before}:{value}"));
            merged.insert(name, value);
        }
        merged
    }
}

fn apply_file<T>(settings: &mut T, keys: &[Key<T>], file: &Path, must_exist: bool, mistakes: &mut Vec<Mistake>) {
    let place = file.display().to_string();
    if !file.exists() {
        if must_exist {
            mistakes.push(mistake(&place, "(file)", "does not exist; create it or leave out --config".to_owned()));
        }
        return;
    }
    let values = match File::from(file).format(FileFormat::Toml).collect() {
        Ok(values) => values,
        Err(error) => return mistakes.push(mistake(&place, "(syntax)", syntax(&error))),
    };
    let sorted: BTreeMap<String, Value> = values.into_iter().collect();
    for (name, value) in sorted {
        match keys.iter().find(|key| key.name == name) {
            Some(key) => put(settings, key, &Raw(value), (&place, key.name), mistakes),
            None => {
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                mistakes.push(mistake(&place, &name, format!("unknown key; known are {}", known.join(", "))));
            }
        }
    }
}

/// The reason on one line: the whole of it draws the place in the file.
fn syntax(error: &ConfigError) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("cannot be read as TOML: {}", lines.join(" "))
}

fn put<T>(settings: &mut T, key: &Key<T>, raw: &Raw, at: (&str, &str), mistakes: &mut Vec<Mistake>) {
    if let Err(problem) = (key.set)(settings, raw) {
        mistakes.push(mistake(at.0, at.1, format!("`{raw}` {problem}")));
    }
}

fn mistake(place: &str, key: &str, problem: String) -> Mistake {
    Mistake { place: place.to_owned(), key: key.to_owned(), problem }
}

/// The settings as a file that would give them.
#[must_use]
pub fn show<T>(settings: &T, keys: &[Key<T>]) -> String {
    keys.iter().map(|key| format!("{} = {}\n", key.name, (key.show)(settings))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Sample {
        port: u64,
        wait: Duration,
        mounts: Vec<PathBuf>,
    }

    const KEYS: &[Key<Sample>] = &[
        Key { name: "port", set: |s, raw| Ok(s.port = raw.as_number(1)?), show: |s| s.port.to_string() },
        Key {
            name: "wait",
            set: |s, raw| Ok(s.wait = raw.as_duration()?),
            show: |s| format!("\"{}\"", humantime::format_duration(s.wait)),
        },
        Key { name: "fs_mount", set: |s, raw| Ok(s.mounts = raw.as_mounts()?), show: |s| format!("{:?}", s.mounts) },
    ];

    fn sample() -> Sample {
        Sample { port: 1, wait: Duration::from_secs(1), mounts: Vec::new() }
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_stronger_layer_wins_and_repeated_mounts_add_up() {
        let (_dir, path) = file("port = 2\nwait = '2s'\nfs_mount = ['/a', '/b']\n");
        let env = |name: &str| (name == "DISTCCD_PORT").then(|| "3".to_owned());
        let flags = vec![("fs_mount", "/c".to_owned()), ("fs_mount", "/d:/e".to_owned())];
        let mut settings = sample();

        Layers { file: Some((path, true)), env: &env, flags }.apply(&mut settings, KEYS).unwrap();

        assert_eq!((settings.port, settings.wait), (3, Duration::from_secs(2)));
        assert_eq!(settings.mounts, ["/c", "/d", "/e"].map(PathBuf::from));
    }

    #[test]
    fn all_mistakes_come_at_once_each_with_its_place() {
        let (_dir, path) = file("prt = 2\nwait = 'soon'\n");
        let env = |name: &str| (name == "DISTCCD_PORT").then(|| "0".to_owned());
        let flags = vec![("fs_mount", "relative".to_owned())];

        let mistakes = Layers { file: Some((path, true)), env: &env, flags }.apply(&mut sample(), KEYS).unwrap_err();

        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:#?}");
        assert!(texts[0].contains("daemon.toml: `prt`: unknown key; known are port, wait, fs_mount"), "{texts:#?}");
        assert!(texts[1].contains("daemon.toml: `wait`: `soon` must be a duration"), "{texts:#?}");
        assert_eq!(texts[2], "environment: `DISTCCD_PORT`: `0` must be a whole number from 1");
        assert!(texts[3].starts_with("flag: `--fs-mount`: `relative` must be one or more absolute paths"), "{texts:#?}");
    }

    #[test]
    fn a_file_asked_for_by_name_must_exist_and_the_usual_one_need_not() {
        let missing = PathBuf::from("/no/such/daemon.toml");
        let apply = |must_exist| {
            let layers = Layers { file: Some((missing.clone(), must_exist)), env: &|_| None, flags: Vec::new() };
            layers.apply(&mut sample(), KEYS)
        };

        assert_eq!(apply(false), Ok(()));
        assert!(apply(true).unwrap_err()[0].to_string().contains("/no/such/daemon.toml: `(file)`: does not exist"));
    }

    #[test]
    fn broken_toml_is_one_line_that_names_the_file() {
        let (_dir, path) = file("port = \n");

        let layers = Layers { file: Some((path, true)), env: &|_| None, flags: Vec::new() };
        let text = layers.apply(&mut sample(), KEYS).unwrap_err()[0].to_string();

        assert!(text.contains("daemon.toml") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn settings_are_shown_as_a_file_would_give_them() {
        let (_dir, path) = file(&show(&Sample { port: 9, ..sample() }, KEYS).replace("fs_mount = []\n", ""));
        let mut settings = sample();

        Layers { file: Some((path, true)), env: &|_| None, flags: Vec::new() }.apply(&mut settings, KEYS).unwrap();

        assert_eq!(settings.port, 9);
    }
}
