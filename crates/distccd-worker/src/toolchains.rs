//! Which compilers, linkers and archivers this machine has, what they are, and whether they still are that.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use proto::v1;
use toolchain::{Cache, Digests, Identity, Known, THOROUGH};

use crate::system_files;
use crate::tools::{self, ToolKind, ToolPattern};

/// A tool by its canonical path, and what it is.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Canonical path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Its fingerprint and parts, its version and target.
    pub known: Known,
    /// How its files looked when they were read last.
    watch: Arc<Mutex<Watch>>,
}

#[derive(Debug)]
struct Watch {
    identity: Identity,
    /// The files that it consists of, by device and inode.
    inodes: Arc<HashSet<(u64, u64)>>,
    /// When all of its files were looked at, and not only those that an upgrade always touches.
    thorough: Instant,
}

impl Watch {
    fn new(identity: Identity, thorough: Instant) -> Self {
        let inodes = Arc::new(identity.inodes());
        Self { identity, inodes, thorough }
    }
}

impl PartialEq for Toolchain {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.known == other.known
    }
}

impl Toolchain {
    fn read(path: PathBuf, size: u64) -> Result<Self, toolchain::Error> {
        let thorough = Instant::now();
        let cache = cache_directory().map_or(Cache::nowhere(), |dir| Cache::at(&dir));
        let identity = cache.read(&path, &DIGESTS)?;
        let known = identity.known().clone();
        Ok(Self { path, size, known, watch: Arc::new(Mutex::new(Watch::new(identity, thorough))) })
    }

    /// The files that it consists of, by device and inode.
    fn inodes(&self) -> Arc<HashSet<(u64, u64)>> {
        Arc::clone(&self.watch.lock().unwrap_or_else(PoisonError::into_inner).inodes)
    }

    /// What of it is not any more what was registered. Files that merely look otherwise are read again.
    fn change(&self) -> Option<String> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = watch.thorough.elapsed() >= THOROUGH;
        let begun = Instant::now();
        let changed = watch.identity.changed().or_else(|| is_due.then(|| watch.identity.changed_behind())?);
        match changed.map(Path::to_owned) {
            Some(changed) => self.read_again(&mut watch, &changed),
            None => {
                watch.thorough = if is_due { begun } else { watch.thorough };
                None
            }
        }
    }

    fn read_again(&self, watch: &mut MutexGuard<'_, Watch>, changed: &Path) -> Option<String> {
        let thorough = Instant::now();
        DIGESTS.forget_libraries();
        let identity = match Identity::of(&self.path, &DIGESTS) {
            Ok(identity) => identity,
            Err(error) => return Some(format!("{}: {error}", self.path.display())),
        };
        let differences = identity.known().differences(&self.known);
        if differences.is_empty() {
            tracing::debug!(tool = %self.path.display(), changed = %changed.display(), "read again: the same");
            **watch = Watch::new(identity, thorough);
            return None;
        }
        Some(format!("{} was replaced by another: {}", self.path.display(), differences.join(", ")))
    }
}

/// The digests of what was read, for all tools and for the next run of this daemon.
static DIGESTS: LazyLock<Digests> =
    LazyLock::new(|| cache_directory().map(|dir| Digests::load(&dir.join("digests"))).unwrap_or_default());

/// The files that a command's tools consist of: its program, and its linker.
pub(crate) struct Parts(Vec<Arc<HashSet<(u64, u64)>>>);

impl Parts {
    /// Those of the programs that are among these tools.
    pub(crate) fn of(tools: &[Toolchain], programs: &[&Path]) -> Self {
        let real = programs.iter().filter_map(|program| fs::canonicalize(program).ok());
        let tool = |path: PathBuf| tools.binary_search_by(|tool| tool.path.cmp(&path)).ok().map(|found| &tools[found]);
        Self(real.filter_map(tool).map(Toolchain::inodes).collect())
    }

    /// Whether this file is one of them.
    pub(crate) fn have(&self, facts: &Metadata) -> bool {
        self.0.iter().any(|inodes| inodes.contains(&(facts.dev(), facts.ino())))
    }
}

/// What a command read of the system beyond its tools.
pub(crate) fn files_beyond(parts: &Parts, opened: &[Bytes]) -> Vec<v1::SystemFile> {
    system_files::beyond(parts, opened, &DIGESTS)
}

