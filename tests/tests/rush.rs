//! `-j400`, and the cluster dies: the machine where the build runs stays usable, and what comes when the cluster is back goes
//! there.

use std::process::{Child, Command};

use e2e::cluster::Cluster;
use e2e::daemon::{PATIENCE, eventually, within};
use e2e::gate::write_executable;
use e2e::run::run;

const JOBS: usize = 400;
const LOCAL_SLOTS: usize = 2;

/// A launcher of one job, which may run here beside one other.
fn launcher(cluster: &Cluster, name: &str) -> Command {
    let mut command = cluster.launcher(&cluster.dir("build"));
    command.arg(format!("--local-slots={LOCAL_SLOTS}")).args(["./gcc", "-c", "a.c", "-o", name]);
    command
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// The most that ran at a time, by what each wrote down at its begin and end.
fn peak(diary: &str) -> usize {
    let mut running = 0_usize;
    let count = |line: &str| {
        running = if line == "begin" { running + 1 } else { running - 1 };
        running
    };
    diary.lines().map(count).max().unwrap_or(0)
}

fn still_running(launchers: &mut [Child]) -> usize {
    launchers.iter_mut().filter_map(|launcher| launcher.try_wait().unwrap().is_none().then_some(())).count()
}

#[test]
fn four_hundred_jobs_of_a_cluster_that_dies_run_here_a_few_at_a_time_and_later_ones_where_it_is_back() {
    let mut cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.dir("build");
    std::fs::write(dir.join("a.c"), "int a;\n").unwrap();
    // An isolated attempt has another /tmp than this one: what is written down are the runs here.
    let diary = cluster.private_dir().join("diary");
    std::fs::write(&diary, "").unwrap();
    let note = |word: &str| format!("if [ -e '{0}' ]; then echo {word} >> '{0}'; fi\n", diary.display());
    let script = format!("#!/bin/sh\n{}sleep 0.05\necho made > \"$4\"\n{}", note("begin"), note("end"));
    write_executable(&dir.join("gcc"), &script);
    let mut launchers: Vec<Child> = (0..JOBS).map(|n| launcher(&cluster, &format!("{n}.o")).spawn().unwrap()).collect();
    eventually("a job at the cluster", || cluster.notes().contains("ran on ash").then_some(()));

    cluster.server_mut().crash();
    cluster.worker("ash").crash();
    eventually("runs here", || (std::fs::read_to_string(&diary).unwrap().lines().count() > 4).then_some(()));
    let memory: usize = launchers.iter().map(|launcher| resident(launcher.id())).sum();
    let waiting = still_running(&mut launchers);
    println!("{waiting} launchers wait, with {} KiB of memory each", memory / waiting.max(1));

    cluster.start_server();
    cluster.start_worker("ash", &["--max-jobs=2"]);
    let _ = cluster.take_notes();
    eventually("a new job at the cluster", || {
        assert_eq!(run(&mut launcher(&cluster, "new.o")).exit, 0);
        cluster.notes().contains("ran on ash").then_some(())
    });
    println!("{} of the old ones still wait when a new one has run at the cluster", still_running(&mut launchers));
    within(PATIENCE * 2, "the end of all", || (still_running(&mut launchers) == 0).then_some(()));

    for (n, launcher) in launchers.iter_mut().enumerate() {
        assert!(launcher.wait().unwrap().success(), "job {n}");
        assert_eq!(std::fs::read_to_string(dir.join(format!("{n}.o"))).unwrap(), "made\n");
    }
    let peak = peak(&std::fs::read_to_string(&diary).unwrap());
    println!("of {JOBS} jobs at most {peak} ran here at a time");
    assert!((1..=LOCAL_SLOTS).contains(&peak), "{peak} ran here at a time");
}
