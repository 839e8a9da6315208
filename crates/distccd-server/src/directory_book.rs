//! The directory book: which directories were changed by whose commits, so that a worker whose filesystem caches what is
//! not there, or what was there, looks afresh before the next command (design.md section 8, "headers and archives nobody
//! named").
//!
//! Pure: commits and times go in, what a worker is to be told comes out. Changes are numbered; for each worker and user
//! the book knows the last number that was told.
//!
//! # What it promises
//! When a commit was noted before a job was submitted, and no more than the horizon ago, a worker is told of it with the
//! job's assignment or was with an earlier one of the same user, unless it made the commit itself. Commits of *other* users are
//! told, again and again, where they are in directories that the job names or below its build's. What the book cannot know is said:
//! [`Told::is_unsure`] stands for "more may have changed", for a horizon after the server's start and after the book
//! overflowed. After the horizon every cache has expired by itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use model::ids::WorkerId;
use model::time::Timestamp;
use proto::v1;

/// Names kept of a directory; with more, or when they are not known, all of it counts as changed.
const MAX_NAMES: usize = 16;
/// Directories kept of a user.
const MAX_DIRECTORIES: usize = 4096;
/// Users of whom something is kept.
const MAX_USERS: usize = 256;
/// Directories of other users in one telling; with more the worker is told to doubt.
const MAX_FOREIGN: usize = 256;

/// Who ran what was committed; nobody knows of an attempt that an earlier server had given out.
type User = Option<u32>;

/// See the module.
#[derive(Debug)]
pub struct DirectoryBook {
    horizon: Duration,
    now: Timestamp,
    last: u64,
    /// By path, so that one build's are found by where they lie.
    directories: BTreeMap<Bytes, BTreeMap<User, Changes>>,
    logs: BTreeMap<User, Log>,
    told: BTreeMap<WorkerId, BTreeMap<User, u64>>,
    unsure_until: Timestamp,
}

/// The directories of one user by their last commits.
#[derive(Debug, Default)]
struct Log {
    by_number: BTreeMap<u64, Bytes>,
    unsure_until: Timestamp,
}

/// What changed in one directory.
#[derive(Debug, Default)]
struct Changes {
    last: u64,
    at: Timestamp,
    names: VecDeque<(u64, WorkerId, Bytes)>,
    /// Up to this commit the names are not known.
    nameless: u64,
}

/// What an assignment brings its worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What others changed since it was last told.
    pub changed: Vec<v1::ChangedDirectory>,
    /// There may be more.
    pub is_unsure: bool,
}

/// Whom an assignment is for, and what of other users' directories concerns it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Where it runs.
    pub worker: WorkerId,
    /// As whom.
    pub user: u32,
    /// Directories that it names.
    pub near: &'a [Bytes],
    /// The root of its build.
    pub below: &'a [u8],
}

impl DirectoryBook {
    /// An empty book at time `now`, in doubt for as long as what happened before it may matter.
    #[must_use]
    pub fn new(horizon: Duration, now: Timestamp) -> Self {
        Self {
            horizon,
            now,
            last: 0,
            directories: BTreeMap::new(),
            logs: BTreeMap::new(),
            told: BTreeMap::new(),
            unsure_until: now + horizon,
        }
    }

