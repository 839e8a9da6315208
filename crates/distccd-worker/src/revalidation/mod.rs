//! Looks afresh at directories before a command runs: at those that other workers have changed (as the server tells),
//! at those whose time differs from what the launcher saw, where that time tells little (GlusterFS) at all that are searched,
//! and in doubt at all that the job is known to read.
//!
//! Other machines' commits and edits are hidden from this one for up to a minute on filesystems like NFS, and nothing on
//! the command line names a header that a compiler searched for before it existed. What was told with one assignment is
//! to be heeded by every later one of the same user, so it is remembered here until it has been done, by whichever attempt comes
//! first. Whatever is to be newer than some moment is measured in ticks of one counter ([`Tick`]).
//!
//! It happens on the mounts as they are, before the attempt's own view is made of them, by the rights of the job's user
//! (a server that squashes root shows root nothing), and on helpers' threads: a filesystem that hangs holds up those, and
//! the attempt fails as one whose inputs are not visible. On filesystems that hide nothing ([`filesystems`]) nothing is
//! done at all.

mod filesystems;
mod learned;
mod looking;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::command::Identity;
use proto::v1;

use self::filesystems::Filesystems;
use self::learned::Learned;
use crate::keeper::rights;

/// How long nothing may get on before the attempt goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions whether the attempt was cancelled.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Between two looks at a directory that is older here than it was for the launcher.
const PAUSE: Duration = Duration::from_millis(10);
/// Threads for one attempt; what they wait for is a server's answer.
const MOST_HELPERS: usize = 8;
/// Threads in all. So many are only needed when a filesystem hangs.
const MOST_HANGING: usize = 256;
/// A helper reads directories and nothing else.
const HELPERS_STACK: usize = 1 << 18;
/// Directories remembered of each kind; beyond it more is looked at than need be.
const MOST_REMEMBERED: usize = 65_536;

/// A moment in the worker's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Revalidation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Nothing when it is switched off.
    filesystems: Option<Filesystems>,
    state: Mutex<State>,
    learned: Mutex<Learned>,
    progress: Condvar,
}

/// A directory as a user sees it: what one may read another may not.
type Place = (u32, Bytes);

#[derive(Debug, Default)]
struct State {
    now: Tick,
    /// Told, and not looked at since.
    pending: BTreeMap<Place, Pending>,
    /// The highest number under which it was told.
    numbers: BTreeMap<Place, u64>,
    /// When the last look began that came to its end.
    looked: BTreeMap<Place, Tick>,
    /// When the look began that is under way.
    looking: BTreeMap<Place, Tick>,
    helpers: usize,
}

#[derive(Debug)]
struct Pending {
    first: Tick,
    last: Tick,
    /// Empty for all.
    names: BTreeSet<Bytes>,
}

/// What is to be looked at for an attempt.
#[derive(Clone, Debug)]
struct Wish {
    place: Place,
    names: Vec<Bytes>,
    /// A look that began then or later is good enough.
    since: Tick,
}

/// A look that is under way, or that is about to be.
#[derive(Clone, Debug)]
struct Look {
    wish: Wish,
    began: Tick,
}

/// For whom it is done.
pub(crate) struct Attempt<'a> {
    /// The submitting user.
    pub(crate) uid: u32,
    /// Who to become for it, if that is another than we are.
    pub(crate) identity: Option<Identity>,
    /// When its assignment came.
    pub(crate) arrived: Tick,
    /// Asked now and then.
    pub(crate) given_up: &'a dyn Fn() -> bool,
}

impl Revalidation {
    /// Of this machine's mounts, or switched off.
    #[must_use]
    pub(crate) fn new(is_on: bool) -> Self {
        let filesystems = is_on.then(Filesystems::of_this_machine);
        Self(Arc::new(Inner {
            filesystems,
            state: Mutex::default(),
            learned: Mutex::default(),
            progress: Condvar::new(),
        }))
    }

    /// Whether this machine may see an old state of what is there. Never, when it is switched off.
    pub(crate) fn may_hide(&self, path: &Path) -> bool {
        self.0.filesystems.as_ref().is_some_and(|known| path.is_absolute() && known.may_hide(path))
    }

