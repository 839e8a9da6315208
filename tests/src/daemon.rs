//! A daemon under test: its log as it comes, and its end, by its own pid.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a story has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon. Killed when dropped.
pub struct Daemon {
    name: String,
    child: Child,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    grew: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    closed: bool,
}

impl Daemon {
    /// Starts a daemon; what it writes to standard error is its log.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let stderr = child.stderr.take().expect("was piped");
        let log = Arc::new(Log::default());
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                sink.lines.lock().unwrap().text.push(String::from_utf8_lossy(&line).into_owned());
                sink.grew.notify_all();
            }
            sink.lines.lock().unwrap().closed = true;
            sink.grew.notify_all();
        });
        Self { name: name.to_owned(), child, log }
    }

    /// The pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the log satisfies `wanted`; its text.
    #[must_use]
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_for_lines(what, 1, wanted).remove(0)
    }

    /// Waits until so many lines of the log satisfy `wanted`.
    pub fn wait_for_lines(&self, what: &str, count: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let found: Vec<String> = lines.text.iter().filter(|line| wanted(line)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.closed,
                "{}: no {what} in its log:\n{}",
                self.name,
                lines.text.join("\n")
            );
            lines = self.log.grew.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().text.join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        signal_process(self.pid(), signal);
    }

    /// Kills it as a crash would, and reaps it.
    pub fn crash(&mut self) {
        self.signal(libc::SIGKILL);
        let status = self.child.wait().expect("is ours to wait for");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("is ours to wait for")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for_child(&mut self.child, &self.name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
pub fn signal_process(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: a plain system call.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill {pid}: {}", std::io::Error::last_os_error());
}

/// Waits for a child's end within the patience of a story.
pub fn wait_for_child(child: &mut Child, name: &str) -> ExitStatus {
    eventually(&format!("the end of {name}"), || child.try_wait().expect("is ours to wait for"))
}

/// Looks again and again until there is something, within the patience of a story.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks again and again until there is something, or the given time has passed.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {limit:?}");
        // Between two looks at something that cannot be waited on; no outcome depends on its length.
        std::thread::sleep(Duration::from_millis(5));
    }
}
