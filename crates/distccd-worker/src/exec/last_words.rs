//! What tools say on standard error when it was the machine that failed them.
//!
//! A driver's exit status says 1 or 4 for a syntax error, for a `cc1plus` that is not installed and for one that somebody
//! killed. Only its words tell them apart, and a build must not fail for want of a program on one machine of many. A line
//! accuses the machine by its form: the system's own words for an error at its end, behind a colon or a quote, or a
//! sentence of a driver about a program that it runs. Translated sentences are not recognised; such an end stays an
//! outcome. One that is taken for the machine's though it was not costs attempts: the last of them is the local run, and
//! what that says is the outcome.

use model::command::{CommandSpec, ResourceLimit};
use model::outcome::AttemptFailure;

/// Signals as drivers write them, that no compiler earns by its own fault.
const SIGNALS: [(&str, libc::c_int); 5] = [
    ("Killed", libc::SIGKILL),
    ("Bus error", libc::SIGBUS),
    ("Illegal instruction", libc::SIGILL),
    ("Terminated", libc::SIGTERM),
    ("Hangup", libc::SIGHUP),
];

/// Errors of a filesystem that this machine reaches and others may reach better. The archiver has no words for a stale file
/// (`bfd_errmsg` of binutils).
const FILESYSTEM: [&str; 4] =
    ["Input/output error", "Stale file handle", "cause of error unknown", "Transport endpoint is not connected"];

/// Errors of one who has no room for what it writes.
const SPACE: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// What tools say that were refused memory.
const MEMORY: [&str; 6] = [
    "virtual memory exhausted",
    "out of memory allocating",
    "LLVM ERROR: out of memory",
    "std::bad_alloc",
    "memory exhausted",
    "failed to map segment from shared object",
];

/// What is known of the command, beside what it said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// Its user allows it only so much memory: for want of more it fails everywhere.
    pub(super) is_short_of_memory_by_itself: bool,
    /// All but the shared mounts is read-only to it, by our doing.
    pub(super) is_isolated: bool,
}

impl Circumstances {
    pub(super) fn of(spec: &CommandSpec, is_isolated: bool) -> Self {
        let bounds_memory = |limit: &ResourceLimit| {
            [libc::RLIMIT_AS, libc::RLIMIT_DATA].contains(&limit.resource) && limit.soft != u64::MAX
        };
        Self { is_short_of_memory_by_itself: spec.limits.iter().any(bounds_memory), is_isolated }
    }
}

/// The failure that these last lines of a failed command speak of, if they blame the machine.
pub(super) fn failure_in(said: &[u8], circumstances: Circumstances) -> Option<AttemptFailure> {
    let said = String::from_utf8_lossy(said);
    said.lines().find_map(|line| {
        // The compilers quote by the locale's quotes.
        let line = line.trim_end().trim_end_matches(['.', '\'', '"', '\u{2019}']);
        failure_in_line(line, circumstances)
    })
}

fn failure_in_line(line: &str, circumstances: Circumstances) -> Option<AttemptFailure> {
    if let Some(signal) = signal_in(line) {
        return Some(AttemptFailure::KilledByStranger(signal));
    }
    let said = || line.to_owned();
    if SPACE.iter().any(|words| ends_with_error(line, words)) {
        return Some(AttemptFailure::NoSpace(said()));
    }
    if FILESYSTEM.iter().any(|words| ends_with_error(line, words)) {
        return Some(AttemptFailure::InputsNotVisible(said()));
    }
    if speaks_of_a_missing_program(line) {
        return Some(AttemptFailure::SpawnFailed(said()));
    }
    let lacks_memory =
        MEMORY.iter().any(|words| line.contains(words)) || ends_with_error(line, "Cannot allocate memory");
    if lacks_memory && !circumstances.is_short_of_memory_by_itself {
        return Some(AttemptFailure::OutOfMemory);
    }
    (circumstances.is_isolated && ends_with_error(line, "Read-only file system"))
        .then(|| AttemptFailure::Refused(format!("it writes where an isolated attempt may only read: {line}")))
}

/// Whether the line ends with the system's words for an error, as perror(3) has them.
fn ends_with_error(line: &str, words: &str) -> bool {
    line.strip_suffix(words)
        .is_some_and(|before| before.ends_with([' ', '\'', '"', '\u{2018}']) && before.contains(':'))
        && !line.contains("#error")
}

/// The signal of a program that died under its driver, or that a compiler has caught itself.
fn signal_in(line: &str) -> Option<u8> {
    let by = |(name, number): &(&str, libc::c_int)| {
        let said = line.contains(&format!(": {name} signal terminated program ")) // gcc
            || line.contains(&format!(" terminated with signal {number} [")) // collect2
            || line.contains(&format!("unable to execute command: {name}")) // clang
            || line.ends_with(&format!("internal compiler error: {name}")); // cc1plus, of itself
        said.then(|| u8::try_from(*number).unwrap_or_default())
    };
    SIGNALS.iter().find_map(by)
}

