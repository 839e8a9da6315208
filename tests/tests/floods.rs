//! A compiler that prints without measure is passed on whole, and nobody on the way keeps it in memory.

use std::process::Stdio;

use e2e::cluster::Cluster;
use e2e::gate::write_executable;
use e2e::run::run;

/// What the compiler prints.
const PRINTED: usize = 128 << 20;
/// What anybody may hold of it.
const MAY_HOLD: usize = 30 << 20;

/// The most memory that a process ever had, in bytes.
fn peak_of(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn many_megabytes_on_stderr_arrive_and_are_held_in_memory_by_nobody() {
    let mut cluster = Cluster::start(&[("ash", 1)]);
    let worker = cluster.worker("ash").pid();
    let dir = cluster.dir("build");
    std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
    let line = "a.c:1:1: warning: this is said very often [-Wverbose]";
    let script = format!("#!/bin/sh\nyes '{line}' | head -c {PRINTED} >&2\nexec gcc \"$@\"\n");
    write_executable(&dir.join("gcc"), &script);
    let compile = |compiler: &str| {
        let mut launcher = cluster.launcher(&dir);
        launcher.arg(compiler).args(["-c", "a.c", "-o", "a.o"]).stdin(Stdio::null());
        run(&mut launcher)
    };
    assert_eq!(compile("gcc").exit, 0);
    let daemons = [cluster.server().pid(), worker];
    let before = daemons.map(peak_of);

    let seen = compile(dir.join("gcc").to_str().unwrap());

    assert_eq!((seen.exit, seen.stdout.len(), seen.stderr.len()), (0, 0, PRINTED));
    let expected = format!("{line}\n");
    let is_whole = seen.stderr.chunks(expected.len()).all(|said| expected.as_bytes().starts_with(said));
    assert!(is_whole, "something is missing or out of order");
    assert_eq!(cluster.take_notes().matches("ran on ash").count(), 2);
    for (pid, before) in daemons.into_iter().zip(before) {
        let grown = peak_of(pid) - before;
        println!("process {pid} grew by {} MiB from {}", grown >> 20, before >> 20);
        assert!(grown < MAY_HOLD, "process {pid} grew by {} MiB", grown >> 20);
    }
    let launcher = peak_of_children();
    println!("the launcher had {} MiB at the most", launcher >> 20);
    assert!(launcher < 2 * MAY_HOLD, "the launcher had {} MiB", launcher >> 20);
}

/// The most memory that a child of ours ever had which has ended: launchers, and before they were such this test.
fn peak_of_children() -> usize {
    // SAFETY: all zeroes is a value of it, and the call fills it in.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is live.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) }, 0);
    usize::try_from(usage.ru_maxrss).unwrap() << 10
}
