//! Where units read headers from, learned from the dependencies that compilers write (`-MD`): the next unit of the same
//! directory will most likely search there, and no command line says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Output directories of which something is known; the one used longest ago is forgotten.
const MOST_OUTPUT_DIRS: usize = 1024;
/// Header directories of each.
const MOST_HEADER_DIRS: usize = 256;
/// Of dependencies so much is read, in bytes.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// By user and output directory.
#[derive(Debug, Default)]
pub(super) struct Learned {
    clock: u64,
    by_output: BTreeMap<(u32, PathBuf), (u64, BTreeSet<PathBuf>)>,
}

impl Learned {
    pub(super) fn learn(&mut self, uid: u32, output_dir: PathBuf, headers: BTreeSet<PathBuf>) {
        self.clock += 1;
        let (used, known) = self.by_output.entry((uid, output_dir)).or_default();
        *used = self.clock;
        for dir in headers {
            if known.len() < MOST_HEADER_DIRS {
                known.insert(dir);
            }
        }
        if self.by_output.len() > MOST_OUTPUT_DIRS
            && let Some(oldest) = self.by_output.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.by_output.remove(&oldest);
        }
    }

    pub(super) fn of(&self, uid: u32, output_dir: &Path) -> impl Iterator<Item = PathBuf> {
        let known = self.by_output.get(&(uid, output_dir.to_owned()));
        known.into_iter().flat_map(|(_, dirs)| dirs.iter().cloned())
    }
}

/// The directories of what rules in the form of `make` depend on. Tolerant: what it cannot read it passes over.
pub(super) fn directories_in(rules: &[u8], cwd: &Path) -> BTreeSet<PathBuf> {
    let mut dirs = BTreeSet::new();
    for rule in logical_lines(rules) {
        let words = words_of(&rule);
        let targets = words.iter().position(|word| word.ends_with(b":")).map_or(words.len(), |colon| colon + 1);
        for word in &words[targets..] {
            let file = cwd.join(OsStr::from_bytes(word));
            dirs.extend(file.parent().map(Path::to_owned));
        }
    }
    dirs
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
        let dirs = directories_in(rules.as_bytes(), Path::new("/b"));
        dirs.iter().map(|dir| dir.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rules_of_compilers_are_read() {
        let rules = "out/a.o out/a.d: ../src/a.c \\\n  /mnt/inc/x.h gen/y.h\\\n local.h\n/mnt/inc/x.h:\n";

        assert_eq!(found(rules), ["/b", "/b/../src", "/b/gen", "/mnt/inc"]);
    }

    #[test]
    fn odd_names_and_odd_texts_are_borne() {
        assert_eq!(found("a.o: with\\ blank/a.h no\\#te/b.h do$$ar/c.h"), ["/b/do$ar", "/b/no#te", "/b/with blank"]);
        assert_eq!(found(""), [""; 0]);
        assert_eq!(found("no colon here\n\\\n\\"), [""; 0]);
        assert_eq!(found("a.o:"), [""; 0]);
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten() {
        let mut learned = Learned::default();
        for number in 0..=MOST_OUTPUT_DIRS {
            learned.learn(1, PathBuf::from(format!("/{number}")), BTreeSet::from([PathBuf::from("/inc")]));
        }

        assert_eq!(learned.of(1, Path::new("/0")).count(), 0);
        assert_eq!(learned.of(1, Path::new("/1")).count(), 1);
        assert_eq!(learned.of(2, Path::new("/1")).count(), 0);
    }
}
