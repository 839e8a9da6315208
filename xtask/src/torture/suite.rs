//! GCC's compile tests, as Debian packages its source, and samples of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::directives::{Directives, Stage};
use crate::process;
use crate::workspace::Workspace;

/// Where `gcc-12-source` puts the tarball.
const TARBALLS: &str = "/usr/src/gcc-12";

/// The directories of the testsuite that are drawn from.
const DIRECTORIES: [&str; 3] = ["gcc.c-torture/compile", "gcc.dg", "g++.dg"];

/// The unpacked tests, on what will be the shared mount.
pub(crate) struct Suite {
    mount: PathBuf,
}

/// A test and the command line that came of it.
pub(crate) struct Case {
    /// Its path in the testsuite.
    pub(crate) name: String,
    pub(crate) compiler: &'static str,
    pub(crate) args: Vec<OsString>,
}

impl Case {
    /// The command as one would type it.
    pub(crate) fn shown(&self) -> String {
        process::shown(Command::new(self.compiler).args(&self.args))
    }
}

impl Suite {
    /// Unpacks the tests unless an earlier run did.
    pub(crate) fn unpacked(workspace: &Workspace) -> anyhow::Result<Self> {
        let mount = workspace.target().join("xtask/torture");
        std::fs::create_dir_all(&mount).with_context(|| format!("cannot make {}", mount.display()))?;
        // By its real name: a compiler that records its directory resolves links.
        let suite = Self { mount: mount.canonicalize()? };
        if !suite.root().exists() {
            suite.unpack()?;
        }
        Ok(suite)
    }

    fn unpack(&self) -> anyhow::Result<()> {
        let tarball = tarball()?;
        eprintln!("xtask: unpacking the tests of {}", tarball.display());
        // Moved to its name when complete, so that half a suite is never taken for a whole one.
        let half = tempfile::tempdir_in(&self.mount)?;
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(&tarball).arg("-C").arg(half.path()).args(["--strip-components=3", "--wildcards"]);
        process::run(tar.args(DIRECTORIES.map(|dir| format!("*/gcc/testsuite/{dir}"))))?;
        std::fs::rename(half.path(), self.root())?;
        // It has another name now.
        let _ = half.keep();
        Ok(())
    }

    fn root(&self) -> PathBuf {
        self.mount.join("suite")
    }

    /// What every machine of the cluster is to see.
    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// A directory on the mount for one run.
    pub(crate) fn scratch(&self) -> anyhow::Result<TempDir> {
        tempfile::Builder::new().prefix("run-").tempdir_in(&self.mount).context("cannot make a directory on the mount")
    }

    /// `count` tests drawn by `seed`; all that are called like `only` when there is such a wish.
    pub(crate) fn sample(&self, seed: u64, count: usize, only: Option<&str>) -> anyhow::Result<Vec<Case>> {
        let mut names = Vec::new();
        for dir in DIRECTORIES {
            collect(&self.root(), &self.root().join(dir), &mut names)?;
        }
        names.sort_unstable();
        names.retain(|name| only.is_none_or(|only| name.contains(only)));
        if names.is_empty() {
            bail!("no such test below {}", self.root().display());
        }
        let mut dice = Dice(seed);
        let wanted = count.min(names.len());
        for place in 0..wanted {
            let other = place + dice.below(names.len() - place);
            names.swap(place, other);
        }
        names.truncate(wanted);
        names.into_iter().map(|name| self.case(name, seed)).collect()
    }

    fn case(&self, name: String, seed: u64) -> anyhow::Result<Case> {
        let path = self.root().join(&name);
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let directives = Directives::read(&text);
        // The dice of a test are its own, so that it gets the same command whatever else is drawn.
        let mut dice = Dice(name.bytes().fold(seed, |hash, byte| Dice(hash ^ u64::from(byte)).next()));
        let stage = directives.stage.unwrap_or(default_stage(&name));
        let cxx = name.starts_with("g++");
        let substitute = |option: &String| option.replace("${srcdir}", "$srcdir").replace("$srcdir", &self.shown());

        let mut args: Vec<OsString> = Vec::new();
        match &directives.options {
            Some(options) => args.extend(options.iter().map(substitute).map(OsString::from)),
            None => args.extend(default_options(&name, &mut dice).into_iter().map(OsString::from)),
        }
        args.extend(directives.more_options.iter().map(substitute).map(OsString::from));
        let says_dialect = args.iter().any(|arg| arg.as_encoded_bytes().starts_with(b"-std="));
        if cxx && !says_dialect {
            args.extend(dice.pick(&CXX_DIALECTS).map(OsString::from));
        }
        let sources = directives.more_sources.iter().map(|more| path.with_file_name(more));
        let sources: Vec<PathBuf> = std::iter::once(path.clone()).chain(sources).collect();
        args.extend(stage_flag(stage).map(OsString::from));
        if sources.len() == 1 || stage == Stage::Link {
            args.extend(output(&path, stage, &mut dice));
        }
        args.extend(sources.into_iter().map(OsString::from));
        Ok(Case { name, compiler: if cxx { "g++" } else { "gcc" }, args })
    }

