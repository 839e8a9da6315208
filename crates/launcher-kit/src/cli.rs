//! A launcher's own words: the flags before the command, `--`, and masquerade.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::settings::{Given, key_of_flag};

/// What a launcher was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run this command.
    Run {
        /// Settings given as flags.
        given: Vec<Given>,
        /// `--explain`: only say what would happen.
        explain: bool,
        /// The command: `argv[0]` and its arguments, never empty.
        command: Vec<OsString>,
        /// Whether the command came by masquerade: its `argv[0]` then names ourselves first on the `PATH`.
        masquerade: bool,
    },
    /// Run the commands listed in this file, `-` for standard input.
    RunMany {
        /// Settings given as flags.
        given: Vec<Given>,
        /// `--explain`: only say what would happen.
        explain: bool,
        /// The file.
        from: PathBuf,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// A call that cannot be understood; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A word before the command starts with a dash and is no flag of ours.
    #[error("unknown flag `{0}`: launcher flags come before the command, which may be set apart by `--`; see --help")]
    UnknownFlag(String),
    /// A flag lacks its value.
    #[error("flag `{0}` needs a value: `{0}=VALUE`")]
    MissingValue(String),
    /// A switch was given a value.
    #[error("flag `{0}` takes no value")]
    NeedlessValue(String),
    /// No command.
    #[error("no command given: for example `{0} -- g++ -c a.cpp -o a.o`; see --help")]
    NoCommand(String),
    /// Both a list of jobs and a command.
    #[error("`--jobs-from` and a command exclude each other: give one of them")]
    CommandAndList,
}

/// Reads a launcher's argument vector. `own_names` are the names under which it is itself and not a masquerade.
///
/// # Errors
/// Says which word is wrong and what would be right.
pub fn parse(argv: &[OsString], own_names: &[&str]) -> Result<Request, UsageError> {
    let called = argv.first().map_or(OsStr::new(""), |word| word.as_os_str());
    let name = Path::new(called).file_name().unwrap_or(called);
    if !own_names.iter().any(|own| name == OsStr::new(own)) {
        return Ok(Request::Run { given: Vec::new(), explain: false, command: argv.to_vec(), masquerade: true });
    }
    parse_flags(&argv[1..], &name.to_string_lossy())
}

fn parse_flags(words: &[OsString], own_name: &str) -> Result<Request, UsageError> {
    let mut given = Vec::new();
    let mut explain = false;
    let mut from = None;
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            rest = after;
            break;
        }
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            break;
        }
        rest = after;
        let (flag, value) = split_flag(word);
        match flag.as_str() {
            "--explain" => explain = switch(&flag, value.as_deref())?,
            "--help" | "-h" if value.is_none() => return Ok(Request::Help),
            "--version" | "-V" if value.is_none() => return Ok(Request::Version),
            "--verbose" if value.is_none() => given.push(Given { key: "verbose", value: "true".into() }),
            "--jobs-from" => from = Some(PathBuf::from(value_of(&flag, value, &mut rest)?)),
            _ => {
                let key = flag.strip_prefix("--").and_then(key_of_flag);
                let key = key.ok_or_else(|| UsageError::UnknownFlag(word.to_string_lossy().into_owned()))?;
                given.push(Given { key, value: value_of(&flag, value, &mut rest)? });
            }
        }
    }
    match (from, rest.is_empty()) {
        (Some(from), true) => Ok(Request::RunMany { given, explain, from }),
        (Some(_), false) => Err(UsageError::CommandAndList),
        (None, true) => Err(UsageError::NoCommand(own_name.to_owned())),
        (None, false) => Ok(Request::Run { given, explain, command: rest.to_vec(), masquerade: false }),
    }
}

/// `--flag=value` to its halves.
fn split_flag(word: &OsStr) -> (String, Option<OsString>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let value = OsStr::from_bytes(&bytes[at + 1..]).to_owned();
            (String::from_utf8_lossy(&bytes[..at]).into_owned(), Some(value))
        }
        None => (String::from_utf8_lossy(bytes).into_owned(), None),
    }
}

fn switch(flag: &str, value: Option<&OsStr>) -> Result<bool, UsageError> {
    if value.is_some() { Err(UsageError::NeedlessValue(flag.to_owned())) } else { Ok(true) }
}

/// The value after `=`, or else the next word.
fn value_of(flag: &str, value: Option<OsString>, rest: &mut &[OsString]) -> Result<OsString, UsageError> {
    if let Some(value) = value {
        return Ok(value);
    }
    let (next, after) = rest.split_first().ok_or_else(|| UsageError::MissingValue(flag.to_owned()))?;
    *rest = after;
    Ok(next.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[&str] = &["cc-launcher", "ld-launcher"];

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn command_of(text: &str) -> Vec<OsString> {
        match parse(&words(text), OWN) {
            Ok(Request::Run { command, .. }) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_forms_of_a_call_mean_the_same_command() {
        let plain = words("g++ -c a.cpp");

        assert_eq!(command_of("cc-launcher -- g++ -c a.cpp"), plain);
        assert_eq!(command_of("cc-launcher g++ -c a.cpp"), plain);
        assert_eq!(command_of("/x/cc-launcher --server-addr=h:1 g++ -c a.cpp"), plain);
        assert_eq!(command_of("cc-launcher --server-addr h:1 --verbose -- g++ -c a.cpp"), plain);
        assert_eq!(command_of("g++ -c a.cpp"), plain);
    }

    #[test]
    fn the_commands_own_dashes_are_left_alone() {
        assert_eq!(command_of("cc-launcher g++ --explain -- x"), words("g++ --explain -- x"));
        assert_eq!(command_of("g++ --explain"), words("g++ --explain"));
    }

    #[test]
    fn a_misspelt_flag_is_named() {
        let error = parse(&words("cc-launcher --sever-addr=x:1 g++"), OWN).unwrap_err();

        assert!(error.to_string().starts_with("unknown flag `--sever-addr=x:1`"), "{error}");
    }

    #[test]
    fn a_flag_without_its_value_is_named() {
        let error = parse(&words("cc-launcher --server-addr"), OWN).unwrap_err();

        assert_eq!(error, UsageError::MissingValue("--server-addr".into()));
    }

    #[test]
    fn no_command_is_an_error_that_shows_one() {
        let error = parse(&words("ld-launcher --"), OWN).unwrap_err();

        assert!(error.to_string().contains("`ld-launcher -- g++"), "{error}");
    }

    #[test]
    fn a_list_of_jobs_excludes_a_command() {
        let both = parse(&words("cc-launcher --jobs-from=x.json g++"), OWN);
        let list = parse(&words("cc-launcher --jobs-from x.json"), OWN);

        assert_eq!(both, Err(UsageError::CommandAndList));
        assert!(matches!(list, Ok(Request::RunMany { from, .. }) if from == Path::new("x.json")));
    }
}
