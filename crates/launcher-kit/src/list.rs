//! Lists of commands: a JSON compilation database, or lines of NUL-separated words.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tokio::io::unix::AsyncFd;

/// A command of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The argument vector, never empty.
    pub argv: Vec<OsString>,
    /// The directory to run it in.
    pub directory: PathBuf,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("`{0}` cannot be read: {1}")]
    Io(String, io::Error),
    /// It is no compilation database.
    #[error(
        "`{0}` is no compilation database: {1}; it must be a list of objects with `directory` and `command` or `arguments`"
    )]
    Json(String, String),
}

/// A list being read. What it holds need not be there yet: lines on a pipe are taken as they come.
pub struct Source {
    name: String,
    ready: VecDeque<Listed>,
    stream: Option<Stream>,
    directory: PathBuf,
}

/// Lines that still come.
struct Stream {
    input: Input,
    buffer: Vec<u8>,
}

enum Input {
    /// A pipe, socket or terminal: read when there is something.
    Pollable(AsyncFd<OwnedFd>),
    /// A regular file: never makes anybody wait.
    Plain(File),
}

impl Source {
    /// Opens a list: a file, or `-` for standard input. A file is a compilation database
    /// (<https://clang.llvm.org/docs/JSONCompilationDatabase.html>), or lines as on standard input.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn open(from: &Path) -> Result<Self, SourceError> {
        let name = from.display().to_string();
        let failed = |error| SourceError::Io(name.clone(), error);
        let directory = std::env::current_dir().map_err(failed)?;
        if from == Path::new("-") {
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
            return Ok(Self {
                name,
                ready: VecDeque::new(),
                stream: Some(Stream::new(Input::Plain(input.into()))),
                directory,
            });
        }
        let mut text = Vec::new();
        File::open(from).and_then(|mut file| file.read_to_end(&mut text)).map_err(failed)?;
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let is_list = !matches!(first, Some(b'[' | b'{')) && is_list_of_commands(&text);
        let ready = if is_list { lines(&text, &directory) } else { database(&name, &text)? };
        Ok(Self { name, ready, stream: None, directory })
    }

    /// Whether there will be no more commands.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.ready.is_empty() && self.stream.is_none()
    }

    /// The next command; `None` when there is none (any more). Cancel safe.
    ///
    /// # Errors
    /// When the input cannot be read; the list ends there.
    pub async fn next(&mut self) -> Result<Option<Listed>, SourceError> {
        while self.ready.is_empty() {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            match stream.read_more().await {
                Ok(true) => self.ready = stream.take_lines(&self.directory),
                Ok(false) => {
                    self.ready = lines(&stream.buffer, &self.directory);
                    self.stream = None;
                }
                Err(error) => {
                    self.stream = None;
                    return Err(SourceError::Io(self.name.clone(), error));
                }
            }
        }
        Ok(self.ready.pop_front())
    }
}

impl Stream {
    fn new(input: Input) -> Self {
        Self { input, buffer: Vec::new() }
    }

    /// Reads what is there; false at the end.
    async fn read_more(&mut self) -> io::Result<bool> {
        self.make_pollable();
        let mut piece = [0; 64 << 10];
        let length = match &mut self.input {
            Input::Plain(file) => file.read(&mut piece)?,
            Input::Pollable(fd) => {
                let mut guard = fd.readable().await?;
                let length = rustix::io::read(fd.get_ref(), &mut piece)?;
                // The descriptor is shared with others, so it stays blocking and cannot say "not now": it is asked, for
                // epoll tells of new data once and what is left of the old would never be told again.
                if has_more(fd.get_ref())? {
                    guard.retain_ready();
                } else {
                    guard.clear_ready();
                }
                length
            }
        };
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }

    /// What `epoll` takes is waited for; what it refuses (a regular file) is read at once.
    fn make_pollable(&mut self) {
        let Input::Plain(file) = &self.input else { return };
        let Ok(copy) = file.as_fd().try_clone_to_owned() else { return };
        // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same as long as it is registered.
        if let Ok(pollable) = unsafe { AsyncFd::register_with_interest(copy, tokio::io::Interest::READABLE) } {
            self.input = Input::Pollable(pollable);
        }
    }

