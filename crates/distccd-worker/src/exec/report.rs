//! Judges an end: the command's own doing is an outcome and final; what the machine did to it is a failure.

use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};

use super::Stream;
use super::last_words::{Circumstances, failure_in};

/// How much of the end of stderr is kept for [`judge`]: a compiler that crashes adds its stack to what it says.
const TAIL: usize = 16 << 10;

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

    pub(super) fn text(&self) -> &[u8] {
        &self.kept
    }

    pub(super) fn hear(&mut self, stream: Stream, data: &[u8]) {
        if stream == Stream::Stderr || self.one_output {
            self.kept.extend_from_slice(data);
            let excess = self.kept.len().saturating_sub(TAIL);
            self.kept.drain(..excess);
        }
    }
}

/// What is known beside the exit status.
pub(super) struct Evidence<'a> {
    /// We sent the signal.
    pub(super) cancelled: bool,
    /// Whether the out-of-memory killer struck lately; asked only of what was killed.
    pub(super) oom_killed: &'a dyn Fn() -> bool,
    /// It surely struck something of this very command.
    pub(super) oom_struck: bool,
    pub(super) stderr_tail: &'a Tail,
    /// How the command ran.
    pub(super) circumstances: Circumstances,
}

/// Turns an exit status and its circumstances into what is reported.
pub(super) fn judge(
    exit: ExitStatus,
    usage: ResourceUsage,
    evidence: &Evidence<'_>,
) -> Result<Outcome, AttemptFailure> {
    if evidence.cancelled {
        return Err(AttemptFailure::Cancelled);
    }
    if evidence.oom_struck && exit != ExitStatus::Code(0) {
        return Err(AttemptFailure::OutOfMemory);
    }
    match machines_failure(exit, evidence) {
        Some(AttemptFailure::KilledByStranger(KILL)) if (evidence.oom_killed)() => Err(AttemptFailure::OutOfMemory),
        Some(failure) => Err(failure),
        None => Ok(Outcome { exit, usage }),
    }
}

const KILL: u8 = libc::SIGKILL as u8;
const BUS: u8 = libc::SIGBUS as u8;
const ILL: u8 = libc::SIGILL as u8;
const TERM: u8 = libc::SIGTERM as u8;
const HUP: u8 = libc::SIGHUP as u8;
const INT: u8 = libc::SIGINT as u8;

/// What the machine did to the command, or to a program that it ran. A signal that no compiler earns by its own fault:
/// somebody's kill, a mapped file that went away under it, an instruction that this CPU has not.
fn machines_failure(exit: ExitStatus, evidence: &Evidence<'_>) -> Option<AttemptFailure> {
    match exit {
        ExitStatus::Signal(signal @ (KILL | BUS | ILL | TERM | HUP | INT)) => {
            Some(AttemptFailure::KilledByStranger(signal))
        }
        ExitStatus::Code(0) | ExitStatus::Signal(_) => None,
        ExitStatus::Code(_) => failure_in(&evidence.stderr_tail.kept, evidence.circumstances),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: ExitStatus, oom_killed: bool, stderr: &[u8]) -> Result<ExitStatus, AttemptFailure> {
        let mut tail = Tail::default();
        tail.hear(Stream::Stderr, stderr);
        let circumstances = Circumstances::default();
        let evidence = Evidence {
            cancelled: false,
            oom_killed: &|| oom_killed,
            oom_struck: false,
            stderr_tail: &tail,
            circumstances,
        };
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
    fn one_that_succeeds_may_say_what_it_likes() {
        let said = b"collect2: fatal error: ld terminated with signal 9 [Killed]\n";

        assert_eq!(judged(ExitStatus::Code(0), true, said), Ok(ExitStatus::Code(0)));
    }

    #[test]
    fn an_instruction_that_the_cpu_has_not_is_no_outcome() {
        assert_eq!(judged(ExitStatus::Signal(ILL), false, b""), Err(AttemptFailure::KilledByStranger(ILL)));
    }

    #[test]
    fn the_tail_keeps_the_end() {
        let mut tail = Tail::default();
        tail.hear(Stream::Stderr, &[b'x'; 20_000]);
        tail.hear(Stream::Stderr, b"end");

        assert_eq!(tail.kept.len(), TAIL);
        assert!(tail.kept.ends_with(b"xend"));
    }
}
