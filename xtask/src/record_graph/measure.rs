//! Runs the commands of a build and measures each with `wait4(2)`, so that what else the machine does counts little.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};

use super::graph::Edge;
use crate::process;

/// What a command cost, with all processes that it waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Largest resident set of one process, in KiB.
    pub(crate) peak_kib: u64,
}

/// What is done, what is under way, and whether somebody failed.
#[derive(Default)]
struct Progress {
    costs: Vec<Option<Cost>>,
    taken: BTreeSet<usize>,
    failure: Option<anyhow::Error>,
}

/// Runs all of them, `jobs` at a time; the first failure ends the recording.
pub(crate) fn run_all(dir: &Path, edges: &[Edge], jobs: usize) -> anyhow::Result<Vec<Cost>> {
    let progress = Mutex::new(Progress { costs: vec![None; edges.len()], ..Progress::default() });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(dir, edges, &progress, &changed));
        }
    });
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    match progress.failure {
        Some(failure) => Err(failure),
        None => Ok(progress.costs.into_iter().flatten().collect()),
    }
}

fn work(dir: &Path, edges: &[Edge], progress: &Mutex<Progress>, changed: &Condvar) {
    let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = lock();
    loop {
        if state.failure.is_some() || state.taken.len() == edges.len() {
            return;
        }
        let is_ready = |edge: &Edge| edge.needs.iter().all(|&need| state.costs[need].is_some());
        let next = (0..edges.len()).find(|index| !state.taken.contains(index) && is_ready(&edges[*index]));
        let Some(index) = next else {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.taken.insert(index);
        drop(state);
        let cost = run(dir, &edges[index]);
        state = lock();
        match cost {
            Ok(cost) => state.costs[index] = Some(cost),
            Err(failure) => state.failure = Some(failure),
        }
        changed.notify_all();
    }
}

fn run(dir: &Path, edge: &Edge) -> anyhow::Result<Cost> {
    process::check_interrupted()?;
    if edge.command.is_empty() {
        return Ok(Cost::default());
    }
    for output in &edge.outputs {
        // As ninja does before each command.
        let path = dir.join(output);
        let parent = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(&edge.command).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn().context("cannot start sh")?;
    let (status, usage) = wait4(child.id())?;
    if status != 0 {
        bail!("wait status {status} of: {}", edge.command);
    }
    let time = |t: libc::timeval| {
        Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0))
    };
    let peak_kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    Ok(Cost { cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_kib })
}

fn wait4(pid: u32) -> anyhow::Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    // SAFETY: all zeroes is a value of this plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live variables of the right types; the child is ours and nobody else reaps it.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        let error = std::io::Error::last_os_error();
        match reaped {
            -1 if error.kind() == std::io::ErrorKind::Interrupted => {}
            -1 => return Err(error).context("wait4"),
            _ => return Ok((status, usage)),
        }
    }
}