    /// The complete lines so far.
    fn take_lines(&mut self, directory: &Path) -> VecDeque<Listed> {
        let Some(end) = self.buffer.iter().rposition(|&byte| byte == b'\n') else { return VecDeque::new() };
        let rest = self.buffer.split_off(end + 1);
        let complete = std::mem::replace(&mut self.buffer, rest);
        lines(&complete, directory)
    }
}

fn has_more(fd: &OwnedFd) -> io::Result<bool> {
    let mut polled = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(rustix::event::poll(&mut polled, Some(&now))? > 0)
}

/// Whether words are separated as on standard input: any other text, a Makefile or a program, was named by mistake, and is
/// not to be run line by line.
fn is_list_of_commands(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.all(|line| line.contains(&0))
}

/// One command a line, its words separated by NUL; empty lines are passed over.
fn lines(text: &[u8], directory: &Path) -> VecDeque<Listed> {
    let command = |line: &[u8]| {
        let line = line.strip_suffix(b"\0").unwrap_or(line);
        let argv = line.split(|&byte| byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
        Listed { argv, directory: directory.to_owned() }
    };
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(command).collect()
}

fn database(name: &str, text: &[u8]) -> Result<VecDeque<Listed>, SourceError> {
    let wrong = |problem: String| SourceError::Json(name.to_owned(), problem);
    let entries: Vec<serde_json::Value> = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    let numbered = entries.iter().enumerate();
    numbered
        .map(|(number, entry)| listed(entry).map_err(|problem| wrong(format!("entry {number} {problem}"))))
        .collect()
}

fn listed(entry: &serde_json::Value) -> Result<Listed, String> {
    let directory = entry["directory"].as_str().ok_or("has no `directory`")?;
    let argv: Vec<OsString> = match (&entry["arguments"], &entry["command"]) {
        (serde_json::Value::Array(words), _) => {
            let words = words.iter().map(|word| word.as_str().map(OsString::from));
            words.collect::<Option<_>>().ok_or("has `arguments` that are not texts")?
        }
        (_, serde_json::Value::String(command)) => split_shell(command),
        _ => return Err("has neither `arguments` nor `command`".to_owned()),
    };
    if argv.is_empty() {
        return Err("has an empty command".to_owned());
    }
    Ok(Listed { argv, directory: PathBuf::from(directory) })
}

/// Splits as the database's specification says: "shell-escaped", double and single quotes and backslashes, no expansion.
fn split_shell(command: &str) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t' | '\n' | '\r') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn all(mut source: Source) -> Vec<Listed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let mut all = Vec::new();
        while let Some(listed) = runtime.block_on(source.next()).unwrap() {
            all.push(listed);
        }
        all
    }

    #[test]
    fn a_compilation_database_gives_commands_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("compile_commands.json");
        let text = r#" [{"directory": "/b", "command": "g++ '-DX=\"a b\"' -c \"a b.cpp\" c\\ d", "file": "a b.cpp"},
                       {"directory": "/c", "arguments": ["gcc", "-c", "x.c"], "file": "x.c"}]"#;
        std::fs::write(&file, text).unwrap();

        let commands = all(Source::open(&file).unwrap());

        assert_eq!(commands[0].argv, argv(&["g++", "-DX=\"a b\"", "-c", "a b.cpp", "c d"]));
        assert_eq!(commands[0].directory, Path::new("/b"));
        assert_eq!(commands[1].argv, argv(&["gcc", "-c", "x.c"]));
    }

    #[test]
    fn a_database_without_commands_says_which_entry_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, r#"[{"directory": "/b"}]"#).unwrap();

        let error = Source::open(&file).err().unwrap().to_string();

        assert!(error.contains("entry 0 has neither `arguments` nor `command`"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_by_mistake_is_not_run_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Makefile");
        std::fs::write(&file, "all:\n\techo all\n").unwrap();

        let error = Source::open(&file).err().unwrap().to_string();

        assert!(error.contains("Makefile` is no compilation database"), "{error}");
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(all(Source::open(&file).unwrap()), []);
    }

    #[test]
    fn lines_hold_words_of_any_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        std::fs::write(&file, b"gcc\0-c\0caf\xe9 x.c\0\n\ngcc\0-c\0\0b.c").unwrap();

        let commands = all(Source::open(&file).unwrap());

        assert_eq!(commands.len(), 2);
        assert_eq!(commands[0].argv[2], OsString::from_vec(b"caf\xe9 x.c".to_vec()));
        assert_eq!(commands[1].argv, argv(&["gcc", "-c", "", "b.c"]));
    }
}
