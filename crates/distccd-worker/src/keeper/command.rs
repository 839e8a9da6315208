//! The only place that starts commands.
//!
//! The child borrows our memory until its `execve(2)` (`vfork`), so all that it needs is prepared before, and what it
//! does is a row of system calls, in this order:
//!
//! 1. a process group of its own;
//! 2. the three standard streams;
//! 3. umask and resource limits, while we still may raise them;
//! 4. supplementary groups, group, user;
//! 5. SIGKILL when the keeper dies (a change of user clears that, so after it), and a look whether it already has;
//! 6. no new privileges; every inherited descriptor above stderr closes on exec;
//! 7. the working directory, entered as the user: what root may not see on a squashing server, the user may;
//! 8. `execve`.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;

use model::command::{CommandSpec, Identity, ResourceLimit};
use model::outcome::AttemptFailure;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal, Uid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::vfork;
use crate::fds::close_on_exec_above_stderr;
use crate::groups::Group;

/// Starts `spec`, as `identity` if that is another than ours, or says why the attempt failed. It prints to `outputs`,
/// which are nobody's but its own afterwards: whoever reads them is to see their end. It lives in `group`, if it gets one.
pub(super) fn start(
    spec: &CommandSpec,
    identity: Option<&Identity>,
    outputs: [OwnedFd; 2],
    group: Option<&Group>,
) -> Result<(Pid, OwnedFd), AttemptFailure> {
    let prepared = Prepared::new(spec, identity)?;
    let [stdout, stderr] = outputs;
    let stdin = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| AttemptFailure::SpawnFailed(format!("/dev/null: {error}")))?;
    let streams = Streams { stdin, stdout, stderr };
    let failed = Cell::new(None);
    let body = || failed.set(Some(prepared.become_command(&streams)));
    // SAFETY: the child makes system calls on memory that is prepared, and neither allocates, locks nor panics.
    let started = unsafe { vfork::start(&body, group.map(Group::dir)) };
    let (pid, pidfd) =
        started.map_err(|error| AttemptFailure::SpawnFailed(format!("cannot start a process: {error}")))?;
    match failed.get() {
        None => Ok((pid, pidfd)),
        Some((step, error)) => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(failure_of(step, error, spec))
        }
    }
}

struct Streams {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Streams {
    /// In the child; the copies stay open on exec.
    fn become_standard_ones(&self) -> rustix::io::Result<()> {
        dup2_stdin(&self.stdin)?;
        dup2_stdout(&self.stdout)?;
        dup2_stderr(&self.stderr)
    }
}

/// All that the child needs, allocated before it is there.
struct Prepared<'a> {
    program: CString,
    argv: Pointers,
    envp: Pointers,
    cwd: CString,
    umask: Mode,
    limits: Vec<ResourceLimit>,
    identity: Option<&'a Identity>,
    groups: Vec<Gid>,
    parent: Option<Pid>,
}

/// A NULL-terminated vector of C strings.
struct Pointers {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Pointers {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

impl<'a> Prepared<'a> {
    fn new(spec: &CommandSpec, identity: Option<&'a Identity>) -> Result<Self, AttemptFailure> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| AttemptFailure::Refused("the command contains a NUL byte".into()))
        };
        if spec.argv.is_empty() || spec.program.first() != Some(&b'/') || spec.cwd.first() != Some(&b'/') {
            return Err(AttemptFailure::Refused(
                "the command lacks argv[0], an absolute program or an absolute directory".into(),
            ));
        }
        let argv = spec.argv.iter().map(|word| text(word)).collect::<Result<_, _>>()?;
        let env = spec.env.iter().map(|(name, value)| text(&[name, &b"="[..], value].concat()));
        let groups = identity.into_iter().flat_map(|identity| &identity.groups).map(|&group| Gid::from_raw(group));
        Ok(Self {
            program: text(executed(spec))?,
            argv: Pointers::new(argv),
            envp: Pointers::new(env.collect::<Result<_, _>>()?),
            cwd: text(&spec.cwd)?,
            umask: Mode::from_raw_mode(spec.umask & 0o777),
            limits: spec.limits.clone(),
            groups: groups.collect(),
            identity,
            parent: Some(rustix::process::getpid()),
        })
    }

