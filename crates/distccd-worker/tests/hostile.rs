//! Commands that do what no compiler does: bounded, contained, said.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;
#[path = "kit/story.rs"]
mod story;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use kit::*;
use proto::v1::FailureKind;
use story::*;

fn mode(story: &Story, name: &str) -> u32 {
    fs::symlink_metadata(story.path(name)).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn one_that_keeps_writing_in_the_background_ends_with_its_leader() {
    let mut story = Story::isolated().await;
    let word = format!("4000.{}", std::process::id());
    let script = format!(
        "for n in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; echo {word} > late; sleep {word}; echo more > late' & done; \
         while ! [ -e late ]; do :; done; echo done > out"
    );

    let ended = story.run(&script).await;

    assert_eq!(ended.code(), 0);
    assert!(who_says(&word).into_iter().all(|pid| !runs(pid)));
    assert_eq!(story.read("late"), Some(format!("{word}\n")), "what was written by then is published, as it would be");
    assert_eq!(story.names(), ["late", "out"]);
}

#[tokio::test]
async fn one_whose_child_keeps_stdout_open_ends_all_the_same() {
    for mut story in [Story::isolated().await, Story::in_place().await] {
        let word = format!("5000.{}", std::process::id());

        let ended = story.run(&format!("echo said; setsid sleep {word} &")).await;

        assert_eq!((ended.code(), ended.stdout.as_slice()), (0, &b"said\n"[..]));
        assert!(who_says(&word).into_iter().all(|pid| !runs(pid)));
    }
}

#[tokio::test]
async fn one_that_prints_without_end_is_ended_and_the_reason_said() {
    let mut story = Story::with(|config| config.max_output = 4 << 20).await;

    let (kind, detail) = story.run("echo begun > out; yes >&2").await.failure();

    assert_eq!(kind, FailureKind::NoSpace);
    assert!(detail.contains("max_output"), "{detail}");
    assert!(story.names().is_empty());
}

#[tokio::test]
async fn odd_files_are_published_as_a_direct_run_leaves_them() {
    let mut story = Story::isolated().await;
    let script = "mkfifo -m 640 pipe; ln -s /etc/passwd link; truncate -s 1T sparse; echo s > set; chmod 4751 set; \
                  mkdir -p a/b; echo x > a/b/x; ln a/b/x a/y; chmod 000 a/b; mkdir -m 2775 group; mkdir -m 1777 sticky; \
                  echo n > 'new\nline'; printf '' > \"$(printf 'a\\377b')\"; rmdir sticky";

    let ended = story.run(script).await;

    assert_eq!(ended.code(), 0, "{}", String::from_utf8_lossy(&ended.stderr));
    let facts = |name: &str| fs::symlink_metadata(story.path(name)).unwrap();
    assert!(!story.path("pipe").exists(), "what only processes of one machine could use is not published");
    assert_eq!(fs::read_link(story.path("link")).unwrap().to_str(), Some("/etc/passwd"));
    assert_eq!((facts("sparse").len(), facts("sparse").blocks()), (1 << 40, 0));
    assert_eq!((mode(&story, "set"), mode(&story, "a/b"), mode(&story, "group")), (0o4751, 0, 0o2775));
    assert!(!story.path("sticky").exists());
    assert_eq!(story.read("a/y").as_deref(), Some("x\n"));
    assert_eq!(story.names().len(), 7, "{:?}", story.names());
    fs::set_permissions(story.path("a/b"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(story.read("a/b/x").as_deref(), Some("x\n"));
}

#[tokio::test]
async fn an_output_that_becomes_a_link_out_of_the_mount_harms_nobody_there() {
    let mut story = Story::isolated().await;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "theirs").unwrap();
    story.write("out", "before");

    let mut job = job(7, shell(&format!("rm out; ln -s {} out", secret.display()), story.mount.path()));
    job.outputs = vec![b"out".to_vec().into()];
    let attempt = job.attempt.clone().unwrap();
    story.session.assign(vec![job]).await;
    let ended = story.session.finished(&attempt).await;

    assert_eq!(ended.code(), 0);
    assert_eq!(fs::read_link(story.path("out")).unwrap(), secret);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "theirs");
}

#[tokio::test]
async fn directories_renamed_and_removed_under_it_are_as_a_direct_run_leaves_them() {
    let mut story = Story::isolated().await;
    fs::create_dir_all(story.path("old/deep")).unwrap();
    story.write("old/deep/file", "kept");
    story.write("old/other", "kept too");

    let ended = story.run("mv old new; mkdir gone; cd gone; rmdir ../gone; true").await;

    assert_eq!(ended.code(), 0, "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(story.names(), ["new"]);
    assert_eq!(
        (story.read("new/deep/file").as_deref(), story.read("new/other").as_deref()),
        (Some("kept"), Some("kept too"))
    );
}

#[tokio::test]
async fn a_tree_deeper_than_any_path_is_bounded() {
    let mut story = Story::isolated().await;

    let ended = story.run("n=0; while [ $n -lt 3000 ] && mkdir d && cd d; do n=$((n + 1)); done; echo $n").await;

    match ended.result {
        Some(proto::v1::attempt_result::Result::Failure(_)) => assert!(story.names().is_empty()),
        _ => assert_eq!(ended.code(), 0),
    }
    assert_eq!(story.run("true").await.code(), 0);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_the_filesystems() {
    let mut story = Story::isolated().await;
    let gone = story.path("gone");

    let (kind, detail) = story.run_command(shell("true", &gone)).await.failure();

    assert_eq!(kind, FailureKind::InputsNotVisible);
    assert!(detail.contains("gone"), "{detail}");
}

#[tokio::test]
async fn one_out_of_processes_and_descriptors_says_so_itself_and_the_worker_goes_on() {
    let mut story = Story::isolated().await;

    let ended = story.run("ulimit -n 3; cat < /dev/null; echo $?").await;
    let (kind, _) =
        story.run("echo 'gcc: fatal error: vfork: Resource temporarily unavailable' >&2; exit 1").await.failure();

    assert_eq!(ended.code(), 0);
    assert_eq!(kind, FailureKind::SpawnFailed);
    assert_eq!(story.run("true").await.code(), 0);
}

#[tokio::test]
async fn it_sees_and_signals_nobody_but_itself() {
    let mut story = Story::isolated().await;

    // The keeper is process 1 of its world; from inside nobody can end it.
    let ended = story.run("kill -KILL 1; kill -TERM 1; ls -d /proc/[0-9]* | wc -l; echo lives > out").await;

    assert_eq!(ended.code(), 0);
    assert_eq!(story.read("out").as_deref(), Some("lives\n"));
    let count: usize = String::from_utf8_lossy(&ended.stdout).trim().parse().unwrap();
    assert!(count <= 5, "{ended:?}");
}

#[tokio::test]
async fn names_that_are_no_text_and_ways_over_links_are_ways_like_others() {
    use std::os::unix::ffi::OsStrExt;
    let mut story = Story::isolated().await;
    let odd = story.mount.path().join(std::ffi::OsStr::from_bytes(b"d\xff\n,:=d"));
    fs::create_dir(&odd).unwrap();
    std::os::unix::fs::symlink(&odd, story.path("way")).unwrap();

    let direct = story.run_command(shell("echo 1 > one", &odd)).await;
    let linked = story.run_command(shell("echo 2 > two", &story.path("way"))).await;

    assert_eq!((direct.code(), linked.code()), (0, 0));
    assert_eq!(fs::read_to_string(odd.join("one")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(odd.join("two")).unwrap(), "2\n");
}

/// A directory on which something is mounted until this is dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(on: std::path::PathBuf) -> Self {
        fs::create_dir(&on).unwrap();
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&on).status();
        assert!(mount.unwrap().success());
        Self(on)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn what_is_mounted_below_a_mount_later_on_is_seen() {
    if !rustix::process::geteuid().is_root() {
        println!("not told: only root mounts");
        return;
    }
    let mut story = Story::isolated().await;
    assert_eq!(story.run("echo isolated > first").await.code(), 0);
    assert_eq!(story.session.in_place.len(), 0);
    let inner = Mounted::tmpfs(story.path("inner"));
    fs::write(inner.0.join("a.h"), "int a;\n").unwrap();

    let ended = story.run("cat inner/a.h > out").await;

    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!(story.read("out").as_deref(), Some("int a;\n"));
    assert_eq!(story.session.in_place.len(), 1, "the server is told that what it writes is seen at once");
}
