//! The tables against the tools of this machine: every option that a tool's `--help` lists is understood, and takes the
//! next word exactly when the help says so.

use std::process::{Command, Stdio};

use cmdline::{Files, LocalReason, Meaning, tool_of, understand};

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// An option as a help text spells it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    /// With a value joined to it, if it takes one so.
    word: String,
    /// Whether the next word is its value.
    separate: bool,
}

/// What a tool prints about itself; `None` when there is no such tool on this machine.
fn help(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).env("LC_ALL", "C").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The options in a help text: lines such as `  -e ADDRESS, --entry ADDRESS  Set start address`.
fn listed(help: &str) -> Vec<Listed> {
    let mut found: Vec<Listed> = help.lines().flat_map(listed_in_line).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn listed_in_line(line: &str) -> Vec<Listed> {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    if !(1..=8).contains(&indent) || !text.starts_with('-') || text.starts_with("-- ") {
        return Vec::new();
    }
    let head = text.split("  ").next().unwrap_or_default();
    let head = head.split(['\t']).next().unwrap_or_default();
    let head = head.split(" - ").next().unwrap_or_default();
    let mut found: Vec<Listed> = Vec::new();
    let mut without_value = 0;
    // `-L,--keep-locals` and `--32/--64` are two each.
    let head = head.replace(",-", ", -").replace("/-", ", -");
    for token in head.split_whitespace() {
        let ends = token.ends_with(',');
        let token = token.trim_end_matches(',');
        if token.starts_with('-') {
            found.extend(spellings(token).into_iter().map(|word| Listed { word, separate: false }));
        } else if is_value(token) || found.last().is_some_and(|option| option.word == "-z") {
            found[without_value..].iter_mut().for_each(|option| option.separate = !token.starts_with("[="));
            without_value = found.len();
        } else {
            break;
        }
        if ends {
            without_value = found.len();
        }
    }
    found
}

/// `FILE`, `<file>`, `[=STYLE]`: not a word of the description, which some helps put one blank away.
fn is_value(token: &str) -> bool {
    token.starts_with(['<', '[', '{']) || token.chars().all(|c| c.is_ascii_uppercase() || "_=,.".contains(c))
}

/// `-x=VALUE`, `-x[=VALUE]`, `-x<arg>`, `-x=[a|b]`, `-x[sub-options]`, with some value in the place of the name of one.
fn spellings(token: &str) -> Vec<String> {
    let (name, value) = token.split_at(token.find(['=', '[', '<', '{']).unwrap_or(token.len()));
    match value.chars().next() {
        None => vec![name.to_owned()],
        Some('=') => vec![format!("{name}=1")],
        Some('<') if name == "-Wp," => vec![format!("{name}-DX")],
        Some('<') => vec![format!("{name}1")],
        Some(_) if value.starts_with("[=") => vec![name.to_owned(), format!("{name}=1")],
        Some(_) => vec![name.to_owned()],
    }
}

/// A tool, and how its options are tried.
struct Subject<'a> {
    /// As it is called.
    program: &'a str,
    /// What makes it list its options.
    help: &'a [&'a [&'a str]],
    /// Around an option there has to be something to do.
    before: &'a [&'a str],
    after: &'a [&'a str],
    /// Options that are known and left to this machine on purpose.
    left_here: &'a [&'a str],
}

