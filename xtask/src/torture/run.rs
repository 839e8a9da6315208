//! One test, compiled both ways, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::suite::Case;
use crate::{cluster, process};

/// How often a test that differs is compiled directly at most to see what is random in it: something that only has two
/// ways to come out (the order of two addresses) repeats itself for a while.
const RETRIES: usize = 24;

/// So much of a differing line is shown.
const SHOWN_BYTES: usize = 300;

/// A directory in which one test runs at a time, and how commands in it meet the cluster.
pub(crate) struct Lane<'a> {
    /// Made anew for each run, at the same path.
    pub(crate) dir: PathBuf,
    /// Where the launcher notes what ran where.
    pub(crate) notes: PathBuf,
    pub(crate) launcher: PathBuf,
    /// Tells a command where the cluster is.
    pub(crate) introduce: Box<dyn Fn(&mut Command) + Send + Sync + 'a>,
}

/// What came of a test.
#[derive(Debug)]
pub(crate) enum Verdict {
    Same,
    /// Two direct runs differ in this, and nothing else does.
    Random(Vec<String>),
    Differs(Vec<String>),
}

#[derive(Clone, Copy)]
enum Way {
    Direct,
    Launched,
}

impl Lane<'_> {
    /// Compiles both ways, and once more when something came out at random: names that link-time optimisation and
    /// anonymous namespaces make up can be fixed from outside, and then their bytes have to be equal as well.
    pub(crate) fn judge(&self, case: &Case) -> anyhow::Result<Verdict> {
        let (random, differs) = self.compare(case, &[])?;
        if !differs.is_empty() {
            return Ok(Verdict::Differs(differs));
        }
        if random.is_empty() {
            return Ok(Verdict::Same);
        }
        let (_, differs) = self.compare(case, &["-frandom-seed=torture"])?;
        Ok(if differs.is_empty() { Verdict::Random(random) } else { Verdict::Differs(differs) })
    }

    /// What came out at random, and what differs. If direct runs differ among themselves in a thing, it is the
    /// compiler's doing; nothing else is excused.
    fn compare(&self, case: &Case, more: &[&str]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let direct = self.run(case, Way::Direct, more)?;
        let mut blamed = direct.differences(&self.run(case, Way::Launched, more)?);
        let mut excused = Vec::new();
        for _ in 0..RETRIES {
            if blamed.is_empty() {
                break;
            }
            let again: Vec<Difference> = direct.differences(&self.run(case, Way::Direct, more)?);
            let is_random = |suspect: &Difference| again.iter().any(|difference| difference.what == suspect.what);
            let (random, rest): (Vec<_>, Vec<_>) = blamed.into_iter().partition(is_random);
            excused.extend(random.into_iter().map(|difference| difference.what));
            blamed = rest;
        }
        Ok((excused, blamed.iter().map(Difference::told).collect()))
    }

    fn run(&self, case: &Case, way: Way, more: &[&str]) -> anyhow::Result<Seen> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", self.dir.display()));
            }
            _ => std::fs::create_dir(&self.dir)?,
        }
        // The notes count tests, so a test that is compiled once more is noted elsewhere.
        let notes = if more.is_empty() { self.notes.clone() } else { self.notes.with_extension("again") };
        let mut command = self.command(case, way, &notes);
        command.args(&case.args).args(more).current_dir(&self.dir).env("PWD", &self.dir).env("LC_ALL", "C");
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let status = process::wait(&mut command)?;
        Ok(Seen {
            end: status.to_string(),
            stdout: read_back(&mut stdout)?,
            stderr: read_back(&mut stderr)?,
            files: tree(&self.dir)?,
        })
    }

    fn command(&self, case: &Case, way: Way, notes: &Path) -> Command {
        match way {
            Way::Direct => {
                let mut command = Command::new(case.compiler);
                cluster::scrub(&mut command);
                command
            }
            Way::Launched => {
                let mut command = Command::new(&self.launcher);
                (self.introduce)(&mut command);
                command.env("DISTCCD_LOG_FILE", notes).arg("--").arg(case.compiler);
                command
            }
        }
    }
}

/// All that a build could notice of a run.
#[derive(Debug, Default)]
struct Seen {
    end: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    files: BTreeMap<PathBuf, Entry>,
}

/// Something in the directory.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Type and permissions, as `st_mode` has them.
    mode: u32,
    /// Contents of a file, target of a link.
    bytes: Vec<u8>,
}

/// One thing that differs.
#[derive(Debug)]
struct Difference {
    what: String,
    how: String,
}

impl Difference {
    fn told(&self) -> String {
        format!("{}: {}", self.what, self.how)
    }
}