    /// Runs in the child and returns only with what failed. See the module's comment for the order.
    fn become_command(&self, streams: &Streams) -> (Step, Errno) {
        if let Err(error) = rustix::process::setpgid(None, None).and_then(|()| streams.become_standard_ones()) {
            return (Step::Start, error);
        }
        rustix::process::umask(self.umask);
        self.limits.iter().for_each(set_limit);
        if let Some(identity) = self.identity
            && let Err(error) = self.change_to(identity)
        {
            return (Step::User, error);
        }
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return (Step::Start, error);
        }
        if rustix::process::getppid() != self.parent {
            return (Step::Start, Errno::SRCH);
        }
        if let Err(error) = rustix::thread::set_no_new_privs(true) {
            return (Step::User, error);
        }
        close_on_exec_above_stderr();
        if let Err(error) = rustix::process::chdir(self.cwd.as_c_str()) {
            return (Step::Directory, error);
        }
        (Step::Exec, execve(&self.program, &self.argv, &self.envp))
    }

    fn change_to(&self, identity: &Identity) -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        rustix::thread::set_thread_groups(&self.groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    }
}

/// What to execute, from the command's directory. The kernel tells a script by which path it was executed (its `$0`):
/// that is what the user typed, when it was a path relative to the directory that leads to the program.
fn executed(spec: &CommandSpec) -> &[u8] {
    let typed = spec.argv.first().map_or(&b""[..], Vec::as_slice);
    let cwd = spec.cwd.strip_suffix(b"/").unwrap_or(&spec.cwd);
    let leads_there = typed.contains(&b'/') && [cwd, b"/", typed].concat() == spec.program;
    if leads_there { typed } else { &spec.program }
}

fn execve(program: &CStr, argv: &Pointers, envp: &Pointers) -> Errno {
    // SAFETY: a C string and two NULL-terminated vectors of C strings, all alive.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

fn last_errno() -> Errno {
    // SAFETY: glibc and musl give a valid pointer to this thread's errno.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Sets one limit as asked, or else as near as an unprivileged process may come: never above its own hard limit.
fn set_limit(limit: &ResourceLimit) {
    let wanted = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `wanted` and `ours` are live and of the right type; an unknown resource number is EINVAL.
    unsafe {
        if libc::setrlimit(limit.resource, &wanted) == 0 {
            return;
        }
        let mut ours = wanted;
        if libc::getrlimit(limit.resource, &mut ours) == 0 {
            let hard = limit.hard.min(ours.rlim_max);
            libc::setrlimit(limit.resource, &libc::rlimit { rlim_cur: limit.soft.min(hard), rlim_max: hard });
        }
    }
}

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Start,
    User,
    Directory,
    Exec,
}

fn failure_of(step: Step, error: Errno, spec: &CommandSpec) -> AttemptFailure {
    let cause = io::Error::from(error);
    let named = |path: &[u8]| format!("{}: {cause}", String::from_utf8_lossy(path));
    match step {
        Step::Directory => AttemptFailure::InputsNotVisible(named(&spec.cwd)),
        Step::Exec => AttemptFailure::SpawnFailed(named(&spec.program)),
        Step::User => AttemptFailure::SpawnFailed(format!("cannot become uid {}: {cause}", spec.identity.uid)),
        Step::Start => AttemptFailure::SpawnFailed(format!("cannot start a process: {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed_for(program: &str, typed: &str) -> String {
        executed_in("/mnt/b", program, typed)
    }

    fn executed_in(cwd: &str, program: &str, typed: &str) -> String {
        let spec = CommandSpec {
            program: program.into(),
            argv: vec![typed.into(), b"-c".to_vec()],
            cwd: cwd.into(),
            ..CommandSpec::default()
        };
        String::from_utf8_lossy(executed(&spec)).into_owned()
    }

    #[test]
    fn a_relative_path_is_executed_as_typed_where_it_leads_to_the_program() {
        assert_eq!(executed_for("/mnt/b/./gcc", "./gcc"), "./gcc");
        assert_eq!(executed_for("/mnt/b/../tools/gcc", "../tools/gcc"), "../tools/gcc");
        assert_eq!(executed_in("/mnt/b/", "/mnt/b/./gcc", "./gcc"), "./gcc");
        assert_eq!(executed_in("/", "/usr/gcc", "usr/gcc"), "usr/gcc");
    }

    #[test]
    fn a_name_and_a_masquerade_link_are_executed_as_what_they_mean() {
        assert_eq!(executed_for("/usr/bin/gcc", "gcc"), "/usr/bin/gcc");
        assert_eq!(executed_for("/usr/bin/gcc", "./gcc"), "/usr/bin/gcc");
        assert_eq!(executed_for("/usr/bin/gcc", "/usr/bin/gcc"), "/usr/bin/gcc");
    }
}
