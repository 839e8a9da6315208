//! Runs one command and says how it ended: `identity` judges who it runs as, a keeper (see `keeper`) starts it and looks
//! after it, `drain` reads what it prints, `terminal` plays the user's one, `report` judges its end.
//!
//! Everything here is blocking and belongs to one thread per running attempt.

mod cancel;
mod congestion;
mod directories;
mod drain;
mod identity;
mod isolation;
mod last_words;
mod oom;
mod report;
mod terminal;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use model::command::{CommandSpec, Identity};
use model::ids::Attempt;
use model::outcome::{AttemptFailure, ExitStatus, Outcome};
use proto::v1::FileDigest;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags, open as open_file};
use rustix::pipe::{PipeFlags, pipe_with};

pub use cancel::Canceller;
pub(crate) use cancel::Word;
use cancel::{CancelWatch, Urgency};
pub use congestion::Congestion;
pub use directories::Directories;
use drain::Pipes;
pub use isolation::Isolation;
use isolation::Way;
use last_words::Circumstances;
pub use oom::OomWatch;

use crate::journals::Journals;
use crate::keeper::UNKILLABLE_AFTER;
use crate::keeper::conversation::{Ended, Order, Published, Reply, Request, receive_reply, send_order, send_request};
use crate::revalidation::Revalidation;
use crate::spawner::Spawner;
use crate::users::Users;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What does not depend on the attempt.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Starts the keepers, and kills all when this process dies.
    pub spawner: Spawner,
    /// Between SIGTERM and SIGKILL of a cancelled group.
    pub kill_grace: std::time::Duration,
    /// What is known of the users that commands run as.
    pub users: Users,
    /// Whether the kernel kills for want of memory.
    pub oom: OomWatch,
    /// What attempts see.
    pub isolation: Isolation,
    /// How many publish at a time.
    pub congestion: Congestion,
    /// Whose journals steps may wait for.
    pub(crate) journals: Journals,
    /// What keepers need not look at again.
    pub directories: Directories,
    /// Whether each has a control group of its own.
    pub grouped: bool,
    /// Looks afresh at what others have changed.
    pub(crate) revalidation: Revalidation,
}

/// One command to run.
#[derive(Clone, Debug)]
pub struct Work {
    /// For which attempt.
    pub attempt: Attempt,
    /// What to run.
    pub command: CommandSpec,
    /// What it is known to write, absolute, the main output first.
    pub outputs: Vec<PathBuf>,
    /// For each of `outputs`, the word of the command that names it, if the command may be told another name.
    pub redirects: Vec<u32>,
    /// Whether it must not run where its writing could not be held back.
    pub never_in_place: bool,
    /// Whether to say what it wrote.
    pub is_audited: bool,
    /// Whether what it wrote is let go when that has been said.
    pub is_shadow: bool,
}

impl Work {
    /// Where its main output is; of work without any, where it is done.
    fn place(&self) -> &Path {
        let cwd = || Path::new(OsStr::from_bytes(&self.command.cwd));
        self.outputs.first().map_or_else(cwd, PathBuf::as_path)
    }
}

/// What an attempt's thread is told of while its command runs.
pub trait Witness {
    /// The command runs; whether it works in place.
    fn on_start(&mut self, in_place: bool);
    /// It printed something; answers whether anybody still wants more.
    fn on_output(&mut self, stream: Stream, data: Bytes) -> bool;
    /// It has failed, and what it wrote is not published yet; it said that last on standard error. Whether it is to be
    /// taken as if it had not run.
    fn is_void(&mut self, said: &[u8]) -> bool;
    /// It has ended; what an isolated one wrote waits for a word: publish it or let it go. An error is that word: it is let
    /// go, and the attempt has failed.
    ///
    /// # Errors
    /// When the machine is not any more what the attempt was started on.
    fn on_ready(&mut self, is_isolated: bool) -> Result<(), AttemptFailure>;
}

/// A command that has ended, or that could not be ended.
#[derive(Debug)]
pub struct Finished {
    /// What to report.
    pub result: Result<Outcome, AttemptFailure>,
    /// What it wrote, if that was asked for and can be said.
    pub digests: Vec<FileDigest>,
    /// The files of the system that it opened, where that can be said.
    pub(crate) opened: Vec<Bytes>,
    /// What was published of it; nothing of a command that worked in place.
    pub(crate) published: Published,
    straggler: Option<UnixStream>,
}