/// Where it is kept what tools are. By the host's name, for a home may be on a filesystem that many hosts share.
fn cache_directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd.exec(5), `CacheDirectory=`.
    let dir = variable("CACHE_DIRECTORY").or_else(|| match rustix::process::geteuid().is_root() {
        true => Some(PathBuf::from("/var/cache/distccd")),
        false => {
            let home = || variable("HOME").map(|home| home.join(".cache"));
            variable("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("distccd"))
        }
    })?;
    let host = rustix::system::uname().nodename().to_string_lossy().replace('/', "_");
    dir.is_absolute().then(|| dir.join(format!("worker-{host}")))
}

/// A job's toolchain, as the launcher has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// What is executed.
    pub(crate) program: &'a Path,
    /// Of its toolchain; empty when it need not be the very same.
    pub(crate) fingerprint: &'a [u8],
    /// The linker that is used besides, by its canonical path.
    pub(crate) linker: Option<(&'a Path, &'a [u8])>,
}

/// Why a job must not run here: its toolchain is not, or not any more, the one that it was matched by. Of what was put into
/// its place since, nobody knows whether it makes the same objects. A program that was never registered lies on the shared
/// mount.
#[must_use]
pub(crate) fn mismatch(tools: &[Toolchain], wanted: &Wanted<'_>) -> Option<String> {
    let real = fs::canonicalize(wanted.program).ok()?;
    let linker = wanted.linker.and_then(|(path, fingerprint)| mismatch_of(tools, path, fingerprint));
    mismatch_of(tools, &real, wanted.fingerprint).or(linker)
}

fn mismatch_of(tools: &[Toolchain], path: &Path, fingerprint: &[u8]) -> Option<String> {
    let tool = tools.binary_search_by(|tool| tool.path.as_path().cmp(path)).ok().map(|found| &tools[found])?;
    if !fingerprint.is_empty() && tool.known.fingerprint().0 != fingerprint {
        return Some(format!("{} is another by now than the job was sent here for", path.display()));
    }
    tool.change()
}

/// Scans the usual folders and `PATH`, and asks every tool found there for its version. Blocks; tools are asked in
/// parallel, each with a time limit.
#[must_use]
pub fn scan(further: &[ToolPattern]) -> Vec<Toolchain> {
    scan_folders(&folders(), further)
}

fn folders() -> BTreeSet<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let opt = fs::read_dir("/opt").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let usual = ["/usr/bin", "/usr/local/bin"].into_iter().map(PathBuf::from);
    usual.chain(opt).chain(std::env::split_paths(&path)).filter(|folder| folder.is_absolute()).collect()
}

fn scan_folders(folders: &BTreeSet<PathBuf>, further: &[ToolPattern]) -> Vec<Toolchain> {
    let mut found = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Some((path, size)) = examine(&entry.path(), further) {
                found.insert(path, size);
            }
        }
    }
    DIGESTS.forget_libraries();
    let tools = ask_all(found);
    if let Some(Err(error)) = cache_directory().map(|dir| DIGESTS.save(&dir.join("digests"))) {
        tracing::debug!(%error, "the digests of toolchains are not kept: the next start reads them again");
    }
    tools
}

/// The canonical path, if both the name and what it leads to are tools: `/usr/lib/ccache/gcc` leads to `ccache`.
fn examine(path: &Path, further: &[ToolPattern]) -> Option<(PathBuf, u64)> {
    let name = path.file_name()?.as_bytes();
    if !tools::is_allowed(name, further) {
        return None;
    }
    let canonical = fs::canonicalize(path).ok()?;
    let canonical_name = canonical.file_name()?.as_bytes();
    if !tools::is_allowed(canonical_name, further) {
        return None;
    }
    let facts = fs::metadata(&canonical).ok()?;
    if !facts.is_file() || facts.permissions().mode() & 0o111 == 0 {
        return None;
    }
    Some((canonical, facts.len()))
}

