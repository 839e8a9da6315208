//! What an isolated command writes is nobody's until it has ended by itself, and then the shared mount's.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

mod kit;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use distccd_worker::config::{Config, IsolationWish};
use kit::*;
use proto::v1::worker_message::Message;
use proto::v1::worker_order::Message as Order;
use proto::v1::{self, FailureKind};

/// A worker that isolates, and the directory that plays its shared mount.
struct Story {
    mount: tempfile::TempDir,
    session: Session,
    _worker: Worker,
    _server: Server,
}

impl Story {
    async fn begin() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::leased(Duration::from_secs(60), change).await
    }

    async fn leased(lease: Duration, change: impl FnOnce(&mut Config)) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let mut server = Server::start().await;
        let worker = Worker::start(&server, |config| {
            config.mounts = vec![mount.path().to_owned()];
            config.isolation = IsolationWish::Overlay;
            config.kill_grace = Duration::from_millis(100);
            change(config);
        });
        let mut session = server.attached().await;
        session.welcome(lease, Duration::from_millis(50)).await;
        Self { mount, session, _worker: worker, _server: server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    async fn run(&mut self, script: &str) -> Ended {
        self.session.run(shell(script, self.mount.path())).await
    }

    /// Starts a script as attempt 1 and waits until it has printed something.
    async fn start(&mut self, script: &str) {
        let command = shell(script, self.mount.path());
        self.session.assign(vec![job(1, command)]).await;
        while !matches!(self.session.next().await, Some(Message::Output(_))) {}
    }

    async fn cancel(&mut self) {
        self.session.order(Order::Cancel(v1::Attempts { attempts: vec![attempt(1)] })).await;
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.mount.path()).unwrap().next().is_none()
    }
}

/// Whether a process with this word on its command line runs.
fn somebody_says(word: &str) -> bool {
    let said = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|other| other == word.as_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().any(said)
}

#[tokio::test]
async fn what_it_writes_appears_when_it_has_ended() {
    let mut story = Story::begin().await;
    // Rewritten in place, this is seen inside too; a file that was missing would stay so (filesystems.md section 6).
    story.write("gate", "shut\n");
    story
        .start("echo new > out; echo written; while read word < gate; [ \"$word\" != open ]; do sleep 0.01; done")
        .await;
    assert_eq!(story.read("out"), None);

    story.write("gate", "open\n");
    story.session.finished(&attempt(1)).await;

    assert_eq!(story.read("out").as_deref(), Some("new\n"));
}

#[tokio::test]
async fn what_others_have_put_where_its_directory_was_stays_and_somebody_else_has_to_decide() {
    let mut story = Story::begin().await;
    story.write("gate", "shut\n");
    fs::create_dir(story.path("od")).unwrap();
    story
        .start("echo new > od/x.o; echo written; while read word < gate; [ \"$word\" != open ]; do sleep 0.01; done")
        .await;

    fs::remove_dir(story.path("od")).unwrap();
    story.write("od", "precious\n");
    story.write("gate", "open\n");
    let (kind, said) = story.session.finished(&attempt(1)).await.failure();

    assert_eq!(kind, FailureKind::CommitFailed);
    assert!(said.contains("od: others have put a regular file there"), "{said}");
    assert_eq!(story.read("od").as_deref(), Some("precious\n"));
}

#[tokio::test]
async fn a_command_that_fails_by_itself_leaves_what_it_left_and_takes_what_it_took() {
    let mut story = Story::begin().await;
    story.write("old", "old");
    fs::create_dir(story.path("dir")).unwrap();
    story.write("dir/inner", "inner");

    let ended = story.run("echo side > side; rm old; rm -r dir; mkdir new; echo deep > new/deep; exit 3").await;

    assert_eq!(ended.code(), 3);
    assert_eq!((story.read("side").as_deref(), story.read("old")), (Some("side\n"), None));
    assert!(!story.path("dir").exists());
    assert_eq!(story.read("new/deep").as_deref(), Some("deep\n"));
}

