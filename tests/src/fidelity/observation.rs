//! One run of a command, and all that can be seen of it.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::case::Case;
use super::random::without_random_names;
use crate::run::Seen;
use crate::tree::{self, Kind, Tree};

/// Longer than any case takes on a machine with much else to do: what runs on has hung, and is killed.
const HUNG: Duration = Duration::from_secs(60);

/// nobody and nogroup (Debian base-passwd).
const NOBODY: u32 = 65_534;

/// What a run left behind.
pub(super) struct Observation {
    seen: Seen,
    tree: Tree,
    private: Tree,
}

impl Observation {
    /// Runs `command`, which is to be the case's, in the case's surroundings.
    pub(super) fn of(case: &Case, mut command: Command, dir: &Path, private: &Path) -> Self {
        surround(case, &mut command);
        let companion = case.companion.map(|(script, fifo)| accompany(script, &dir.join(fifo)));
        let mut seen = run(case, &mut command);
        companion.into_iter().for_each(end);
        for stream in [&mut seen.stdout, &mut seen.stderr] {
            *stream = without_random_names(stream);
        }
        Self { seen, tree: known(case, dir), private: known(case, private) }
    }

    /// What differs, a line or text each.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = tree::differences(&self.tree, &other.tree);
        differences.extend(tree::differences(&self.private, &other.private));
        if self.seen != other.seen {
            differences.push(format!("direct: {}\nthrough: {}", short(&self.seen), short(&other.seen)));
        }
        differences
    }
}

/// A hundred megabytes help nobody.
fn short(seen: &Seen) -> String {
    const LONGEST: usize = 4000;
    let text = format!("{seen:?}");
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{} ... ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}

/// The directory's files, without the bytes of those that differ between two direct runs.
fn known(case: &Case, dir: &Path) -> Tree {
    let mut tree = tree::read(dir);
    for (name, node) in &mut tree {
        let Kind::File { bytes, .. } = &mut node.kind else { continue };
        let name = name.to_string_lossy();
        if case.varies.iter().any(|ending| name.ends_with(ending)) {
            bytes.0.clear();
        }
        // An assembler's listing and dependencies name its source, which under a driver is a temporary file.
        if name.ends_with(".lst") || name.ends_with(".asd") {
            bytes.0 = without_random_names(&bytes.0);
        }
    }
    tree
}

fn surround(case: &Case, command: &mut Command) {
    let (umask, limits) = (case.umask, case.limits.clone());
    if case.as_nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    // SAFETY: system calls alone, all of them async-signal-safe, on memory that the closure owns.
    unsafe {
        command.pre_exec(move || {
            if let Some(mask) = umask {
                libc::umask(mask);
            }
            limits.iter().try_for_each(|&(resource, soft)| lower(resource, soft))
        });
    }
}

fn lower(resource: libc::__rlimit_resource_t, soft: u64) -> std::io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a limit of ours.
    let done = unsafe {
        libc::getrlimit(resource, &raw mut limit) == 0 && {
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(resource, &raw const limit) == 0
        }
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn run(case: &Case, command: &mut Command) -> Seen {
    command.stdin(if case.input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let both = case.one_stream.then(|| std::io::pipe().unwrap());
    match &both {
        Some((_, writer)) => command.stdout(writer.try_clone().unwrap()).stderr(writer.try_clone().unwrap()),
        None => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    };
    // A group of its own, so that nothing of a command that hangs is left behind.
    let spawned = command.process_group(0).spawn();
    // The command holds copies of the pipe, without which it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    match spawned {
        Ok(child) => collect(case, child, both.map(|(reader, _)| reader)).into(),
        // An argument list that is too long is an answer too.
        Err(error) => Seen { exit: error.raw_os_error().unwrap_or(0) + 1000, stdout: Vec::new(), stderr: Vec::new() },
    }
}

fn collect(case: &Case, mut child: Child, both: Option<std::io::PipeReader>) -> Output {
    let guard = watch(child.id());
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input has closed it; that is part of what is compared.
            stdin.map(|mut stdin| stdin.write_all(&case.input))
        });
        let mut text = Vec::new();
        if let Some(mut both) = both {
            both.read_to_end(&mut text).unwrap();
        }
        let mut output = child.wait_with_output().expect("is ours to wait for");
        output.stdout.extend(text);
        output
    });
    // The watch ends either way.
    let _ = guard.send(());
    output
}

/// Kills a process group that has hung, unless told that it ended.
fn watch(pid: u32) -> Sender<()> {
    let (ended, watched) = channel();
    std::thread::spawn(move || {
        if watched.recv_timeout(HUNG) == Err(RecvTimeoutError::Timeout) {
            let group = libc::pid_t::try_from(pid).expect("a pid");
            // SAFETY: a plain system call; the group is led by a child that nobody has waited for yet.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    });
    ended
}

/// Opening a FIFO waits for the other side; a shell can be ended when there never was one.
fn accompany(script: &str, fifo: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec 2>/dev/null; {script}")).arg(fifo);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a shell starts")
}

fn end(mut child: Child) {
    // It has ended, or nobody reads what it has to say.
    let _ = child.kill();
    let _ = child.wait();
}
