//! Are two build trees the same: names, kinds, modes, and every byte?

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::outputs::{Sort, sort_of};
use super::speech::Words;

/// Files that are about the run of a build, and no product of it; each differs between two direct builds as well.
const NOT_COMPARED: &[(&str, &str)] = &[
    (".ninja_deps", "in the order in which jobs ended"),
    (".ninja_log", "when each job began and ended"),
    (".sconsign.dblite", "times of files"),
    ("CMakeError.log", "names that CMake draws at random"),
    ("CMakeOutput.log", "names that CMake draws at random"),
    ("config.log", "process ids in names of temporary files"),
    ("configure.log", "the date, and process ids in names of temporary files"),
    ("meson-log.txt", "times, and process ids in names of temporary files"),
];

/// Pickled objects in which Meson keeps how it was called, CC included: no text from which that could be taken out.
const CALLED: &[&str] = &["build.dat", "coredata.dat", "install.dat"];

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) files: usize,
    /// Objects, archives, executables and shared objects among them.
    pub(crate) outputs: usize,
    /// Texts that are equal but for the launchers' own words.
    pub(crate) worded: usize,
    /// Names that were not compared, with the reason.
    pub(crate) not_compared: BTreeMap<String, &'static str>,
    /// How each file that differs does.
    pub(crate) differences: BTreeMap<PathBuf, String>,
}

/// Compares all below `direct` with all below `ours`, which lay at the same path when they were built.
pub(crate) fn compare(direct: &Path, ours: &Path, words: &Words) -> anyhow::Result<Comparison> {
    let (theirs, mine) = (entries(direct)?, entries(ours)?);
    let mut comparison = Comparison::default();
    let names: BTreeSet<&PathBuf> = theirs.keys().chain(mine.keys()).collect();
    for name in names {
        let difference = match (theirs.get(name), mine.get(name)) {
            (Some(left), Some(right)) => {
                comparison.pair(name, (&direct.join(name), left), (&ours.join(name), right), words)?
            }
            (Some(_), None) => Some("was made directly only".to_owned()),
            (None, _) => Some("was made through the launchers only".to_owned()),
        };
        comparison.differences.extend(difference.map(|how| (name.clone(), how)));
    }
    Ok(comparison)
}

impl Comparison {
    /// Takes out what is known to be unrepeatable, if two direct builds, here compared, differ in it as well.
    pub(crate) fn excuse(&mut self, unrepeatable: &[(&'static str, &'static str)], direct_twice: &Self) {
        for (name, reason) in unrepeatable {
            let path = Path::new(name);
            if direct_twice.differences.contains_key(path) && self.differences.remove(path).is_some() {
                self.not_compared.insert((*name).to_owned(), reason);
            }
        }
    }

    /// How two entries of one name differ.
    fn pair(
        &mut self,
        name: &Path,
        left: (&Path, &Metadata),
        right: (&Path, &Metadata),
        words: &Words,
    ) -> anyhow::Result<Option<String>> {
        let kinds = [left.1.file_type(), right.1.file_type()];
        if kinds[0] != kinds[1] {
            return Ok(Some("is of another kind".to_owned()));
        }
        let modes = [left.1, right.1].map(|metadata| metadata.permissions().mode());
        if modes[0] != modes[1] {
            return Ok(Some(format!("has mode {:o} and {:o}", modes[0], modes[1])));
        }
        if kinds[0].is_symlink() {
            let same = std::fs::read_link(left.0)? == std::fs::read_link(right.0)?;
            return Ok((!same).then(|| "points elsewhere".to_owned()));
        }
        if !kinds[0].is_file() {
            return Ok(None);
        }
        if let Some((name, reason)) = not_compared(name) {
            self.not_compared.insert(name, reason);
            return Ok(None);
        }
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(self.contents(name, &read(left.0)?, &read(right.0)?, words))
    }

    fn contents(&mut self, name: &Path, left: &[u8], right: &[u8], words: &Words) -> Option<String> {
        self.files += 1;
        let sort = sort_of(right);
        if let Some(Sort::Object | Sort::Archive | Sort::Program) = sort {
            self.outputs += 1;
        }
        if left == right {
            return None;
        }
        if sort.is_none() && same_but_for_words(name, left, right, words) {
            self.worded += 1;
            return None;
        }
        let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        Some(format!("differs from byte {same} on"))
    }
}

/// Only texts may name the launchers. CMake's cache has variables for them, which a direct build has not; and CMake
/// writes what a target depends on in an order that changes from run to run.
fn same_but_for_words(name: &Path, left: &[u8], right: &[u8], words: &Words) -> bool {
    if left.contains(&0) || right.contains(&0) {
        return false;
    }
    let (left, right) = (words.unsaid(left), words.unsaid(right));
    match name.file_name().and_then(|name| name.to_str()) {
        Some("CMakeCache.txt") => settings(&left) == settings(&right),
        Some("Makefile2") => sorted_lines(&left) == sorted_lines(&right),
        _ => left == right,
    }
}