/// Whether a driver says that it could not start a program that it needs, or the loader that it lacks a library.
fn speaks_of_a_missing_program(line: &str) -> bool {
    // Too long an argument is too long everywhere.
    let gcc = line.contains("fatal error: cannot execute ") && !ends_with_error(line, "Argument list too long")
        || line.contains("fatal error: cannot find ");
    let clang = line.contains("unable to execute command: Executable ");
    let loader = line.contains("error while loading shared libraries: ") && !line.contains("failed to map segment");
    let processes = line.contains("fork") && ends_with_error(line, "Resource temporarily unavailable");
    gcc || clang || loader || processes || ends_with_error(line, "Exec format error")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(said: &str) -> Option<AttemptFailure> {
        failure_in(said.as_bytes(), Circumstances::default())
    }

    #[test]
    fn programs_that_were_killed_are_seen_through_their_drivers() {
        for (said, signal) in [
            ("g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n", libc::SIGKILL),
            ("gcc: fatal error: Terminated signal terminated program cc1\n", libc::SIGTERM),
            ("gcc: internal compiler error: Bus error signal terminated program cc1\nPlease submit\n", libc::SIGBUS),
            ("gcc: internal compiler error: Illegal instruction signal terminated program as\n", libc::SIGILL),
            ("a.c:1:2: internal compiler error: Bus error\n0x7f ???\n", libc::SIGBUS),
            ("collect2: fatal error: ld terminated with signal 9 [Killed]\n", libc::SIGKILL),
            ("collect2: fatal error: ld terminated with signal 7 [Bus error], core dumped\n", libc::SIGBUS),
            ("clang: error: unable to execute command: Killed\n", libc::SIGKILL),
        ] {
            assert_eq!(failure(said), Some(AttemptFailure::KilledByStranger(signal as u8)), "{said}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_the_machines() {
        for said in [
            "gcc: fatal error: cannot execute \u{2018}cc1plus\u{2019}: execvp: No such file or directory\n",
            "gcc: fatal error: cannot execute 'as': execvp: No such file or directory\n",
            "collect2: fatal error: cannot find 'ld'\n",
            "clang: error: unable to execute command: Executable \"ld\" doesn't exist!\n",
            "cc1: error while loading shared libraries: libmpc.so.3: cannot open shared object file: No such file\n",
            "gcc: fatal error: vfork: Resource temporarily unavailable\n",
        ] {
            assert!(matches!(failure(said), Some(AttemptFailure::SpawnFailed(_))), "{said}");
        }
    }

    #[test]
    fn a_full_or_broken_filesystem_is_the_machines() {
        assert!(matches!(
            failure("/tmp/x.s: Fatal error: a.o: No space left on device"),
            Some(AttemptFailure::NoSpace(_))
        ));
        assert!(matches!(failure("as: can't write a.o: 'No space left on device'"), Some(AttemptFailure::NoSpace(_))));
        for said in [
            "cc1: fatal error: a.c: Input/output error\n",
            "ld: cannot open b.o: Stale file handle\n",
            "ar: shelf2/libarchive0.a: cause of error unknown\n",
        ] {
            assert!(matches!(failure(said), Some(AttemptFailure::InputsNotVisible(_))), "{said}");
        }
    }

    #[test]
    fn want_of_memory_is_the_machines_unless_the_user_set_a_limit() {
        let said = "cc1plus: out of memory allocating 65536 bytes after a total of 23556096 bytes\n";
        let limited = Circumstances { is_short_of_memory_by_itself: true, ..Circumstances::default() };

        assert_eq!(failure(said), Some(AttemptFailure::OutOfMemory));
        assert_eq!(failure_in(said.as_bytes(), limited), None);
    }

    #[test]
    fn what_is_read_only_is_so_by_our_doing_in_isolation_alone() {
        let said = "gcc: error: /etc/a.d: Read-only file system\n";
        let isolated = Circumstances { is_isolated: true, ..Circumstances::default() };

        assert_eq!(failure(said), None);
        assert!(matches!(failure_in(said.as_bytes(), isolated), Some(AttemptFailure::Refused(_))));
    }

    #[test]
    fn what_a_compiler_says_of_the_source_is_none_of_it() {
        for said in [
            "a.c:1:2: error: #error No space left on device\n    1 | #error No space left on device\n",
            "a.c:1:10: fatal error: missing.h: No such file or directory\ncompilation terminated.\n",
            "a.cpp:3:1: internal compiler error: Segmentation fault\n",
            "a.c:3:1: error: expected ';' before 'Killed'\n",
            "gcc: internal compiler error: Segmentation fault signal terminated program cc1\n",
            "collect2: error: ld returned 1 exit status\n",
            "gcc: fatal error: cannot execute \u{2018}/usr/lib/cc1\u{2019}: execv: Argument list too long\n",
            "a.c:7: note: in the text 'Input/output error' of puts(\"x\");\n",
        ] {
            assert_eq!(failure(said), None, "{said}");
        }
    }
}
