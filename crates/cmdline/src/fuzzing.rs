//! What `fuzz/` holds against the parser, and what its corpus found so far, replayed as a plain test.

use core::cell::Cell;

use crate::parse::{CommandLine, Word};
use crate::{Files, grammars, tool_of, understand};

/// Every name of one of these exists and has the same contents, unless it begins with `no`. Only so many are opened: a
/// file that names itself thousands of times is slow and tells the fuzzer nothing.
struct OneText<'a> {
    text: &'a [u8],
    left: Cell<usize>,
}

impl Files for OneText<'_> {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        let left = self.left.get().checked_sub(1)?;
        self.left.set(left);
        (!path.starts_with(b"no")).then(|| self.text.to_vec())
    }
}

/// Whether parsing a command line by every grammar and printing it gives the command line back, and whether giving it
/// meaning comes to an end. In `bytes` NUL parts the contents of every response file from the arguments, and those from
/// each other. Panics when not.
pub fn check_parse_then_print(bytes: &[u8]) {
    let mut words = bytes.split(|byte| *byte == 0);
    let text = words.next().unwrap_or_default();
    let views: Vec<&[u8]> = words.collect();
    let args: Vec<Vec<u8>> = views.iter().map(|arg| arg.to_vec()).collect();
    for grammar in grammars::ALL {
        let line = CommandLine::parse(grammar, &views);
        assert_eq!(line.print(), args);
        assert_eq!(line.words.iter().map(Word::arguments).sum::<usize>(), args.len());
    }
    for name in TOOLS {
        let tool = tool_of(name.as_bytes()).expect("a tool of ours");
        let _ = understand(&tool, &args, &OneText { text, left: Cell::new(16) });
    }
}

/// One for each way of reading a command line.
const TOOLS: [&str; 13] = [
    "gcc",
    "cc",
    "gfortran",
    "clang",
    "cpp",
    "as",
    "ld",
    "x86_64-w64-mingw32-ld",
    "ar",
    "ranlib",
    "strip",
    "objcopy",
    "dwp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fuzzer_came_across_still_passes() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/parse_then_print");
        let entries: Vec<_> = std::fs::read_dir(corpus).expect("the corpus is in the repository").collect();

        assert!(entries.len() > 20, "the corpus holds {} inputs", entries.len());
        for entry in entries {
            let path = entry.expect("an entry").path();
            check_parse_then_print(&std::fs::read(path).expect("an input"));
        }
    }
}