    /// Moves on to `now` and drops what is older than the horizon.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let (now, horizon, directories) = (self.now, self.horizon, &mut self.directories);
        self.logs.retain(|user, log| {
            while let Some(oldest) = log.by_number.first_entry() {
                let at =
                    directories.get(oldest.get()).and_then(|users| users.get(user)).map_or(Timestamp::ZERO, |it| it.at);
                if at + horizon >= now {
                    break;
                }
                strike(directories, *user, &oldest.remove());
            }
            !log.by_number.is_empty() || log.unsure_until >= now
        });
    }

    /// A worker has committed files, all absolute, for a user. Only what another attempt may have left is told without
    /// names: see [`Self::note_directories`].
    pub fn note_files<'a>(&mut self, worker: WorkerId, user: User, files: impl Iterator<Item = &'a [u8]>) {
        for file in files {
            let Some(slash) = file.iter().rposition(|byte| *byte == b'/') else { continue };
            let (dir, name) = (&file[..slash.max(1)], &file[slash + 1..]);
            self.note(dir, user, Some((worker, name)));
        }
    }

    /// Something of these directories may have been changed.
    pub fn note_directories<'a>(&mut self, user: User, dirs: impl Iterator<Item = &'a [u8]>) {
        dirs.for_each(|dir| self.note(dir, user, None));
    }

    fn note(&mut self, dir: &[u8], user: User, what: Option<(WorkerId, &[u8])>) {
        self.last += 1;
        if !self.logs.contains_key(&user) && self.logs.len() >= MAX_USERS {
            self.drop_a_user();
        }
        let log = self.logs.entry(user).or_default();
        let dir = Bytes::copy_from_slice(dir);
        let changes = self.directories.entry(dir.clone()).or_default().entry(user).or_default();
        log.by_number.remove(&changes.last);
        (changes.last, changes.at) = (self.last, self.now);
        changes.take(self.last, what);
        log.by_number.insert(self.last, dir);
        if log.by_number.len() > MAX_DIRECTORIES
            && let Some((_, oldest)) = log.by_number.pop_first()
        {
            log.unsure_until = self.now + self.horizon;
            strike(&mut self.directories, user, &oldest);
        }
    }

    /// The user with the fewest directories makes room; everybody is in doubt then.
    fn drop_a_user(&mut self) {
        let fewest = self.logs.iter().min_by_key(|(_, log)| log.by_number.len()).map(|(user, _)| *user);
        let Some((user, log)) = fewest.and_then(|user| Some((user, self.logs.remove(&user)?))) else { return };
        for dir in log.by_number.values() {
            strike(&mut self.directories, user, dir);
        }
        self.unsure_until = self.now + self.horizon;
    }

    /// What this reader is to be told now. It counts as told: an assignment that is lost ends in a new conversation, and
    /// that in [`Self::forget_told`].
    pub fn tell(&mut self, reader: &Reader<'_>) -> Told {
        let own = [Some(reader.user), None];
        let told = self.told.entry(reader.worker).or_default();
        let mut answer = Told { is_unsure: self.now < self.unsure_until, ..Told::default() };
        for user in own {
            let Some(log) = self.logs.get(&user) else { continue };
            let since = told.get(&user).copied().unwrap_or(0);
            answer.is_unsure |= self.now < log.unsure_until;
            for dir in log.by_number.range(since + 1..).map(|(_, dir)| dir) {
                let changes = self.directories.get(dir).and_then(|users| users.get(&user));
                answer.changed.extend(changes.and_then(|changes| changes.since(since, reader.worker, dir)));
            }
            told.insert(user, self.last);
        }
        told.retain(|user, _| self.logs.contains_key(user));
        self.tell_of_others(reader, &mut answer);
        answer
    }

    fn tell_of_others(&self, reader: &Reader<'_>, answer: &mut Told) {
        let near = reader.near.iter().filter_map(|dir| self.directories.get_key_value(dir));
        let below = self.directories.range(Bytes::copy_from_slice(reader.below)..);
        let below = below.take_while(|(dir, _)| dir.starts_with(reader.below));
        let is_foreign = |user: &User| user.is_some_and(|user| user != reader.user);
        let mut found: BTreeMap<(&Bytes, User), &Changes> = BTreeMap::new();
        for (dir, users) in near.chain(below) {
            found.extend(users.iter().filter(|(user, _)| is_foreign(user)).map(|(user, it)| ((dir, *user), it)));
            if found.len() > MAX_FOREIGN {
                answer.is_unsure = true;
                break;
            }
        }
        let told = found.into_iter().filter_map(|((dir, _), changes)| changes.since(0, reader.worker, dir));
        answer.changed.extend(told.take(MAX_FOREIGN));
    }

    /// The worker may have missed what it was told: it is new, or came back.
    pub fn forget_told(&mut self, worker: WorkerId) {
        self.told.remove(&worker);
    }
}

impl Changes {
    fn take(&mut self, number: u64, what: Option<(WorkerId, &[u8])>) {
        let Some((worker, name)) = what else {
            self.nameless = number;
            return self.names.clear();
        };
        self.names.retain(|(_, _, known)| known != name);
        self.names.push_back((number, worker, Bytes::copy_from_slice(name)));
        if self.names.len() > MAX_NAMES
            && let Some((dropped, _, _)) = self.names.pop_front()
        {
            self.nameless = self.nameless.max(dropped);
        }
    }

    /// What `worker` has not seen of this directory, if it was told of all up to `since`.
    fn since(&self, since: u64, worker: WorkerId, dir: &Bytes) -> Option<v1::ChangedDirectory> {
        let news = self.names.iter().filter(|(number, writer, _)| *number > since && *writer != worker);
        let names: Vec<Bytes> = news.map(|(_, _, name)| name.clone()).collect();
        let (path, number) = (dir.clone(), self.last);
        match self.nameless > since {
            true => Some(v1::ChangedDirectory { path, names: Vec::new(), number }),
            false if names.is_empty() => None,
            false => Some(v1::ChangedDirectory { path, names, number }),
        }
    }
}

fn strike(directories: &mut BTreeMap<Bytes, BTreeMap<User, Changes>>, user: User, dir: &Bytes) {
    if let Some(users) = directories.get_mut(dir) {
        users.remove(&user);
        if users.is_empty() {
            directories.remove(dir);
        }
    }
}

#[cfg(test)]
mod tests;
