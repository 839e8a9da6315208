//! What was said: an argument list taken apart by flag tables, in order and in its own spelling, so that printing it
//! gives back the very same arguments.

use crate::flags::{Flag, Shape, longest_match};

/// How a tool reads its words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grammar {
    /// Tables in order of preference; the longest name wins, and of equal names the first table's.
    pub(crate) tables: &'static [&'static [Flag]],
    /// Whether a long name may be spelled with one dash, as `getopt_long_only(3)` has it.
    pub(crate) single_dash_long: bool,
    /// Whether `--` ends the options.
    pub(crate) double_dash_ends: bool,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word<'a> {
    /// A file, as a rule.
    Operand(&'a [u8]),
    /// `--`.
    EndOfOptions,
    /// A flag of the table.
    Flag(Spoken<'a>),
    /// A flag of no table.
    Unknown(&'a [u8]),
    /// A flag of the table whose value is missing, so that the tool will complain.
    Unfinished(&'a [u8]),
}

/// A flag as it was said.
#[derive(Clone, Debug)]
pub(crate) struct Spoken<'a> {
    /// Its row.
    pub(crate) flag: &'static Flag,
    /// Its word up to a joined value.
    spelled: &'a [u8],
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    None,
    Joined(&'a [u8]),
    Separate(&'a [u8]),
}

impl PartialEq for Spoken<'_> {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.flag, other.flag) && self.spelled == other.spelled && self.value == other.value
    }
}

impl Eq for Spoken<'_> {}

impl<'a> Spoken<'a> {
    /// The value, joined or separate; empty when there is none.
    pub(crate) fn value(&self) -> &'a [u8] {
        match self.value {
            Value::None => b"",
            Value::Joined(value) | Value::Separate(value) => value,
        }
    }

    /// The word that the flag began in.
    pub(crate) fn first_word(&self) -> Vec<u8> {
        match self.value {
            Value::Joined(value) => [self.spelled, value].concat(),
            Value::None | Value::Separate(_) => self.spelled.to_vec(),
        }
    }

    /// Whether the value took a word of its own.
    pub(crate) fn takes_two_words(&self) -> bool {
        matches!(self.value, Value::Separate(_))
    }
}

/// A command line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine<'a> {
    /// What was said, in order.
    pub(crate) words: Vec<Word<'a>>,
}

impl<'a> CommandLine<'a> {
    /// Takes `args`, which do not hold the program's name, apart. Never fails: what is not understood is kept.
    pub(crate) fn parse(grammar: &Grammar, args: &[&'a [u8]]) -> Self {
        let mut words = Vec::with_capacity(args.len());
        let mut rest = args.iter().copied();
        let mut options_ended = false;
        while let Some(arg) = rest.next() {
            let word = if options_ended || !arg.starts_with(b"-") || arg.len() < 2 {
                Word::Operand(arg)
            } else if arg == b"--" && grammar.double_dash_ends {
                options_ended = true;
                Word::EndOfOptions
            } else {
                grammar.option(arg, &mut rest)
            };
            words.push(word);
        }
        Self { words }
    }

    /// The arguments that were parsed.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn print(&self) -> Vec<Vec<u8>> {
        self.words.iter().flat_map(Word::print).collect()
    }
}

impl Word<'_> {
    /// How many arguments it was.
    pub(crate) fn arguments(&self) -> usize {
        match self {
            Self::Flag(spoken) if spoken.takes_two_words() => 2,
            _ => 1,
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    fn print(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Operand(arg) | Self::Unknown(arg) | Self::Unfinished(arg) => vec![arg.to_vec()],
            Self::EndOfOptions => vec![b"--".to_vec()],
            Self::Flag(spoken) => match spoken.value {
                Value::None => vec![spoken.spelled.to_vec()],
                Value::Joined(value) => vec![[spoken.spelled, value].concat()],
                Value::Separate(value) => vec![spoken.spelled.to_vec(), value.to_vec()],
            },
        }
    }
}

impl Grammar {
    fn option<'a>(&self, arg: &'a [u8], rest: &mut impl Iterator<Item = &'a [u8]>) -> Word<'a> {
        let Some((flag, length)) = self.lookup(arg) else { return Word::Unknown(arg) };
        let (spelled, joined) = arg.split_at(length);
        match flag.shape {
            Shape::Alone => said(flag, spelled, Value::None),
            Shape::Joined => said(flag, spelled, Value::Joined(joined)),
            Shape::Either if !joined.is_empty() => said(flag, spelled, Value::Joined(joined)),
            Shape::Long | Shape::LongOptional if !joined.is_empty() => {
                let (spelled, joined) = arg.split_at(length + 1);
                said(flag, spelled, Value::Joined(joined))
            }
            Shape::LongOptional => said(flag, spelled, Value::None),
            Shape::Separate | Shape::Either | Shape::Long | Shape::JoinedAndSeparate => match rest.next() {
                Some(value) => said(flag, arg, Value::Separate(value)),
                None => Word::Unfinished(arg),
            },
        }
    }

