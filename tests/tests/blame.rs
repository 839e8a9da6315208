//! What a build sees of machines that fail its commands: nothing but the right result; and of commands that fail by
//! themselves: that, once. Each class of docs/failures.md that needs more than one machine, for real.

use std::path::{Path, PathBuf};

use e2e::cluster::Cluster;
use e2e::gate::write_executable;
use e2e::run::{Seen, run};

/// Ways in which a machine fails a command: what its failure is called, and what a compiler meets there.
const WAYS: [(&str, &str); 8] = [
    ("KilledByStranger", "kill -KILL $$"),
    ("KilledByStranger", "kill -BUS $$"),
    ("KilledByStranger", "kill -ILL $$"),
    ("KilledByStranger", "printf '#!/bin/sh\\nkill -KILL $$\\n' > /tmp/cc1; chmod +x /tmp/cc1; exec gcc -B/tmp \"$@\""),
    ("SpawnFailed", "PATH=/nonexistent exec /usr/bin/gcc \"$@\""),
    ("OutOfMemory", "ulimit -v 40000; exec gcc \"$@\""),
    ("NoSpace", "exec gcc \"$@\" -o /dev/full"),
    ("InputsNotVisible", "exec as /proc/self/mem -o /dev/null"),
];

/// How ash is told from other machines: by how nice it is, which is so much more than we are.
const NICER: i32 = 3;

fn niceness_of_ash() -> i32 {
    let ours = std::process::Command::new("nice").output().unwrap().stdout;
    String::from_utf8(ours).unwrap().trim().parse::<i32>().unwrap() + NICER
}

/// A cluster whose machine ash is not well.
fn cluster() -> Cluster {
    let mut cluster = Cluster::without_server();
    cluster.start_server();
    cluster.start_worker_under(&["nice", "-n", &NICER.to_string()], "ash", &["--max-jobs=4"]);
    cluster
}

/// A source, and a compiler on the mount that meets `trouble` on ash.
fn project(cluster: &Cluster, name: &str, trouble: &str) -> PathBuf {
    let dir = cluster.dir(name);
    std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
    let ash = niceness_of_ash();
    let script = format!("#!/bin/sh\nif [ \"$(nice)\" = {ash} ]; then\n{trouble}\nfi\nexec gcc \"$@\"\n");
    write_executable(&dir.join("gcc"), &script);
    dir
}

fn compile(cluster: &Cluster, dir: &Path) -> Seen {
    run(cluster.launcher(dir).args(["./gcc", "-c", "a.c", "-o", "a.o"]))
}

/// The object is the direct run's, and beside it lies what was there.
fn assert_built(cluster: &Cluster, dir: &Path, seen: &Seen, trouble: &str) {
    assert_eq!((seen.exit, seen.err(), seen.out()), (0, String::new(), String::new()), "{trouble}");
    let direct = cluster.private_dir().join("direct.o");
    let made = run(cluster.command("gcc").current_dir(dir).args(["-c", "a.c", "-o"]).arg(&direct));
    assert_eq!(made.exit, 0, "{made:?}");
    assert_eq!(std::fs::read(dir.join("a.o")).unwrap(), std::fs::read(&direct).unwrap(), "{trouble}");
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 3, "{trouble}");
}

/// The reason is in the log of the machine.
fn assert_failed(cluster: &mut Cluster, kind: &str, trouble: &str) {
    let said = cluster.worker("ash").wait_for_line("failure", |line| line.contains("failed attempt="));
    assert!(said.contains(&format!("kind={kind}")), "{trouble}: {said}");
}

#[test]
fn what_a_machine_fails_is_done_here_when_there_is_no_other() {
    for (kind, trouble) in WAYS {
        let mut cluster = cluster();
        let dir = project(&cluster, "build", trouble);

        let seen = compile(&cluster, &dir);

        assert_built(&cluster, &dir, &seen, trouble);
        assert_failed(&mut cluster, kind, trouble);
        let notes = cluster.take_notes();
        assert!(notes.contains("not at the cluster"), "{kind}, {trouble}: {notes}");
    }
}

#[test]
fn what_a_machine_fails_is_done_by_another() {
    for (kind, trouble) in WAYS {
        let mut cluster = cluster();
        cluster.start_worker("birch", &["--max-jobs=1"]);
        // More than birch can take at a time.
        let dirs: Vec<PathBuf> = (0..4).map(|number| project(&cluster, &number.to_string(), trouble)).collect();

        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let launchers: Vec<_> = dirs.iter().map(|dir| scope.spawn(|| compile(&cluster, dir))).collect();
            launchers.into_iter().map(|launcher| launcher.join().unwrap()).collect()
        });

        for (dir, seen) in dirs.iter().zip(&seen) {
            assert_built(&cluster, dir, seen, trouble);
        }
        assert_failed(&mut cluster, kind, trouble);
        assert!(cluster.take_notes().contains("ran on birch"));
    }
}

#[test]
fn what_fails_by_itself_is_said_once_and_not_repeated() {
    let mut cluster = cluster();
    cluster.start_worker("birch", &["--max-jobs=1"]);
    for (name, script, exit, words) in
        [("error", "#error no", 1, "#error no"), ("crash", "int a;", 4, "internal compiler error: Segmentation fault")]
    {
        let dir = cluster.dir(name);
        std::fs::write(dir.join("a.c"), format!("{script}\n")).unwrap();
        write_executable(&dir.join("cc1"), "#!/bin/sh\nkill -SEGV $$\n");
        let crash = if name == "crash" { "-B." } else { "-B/nonexistent" };
        write_executable(&dir.join("gcc"), &format!("#!/bin/sh\necho once >> runs\nexec gcc {crash} \"$@\"\n"));

        let seen = compile(&cluster, &dir);

        assert_eq!(seen.exit, exit, "{seen:?}");
        assert!(seen.err().contains(words), "{seen:?}");
        assert_eq!(std::fs::read_to_string(dir.join("runs")).unwrap(), "once\n");
        assert!(!dir.join("a.o").exists());
    }
}
