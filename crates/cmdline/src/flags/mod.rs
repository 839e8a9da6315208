//! Flag tables as sorted data, and the one search over them.
//!
//! A row says how a flag takes its value ([`Shape`]) and what it is for ([`Role`]); the parser reads the first, the
//! rooms that give meaning read the second. Rows of a vendor are in a file of their own.

pub(crate) mod binutils;
pub(crate) mod clang;
pub(crate) mod gas;
pub(crate) mod gcc;
pub(crate) mod ld;
pub(crate) mod nested;

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It has none: `-c`.
    Alone,
    /// The rest of the word, which may be nothing: `-O`, `-O2`, `-std=c11`.
    Joined,
    /// The next word: `--param x=y`.
    Separate,
    /// The rest of the word, or the next word when there is no rest: `-ox`, `-o x`.
    Either,
    /// The rest of the word names what the next word is for: `-Xarch_x86_64 -O3`.
    JoinedAndSeparate,
    /// `--name=value` or `--name value`.
    Long,
    /// `--name=value` or `--name` alone.
    LongOptional,
}

/// What is said by a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing that matters to us.
    Plain,
    /// An option that we know and do not follow: as good as unknown.
    Unfollowed,
    /// A question to the tool, which does no work then.
    Probe,
    /// A question when there are no inputs, and noise when there are: `-v`.
    Verbose,
    /// Prints about the whole command, so the command must stay one.
    WholeCommand,
    /// Names the primary output.
    Output,
    /// Stops after preprocessing.
    Preprocess,
    /// Stops after dependencies: `-M`, `-MM`.
    Depend,
    /// Dependencies beside the work: `-MD`, `-MMD`.
    DependBeside,
    /// Where dependencies go: `-MF`.
    DependFile,
    /// Under which name: `-MT`, `-MQ`.
    DependTarget,
    /// Stops after the compiler proper.
    ToAssembly,
    /// Stops after the assembler.
    ToObject,
    /// Checks only.
    SyntaxOnly,
    /// Says what the inputs after it are: `-x`.
    Language,
    /// Reads a file by name.
    Reads,
    /// Reads a file by name, unless the value is a bare name that the tool looks up itself.
    ReadsPath,
    /// Reads the file after the value's `=`, or the value: `--add-section x=f`, `-fmodule-file=x=f`.
    ReadsAssigned,
    /// Searches a directory.
    Dir,
    /// Writes a file by name.
    Writes,
    /// Writes the file after the value's `=`.
    WritesAssigned,
    /// Writes a file by name, perhaps at its end: done twice is not surely done once.
    Appends,
    /// Writes files whose names are beyond us.
    WritesUnlisted,
    /// Searches a directory, and writes into it what is beyond us.
    DirWrittenTo,
    /// GCC's module mapper: a file, or something to talk to; and modules are written.
    ModuleMapper,
    /// Steers the names of side files in ways that are beyond us.
    Renames,
    /// Files beside the primary output, from here on or no longer.
    SideFile(Beside, bool),
    /// A linker input that is looked up, `-lm`.
    Library,
    /// The next word is for the linker, the assembler, ...
    Hands(Next),
    /// Comma-separated words for the same.
    HandsList(Next),
    /// Clang's other products.
    Product(Emits),
    /// Done twice in place is not what once is: `objcopy --prefix-symbols`.
    Accumulates,
}

/// Files that appear beside the primary output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// `.dwo`.
    SplitDwarf,
    /// `.gcno`.
    CoverageNotes,
    /// `.su`.
    StackUsage,
    /// `.ci`.
    CallGraph,
    /// `.i`, `.s`, ... in the directory of the output.
    TempsByOutput,
    /// The same in the working directory.
    TempsHere,
    /// The same; the vendors differ in where.
    Temps,
    /// Clang's `.json`.
    TimeTrace,
    /// `.opt-record.json.gz` or `.opt.yaml`.
    OptimisationRecord,
}

/// Whom a driver hands words to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The preprocessor.
    Preprocessor,
    /// The assembler.
    Assembler,
    /// The linker.
    Linker,
    /// Clang's own front end.
    FrontEnd,
}

/// What Clang can make besides objects and assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emits {
    /// LLVM's bitcode or text.
    Llvm,
    /// A serialised syntax tree.
    Ast,
    /// A module.
    Module,
    /// The static analyser's report.
    Analysis,
}

/// One row of a table.
#[derive(Debug)]
pub(crate) struct Flag {
    /// As spelled, dashes and a joining `=` included.
    pub(crate) name: &'static str,
    /// How it takes its value.
    pub(crate) shape: Shape,
    /// What it says.
    pub(crate) role: Role,
}

/// A row.
pub(crate) const fn flag(name: &'static str, shape: Shape, role: Role) -> Flag {
    Flag { name, shape, role }
}

impl Flag {
    /// Whether `word`, which begins with this flag's name, is this flag.
    fn is_said_by(&self, word: &[u8]) -> bool {
        let rest = &word[self.name.len()..];
        match self.shape {
            Shape::Alone | Shape::Separate => rest.is_empty(),
            Shape::Joined | Shape::Either => true,
            Shape::JoinedAndSeparate => !rest.is_empty(),
            Shape::Long | Shape::LongOptional => rest.is_empty() || rest.starts_with(b"="),
        }
    }
}

/// The row of `table` with the longest name that `word` begins with and whose shape fits it.
pub(crate) fn longest_match(table: &'static [Flag], word: &[u8]) -> Option<&'static Flag> {
    let longest = word.len().min(LONGEST_NAME);
    (1..=longest).rev().find_map(|length| {
        let name = &word[..length];
        let row = table.binary_search_by(|flag| flag.name.as_bytes().cmp(name)).ok()?;
        Some(&table[row]).filter(|flag| flag.is_said_by(word))
    })
}

/// No name in any table is longer, so a word of megabytes costs no more than one of this size.
const LONGEST_NAME: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &[(&str, &[Flag])] = &[
        ("gcc", gcc::FLAGS),
        ("clang", clang::FLAGS),
        ("ld", ld::FLAGS),
        ("gas", gas::FLAGS),
        ("preprocessor", nested::PREPROCESSOR),
        ("front end", nested::FRONT_END),
        ("ar", binutils::AR),
        ("ranlib", binutils::RANLIB),
        ("strip", binutils::STRIP),
        ("objcopy", binutils::OBJCOPY),
        ("dwp", binutils::DWP),
    ];

    #[test]
    fn every_table_is_sorted_and_says_each_name_once() {
        for (table, flags) in TABLES {
            for pair in flags.windows(2) {
                assert!(pair[0].name < pair[1].name, "{table}: {} before {}", pair[0].name, pair[1].name);
            }
        }
    }

    #[test]
    fn every_name_fits_the_search() {
        for (table, flags) in TABLES {
            for flag in *flags {
                assert!((2..=LONGEST_NAME).contains(&flag.name.len()), "{table}: {}", flag.name);
                assert!(flag.name.starts_with('-'), "{table}: {}", flag.name);
            }
        }
    }

    #[test]
    fn the_longest_name_wins() {
        assert_eq!(longest_match(gcc::FLAGS, b"-include").map(|flag| flag.name), Some("-include"));
        assert_eq!(longest_match(gcc::FLAGS, b"-isystemdir").map(|flag| flag.name), Some("-isystem"));
        assert_eq!(longest_match(gcc::FLAGS, b"-fno-such-thing-yet").map(|flag| flag.name), Some("-f"));
        assert!(longest_match(gcc::FLAGS, b"-Zunheard").is_none());
    }
}