impl Seen {
    fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |what: String, how: String| found.push(Difference { what, how });
        if self.end != other.end {
            add("end".to_owned(), format!("{}, then {}", self.end, other.end));
        }
        for (name, one, two) in [("stdout", &self.stdout, &other.stdout), ("stderr", &self.stderr, &other.stderr)] {
            let (one, two) = (without_random_names(one), without_random_names(two));
            if one != two {
                add(name.to_owned(), first_difference(&one, &two));
            }
        }
        let paths: BTreeSet<&PathBuf> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths {
            let name = path.display();
            match (self.files.get(path), other.files.get(path)) {
                (Some(one), Some(two)) => {
                    if one.mode != two.mode {
                        add(format!("mode of {name}"), format!("{:o}, then {:o}", one.mode, two.mode));
                    }
                    if one.bytes != two.bytes {
                        add(format!("bytes of {name}"), first_difference(&one.bytes, &two.bytes));
                    }
                }
                (Some(_), None) => add(format!("existence of {name}"), "first time only".to_owned()),
                (None, _) => add(format!("existence of {name}"), "second time only".to_owned()),
            }
        }
        found
    }
}

/// The first lines that are not the same.
fn first_difference(one: &[u8], two: &[u8]) -> String {
    let mut pairs = one.split(|byte| *byte == b'\n').zip(two.split(|byte| *byte == b'\n'));
    let shown = |line: &[u8]| String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).escape_debug().to_string();
    match pairs.find(|(one, two)| one != two) {
        Some((one, two)) => format!("`{}`, then `{}`", shown(one), shown(two)),
        None => format!("{} bytes, then {}", one.len(), two.len()),
    }
}

/// GCC makes up the names of its temporary files, and sometimes prints them: `/tmp/ccXXXXXX.o`.
fn without_random_names(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for place in 0..text.len().saturating_sub(9) {
        let (head, name) = text[place..].split_at_mut(3);
        if head == b"/cc" && name[..6].iter().all(u8::is_ascii_alphanumeric) && !name[6].is_ascii_alphanumeric() {
            name[..6].fill(b'X');
        }
    }
    text
}

/// Everything below `dir`.
fn tree(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        for entry in std::fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let (name, metadata) = (below.join(entry.file_name()), entry.metadata()?);
            let bytes = match metadata.file_type() {
                kind if kind.is_symlink() => std::fs::read_link(entry.path())?.into_os_string().into_encoded_bytes(),
                kind if kind.is_file() => std::fs::read(entry.path())?,
                _ => Vec::new(),
            };
            if metadata.is_dir() {
                pending.push(name.clone());
            }
            found.insert(name, Entry { mode: metadata.mode(), bytes });
        }
    }
    Ok(found)
}

fn read_back(file: &mut std::fs::File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane whose launcher is a shell script: a stand-in for a launcher with a bug.
    fn verdict(launcher: &str, compiler: &'static str) -> Verdict {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = |name: &str| scratch.path().join(name);
        for (name, text) in [("launcher", launcher), ("compiler", compiler)] {
            std::fs::write(path(name), format!("#!/bin/sh\n{text}\n")).expect("a script");
        }
        let lane = Lane {
            dir: path("lane"),
            notes: path("notes"),
            launcher: "sh".into(),
            // `sh -- sh LAUNCHER ...` would do; the shell's own arguments come before what the lane adds.
            introduce: Box::new(|command| _ = command.arg(path("launcher"))),
        };
        let args = vec![path("compiler").into_os_string()];
        lane.judge(&Case { name: "a test".to_owned(), compiler: "sh", args }).expect("both run")
    }

    const COMPILER: &str = "echo warning >&2; echo code > a.o; exit 1";

    #[test]
    fn what_a_true_launcher_does_is_the_same() {
        assert!(matches!(verdict("shift; exec \"$@\"", COMPILER), Verdict::Same));
    }

    #[test]
    fn every_bug_of_a_launcher_is_seen() {
        for (launcher, what) in [
            ("shift; \"$@\" 2>/dev/null", "stderr"),
            ("shift; \"$@\"; exit 2", "end"),
            ("shift; \"$@\"; echo >> a.o; exit 1", "bytes of a.o"),
            ("shift; \"$@\"; chmod +x a.o; exit 1", "mode of a.o"),
            ("shift; \"$@\"; rm a.o; exit 1", "existence of a.o"),
            ("shift; \"$@\"; mkdir b; exit 1", "existence of b"),
            ("shift; echo hello; \"$@\"", "stdout"),
        ] {
            let Verdict::Differs(found) = verdict(launcher, COMPILER) else { panic!("{launcher} passes") };
            assert!(found.len() == 1 && found[0].starts_with(what), "{launcher}: {found:?}");
        }
    }

    #[test]
    fn what_is_random_by_itself_excuses_nothing_else() {
        let compiler = "head -c 8 /dev/urandom > a.o; echo warning >&2";

        assert!(matches!(verdict("shift; exec \"$@\"", compiler), Verdict::Random(what) if what == ["bytes of a.o"]));
        let Verdict::Differs(found) = verdict("shift; \"$@\" 2>/dev/null", compiler) else { panic!("it passes") };
        assert!(found.len() == 1 && found[0].starts_with("stderr"), "{found:?}");
    }

    #[test]
    fn only_made_up_names_are_overlooked() {
        assert_eq!(without_random_names(b"/tmp/ccAb12Cd.o: x"), b"/tmp/ccXXXXXX.o: x");
        assert_eq!(without_random_names(b"/src/ccache/ccompiler.o"), b"/src/ccache/ccompiler.o");
    }
}
