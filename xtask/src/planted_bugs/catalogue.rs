//! The bugs, as data: `bugs.toml`.

use std::fmt;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bug {
    area: String,
    bug: String,
    /// Below crates/scheduler-core/src.
    pub(crate) file: String,
    from: String,
    to: String,
    pub(crate) by: By,
}

/// Who has to notice it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub(crate) enum By {
    /// Simulated worlds.
    Worlds { restless: bool },
    /// The fairness tests of the simulator.
    Markets,
    /// A test of the scheduler's: its file and its name.
    Test(String, String),
}

impl From<String> for By {
    fn from(text: String) -> Self {
        match text.as_str() {
            "worlds" => Self::Worlds { restless: false },
            "restless worlds" => Self::Worlds { restless: true },
            "markets" => Self::Markets,
            test => {
                let (file, name) = test.split_once("::").unwrap_or((test, ""));
                Self::Test(file.to_owned(), name.to_owned())
            }
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worlds { restless: false } => f.write_str("worlds"),
            Self::Worlds { restless: true } => f.write_str("restless worlds"),
            Self::Markets => f.write_str("markets"),
            Self::Test(file, name) => write!(f, "{file}::{name}"),
        }
    }
}

impl Bug {
    /// What the list calls it.
    pub(crate) fn name(&self) -> String {
        format!("{}: {}", self.area, self.bug)
    }

    /// The source with the bug in it.
    pub(crate) fn plant(&self, source: &str) -> anyhow::Result<String> {
        let places = source.matches(&self.from).count();
        ensure!(
            places == 1,
            "`{}` does not apply any more: what it replaces is {places} times in {}; adapt it in \
             xtask/src/planted_bugs/bugs.toml",
            self.name(),
            self.file
        );
        Ok(source.replacen(&self.from, &self.to, 1))
    }
}

/// The list.
pub(crate) fn bugs() -> anyhow::Result<Vec<Bug>> {
    #[derive(Deserialize)]
    struct List {
        bug: Vec<Bug>,
    }
    let list: List = toml::from_str(include_str!("bugs.toml")).context("bugs.toml cannot be read")?;
    Ok(list.bug)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_bug_applies_once_to_the_present_source_and_names_a_test_that_is_there() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/scheduler-core");
        let read = |path: &str| std::fs::read_to_string(room.join(path)).expect(path);
        let all = bugs().expect("a list");
        assert!(all.len() > 60, "only {} bugs", all.len());
        for bug in &all {
            bug.plant(&read(&format!("src/{}", bug.file))).expect("it applies");
            if let By::Test(file, name) = &bug.by {
                // A property has arguments.
                let test = format!("fn {name}(");
                assert!(read(&format!("tests/{file}.rs")).contains(&test), "{}: no {test} in {file}", bug.name());
            }
        }
    }

    #[test]
    fn what_is_there_twice_or_not_at_all_is_an_error() {
        let bug = &bugs().expect("a list")[0];

        let error = bug.plant("").expect_err("nothing to replace");

        assert!(error.to_string().contains("0 times") && error.to_string().contains(&bug.name()), "{error}");
        assert!(bug.plant(&bug.from.repeat(2)).is_err());
    }
}