    fn may_hide_in_what_is_new(&self, path: &Path) -> bool {
        self.0.filesystems.as_ref().is_some_and(|known| known.may_hide_in_what_is_new(path))
    }

    /// A server has welcomed us: its numbers are its own, and it tells everything again.
    pub(crate) fn on_welcome(&self) {
        self.0.state().numbers.clear();
    }

    /// An assignment has come that tells of these; gives the moment. Does not wait.
    pub(crate) fn on_assignment(&self, uid: u32, changed: &[v1::ChangedDirectory]) -> Tick {
        let hidden = changed.iter().filter(|dir| self.may_hide(Path::new(OsStr::from_bytes(&dir.path))));
        let mut state = self.0.state();
        let now = state.tick();
        hidden.for_each(|dir| state.take(uid, dir, now));
        now
    }

    /// Looks at all that was told to this user's attempts up to the arrival of this one.
    ///
    /// # Errors
    /// Names what could not be looked at in time.
    pub(crate) fn look_at_told(&self, attempt: &Attempt<'_>) -> Result<(), String> {
        let wishes = self.0.state().told_until(attempt);
        self.fulfil(wishes, attempt)
    }

    /// Looks at these afresh unless that was done since the attempt's arrival.
    ///
    /// # Errors
    /// Names what could not be looked at in time.
    pub(crate) fn look_at(&self, dirs: impl IntoIterator<Item = PathBuf>, attempt: &Attempt<'_>) -> Result<(), String> {
        self.look_since(dirs, attempt.arrived, attempt)
    }

    /// The same, not satisfied with any look before now.
    ///
    /// # Errors
    /// Names what could not be looked at in time.
    pub(crate) fn look_again(
        &self,
        dirs: impl IntoIterator<Item = PathBuf>,
        attempt: &Attempt<'_>,
    ) -> Result<(), String> {
        let now = self.0.state().tick();
        self.look_since(dirs, now, attempt)
    }

    fn look_since(
        &self,
        dirs: impl IntoIterator<Item = PathBuf>,
        since: Tick,
        attempt: &Attempt<'_>,
    ) -> Result<(), String> {
        let wish = |dir: PathBuf| {
            let place = (attempt.uid, Bytes::copy_from_slice(dir.as_os_str().as_bytes()));
            Wish { place, names: Vec::new(), since }
        };
        let wishes = dirs.into_iter().filter(|dir| self.may_hide(dir)).map(wish).collect();
        self.fulfil(wishes, attempt)
    }

    /// Waits until each directory is as new here as it was for the launcher. One that is newer was changed since, which
    /// a look takes note of. Where a directory's time says nothing of what is in it, all are looked at: of what was written
    /// in place it says nothing anywhere, and only where files are opened afresh (NFS) does that do no harm.
    ///
    /// # Errors
    /// Names a directory that stays older.
    pub(crate) fn await_searched(&self, searched: &[v1::Stamp], attempt: &Attempt<'_>) -> Result<(), String> {
        let path = |stamp: &v1::Stamp| PathBuf::from(OsStr::from_bytes(&stamp.path));
        let hidden = searched.iter().map(|stamp| (path(stamp), stamp.mtime_ns));
        let hidden: Vec<_> = hidden.filter(|(dir, _)| self.may_hide(dir)).collect();
        let differs = |(dir, mtime_ns): &(PathBuf, i64)| looking::changed_at(dir) != Some(*mtime_ns);
        let doubtful = hidden.iter().filter(|it| self.may_hide_in_what_is_new(&it.0) || differs(it));
        self.look_at(doubtful.map(|(dir, _)| dir.clone()), attempt)?;
        let deadline = Instant::now() + PATIENCE;
        for (dir, mtime_ns) in hidden.into_iter().filter(differs) {
            while looking::changed_at_the_server(&dir).is_none_or(|here| here < mtime_ns) {
                if Instant::now() >= deadline || (attempt.given_up)() {
                    return Err(format!("{}: was changed, and this machine still sees it as it was", dir.display()));
                }
                thread::sleep(PAUSE);
                self.look_again([dir.clone()], attempt)?;
            }
        }
        Ok(())
    }

