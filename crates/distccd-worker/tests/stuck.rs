//! What no signal ends: processes that sleep in the kernel (state D) on a filesystem that hangs. Here one that is frozen
//! with fsfreeze(8): whoever writes there sleeps until it is thawed, killed or not.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use distccd_worker::config::IsolationWish;
use kit::*;
use proto::v1::worker_order::Message as Order;
use proto::v1::{self, FailureKind};
use story::*;

/// A filesystem that can be frozen, in the mount of a story.
struct Freezer {
    on: PathBuf,
    is_frozen: bool,
    _image: tempfile::NamedTempFile,
}

impl Freezer {
    /// `None` where this machine lets us have none.
    fn mounted_on(on: &Path) -> Option<Self> {
        if us() != 0 || !Path::new("/dev/loop-control").exists() {
            println!("not told: it takes root and a loop device to freeze a filesystem");
            return None;
        }
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(16 << 20).unwrap();
        run("mkfs.ext4", &["-q", &image.path().display().to_string()]);
        run("mount", &["-o", "loop", &image.path().display().to_string(), &on.display().to_string()]);
        Some(Self { on: on.to_owned(), is_frozen: false, _image: image })
    }

    fn freeze(&mut self) {
        run("fsfreeze", &["--freeze", &self.on.display().to_string()]);
        self.is_frozen = true;
    }

    fn thaw(&mut self) {
        run("fsfreeze", &["--unfreeze", &self.on.display().to_string()]);
        self.is_frozen = false;
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if self.is_frozen {
            self.thaw();
        }
        let _ = Command::new("umount").arg("--lazy").arg(&self.on).status();
    }
}

fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status();
    assert!(status.unwrap().success(), "{program} {words:?}");
}

/// Stops itself before it writes, and goes on at SIGCONT; it can be told from another story's.
fn script(story: &str) -> String {
    format!("kill -STOP $$; echo late > out # {story} {}", std::process::id())
}

/// Waits until a process is in a state of proc(5).
async fn until(state: char, pid: i32) {
    eventually("the state of a process", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state))
    })
    .await;
}

/// The process of a [`script`], which has stopped itself.
async fn stopped(script: &str) -> i32 {
    let mut found = None;
    eventually("the command", || {
        found = who_says(script).first().copied();
        found.is_some()
    })
    .await;
    let pid = found.unwrap();
    until('T', pid).await;
    pid
}

fn go_on(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
}

/// A worker of two slots whose attempts work as wished on a mount that can be frozen, under a lease of that length.
async fn story_on_ice(isolation: IsolationWish, lease: Duration) -> Option<(Story, Freezer)> {
    let mount = tempfile::tempdir().unwrap();
    let freezer = Freezer::mounted_on(mount.path())?;
    let mut server = Server::start().await;
    let worker = Worker::start(&server, |config| {
        (config.slots, config.isolation) = (2, isolation);
        config.mounts = vec![mount.path().to_owned()];
        config.kill_grace = Duration::from_millis(100);
    });
    let mut session = server.attached().await;
    session.welcome(lease, Duration::from_millis(50)).await;
    Some((Story { mount, session, worker, server }, freezer))
}

#[tokio::test]
async fn what_survives_sigkill_costs_its_slot_until_it_is_gone_and_the_worker_goes_on() {
    let Some((mut story, mut freezer)) = story_on_ice(IsolationWish::Off, FOREVER).await else { return };
    assert_eq!((story.session.register.slots, story.session.register.lost_slots), (2, 0));
    let script = script("in place");
    let stuck = job(1, shell(&script, story.mount.path()));
    let attempt = stuck.attempt.clone().unwrap();
    story.session.assign(vec![stuck]).await;
    let pid = stopped(&script).await;

    freezer.freeze();
    go_on(pid);
    until('D', pid).await;
    story.session.order(Order::Cancel(list(&attempt))).await;
    let ended_before = story.session.finished_here(&attempt).await;
    assert!(runs(pid), "it was killed, and sleeps on");

    // What it has is said anew, at once: the result comes before that, or else after it.
    let mut session = story.server.registered().await;
    let ended = match ended_before {
        Some(ended) => ended,
        None => session.finished(&attempt).await,
    };
    assert_eq!(ended.failure().0, FailureKind::Cancelled);
    assert_eq!((session.register.slots, session.register.lost_slots, session.register.draining), (1, 1, false));
    session.acknowledge(&attempt).await;
    assert_eq!(session.run(shell("exit 7", Path::new("/"))).await.code(), 7, "the worker goes on beside it");

    freezer.thaw();
    let session = story.server.registered().await;
    assert_eq!((session.register.slots, session.register.lost_slots), (2, 0));
    assert!(!runs(pid));
}

#[tokio::test]
async fn one_that_hangs_while_it_publishes_has_published_nothing_when_its_lease_is_over() {
    let Some((mut story, mut freezer)) = story_on_ice(IsolationWish::Overlay, Duration::from_secs(2)).await else {
        return;
    };
    let script = script("isolated");
    story.session.assign(vec![job(1, shell(&script, story.mount.path()))]).await;
    let pid = stopped(&script).await;
    let keeper = ancestor(pid, "distccd-keeper");

    freezer.freeze();
    go_on(pid);
    until('D', keeper).await;
    story.session.answers = false;
    // Its lease runs out, and it is left.
    while story.session.next().await.is_some() {}
    let mut session = story.server.registered().await;
    assert_eq!(session.register.holding, Vec::<v1::AttemptRef>::new());
    assert_eq!(session.run(shell("exit 7", Path::new("/"))).await.code(), 7, "the worker goes on beside it");

    freezer.thaw();
    eventually("the end of the keeper", || !runs(keeper)).await;
    assert_eq!(story.names(), ["lost+found"], "nothing of it was published, and nothing left");
}
