//! `@file`: arguments kept in a file, read as libiberty's `expandargv` and `buildargv` (`argv.c`) read them.
//!
//! Words are parted by white space; single and double quotes keep it together; a backslash takes the next byte as it
//! is, inside quotes too. An `@file` in a file is expanded in turn, relative to the working directory, not to the
//! file. An `@file` that cannot be read stays a plain argument.

use crate::Files;

/// libiberty gives up after so many files (`iteration_limit`).
const MOST_FILES: usize = 2000;
/// We give up after so many arguments, which is more than `execve(2)` would carry.
const MOST_ARGUMENTS: usize = 4 << 20;

/// Arguments with every readable `@file` replaced by its contents.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    /// The arguments as the tool will see them.
    pub(crate) args: Vec<Vec<u8>>,
    /// For each of them, its place in the command that was given; `None` for one that came out of a file.
    pub(crate) origin: Vec<Option<usize>>,
    /// The files read, in order.
    pub(crate) files: Vec<Vec<u8>>,
    /// A file that could not be read: its `@file` is among the arguments.
    pub(crate) unreadable: Option<Vec<u8>>,
    /// Whether files name each other without end.
    pub(crate) endless: bool,
}

/// Expands `args`, asking `files` for contents.
pub(crate) fn expand(args: &[Vec<u8>], files: &dyn Files) -> Expansion {
    let mut expansion = Expansion::default();
    // A stack of what is still to be looked at, the next one last.
    let mut pending: Vec<(Option<usize>, Vec<u8>)> =
        args.iter().enumerate().rev().map(|(place, arg)| (Some(place), arg.clone())).collect();
    while let Some((origin, arg)) = pending.pop() {
        match arg.strip_prefix(b"@").filter(|path| !path.is_empty()) {
            Some(path) => match expansion.open(path, files) {
                Some(inside) => pending.extend(inside.into_iter().rev().map(|arg| (None, arg))),
                None => expansion.keep(origin, arg),
            },
            None => expansion.keep(origin, arg),
        }
        if expansion.endless {
            break;
        }
    }
    expansion
}

impl Expansion {
    fn open(&mut self, path: &[u8], files: &dyn Files) -> Option<Vec<Vec<u8>>> {
        let Some(text) = files.read(path) else {
            self.unreadable.get_or_insert_with(|| path.to_vec());
            return None;
        };
        self.files.push(path.to_vec());
        self.endless |= self.files.len() >= MOST_FILES;
        Some(split(&text))
    }

    fn keep(&mut self, origin: Option<usize>, arg: Vec<u8>) {
        self.args.push(arg);
        self.origin.push(origin);
        self.endless |= self.args.len() >= MOST_ARGUMENTS;
    }
}

/// Splits the text of a response file into arguments, as `buildargv` does. The text ends at a NUL, as a C string.
pub(crate) fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut splitter = Splitter::default();
    text.iter().copied().take_while(|byte| *byte != 0).for_each(|byte| splitter.take(byte));
    splitter.finish()
}

#[derive(Default)]
struct Splitter {
    done: Vec<Vec<u8>>,
    /// The argument being read; `None` between arguments, so that `''` is an argument.
    current: Option<Vec<u8>>,
    quote: Option<u8>,
    escaped: bool,
}

impl Splitter {
    fn take(&mut self, byte: u8) {
        if self.is_separator(byte) {
            self.done.extend(self.current.take());
            return;
        }
        let current = self.current.get_or_insert_default();
        if self.escaped {
            self.escaped = false;
            current.push(byte);
        } else if byte == b'\\' {
            self.escaped = true;
        } else if self.quote == Some(byte) {
            self.quote = None;
        } else if self.quote.is_none() && matches!(byte, b'\'' | b'"') {
            self.quote = Some(byte);
        } else {
            current.push(byte);
        }
    }

    fn is_separator(&self, byte: u8) -> bool {
        !self.escaped && self.quote.is_none() && matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.extend(self.current);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Shelf, args};

    fn words(text: &str) -> Vec<String> {
        split(text.as_bytes()).into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn white_space_quotes_and_backslashes_are_libibertys() {
        assert_eq!(words("a  b\n\tc\r\n"), ["a", "b", "c"]);
        assert_eq!(words(r#"'a b' "c d" e' 'f"#), ["a b", "c d", "e f"]);
        assert_eq!(words(r#"a\ b "c\"d" 'e\'f' g\\h"#), ["a b", "c\"d", "e'f", "g\\h"]);
        assert_eq!(words(r#""it's" '"'"#), ["it's", "\""]);
        assert_eq!(words("'' \"\""), ["", ""]);
        assert_eq!(words("  \n "), Vec::<String>::new());
        assert_eq!(words("'unclosed quote"), ["unclosed quote"]);
        assert_eq!(words("ends in \\"), ["ends", "in", ""]);
    }

    #[test]
    fn nested_files_are_opened_in_place() {
        let shelf = Shelf::with([("outer", "-a @inner -d"), ("inner", "-b -c")]);

        let expansion = expand(&args("x @outer y"), &shelf);

        assert_eq!(expansion.args, args("x -a -b -c -d y"));
        assert_eq!(expansion.origin, [Some(0), None, None, None, None, Some(2)]);
        assert_eq!(expansion.files, args("outer inner"));
    }

    #[test]
    fn an_unreadable_file_stays_an_argument() {
        let expansion = expand(&args("-c @nowhere @"), &Shelf::default());

        assert_eq!(expansion.args, args("-c @nowhere @"));
        assert_eq!(expansion.unreadable, Some(b"nowhere".to_vec()));
    }

    #[test]
    fn files_that_name_each_other_come_to_an_end() {
        let shelf = Shelf::with([("a", "x @b"), ("b", "@a @a")]);

        assert!(expand(&args("@a"), &shelf).endless);
    }
}
