//! Which workers may be running something, on disk: so that a server that takes over after a crash knows whom to wait for,
//! and need not wait a whole lease when all of them have come back (`scheduler-core`, "Why a lease is enough").
//!
//! # What makes it complete
//! - A worker stands in the file *before* it is welcomed ([`Roster::enter`]); without a welcome it has no lease and starts
//!   nothing. It is struck out only when the scheduler has forgotten it, which means that nothing of it runs.
//! - What must be survived is the death of this process, and for that a `write(2)` is enough: nothing is synced. When the
//!   machine was started anew its end may be missing, and the file, which names the boot that wrote it, is not believed.
//! - A server that found no roster to believe does not know who may run something until its own first lease is over. Until
//!   then the file says that it is incomplete, and the next server does not believe it.
//! - Another server may have been here in between and have kept its roster elsewhere, or nowhere. Then workers have been
//!   welcomed by one that this file does not name ([`Entered::is_doubtful`]): the scheduler is told to doubt.
//! - A file that can neither be written nor removed would be believed though workers are missing in it: such a worker is
//!   not let in.
//!
//! # Format
//! Lines, each with a digest of its text at the end: a header with the boot's id, then what happened, in order. It is
//! appended to, so a registration costs the same however many workers there are, and written anew when it has become long.
//! A last line without an end was being written when the server died, before the welcome: it counts for nothing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::ids::{Incarnation, fnv1a};
use proto::v1;
use proto::version::names_its_server;

mod lines;

use crate::dispatch::worker_incarnation;
use lines::Line;

/// Appended lines beyond two for each worker that are borne before the file is written anew.
const SLACK: usize = 1_000;

/// Where the roster is, and who is on it.
#[derive(Debug)]
pub struct Roster {
    server: Incarnation,
    lease: Duration,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Nothing when there is nowhere to keep it, or it cannot be kept any more.
    file: Option<(PathBuf, File)>,
    boot: String,
    lines: usize,
    members: BTreeMap<Incarnation, Member>,
    is_complete: bool,
    /// The first lease of this server is over.
    is_settled: bool,
    entries: u64,
}

/// A worker on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    key: Vec<u8>,
    lease: Duration,
    /// Who let it in last.
    server: Incarnation,
    /// Which of all entries this is: another one is not struck out by mistake. Not on disk.
    entry: u64,
}

/// Whom an earlier server had let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Each with the key of its obituary.
    pub workers: BTreeMap<Incarnation, Vec<u8>>,
    /// The longest lease that any of them was given.
    pub lease: Duration,
}

/// A worker may be welcomed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// For [`Roster::leave`].
    pub entry: u64,
    /// It was let in by a server of which this roster does not know.
    pub is_doubtful: bool,
}

impl Roster {
    /// The roster of `server`, which gives leases of `lease`, in this file; what an earlier server left there, if that is
    /// to be believed. Without a file nothing is kept.
    #[must_use]
    pub fn open(file: Option<&Path>, server: Incarnation, lease: Duration) -> (Arc<Self>, Option<Inherited>) {
        let boot = boot_id();
        let before = file.and_then(|file| read(file, boot.as_deref()?));
        let mut books =
            Books { boot: boot.clone().unwrap_or_default(), is_complete: before.is_some(), ..Books::default() };
        books.members = before.clone().unwrap_or_default();
        if let Some(file) = file.filter(|_| boot.is_some()) {
            books.rewrite(file);
        }
        let inherited = before.map(|members| Inherited {
            lease: members.values().map(|member| member.lease).max().unwrap_or_default(),
            workers: members.into_iter().map(|(id, member)| (id, member.key)).collect(),
        });
        (Arc::new(Self { server, lease, books: Mutex::new(books) }), inherited)
    }

    /// Writes down a worker that is to be welcomed. Returns only when the disk has it.
    ///
    /// # Errors
    /// When it must not be welcomed, because the next server would not know of it.
    pub async fn enter(self: &Arc<Self>, register: &v1::Register) -> io::Result<Entered> {
        let (roster, register) = (Arc::clone(self), register.clone());
        let entering = tokio::task::spawn_blocking(move || roster.enter_now(&register));
        entering.await.map_err(io::Error::other)?
    }

