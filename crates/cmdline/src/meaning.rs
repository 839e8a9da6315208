//! What a command line means: a job, or a reason to stay.

use core::fmt;

use model::job::JobKind;

/// The answer to a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It may run elsewhere, as far as the command line goes: whether every path is shared is not decided here.
    Job(Job),
    /// It has to run here.
    Local(LocalReason),
}

/// A command that may run elsewhere. All names are as the command spells them: relative ones stay relative to its
/// working directory, and nothing says that they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is for.
    pub kind: JobKind,
    /// Every file that it reads by name: sources, objects, archives, response files (nested ones too), and what flags
    /// name. Headers and `-l` libraries are searched for, not named. Some names are searched for only if they are not
    /// there (`-include`, `-T`), `-fprofile-use=` may name a directory, and an archive to be updated need not exist.
    pub inputs: Vec<Vec<u8>>,
    /// Every file that it will write on success, the primary one first.
    pub outputs: Vec<Vec<u8>>,
    /// Whether `outputs` is all of it. If not, expect further files (dumps, modules, temporaries) beside them or in the
    /// working directory, and be ready to miss one that was foretold.
    pub outputs_complete: bool,
    /// Where files that are not in `outputs` go, as far as the command says: beginnings of their names (`-dumpdir x/`,
    /// `-fdump-tree-all=x/y`).
    pub written_near: Vec<Vec<u8>>,
    /// Directories that it searches by name: `-I`, `-L`, `-B`, `--sysroot` and the like.
    pub dirs: Vec<Vec<u8>>,
    /// Whether it makes the new content of a file out of the old one (`ar`, `ranlib`, `strip a.o`, `objcopy a.o`,
    /// `ld -r a.o -o a.o`, Clang's `-MJ`): who catches what it writes starts from a copy, and who runs it twice may have
    /// done two things; see `repeatable`.
    pub in_place: bool,
    /// Whether the machine that runs it chooses the instruction set (`-march=native`).
    pub native: bool,
    /// Whether a second execution, on top of what a first and perhaps interrupted one left behind, does what one
    /// execution would have done.
    ///
    /// Not so: `ar q`, which appends; `ar rN`, `dN` and members of one name, which count; `objcopy` in place with a flag
    /// that works on its own result (`--prefix-symbols`); Clang's `-MJ`, which 14 truncates and which is not trusted to; and whatever reads the file that
    /// it writes (`ld -r a.o -o a.o`). So, although in place: `ar r`, `d`, `m`, `s`, `ranlib` and `strip`, whose result
    /// is a fixed point, provided that the file is whole: who cannot tell runs them on a copy.
    pub repeatable: bool,
    /// For each of `outputs`, in order, the place among the arguments (`argv[0]` not counted) of the word that names it:
    /// another name there changes nothing but where the output goes. Empty when that cannot be said.
    pub redirects: Vec<usize>,
    /// The units of a command with several sources that can be run as several commands without a difference that
    /// anyone could observe, **provided that all sources exist** (Clang compiles none if it misses one), if what they
    /// print is kept in order, all of them are run, and the command fails if one of them does. Empty when it must
    /// stay one.
    pub units: Vec<Unit>,
}

/// One translation unit of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The command's arguments without the other sources; no `argv[0]`.
    pub args: Vec<Vec<u8>>,
    /// Its source.
    pub input: Vec<u8>,
    /// Its primary output.
    pub output: Vec<u8>,
}

/// Why a command stays local. Prints as one sentence for `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalReason {
    /// The program is none that we know. Made by callers whom [`crate::tool_of`] told nothing.
    UnknownTool(Vec<u8>),
    /// The tool is known and not distributed.
    ToolNotDistributed(String),
    /// This flag asks the tool about itself.
    Probe(Vec<u8>),
    /// The source comes through standard input.
    ReadsStandardInput,
    /// It shares the slots of the `make` that runs it (`-flto=jobserver`), through descriptors of that process.
    UsesJobserver,
    /// The result goes to standard output.
    WritesStandardOutput,
    /// There is nothing to work on; the tool itself says so best.
    NoInput,
    /// Nothing would be done with the inputs.
    NoOperation,
    /// An option in no table.
    UnknownOption(Vec<u8>),
    /// An option that we know and whose consequences we do not follow.
    NotFollowed(Vec<u8>),
    /// An option that needs a value and has none; the tool itself says so best.
    MissingValue(Vec<u8>),
    /// A language in no table.
    UnknownLanguage(Vec<u8>),
    /// `-o` for more than one output; the tool itself says so best.
    OneOutputForMany,
    /// No output is named where one has to be.
    NoOutput,
    /// A response file could not be read.
    ResponseFileUnreadable(Vec<u8>),
    /// Response files name each other without end.
    ResponseFilesEndless,
    /// An archive's contents are printed.
    Listing,
}

impl fmt::Display for LocalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTool(name) => write!(f, "`{}` is no compiler, linker or archiver that we know", text(name)),
            Self::ToolNotDistributed(name) => write!(f, "`{name}` is not distributed"),
            Self::Probe(flag) => write!(f, "`{}` only asks the tool about itself", text(flag)),
            Self::ReadsStandardInput => f.write_str("it reads standard input"),
            Self::UsesJobserver => f.write_str("it shares the slots of the `make` that runs it"),
            Self::WritesStandardOutput => f.write_str("its result goes to standard output"),
            Self::NoInput => f.write_str("there is no input file"),
            Self::NoOperation => f.write_str("nothing would be done with the inputs"),
            Self::UnknownOption(option) => write!(f, "the option `{}` is not known", text(option)),
            Self::NotFollowed(option) => write!(f, "what the option `{}` leads to is not followed", text(option)),
            Self::MissingValue(option) => write!(f, "the option `{}` lacks its value", text(option)),
            Self::UnknownLanguage(name) => write!(f, "the language `{}` is not known", text(name)),
            Self::OneOutputForMany => f.write_str("one output is named for several results"),
            Self::NoOutput => f.write_str("no output is named"),
            Self::ResponseFileUnreadable(path) => write!(f, "the response file `{}` cannot be read", text(path)),
            Self::ResponseFilesEndless => f.write_str("response files name each other without end"),
            Self::Listing => f.write_str("it prints what is in an archive"),
        }
    }
}

impl core::error::Error for LocalReason {}

/// Bytes for people: lossy, and without control characters that would upset a terminal.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_sentence_whatever_the_bytes() {
        let reason = LocalReason::UnknownOption(b"-\xff\n\x1b[1m".to_vec());

        assert_eq!(reason.to_string(), "the option `-\u{fffd}\u{fffd}\u{fffd}[1m` is not known");
    }
}
