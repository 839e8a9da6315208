//! What a compiler says that it has read: the dependencies that it writes for `make` (`-MD`), which tell of headers that no
//! command line names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proto::v1;

use crate::regular;

/// How files of dependencies are called: by compilers themselves and CMake, by automake, by others.
const ENDINGS: [&[u8]; 6] = [b".d", b".Tpo", b".Po", b".Plo", b".dep", b".deps"];
/// Of a file so much is read, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The files of which a command says in these of its outputs that it has read them.
pub(crate) fn told_in(outputs: &[v1::Stamp], cwd: &Path) -> BTreeSet<PathBuf> {
    let rules = outputs.iter().filter(|stamp| ENDINGS.iter().any(|ending| stamp.path.ends_with(ending)));
    // One that cannot be read says nothing.
    let texts = rules.filter_map(|stamp| regular::read(&cwd.join(OsStr::from_bytes(&stamp.path)), MOST_BYTES).ok());
    texts.flat_map(|(_, text)| files_in(&text, cwd)).collect()
}

/// What rules in the form of `make` depend on. Tolerant: what it cannot read it passes over.
fn files_in(rules: &[u8], cwd: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for rule in logical_lines(rules) {
        let words = words_of(&rule);
        let targets = words.iter().position(|word| word.ends_with(b":")).map_or(words.len(), |colon| colon + 1);
        files.extend(words[targets..].iter().map(|word| cwd.join(OsStr::from_bytes(word))));
    }
    files
}

/// Lines, put together where a backslash ends them.
fn logical_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let last = lines.last_mut().expect("there is always one");
        match line.strip_suffix(b"\\") {
            Some(continued) => {
                last.extend_from_slice(continued);
                last.push(b' ');
            }
            None => {
                last.extend_from_slice(line);
                lines.push(Vec::new());
            }
        }
    }
    lines
}

/// Words, with what compilers put before blanks and `#` taken away (`\ `, `\#`), and of `$$` one.
fn words_of(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut rest) = (Vec::new(), Vec::new(), line);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'\\', Some(&meant @ (b' ' | b'#'))) | (b'$', Some(&meant @ b'$')) => {
                word.push(meant);
                rest = &after[1..];
            }
            (b' ' | b'\t', _) if word.is_empty() => {}
            (b' ' | b'\t', _) => words.push(std::mem::take(&mut word)),
            _ => word.push(byte),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: &str) -> Vec<String> {
        let files = files_in(rules.as_bytes(), Path::new("/b"));
        files.iter().map(|file| file.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn dependencies_are_known_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let told = |name: &str| {
            std::fs::write(dir.path().join(name), "a.o: a.c b.h\n").unwrap();
            let output = v1::Stamp { path: name.to_owned().into(), ..v1::Stamp::default() };
            told_in(&[output], dir.path()).len()
        };

        assert_eq!(["a.d", "a.o.d", "a.Tpo", "a.dep"].map(told), [2; 4]);
        assert_eq!(["a.o", "a.gcno"].map(told), [0; 2]);
    }

    #[test]
    fn rules_of_compilers_are_read() {
        let rules = "out/a.o out/a.d: ../src/a.c \\\n  /mnt/inc/x.h gen/y.h\\\n local.h\n/mnt/inc/x.h:\n";

        assert_eq!(found(rules), ["/b/../src/a.c", "/b/gen/y.h", "/b/local.h", "/mnt/inc/x.h"]);
    }

    #[test]
    fn odd_names_and_odd_texts_are_borne() {
        assert_eq!(
            found("a.o: with\\ blank/a.h no\\#te/b.h do$$ar/c.h"),
            ["/b/do$ar/c.h", "/b/no#te/b.h", "/b/with blank/a.h"]
        );
        assert_eq!(found(""), [""; 0]);
        assert_eq!(found("no colon here\n\\\n\\"), [""; 0]);
        assert_eq!(found("a.o:"), [""; 0]);
    }
}
