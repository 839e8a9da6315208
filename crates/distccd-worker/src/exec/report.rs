//! Judges an end: the command's own doing is an outcome and final; what the machine did to it is a failure.

use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};

use super::Stream;

/// How much of the end of stderr is kept for [`judge`].
const TAIL: usize = 4096;

/// The end of what the command said on stderr.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Vec<u8>,
    /// Standard error goes where standard output goes.
    one_output: bool,
}

impl Tail {
    pub(super) fn new(one_output: bool) -> Self {
        Self { kept: Vec::new(), one_output }
    }

    pub(super) fn hear(&mut self, stream: Stream, data: &[u8]) {
        if stream == Stream::Stderr || self.one_output {
            self.kept.extend_from_slice(data);
            let excess = self.kept.len().saturating_sub(TAIL);
            self.kept.drain(..excess);
        }
    }

    pub(super) fn holds(&self, words: &[u8]) -> bool {
        self.kept.windows(words.len()).any(|window| window == words)
    }
}

/// What is known beside the exit status.
pub(super) struct Evidence<'a> {
    /// We sent the signal.
    pub(super) cancelled: bool,
    /// Whether the out-of-memory killer struck lately; asked only of what was killed.
    pub(super) oom_killed: &'a dyn Fn() -> bool,
    pub(super) stderr_tail: &'a Tail,
}

/// What the drivers say when a program of theirs was killed by SIGKILL (gcc, collect2, clang). Their own exit status is
/// then an ordinary 1 or 254, which would pass for a failed compile. Translated messages are not recognised; such an
/// end stays an outcome.
const CHILD_KILLED: [&[u8]; 3] =
    [b"Killed signal terminated program", b"terminated with signal 9", b"unable to execute command: Killed"];

/// Turns an exit status and its circumstances into what is reported.
pub(super) fn judge(
    exit: ExitStatus,
    usage: ResourceUsage,
    evidence: &Evidence<'_>,
) -> Result<Outcome, AttemptFailure> {
    if evidence.cancelled {
        return Err(AttemptFailure::Cancelled);
    }
    match foreign_signal(exit, evidence.stderr_tail) {
        Some(KILL) if (evidence.oom_killed)() => Err(AttemptFailure::OutOfMemory),
        Some(signal) => Err(AttemptFailure::KilledByStranger(signal)),
        None => Ok(Outcome { exit, usage }),
    }
}

const KILL: u8 = libc::SIGKILL as u8;
const BUS: u8 = libc::SIGBUS as u8;
const TERM: u8 = libc::SIGTERM as u8;
const HUP: u8 = libc::SIGHUP as u8;
const INT: u8 = libc::SIGINT as u8;

/// The signal that ended the command (or a program that it ran) and that no compiler earns by its own fault: somebody's
/// kill, or a mapped file that went away under it.
fn foreign_signal(status: ExitStatus, stderr: &Tail) -> Option<u8> {
    match status {
        ExitStatus::Signal(signal @ (KILL | BUS | TERM | HUP | INT)) => Some(signal),
        ExitStatus::Code(code) if code != 0 && CHILD_KILLED.iter().any(|words| stderr.holds(words)) => Some(KILL),
        ExitStatus::Signal(_) | ExitStatus::Code(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: ExitStatus, oom_killed: bool, stderr: &[u8]) -> Result<ExitStatus, AttemptFailure> {
        let mut tail = Tail::default();
        tail.hear(Stream::Stderr, stderr);
        let evidence = Evidence { cancelled: false, oom_killed: &|| oom_killed, stderr_tail: &tail };
        judge(status, ResourceUsage::default(), &evidence).map(|outcome| outcome.exit)
    }

    #[test]
    fn a_compiler_that_crashes_is_an_outcome() {
        let status = ExitStatus::Signal(libc::SIGSEGV as u8);

        assert_eq!(judged(status, true, b""), Ok(status));
    }

    #[test]
    fn a_compile_error_is_an_outcome_even_while_memory_is_short() {
        assert_eq!(judged(ExitStatus::Code(1), true, b"error: no"), Ok(ExitStatus::Code(1)));
    }

    #[test]
    fn a_kill_is_blamed_on_memory_when_the_counter_moved_and_on_a_stranger_otherwise() {
        assert_eq!(judged(ExitStatus::Signal(KILL), true, b""), Err(AttemptFailure::OutOfMemory));
        assert_eq!(judged(ExitStatus::Signal(KILL), false, b""), Err(AttemptFailure::KilledByStranger(KILL)));
    }

    #[test]
    fn a_killed_cc1plus_is_seen_through_its_driver() {
        let said = b"g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n";

        assert_eq!(judged(ExitStatus::Code(1), true, said), Err(AttemptFailure::OutOfMemory));
    }

    #[test]
    fn the_tail_keeps_the_end() {
        let mut tail = Tail::default();
        tail.hear(Stream::Stderr, &[b'x'; 5000]);
        tail.hear(Stream::Stderr, b"end");

        assert_eq!(tail.kept.len(), TAIL);
        assert!(tail.holds(b"xend"));
    }
}
