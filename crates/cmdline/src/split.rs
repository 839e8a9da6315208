//! Several sources in one command: whether they are as well several commands.
//!
//! Only when nobody could tell the difference: no flag that names one file for all, none that reports on the whole
//! command, no linker input, about which a driver says once that it is unused, and no flag that some driver might
//! complain about. Provided that all sources exist: Clang compiles none if it misses one.

use std::collections::BTreeSet;

use crate::Unit;
use crate::driver::{Driver, Stage};
use crate::flags::Role;
use crate::language::Language;
use crate::outputs::default_output;
use crate::parse::{CommandLine, Spoken, Word};
use crate::response_file::Expansion;

/// One unit per source, or none.
pub(crate) fn units(driver: &Driver, line: &CommandLine, args: &[Vec<u8>], expansion: &Expansion) -> Vec<Unit> {
    let Some(places) = places(driver, expansion) else { return Vec::new() };
    if !is_separable(driver) || !line.words.iter().all(suits_every_unit) {
        return Vec::new();
    }
    if speaks_of_language_late(driver, line) || expansion.args.len() != args.len() {
        return Vec::new();
    }
    let outputs: Vec<Vec<u8>> = driver.sources.iter().map(|source| default_output(driver, source)).collect();
    if outputs.iter().collect::<BTreeSet<_>>().len() < outputs.len() {
        return Vec::new();
    }
    let sources = driver.sources.iter().zip(outputs).zip(&places);
    sources
        .map(|((source, output), place)| Unit {
            args: without_others(args, &places, *place),
            input: source.path.clone(),
            output,
        })
        .collect()
}

/// The sources' places in the command as given; none when there is nothing to split, or a source is in an `@file`.
fn places(driver: &Driver, expansion: &Expansion) -> Option<Vec<usize>> {
    let places: Option<Vec<usize>> = driver.sources.iter().map(|source| expansion.origin[source.place]).collect();
    places.filter(|places| places.len() >= 2)
}

fn is_separable(driver: &Driver) -> bool {
    matches!(driver.stage, Stage::Assembly | Stage::Object)
        && driver.output.is_none()
        && driver.depend_file.is_none()
        && !driver.renames
        && driver.besides.temps.is_none()
        && !driver.ledger.writes_unlisted
        && !driver.ledger.once_only
        && driver.ledger.outputs.is_empty()
        && driver.objects == 0
        && !driver.has_libraries
        && driver.handed.linker.is_empty()
        && driver.handed.assembler.is_empty()
        && driver.sources.iter().all(|source| makes_one_file(source.kind.language))
}

/// Fortran is out: one source's modules are the next one's inputs.
fn makes_one_file(language: Language) -> bool {
    matches!(language, Language::C | Language::Cxx | Language::ObjC | Language::ObjCxx | Language::Assembly)
}

/// `-x` once, before the first source, holds for all of them.
fn speaks_of_language_late(driver: &Driver, line: &CommandLine) -> bool {
    let spoken = |word: &Word| matches!(word, Word::Flag(said) if said.flag.role == Role::Language);
    let first = line.words.iter().position(|word| matches!(word, Word::Operand(_))).unwrap_or_default();
    let times = line.words.iter().filter(|word| spoken(word)).count();
    driver.sources.is_empty() || times > 1 || line.words[first..].iter().any(spoken)
}

fn suits_every_unit(word: &Word) -> bool {
    match word {
        Word::Operand(_) => true,
        Word::Flag(said) => is_known_and_used(said),
        Word::EndOfOptions | Word::Unknown(_) | Word::Unfinished(_) => false,
    }
}

/// A driver complains once for the command about an option that it does not know or, if it is Clang, had no use for;
/// several commands would complain several times. These options every driver knows and uses.
fn is_known_and_used(said: &Spoken) -> bool {
    let value = said.value();
    match said.flag.name {
        "-f" => COMMON_FEATURES.binary_search(&value.strip_prefix(b"no-").unwrap_or(value)).is_ok(),
        "-W" => COMMON_WARNINGS.binary_search(&value.strip_prefix(b"no-").unwrap_or(value)).is_ok(),
        "-O" => matches!(value, b"" | b"0" | b"1" | b"2" | b"3" | b"s" | b"g"),
        "-g" => matches!(value, b"" | b"0" | b"1" | b"2" | b"3" | b"dwarf-4" | b"dwarf-5"),
        "-p" => matches!(value, b"thread" | b"ipe" | b"edantic"),
        "-std=" => is_common_standard(value),
        "-c" | "-S" | "-D" | "-U" | "-I" | "-isystem" | "-iquote" | "-idirafter" | "-include" | "-w" | "-x" | "-MD"
        | "-MMD" | "-MP" | "-fstack-usage" | "-gsplit-dwarf" => true,
        _ => false,
    }
}