fn ask_all(found: BTreeMap<PathBuf, u64>) -> Vec<Toolchain> {
    let threads = thread::available_parallelism().map_or(2, usize::from).min(8);
    let waiting = Mutex::new(found.into_iter());
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((path, size)) = next_of(&waiting) {
                    let Some(tool) = read(path, size) else { continue };
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(tool);
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by(|a, b| a.path.cmp(&b.path));
    answers
}

fn next_of<I: Iterator>(waiting: &Mutex<I>) -> Option<I::Item> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// A tool that cannot be told from others gets no jobs.
fn read(path: PathBuf, size: u64) -> Option<Toolchain> {
    Toolchain::read(path, size).inspect_err(|error| tracing::warn!(%error, "a tool is left out")).ok()
}

/// Whether there is any compiler driver among the tools: a worker without one is good for nothing.
#[must_use]
pub fn has_compiler(tools: &[Toolchain]) -> bool {
    tools.iter().any(|tool| {
        let name = tool.path.file_name().unwrap_or(OsStr::new(""));
        tools::kind_of(name.as_bytes()) == Some(ToolKind::Driver)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    /// Written by another process: a thread of ours that forks meanwhile would hold the file open for writing, and
    /// executing it would fail as "text file busy".
    fn script(path: &Path, text: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(text).status().unwrap().success());
    }

    #[test]
    fn links_to_one_compiler_are_one_toolchain() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        script(&root.join("gcc-9"), "case $1 in --version) echo gcc nine; echo more;; -dumpmachine) echo a-b-c;; esac");
        symlink("gcc-9", root.join("gcc")).unwrap();
        symlink("gcc-9", root.join("cc")).unwrap();
        script(&root.join("ccache"), "exit 1");
        symlink("ccache", root.join("g++")).unwrap();
        fs::write(root.join("ld"), "not executable").unwrap();
        script(&root.join("python3"), "exit 0");

        let tools = scan_folders(&[root.clone()].into(), &[]);

        let told: Vec<_> =
            tools.iter().map(|tool| (tool.path.clone(), tool.known.version(), tool.known.target())).collect();
        assert_eq!(told, [(root.join("gcc-9"), "gcc nine", "a-b-c")]);
        assert!(has_compiler(&tools));
    }

    /// The very toolchain that is registered is wanted.
    fn wanted(program: &Path) -> Wanted<'_> {
        Wanted { program, fingerprint: &[], linker: None }
    }

    #[test]
    fn a_tool_that_was_replaced_is_known_even_by_one_of_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        script(&root.join("gcc-9"), "echo one");
        symlink("gcc-9", root.join("gcc")).unwrap();
        let tools = scan_folders(&[root.clone()].into(), &[]);
        assert_eq!(mismatch(&tools, &wanted(&root.join("gcc"))), None);

        script(&root.join("new"), "echo two");
        fs::rename(root.join("new"), root.join("gcc-9")).unwrap();

        let why = mismatch(&tools, &wanted(&root.join("gcc"))).unwrap();
        assert!(why.contains("gcc-9 was replaced by another: driver"), "{why}");
        assert_eq!(mismatch(&scan_folders(&[root.clone()].into(), &[]), &wanted(&root.join("gcc"))), None);
        assert_eq!(mismatch(&tools, &wanted(&root.join("on-the-mount"))), None);
    }

    #[test]
    fn a_tool_that_was_only_touched_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        script(&root.join("gcc-9"), "echo one");
        let tools = scan_folders(&[root.clone()].into(), &[]);

        script(&root.join("new"), "echo one");
        fs::rename(root.join("new"), root.join("gcc-9")).unwrap();

        assert_eq!(mismatch(&tools, &wanted(&root.join("gcc-9"))), None);
        assert_eq!(scan_folders(&[root.clone()].into(), &[]), tools);
    }

    #[test]
    fn a_job_that_was_matched_before_an_upgrade_does_not_run_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        script(&root.join("gcc-9"), "echo one");
        script(&root.join("ld.gold"), "echo gold");
        let program = root.join("gcc-9");
        let before = scan_folders(&[root.clone()].into(), &[]);
        let fingerprint = before[0].known.fingerprint().0;
        let job = Wanted { program: &program, fingerprint: &fingerprint, linker: None };
        assert_eq!(mismatch(&before, &job), None);

        script(&program, "echo two");
        let after = scan_folders(&[root.clone()].into(), &[]);

        assert!(mismatch(&after, &job).unwrap().contains("another by now"));
        let gold = root.join("ld.gold");
        let linked = Wanted { linker: Some((&gold, &fingerprint)), ..wanted(&program) };
        assert!(mismatch(&after, &linked).unwrap().contains("ld.gold"));
    }

    #[test]
    fn archivers_alone_are_no_compiler() {
        let dir = tempfile::tempdir().unwrap();
        script(&dir.path().join("ar"), "exit 0");

        let tools = scan_folders(&[dir.path().to_owned()].into(), &[]);

        assert_eq!(tools.len(), 1);
        assert!(!has_compiler(&tools));
    }
}
