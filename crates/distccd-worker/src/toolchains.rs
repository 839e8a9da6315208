//! Which compilers, linkers and archivers this machine has, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};

use crate::tools::{self, ToolKind, ToolPattern};

/// A tool by its canonical path: the same package on two machines is the same path and the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Canonical path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// First line of `--version`; empty when it says nothing in time.
    pub version: String,
    /// What a driver answers to `-dumpmachine`.
    pub target: String,
    /// The very file that was asked.
    pub file: FileMark,
}

/// What makes a file another than the one that was looked at before, as far as a look can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMark {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i64,
}

impl FileMark {
    fn of(facts: &fs::Metadata) -> Self {
        let modified_ns = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
        Self { device: facts.dev(), inode: facts.ino(), size: facts.len(), modified_ns }
    }
}

/// The tool that this program is by now instead of the one that was registered. The server has matched that one with the
/// launcher's; of what was put into its place since, nobody knows whether it makes the same objects. A program that was
/// never registered lies on the shared mount.
#[must_use]
pub(crate) fn replaced(tools: &[Toolchain], program: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(program).ok()?;
    let tool = tools.binary_search_by(|tool| tool.path.as_path().cmp(&real)).ok().map(|found| &tools[found])?;
    let now = fs::metadata(&real).ok()?;
    (FileMark::of(&now) != tool.file).then_some(real)
}

/// No tool needs longer to say its name, unless its filesystem hangs.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for what it started to be gone, once it is killed.
const REAPING_TIMEOUT: Duration = Duration::from_secs(1);
/// More than that is no first line.
const PROBE_BYTES: usize = 16 << 10;

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
            if let Some((path, tool)) = examine(&entry.path(), further) {
                found.entry(path).or_insert(tool);
            }
        }
    }
    ask_all(found)
}

/// What is known of a tool before it is asked.
struct Candidate {
    file: FileMark,
    kind: ToolKind,
}

/// The canonical path, if both the name and what it leads to are tools: `/usr/lib/ccache/gcc` leads to `ccache`.
fn examine(path: &Path, further: &[ToolPattern]) -> Option<(PathBuf, Candidate)> {
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
    let kind = tools::kind_of(canonical_name).unwrap_or(ToolKind::Other);
    Some((canonical, Candidate { file: FileMark::of(&facts), kind }))
}

fn ask_all(found: BTreeMap<PathBuf, Candidate>) -> Vec<Toolchain> {
    let threads = thread::available_parallelism().map_or(2, usize::from).min(8);
    let waiting = Mutex::new(found.into_iter());
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((path, candidate)) = next_of(&waiting) {
                    let tool = ask(path, &candidate);
                    answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(tool);
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    answers.sort_by(|a, b| a.path.cmp(&b.path));
    answers
}

fn next_of<I: Iterator>(waiting: &Mutex<I>) -> Option<I::Item> {
    waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

fn ask(path: PathBuf, candidate: &Candidate) -> Toolchain {
    let version = first_line_of(&path, "--version");
    let target = match candidate.kind {
        ToolKind::Driver => first_line_of(&path, "-dumpmachine"),
        ToolKind::Other => String::new(),
    };
    Toolchain { path, size: candidate.file.size, version, target, file: candidate.file }
}

/// The first line that a tool prints on stdout; empty when it fails, or does not answer in time.
fn first_line_of(path: &Path, question: &str) -> String {
    let mut command = Command::new(path);
    command.arg(question).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let Ok(mut child) = command.spawn() else { return String::new() };
    let answer = child.stdout.take().map(|stdout| read_for(stdout, PROBE_TIMEOUT)).unwrap_or_default();
    // It has said enough, or had its time.
    end(&mut child);
    let line = answer.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim().chars().take(256).collect()
}

/// Ends a tool and what it had started (a wrapper its compiler), which comes to us then, who inherit orphans. It has the
/// group to itself, so nobody else waits for any of it.
fn end(child: &mut std::process::Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Before the leader is waited for: until then nobody else can have its number.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait();
    let Some(group) = group else { return };
    let deadline = Instant::now() + REAPING_TIMEOUT;
    while let Ok(reaped) = waitpgid(group, WaitOptions::NOHANG) {
        match reaped {
            Some(_) => {}
            // One that hangs on a filesystem is left.
            None if Instant::now() >= deadline => return,
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Reads until the first line is whole, the end, the limit or the time.
fn read_for(mut stdout: impl Read + std::os::fd::AsFd, limit: Duration) -> Vec<u8> {
    let deadline = Instant::now() + limit;
    let (mut answer, mut buffer) = (Vec::new(), [0_u8; 1024]);
    while answer.len() < PROBE_BYTES && !answer.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = left
            .try_into()
            .ok()
            .map(|left| rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)));
        if !matches!(ready, Some(Ok(1..))) {
            break;
        }
        match stdout.read(&mut buffer) {
            Ok(length @ 1..) => answer.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => break,
        }
    }
    answer
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

    /// Written by another process: a thread of ours that forks meanwhile would hold the file open for writing, and
    /// executing it would fail as "text file busy".
    fn script(path: &Path, text: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(text).status().unwrap().success());
    }

    #[test]
    fn what_a_tool_leaves_running_is_ended_and_leaves_no_zombie() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (tool, note) = (dir.path().join("gcc"), dir.path().join("pid"));
        script(&tool, &format!("sleep 1000 > /dev/null & echo $! > {}; echo gcc nine", note.display()));

        assert_eq!(first_line_of(&tool, "--version"), "gcc nine");

        let left = fs::read_to_string(note).unwrap();
        assert!(!Path::new("/proc").join(left.trim()).exists(), "{left}");
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

        let size = fs::metadata(root.join("gcc-9")).unwrap().len();
        let file = FileMark::of(&fs::metadata(root.join("gcc-9")).unwrap());
        let gcc =
            Toolchain { path: root.join("gcc-9"), size, version: "gcc nine".into(), target: "a-b-c".into(), file };
        assert_eq!(tools, [gcc]);
        assert!(has_compiler(&tools));
    }

    #[test]
    fn a_tool_that_was_replaced_is_known_even_by_one_of_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        script(&root.join("gcc-9"), "echo one");
        symlink("gcc-9", root.join("gcc")).unwrap();
        let tools = scan_folders(&[root.clone()].into(), &[]);
        assert_eq!(replaced(&tools, &root.join("gcc")), None);

        script(&root.join("new"), "echo two");
        fs::rename(root.join("new"), root.join("gcc-9")).unwrap();

        assert_eq!(replaced(&tools, &root.join("gcc")), Some(root.join("gcc-9")));
        assert_eq!(replaced(&scan_folders(&[root.clone()].into(), &[]), &root.join("gcc")), None);
        assert_eq!(replaced(&tools, &root.join("on-the-mount")), None);
    }

    #[test]
    fn a_tool_that_says_nothing_in_time_is_left_alone() {
        let mut child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();

        let answer = read_for(child.stdout.take().unwrap(), Duration::from_millis(20));

        assert!(answer.is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn archivers_alone_are_no_compiler() {
        let ar = Toolchain {
            path: "/usr/bin/ar".into(),
            size: 1,
            version: String::new(),
            target: String::new(),
            file: FileMark::default(),
        };

        assert!(!has_compiler(&[ar]));
    }
}
