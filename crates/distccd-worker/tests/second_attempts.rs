//! An attempt that is second to another runs to its end, and then waits: it is seen and heard when it is permitted.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;

use std::fs;
use std::time::Duration;

use distccd_worker::Exit;
use distccd_worker::config::IsolationWish;
use kit::*;
use proto::v1::worker_message::Message;
use proto::v1::worker_order::Message as Order;
use proto::v1::{self, FailureKind};

struct Story {
    mount: tempfile::TempDir,
    session: Session,
    worker: Worker,
    _server: Server,
}

impl Story {
    async fn begin(wish: IsolationWish) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let mut server = Server::start().await;
        let worker = Worker::start(&server, |config| {
            config.mounts = vec![mount.path().to_owned()];
            config.isolation = wish;
            config.kill_grace = Duration::from_millis(100);
        });
        let session = server.registered().await;
        Self { mount, session, worker, _server: server }
    }

    async fn isolated() -> Self {
        Self::begin(IsolationWish::Overlay).await
    }

    /// Assigns attempt 1, which must not commit yet.
    async fn assign(&mut self, script: &str) {
        let second = v1::Assignment { when_permitted: true, ..job(1, shell(script, self.mount.path())) };
        self.session.assign(vec![second]).await;
    }

    /// Waits until attempt 1 says that it is ready; nothing of what it printed may come before.
    async fn ready(&mut self) {
        loop {
            match self.session.next().await.expect("the stream goes on") {
                Message::Ready(ready) => return assert_eq!(ready.attempts, [attempt(1)]),
                Message::Output(_) | Message::Results(_) => panic!("it was heard before it was permitted"),
                _ => {}
            }
        }
    }

    async fn permit(&mut self) {
        self.session.order(Order::PermitCommit(list(&attempt(1)))).await;
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.mount.path()).unwrap().next().is_none()
    }
}

#[tokio::test]
async fn it_commits_and_speaks_when_it_is_permitted() {
    let mut story = Story::isolated().await;
    assert!(story.session.register.isolates);

    story.assign("echo made > out; echo said").await;
    story.ready().await;
    assert!(story.is_empty());
    story.permit().await;
    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!((ended.code(), &ended.stdout[..]), (0, &b"said\n"[..]));
    assert_eq!(fs::read(story.mount.path().join("out")).unwrap(), b"made\n");
}

#[tokio::test]
async fn one_that_is_permitted_early_does_not_ask() {
    let mut story = Story::isolated().await;

    story.assign("echo made > out").await;
    story.permit().await;
    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!(ended.code(), 0);
    assert_eq!(fs::read(story.mount.path().join("out")).unwrap(), b"made\n");
}

#[tokio::test]
async fn a_compiler_that_fails_waits_as_well() {
    let mut story = Story::isolated().await;

    story.assign("echo wrong >&2; exit 3").await;
    story.ready().await;
    story.permit().await;
    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!((ended.code(), &ended.stderr[..]), (3, &b"wrong\n"[..]));
}

#[tokio::test]
async fn one_that_is_cancelled_leaves_nothing_and_says_nothing() {
    let mut story = Story::isolated().await;

    story.assign("echo made > out; echo said").await;
    story.ready().await;
    story.session.order(Order::Cancel(list(&attempt(1)))).await;
    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!(ended.failure().0, FailureKind::Cancelled);
    assert!(ended.stdout.is_empty() && story.is_empty());
}

#[tokio::test]
async fn a_new_stream_hears_that_it_waits() {
    let mut story = Story::isolated().await;
    story.assign("echo made > out").await;
    story.ready().await;

    let Story { mut session, _server: mut server, mount, worker } = story;
    drop(session);
    session = server.registered().await;

    assert_eq!(session.register.unpermitted, [attempt(1)]);
    let mut story = Story { session, _server: server, mount, worker };
    story.ready().await;
    story.permit().await;
    assert_eq!(story.session.finished(&attempt(1)).await.code(), 0);
}

#[tokio::test]
async fn a_worker_in_a_hurry_lets_it_go() {
    let mut story = Story::isolated().await;
    story.assign("echo made > out").await;
    story.ready().await;

    story.worker.stop.asked.cancel();
    story.worker.stop.insisted.cancel();

    assert_eq!(story.session.finished(&attempt(1)).await.failure().0, FailureKind::WorkerLost);
    assert!(story.is_empty());
    story.session.acknowledge(&attempt(1)).await;
    drop(story.session);
    assert_eq!(story.worker.ended().await, Ok(Exit::Drained));
}

#[tokio::test]
async fn a_worker_that_does_not_isolate_says_so_and_takes_none() {
    let mut story = Story::begin(IsolationWish::Off).await;
    assert!(!story.session.register.isolates);

    story.assign("echo made > out").await;
    let (kind, why) = story.session.finished(&attempt(1)).await.failure();

    assert_eq!(kind, FailureKind::Refused);
    assert!(why.contains("does not isolate") && story.is_empty(), "{why}");
}
