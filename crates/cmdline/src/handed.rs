//! What a driver hands on: `-Wl,` `-Xlinker`, `-Wa,` `-Xassembler`, `-Wp,` `-Xpreprocessor`, `-Xclang`. Each tool's
//! words are gathered in order and then read as that tool's command line.

use crate::assembler::{self, views};
use crate::flags::{Next, Role};
use crate::ledger::Ledger;
use crate::parse::{CommandLine, Word};
use crate::{Files, LocalReason, grammars, linker, response_file};

/// Words for others, in the order given.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    preprocessor: Vec<Vec<u8>>,
    pub(crate) assembler: Vec<Vec<u8>>,
    pub(crate) linker: Vec<Vec<u8>>,
    pub(crate) front_end: Vec<Vec<u8>>,
}

impl Handed {
    /// Hands on one word.
    pub(crate) fn one(&mut self, next: Next, word: &[u8]) {
        match next {
            Next::Preprocessor => self.preprocessor.push(word.to_vec()),
            Next::Assembler => self.assembler.push(word.to_vec()),
            Next::Linker => self.linker.push(word.to_vec()),
            Next::FrontEnd => self.front_end.push(word.to_vec()),
        }
    }

    /// Hands on the words of a comma-separated list.
    pub(crate) fn list(&mut self, next: Next, words: &[u8]) {
        words.split(|byte| *byte == b',').for_each(|word| self.one(next, word));
    }

    /// The linker's words. They may hold `@file`s of their own; and of two `-o` the last one wins, which is theirs.
    pub(crate) fn to_linker(&self, files: &dyn Files, ledger: &mut Ledger) {
        let args = open(&self.linker, files, ledger);
        let heard = linker::listen(&views(&args), ledger);
        enter_output(heard.output.as_deref(), ledger);
    }

    /// The assembler's words.
    pub(crate) fn to_assembler(&self, files: &dyn Files, ledger: &mut Ledger) {
        let args = open(&self.assembler, files, ledger);
        let heard = assembler::listen(&views(&args), ledger);
        enter_output(heard.output.as_deref(), ledger);
        heard.files.iter().for_each(|file| ledger.reads(file));
    }

    /// The preprocessor's words; returns the file that dependencies go to, if they say so.
    pub(crate) fn to_preprocessor(&self, ledger: &mut Ledger) -> Option<Vec<u8>> {
        let mut dependencies = None;
        for word in CommandLine::parse(&grammars::PREPROCESSOR, &views(&self.preprocessor)).words {
            match word {
                Word::Flag(said) if said.flag.role == Role::DependFile => dependencies = Some(said.value().to_vec()),
                Word::Flag(said) => _ = ledger.hear(&said),
                Word::Operand(file) => ledger.object(LocalReason::UnknownOption(file.to_vec())),
                Word::EndOfOptions | Word::Unknown(_) | Word::Unfinished(_) => ledger.hear_nonsense(&word),
            }
        }
        dependencies
    }

    /// The front end's words. It has thousands of flags of its own: one that we do not know may write anything.
    pub(crate) fn to_front_end(&self, ledger: &mut Ledger) {
        for word in CommandLine::parse(&grammars::FRONT_END, &views(&self.front_end)).words {
            match word {
                Word::Flag(said) => _ = ledger.hear(&said),
                Word::EndOfOptions => {}
                Word::Operand(_) | Word::Unknown(_) | Word::Unfinished(_) => ledger.writes_unlisted = true,
            }
        }
    }
}

/// The driver's own output may not be written then.
fn enter_output(output: Option<&[u8]>, ledger: &mut Ledger) {
    if let Some(output) = output {
        ledger.writes(output);
        ledger.writes_unlisted = true;
    }
}

fn open(words: &[Vec<u8>], files: &dyn Files, ledger: &mut Ledger) -> Vec<Vec<u8>> {
    let expansion = response_file::expand(words, files);
    ledger.inputs.extend(expansion.files);
    if expansion.endless {
        ledger.object(LocalReason::ResponseFilesEndless);
    }
    if let Some(path) = expansion.unreadable {
        ledger.object(LocalReason::ResponseFileUnreadable(path));
    }
    expansion.args
}
