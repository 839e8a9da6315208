//! Runs one command many times and says what each run cost, by `wait4`: the command with all that it waited for.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::{check_interrupted, shown};

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// From before the start to after the end.
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
}

/// What many runs cost.
pub(crate) struct Costs {
    pub(crate) each: Vec<Cost>,
    /// From the first start to the last end.
    pub(crate) all: Duration,
}

#[derive(Clone, Copy)]
struct Running {
    pid: libc::pid_t,
    start: Instant,
}

/// Runs `make(0)`, `make(1)`, ... up to `count`, at most `in_flight` at a time. Any failure is an error: a job that
/// was not done costs nothing.
pub(crate) fn run(count: usize, in_flight: usize, make: impl Fn(usize) -> Command) -> anyhow::Result<Costs> {
    let mut each = Vec::with_capacity(count);
    let mut running: Vec<Running> = Vec::with_capacity(in_flight);
    let (mut started, begin) = (0, Instant::now());
    while each.len() < count {
        check_interrupted()?;
        while started < count && running.len() < in_flight {
            let mut command = make(started);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
            let start = Instant::now();
            let child = command.spawn().with_context(|| format!("cannot start `{}`", shown(&command)))?;
            // Reaped below by wait4, which also says what it cost.
            running.push(Running { pid: libc::pid_t::try_from(child.id())?, start });
            started += 1;
        }
        // The one that runs, or whichever ends first.
        let awaited = if let [run] = running[..] { run.pid } else { -1 };
        let (pid, status, cpu) = reap(awaited)?;
        let ended = Instant::now();
        // A pid that is not ours is a daemon's: whoever started it will notice.
        let Some(index) = running.iter().position(|run| run.pid == pid) else {
            bail!("a daemon (pid {pid}) ended while jobs were measured");
        };
        let run = running.swap_remove(index);
        if status != 0 {
            bail!("`{}` ended with wait status {status:#x}", shown(&make(0)));
        }
        each.push(Cost { wall: ended - run.start, cpu });
    }
    Ok(Costs { each, all: begin.elapsed() })
}

fn reap(awaited: libc::pid_t) -> anyhow::Result<(libc::pid_t, libc::c_int, Duration)> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is a plain C structure for which all zeroes are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to locals that outlive the call.
        let pid = unsafe { libc::wait4(awaited, &raw mut status, 0, &raw mut usage) };
        if pid > 0 {
            return Ok((pid, status, time(usage.ru_utime) + time(usage.ru_stime)));
        }
        let error = std::io::Error::last_os_error();
        check_interrupted()?;
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).context("wait4");
        }
    }
}

fn time(value: libc::timeval) -> Duration {
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(value.tv_sec)) + Duration::from_micros(part(value.tv_usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_is_an_error_that_names_it() {
        let error = run(1, 1, |_| Command::new("false")).err().expect("false fails");

        assert!(error.to_string().contains("`false`"), "{error}");
    }
}
