//! Control groups of attempts: where this machine lets the worker make some.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Set inside the virtual machine.
const GUEST: &str = "DISTCCD_TEST_GUEST";

/// Tells one of these stories again in a virtual machine of user-mode Linux, a kernel that is a process, whose root is this
/// machine's own: there the memory controller is cgroup v2's, and ours to use.
fn tell_in_a_guest(story: &str) {
    if !rustix::process::geteuid().is_root() || Command::new("linux.uml").arg("--version").output().is_err() {
        println!("not told: that takes root and user-mode-linux");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let init = dir.path().join("init.sh");
    let script = "#!/bin/sh\nexport PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/mnt\n\
                  mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs mnt /mnt\n\
                  mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo +memory > /sys/fs/cgroup/cgroup.subtree_control\n\
                  mkdir -p /mnt/of/lib; ln -s /usr/lib/uml/modules /mnt/of/lib/modules; modprobe -d /mnt/of overlay\n\
                  ip link set lo up\n\"$TELLER\" --exact \"$STORY\" --nocapture\npoweroff -f\n";
    fs::write(&init, script).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let mut guest = Command::new("timeout");
    guest.args(["--signal=KILL", "300", "linux.uml", "umid=groups", "mem=512M", "root=/dev/root", "rootfstype=hostfs"]);
    guest.args(["rootflags=/", "rw", "con=null", "con0=null,fd:1", "quiet"]).stdin(Stdio::null());
    guest.arg(format!("uml_dir={}", dir.path().display())).arg(format!("init={}", init.display()));
    guest.arg(format!("TELLER={}", std::env::current_exe().unwrap().display()));
    guest.arg(format!("STORY={story}")).arg(format!("{GUEST}=1"));

    let seen = guest.output().unwrap();

    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(said.contains("test result: ok. 1 passed"), "{said}{}", String::from_utf8_lossy(&seen.stderr));
    println!("{said}");
}

#[tokio::test]
async fn one_that_wants_more_memory_than_it_may_have_is_out_of_memory_whatever_it_makes_of_that() {
    if std::env::var_os(GUEST).is_none() {
        return tell_in_a_guest(
            "one_that_wants_more_memory_than_it_may_have_is_out_of_memory_whatever_it_makes_of_that",
        );
    }
    const LIMIT: u64 = 64 << 20;
    for isolation in [IsolationWish::Overlay, IsolationWish::Off] {
        let mut story = Story::with(|config| {
            config.isolation = isolation;
            config.attempt_memory = Some(LIMIT);
        })
        .await;
        // A line without an end is kept whole by tail(1).
        let eat = |bytes: u32| format!("head -c {bytes} /dev/zero | tail | wc -c");

        // Somebody below dies, and the one above would make the best of it.
        let hungry = story.run(&format!("({}); echo late > late; exit 1", eat(400_000_000))).await;
        let modest = story.run(&format!("{}; cat /proc/self/cgroup; echo done > out", eat(10_000_000))).await;

        assert_eq!(hungry.failure().0, FailureKind::OutOfMemory);
        assert_eq!(modest.code(), 0, "{modest:?}");
        assert_eq!(story.names(), ["out"]);
        let peak = modest.outcome().usage.unwrap().peak_memory;
        println!("the modest one had {peak} bytes at the most, in {}", group_said(&modest));
        assert!((10_000_000..=LIMIT).contains(&peak), "{peak}");
    }
}

#[tokio::test]
async fn without_groups_it_works_too() {
    let mut story = Story::with(|config| config.cgroups = CgroupsWish::Off).await;

    let ended = story.run("cat /proc/self/cgroup; echo done > out").await;

    assert!(!String::from_utf8_lossy(&ended.stdout).contains("distccd-attempts-"));
    assert_eq!(story.read("out").as_deref(), Some("done\n"));
}
