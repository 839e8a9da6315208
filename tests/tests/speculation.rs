//! A command that hangs or whose machine is gone is executed a second time elsewhere, and done once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use e2e::cluster::Cluster;
use e2e::daemon::{eventually, signal_process, wait_for_child};
use e2e::family::{children, name};
use e2e::gate::{Gate, wait_gone};
use e2e::run::run;

/// One worker, `ash`, and a compiler that has been seen there once, so that it is known how long it takes.
struct Story {
    cluster: Cluster,
    dir: PathBuf,
    gate: Gate,
}

impl Story {
    fn begin(settings: &str, ash: &[&str]) -> Self {
        let mut cluster = Cluster::without_server();
        let file = cluster.private_dir().join("server.toml");
        std::fs::write(&file, format!("speculation_after = '100ms'\n{settings}")).unwrap();
        cluster.start_server_with(&[&format!("--config={}", file.display())]);
        cluster.start_worker("ash", ash);
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
        let gate = Gate::new(&dir);
        let story = Self { cluster, dir, gate };
        story.see_once("a");
        story
    }

    /// Has the server learn how long it takes to make an object of this name.
    fn see_once(&self, name: &str) {
        self.gate.open();
        assert!(wait_for_child(&mut self.compile(name), "the launcher").success());
        self.gate.close();
        std::fs::remove_file(self.dir.join(name).with_extension("o")).unwrap();
        let _ = self.cluster.take_notes();
    }

    fn compile(&self, name: &str) -> Child {
        let mut launcher = self.cluster.launcher(&self.dir);
        launcher.arg(self.gate.compiler()).args(["-c", "a.c", "-o", &format!("{name}.o")]);
        launcher.stdin(Stdio::null()).spawn().unwrap()
    }

    /// Starts it on ash, where it waits, and then birch, where its second attempt does; both.
    fn hang(&mut self) -> (Child, u32, u32) {
        let launcher = self.compile("a");
        let first = self.gate.wait_running(2)[1];
        self.cluster.start_worker("birch", &["--max-jobs=1"]);
        let second = self.gate.wait_running(3)[2];
        (launcher, first, second)
    }

    /// What is on the mount beside what the story put there itself.
    fn made(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !["a.c", "gcc", "gcc.gate"].contains(&name.as_str()));
        names.sort_unstable();
        names
    }

    /// Asserts that the object is what the compiler makes of the source when nobody is between.
    fn assert_right(&self) {
        let elsewhere = self.cluster.private_dir().join("direct.o");
        let mut direct = self.cluster.command("gcc");
        let seen = run(direct.current_dir(&self.dir).args(["-c", "a.c", "-o"]).arg(&elsewhere));
        assert_eq!(seen.exit, 0, "{seen:?}");
        assert_eq!(std::fs::read(self.dir.join("a.o")).unwrap(), std::fs::read(elsewhere).unwrap());
        assert_eq!(self.made(), ["a.o"]);
    }
}

/// What changes when a file is written again.
fn identity(file: &Path) -> (u64, i64, i64) {
    let facts = std::fs::metadata(file).unwrap();
    (facts.ino(), facts.mtime(), facts.mtime_nsec())
}

#[test]
fn what_hangs_is_done_elsewhere_and_written_once() {
    let mut story = Story::begin("", &["--max-jobs=1"]);
    let (mut launcher, first, second) = story.hang();

    story.gate.open_for(second);

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    let written = identity(&story.dir.join("a.o"));
    assert!(story.cluster.take_notes().contains("ran on birch"));
    wait_gone(first, Duration::from_secs(10));
    let cancelled = |line: &str| line.contains("failed") && line.contains("Cancelled");
    let _ = story.cluster.worker("ash").wait_for_line("end of the attempt", cancelled);
    story.assert_right();
    assert_eq!(identity(&story.dir.join("a.o")), written);
}

#[test]
fn the_first_may_end_first_and_then_the_second_was_never_there() {
    let mut story = Story::begin("", &["--max-jobs=1"]);
    let (mut launcher, first, second) = story.hang();

    story.gate.open_for(first);

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    assert!(story.cluster.take_notes().contains("ran on ash"));
    wait_gone(second, Duration::from_secs(10));
    let cancelled = |line: &str| line.contains("failed") && line.contains("Cancelled");
    let _ = story.cluster.worker("birch").wait_for_line("end of the attempt", cancelled);
    story.assert_right();
}

/// How long the command of the measurement takes.
const LENGTH: Duration = Duration::from_secs(2);

/// From the moment when ash stands still until the launcher has its object.
fn standstill(speculation: bool) -> Duration {
    let mut story = Story::begin(&format!("speculation = {speculation}\nlease = '3s'\n"), &["--max-jobs=1"]);
    let mut launcher = story.compile("a");
    let first = story.gate.wait_running(2)[1];
    story.cluster.start_worker("birch", &["--max-jobs=1"]);
    if speculation {
        let _ = story.gate.wait_running(3);
    }

    story.cluster.worker("ash").signal(libc::SIGSTOP);
    let began = Instant::now();
    // It goes on, and nobody takes its word.
    story.gate.open_for(first);
    let second = story.gate.wait_running(3)[2];
    std::thread::sleep(LENGTH); // plays the compiler's work; nothing but the figure depends on it
    story.gate.open_for(second);

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    let took = began.elapsed();
    let written = identity(&story.dir.join("a.o"));
    assert!(story.cluster.take_notes().contains("ran on birch"));
    story.cluster.worker("ash").signal(libc::SIGCONT);
    wait_gone(first, Duration::from_secs(10));
    let _ = story.cluster.worker("ash").wait_for_line("end of the lease", |line| line.contains("the lease ran out"));
    story.assert_right();
    assert_eq!(identity(&story.dir.join("a.o")), written, "a worker that wakes up late writes nothing");
    took
}

