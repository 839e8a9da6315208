//! A command, and all that can be seen of how it ended.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

/// What was seen of a command.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    /// Exit code, or negative the signal.
    pub exit: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr));
        write!(f, "exit {}\n--- stdout\n{out}--- stderr\n{err}", self.exit)
    }
}

impl Seen {
    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl From<Output> for Seen {
    fn from(output: Output) -> Self {
        let status = output.status;
        let exit = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Self { exit, stdout: output.stdout, stderr: output.stderr }
    }
}

/// Runs a command to its end, with nothing on its standard input.
#[must_use]
pub fn run(command: &mut Command) -> Seen {
    command.stdin(Stdio::null()).output().expect("the command starts").into()
}

/// Starts a command that nobody speaks to; what it says is kept.
#[must_use]
pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
}

/// Runs a command to its end with this text on its standard input.
#[must_use]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Seen {
    use std::io::Write;
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the command starts");
    // A command that does not read its input has closed it; that is part of what is compared.
    let _ = child.stdin.take().expect("was piped").write_all(input);
    child.wait_with_output().expect("the command ends").into()
}
