//! Control groups of attempts: where this machine lets the worker make some.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use distccd_worker::Exit;
use distccd_worker::config::{CgroupsWish, IsolationWish};
use kit::*;
use proto::v1::FailureKind;
use proto::v1::worker_message::Message;
use story::*;

/// What `--probe` says of this machine.
fn probed() -> String {
    let mut probe = Command::new(env!("CARGO_BIN_EXE_distccd-worker"));
    let said = probe.arg("--probe").arg("--fs-mount=/tmp").output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

/// Where the directories of workers are, if attempts get groups here.
fn parent() -> Option<PathBuf> {
    let said = probed();
    let line = said.lines().find_map(|line| line.split_once("each in one of its own below ")).map(|(_, path)| path);
    if line.is_none() {
        println!("not told: {said}");
    }
    Some(Path::new(line?).parent().unwrap().to_owned())
}

/// The group that a script says it lives in.
fn group_said(ended: &Ended) -> String {
    group_in(&ended.stdout)
}

fn group_in(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    line.rsplit_once("/distccd-attempts-").expect("a group of an attempt").1.to_owned()
}

#[tokio::test]
async fn each_attempt_lives_in_a_group_of_its_own_and_none_outlives_the_worker() {
    let Some(parent) = parent() else { return };
    for isolation in [IsolationWish::Overlay, IsolationWish::Off] {
        let mut story = Story::with(|config| config.isolation = isolation).await;
        let script = "grep ^0:: /proc/self/cgroup; while ! [ -e go ]; do sleep 0.01; done";
        let (one, other) =
            (job(1, shell(script, story.mount.path())), shell("cat /proc/self/cgroup", story.mount.path()));
        story.session.assign(vec![one]).await;
        let taken = loop {
            if let Some(Message::Output(chunk)) = story.session.next().await {
                break group_in(&chunk.data);
            }
        };

        // A group comes back when its keeper is gone, and that is not waited for.
        let mut seen = HashSet::new();
        let mut group = group_said(&story.run_command(other.clone()).await);
        while seen.insert(group.clone()) {
            assert!(seen.len() < 100, "groups are not used again");
            group = group_said(&story.run_command(other.clone()).await);
        }

        assert!(!seen.contains(&taken), "{taken} is taken");
        let (ours, number) = taken.split_once('/').unwrap();
        let dir = parent.join(format!("distccd-attempts-{ours}"));
        assert!(dir.join(number).is_dir());
        story.worker.stop.asked.cancel();
        story.worker.stop.insisted.cancel();
        assert_eq!(story.session.finished(&attempt(1)).await.failure().0, FailureKind::WorkerLost);
        story.session.acknowledge(&attempt(1)).await;
        drop(story.session);
        assert_eq!(story.worker.ended().await, Ok(Exit::Drained));
        eventually("the groups are removed", || !dir.exists()).await;
    }
}

#[tokio::test]
async fn what_an_attempt_left_behind_ends_though_its_keeper_was_killed() {
    if parent().is_none() {
        return;
    }
    let mut story = Story::in_place().await;
    let word = format!("6000.{}", std::process::id());
    story
        .start(&format!("setsid setsid sh -c 'setsid sleep {word} & exec sleep {word}' & echo said; sleep {word}"))
        .await;
    eventually("all are there", || who_says(&word).into_iter().filter(|pid| runs(*pid)).count() >= 3).await;

    kill(ancestor(who_says(&word)[0], "distccd-keeper"));

    let (kind, _) = story.session.finished(&attempt(1)).await.failure();
    assert_eq!(kind, FailureKind::KilledByStranger);
    eventually("nothing of it runs", || who_says(&word).into_iter().all(|pid| !runs(pid))).await;
    story.session.acknowledge(&attempt(1)).await;
    assert_eq!(story.run("true").await.code(), 0);
}

#[tokio::test]
async fn without_groups_it_works_too() {
    let mut story = Story::with(|config| config.cgroups = CgroupsWish::Off).await;

    let ended = story.run("cat /proc/self/cgroup; echo done > out").await;

    assert!(!String::from_utf8_lossy(&ended.stdout).contains("distccd-attempts-"));
    assert_eq!(story.read("out").as_deref(), Some("done\n"));
}
