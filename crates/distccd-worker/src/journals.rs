//! Has CephFS write its journal when a step of an attempt takes longer than it should, for that is what such a step mostly
//! waits for (`cluster_file::journal`): another machine has removed or made something in the same directory, a dependency
//! file that ninja has read, say, and nothing had that written. And a moment after each commit, for then others look at
//! what was published: the launcher, who cannot do this itself, and the next commands.
//!
//! Each mount of that kind has a thread, which sleeps until somebody waits. Where nobody is held up that costs a lock for
//! each step, and one prompt of a millisecond or two for all the commits of 50 ms: each commit has the journal written
//! itself, more than once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_file::journal::Prompt;

/// A step that takes so long waits for something. Most take a few milliseconds.
const LONG: Duration = Duration::from_millis(50);
/// Between two prompts for the same step, in the end: what no prompt helps is not asked of the filesystem all the time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After a prompt that failed.
const REST: Duration = Duration::from_secs(60);

/// The mounts of this machine whose journal others may wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journals(Arc<[Journal]>);

#[derive(Debug)]
struct Journal {
    mount: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waits: Mutex<Waits>,
    changed: Condvar,
}

/// A step that should not take long, until it is dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Step<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Journals {
    /// Those of `mounts`, all of a kind that has one. `name`, of letters and digits, is no other machine's.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub(crate) fn of(mounts: &[PathBuf], name: &str) -> io::Result<Self> {
        let start = |mount: &PathBuf| {
            let shared = Arc::new(Shared::default());
            let mut prompter = Prompter { mount: mount.clone(), name: name.to_owned(), prompt: None };
            let waits = Arc::clone(&shared);
            let serve = move || while waits.prompt_when_due(|| prompter.prompt()) {};
            thread::Builder::new().name("journal".to_owned()).spawn(serve)?;
            Ok(Journal { mount: mount.clone(), shared })
        };
        mounts.iter().map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Something begins at this absolute path that should not take long.
    pub(crate) fn begin(&self, place: &Path) -> Option<Step<'_>> {
        let shared = self.around(place)?;
        let number = shared.lock().begin(Instant::now());
        shared.changed.notify_all();
        Some(Step { shared, number })
    }

    /// Something was published at this absolute path.
    pub(crate) fn on_published(&self, place: &Path) {
        if let Some(shared) = self.around(place) {
            shared.lock().on_published(Instant::now());
            shared.changed.notify_all();
        }
    }

    fn around(&self, place: &Path) -> Option<&Shared> {
        let around = self.0.iter().filter(|journal| place.starts_with(&journal.mount));
        around.max_by_key(|journal| journal.mount.as_os_str().len()).map(|journal| &*journal.shared)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.shared.lock().end(self.number);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until a prompt is due, and gives it; false when nobody is left to wait for one.
    fn prompt_when_due(&self, prompt: impl FnOnce()) -> bool {
        let mut waits = self.lock();
        loop {
            if waits.is_over {
                return false;
            }
            let now = Instant::now();
            let sleep = waits.due().map(|due| due.saturating_duration_since(now));
            waits = match sleep {
                Some(Duration::ZERO) => break,
                Some(sleep) => self.changed.wait_timeout(waits, sleep).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(waits).unwrap_or_else(PoisonError::into_inner),
            };
        }
        waits.on_prompt(Instant::now());
        drop(waits);
        prompt();
        true
    }
}

/// Who prompts on one mount. It may hang as that does.
struct Prompter {
    mount: PathBuf,
    name: String,
    prompt: Option<Prompt>,
}

impl Prompter {
    fn prompt(&mut self) {
        if let Err(error) = self.try_prompt() {
            // One that was made before its client was shut out fails for ever.
            self.prompt = None;
            let mount = self.mount.display();
            tracing::info!(%mount, "looks at what others have just changed may take 5 s on this CephFS: cannot have its \
                journal written, for which this worker writes to .distccd/ of the mount: {error}");
            thread::sleep(REST);
        }
    }

    fn try_prompt(&mut self) -> io::Result<()> {
        let prompt = match self.prompt.take() {
            Some(prompt) => prompt,
            None => Prompt::on(&self.mount, &self.name)?,
        };
        self.prompt.insert(prompt).write_journal()
    }
}