    /// The row for `arg`, and how many of its bytes are the name.
    fn lookup(&self, arg: &[u8]) -> Option<(&'static Flag, usize)> {
        self.long_with_one_dash(arg).or_else(|| self.as_spelled(arg))
    }

    fn as_spelled(&self, arg: &[u8]) -> Option<(&'static Flag, usize)> {
        let matches = self.tables.iter().filter_map(|table| longest_match(table, arg));
        // `reduce`, not `max_by_key`: of equally long names the first table's is wanted.
        let best = matches.reduce(|best, next| if next.name.len() > best.name.len() { next } else { best })?;
        Some((best, best.name.len()))
    }

    /// `-soname` for `--soname`. Names that begin with `o` need both dashes, for `-omagic` is `-o magic` (ld manual).
    fn long_with_one_dash(&self, arg: &[u8]) -> Option<(&'static Flag, usize)> {
        if !self.single_dash_long || arg.starts_with(b"--") || arg.get(1) == Some(&b'o') {
            return None;
        }
        let doubled = [b"-", arg].concat();
        let (flag, length) = self.as_spelled(&doubled)?;
        Some((flag, length - 1))
    }
}

fn said<'a>(flag: &'static Flag, spelled: &'a [u8], value: Value<'a>) -> Word<'a> {
    Word::Flag(Spoken { flag, spelled, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammars;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Arguments of all kinds: rows of the tables with and without values, words of real builds, and plain noise.
    fn any_arg() -> impl Strategy<Value = Vec<u8>> {
        let tables: Vec<&'static Flag> =
            grammars::ALL.iter().flat_map(|grammar| grammar.tables.iter().copied().flatten()).collect();
        let name = proptest::sample::select(tables).prop_map(|flag| flag.name.as_bytes().to_vec());
        let tail = prop_oneof![Just(Vec::new()), Just(b"=".to_vec()), vec(any::<u8>(), 0..6), Just(b"=x,y".to_vec())];
        let said: Vec<&[u8]> = include_bytes!("../tests/command_lines.txt").split(u8::is_ascii_whitespace).collect();
        prop_oneof![
            4 => (name, tail).prop_map(|(name, tail)| [name, tail].concat()),
            3 => proptest::sample::select(said).prop_map(<[u8]>::to_vec),
            1 => Just(b"a.c".to_vec()),
            1 => Just(b"--".to_vec()),
            1 => Just(b"-".to_vec()),
            1 => vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #[test]
        fn printing_what_was_parsed_gives_back_the_arguments(args in vec(any_arg(), 0..24)) {
            let views: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            for grammar in grammars::ALL {
                let line = CommandLine::parse(grammar, &views);
                prop_assert_eq!(&line.print(), &args);
                prop_assert_eq!(line.words.iter().map(Word::arguments).sum::<usize>(), args.len());
            }
        }
    }

    fn values(grammar: &Grammar, args: &[&str]) -> Vec<String> {
        let views: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        CommandLine::parse(grammar, &views).words.iter().map(describe).collect()
    }

    fn describe(word: &Word) -> String {
        match word {
            Word::Operand(arg) => format!("file {}", arg.escape_ascii()),
            Word::EndOfOptions => "end".into(),
            Word::Flag(spoken) => format!("{} {}", spoken.flag.name, spoken.value().escape_ascii()),
            Word::Unknown(arg) => format!("unknown {}", arg.escape_ascii()),
            Word::Unfinished(arg) => format!("unfinished {}", arg.escape_ascii()),
        }
    }

    #[test]
    fn joined_and_separate_values_are_the_same_value() {
        for args in [&["-ox"][..], &["-o", "x"]] {
            assert_eq!(values(&grammars::GCC, args), ["-o x"]);
        }
        for args in [&["--Map=x"][..], &["-Map", "x"], &["-Map=x"], &["--Map", "x"]] {
            assert_eq!(values(&grammars::LINKER, args), ["--Map x"]);
        }
    }

    #[test]
    fn a_linker_reads_an_o_with_one_dash_as_the_output() {
        assert_eq!(values(&grammars::LINKER, &["-omagic", "--omagic"]), ["-o magic", "--omagic "]);
        assert_eq!(values(&grammars::LINKER, &["-lto", "-soname", "s"]), ["-l to", "--soname s"]);
    }

    #[test]
    fn what_follows_two_dashes_is_a_file() {
        assert_eq!(
            values(&grammars::CLANG, &["-c", "--", "-c"]),
            ["-c ", "end ", "file -c"].map(str::trim_end).map(|word| if word == "-c" { "-c " } else { word })
        );
        assert_eq!(values(&grammars::GCC, &["--"]), ["unknown --"]);
    }

    #[test]
    fn a_value_that_is_missing_is_noticed() {
        assert_eq!(values(&grammars::GCC, &["a.c", "-o"]), ["file a.c", "unfinished -o"]);
    }

    #[test]
    fn the_value_of_a_flag_may_look_like_a_flag() {
        assert_eq!(values(&grammars::GCC, &["-I", "-c", "a.c"]), ["-I -c", "file a.c"]);
    }
}