#[test]
fn a_worker_that_stands_still_costs_no_more_than_its_lease() {
    let (without, with) = (standstill(false), standstill(true));

    println!(
        "from SIGSTOP to the object, lease 3 s, command {LENGTH:?}: {without:?} without speculation, {with:?} with"
    );
}

#[test]
fn one_whose_connection_breaks_gets_a_second_attempt_before_its_lease_is_over() {
    let mut story = Story::begin("speculation_factor = 1000000\nlease = '10s'\n", &["--max-jobs=1"]);
    let mut launcher = story.compile("a");
    let first = story.gate.wait_running(2)[1];
    story.cluster.start_worker("birch", &["--max-jobs=1"]);
    let began = Instant::now();

    // Nobody tells the server that the attempt is dead, and it is not.
    let spawner = spawner_of(story.cluster.worker("ash").pid());
    signal_process(spawner, libc::SIGSTOP);
    story.cluster.worker("ash").crash();
    let second = story.gate.wait_running(3)[2];
    story.gate.open_for(second);
    let running = began.elapsed();
    assert!(!story.cluster.server().log().contains("worker lost"), "it did not wait for the lease");

    assert!(wait_for_child(&mut launcher, "the launcher").success());
    println!("lease 10 s: second attempt runs after {running:?}, done after {:?}", began.elapsed());
    assert!(story.cluster.take_notes().contains("ran on birch"));
    wait_gone(first, Duration::from_secs(10));
    signal_process(spawner, libc::SIGCONT);
    story.assert_right();
}

/// The process that a worker starts its keepers from; it may have other children.
fn spawner_of(worker: u32) -> u32 {
    let spawner = children(worker).into_iter().find(|&child| name(child) == "distccd-spawner");
    spawner.expect("a worker has a spawner")
}

#[test]
fn an_archive_is_never_made_twice() {
    let mut story = Story::begin("", &["--max-jobs=2"]);
    let tools = story.cluster.dir("tools");
    let archiver = Gate::new_for(&tools, "ar");
    std::fs::write(story.dir.join("member"), "text").unwrap();
    let archive = || {
        let mut launcher = story.cluster.launcher(&story.dir);
        launcher.arg(archiver.compiler()).args(["rcD", "lib.a", "member"]).stdin(Stdio::null()).spawn().unwrap()
    };
    archiver.open();
    assert!(wait_for_child(&mut archive(), "the launcher").success());
    archiver.close();
    assert!(story.cluster.take_notes().contains("ran on ash"));
    let mut archiving = archive();
    let _ = archiver.wait_running(2);

    // This one is suspected later than the archive, and gets its second attempt.
    let mut compiling = story.compile("a");
    let _ = story.gate.wait_running(2);
    story.cluster.start_worker("birch", &["--max-jobs=2"]);
    let _ = story.gate.wait_running(3);

    assert_eq!(archiver.pids().len(), 2);
    story.gate.open();
    archiver.open();
    assert!(wait_for_child(&mut compiling, "the compiling launcher").success());
    assert!(wait_for_child(&mut archiving, "the archiving launcher").success());
    assert_eq!(archiver.pids().len(), 2);
}

#[test]
fn who_works_in_place_gets_and_makes_no_second_attempt() {
    let mut story = Story::begin("", &["--max-jobs=2", "--isolation=off"]);
    story.see_once("b");
    let mut in_place = story.compile("b");
    let _ = story.gate.wait_running(3);
    // Ash is full with something else while the other goes to birch.
    let filler = story.compile("filler");
    let filling = story.gate.wait_running(4)[3];
    story.cluster.start_worker("birch", &["--max-jobs=1"]);
    let mut isolated = story.compile("a");
    let on_birch = story.gate.wait_running(5)[4];
    story.gate.open_for(filling);
    let mut filler = filler;
    assert!(wait_for_child(&mut filler, "the filling launcher").success());

    // Ash has an idle slot and isolates nothing; what hangs on ash came first.
    story.cluster.start_worker("cedar", &["--max-jobs=1"]);
    let second = story.gate.wait_running(6)[5];
    story.gate.open_for(second);

    assert!(wait_for_child(&mut isolated, "the launcher of what birch runs").success());
    assert!(story.cluster.take_notes().contains("ran on cedar"));
    wait_gone(on_birch, Duration::from_secs(10));
    assert_eq!(story.gate.pids().len(), 6);
    story.gate.open();
    assert!(wait_for_child(&mut in_place, "the launcher of what ash runs").success());
    eventually("all objects", || (story.made() == ["a.o", "b.o", "filler.o"]).then_some(()));
}
