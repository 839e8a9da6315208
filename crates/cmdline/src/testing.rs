//! What the tests of this crate share: words in, files on a shelf.

use std::collections::BTreeMap;

use crate::{Files, Job, LocalReason, Meaning, tool_of, understand};

/// Files that exist only here.
#[derive(Default)]
pub(crate) struct Shelf(BTreeMap<Vec<u8>, Vec<u8>>);

impl Shelf {
    pub(crate) fn with<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

impl Files for Shelf {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }
}

/// A command's words.
pub(crate) fn args(words: &str) -> Vec<Vec<u8>> {
    words.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// What a command means, given files.
pub(crate) fn meaning_with(command: &str, shelf: &Shelf) -> Meaning {
    let words = args(command);
    let tool = tool_of(&words[0]).expect("a tool of ours");
    understand(&tool, &words[1..], shelf)
}

/// The job that a command is.
#[track_caller]
pub(crate) fn job(command: &str) -> Job {
    match meaning_with(command, &Shelf::default()) {
        Meaning::Job(job) => job,
        Meaning::Local(reason) => panic!("{command} stays local: {reason}"),
    }
}

/// Why a command stays local.
#[track_caller]
pub(crate) fn reason(command: &str) -> LocalReason {
    match meaning_with(command, &Shelf::default()) {
        Meaning::Local(reason) => reason,
        Meaning::Job(job) => panic!("{command} is a job: {job:?}"),
    }
}

/// Byte strings as one line of words.
pub(crate) fn line(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}