#[tokio::test]
async fn all_that_it_wrote_and_removed_is_told_though_nobody_named_it() {
    let mut story = Story::begin().await;
    story.write("old", "old");
    fs::create_dir(story.path("dir")).unwrap();
    story.write("dir/inner", "inner");

    let ended = story.run("echo side > side; rm old; rm -r dir; mkdir new; echo deep > new/deep; rm -f never").await;

    let bytes = |name: &str| bytes::Bytes::from(story.path(name).into_os_string().into_encoded_bytes());
    let mut told: Vec<_> = ended.outcome().outputs.iter().map(|stamp| (stamp.path.clone(), stamp.inode)).collect();
    let inode = |name: &str| fs::metadata(story.path(name)).unwrap().ino();
    told.sort();
    assert_eq!(told, [(bytes("new/deep"), inode("new/deep")), (bytes("side"), inode("side"))]);
    let mut removed = ended.outcome().removed.clone();
    removed.sort();
    assert_eq!(removed, [bytes("dir"), bytes("old")]);
}

#[tokio::test]
async fn a_cancelled_command_leaves_nothing_even_one_that_is_deaf_to_term() {
    let mut story = Story::begin().await;
    story.start("trap '' TERM; echo half > out; echo written; while :; do sleep 1000; done").await;

    story.cancel().await;

    assert_eq!(story.session.finished(&attempt(1)).await.failure().0, FailureKind::Cancelled);
    assert!(story.is_empty());
}

#[tokio::test]
async fn a_command_killed_by_a_stranger_leaves_nothing() {
    let mut story = Story::begin().await;

    let killed = story.run("echo half > out; kill -KILL $$").await;

    assert_eq!(killed.failure().0, FailureKind::KilledByStranger);
    assert!(story.is_empty());
}

#[tokio::test]
async fn a_command_whose_lease_is_over_leaves_nothing_and_no_process() {
    let mut story = Story::leased(Duration::from_secs(2), |_| {}).await;
    story.session.answers = false;
    let word = format!("1000.{}", std::process::id());

    story.start(&format!("echo half > out; setsid sleep {word} & echo written; wait; echo more > out")).await;

    eventually("all of it is dead", || !somebody_says(&word)).await;
    assert!(story.is_empty());
}

#[tokio::test]
async fn daemons_end_with_the_command() {
    let mut story = Story::begin().await;
    let word = format!("2000.{}", std::process::id());

    let ended = story.run(&format!("setsid sleep {word} & setsid sh -c 'sleep {word}; true' & echo $$")).await;

    assert_eq!((ended.code(), ended.stdout.as_slice()), (0, &b"2\n"[..]), "it sees processes of its own only");
    assert!(!somebody_says(&word));
}

#[tokio::test]
async fn elsewhere_it_may_only_read_and_temporary_files_are_its_own() {
    let mut story = Story::begin().await;
    let name = story.mount.path().file_name().unwrap().to_str().unwrap().to_owned();
    let script = format!(
        "for dir in /tmp /var/tmp /dev/shm; do echo own > $dir/{name}.own && cat $dir/{name}.own; done; \
         echo stray > /{name}.stray"
    );

    let ended = story.run(&script).await;

    assert_eq!(ended.failure().0, FailureKind::Refused, "what may be right elsewhere is not an outcome here");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "own\nown\nown\n", "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("Read-only file system"), "{ended:?}");
    assert!(!Path::new("/").join(format!("{name}.stray")).exists());
    for dir in ["/tmp", "/var/tmp", "/dev/shm"] {
        assert!(!Path::new(dir).join(format!("{name}.own")).exists());
    }
}

#[tokio::test]
async fn one_who_fills_the_scratch_is_the_workers_failure_and_leaves_nothing() {
    let mut story = Story::with(|config| config.scratch_limit = 1 << 20).await;

    let (kind, detail) = story.run("head -c 4194304 /dev/zero > big").await.failure();
    assert_eq!(kind, FailureKind::NoSpace);
    assert!(detail.contains("scratch_limit"), "{detail}");
    let (kind, _) = story.run("head -c 4194304 /dev/zero > big || { rm big; exit 1; }").await.failure();
    assert_eq!(kind, FailureKind::NoSpace, "one who tidies up is known by what it says");

    assert!(story.is_empty());
}

