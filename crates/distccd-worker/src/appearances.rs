//! Files that this worker makes for somebody elsewhere, who measures when he sees them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cluster_file::probe;
use proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// At a time; each has a thread, for a mount may hang.
const MANY: usize = 8;
/// How long one is to be seen: longer than clients of NFS remember that a name was missing.
const LIFE: Duration = Duration::from_secs(40);

/// Makes them.
pub(crate) struct Appearances {
    mounts: Vec<PathBuf>,
    room: Arc<Semaphore>,
    tell: mpsc::Sender<v1::Appeared>,
}

impl Appearances {
    /// On these mounts, and where it is told what became of each.
    pub(crate) fn new(mounts: &[PathBuf]) -> (Self, mpsc::Receiver<v1::Appeared>) {
        let (tell, told) = mpsc::channel(MANY);
        (Self { mounts: mounts.to_vec(), room: Arc::new(Semaphore::new(MANY)), tell }, told)
    }

    /// Makes one, now or never.
    pub(crate) fn make(&self, order: v1::Appear) {
        if let Err(problem) = self.begin(&order) {
            // Where even this finds no room, whoever asked is told that there was no answer.
            let _ = self.tell.try_send(v1::Appeared { name: order.name, problem });
        }
    }

    fn begin(&self, order: &v1::Appear) -> Result<(), String> {
        let mount = self.mounts.iter().find(|mount| mount.as_os_str().as_encoded_bytes() == order.mount);
        let mount = mount.ok_or("it has no such mount")?.clone();
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| "many ask at once; ask again in a minute")?;
        let (name, tell) = (order.name.clone(), self.tell.clone());
        let work = move || appear_for_a_while(&mount, name, &tell, room);
        thread::Builder::new().name("appear".to_owned()).spawn(work).map_err(|error| error.to_string())?;
        Ok(())
    }
}

fn appear_for_a_while(mount: &Path, name: String, tell: &mpsc::Sender<v1::Appeared>, room: OwnedSemaphorePermit) {
    let made = probe::appear(mount, &name);
    let problem = made.as_ref().err().map(ToString::to_string).unwrap_or_default();
    // Nobody listens any more when this worker ends.
    let _ = tell.blocking_send(v1::Appeared { name: name.clone(), problem });
    if made.is_ok() {
        thread::sleep(LIFE);
        if let Err(error) = probe::vanish(mount, &name) {
            tracing::warn!(mount = %mount.display(), %error, "a probe stays on the mount until a server starts");
        }
    }
    drop(room);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appear(mount: &Path, name: &str) -> v1::Appear {
        let mount = mount.as_os_str().as_encoded_bytes().to_vec().into();
        v1::Appear { mount, name: name.to_owned() }
    }

    #[test]
    fn a_file_is_made_and_told_of() {
        let mount = tempfile::tempdir().unwrap();
        let (appearances, mut told) = Appearances::new(&[mount.path().to_owned()]);

        appearances.make(appear(mount.path(), "a1"));

        assert_eq!(told.blocking_recv().unwrap(), v1::Appeared { name: "a1".to_owned(), problem: String::new() });
        assert!(probe::is_seen(mount.path(), "a1"));
    }

    #[test]
    fn what_cannot_be_made_is_told_of() {
        let mount = tempfile::tempdir().unwrap();
        let (appearances, mut told) = Appearances::new(&[mount.path().to_owned()]);
        let mut problem_of = |order| {
            appearances.make(order);
            told.blocking_recv().unwrap().problem
        };

        assert_eq!(problem_of(appear(Path::new("/elsewhere"), "a1")), "it has no such mount");
        assert!(problem_of(appear(mount.path(), "../a1")).contains("letters and digits"));
    }

    #[test]
    fn only_so_many_are_made_at_a_time() {
        let mount = tempfile::tempdir().unwrap();
        let (appearances, mut told) = Appearances::new(&[mount.path().to_owned()]);
        let names: Vec<String> = (0..=MANY).map(|number| format!("a{number}")).collect();

        let words: Vec<v1::Appeared> = names
            .iter()
            .map(|name| {
                appearances.make(appear(mount.path(), name));
                told.blocking_recv().unwrap()
            })
            .collect();

        assert!(words[..MANY].iter().all(|word| word.problem.is_empty()), "{words:?}");
        assert!(words[MANY].problem.contains("many ask at once"), "{words:?}");
    }
}
