//! The only place that builds a `Command`.
//!
//! std forks, sets up the three standard streams and reports back; the rest happens in one closure after the fork, in
//! this order, and ends with our own `execve(2)`, because std would sort the environment, drop duplicates from it and
//! hand a file that is no executable to `/bin/sh`:
//!
//! 1. a process group of its own, and its number to the guardian: from here on nothing of it survives us;
//! 2. umask and resource limits, while we still may raise them;
//! 3. supplementary groups, group, user;
//! 4. SIGKILL when our thread dies (a change of user clears that, so after it), and a look whether it already has;
//! 5. no new privileges; every inherited descriptor above stderr closes on exec;
//! 6. the working directory, entered as the user: what root may not see on a squashing server, the user may;
//! 7. `execve`.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr;

use model::command::{CommandSpec, Identity, ResourceLimit};
use model::outcome::AttemptFailure;
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, PidfdFlags, Signal, Uid};

use super::drain::Pipes;
use super::group::ProcessGroup;
use super::terminal;
use crate::fds::close_on_exec_above_stderr;
use crate::guardian::Guardian;

/// Starts `spec`, as `identity` if that is another than ours, or says why the attempt failed.
pub(super) fn start(
    spec: &CommandSpec,
    identity: Option<Identity>,
    guardian: &Guardian,
) -> Result<(ProcessGroup, Pipes), AttemptFailure> {
    let prepared = Prepared::new(spec, identity)?;
    let mut command = Command::new(OsStr::from_bytes(&spec.program));
    let ends = Ends::open(spec).map_err(|error| {
        AttemptFailure::SpawnFailed(format!("cannot make a pipe or terminal for what it prints: {error}"))
    })?;
    command.stdin(Stdio::null()).stdout(ends.inner_stdout).stderr(ends.inner_stderr);
    let guardian = guardian.clone();
    // SAFETY: the closure runs between fork and exec of a process with other threads. It makes system calls on memory
    // that was allocated before the fork, and neither allocates, locks nor panics.
    unsafe { command.pre_exec(move || prepared.become_command(&guardian)) };
    let mut child = command.spawn().map_err(|error| failure_of(&error, spec))?;
    drop(command); // it holds the inner sides, whose end we could not see
    attach(&child, ends.stdout, ends.stderr).map_err(|error| {
        // Out of descriptors, at worst. What runs must not run on unwatched.
        let _ = child.kill();
        let _ = child.wait();
        AttemptFailure::SpawnFailed(format!("cannot watch the command: {error}"))
    })
}

/// Both sides of what the command prints to.
struct Ends {
    /// What it writes on standard output, and on standard error too where that has no side of its own.
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    inner_stdout: OwnedFd,
    inner_stderr: OwnedFd,
}

impl Ends {
    fn open(spec: &CommandSpec) -> io::Result<Self> {
        let (stderr, inner_stderr) = match spec.terminal {
            Some(size) => terminal::open(size)?,
            None => pipe_with(PipeFlags::CLOEXEC)?,
        };
        if spec.one_output {
            let inner_stdout = inner_stderr.try_clone()?;
            return Ok(Self { stdout: stderr, stderr: None, inner_stdout, inner_stderr });
        }
        let (stdout, inner_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { stdout, stderr: Some(stderr), inner_stdout, inner_stderr })
    }
}

fn attach(child: &std::process::Child, stdout: OwnedFd, stderr: Option<OwnedFd>) -> io::Result<(ProcessGroup, Pipes)> {
    let pid = Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    Ok((ProcessGroup::new(pid, pidfd), Pipes::new(stdout, stderr)?))
}

/// All that the child needs, allocated before the fork.
struct Prepared {
    program: CString,
    argv: Pointers,
    envp: Pointers,
    cwd: CString,
    umask: Mode,
    limits: Vec<ResourceLimit>,
    identity: Option<Identity>,
    groups: Vec<Gid>,
    parent: Option<Pid>,
}

/// A NULL-terminated vector of C strings.
struct Pointers {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

// SAFETY: the pointers are to the heap allocations of `_owned`, which move nowhere and which nobody writes to.
unsafe impl Send for Pointers {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Pointers {}

impl Pointers {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owned: owned }
    }
}

impl Prepared {
    fn new(spec: &CommandSpec, identity: Option<Identity>) -> Result<Self, AttemptFailure> {
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
        let groups = identity.iter().flat_map(|identity| &identity.groups).map(|&group| Gid::from_raw(group));
        Ok(Self {
            program: text(&spec.program)?,
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
    fn become_command(&self, guardian: &Guardian) -> io::Result<()> {
        rustix::process::setpgid(None, None).map_err(|error| failed(Step::Group, error))?;
        let group = rustix::process::getpid();
        guardian.watch(group);
        let (step, error) = self.become_guarded_command();
        guardian.forget(group);
        Err(failed(step, error))
    }

    fn become_guarded_command(&self) -> (Step, rustix::io::Errno) {
        rustix::process::umask(self.umask);
        self.limits.iter().for_each(set_limit);
        if let Some(identity) = &self.identity
            && let Err(error) = self.change_to(identity)
        {
            return (Step::User, error);
        }
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return (Step::Group, error);
        }
        if rustix::process::getppid() != self.parent {
            return (Step::Group, rustix::io::Errno::SRCH);
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

fn execve(program: &CStr, argv: &Pointers, envp: &Pointers) -> rustix::io::Errno {
    // SAFETY: a C string and two NULL-terminated vectors of C strings, all alive.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

fn last_errno() -> rustix::io::Errno {
    // SAFETY: glibc and musl give a valid pointer to this thread's errno.
    rustix::io::Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
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
    Group = 1,
    User = 2,
    Directory = 3,
    Exec = 4,
}

const STEP_SHIFT: i32 = 16;

/// std carries 32 bits of error number from the child to us; the step travels in the upper half, since error numbers of
/// Linux end at 4095.
fn failed(step: Step, error: rustix::io::Errno) -> io::Error {
    io::Error::from_raw_os_error(((step as i32) << STEP_SHIFT) | error.raw_os_error())
}

fn failure_of(error: &io::Error, spec: &CommandSpec) -> AttemptFailure {
    let number = error.raw_os_error().unwrap_or(0);
    let cause = io::Error::from_raw_os_error(number & ((1 << STEP_SHIFT) - 1));
    let named = |path: &[u8]| format!("{}: {cause}", String::from_utf8_lossy(path));
    match number >> STEP_SHIFT {
        step if step == Step::Directory as i32 => AttemptFailure::InputsNotVisible(named(&spec.cwd)),
        step if step == Step::Exec as i32 => AttemptFailure::SpawnFailed(named(&spec.program)),
        step if step == Step::User as i32 => {
            AttemptFailure::SpawnFailed(format!("cannot become uid {}: {cause}", spec.identity.uid))
        }
        _ => AttemptFailure::SpawnFailed(format!("cannot start a process: {error}")),
    }
}
