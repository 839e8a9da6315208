//! Every other program that a task runs goes through here.
//!
//! - A failure names the command and shows what it said on standard error.
//! - Interrupted by the terminal or by SIGTERM, the running command's whole process group is ended, then the task
//!   unwinds with an error, so that guards end the daemons; nothing is ever ended by its name.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

/// The signal that asked us to stop, or 0.
static INTERRUPTED: AtomicI32 = AtomicI32::new(0);

/// How often a running child is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Between asking a child to end and making it.
const GRACE: Duration = Duration::from_secs(10);

/// The last lines of an error text are what matters.
const SHOWN_LINES: usize = 40;

/// From here on SIGINT, SIGTERM and SIGHUP are noticed by whoever waits.
pub(crate) fn catch_interrupts() {
    extern "C" fn note(signal: libc::c_int) {
        INTERRUPTED.store(signal, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe {
            libc::signal(signal, note as *const () as libc::sighandler_t);
        }
    }
}

/// An error once somebody asked us to stop.
pub(crate) fn check_interrupted() -> anyhow::Result<()> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => bail!("interrupted by signal {signal}"),
    }
}

/// Runs to a successful end; both outputs are kept for the error message alone.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    capture(command).map(drop)
}

/// Runs to a successful end and returns what came on standard output.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<String> {
    // Files, not pipes: nobody has to drain them, and a grandchild that holds one keeps nobody waiting.
    let mut stdout = tempfile::tempfile()?;
    let mut stderr = tempfile::tempfile()?;
    command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let status = wait(command)?;
    let out = read_back(&mut stdout)?;
    if !status.success() {
        let err = read_back(&mut stderr)?;
        let text = if err.trim().is_empty() { &out } else { &err };
        return Err(failure(command, status, text));
    }
    Ok(out)
}

/// Runs to an end, both outputs into `log` in the order they came; a failure shows the log's end.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    let status = wait(command)?;
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    Err(failure(command, status, &text))
}

/// Runs to whatever end, both outputs into `log` in the order they came; ended, and nothing returned, after `limit`.
pub(crate) fn run_logged_within(
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> anyhow::Result<Option<ExitStatus>> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    wait_within(command, limit)
}

/// Runs to an end, outputs where ours go.
pub(crate) fn run_shown(command: &mut Command) -> anyhow::Result<()> {
    let status = wait(command)?;
    if status.success() { Ok(()) } else { Err(failure(command, status, "")) }
}

/// Starts `command` in a process group of its own, without input, and waits for its end.
pub(crate) fn wait(command: &mut Command) -> anyhow::Result<ExitStatus> {
    let status = wait_within(command, Duration::MAX)?;
    status.with_context(|| format!("`{}` took for ever", shown(command)))
}

/// The same; ended, and nothing returned, after `limit`.
fn wait_within(command: &mut Command, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    check_interrupted()?;
    let start = Instant::now();
    command.stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if let Err(interrupted) = check_interrupted() {
            end(&mut child, libc::SIGINT, GRACE);
            return Err(interrupted.context(format!("while running `{}`", shown(command))));
        }
        if start.elapsed() >= limit {
            end(&mut child, libc::SIGINT, GRACE);
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Ends the process group that `child` leads: `signal`, time to obey, SIGKILL. Reaps the child.
pub(crate) fn end(child: &mut Child, signal: libc::c_int, grace: Duration) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    signal_group(child, signal);
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(POLL),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    signal_group(child, libc::SIGKILL);
    // It cannot be there for long any more; an error would mean that it was reaped already.
    let _ = child.wait();
}

fn signal_group(child: &Child, signal: libc::c_int) {
    let Ok(group) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: no memory is involved; the child was not reaped, so its group number is still its own.
    unsafe {
        libc::kill(-group, signal);
    }
}

/// A command that lives until this is dropped: in a process group of its own, so that a Ctrl-C meant for a build
/// does not reach it, and ended by its own process id.
pub(crate) struct Daemon {
    child: Child,
    shown: String,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts it, with both outputs into `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        check_interrupted()?;
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        // SAFETY: prctl is a bare system call and async-signal-safe; if we are killed, the daemon ends too.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let shown = shown(command);
        let child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        Ok(Self { child, shown, log: log.to_owned() })
    }

    /// Waits until `ready` says so; an error when it ended instead, or takes longer than `limit`.
    pub(crate) fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            check_interrupted()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended ({status}):\n{}", self.shown, self.said());
            }
            if Instant::now() > deadline {
                bail!("`{}` is not ready after {limit:?}:\n{}", self.shown, self.said());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// An error when it has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(anyhow!("`{}` ended ({status}):\n{}", self.shown, self.said())),
            None => Ok(()),
        }
    }

    /// Sends it a signal, and to it alone.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let Ok(pid) = libc::pid_t::try_from(self.child.id()) else { return };
        // SAFETY: no memory is involved; the child was not reaped, so its number is still its own.
        unsafe {
            libc::kill(pid, signal);
        }
    }

    /// Ends it at once, and it alone: what it has started is left to itself.
    pub(crate) fn kill(mut self) {
        self.signal(libc::SIGKILL);
        // An error would mean that it was reaped already.
        let _ = self.child.wait();
    }

    /// Where its outputs go.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child, libc::SIGTERM, GRACE);
    }
}

/// CPU time, user and system, of all commands that have ended so far.
pub(crate) fn cpu_of_children() -> Duration {
    // SAFETY: all zeroes is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a rusage of ours; with RUSAGE_CHILDREN the call cannot fail.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    let duration = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
        Duration::from_secs(seconds.unwrap_or_default()) + Duration::from_micros(micros.unwrap_or_default())
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// A TCP port of the loopback that nobody listens on just now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Is there a program of this name on the PATH?
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = !argument.is_empty() && !argument.contains([' ', '\'', '"', '\\', '$', ';', '\n']);
        // Writing to a String cannot fail.
        let _ = if plain { write!(text, " {argument}") } else { write!(text, " '{argument}'") };
    }
    text
}

fn failure(command: &Command, status: ExitStatus, text: &str) -> anyhow::Error {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    let mut message = format!("`{}` failed: {how}", shown(command));
    if skipped > 0 {
        message.push_str("\n  ...");
    }
    for line in &lines[skipped..] {
        let _ = write!(message, "\n  {line}");
    }
    anyhow!(message)
}

fn read_back(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_shows_its_stderr() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo 'what went wrong' >&2; exit 3"]));

        let text = error.expect_err("exit code 3 is no success").to_string();
        assert!(text.starts_with("`sh -c 'echo out;"), "{text}");
        assert!(text.contains("exit code 3"), "{text}");
        assert!(text.contains("what went wrong"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).expect_err("it is not there");

        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn a_dropped_daemon_is_gone() {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let daemon = Daemon::start(Command::new("sleep").arg("1000"), log.path()).expect("sleep starts");
        let pid = daemon.child.id();

        drop(daemon);

        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