    /// Strikes out a worker of which nothing runs any more, sooner or later, unless it has entered again.
    pub fn leave(self: &Arc<Self>, who: Incarnation, entry: u64) {
        let roster = Arc::clone(self);
        // On the way out of the process there may be no runtime any more; then it stays, and is waited for.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || roster.leave_now(who, entry));
        }
    }

    /// This server's first lease is over, and the longest one that an earlier server gave: whoever has not come is dead,
    /// and the roster is complete.
    pub fn settle(&self) {
        let mut books = self.books();
        books.members.retain(|_, member| member.server == self.server);
        (books.is_complete, books.is_settled) = (true, true);
        if let Some(file) = books.file.as_ref().map(|(path, _)| path.clone()) {
            books.rewrite(&file);
        }
        tracing::info!(workers = books.members.len(), "the roster is complete");
    }

    fn enter_now(&self, register: &v1::Register) -> io::Result<Entered> {
        let (hello, who) = (register.hello.as_ref(), worker_incarnation(register));
        let mut books = self.books();
        let known = books.members.get(&who).cloned();
        let last = register.last_server.as_ref();
        let is_explained = last == self.server.as_bytes()
            || known.as_ref().is_some_and(|member| last == member.server.as_bytes())
            || (last.is_empty() && hello.is_some_and(names_its_server));
        let is_doubtful = !is_explained && !books.is_settled;
        books.entries += 1;
        let entry = books.entries;
        let member = Member { key: register.obituary_key.to_vec(), lease: self.lease, server: self.server, entry };
        let is_news = known.is_none_or(|known| Member { entry, ..known } != member);
        let line = is_news.then(|| Line::Worker(who, member.clone()));
        books.members.insert(who, member);
        if is_doubtful && books.is_complete {
            books.is_complete = false;
            books.append(&Line::Incomplete)?;
        }
        line.map_or(Ok(()), |line| books.append(&line))?;
        Ok(Entered { entry, is_doubtful })
    }

    fn leave_now(&self, who: Incarnation, entry: u64) {
        let mut books = self.books();
        if books.members.get(&who).is_some_and(|member| member.entry == entry) {
            books.members.remove(&who);
            // One too many only makes the next server wait.
            let _ = books.append(&Line::Gone(who));
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // What is in there is whole after each statement.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Adds a line; when that fails the file must go, or it would be believed.
    fn append(&mut self, line: &Line) -> io::Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(line.encode().as_bytes()) {
            let path = path.clone();
            return self.give_up(&path, &error);
        }
        self.lines += 1;
        if self.lines > 2 * self.members.len() + SLACK {
            let path = path.clone();
            self.rewrite(&path);
        }
        Ok(())
    }

    /// Writes the whole file anew; the old one stands until the new one does.
    fn rewrite(&mut self, path: &Path) {
        let lines = std::iter::once(Line::Header(self.boot.clone()))
            .chain((!self.is_complete).then_some(Line::Incomplete))
            .chain(self.members.iter().map(|(&id, member)| Line::Worker(id, member.clone())));
        let text: String = lines.map(|line| line.encode()).collect();
        self.lines = self.members.len();
        match replace(path, &text) {
            Ok(file) => self.file = Some((path.to_owned(), file)),
            // The old file was complete as well, if there is one and it is ours; at the start it may be anybody's.
            Err(error) if self.file.is_some() => {
                tracing::warn!(file = %path.display(), %error, "the roster only grows");
            }
            Err(error) => {
                let _ = self.give_up(path, &error);
            }
        }
    }

    fn give_up(&mut self, path: &Path, error: &io::Error) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(worse) if !matches!(worse.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                tracing::error!(file = %path.display(), %error, %worse, "the roster is wrong and cannot be removed");
                Err(io::Error::other(format!("the roster {} cannot be written: {error}", path.display())))
            }
            _ => {
                tracing::warn!(file = %path.display(), %error, "no roster: after a crash the next server waits a lease");
                self.file = None;
                Ok(())
            }
        }
    }
}

/// The members, if the file is whole, complete and of this boot.
fn read(file: &Path, boot: &str) -> Option<BTreeMap<Incarnation, Member>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the roster is not read");
            return None;
        }
    };
    let members = understood(&text, boot);
    match &members {
        Ok(members) => tracing::info!(file = %file.display(), workers = members.len(), "roster read"),
        Err(why) => tracing::info!(file = %file.display(), why, "the roster is not believed"),
    }
    members.ok()
}

fn understood(text: &str, boot: &str) -> Result<BTreeMap<Incarnation, Member>, &'static str> {
    let (mut members, mut is_complete, mut has_header) = (BTreeMap::new(), true, false);
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break }; // The server died over it.
        match Line::decode(line).ok_or("it is damaged")? {
            Line::Header(_) if has_header => return Err("it is damaged"),
            Line::Header(written_in) if written_in != boot => return Err("the machine was started anew"),
            Line::Header(_) => has_header = true,
            _ if !has_header => return Err("it is damaged"),
            Line::Incomplete => is_complete = false,
            Line::Worker(id, member) => drop(members.insert(id, member)),
            Line::Gone(id) => drop(members.remove(&id)),
        }
    }
    match (has_header, is_complete) {
        (false, _) => Err("it is empty"),
        (_, false) => Err("it is incomplete"),
        _ => Ok(members),
    }
}

fn replace(path: &Path, text: &str) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)?;
    OpenOptions::new().append(true).open(path)
}

/// Which boot of the machine this is; without that nothing on disk can be believed.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty() && !id.contains(' '))
}

#[cfg(test)]
mod tests;