/// Who waits on one mount, and when a prompt is due. Knows no clock.
#[derive(Debug, Default)]
struct Waits {
    steps: BTreeMap<u64, Wait>,
    last: u64,
    /// For what was published.
    after_commits: Option<Instant>,
    is_over: bool,
}

#[derive(Debug)]
struct Wait {
    due: Instant,
    pause: Duration,
}

impl Waits {
    fn begin(&mut self, now: Instant) -> u64 {
        self.last += 1;
        self.steps.insert(self.last, Wait { due: now + LONG, pause: LONG });
        self.last
    }

    fn end(&mut self, step: u64) {
        self.steps.remove(&step);
    }

    /// All that is published until the prompt shares it.
    fn on_published(&mut self, now: Instant) {
        self.after_commits.get_or_insert(now + LONG);
    }

    fn due(&self) -> Option<Instant> {
        self.steps.values().map(|wait| wait.due).chain(self.after_commits).min()
    }

    /// A prompt is given, and helps whoever waits by now.
    fn on_prompt(&mut self, now: Instant) {
        self.after_commits.take_if(|due| *due <= now);
        for wait in self.steps.values_mut() {
            if wait.due <= now {
                wait.pause = (wait.pause * 2).min(LONGEST_PAUSE);
            }
            wait.due = wait.due.max(now + wait.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn at(waits: &Waits, start: Instant) -> Option<u128> {
        waits.due().map(|due| (due - start).as_millis())
    }

    #[test]
    fn only_what_takes_long_is_prompted_for_and_less_and_less_often() {
        let start = Instant::now();
        let mut waits = Waits::default();
        assert_eq!(waits.due(), None);
        let quick = waits.begin(start);
        waits.end(quick);
        assert_eq!(waits.due(), None);

        let slow = waits.begin(start);
        let mut seen = Vec::new();
        for _ in 0..7 {
            let due = waits.due().unwrap();
            seen.push((due - start).as_millis());
            waits.on_prompt(due);
        }

        assert_eq!(seen, [50, 150, 350, 750, 1550, 2550, 3550]);
        waits.end(slow);
        assert_eq!(waits.due(), None);
    }

    #[test]
    fn one_prompt_is_for_all_who_wait() {
        let start = Instant::now();
        let mut waits = Waits::default();
        waits.begin(start);
        let later = waits.begin(start + Duration::from_millis(30));

        waits.on_prompt(start + LONG);

        assert_eq!(at(&waits, start), Some(100), "the later one has just been helped");
        waits.end(later);
        assert_eq!(at(&waits, start), Some(150));
    }

    #[test]
    fn commits_share_a_prompt() {
        let start = Instant::now();
        let mut waits = Waits::default();
        waits.on_published(start);
        waits.on_published(start + Duration::from_millis(40));
        assert_eq!(at(&waits, start), Some(50));

        waits.on_prompt(start + LONG);
        assert_eq!(waits.due(), None);

        waits.on_published(start + Duration::from_millis(60));
        assert_eq!(at(&waits, start), Some(110));
    }

    #[test]
    fn a_thread_prompts_until_nobody_is_left() {
        let (tell, told) = channel();
        let shared = Arc::new(Shared::default());
        let waits = Arc::clone(&shared);
        let thread = thread::spawn(move || while waits.prompt_when_due(|| tell.send(()).unwrap()) {});
        let journals = Journals(Arc::new([Journal { mount: PathBuf::from("/mnt/a"), shared }]));

        assert!(journals.begin(Path::new("/mnt/ab")).is_none(), "it is on no such mount");
        let step = journals.begin(Path::new("/mnt/a/b")).unwrap();
        told.recv().unwrap();
        told.recv().unwrap();
        drop(step);
        journals.on_published(Path::new("/mnt/a/c"));
        told.recv().unwrap();

        drop(journals);
        thread.join().unwrap();
    }

    #[test]
    fn a_mount_where_it_may_not_write_is_no_error() {
        let mount = tempfile::tempdir().unwrap();
        let mut prompter = Prompter { mount: mount.path().to_owned(), name: "a1".to_owned(), prompt: None };
        assert!(prompter.try_prompt().is_err() && prompter.prompt.is_none());

        std::fs::create_dir(mount.path().join(cluster_file::DIRECTORY)).unwrap();

        prompter.try_prompt().unwrap();
        prompter.try_prompt().unwrap();
        assert!(prompter.prompt.is_some());
    }
}
