//! Stops a process at an exact point: before or behind its n-th system call from now, with ptrace(2).
//!
//! A process that stands *behind* a call is where SIGSTOP would leave it: what is pending when it goes on (a timer, a
//! SIGKILL) comes before its next instruction. One that stands *before* a call is where the pause of a whole machine
//! may leave it: it makes that call first, whatever is pending.

use std::io;

/// A process that we trace. All of it is to be used by one thread: ptrace(2) knows threads.
pub struct Traced {
    pid: libc::pid_t,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Before a system call of this number.
    Before(u64),
    /// Behind one.
    Behind,
    /// Nowhere: it has ended.
    Ended,
}

impl Traced {
    /// Begins to trace a process, which goes on until [`Traced::step`].
    ///
    /// # Errors
    /// Those of ptrace(2).
    pub fn seize(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: no memory is involved but the options, which are a number.
        check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, libc::PTRACE_O_TRACESYSGOOD) })?;
        // SAFETY: as above.
        check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) })?;
        let traced = Self { pid };
        let _ = traced.wait()?;
        Ok(traced)
    }

    /// Lets it go to the next end or beginning of a system call.
    ///
    /// # Errors
    /// Those of ptrace(2).
    pub fn step(&self) -> io::Result<Stand> {
        let mut signal = 0;
        loop {
            // SAFETY: `signal` is a number.
            if let Err(error) = check(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, self.pid, 0, signal) }) {
                return if error.raw_os_error() == Some(libc::ESRCH) {
                    self.wait().map(|_| Stand::Ended)
                } else {
                    Err(error)
                };
            }
            let Some(stopped_by) = self.wait()? else { return Ok(Stand::Ended) };
            if stopped_by == libc::SIGTRAP | 0x80 {
                return self.stand();
            }
            // A signal on its way to the process: it shall have it.
            signal = stopped_by;
        }
    }

    fn stand(&self) -> io::Result<Stand> {
        // SAFETY: all zeros are a valid value.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is live and its size is said.
        check(unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, self.pid, size_of_val(&info), &raw mut info) })?;
        // SAFETY: the kernel has filled in the part that `op` names.
        let number = || unsafe { info.u.entry.nr };
        Ok(if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY { Stand::Before(number()) } else { Stand::Behind })
    }

    /// What it was stopped by; `None` when it has ended.
    fn wait(&self) -> io::Result<Option<libc::c_int>> {
        let mut status = 0;
        // SAFETY: `status` is live. It need not be a child of ours: we trace it.
        check(libc::c_long::from(unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) }))?;
        Ok(libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status)))
    }

    /// Lets it go on from where it stands, untraced.
    ///
    /// # Errors
    /// Those of ptrace(2).
    pub fn release(self) -> io::Result<()> {
        // SAFETY: no memory is involved.
        check(unsafe { libc::ptrace(libc::PTRACE_DETACH, self.pid, 0, 0) })
    }
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_stopped_before_and_behind_each_of_its_calls() {
        let mut child = Command::new("sleep").arg("0.05").stdin(Stdio::null()).spawn().unwrap();
        let traced = Traced::seize(child.id()).unwrap();

        let mut stands = Vec::new();
        loop {
            match traced.step().unwrap() {
                Stand::Ended => break,
                stand => stands.push(stand),
            }
        }

        let exit = Stand::Before(u64::try_from(libc::SYS_exit_group).unwrap());
        assert_eq!(stands.last(), Some(&exit), "{stands:?}");
        let before = stands.iter().filter(|stand| matches!(stand, Stand::Before(_))).count();
        assert!(before * 2 >= stands.len(), "{stands:?}");
        let _ = child.wait();
    }
}
