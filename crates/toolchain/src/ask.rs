//! Asking a program about itself.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpgid};

/// No tool needs longer to say what it is, however busy the machine, unless its filesystem hangs.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait for what it started to be gone, once it is killed.
const REAPING_TIME: Duration = Duration::from_secs(1);
/// More than that is no answer.
const MOST_BYTES: usize = 64 << 10;

/// Where programs are looked for that a driver finds on the `PATH`: one for all hosts and users, so that they agree.
/// Whose own `PATH` leads elsewhere is told by [`crate::Known::missed_by_path`].
pub const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which of its streams has the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Error,
}

/// How much of the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Much {
    FirstLine,
    All,
}

/// What a program prints, however it ends by itself.
///
/// # Errors
/// When it cannot be started, is silent for too long, or is killed: then nobody knows what it would have said.
pub(crate) fn ask(program: &Path, words: &[&OsStr], stream: Stream, much: Much) -> io::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("LC_ALL", "C").env("PATH", STANDARD_PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    match stream {
        Stream::Out => command.stdout(Stdio::piped()),
        Stream::Error => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn()?;
    let deadline = Instant::now() + TIME_LIMIT;
    let answer = match (child.stdout.take(), child.stderr.take()) {
        (Some(out), _) => read_until(out, much, deadline),
        (None, Some(error)) => read_until(error, much, deadline),
        (None, None) => Vec::new(),
    };
    let has_ended = much == Much::All && ends_by(&child, deadline);
    // It has said enough, or had its time.
    let status = end(&mut child);
    match (much, has_ended, status) {
        (Much::All, false, _) => Err(io::Error::other("it does not answer")),
        (Much::All, true, Ok(status)) if status.signal().is_some() => {
            Err(io::Error::other(format!("it dies: {status}")))
        }
        // Whoever started us may have us never wait for children (SIGCHLD ignored).
        _ => Ok(answer),
    }
}

/// Ends a tool and what it had started (a wrapper its compiler), which comes to us then, if we inherit orphans. It has the
/// group to itself, so nobody else waits for any of it.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Before the leader is waited for: until then nobody else can have its number.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let status = child.wait();
    let deadline = Instant::now() + REAPING_TIME;
    while let Some(Ok(reaped)) = group.map(|group| waitpgid(group, WaitOptions::NOHANG)) {
        match reaped {
            Some(_) => {}
            // One that hangs on a filesystem is left.
            None if Instant::now() >= deadline => break,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    status
}

/// Whether a process ends in time.
fn ends_by(child: &Child, deadline: Instant) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(Ok(end)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return true };
    is_ready(&end, deadline)
}

/// Whether there is something to be read, or the end of it, in time.
fn is_ready(from: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        match rustix::event::poll(&mut [PollFd::new(from, PollFlags::IN)], left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return matches!(ready, Ok(1..)),
        }
    }
}

/// The first line that a tool prints, made fit to be shown.
pub(crate) fn first_line(program: &Path, question: &str) -> String {
    let answer = ask(program, &[question.as_ref()], Stream::Out, Much::FirstLine).unwrap_or_default();
    let line = answer.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim().chars().take(256).collect()
}

/// Reads until there is enough, the end, the limit or the time.
fn read_until(mut from: impl Read + AsFd, much: Much, deadline: Instant) -> Vec<u8> {
    let (mut answer, mut buffer) = (Vec::new(), [0_u8; 4096]);
    while answer.len() < MOST_BYTES
        && !(much == Much::FirstLine && answer.contains(&b'\n'))
        && is_ready(&from, deadline)
    {
        match from.read(&mut buffer) {
            Ok(length @ 1..) => answer.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => break,
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_says_nothing_in_time_is_left_alone() {
        let mut child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();

        let answer = read_until(child.stdout.take().unwrap(), Much::All, Instant::now());

        assert!(answer.is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn either_stream_can_have_the_answer() {
        let shell = Path::new("/bin/sh");
        let words: [&OsStr; 2] = ["-c".as_ref(), "echo out; echo more; echo error >&2".as_ref()];

        assert_eq!(ask(shell, &words, Stream::Out, Much::All).unwrap(), b"out\nmore\n");
        assert_eq!(ask(shell, &words, Stream::Error, Much::All).unwrap(), b"error\n");
    }

    #[test]
    fn what_cannot_be_started_or_is_killed_has_said_nothing() {
        let shell = Path::new("/bin/sh");
        let dies: [&OsStr; 2] = ["-c".as_ref(), "echo out; kill -9 $$".as_ref()];
        let fails: [&OsStr; 2] = ["-c".as_ref(), "echo out; exit 1".as_ref()];

        assert!(ask(shell, &dies, Stream::Out, Much::All).is_err());
        assert!(ask(Path::new("/no/such"), &fails, Stream::Out, Much::All).is_err());
        assert_eq!(ask(shell, &fails, Stream::Out, Much::All).unwrap(), b"out\n");
    }
}