fn is_common_standard(value: &[u8]) -> bool {
    let year = [&b"c++"[..], b"gnu++", b"c", b"gnu"].iter().find_map(|dialect| value.strip_prefix(*dialect));
    matches!(year, Some(b"89" | b"90" | b"98" | b"99" | b"03" | b"11" | b"14" | b"17" | b"20"))
}

/// Sorted; each with or without `no-`.
const COMMON_FEATURES: &[&[u8]] = &[
    b"PIC",
    b"PIE",
    b"asynchronous-unwind-tables",
    b"common",
    b"data-sections",
    b"exceptions",
    b"function-sections",
    b"omit-frame-pointer",
    b"pic",
    b"pie",
    b"rtti",
    b"stack-protector",
    b"stack-protector-strong",
    b"strict-aliasing",
    b"visibility-inlines-hidden",
    b"visibility=default",
    b"visibility=hidden",
];

/// Sorted; each with or without `no-`.
const COMMON_WARNINGS: &[&[u8]] = &[
    b"all",
    b"cast-align",
    b"conversion",
    b"error",
    b"extra",
    b"format",
    b"missing-prototypes",
    b"pedantic",
    b"pointer-arith",
    b"shadow",
    b"sign-compare",
    b"strict-prototypes",
    b"undef",
    b"unused",
    b"unused-function",
    b"unused-parameter",
    b"unused-variable",
    b"write-strings",
];

fn without_others(args: &[Vec<u8>], sources: &[usize], kept: usize) -> Vec<Vec<u8>> {
    let stays = |place: &usize| *place == kept || !sources.contains(place);
    (0..args.len()).filter(stays).map(|place| args[place].clone()).collect()
}

/// The name of a unit's output, for messages.
#[cfg(test)]
fn describe(unit: &Unit) -> String {
    format!("{} => {}", crate::testing::line(&unit.args), String::from_utf8_lossy(&unit.output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meaning;
    use crate::testing::{Shelf, job, meaning_with};

    #[test]
    fn the_lists_are_sorted() {
        assert!(COMMON_FEATURES.is_sorted() && COMMON_WARNINGS.is_sorted());
    }

    #[test]
    fn two_sources_are_two_units() {
        let units = job("gcc -O2 a.c -MD -c dir/b.c -Iinc").units;

        assert_eq!(
            units.iter().map(describe).collect::<Vec<_>>(),
            ["-O2 a.c -MD -c -Iinc => a.o", "-O2 -MD -c dir/b.c -Iinc => b.o",]
        );
        assert_eq!(units[1].input, b"dir/b.c");
    }

    #[test]
    fn one_language_for_all_is_no_obstacle() {
        assert_eq!(job("gcc -x c++ -c a.c b.c").units.len(), 2);
        assert_eq!(job("gcc -S a.c b.c c.c").units.len(), 3);
        assert_eq!(job("clang -O2 -Wall -c a.c b.c").units.len(), 2);
        assert_eq!(job("gcc -gsplit-dwarf -fstack-usage -c a.c b.c").units.len(), 2);
    }

    #[test]
    fn whatever_could_be_noticed_keeps_a_command_whole() {
        for command in [
            "gcc -c a.c",
            "gcc a.c b.c",
            "gcc -fsyntax-only a.c b.c",
            "gcc -c dir/a.c a.c",
            "gcc -c a.c b.c -MF x.d -MD",
            "gcc -c a.c b.c -MT x -MD",
            "gcc -c a.c b.c -dumpdir x",
            "gcc -c a.c b.c -save-temps",
            "gcc -c a.c b.c -v",
            "gcc -c a.c b.c -ftime-report",
            "gcc -c a.c b.c -fdump-tree-all",
            "gcc -c a.c b.c -aux-info x",
            "gcc -c a.c b.c -Wp,-MD,x.d",
            "gcc -c a.c b.c -Wa,-al=x",
            "gcc -c a.c b.c -lm",
            "gcc -c a.c b.c c.o",
            "gcc -c a.c b.c -Wl,-O1",
            "gcc -c a.c -x c++ b.c",
            "gcc -c a.c b.c -fplugin=./p.so",
            "gcc -c a.c b.c -fno-such-thing",
            "gcc -c a.c b.c -std=c42",
            "clang -c a.c b.c -Ldir",
            "clang -c a.c b.c -static",
            "clang -c a.c b.c -grecord-command-line",
            "clang -c a.c b.c -MJ x",
            "g++ -fmodules-ts -c a.cc b.cc",
            "gfortran -c a.f90 b.f90",
        ] {
            assert_eq!(job(command).units, [], "{command}");
        }
    }

    #[test]
    fn sources_in_a_response_file_keep_a_command_whole() {
        let shelf = Shelf::with([("r", "b.c")]);
        let Meaning::Job(job) = meaning_with("gcc -c a.c @r", &shelf) else { panic!("a job") };

        assert_eq!(job.units, []);
        assert_eq!(job.outputs.len(), 2);
    }
}