impl Subject<'_> {
    fn meaning(&self, words: &[&str]) -> Meaning {
        let args: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        understand(&tool_of(self.program.as_bytes()).expect("a tool of ours"), &args, &NoFiles)
    }

    /// What is wrong with how the option is understood.
    fn complaint(&self, option: &Listed) -> Option<String> {
        let word = option.word.as_str();
        if DISPUTED.contains(&word) {
            return None;
        }
        let takes_next = matches!(
            self.meaning(&[self.before, &[word]].concat()),
            Meaning::Local(LocalReason::MissingValue(missing)) if missing == word.as_bytes()
        );
        if takes_next != option.separate && takes_next != self.asks_for_a_value(word) && !self.refuses(word) {
            let takes = if takes_next { "takes the next word" } else { "does not take the next word" };
            return Some(format!("{} {word} {takes}, as the table has it", self.program));
        }
        let value = match word {
            "-x" | "--language" => "c",
            "-Xpreprocessor" => "-DX",
            _ => "1",
        };
        let words = if takes_next { vec![word, value] } else { vec![word] };
        match self.meaning(&[self.before, &words[..], self.after].concat()) {
            Meaning::Local(LocalReason::UnknownOption(_) | LocalReason::NotFollowed(_))
                if self.is_left_here(word) || self.refuses(word) =>
            {
                None
            }
            Meaning::Local(
                reason @ (LocalReason::UnknownOption(_)
                | LocalReason::NotFollowed(_)
                | LocalReason::MissingValue(_)
                | LocalReason::UnknownLanguage(_)),
            ) => Some(format!("{} {}: {reason}", self.program, words.join(" "))),
            Meaning::Local(_) | Meaning::Job(_) => None,
        }
    }

    fn is_left_here(&self, word: &str) -> bool {
        self.left_here.contains(&word.split('=').next().unwrap_or(word))
    }

    /// Helps do not always say that an option takes a word: the tool does when the word is missing. GNU ld does it by
    /// not recognising the option.
    fn asks_for_a_value(&self, word: &str) -> bool {
        let said = self.said_about(&[word]);
        if said.contains("unrecognized option") {
            return !self.said_about(&[word, "1"]).contains("unrecognized option");
        }
        [
            "missing argument",
            "argument missing",
            "is missing (expected",
            "missing after",
            "missing filename",
            "missing path",
            "requires an argument",
        ]
        .iter()
        .any(|complaint| said.contains(complaint))
    }

    /// Helps list options of a tool's inner programs and of other targets, which the tool itself does not take.
    fn refuses(&self, word: &str) -> bool {
        let said = self.said_about(&[word, "1"]);
        ["unrecognized", "is valid for"].iter().any(|complaint| said.contains(complaint))
    }

    fn said_about(&self, words: &[&str]) -> String {
        let output = Command::new(self.program).args(words).stdin(Stdio::null()).env("LC_ALL", "C").output();
        output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default()
    }

    fn check(&self) {
        let mut options = Vec::new();
        for args in self.help {
            let Some(text) = help(self.program, args) else {
                println!("skipped: {} is not installed", self.program);
                return;
            };
            options.extend(listed(&text));
        }
        assert!(options.len() >= 5, "{} lists its options", self.program);
        let complaints: Vec<String> = options.iter().filter_map(|option| self.complaint(option)).collect();
        assert!(
            complaints.is_empty(),
            "{} of {} options:\n  {}",
            complaints.len(),
            options.len(),
            complaints.join("\n  ")
        );
    }
}

/// Linkers do not agree whether these take the next word, and the name `ld` may mean any of them. Taken for a file, the
/// word is an input that is not there, and the command stays.
const DISPUTED: &[&str] =
    &["--package-metadata", "--shuffle-sections", "--threads", "--unique", "-G", "-fuse-ld", "-optimize"];

/// Files of more options, other command languages, other tools, a working directory of its own: nothing that a build
/// in its right mind hands to a launcher.
const CLANG_LEFT_HERE: &[&str] = &[
    "--config",
    "--config-system-dir",
    "--config-user-dir",
    "--driver-mode",
    "--emit-static-lib",
    "-ccc-arcmt-migrate",
    "-ccc-gcc-name",
    "-ccc-install-dir",
    "-ccc-objcmt-migrate",
    "-working-directory",
];

const HELP: &[&[&str]] = &[&["--help"]];

const LINKER: Subject<'_> = Subject {
    program: "ld",
    help: HELP,
    before: &["a.o"],
    after: &[],
    left_here: &["--", "--chroot", "-C", "--directory", "--run"],
};

#[test]
fn gcc() {
    let helps: &[&[&str]] = &[
        &["--help"],
        &["--help=common"],
        &["--help=optimizers"],
        &["--help=params"],
        &["--help=target"],
        &["--help=warnings"],
        &["--help=c"],
        &["--help=c++"],
        &["--help=objc"],
        &["--help=objc++"],
        &["--help=fortran"],
    ];
    for program in ["gcc", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-gcc-12"] {
        Subject { program, help: helps, before: &["-c", "a.c"], after: &[], left_here: &[] }.check();
    }
}

#[test]
fn clang() {
    let helps: &[&[&str]] = &[&["--help"], &["--help-hidden"]];
    for program in ["clang", "clang-14"] {
        Subject { program, help: helps, before: &["-c", "a.c"], after: &[], left_here: CLANG_LEFT_HERE }.check();
    }
}

#[test]
fn linkers() {
    for program in ["ld", "ld.bfd", "ld.gold", "ld.lld", "mold", "aarch64-linux-gnu-ld"] {
        Subject { program, ..LINKER }.check();
    }
}

#[test]
fn assemblers() {
    for program in ["as", "aarch64-linux-gnu-as"] {
        Subject { program, help: HELP, before: &["a.s"], after: &[], left_here: &[] }.check();
    }
}

#[test]
fn archivers() {
    for program in ["ar", "llvm-ar", "llvm-ar-14"] {
        Subject { program, help: HELP, before: &[], after: &["rc", "l.a", "a.o"], left_here: &[] }.check();
    }
    for program in ["ranlib", "llvm-ranlib", "llvm-ranlib-14"] {
        Subject { program, help: HELP, before: &["l.a"], after: &[], left_here: &[] }.check();
    }
}

#[test]
fn object_tools() {
    for program in ["strip", "objcopy", "dwp", "llvm-strip", "llvm-strip-14", "llvm-objcopy", "llvm-objcopy-14"] {
        // It makes one output of a part of the input, and nobody asked for it yet.
        let left_here = &["--extract-partition"];
        Subject { program, help: HELP, before: &["a", "b"], after: &[], left_here }.check();
    }
}