    /// Whether this machine believes in a name and cannot open its file, which is gone.
    pub(crate) fn is_stale(path: &Path) -> bool {
        looking::is_stale(path)
    }

    /// Whether this machine believes that a name is missing which its directory lists.
    pub(crate) fn is_hidden(path: &Path) -> bool {
        looking::is_hidden(path)
    }

    /// When a file or directory was last changed, as far as this machine knows without asking.
    pub(crate) fn changed_at(path: &Path) -> Option<i64> {
        looking::changed_at(path)
    }

    /// The same as the server knows it.
    pub(crate) fn changed_at_the_server(path: &Path) -> Option<i64> {
        looking::changed_at_the_server(path)
    }

    /// Where earlier commands with outputs in this directory have read headers that may be hidden.
    pub(crate) fn learned(&self, uid: u32, output_dir: &Path) -> Vec<PathBuf> {
        self.0.learned.lock().unwrap_or_else(PoisonError::into_inner).of(uid, output_dir).collect()
    }

    /// Takes note of what a command has read whose outputs are in this directory.
    pub(crate) fn learn(&self, uid: u32, output_dir: &Path, read: &BTreeSet<PathBuf>) {
        let dirs: BTreeSet<&Path> = read.iter().filter_map(|file| file.parent()).collect();
        let dirs = dirs.into_iter().filter(|dir| self.may_hide(dir)).map(Path::to_owned).collect();
        self.0.learned.lock().unwrap_or_else(PoisonError::into_inner).learn(uid, output_dir.to_owned(), dirs);
    }

