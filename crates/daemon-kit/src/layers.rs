//! Configuration in layers, weakest first: defaults < file < environment `DISTCCD_*` < flags (design.md section 3).
//!
//! A daemon describes its settings as a table of [`Key`]s over a struct of checked values. Every mistake of every layer
//! is collected; each names its place, its key, and what would be right.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use config::{ConfigError, File, FileFormat, Source, Value};

pub use crate::value::{Raw, quoted, quoted_list, shown_duration, size_text};

/// The place of mistakes that a flag made.
const FLAG: &str = "flag";
/// The place of mistakes that a variable made.
const ENVIRONMENT: &str = "environment";

/// A setting: its name in files, and how it is put into `T`. The error says what would be right, to be read after the
/// value ("must be ...").
#[derive(Debug)]
pub struct Key<T> {
    /// The name in files; the variable is `DISTCCD_` and the name in capitals, the flag `--` with dashes.
    pub name: &'static str,
    /// Checks a value and keeps it.
    pub set: fn(&mut T, &Raw) -> Result<(), String>,
    /// Shows the present value as a file would give it (TOML).
    pub show: fn(&T) -> String,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, set: self.set, show: self.show }
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

impl Mistake {
    /// Whether it was made on the command line, which has an exit code of its own.
    #[must_use]
    pub fn is_of_flag(&self) -> bool {
        self.place == FLAG
    }
}

/// Who had the last word on each key; nobody said anything about those that are not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Place>);

/// A place as mistakes name it, and what the key is called there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    place: String,
    key: String,
}

impl Origins {
    /// A mistake that only shows when settings are seen together, told where this key got its value.
    #[must_use]
    pub fn mistake(&self, key: &str, problem: String) -> Mistake {
        match self.0.get(key) {
            Some(Place { place, key }) => mistake(place, key, problem),
            None => mistake("settings", key, problem),
        }
    }

    /// Whether some layer said something about this key.
    #[must_use]
    pub fn is_configured(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn describe(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Place { place, key }) if place == FLAG || place == ENVIRONMENT => format!("{place} {key}"),
            Some(Place { place, .. }) => place.clone(),
            None => "default".to_owned(),
        }
    }
}

/// The environment as [`Layers`] read it. A variable that is not UTF-8 is no absent one: it comes with replacement
/// characters, which the check of its value then refuses.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
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
        let (_, mistakes) = self.lay(settings, keys);
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Puts the layers over `settings`, which holds the defaults, and says who had the last word on each key, and
    /// every mistake found in any layer; what is wrong leaves `settings` as they were.
    pub fn lay<T>(&self, settings: &mut T, keys: &[Key<T>]) -> (Origins, Vec<Mistake>) {
        let mut laying = Laying { settings, keys, origins: Origins::default(), mistakes: Vec::new() };
        if let Some((file, must_exist)) = &self.file {
            laying.file(file, *must_exist);
        }
        for key in keys {
            let variable = format!("DISTCCD_{}", key.name.to_uppercase());
            if let Some(text) = (self.env)(&variable) {
                laying.put(key, &Raw::text(&text), ENVIRONMENT, &variable);
            }
        }
        for (name, value) in self.merged_flags() {
            if let Some(key) = keys.iter().find(|key| key.name == name) {
                laying.put(key, &Raw::text(&value), FLAG, &format!("--{}", name.replace('_', "-")));
            }
        }
        (laying.origins, laying.mistakes)
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

/// Layers on their way into settings.
struct Laying<'a, T> {
    settings: &'a mut T,
    keys: &'a [Key<T>],
    origins: Origins,
    mistakes: Vec<Mistake>,
}

impl<T> Laying<'_, T> {
    fn file(&mut self, file: &Path, must_exist: bool) {
        let place = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if must_exist {
                    let problem = "does not exist; create it or leave out --config".to_owned();
                    self.mistakes.push(mistake(&place, "(file)", problem));
                }
                return;
            }
            Err(error) => return self.mistakes.push(mistake(&place, "(file)", format!("cannot be read: {error}"))),
        };
        let values = match File::from_str(&text, FileFormat::Toml).collect() {
            Ok(values) => values,
            Err(error) => return self.mistakes.push(mistake(&place, "(syntax)", syntax(&error))),
        };
        let sorted: BTreeMap<String, Value> = values.into_iter().collect();
        for (name, value) in sorted {
            match self.keys.iter().find(|key| key.name == name) {
                Some(key) => self.put(key, &Raw(value), &place, key.name),
                None => {
                    let known: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
                    let problem = format!("unknown key; known are {}", known.join(", "));
                    self.mistakes.push(mistake(&place, &name, problem));
                }
            }
        }
    }

    fn put(&mut self, key: &Key<T>, raw: &Raw, place: &str, called: &str) {
        match (key.set)(self.settings, raw) {
            Ok(()) => {
                let here = Place { place: place.to_owned(), key: called.to_owned() };
                self.origins.0.insert(key.name, here);
            }
            Err(problem) => self.mistakes.push(mistake(place, called, format!("`{raw}` {problem}"))),
        }
    }
}

/// The reason on one line: the whole of it draws the place in the file.
fn syntax(error: &ConfigError) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("cannot be read as TOML: {}", lines.join(" "))
}

fn mistake(place: &str, key: &str, problem: String) -> Mistake {
    Mistake { place: place.to_owned(), key: key.to_owned(), problem }
}

/// The settings as a file that would give them.
#[must_use]
pub fn show<T>(settings: &T, keys: &[Key<T>]) -> String {
    keys.iter().map(|key| format!("{} = {}\n", key.name, (key.show)(settings))).collect()
}

