//! Where a worker cannot isolate, a plain compile is told other names for its outputs, and what it wrote there is
//! published when it has ended.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use distccd_worker::config::IsolationWish;
use kit::*;
use proto::v1;
use proto::v1::worker_message::Message;
use proto::v1::worker_order::Message as Order;
use story::Story;

async fn story() -> Story {
    Story::with(|config| config.isolation = IsolationWish::Redirect).await
}

/// A script that plays a compiler, as attempt 1: its `$1` is `a.o` and its `$2` `a.d`, or what it is told in their place.
fn compile(story: &Story, script: &str) -> v1::Assignment {
    let argv: [&[u8]; 6] = [b"sh", b"-c", script.as_bytes(), b"sh", b"a.o", b"a.d"];
    let outputs = ["a.o", "a.d"].map(|name| story.path(name).into_os_string().into_encoded_bytes().into());
    v1::Assignment {
        outputs: outputs.to_vec(),
        redirects: vec![4, 5],
        ..job(1, command("/bin/sh", &argv, story.mount.path()))
    }
}

async fn run(story: &mut Story, script: &str) -> Ended {
    let assigned = compile(story, script);
    story.session.assign(vec![assigned]).await;
    story.session.finished(&attempt(1)).await
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().flatten().map(name).collect();
    names.sort();
    names
}

fn read(story: &Story, name: &str) -> Option<String> {
    fs::read_to_string(story.path(name)).ok()
}

#[tokio::test]
async fn outputs_appear_when_the_command_has_ended() {
    let mut story = story().await;
    let script = "echo object > \"$1\"; echo \"$1\" > told; : > written; while ! test -e gate; do sleep 0.01; done";
    let assigned = compile(&story, script);
    story.session.assign(vec![assigned]).await;
    eventually("it has written", || story.path("written").exists()).await;
    assert_eq!(read(&story, "a.o"), None);
    let told = read(&story, "told").unwrap();

    story.write("gate", "");
    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!((ended.code(), read(&story, "a.o").as_deref()), (0, Some("object\n")));
    let facts = fs::metadata(story.path("a.o")).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.nlink(), facts.uid()), (0o644, 1, us()));
    assert_eq!(names(story.mount.path()), ["a.o", "gate", "told", "written"]);
    assert!(told.starts_with("/tmp/"), "{told}");
    // A worker says how a command ended before it tidies up behind it.
    eventually("the scratch is gone", || !Path::new(told.trim()).exists()).await;
}

#[tokio::test]
async fn a_cancelled_command_leaves_its_old_output_and_nothing_else() {
    let mut story = story().await;
    story.write("a.o", "old");
    let assigned = compile(&story, "echo \"$1\" > told; echo half > \"$1\"; echo written; sleep 1000");
    story.session.assign(vec![assigned]).await;
    while !matches!(story.session.next().await, Some(Message::Output(_))) {}

    story.session.order(Order::Cancel(v1::Attempts { attempts: vec![attempt(1)] })).await;
    story.session.finished(&attempt(1)).await;

    assert_eq!(read(&story, "a.o").as_deref(), Some("old"));
    let told = read(&story, "told").unwrap();
    eventually("the scratch is gone", || !Path::new(told.trim()).exists()).await;
}

#[tokio::test]
async fn what_a_compiler_does_to_old_outputs_happens_to_them() {
    let mut story = story().await;
    story.write("a.o", "old");
    story.write("a.d", "kept");
    let before = fs::metadata(story.path("a.d")).unwrap().ino();

    let ended = run(&mut story, "cat \"$1\" \"$2\"; rm \"$1\"; exit 1").await;

    assert_eq!((ended.code(), ended.stdout.as_slice()), (1, &b"oldkept"[..]));
    assert_eq!((read(&story, "a.o"), read(&story, "a.d").as_deref()), (None, Some("kept")));
    assert_eq!(fs::metadata(story.path("a.d")).unwrap().ino(), before);
}

#[tokio::test]
async fn files_that_a_new_one_must_not_replace_are_written_in_place() {
    let mut story = story().await;
    story.write("other", "old");
    fs::hard_link(story.path("other"), story.path("a.o")).unwrap();
    story.write("a.d", "old");
    fs::set_permissions(story.path("a.d"), fs::Permissions::from_mode(0o600)).unwrap();

    let ended = run(&mut story, "echo new > \"$1\"; echo new > \"$2\"; echo \"$1\"").await;

    assert_eq!(ended.stdout, b"a.o\n");
    assert_eq!(read(&story, "other").as_deref(), Some("new\n"));
    assert_eq!(fs::metadata(story.path("a.d")).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn words_that_do_not_name_the_outputs_are_not_touched() {
    let mut story = story().await;
    for wrong in [vec![4, 1], vec![4], vec![0, 5], vec![4, 4_000_000_000]] {
        let assigned = compile(&story, "echo \"$1 $2\"");
        story.session.assign(vec![v1::Assignment { redirects: wrong.clone(), ..assigned }]).await;
        let ended = story.session.finished(&attempt(1)).await;
        assert_eq!(ended.stdout, b"a.o a.d\n", "{wrong:?}");
        let received = v1::Attempts { attempts: vec![attempt(1)] };
        story.session.order(Order::ResultsReceived(received)).await;
    }
}

#[tokio::test]
async fn a_root_worker_publishes_them_as_the_user() {
    if us() != 0 {
        return; // only root runs what belongs to others
    }
    let mut story = story().await;
    let nobody = 65534;
    std::os::unix::fs::chown(story.mount.path(), Some(nobody), Some(nobody)).unwrap();
    let mut assigned = compile(&story, "id -u; echo own > \"$1\"");
    let command = assigned.command.as_mut().unwrap();
    command.identity = Some(v1::Identity { uid: nobody, gid: nobody, groups: Vec::new() });
    story.session.assign(vec![assigned]).await;

    let ended = story.session.finished(&attempt(1)).await;

    assert_eq!(ended.stdout, b"65534\n", "{ended:?}");
    assert_eq!(fs::metadata(story.path("a.o")).unwrap().uid(), nobody);
}

#[tokio::test]
async fn where_the_user_may_make_no_file_the_compiler_says_so() {
    if us() != 0 {
        return; // only root runs what belongs to others
    }
    let mut story = story().await;
    let nobody = 65534;
    let mut assigned = compile(&story, "echo own > \"$1\"");
    let command = assigned.command.as_mut().unwrap();
    command.identity = Some(v1::Identity { uid: nobody, gid: nobody, groups: Vec::new() });
    fs::set_permissions(story.mount.path(), fs::Permissions::from_mode(0o755)).unwrap();
    story.session.assign(vec![assigned]).await;

    let ended = story.session.finished(&attempt(1)).await;

    assert_ne!(ended.code(), 0);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("a.o") && said.contains("Permission denied"), "{said}");
}
