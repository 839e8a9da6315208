//! The books that every room keeps: what is read, written and searched by name.

use std::collections::BTreeSet;

use model::job::JobKind;

use crate::flags::Role;
use crate::parse::{Spoken, Word};
use crate::path;
use crate::response_file::Expansion;
use crate::{Job, LocalReason};

/// What has been gathered so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Files read by name.
    pub(crate) inputs: Vec<Vec<u8>>,
    /// Files written by name.
    pub(crate) outputs: Vec<Vec<u8>>,
    /// Directories searched.
    pub(crate) dirs: Vec<Vec<u8>>,
    /// Whether files are written whose names are beyond us.
    pub(crate) writes_unlisted: bool,
    /// Where these go, as far as it is said: each is the beginning of their names.
    pub(crate) written_near: Vec<Vec<u8>>,
    /// Whether doing it twice is not doing it once.
    pub(crate) once_only: bool,
    /// Whether something is added to the end of a file that may be there.
    appends: bool,
    /// A flag that is a question to the tool.
    pub(crate) probe: Option<Vec<u8>>,
    /// A flag that is one when there are no inputs.
    pub(crate) verbose: Option<Vec<u8>>,
    /// The first reason to stay local that came up on the way.
    trouble: Option<LocalReason>,
}

impl Ledger {
    /// Books with the response files entered.
    pub(crate) fn open(expansion: &Expansion) -> Self {
        Self { inputs: expansion.files.clone(), ..Self::default() }
    }

    /// Notes a reason to stay local; the first one is kept.
    pub(crate) fn object(&mut self, reason: LocalReason) {
        self.trouble.get_or_insert(reason);
    }

    /// Enters a file that is read.
    pub(crate) fn reads(&mut self, file: &[u8]) {
        if path::is_standard_input(file) {
            self.object(LocalReason::ReadsStandardInput);
        }
        self.inputs.push(file.to_vec());
    }

    /// Enters a file that is written. `-` is the tool's word for its standard output, which is carried anyway.
    pub(crate) fn writes(&mut self, file: &[u8]) {
        if file != b"-" {
            self.outputs.push(file.to_vec());
        }
    }

    /// Enters what an option says that writes files of its own naming: the path in it, if there is one.
    pub(crate) fn writes_near(&mut self, value: &[u8]) {
        self.writes_unlisted = true;
        self.written_near.extend(path::within(value).map(<[u8]>::to_vec));
    }

    /// Enters what any tool's flag of this role says; false if the role is the tool's own business.
    pub(crate) fn hear(&mut self, said: &Spoken) -> bool {
        let value = said.value();
        match said.flag.role {
            Role::Plain => {}
            Role::Reads => self.reads(value),
            Role::ReadsPath if value.contains(&b'/') || path::suffix(value).is_some() => self.reads(value),
            Role::ReadsPath => {}
            Role::ReadsAssigned => self.reads(assigned(value)),
            Role::Dir => self.dirs.push(value.to_vec()),
            Role::Writes => self.writes(value),
            Role::WritesAssigned => self.writes(assigned(value)),
            Role::Appends => {
                self.writes(value);
                self.once_only = true;
                self.appends = true;
            }
            Role::WritesUnlisted => self.writes_near(value),
            Role::DirWrittenTo => {
                self.dirs.push(value.to_vec());
                self.writes_near(&[value, b"/"].concat());
            }
            Role::ModuleMapper => self.module_mapper(said),
            Role::Probe => _ = self.probe.get_or_insert_with(|| spelled(said)),
            Role::Verbose => _ = self.verbose.get_or_insert_with(|| spelled(said)),
            Role::Unfollowed => self.object(LocalReason::NotFollowed(spelled(said))),
            _ => return false,
        }
        true
    }

    /// A mapper that is a program, a socket or a file descriptor is one of this machine (GCC manual, "C++ Module
    /// Mapper"); a file may have an identifying string after a `?`.
    fn module_mapper(&mut self, said: &Spoken) {
        let mapper = said.value();
        if mapper.first().is_none_or(|first| b"|<>=@".contains(first)) || mapper.contains(&b':') {
            self.object(LocalReason::NotFollowed(spelled(said)));
        }
        self.reads(mapper.split(|byte| *byte == b'?').next().unwrap_or(mapper));
        self.writes_unlisted = true;
    }

    /// Enters a word that is no flag we understand.
    pub(crate) fn hear_nonsense(&mut self, word: &Word) {
        match word {
            Word::Unknown(arg) => self.object(LocalReason::UnknownOption(arg.to_vec())),
            Word::Unfinished(arg) => self.object(LocalReason::MissingValue(arg.to_vec())),
            Word::Operand(_) | Word::EndOfOptions | Word::Flag(_) => {}
        }
    }

    /// Whether the command may be a job at all: it asks no question, has inputs, and gave no trouble.
    pub(crate) fn judge(&mut self, has_inputs: bool) -> Result<(), LocalReason> {
        if let Some(flag) = self.probe.take() {
            return Err(LocalReason::Probe(flag));
        }
        if let Some(reason) = self.trouble.take() {
            return Err(reason);
        }
        match self.verbose.take() {
            _ if has_inputs => Ok(()),
            Some(flag) => Err(LocalReason::Probe(flag)),
            None => Err(LocalReason::NoInput),
        }
    }

    /// The job that the books describe.
    pub(crate) fn close(self, kind: JobKind) -> Job {
        let (inputs, outputs, dirs) = (distinct(self.inputs), distinct(self.outputs), distinct(self.dirs));
        Job {
            kind,
            in_place: self.appends || overlap(&inputs, &outputs),
            outputs_complete: !self.writes_unlisted,
            written_near: distinct(self.written_near),
            native: false,
            repeatable: !self.once_only,
            units: Vec::new(),
            redirects: Vec::new(),
            inputs,
            outputs,
            dirs,
        }
    }
}

/// Whether a file is both read and written.
fn overlap(inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> bool {
    let outputs: BTreeSet<&[u8]> = outputs.iter().map(|file| plain(file)).collect();
    inputs.iter().any(|file| outputs.contains(plain(file)))
}

/// `./a.o` is `a.o`.
fn plain(mut file: &[u8]) -> &[u8] {
    while let Some(rest) = file.strip_prefix(b"./") {
        file = rest;
    }
    file
}

fn distinct(files: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    files.into_iter().filter(|file| seen.insert(file.clone())).collect()
}

/// What follows the first `=`, or all of it.
pub(crate) fn assigned(value: &[u8]) -> &[u8] {
    value.iter().position(|byte| *byte == b'=').map_or(value, |equals| &value[equals + 1..])
}

/// The flag as people would name it.
pub(crate) fn spelled(said: &Spoken) -> Vec<u8> {
    said.first_word()
}