#[tokio::test]
async fn one_who_makes_files_without_end_is_stopped() {
    let mut story = Story::begin().await;

    let (kind, detail) = story.run("seq 100000 | xargs touch").await.failure();

    assert_eq!(kind, FailureKind::NoSpace);
    assert!(detail.contains("50000 files"), "{detail}");
    assert!(story.is_empty());
}

#[tokio::test]
async fn what_is_written_into_existing_files_keeps_their_names_and_links() {
    let mut story = Story::begin().await;
    story.write("one", "1");
    fs::hard_link(story.path("one"), story.path("two")).unwrap();
    std::os::unix::fs::symlink("one", story.path("link")).unwrap();

    let ended = story.run("echo more >> link; mkfifo pipe; mv two three").await;

    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!((story.read("one").as_deref(), story.read("two")), (Some("1more\n"), None));
    assert!(fs::symlink_metadata(story.path("link")).unwrap().is_symlink());
    assert!(story.path("three").exists());
}

#[tokio::test]
async fn a_compiler_finds_its_way() {
    let mut story = Story::begin().await;
    story.write("a.c", "int main(void) { return 0; }\n");

    let ended = story.run("gcc -MMD -g -c a.c -o a.o && gcc a.o -o a && ./a && ar rcs liba.a a.o").await;

    assert_eq!(ended.code(), 0, "{ended:?}");
    for name in ["a.o", "a.d", "a", "liba.a"] {
        assert!(story.path(name).exists(), "{name}");
    }
    assert_eq!(fs::read_dir(story.mount.path()).unwrap().count(), 5);
}

#[tokio::test]
async fn a_root_worker_publishes_as_the_user() {
    if us() != 0 {
        return; // only root runs what belongs to others
    }
    let mut story = Story::begin().await;
    let nobody = 65534;
    std::os::unix::fs::chown(story.mount.path(), Some(nobody), Some(nobody)).unwrap();
    story.write("roots", "root's\n");
    fs::create_dir(story.path("shut")).unwrap();
    let mut asked = shell(
        "id -u; echo own > own; umask 077; mkdir private; echo deep > private/deep; \
         echo no >> roots || rm -f roots; echo no > shut/in",
        story.mount.path(),
    );
    asked.identity = Some(v1::Identity { uid: nobody, gid: nobody, groups: Vec::new() });

    let ended = story.session.run(asked).await;

    assert_ne!(ended.code(), 0, "root's directory is not the user's to write into");
    assert_eq!(ended.stdout, b"65534\n", "{ended:?}");
    let facts = |name: &str| {
        let facts = fs::symlink_metadata(story.path(name)).unwrap();
        (facts.uid(), facts.gid(), facts.mode() & 0o777)
    };
    assert_eq!(facts("own"), (nobody, nobody, 0o644));
    assert_eq!(facts("private"), (nobody, nobody, 0o700));
    assert_eq!(facts("private/deep"), (nobody, nobody, 0o600));
    assert!(!story.path("roots").exists() && !story.path("shut/in").exists());
}

#[tokio::test]
async fn root_publishes_into_directories_of_others() {
    if us() != 0 {
        return; // nobody else may
    }
    let mut story = Story::begin().await;
    let stranger = 12345;
    for name in ["theirs", "theirs/shut"] {
        fs::create_dir(story.path(name)).unwrap();
        std::os::unix::fs::chown(story.path(name), Some(stranger), Some(stranger)).unwrap();
    }
    fs::set_permissions(story.path("theirs/shut"), fs::Permissions::from_mode(0o555)).unwrap();

    let ended = story.run("echo roots > theirs/a.o; echo roots > theirs/shut/b.o").await;

    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!(story.read("theirs/a.o").as_deref(), Some("roots\n"));
    assert_eq!(story.read("theirs/shut/b.o").as_deref(), Some("roots\n"));
    assert_eq!(fs::metadata(story.path("theirs/a.o")).unwrap().uid(), 0);
}