impl Finished {
    fn with(result: Result<Outcome, AttemptFailure>) -> Self {
        let (digests, opened) = (Vec::new(), Vec::new());
        Self { result, digests, opened, published: Published::default(), straggler: None }
    }

    /// Whether something of it still runs, though it was killed.
    #[must_use]
    pub fn has_stragglers(&self) -> bool {
        self.straggler.is_some()
    }

    /// Waits for processes that no signal could end. Call it when the result has been reported: it may take as long as a
    /// filesystem hangs.
    pub fn await_stragglers(self) {
        if let Some(conversation) = self.straggler {
            while receive_reply(&conversation).is_ok() {}
        }
    }
}

/// A new cancellation: the half that asks, and the half that [`Executor::run`] watches.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn cancellation() -> io::Result<(Canceller, CancelWatch)> {
    cancel::pair()
}

impl Executor {
    /// Who to become for this command, if that is another than we are.
    pub(crate) fn identity_for(&self, command: &CommandSpec) -> Result<Option<Identity>, AttemptFailure> {
        identity::change_of_user(&command.identity, &self.users)
    }

    /// Runs `work` to its end, and publishes what it wrote when the watched half of the cancellation says so.
    pub fn run(&self, work: &Work, watch: &CancelWatch, witness: &mut impl Witness) -> Finished {
        let identity = match self.identity_for(&work.command) {
            Ok(identity) => identity,
            Err(failure) => return Finished::with(Err(failure)),
        };
        // Only now, for the user database may have taken its time: what is cancelled must not touch a file any more.
        if watch.urgency().is_some() {
            return Finished::with(Err(AttemptFailure::Cancelled));
        }
        match self.start(work, identity) {
            Ok(mut running) => {
                let result = self.follow(&mut running, work, watch, witness);
                let straggler = running.is_lost.then_some(running.conversation);
                let Running { digests, opened, published, .. } = running;
                Finished { result, digests, opened, published, straggler }
            }
            Err(failure) => Finished::with(Err(failure)),
        }
    }

    /// Has what the command wrote published, when the filesystem has room for one more who does that.
    fn commit(&self, running: &mut Running, work: &Work, watch: &CancelWatch) -> Result<Published, AttemptFailure> {
        let is_wanted = || watch.urgency() != Some(Urgency::Now);
        let turn = self.congestion.turn(self.isolation.mount_of(work), is_wanted);
        let mut turn = turn.ok_or(AttemptFailure::Cancelled)?;
        let step = self.journals.begin(work.place());
        let published = running.until_committed(watch);
        drop(step);
        self.journals.on_published(work.place());
        let mut published = published?;
        self.directories.learn(std::mem::take(&mut published.directories));
        let bytes = published.stamps.iter().map(|stamp| stamp.size).sum();
        turn.on_done(published.stamps.len() + published.removed.len(), bytes);
        Ok(self.isolation.said(published))
    }

    fn start(&self, work: &Work, identity: Option<Identity>) -> Result<Running, AttemptFailure> {
        let failed = |what: &str, error: io::Error| AttemptFailure::SpawnFailed(format!("cannot {what}: {error}"));
        let ends = Ends::open(&work.command)
            .map_err(|error| failed("make a pipe or terminal for what the command prints", error))?;
        let way = self.isolation.way_for(work);
        if work.never_in_place && way == Way::InPlace {
            let why = "what this attempt writes cannot be held back on this worker, and another may be executing";
            return Err(AttemptFailure::Refused(why.to_owned()));
        }
        let conversation = self
            .spawner
            .open_keeper(way.namespaces(), self.grouped, &ends.inner_stdout, &ends.inner_stderr)
            .map_err(|error| failed("reach the spawner", error))?;
        let mut request = Request {
            command: Some(work.command.clone().into()),
            identity: identity.map(|it| proto::v1::Identity { uid: it.uid, gid: it.gid, groups: it.groups }),
            ..self.isolation.request()
        };
        request.set_attempt(work.attempt);
        request.audited = work.is_audited;
        match way {
            Way::Redirect => request.redirects.clone_from(&work.redirects),
            Way::Overlay(_) => request.known = self.directories.of(&self.isolation.mounts, &work.outputs),
            Way::InPlace => {}
        }
        request.outputs = work.outputs.iter().map(|path| isolation::bytes_of(path)).collect();
        send_request(&conversation, &request).map_err(|error| failed("tell the keeper what to run", error))?;
        let Ends { stdout, stderr, .. } = ends;
        let pipes = Pipes::new(stdout, stderr).map_err(|error| failed("watch the command", error.into()))?;
        Ok(Running {
            conversation,
            pipes,
            killing: Killing::No,
            stderr_tail: report::Tail::new(work.command.one_output),
            is_lost: false,
            digests: Vec::new(),
            opened: Vec::new(),
            published: Published::default(),
            publishes: way != Way::InPlace,
            circumstances: Circumstances::of(&work.command, matches!(way, Way::Overlay(_))),
        })
    }