    fn shown(&self) -> String {
        self.root().display().to_string()
    }
}

/// DejaGnu tries each of these; we one of them.
const LEVELS: [&[&str]; 6] = [&["-O0"], &["-O1"], &["-O2"], &["-O3", "-g"], &["-Os"], &["-O2", "-flto"]];
const CXX_DIALECTS: [Option<&str>; 5] =
    [None, Some("-std=gnu++98"), Some("-std=gnu++11"), Some("-std=gnu++17"), Some("-std=gnu++20")];

/// What the `.exp` files of GCC's testsuite give to tests that ask for nothing.
fn default_options(name: &str, dice: &mut Dice) -> Vec<&'static str> {
    match name {
        _ if name.contains("torture/") => dice.pick(&LEVELS).to_vec(),
        _ if name.starts_with("g++") => vec!["-pedantic-errors", "-Wno-long-long"],
        _ => vec!["-ansi", "-pedantic-errors"],
    }
}

fn default_stage(name: &str) -> Stage {
    if name.starts_with("gcc.c-torture") { Stage::Object } else { Stage::Assembly }
}

fn stage_flag(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Preprocess => Some("-E"),
        Stage::Assembly => Some("-S"),
        Stage::Object => Some("-c"),
        Stage::Link => None,
    }
}

/// Named as DejaGnu names it, or by the compiler.
fn output(source: &Path, stage: Stage, dice: &mut Dice) -> Vec<OsString> {
    let suffix = match stage {
        Stage::Preprocess => "i",
        Stage::Assembly => "s",
        Stage::Object => "o",
        Stage::Link => "exe",
    };
    let name = source.with_extension(suffix).file_name().map(OsString::from).unwrap_or_default();
    // Preprocessing without a file prints, which is no job for a worker.
    if stage == Stage::Preprocess || dice.below(2) == 0 { vec![OsString::from("-o"), name] } else { Vec::new() }
}

fn tarball() -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(TARBALLS).with_context(|| format!("cannot read {TARBALLS}"))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_gcc = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("gcc-12.") && name.ends_with(".tar.xz"))
    };
    names.into_iter().find(is_gcc).with_context(|| format!("no gcc-12.*.tar.xz in {TARBALLS}"))
}

/// All tests below `dir`, by their paths below `root`.
fn collect(root: &Path, dir: &Path, names: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            collect(root, &path, names)?;
        } else if path.extension().is_some_and(|suffix| suffix == "c" || suffix == "C") {
            names.extend(path.strip_prefix(root)?.to_str().map(str::to_owned));
        }
    }
    Ok(())
}

/// SplitMix64: a seed means the same sample for ever.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite_with(tests: &[(&str, &str)]) -> (TempDir, Suite) {
        let mount = tempfile::tempdir().expect("a directory");
        let suite = Suite { mount: mount.path().to_owned() };
        for dir in DIRECTORIES {
            std::fs::create_dir_all(suite.root().join(dir)).expect("a directory");
        }
        for (name, text) in tests {
            std::fs::write(suite.root().join(name), text).expect("a file");
        }
        (mount, suite)
    }

    #[test]
    fn a_seed_is_a_sample() {
        let names: Vec<String> = (0..40).map(|number| format!("gcc.dg/t{number}.c")).collect();
        let tests: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let (_mount, suite) = suite_with(&tests);
        let drawn = |seed| -> Vec<String> {
            let cases = suite.sample(seed, 10, None).expect("there are tests");
            cases.into_iter().map(|case| case.shown()).collect()
        };

        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let mut once = drawn(3);
        once.dedup();
        assert_eq!(once.len(), 10, "no test is drawn twice");
    }

    #[test]
    fn a_test_becomes_a_command() {
        let (_mount, suite) = suite_with(&[
            ("gcc.dg/a.c", "/* { dg-do preprocess } */ /* { dg-options \"-I $srcdir/x\" } */"),
            ("g++.dg/b.C", "// { dg-do run }\n// { dg-options \"-std=c++17\" }"),
            ("gcc.c-torture/compile/c.c", ""),
        ]);
        let root = suite.shown();
        let command = |name| suite.sample(7, 1, Some(name)).expect("there").remove(0).shown();

        assert_eq!(command("a.c"), format!("gcc -I {root}/x -E -o a.i {root}/gcc.dg/a.c"));
        assert!(command("b.C").starts_with("g++ -std=c++17 -c"), "{}", command("b.C"));
        assert!(command("c.c").contains(" -c "), "{}", command("c.c"));
    }
}
