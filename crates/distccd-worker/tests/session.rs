//! The conversation with the server: registration, slots, leases, lost streams, recalls, cancellations.

mod kit;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use distccd_worker::{Error, Exit};
use kit::*;
use proto::v1::worker_message::Message;
use proto::v1::worker_order::Message as Order;
use proto::v1::{self, FailureKind};

/// Runs until somebody makes the file `go`.
fn until_go(dir: &Path) -> v1::Command {
    shell("echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done; echo went", dir)
}

#[tokio::test]
async fn a_worker_says_what_it_is() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |config| config.slots = 7);

    let session = server.registered().await;

    let register = &session.register;
    assert_eq!((register.name.as_str(), register.slots, register.linking), ("ash", 7, true));
    assert_eq!((register.any_user, register.uid), (us() == 0, us()));
    assert!(register.memory > 0 && register.cpus > 0 && register.holding.is_empty() && !register.draining);
    assert_eq!(register.mounts, ["/"]);
    let gcc = fs::canonicalize("/usr/bin/gcc").unwrap();
    let found = register.toolchains.iter().find(|tool| path(&tool.path) == gcc).expect("gcc is found");
    assert_eq!(found.size, fs::metadata(&gcc).unwrap().len());
    assert!(found.version.contains("gcc") && found.target.contains("linux"), "{found:?}");
}

#[tokio::test]
async fn heartbeats_carry_the_directories_touched_and_a_report_follows_the_welcome() {
    let (_server, _worker, mut session) = pair().await;
    while session.reports.is_empty() {
        session.run(shell("true", Path::new("/"))).await;
    }
    let mut warm = job(1, shell("true", Path::new("/")));
    warm.dirs = vec!["/out".into(), "/src".into()];

    session.assign(vec![warm]).await;
    session.finished(&attempt(1)).await;
    let stop = Instant::now() + FOREVER;
    while !session.heartbeats.iter().any(|heartbeat| heartbeat.dirs_touched == ["/src", "/out"]) {
        assert!(Instant::now() < stop, "{:?}", session.heartbeats);
        session.run(shell("true", Path::new("/"))).await;
    }

    assert!(session.reports.first().is_some_and(|report| report.dirs.is_empty()));
    assert!(session.heartbeats.iter().all(|heartbeat| heartbeat.memory_available > 0));
    assert_eq!(session.heartbeats[0].sequence, 1);
}

#[tokio::test]
async fn no_more_run_than_there_are_slots_and_in_the_order_of_assignment() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |config| config.slots = 1);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    let jobs = (1..=3).map(|number| job(number, shell(&format!("echo {number} >> order"), dir.path())));

    session.assign([job(9, until_go(dir.path()))].into_iter().chain(jobs).collect()).await;
    session.started(&attempt(9)).await;
    assert!(!dir.path().join("order").exists());
    fs::write(dir.path().join("go"), "").unwrap();
    for number in 1..=3 {
        assert_eq!(session.finished(&attempt(number)).await.code(), 0);
    }

    assert_eq!(fs::read_to_string(dir.path().join("order")).unwrap(), "1\n2\n3\n");
}

#[tokio::test]
async fn only_the_unstarted_can_be_recalled() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |config| config.slots = 1);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, until_go(dir.path())), job(2, shell("touch ran", dir.path()))]).await;
    session.started(&attempt(1)).await;

    let both = v1::Attempts { attempts: vec![attempt(1), attempt(2)] };
    session.order(Order::Recall(both)).await;
    assert_eq!(session.finished(&attempt(2)).await.failure().0, FailureKind::HandedBack);
    fs::write(dir.path().join("go"), "").unwrap();

    assert_eq!(session.finished(&attempt(1)).await.stdout, b"went\n");
    assert!(!dir.path().join("ran").exists());
}

#[tokio::test]
async fn a_cancelled_group_is_asked_and_then_killed_whole() {
    let mut server = Server::start().await;
    let grace = Duration::from_millis(300);
    let _worker = Worker::start(&server, |config| config.kill_grace = grace);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    // The child is deaf to TERM, and its parent notes it.
    let script = "trap 'echo asked' TERM; (trap '' TERM; echo $(exec sh -c 'echo $PPID') > pid; \
                  while :; do sleep 1000; done) & while :; do wait; done";
    session.assign(vec![job(1, shell(script, dir.path()))]).await;
    let child = pid_in(&dir.path().join("pid")).await;
    assert!(runs(child));

    let began = Instant::now();
    session.order(Order::Cancel(list(&attempt(1)))).await;
    let ended = session.finished(&attempt(1)).await;

    assert_eq!(ended.failure().0, FailureKind::Cancelled);
    assert_eq!(ended.stdout, b"asked\n");
    assert!(began.elapsed() >= grace && began.elapsed() < Duration::from_secs(20));
    eventually("the child is gone", || !runs(child)).await;
}

#[tokio::test]
async fn what_waits_is_forgotten_when_cancelled() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |config| config.slots = 1);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, until_go(dir.path())), job(2, shell("touch ran", dir.path()))]).await;

    session.order(Order::Cancel(list(&attempt(2)))).await;
    assert_eq!(session.finished(&attempt(2)).await.failure().0, FailureKind::Cancelled);

    fs::write(dir.path().join("go"), "").unwrap();
    session.finished(&attempt(1)).await;
    assert!(!dir.path().join("ran").exists());
}

