//! Which words of a command name its outputs, where other names would change nothing else.
//!
//! A worker that cannot catch what a command writes can at least have it write its outputs elsewhere and publish them
//! afterwards. That is right only where all that is written is named by words of the command, and no byte of it, nor of
//! what is printed, follows from those names. Much follows from `-o`: the names of side files (`-gsplit-dwarf` and
//! `--coverage` put them into the object), the target in a dependency file, the profile that an instrumented program will
//! write, recorded command lines. So this says yes to plain compiles and no in doubt.

use crate::driver::{Driver, Source, Stage};
use crate::flags::Role;
use crate::language::Language;
use crate::parse::{CommandLine, Spoken, Word};

/// Beginnings of flags with which more depends on the names of outputs than their place, or the tool shows its work.
const TELLING: &[&[u8]] = &[
    b"--verbose",
    b"-###",
    b"-time",
    b"--coverage",
    b"-coverage",
    b"-ftest-coverage",
    b"-fcoverage",
    b"-fprofile",
    b"-fbranch-prob",
    b"-fauto-profile",
    b"-fcs-profile",
    b"-frecord",
    b"-grecord",
    b"-gsplit",
    b"-fverbose-asm",
    b"-fembed-bitcode",
    b"-fmodule",
    b"-fplugin",
    b"-fpass-plugin",
    b"-fdump",
    b"-fcompare-debug",
    b"-fopt-info",
    b"-fdiagnostics-format",
    b"-fsave-optimization",
    b"-flto",
    b"-fthinlto",
    b"-fwhole-program",
    b"-fcallgraph",
    b"-fstack-usage",
    b"-save-temps",
    b"--save-temps",
    b"-specs",
    b"--specs",
    b"-wrapper",
    b"-dump",
    b"-dA",
    b"-dD",
    b"-dI",
    b"-dM",
    b"-dN",
    b"-dP",
    b"-dU",
    b"-da",
    b"-dp",
    b"-dx",
    b"-aux-info",
    b"-MJ",
    b"-cc1",
    b"-offload",
    b"--offload",
    b"--cuda",
    b"-Xarch",
    b"-load",
    b"-mllvm",
];

/// The same, which are plain with more letters behind them: `-pipe`, `-pthread`.
const TELLING_WHOLE: &[&[u8]] = &[b"-v", b"-Q", b"-p", b"-pg", b"-H"];

/// For each of `outputs`, in order, the place of the argument that names it; empty when the command is not to be
/// redirected. `args` is the command as given, `line` the same taken apart.
pub(crate) fn words(driver: &Driver, line: &CommandLine, args: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<usize> {
    let one_plain_compile = driver.stage == Stage::Object
        && matches!(&driver.sources[..], [source] if is_plain(source))
        && driver.objects == 0
        && driver.emits.is_none()
        && !driver.renames
        && !driver.besides.any();
    if !one_plain_compile || line.words.iter().any(tells) {
        return Vec::new();
    }
    let Some(named) = named(line) else { return Vec::new() };
    let place_of = |output: &Vec<u8>| {
        let (place, _) = named.iter().find(|(_, value)| value == output)?;
        // In a response file its place would be another.
        args.get(*place).filter(|word| *word == output).map(|_| *place)
    };
    let places: Option<Vec<usize>> = outputs.iter().map(place_of).collect();
    places.filter(|places| places.len() == named.len()).unwrap_or_default()
}

fn is_plain(source: &Source) -> bool {
    let compiled = matches!(source.kind.language, Language::C | Language::Cxx | Language::ObjC | Language::ObjCxx);
    compiled && !source.kind.header
}

fn tells(word: &Word) -> bool {
    match word {
        Word::Flag(said) => {
            let more = matches!(said.flag.role, Role::Hands(_) | Role::HandsList(_) | Role::WholeCommand);
            let name = said.first_word();
            more || TELLING.iter().any(|start| name.starts_with(start)) || TELLING_WHOLE.contains(&&name[..])
        }
        Word::Operand(operand) => operand.starts_with(b"@"),
        Word::EndOfOptions => false,
        Word::Unknown(_) | Word::Unfinished(_) => true,
    }
}

/// The outputs that are named by an argument of their own, and where: the object, and the dependency file, of which the
/// target must be said too.
fn named(line: &CommandLine) -> Option<Vec<(usize, Vec<u8>)>> {
    let mut named: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut objects, mut dependencies, mut targets) = (0, 0, 0);
    let mut place = 0;
    for word in &line.words {
        if let Word::Flag(said) = word {
            let count = match said.flag.role {
                Role::Output => &mut objects,
                Role::DependFile => &mut dependencies,
                Role::DependTarget => &mut targets,
                _ => {
                    place += word.arguments();
                    continue;
                }
            };
            *count += 1;
            if said.flag.role != Role::DependTarget {
                named.push((place + 1, separate(said)?.to_vec()));
            }
        }
        place += word.arguments();
    }
    let target_is_said = dependencies == 0 || targets > 0;
    (objects == 1 && dependencies <= 1 && target_is_said).then_some(named)
}

/// The value, where it is a word of its own that names a file.
fn separate<'a>(said: &Spoken<'a>) -> Option<&'a [u8]> {
    let value = said.value();
    (said.takes_two_words() && !value.is_empty() && value != b"-" && !value.starts_with(b"/dev/")).then_some(value)
}

#[cfg(test)]
mod tests {
    use crate::testing::job;

    #[track_caller]
    fn redirected(command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        job(command).redirects.iter().map(|&place| words[place]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn plain_compiles_can_write_elsewhere() {
        assert_eq!(redirected("gcc -O2 -g -Wall -c a.c -o b/a.o"), "b/a.o");
        assert_eq!(redirected("g++ -MD -MT a.o -MF a.o.d -o a.o -c /s/a.cpp -pipe -pthread"), "a.o a.o.d");
        assert_eq!(redirected("clang -fPIC -c a.c -o a.o"), "a.o");
        assert_eq!(redirected("gcc -c a.c -MMD -MQ x -MF d/a.d -o a.o"), "a.o d/a.d");
    }

    #[test]
    fn in_doubt_names_stay() {
        for command in [
            "gcc -c a.c",
            "gcc -c a.c -oa.o",
            "gcc -c a.c -o a.o -MD",
            "gcc -c a.c -o a.o -MD -MF a.d",
            "gcc -c a.c -o a.o -MD -MF a.d -MF b.d -MT x",
            "gcc -c a.c b.c",
            "gcc a.c -o a",
            "gcc -S a.c -o a.s",
            "gcc -c a.s -o a.o",
            "gcc -x c-header -c a.h -o a.gch",
            "gcc -flto -c a.c -o a.o",
            "gcc --coverage -c a.c -o a.o",
            "gcc -fprofile-generate -c a.c -o a.o",
            "gcc -gsplit-dwarf -c a.c -o a.o",
            "gcc -frecord-gcc-switches -c a.c -o a.o",
            "gcc -v -c a.c -o a.o",
            "gcc -dA -c a.c -o a.o",
            "gcc -Wa,-adhln=x -c a.c -o a.o",
            "gcc -fplugin=/p.so -c a.c -o a.o",
            "clang -emit-llvm -c a.c -o a.bc",
            "clang -Xclang -x -c a.c -o a.o",
            "gcc -E a.c -o a.i",
            "gcc -fsyntax-only a.c",
            "ar rcs a.a a.o",
        ] {
            assert_eq!(redirected(command), "", "{command}");
        }
    }
}
