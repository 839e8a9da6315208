//! A worker that cannot publish what a command wrote is no reason for a build to fail.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use e2e::cluster::Cluster;
use e2e::daemon::wait_for_child;
use e2e::run::run;

fn need_root() {
    // SAFETY: it cannot fail and touches nothing.
    assert_eq!(unsafe { libc::geteuid() }, 0, "this story needs root, as CI is");
}

struct Story {
    cluster: Cluster,
    dir: PathBuf,
}

impl Story {
    /// Workers on whose machines nothing more can be made on the mount: it lies there below an overlay that has no inode
    /// left. (That a mount is read-only a worker notices before it takes a job.)
    fn with_full(names: &[&str]) -> Self {
        need_root();
        let mut cluster = Cluster::without_server();
        cluster.start_server_with(&["--fleet-grace=10m"]);
        let mount = cluster.mount();
        let view = format!(
            "mount -t tmpfs -o nr_inodes=32 full /mnt && mkdir /mnt/upper /mnt/work && \
             mount -t overlay -o lowerdir={0},upperdir=/mnt/upper,workdir=/mnt/work full {0} && \
             (number=0; while mkdir /mnt/$number; do number=$((number + 1)); done) 2>/dev/null; exec \"$@\"",
            mount.display()
        );
        for name in names {
            let wrapper = ["unshare", "--mount", "--propagation=private", "sh", "-c", &view, "sh"];
            cluster.start_worker_under(&wrapper, name, &["--max-jobs=1"]);
        }
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
        Self { cluster, dir }
    }

    /// Compiles as a build does.
    fn compile(&self) -> Child {
        let mut launcher = self.cluster.launcher(&self.dir);
        launcher.args(["gcc", "-c", "a.c", "-o", "a.o"]).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Asserts that the build has what it has without anybody in between; gives what the launcher noted.
    fn assert_right(&self, mut launcher: Child) -> String {
        assert!(wait_for_child(&mut launcher, "the launcher").success());
        let elsewhere = self.cluster.private_dir().join("direct.o");
        let mut direct = self.cluster.command("gcc");
        assert_eq!(run(direct.current_dir(&self.dir).args(["-c", "a.c", "-o"]).arg(&elsewhere)).exit, 0);
        assert_eq!(std::fs::read(self.dir.join("a.o")).unwrap(), std::fs::read(elsewhere).unwrap());
        self.cluster.take_notes()
    }

    fn wait_for_failure_at(&mut self, name: &str) {
        let failed = |line: &str| line.contains("CommitFailed") && line.contains("No space left on device");
        let _ = self.cluster.worker(name).wait_for_line("the failure", failed);
    }
}

#[test]
fn a_mount_that_is_full_at_one_worker_costs_an_attempt() {
    let mut story = Story::with_full(&["ash"]);
    let launcher = story.compile();
    story.wait_for_failure_at("ash");

    story.cluster.start_worker("birch", &["--max-jobs=1"]);

    assert!(story.assert_right(launcher).contains("ran on birch"));
}

#[test]
fn what_two_workers_cannot_publish_runs_at_home_without_asking_a_third() {
    let mut story = Story::with_full(&["ash", "birch", "cedar"]);

    let notes = story.assert_right(story.compile());

    assert!(notes.contains("could not be published"), "{notes}");
    let mut failed = |name: &str| story.cluster.worker(name).log().contains("CommitFailed");
    assert_eq!(["ash", "birch", "cedar"].into_iter().filter(|name| failed(name)).count(), 2);
}