#[tokio::test]
async fn a_lost_stream_loses_nothing() {
    let (mut server, _worker, mut session) = pair().await;
    let (ended_dir, running_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    session.assign(vec![job(1, shell("echo out; echo err >&2; exit 5", ended_dir.path()))]).await;
    session.assign(vec![job(2, shell("echo early; while [ ! -e go ]; do sleep 0.01; done", running_dir.path()))]).await;
    let before = session.finished(&attempt(1)).await;
    session.started(&attempt(2)).await;
    let incarnation = session.register.hello.as_ref().unwrap().incarnation.clone();

    drop(session); // without an acknowledgement
    let mut session = server.registered().await;

    assert_eq!(session.register.hello.as_ref().unwrap().incarnation, incarnation);
    assert_eq!(session.register.holding, [attempt(1), attempt(2)]);
    let again = session.finished(&attempt(1)).await;
    assert_eq!((again.code(), &again.stdout, &again.stderr), (5, &before.stdout, &before.stderr));

    session.acknowledge(&attempt(1)).await;
    drop(session);
    let mut session = server.registered().await;
    assert_eq!(session.register.holding, [attempt(2)]);
    fs::write(running_dir.path().join("go"), "").unwrap();
    let second = session.finished(&attempt(2)).await;
    assert_eq!((second.code(), &second.stdout[..]), (0, &b"early\n"[..]));
}

#[tokio::test]
async fn another_server_at_the_same_address_is_found() {
    let (server, _worker, session) = pair().await;
    let addr = server.addr;

    server.stop().await;
    drop(session);
    let mut server = Server::start_at(addr).await;

    let mut session = server.registered().await;
    assert_eq!(session.run(shell("true", Path::new("/"))).await.code(), 0);
}

#[tokio::test]
async fn attempts_die_when_the_lease_runs_out() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |_| {});
    let mut session = server.attached().await;
    session.answers = false; // heartbeats are lost on the way
    session.welcome(Duration::from_secs(2), Duration::from_millis(50)).await;
    let welcomed = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, until_go(dir.path()))]).await;
    let pid = pid_in(&dir.path().join("pid")).await;

    eventually("the attempt is dead", || !runs(pid)).await;

    assert!(welcomed.elapsed() > Duration::from_millis(1200), "{:?}", welcomed.elapsed());
    assert!(welcomed.elapsed() < Duration::from_secs(2), "before the server gives it away: {:?}", welcomed.elapsed());
    let session = server.registered().await;
    assert!(session.register.holding.is_empty());
}

#[tokio::test]
async fn an_acknowledged_heartbeat_renews_the_lease() {
    let mut server = Server::start().await;
    let _worker = Worker::start(&server, |_| {});
    let mut session = server.attached().await;
    session.welcome(Duration::from_secs(1), Duration::from_millis(50)).await;

    let ended = session.run(shell("sleep 2; echo alive", Path::new("/"))).await;

    assert_eq!(ended.stdout, b"alive\n");
}

#[tokio::test]
async fn a_server_of_another_major_version_ends_the_worker() {
    let mut server = Server::start().await;
    let worker = Worker::start(&server, |_| {});
    let mut session = server.attached().await;
    let mut hello = proto::version::hello("distccd-server 7.0.0", [1; 16], "test");
    hello.protocol = Some(v1::ProtocolVersion { major: 7, minor: 2 });
    let welcome = v1::Welcome {
        hello: Some(hello),
        worker_id: 1,
        lease_us: 1_000_000,
        heartbeat_us: 1_000_000,
        ..Default::default()
    };

    session.order(Order::Welcome(welcome)).await;

    let Err(Error::Refused(text)) = worker.ended().await else { panic!("not refused") };
    assert!(text.contains("7.2") && text.contains("speaks 1."), "{text}");
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_hands_back_the_rest() {
    let mut server = Server::start().await;
    let worker = Worker::start(&server, |config| config.slots = 1);
    let mut session = server.registered().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, until_go(dir.path())), job(2, shell("true", dir.path()))]).await;
    session.started(&attempt(1)).await;

    worker.stop.asked.cancel();
    assert!(matches!(session.next().await, Some(Message::Draining(_))));
    assert_eq!(session.finished(&attempt(2)).await.failure().0, FailureKind::HandedBack);
    session.assign(vec![job(3, shell("true", dir.path()))]).await;
    assert_eq!(session.finished(&attempt(3)).await.failure().0, FailureKind::HandedBack);
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(session.finished(&attempt(1)).await.stdout, b"went\n");
    for number in 1..=3 {
        session.acknowledge(&attempt(number)).await;
    }

    assert!(matches!(session.next().await, Some(Message::Goodbye(_))));
    assert!(session.next().await.is_none());
    drop(session);
    assert_eq!(worker.ended().await, Ok(Exit::Drained));
}

#[tokio::test]
async fn a_drain_in_a_hurry_kills_and_says_that_the_worker_is_lost() {
    let (_server, worker, mut session) = pair().await;
    let dir = tempfile::tempdir().unwrap();
    session.assign(vec![job(1, until_go(dir.path()))]).await;
    session.started(&attempt(1)).await;

    worker.stop.asked.cancel();
    worker.stop.insisted.cancel();

    assert_eq!(session.finished(&attempt(1)).await.failure().0, FailureKind::WorkerLost);
    session.acknowledge(&attempt(1)).await;
    drop(session);
    assert_eq!(worker.ended().await, Ok(Exit::Drained));
}

#[tokio::test]
async fn a_machine_that_is_not_ready_is_said_at_once() {
    let server = Server::start().await;
    let worker = Worker::start(&server, |config| config.mounts = vec!["/nonexistent".into(), "/etc/passwd".into()]);

    let Err(Error::Machine(problems)) = worker.ended().await else { panic!("started") };

    assert_eq!(problems.len(), 2, "{problems:?}");
}