/// As [`show`], with a comment on each line that says who had the last word.
#[must_use]
pub fn show_with_origins<T>(settings: &T, keys: &[Key<T>], origins: &Origins) -> String {
    let line = |key: &Key<T>| {
        let setting = format!("{} = {}", key.name, (key.show)(settings));
        format!("{setting:<50} # {}\n", origins.describe(key.name))
    };
    keys.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Debug, PartialEq)]
    struct Sample {
        port: u64,
        wait: Duration,
        mounts: Vec<PathBuf>,
    }

    const KEYS: &[Key<Sample>] = &[
        Key { name: "port", set: |s, raw| raw.as_number(1).map(|it| s.port = it), show: |s| s.port.to_string() },
        Key {
            name: "wait",
            set: |s, raw| raw.as_duration().map(|it| s.wait = it),
            show: |s| format!("\"{}\"", humantime::format_duration(s.wait)),
        },
        Key {
            name: "fs_mount",
            set: |s, raw| raw.as_mounts().map(|it| s.mounts = it),
            show: |s| format!("{:?}", s.mounts),
        },
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
        assert!(
            texts[3].starts_with("flag: `--fs-mount`: `relative` must be one or more absolute paths"),
            "{texts:#?}"
        );
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

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();

        let layers = Layers { file: Some((dir.path().to_owned(), false)), env: &|_| None, flags: Vec::new() };
        let mistakes = layers.apply(&mut sample(), KEYS).unwrap_err();

        assert!(mistakes[0].to_string().contains("`(file)`: cannot be read: "), "{mistakes:?}");
    }

    #[test]
    fn who_had_the_last_word_is_shown_and_named_in_mistakes_that_show_later() {
        let (_dir, path) = file("wait = '2s'\nport = 2\n");
        let env = |name: &str| (name == "DISTCCD_PORT").then(|| "3".to_owned());
        let mut settings = sample();

        let layers = Layers { file: Some((path.clone(), true)), env: &env, flags: vec![("fs_mount", "/c".to_owned())] };
        let (origins, mistakes) = layers.lay(&mut settings, KEYS);

        assert_eq!(mistakes, []);
        let shown = show_with_origins(&settings, KEYS, &origins);
        let comments: Vec<&str> = shown.lines().filter_map(|line| Some(line.split_once(" # ")?.1)).collect();
        assert_eq!(comments, ["environment DISTCCD_PORT", path.to_str().unwrap(), "flag --fs-mount"]);
        assert!(origins.mistake("fs_mount", String::new()).is_of_flag());
        assert!(!origins.mistake("port", String::new()).is_of_flag());
        assert_eq!(origins.mistake("port", "is odd".into()).to_string(), "environment: `DISTCCD_PORT`: is odd");
        assert_eq!(Origins::default().mistake("port", "is odd".into()).to_string(), "settings: `port`: is odd");
    }

    #[test]
    fn numbers_keep_to_their_range_and_may_be_auto() {
        let auto = |text: &str| Raw::text(text).as_number_or_auto(1..=9);

        assert_eq!((auto("auto"), auto("9")), (Ok(None), Ok(Some(9))));
        for wrong in ["0", "10", "many", ""] {
            assert_eq!(auto(wrong), Err("must be a whole number from 1 to 9, or `auto`".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn sizes_read_back_as_they_are_shown() {
        for (text, size) in [("1", 1), ("1000", 1000), ("64KiB", 64 << 10), ("100 MiB", 100 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(Raw::text(text).as_size(), Ok(size), "{text}");
            assert_eq!(Raw::text(&size_text(size)).as_size(), Ok(size), "{text}");
        }
        assert_eq!(size_text(1 << 30), "1GiB");
        for wrong in ["0", "0KiB", "", "GiB", "-1", "1.5GiB", "1GB", "99999999TiB"] {
            assert!(Raw::text(wrong).as_size().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grace_may_be_none_and_a_duration_may_not() {
        assert_eq!(Raw::text("0s").as_grace(), Ok(Duration::ZERO));
        assert!(Raw::text("0s").as_duration().is_err());
        assert!(Raw::text("5").as_grace().is_err(), "a duration has a unit");
    }

    #[test]
    fn texts_are_something_and_utf_8() {
        assert!(Raw::text("").as_text().is_err());
        assert!(Raw::text(&String::from_utf8_lossy(b"caf\xe9")).as_text().is_err());
        assert!(Raw::text(&String::from_utf8_lossy(b"/caf\xe9")).as_mounts().is_err());
    }

    #[test]
    fn paths_lose_slashes_that_mean_nothing() {
        let paths = Raw::text("/a/:/b//c").as_mounts().unwrap();

        let spelled: Vec<_> = paths.iter().map(|path| path.as_os_str()).collect();
        assert_eq!(spelled, ["/a", "/b/c"]);
        assert!(Raw::text("a/b").as_path().is_err());
    }

    #[test]
    fn lists_are_arrays_or_texts_with_separators() {
        assert_eq!(Raw::text("a,,b").as_list(',').unwrap(), ["a", "b"]);
        assert_eq!(Raw::text("").as_list(',').unwrap(), [""; 0]);
    }

    #[test]
    fn quotes_and_control_characters_survive_a_file() {
        let odd = "a\"b\\c\nd";
        let text = format!("wait = '1s'\nname = {}\n", quoted(odd));

        let values = File::from_str(&text, FileFormat::Toml).collect().unwrap();

        assert_eq!(Raw(values["name"].clone()).as_text().unwrap(), odd);
    }
}
