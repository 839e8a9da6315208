//! Runs one command and says how it ended: `identity` judges who it runs as, `command` starts it, `group` signals and
//! reaps it, `drain` reads what it prints, `terminal` plays the user's one, `report` judges its end.
//!
//! Everything here is blocking and belongs to one thread per running attempt. That thread forks the command, so it must
//! outlive it: `PR_SET_PDEATHSIG` follows the *thread* that forked, and a pooled thread that goes idle would take
//! the compiler with it. It also means that a `chdir` into a filesystem that hangs stops nobody else.

mod cancel;
mod command;
mod drain;
mod group;
mod identity;
mod oom;
mod report;
mod terminal;

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::command::CommandSpec;
use model::outcome::{AttemptFailure, Outcome};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

pub use cancel::Canceller;
use cancel::{CancelWatch, Urgency};
use drain::Pipes;
use group::ProcessGroup;
pub use oom::OomWatch;

use crate::guardian::Guardian;
use crate::users::Users;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How long after a SIGKILL a group may stay before it is given up: only a process in uninterruptible sleep, on a
/// filesystem that hangs, survives one.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(5);

/// What does not depend on the attempt.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Kills the groups when this process dies without having done so.
    pub guardian: Guardian,
    /// Between SIGTERM and SIGKILL of a cancelled group.
    pub kill_grace: Duration,
    /// What is known of the users that commands run as.
    pub users: Users,
    /// Whether the kernel kills for want of memory.
    pub oom: OomWatch,
}

/// A command that has ended, or that could not be ended.
#[derive(Debug)]
pub struct Finished {
    /// What to report.
    pub result: Result<Outcome, AttemptFailure>,
    straggler: Option<(ProcessGroup, Guardian)>,
}

impl Finished {
    /// Waits for processes that no signal could end, so that they do not stay as zombies. Call it when the result has
    /// been reported: it may take as long as a filesystem hangs.
    pub fn reap_stragglers(self) {
        if let Some((group, guardian)) = self.straggler {
            group.await_end();
            guardian.forget(group.id());
            group.reap();
        }
    }
}

/// A new cancellation: the half that asks, and the half that [`Executor::run`] watches.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn cancellation() -> std::io::Result<(Canceller, CancelWatch)> {
    cancel::pair()
}

impl Executor {
    /// Runs `spec` to its end. `on_start` is called once it runs; `on_output` with each piece of output in the order
    /// read, and answers whether anybody still wants more.
    pub fn run(
        &self,
        spec: &CommandSpec,
        watch: &CancelWatch,
        on_start: impl FnOnce(),
        mut on_output: impl FnMut(Stream, Bytes) -> bool,
    ) -> Finished {
        let identity = match identity::change_of_user(&spec.identity, &self.users) {
            Ok(identity) => identity,
            Err(failure) => return Finished { result: Err(failure), straggler: None },
        };
        // Only now, for the user database may have taken its time: what is cancelled must not touch a file any more.
        if watch.urgency().is_some() {
            return Finished { result: Err(AttemptFailure::Cancelled), straggler: None };
        }
        let began = Instant::now();
        let (group, pipes) = match command::start(spec, identity, &self.guardian) {
            Ok(started) => started,
            Err(failure) => return Finished { result: Err(failure), straggler: None },
        };
        on_start();
        let mut attempt =
            Running { group, pipes, killing: Killing::No, stderr_tail: report::Tail::new(spec.one_output) };
        let ended = attempt.watch_until_end(watch, self.kill_grace, &mut on_output);
        let Running { group, mut pipes, stderr_tail, .. } = attempt;
        if !ended {
            // Still listed with the guardian: should the worker die, it tries once more.
            return Finished {
                result: Err(AttemptFailure::Cancelled),
                straggler: Some((group, self.guardian.clone())),
            };
        }
        let mut stderr_tail = stderr_tail;
        pipes.drain(|stream, data| keep(&mut stderr_tail, stream, data, &mut on_output));
        // The leader is a zombie that nobody has reaped, so the number of its group can be nobody else's yet.
        group.kill();
        self.guardian.forget(group.id());
        let exit = group.reap();
        let evidence = report::Evidence {
            cancelled: watch.urgency().is_some(),
            oom_killed: &|| self.oom.has_struck(),
            stderr_tail: &stderr_tail,
        };
        Finished { result: report::judge(exit, began.elapsed(), &evidence), straggler: None }
    }
}

/// How far the killing has come.
#[derive(Clone, Copy)]
enum Killing {
    No,
    Asked { until: Instant },
    Forced { until: Instant },
}

struct Running {
    group: ProcessGroup,
    pipes: Pipes,
    killing: Killing,
    stderr_tail: report::Tail,
}

impl Running {
    /// Passes output on until the group's leader has ended. False when it cannot be ended.
    fn watch_until_end(
        &mut self,
        watch: &CancelWatch,
        grace: Duration,
        on_output: &mut impl FnMut(Stream, Bytes) -> bool,
    ) -> bool {
        loop {
            let ready = self.wait(watch);
            self.press(watch.urgency(), grace);
            if ready.output {
                let tail = &mut self.stderr_tail;
                let wanted = self.pipes.read_once(|stream, data| keep(tail, stream, data, on_output));
                if !wanted {
                    self.press(Some(Urgency::Now), grace);
                }
            }
            if ready.ended {
                return true;
            }
            if matches!(self.killing, Killing::Forced { until } if Instant::now() >= until) {
                return false;
            }
        }
    }

    /// Sleeps until the leader ends, something was printed, a cancellation came or a deadline of the killing passed.
    fn wait(&self, watch: &CancelWatch) -> Ready {
        let mut fds = vec![PollFd::from_borrowed_fd(self.group.pidfd(), PollFlags::IN)];
        fds.extend(self.pipes.open().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if matches!(self.killing, Killing::No | Killing::Asked { .. }) {
            fds.push(PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN));
        }
        let timeout = match self.killing {
            Killing::No => None,
            Killing::Asked { until } | Killing::Forced { until } => {
                Some(until.saturating_duration_since(Instant::now()))
            }
        };
        let timeout = timeout.and_then(|timeout| timeout.try_into().ok());
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            return Ready::default(); // interrupted: look again
        }
        let pipes = self.pipes.open().count();
        let ended = !fds[0].revents().is_empty();
        let output = fds[1..=pipes].iter().any(|fd| !fd.revents().is_empty());
        drop(fds);
        watch.settle();
        Ready { ended, output }
    }

    /// Moves the killing on: asked first, forced when the grace is over or nothing gentler will do.
    fn press(&mut self, urgency: Option<Urgency>, grace: Duration) {
        let now = Instant::now();
        match (self.killing, urgency) {
            (Killing::No, Some(Urgency::Gentle)) => {
                self.group.signal(Signal::TERM);
                self.killing = Killing::Asked { until: now + grace };
            }
            (Killing::No | Killing::Asked { .. }, Some(Urgency::Now)) => self.force(now),
            (Killing::Asked { until }, _) if now >= until => self.force(now),
            _ => {}
        }
    }

    fn force(&mut self, now: Instant) {
        self.group.kill();
        self.killing = Killing::Forced { until: now + UNKILLABLE_AFTER };
    }
}

#[derive(Default)]
struct Ready {
    ended: bool,
    output: bool,
}

fn keep(
    tail: &mut report::Tail,
    stream: Stream,
    data: Bytes,
    on_output: &mut impl FnMut(Stream, Bytes) -> bool,
) -> bool {
    tail.hear(stream, &data);
    on_output(stream, data)
}
