//! The shared mounts as this machine sees them, looked at again and again: whether they are there, can be written, and
//! which filesystem they are (`cluster_file::mount_id`). A mount that hangs keeps one thread each, and nobody else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster_file::mount_id::{self, MountId};
use proto::v1;
use rustix::fs::{StatVfsMountFlags, statvfs};
use tokio::sync::mpsc;

/// A filesystem that takes longer to answer hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks: a handful of calls on the mount, most of them answered by the client's caches.
const PAUSE: Duration = Duration::from_secs(2);

/// What was seen of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountView {
    path: PathBuf,
    identity: Option<MountId>,
    /// Why nothing can be run there, as far as this machine can tell.
    problem: Option<String>,
}

impl MountView {
    /// Whether commands can be run there, as far as this machine can tell.
    pub(crate) const fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn report(&self) -> v1::MountReport {
        v1::MountReport {
            path: bytes_of(&self.path),
            identity: self.identity.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes())),
            problem: self.problem.clone().unwrap_or_default(),
        }
    }
}

/// The looks at one mount.
struct Looker {
    path: PathBuf,
    /// A look that is under way.
    pending: Option<Receiver<MountView>>,
}

impl Looker {
    fn begin(&mut self) {
        if self.pending.is_none() {
            let (done, pending) = sync_channel(1);
            let path = self.path.clone();
            // Without a thread there is no answer, and the channel says so.
            let _ = thread::Builder::new().name("mount".to_owned()).spawn(move || done.send(look(&path)));
            self.pending = Some(pending);
        }
    }

    fn view(&mut self, deadline: Instant) -> MountView {
        let answer = self
            .pending
            .as_ref()
            .map(|pending| pending.recv_timeout(deadline.saturating_duration_since(Instant::now())));
        if !matches!(answer, Some(Err(RecvTimeoutError::Timeout))) {
            self.pending = None;
        }
        let silent = || MountView {
            path: self.path.clone(),
            identity: None,
            problem: Some(format!("does not answer within {PATIENCE:?}: check its servers")),
        };
        answer.and_then(Result::ok).unwrap_or_else(silent)
    }
}

/// Looks at all mounts, for a bounded time.
fn look_at(lookers: &mut [Looker]) -> Vec<MountView> {
    lookers.iter_mut().for_each(Looker::begin);
    let deadline = Instant::now() + PATIENCE;
    lookers.iter_mut().map(|looker| looker.view(deadline)).collect()
}

/// Watches the mounts from a thread of its own, and tells what it sees: at first, and whenever that changes. Ends when
/// nobody listens any more.
pub(crate) fn watch(mounts: &[PathBuf]) -> io::Result<mpsc::Receiver<Vec<MountView>>> {
    let (tell, news) = mpsc::channel(1);
    let mut lookers: Vec<Looker> = mounts.iter().map(|path| Looker { path: path.clone(), pending: None }).collect();
    thread::Builder::new().name("mounts".to_owned()).spawn(move || {
        let mut told = Vec::new();
        while !tell.is_closed() {
            let seen = look_at(&mut lookers);
            if seen != told {
                for view in seen.iter().filter(|view| !told.contains(view)) {
                    log(view);
                }
                told.clone_from(&seen);
                if tell.blocking_send(seen).is_err() {
                    return;
                }
            }
            thread::sleep(PAUSE);
        }
    })?;
    Ok(news)
}

fn log(view: &MountView) {
    let mount = view.path.display();
    match (&view.problem, view.identity) {
        (Some(problem), _) => tracing::error!(%mount, "the mount {problem}; no jobs of it are taken until it is right"),
        (None, Some(identity)) => tracing::info!(%mount, %identity, "the mount is there"),
        (None, None) => tracing::info!(%mount, "the mount is there, and no server has marked it"),
    }
}

fn look(path: &Path) -> MountView {
    let (identity, problem) = match identity(path) {
        Ok(identity) => (identity, None),
        Err(problem) => (None, Some(problem)),
    };
    MountView { path: path.to_owned(), identity, problem }
}

fn identity(path: &Path) -> Result<Option<MountId>, String> {
    let facts = fs::metadata(path).map_err(|error| format!("cannot be looked at: {error}"))?;
    if !facts.is_dir() {
        return Err("is not a directory".to_owned());
    }
    let flags = statvfs(path).map_err(|error| format!("cannot be looked at: {error}"))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err("is mounted read-only".to_owned());
    }
    mount_id::read(path).map_err(|error| format!("does not say which filesystem it is: {error}"))
}

fn bytes_of(path: &Path) -> Bytes {
    use std::os::unix::ffi::OsStrExt;
    Bytes::copy_from_slice(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_what_lies_at_its_path_now() {
        let mount = tempfile::tempdir().unwrap();
        let id = MountId::from_bytes([3; 16]);
        assert!(look(mount.path()).is_sound());
        assert_eq!(look(mount.path()).identity, None);

        mount_id::establish(mount.path(), id).unwrap();
        assert_eq!(look(mount.path()).identity, Some(id));
        assert_eq!(look(mount.path()).report().identity, id.as_bytes()[..]);

        let gone = look(&mount.path().join("elsewhere"));
        assert!(!gone.is_sound() && gone.report().problem.contains("No such file"), "{gone:?}");
    }

    #[test]
    fn changes_are_told_and_nothing_else() {
        let mount = tempfile::tempdir().unwrap();
        let mut news = watch(&[mount.path().to_owned()]).unwrap();
        let first = news.blocking_recv().unwrap();
        assert!(first[0].is_sound() && first[0].identity.is_none());

        let id = mount_id::establish(mount.path(), MountId::from_bytes([3; 16])).unwrap();

        assert_eq!(news.blocking_recv().unwrap()[0].identity, Some(id));
    }

    #[test]
    fn a_mount_that_hangs_is_told_once_its_time_is_up() {
        let (_never, pending) = sync_channel(1);
        let mut looker = Looker { path: PathBuf::from("/hangs"), pending: Some(pending) };

        let view = looker.view(Instant::now());

        assert!(view.problem.as_ref().is_some_and(|problem| problem.contains("does not answer")), "{view:?}");
        assert!(looker.pending.is_some(), "no second thread is sent after the first");
    }
}