    fn follow(
        &self,
        running: &mut Running,
        work: &Work,
        watch: &CancelWatch,
        witness: &mut impl Witness,
    ) -> Result<Outcome, AttemptFailure> {
        let ended = running.until_ended(work, watch, self, witness)?;
        running.pipes.drain(|stream, data| keep(&mut running.stderr_tail, stream, data, witness));
        let evidence = report::Evidence {
            cancelled: watch.urgency().is_some(),
            oom_killed: &|| ended.oom_struck.unwrap_or_else(|| self.oom.has_struck()),
            oom_struck: ended.oom_struck == Some(true),
            stderr_tail: &running.stderr_tail,
            circumstances: running.circumstances,
        };
        // All that an isolated command writes goes to the scratch: one that has filled it may have failed in any way.
        if let Some(why) = ended.full.filter(|_| !evidence.cancelled) {
            return Err(AttemptFailure::NoSpace(why));
        }
        let is_isolated = running.circumstances.is_isolated;
        let outcome = report::judge(ended.exit, ended.usage, &evidence).inspect_err(|failure| {
            // A second look may be all that it takes, sooner than another worker.
            if is_isolated && matches!(failure, AttemptFailure::InputsNotVisible(_)) {
                witness.is_void(running.stderr_tail.text());
            }
        })?;
        (running.digests, running.opened) = (ended.digests, ended.opened);
        if is_isolated && outcome.exit != ExitStatus::Code(0) && witness.is_void(running.stderr_tail.text()) {
            return Err(AttemptFailure::InputsNotVisible("what it read was out of date".to_owned()));
        }
        witness.on_ready(running.publishes && !work.is_shadow)?;
        if !running.publishes || work.is_shadow {
            // The keeper of a shadow goes with its conversation, and what was written with the keeper.
            return Ok(outcome);
        }
        match watch.await_word() {
            Word::Commit => running.published = self.commit(running, work, watch)?,
            Word::Discard => return Err(AttemptFailure::Cancelled),
        }
        Ok(outcome)
    }
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

/// Two outputs that nobody reads, for a keeper without a command.
pub(crate) fn no_outputs() -> io::Result<[OwnedFd; 2]> {
    let null = open_file("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok([null.try_clone()?, null])
}

/// How far the killing has come.
#[derive(Clone, Copy)]
enum Killing {
    No,
    Asked { until: Instant },
    Forced { until: Instant },
}

struct Running {
    conversation: UnixStream,
    pipes: Pipes,
    killing: Killing,
    stderr_tail: report::Tail,
    /// Something of it stays although it was killed.
    is_lost: bool,
    digests: Vec<FileDigest>,
    opened: Vec<Bytes>,
    published: Published,
    /// What it writes is published when it has ended, or let go.
    publishes: bool,
    circumstances: Circumstances,
}

impl Running {
    /// Passes output on until the command has ended.
    fn until_ended(
        &mut self,
        work: &Work,
        watch: &CancelWatch,
        executor: &Executor,
        witness: &mut impl Witness,
    ) -> Result<Ended, AttemptFailure> {
        let mut has_started = false;
        let mut starting = executor.journals.begin(work.place());
        loop {
            let ready = self.wait(watch, true);
            self.press(watch.urgency(), executor.kill_grace);
            if ready.output {
                let tail = &mut self.stderr_tail;
                let wanted = self.pipes.read_once(|stream, data| keep(tail, stream, data, witness));
                if !wanted {
                    self.press(Some(Urgency::Now), executor.kill_grace);
                }
            }
            if ready.reply {
                match receive_reply(&self.conversation) {
                    Ok(Reply::Started) => {
                        has_started = true;
                        drop(starting.take());
                        witness.on_start(!self.publishes);
                    }
                    Ok(Reply::Ended(ended)) => return Ok(ended),
                    Ok(Reply::Failed(failure)) => return Err(failure),
                    Ok(Reply::Stuck) => return Err(self.lose()),
                    Ok(Reply::Committed(_)) | Err(_) => return Err(bereft(watch, &executor.oom, has_started)),
                }
            }
            self.give_up_in_time()?;
        }
    }

    /// Has the keeper publish. What has begun is not cancelled: it is a matter of a moment, or the lease ends it. Only
    /// one who is in a hurry stops it.
    fn until_committed(&mut self, watch: &CancelWatch) -> Result<Published, AttemptFailure> {
        // Nobody knows how far it came.
        let gone = |_| AttemptFailure::KilledByStranger(libc::SIGKILL as u8);
        send_order(&self.conversation, Order::Commit).map_err(gone)?;
        loop {
            let ready = self.wait(watch, false);
            if watch.urgency() == Some(Urgency::Now) && matches!(self.killing, Killing::No) {
                self.force(Instant::now());
            }
            if ready.reply {
                return match receive_reply(&self.conversation) {
                    Ok(Reply::Committed(published)) => Ok(published),
                    Ok(Reply::Failed(failure)) => Err(failure),
                    Ok(_) | Err(_) if watch.urgency().is_some() => Err(AttemptFailure::Cancelled),
                    Ok(_) => Err(gone(io::ErrorKind::InvalidData.into())),
                    Err(error) => Err(gone(error)),
                };
            }
            self.give_up_in_time()?;
        }
    }

    /// Sleeps until the keeper says something, something was printed, a cancellation came or a deadline of the killing
    /// passed.
    fn wait(&self, watch: &CancelWatch, with_output: bool) -> Ready {
        let mut fds = vec![PollFd::from_borrowed_fd(self.conversation.as_fd(), PollFlags::IN)];
        let pipes: Vec<_> = self.pipes.open().filter(|_| with_output).collect();
        fds.extend(pipes.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
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
        let reply = !fds[0].revents().is_empty();
        let output = fds[1..=pipes.len()].iter().any(|fd| !fd.revents().is_empty());
        drop(fds);
        watch.settle();
        Ready { reply, output }
    }

    /// Moves the killing on: asked first, forced when the grace is over or nothing gentler will do.
    fn press(&mut self, urgency: Option<Urgency>, grace: std::time::Duration) {
        let now = Instant::now();
        match (self.killing, urgency) {
            (Killing::No, Some(Urgency::Gentle)) => {
                let _ = send_order(&self.conversation, Order::Ask);
                self.killing = Killing::Asked { until: now + grace };
            }
            (Killing::No | Killing::Asked { .. }, Some(Urgency::Now)) => self.force(now),
            (Killing::Asked { until }, _) if now >= until => self.force(now),
            _ => {}
        }
    }

    fn force(&mut self, now: Instant) {
        let _ = send_order(&self.conversation, Order::Kill);
        // The keeper gives up by itself after this time; a keeper that hangs does not say so.
        self.killing = Killing::Forced { until: now + UNKILLABLE_AFTER * 2 };
    }

    fn give_up_in_time(&mut self) -> Result<(), AttemptFailure> {
        match self.killing {
            Killing::Forced { until } if Instant::now() >= until => Err(self.lose()),
            _ => Ok(()),
        }
    }

    fn lose(&mut self) -> AttemptFailure {
        self.is_lost = true;
        AttemptFailure::Cancelled
    }
}

/// What to say when the keeper has died, which nothing of its own makes it: it was killed, and the command with it.
fn bereft(watch: &CancelWatch, oom: &OomWatch, has_started: bool) -> AttemptFailure {
    if watch.urgency().is_some() {
        AttemptFailure::Cancelled
    } else if oom.has_struck() {
        AttemptFailure::OutOfMemory
    } else if has_started {
        AttemptFailure::KilledByStranger(libc::SIGKILL as u8)
    } else {
        AttemptFailure::SpawnFailed("the keeper of the attempt is gone".to_owned())
    }
}

#[derive(Default)]
struct Ready {
    reply: bool,
    output: bool,
}

fn keep(tail: &mut report::Tail, stream: Stream, data: Bytes, witness: &mut impl Witness) -> bool {
    tail.hear(stream, &data);
    witness.on_output(stream, data)
}
