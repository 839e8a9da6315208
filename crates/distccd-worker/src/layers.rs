//! Settings as they were said: defaults, a file, the environment, flags, the later ones winning. Knows nothing of what
//! a setting means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Something wrong with a setting, said where it was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// Which key, when it is about one of several in a file.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File(_) if !self.key.is_empty() => write!(f, "{}: key `{}`: {}", self.source, self.key, self.text),
            _ => write!(f, "{}: {}", self.source, self.text),
        }
    }
}

/// The strongest word on each key, and what was wrong on the way.
#[derive(Debug, Default)]
pub struct Layers {
    settings: BTreeMap<String, (Source, Value)>,
    problems: Vec<Problem>,
}

impl Layers {
    /// Adds a layer that is stronger than those before it.
    pub fn set(&mut self, key: &str, source: Source, value: Value) {
        self.settings.insert(key.to_owned(), (source, value));
    }

    /// Adds a file; one that is not there is no layer unless it was `named` by somebody.
    pub fn read_file(&mut self, path: &Path, named: bool, known: &[&str]) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.parse_file(path, &text, known),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
            Err(error) => self.complain(Source::File(path.to_owned()), "", format!("cannot be read: {error}")),
        }
    }

    fn parse_file(&mut self, path: &Path, text: &str, known: &[&str]) {
        let source = Source::File(path.to_owned());
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => return self.complain(source, "", format!("is not TOML: {}", one_line(&error.to_string()))),
        };
        for (key, value) in table {
            if known.contains(&key.as_str()) {
                self.set(&key, source.clone(), value);
            } else {
                self.complain(source.clone(), &key, format!("is unknown; known are {}", known.join(", ")));
            }
        }
    }

    /// Adds the environment: `DISTCCD_MAX_JOBS` for `max_jobs`. Other variables with that prefix belong to the server
    /// and the launchers and are none of ours.
    pub fn read_environment(&mut self, known: &[&str], get: impl Fn(&str) -> Option<String>) {
        for key in known {
            let name = format!("DISTCCD_{}", key.to_uppercase());
            if let Some(value) = get(&name) {
                self.set(key, Source::Variable(name), Value::String(value));
            }
        }
    }

    /// Records a problem.
    pub fn complain(&mut self, source: Source, key: &str, text: String) {
        self.problems.push(Problem { source, key: key.to_owned(), text });
    }

    /// Reads one setting: `read` gets the strongest word on it, if any was said, and answers with what would be right if
    /// it is not that. In case of a problem the result is `None`, and the problem is recorded.
    pub fn take<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let (source, value) = self.settings.get(key)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(text) => {
                let source = source.clone();
                self.complain(source, key, text);
                None
            }
        }
    }

    /// Who had the last word on a key.
    #[must_use]
    pub fn source(&self, key: &str) -> Source {
        self.settings.get(key).map_or(Source::Default, |(source, _)| source.clone())
    }

    /// All that is wrong, sorted by where.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems
    }

    /// Whether anything is wrong so far.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !self.problems.is_empty()
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Readers of values, from a file's typed ones or from the text of a flag or a variable.
pub(crate) mod read {
    use std::time::Duration;

    use toml::Value;

    /// Any text.
    pub(crate) fn text(value: &Value) -> Result<String, String> {
        match value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            other => Err(format!("{other} is not a text in quotes")),
        }
    }

    /// A number that is not negative.
    pub(crate) fn count(value: &Value) -> Result<u64, String> {
        let number = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| format!("{value} is not a whole number from 0"))
    }

    /// True or false.
    pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
        match value {
            Value::Boolean(value) => Ok(*value),
            Value::String(text) => match text.trim() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => Err(format!("{value} is neither true nor false")),
            },
            _ => Err(format!("{value} is neither true nor false")),
        }
    }

    /// A duration with its unit.
    pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
        let right = || format!("{value} is not a duration with its unit, such as \"500ms\", \"5m\" or \"1m30s\"");
        match value {
            Value::String(text) => humantime::parse_duration(text.trim()).map_err(|_| right()),
            _ => Err(right()),
        }
    }

    /// A list, or one text that holds several with `separator` between them.
    pub(crate) fn list(value: &Value, separator: char) -> Result<Vec<String>, String> {
        let texts: Vec<String> = match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().map(text).collect::<Result<_, _>>()?,
            other => return Err(format!("{other} is neither a text nor a list of texts")),
        };
        let words = texts.iter().flat_map(|text| text.split(separator));
        Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_layer_wins_key_by_key() {
        let mut layers = Layers::default();
        layers.parse_file(Path::new("a.toml"), "x = 1\ny = 2\n", &["x", "y"]);
        layers.read_environment(&["x", "y"], |name| (name == "DISTCCD_Y").then(|| "3".to_owned()));
        layers.set("x", Source::Flag("--x".into()), Value::Integer(4));

        assert_eq!(layers.take("x", read::count), Some(4));
        assert_eq!(layers.take("y", read::count), Some(3));
        assert_eq!(layers.source("y"), Source::Variable("DISTCCD_Y".into()));
        assert!(!layers.is_wrong());
    }

    #[test]
    fn every_problem_is_kept_with_its_place() {
        let mut layers = Layers::default();
        layers.parse_file(Path::new("a.toml"), "x = \"many\"\nz = 1\n", &["x", "y"]);
        layers.read_file(Path::new("/nonexistent.toml"), true, &[]);
        let _ = layers.take("x", read::count);

        let problems: Vec<String> = layers.into_problems().iter().map(ToString::to_string).collect();

        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("/nonexistent.toml: cannot be read: "), "{problems:?}");
        assert_eq!(problems[1], "a.toml: key `x`: \"many\" is not a whole number from 0");
        assert_eq!(problems[2], "a.toml: key `z`: is unknown; known are x, y");
    }

    #[test]
    fn a_file_that_nobody_named_may_be_missing() {
        let mut layers = Layers::default();

        layers.read_file(Path::new("/nonexistent.toml"), false, &[]);

        assert!(!layers.is_wrong());
    }

    #[test]
    fn a_broken_file_is_one_line() {
        let mut layers = Layers::default();
        layers.parse_file(Path::new("a.toml"), "x = \n", &["x"]);

        let problems = layers.into_problems();

        assert!(!problems[0].to_string().contains('\n'), "{}", problems[0]);
    }

    #[test]
    fn durations_are_written_as_in_go() {
        let parse = |text: &str| read::duration(&Value::String(text.into()));

        assert_eq!(parse("1m30s"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(parse("500ms"), Ok(std::time::Duration::from_millis(500)));
        assert!(parse("5").is_err());
        assert!(read::duration(&Value::Integer(5)).is_err());
    }
}
