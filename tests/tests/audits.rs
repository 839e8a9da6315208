//! One job in so many is done twice, by two machines, and they had better agree.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use e2e::cluster::Cluster;
use e2e::run::run;

/// Every job is audited. The compiler of the mount knows a machine that gets it wrong: one that is nicer than we are.
struct Story {
    cluster: Cluster,
    dir: PathBuf,
}

impl Story {
    fn begin() -> Self {
        let mut cluster = Cluster::without_server();
        let file = cluster.private_dir().join("server.toml");
        std::fs::write(&file, "audit_rate = 1\n").unwrap();
        cluster.start_server_with(&[&format!("--config={}", file.display())]);
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.c"), "int answer(void) { return ANSWER; }\n").unwrap();
        let script = format!(
            "#!/bin/sh\nanswer=42\nif [ \"$(nice)\" != {} ]; then answer=41; fi\nexec gcc -DANSWER=$answer \"$@\"\n",
            niceness()
        );
        std::fs::write(dir.join("gcc"), script).unwrap();
        std::fs::set_permissions(dir.join("gcc"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { cluster, dir }
    }

    fn compile(&self, flags: &[&str]) {
        let mut launcher = self.cluster.launcher(&self.dir);
        let seen = run(launcher.arg(self.dir.join("gcc")).args(flags).args(["-c", "a.c", "-o", "a.o"]));
        assert_eq!((seen.exit, seen.stderr.as_slice()), (0, b"".as_slice()), "{seen:?}");
        assert!(self.cluster.take_notes().contains("ran on"), "it was not given to a worker");
    }

    fn verdict(&self, said: &str) -> String {
        self.cluster.server().wait_for_line("verdict", |line| line.contains(said))
    }

    /// What an audit writes is not seen by anybody.
    fn assert_left_alone(&self) {
        let mut names: Vec<_> = std::fs::read_dir(&self.dir).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a.c", "a.o", "gcc"]);
    }
}

fn niceness() -> String {
    String::from_utf8(Command::new("nice").output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn two_workers_that_write_different_bytes_are_both_named_and_neither_is_benched() {
    let mut story = Story::begin();
    story.cluster.start_worker("ash", &["--max-jobs=1"]);
    story.cluster.start_worker_under(&["nice", "-n", "1"], "birch", &["--max-jobs=1"]);

    story.compile(&["-O1"]);
    let committed = std::fs::read(story.dir.join("a.o")).unwrap();

    let alarm = story.verdict("AUDIT");
    for named in ["ash", "birch", "a.o", "ERROR"] {
        assert!(alarm.contains(named), "{alarm}");
    }
    assert_eq!(std::fs::read(story.dir.join("a.o")).unwrap(), committed);
    story.assert_left_alone();
    story.compile(&["-O1"]);
}

#[test]
fn two_workers_that_write_the_same_bytes_are_no_news() {
    let mut story = Story::begin();
    story.cluster.start_worker("ash", &["--max-jobs=1"]);
    story.cluster.start_worker("birch", &["--max-jobs=1"]);

    story.compile(&["-O1"]);

    let _ = story.verdict("audit: the same bytes");
    story.assert_left_alone();
}

#[test]
fn a_compiler_that_never_writes_the_same_bytes_accuses_nobody() {
    let mut story = Story::begin();
    story.cluster.start_worker("ash", &["--max-jobs=1"]);
    story.cluster.start_worker("birch", &["--max-jobs=1"]);

    story.compile(&["-flto"]);

    let verdict = story.verdict("audit: ");
    assert!(verdict.contains("does not write the same bytes twice") && verdict.contains("a.o"), "{verdict}");
    story.assert_left_alone();
}