fn sorted_lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// What CMake's cache holds, without what it says of launchers; comments tell only where a setting comes from.
fn settings(cache: &[u8]) -> Vec<&[u8]> {
    let about_launchers = |line: &[u8]| line.windows(8).any(|window| window.eq_ignore_ascii_case(b"launcher"));
    let says = |line: &&[u8]| !line.is_empty() && !line.starts_with(b"//") && !about_launchers(line);
    cache.split(|&byte| byte == b'\n').filter(says).collect()
}

fn not_compared(path: &Path) -> Option<(String, &'static str)> {
    let name = path.file_name()?.to_str()?;
    if CALLED.contains(&name) && path.parent().is_some_and(|dir| dir.ends_with("meson-private")) {
        return Some((name.to_owned(), "Meson's pickled objects, with the value of CC in them"));
    }
    NOT_COMPARED.iter().find(|(known, _)| *known == name).map(|(name, why)| ((*name).to_owned(), *why))
}

/// All below `root`, by the path from there; links are not followed.
fn entries(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let (metadata, path) = (entry.metadata()?, entry.path());
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.insert(path.strip_prefix(root)?.to_owned(), metadata);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn words() -> Words {
        Words(vec![("cc-launcher ".to_owned(), "")])
    }

    fn differences(files: &[(&str, &[u8], &[u8])], after: impl Fn(&Path)) -> Comparison {
        let (left, right) = (tempfile::tempdir().expect("left"), tempfile::tempdir().expect("right"));
        for (name, direct, ours) in files {
            std::fs::write(left.path().join(name), direct).expect("a temporary file");
            std::fs::write(right.path().join(name), ours).expect("a temporary file");
        }
        after(right.path());
        compare(left.path(), right.path(), &words()).expect("both can be read")
    }

    #[test]
    fn our_words_make_no_difference_in_texts_and_all_in_outputs() {
        let files: &[(&str, &[u8], &[u8])] = &[
            ("Makefile", b"CC = gcc\n", b"CC = cc-launcher gcc\n"),
            ("lib.a", b"!<arch>\ngcc", b"!<arch>\ncc-launcher gcc"),
            ("table.bin", b"\0gcc", b"\0cc-launcher gcc"),
            ("CMakeCache.txt", b"A=1\n", b"A=1\n\n//Compiler launcher for C.\nCMAKE_C_COMPILER_LAUNCHER=cc-launcher\n"),
            ("Makefile2", b"a: b\na: c\n", b"a: c\na: b\n"),
            ("config.log", b"1", b"2"),
        ];

        let comparison = differences(files, |_| {});

        let told: Vec<_> =
            comparison.differences.iter().map(|(name, how)| format!("{} {how}", name.display())).collect();
        assert_eq!(told, ["lib.a differs from byte 8 on", "table.bin differs from byte 1 on"]);
        assert_eq!((comparison.files, comparison.outputs, comparison.worded), (5, 1, 3));
        assert_eq!(comparison.not_compared.len(), 1);
    }

    #[test]
    fn names_kinds_modes_and_targets_are_compared() {
        let files: &[(&str, &[u8], &[u8])] =
            &[("gone", b"", b""), ("kind", b"", b""), ("mode", b"", b""), ("same", b"x", b"x")];

        let comparison = differences(files, |ours| {
            std::fs::remove_file(ours.join("gone")).expect("it is there");
            std::fs::remove_file(ours.join("kind")).expect("it is there");
            std::os::unix::fs::symlink("same", ours.join("kind")).expect("a link");
            std::fs::set_permissions(ours.join("mode"), Permissions::from_mode(0o600)).expect("it is ours");
            std::fs::write(ours.join("more"), "").expect("a temporary file");
        });

        let told: Vec<String> =
            comparison.differences.iter().map(|(name, how)| format!("{} {}", name.display(), &how[..6])).collect();
        assert_eq!(told, ["gone was ma", "kind is of ", "mode has mo", "more was ma"]);
    }

    #[test]
    fn only_what_two_direct_builds_differ_in_is_excused() {
        let unrepeatable = &[("a.gch", "memory"), ("b.gch", "memory")];
        let mut ours = differences(&[("a.gch", b"1", b"2"), ("b.gch", b"1", b"2"), ("c", b"1", b"2")], |_| {});
        let direct_twice = differences(&[("a.gch", b"1", b"3"), ("b.gch", b"1", b"1"), ("c", b"1", b"3")], |_| {});

        ours.excuse(unrepeatable, &direct_twice);

        let left: Vec<&str> = ours.differences.keys().filter_map(|path| path.to_str()).collect();
        assert_eq!(left, ["b.gch", "c"]);
    }
}