    /// Blocks until every wish has come true.
    fn fulfil(&self, wishes: Vec<Wish>, attempt: &Attempt<'_>) -> Result<(), String> {
        if wishes.is_empty() {
            return Ok(());
        }
        let mut state = self.0.state();
        let mine = state.begin_all(&wishes);
        drop(state);
        self.send_helpers(mine, attempt)?;
        let mut left = wishes;
        let mut deadline = Instant::now() + PATIENCE;
        let mut state = self.0.state();
        loop {
            let before = left.len();
            // Another's look may have been too old, or may have failed: then it is ours now.
            left.retain(|wish| !state.is_true(wish));
            let Some(first) = left.first() else { return Ok(()) };
            if left.len() < before {
                deadline = Instant::now() + PATIENCE;
            }
            if Instant::now() >= deadline || (attempt.given_up)() {
                let dir = Path::new(OsStr::from_bytes(&first.place.1)).display();
                return Err(format!("{dir}: does not answer, or hides what it lists"));
            }
            let orphaned = state.begin_all(&left);
            if !orphaned.is_empty() {
                drop(state);
                thread::sleep(PAUSE);
                self.send_helpers(orphaned, attempt)?;
                state = self.0.state();
                continue;
            }
            state = self.0.progress.wait_timeout(state, LOOK_UP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts looking, on threads that nobody waits for if they do not come back.
    fn send_helpers(&self, looks: Vec<Look>, attempt: &Attempt<'_>) -> Result<(), String> {
        let share = looks.len().div_ceil(MOST_HELPERS).max(1);
        for (sent, chunk) in looks.chunks(share).enumerate() {
            let (inner, chunk, identity) = (Arc::clone(&self.0), chunk.to_vec(), attempt.identity.clone());
            let helper = thread::Builder::new().name("revalidate".to_owned()).stack_size(HELPERS_STACK);
            if !self.0.state().has_another_helper() {
                looks[sent * share..].iter().for_each(|look| self.0.state().end(look, false));
                return Err("too many looks at the shared filesystem hang".to_owned());
            }
            if let Err(error) = helper.spawn(move || inner.help(&chunk, identity.as_ref())) {
                let mut state = self.0.state();
                state.helpers -= 1;
                looks[sent * share..].iter().for_each(|look| state.end(look, false));
                return Err(format!("cannot look at changed directories: {error}"));
            }
        }
        Ok(())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is in there is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper's whole life.
    fn help(&self, looks: &[Look], identity: Option<&Identity>) {
        // This thread alone becomes the user, and ends as such.
        let become_user = |who: &Identity| rights::act_as(who).and_then(|()| rights::write_as(who.uid));
        if let Some(Err(error)) = identity.map(become_user) {
            tracing::warn!(%error, "cannot look at directories as their user");
        }
        for look in looks {
            let wish = &look.wish;
            let dir = Path::new(OsStr::from_bytes(&wish.place.1));
            let seen = looking::look_at(dir, &wish.names);
            match &seen {
                // The command will not see it either.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(error) => tracing::debug!(dir = %dir.display(), %error, "cannot be looked at"),
                Ok(()) => {}
            }
            let is_settled = !seen.is_err_and(|error| error.kind() != std::io::ErrorKind::PermissionDenied);
            self.state().end(look, is_settled);
            self.progress.notify_all();
        }
        self.state().helpers -= 1;
    }
}

impl State {
    fn tick(&mut self) -> Tick {
        self.now.0 += 1;
        self.now
    }

    fn has_another_helper(&mut self) -> bool {
        let has = self.helpers < MOST_HANGING;
        self.helpers += usize::from(has);
        has
    }

    fn take(&mut self, uid: u32, dir: &v1::ChangedDirectory, now: Tick) {
        let place = (uid, dir.path.clone());
        if self.numbers.len() >= MOST_REMEMBERED {
            self.numbers.clear();
        }
        let before = self.numbers.insert(place.clone(), dir.number);
        if before.is_some_and(|before| before >= dir.number) {
            return;
        }
        if self.pending.len() >= MOST_REMEMBERED && !self.pending.contains_key(&place) {
            // More than any server tells; see `MAX_DIRECTORIES` there.
            return tracing::warn!("more changed directories than can be remembered");
        }
        let names = || dir.names.iter().cloned().collect();
        let pending = self.pending.entry(place).or_insert_with(|| Pending { first: now, last: now, names: names() });
        if pending.names.is_empty() || dir.names.is_empty() {
            pending.names.clear();
        } else {
            pending.names.extend(dir.names.iter().cloned());
        }
        pending.last = now;
    }

    fn told_until(&self, attempt: &Attempt<'_>) -> Vec<Wish> {
        let of_user = self.pending.range((attempt.uid, Bytes::new())..).take_while(|((uid, _), _)| *uid == attempt.uid);
        let due = of_user.filter(|(_, pending)| pending.first <= attempt.arrived);
        due.map(|(place, pending)| Wish {
            place: place.clone(),
            names: pending.names.iter().cloned().collect(),
            since: pending.last,
        })
        .collect()
    }

    fn is_true(&self, wish: &Wish) -> bool {
        self.looked.get(&wish.place).is_some_and(|began| *began >= wish.since)
    }

    /// Those at which the caller is to look: nobody has, and nobody does.
    fn begin_all(&mut self, wishes: &[Wish]) -> Vec<Look> {
        let mut looks = Vec::new();
        for wish in wishes {
            if !self.is_true(wish) && !self.looking.contains_key(&wish.place) {
                let began = self.tick();
                self.looking.insert(wish.place.clone(), began);
                looks.push(Look { wish: wish.clone(), began });
            }
        }
        looks
    }

    fn end(&mut self, Look { wish, began }: &Look, is_settled: bool) {
        let began = *began;
        if self.looking.get(&wish.place) == Some(&began) {
            self.looking.remove(&wish.place);
        }
        if !is_settled {
            return;
        }
        if self.looked.len() >= MOST_REMEMBERED {
            self.looked.clear();
        }
        self.looked.insert(wish.place.clone(), began);
        // Names that were told meanwhile are later than the look.
        if self.pending.get(&wish.place).is_some_and(|pending| pending.last <= began) {
            self.pending.remove(&wish.place);
        }
    }
}

#[cfg(test)]
mod tests;
