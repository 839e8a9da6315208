//! The zombie: a worker is stopped in the middle of an attempt, the job is done elsewhere, the source is edited and built
//! anew, and then the worker goes on. Nothing that it still does may change a file.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::cluster::Cluster;
use e2e::daemon::{eventually, signal_process, wait_for_child};
use e2e::family::{children, descendants, name};
use e2e::gate::{Gate, is_running};
use e2e::run::run;
use e2e::tracer::{Stand, Traced};

/// In so many places an attempt is stopped.
const POINTS: usize = 50;
/// Clusters beside each other: most of the time each waits for a lease to run out.
const LANES: usize = 5;
const WORKERS: [&str; 2] = ["ash", "birch"];

/// One cluster and the build in it.
struct Lane {
    cluster: Cluster,
    dir: PathBuf,
    gate: Gate,
    version: u32,
}

impl Lane {
    fn start() -> Self {
        let mut cluster = Cluster::without_server();
        // Short, for a zombie costs one; and longer than a loaded machine keeps a live worker from its turn.
        cluster.start_server_with(&["--lease=2s", "--heartbeat=400ms"]);
        for worker in WORKERS {
            cluster.start_worker(worker, &["--max-jobs=1"]);
        }
        let dir = cluster.dir("build");
        let gate = Gate::new(&cluster.dir("bin"));
        Self { cluster, dir, gate, version: 0 }
    }

    /// Writes another source, and says what is to come of it.
    fn edit(&mut self) -> Vec<u8> {
        self.version += 1;
        std::fs::write(self.dir.join("a.c"), format!("int answer(void) {{ return {}; }}\n", self.version)).unwrap();
        let object = self.cluster.private_dir().join("direct.o");
        let direct = run(self.cluster.command("gcc").current_dir(&self.dir).args(["-c", "a.c", "-o"]).arg(&object));
        assert_eq!(direct.exit, 0, "{direct:?}");
        std::fs::read(object).unwrap()
    }

    fn build(&self) -> Child {
        let mut launcher = self.cluster.launcher(&self.dir);
        launcher.arg("--fallback=never").arg(self.gate.compiler()).args(["-c", "a.c", "-o", "a.o"]);
        launcher.stdin(Stdio::null()).spawn().unwrap()
    }

    fn object(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("a.o")).unwrap()
    }

    /// Stops an attempt at its `point`-th stand from the moment at which its compiler goes on. False when it has fewer.
    fn meets_a_zombie(&mut self, point: usize) -> bool {
        let expected = self.edit();
        self.gate.close();
        let seen = self.gate.pids().len();
        let mut launcher = self.build();
        let compiler = self.gate.wait_running(seen + 1)[seen];
        let (host, spawner, keeper) = self.family_of(compiler);
        let worker = self.cluster.worker(host).pid();
        let lost = self.count("worker lost", host);
        let traced = Traced::seize(keeper).unwrap();
        self.gate.open();
        for _ in 0..point {
            if traced.step().unwrap() == Stand::Ended {
                assert!(wait_for_child(&mut launcher, "the launcher").success());
                return false;
            }
        }
        let frozen: Vec<u32> = [worker, spawner].into_iter().chain(descendants(keeper)).collect();
        frozen.iter().for_each(|&pid| signal_process(pid, libc::SIGSTOP));

        assert!(wait_for_child(&mut launcher, "the launcher").success(), "point {point}");
        assert!(self.object() == expected, "point {point}: the wrong object while the zombie was stopped");
        let expected = self.edit();
        assert!(wait_for_child(&mut self.build(), "the second launcher").success(), "point {point}");
        assert!(self.object() == expected, "point {point}: the wrong object after the edit");
        // One that was stopped behind its last word need not be missed yet.
        self.wait_for(lost + 1, "worker lost", host);
        let joined = self.count("worker joined", host);
        let before = facts(&self.dir);

        traced.release().unwrap();
        frozen.iter().rev().filter(|&&pid| is_running(pid)).for_each(|&pid| signal_process(pid, libc::SIGCONT));
        eventually("the end of the zombie", || (!is_running(keeper)).then_some(()));
        self.wait_for(joined + 1, "worker joined", host);
        assert_eq!(facts(&self.dir), before, "point {point}: the zombie has changed something");
        true
    }

    /// How often the server has said this of a worker.
    fn count(&self, what: &str, host: &str) -> usize {
        self.cluster.server().log().lines().filter(|line| is_about(line, what, host)).count()
    }

    fn wait_for(&self, count: usize, what: &str, host: &str) {
        let _ = self.cluster.server().wait_for_lines(what, count, |line| is_about(line, what, host));
    }

    /// The worker, its spawner and the keeper that a command descends from.
    fn family_of(&mut self, compiler: u32) -> (&'static str, u32, u32) {
        for worker in WORKERS {
            let daemon = self.cluster.worker(worker).pid();
            for spawner in children(daemon) {
                for keeper in children(spawner) {
                    if descendants(keeper).contains(&compiler) {
                        assert_eq!(name(keeper), "distccd-keeper");
                        return (worker, spawner, keeper);
                    }
                }
            }
        }
        panic!("no worker runs process {compiler}");
    }
}

fn is_about(line: &str, what: &str, host: &str) -> bool {
    line.contains(what) && line.contains(&format!("name=\"{host}\""))
}

/// All that can be seen of the files in a directory.
fn facts(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let about = |path: PathBuf| {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let content = std::fs::read(&path).unwrap();
        (path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), content))
    };
    entries.map(about).collect()
}

/// At how many places an attempt can be stopped.
fn stands() -> usize {
    let mut lane = Lane::start();
    let _ = lane.edit();
    let mut launcher = lane.build();
    let compiler = lane.gate.wait_running(1)[0];
    let (_, _, keeper) = lane.family_of(compiler);
    let traced = Traced::seize(keeper).unwrap();
    lane.gate.open();
    let count = (0..).take_while(|_| traced.step().unwrap() != Stand::Ended).count();
    assert!(wait_for_child(&mut launcher, "the launcher").success());
    count
}

#[test]
fn a_worker_that_was_stopped_anywhere_in_an_attempt_changes_no_file_when_it_goes_on() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 && !isolates_here() {
        println!("not told: attempts cannot be isolated here, and in place a zombie is held off by the lease alone");
        return;
    }
    let stands = stands();
    println!("an attempt can be stopped at {stands} places once its compiler goes on");
    let points: Vec<usize> = (0..POINTS).map(|point| 1 + point * stands / POINTS).collect();
    let met = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let points = points.iter().skip(lane).step_by(LANES);
                scope.spawn(move || {
                    let mut lane = Lane::start();
                    points.filter(|&&point| lane.meets_a_zombie(point)).count()
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum::<usize>()
    });
    println!("{met} zombies");
    // The last places may lie behind the end of an attempt that had less to do.
    assert!(met >= POINTS - POINTS / 10, "only {met} of {POINTS} attempts were still there to be stopped");
}

/// Whether the worker says that it can.
fn isolates_here() -> bool {
    let mount = tempfile::tempdir().unwrap();
    let mut probe = Command::new(e2e::binaries::path("distccd-worker"));
    let said = probe.arg("--probe").arg(format!("--fs-mount={}", mount.path().display())).output().unwrap();
    String::from_utf8_lossy(&said.stdout).contains("overlay")
}
