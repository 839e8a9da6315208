//! A job that is at a worker and goes on when the story says so: the beginning of most stories of what befalls one.

use std::path::PathBuf;
use std::process::Child;

use crate::cluster::Cluster;
use crate::daemon::wait_for_child;
use crate::gate::Gate;
use crate::run::{run, start};

/// `gcc -c a.c -o a.o` in a directory on the mount, by a compiler that runs and waits behind its gate.
pub struct HeldJob {
    /// With `a.c` in it.
    pub dir: PathBuf,
    /// Of its compiler.
    pub gate: Gate,
    /// That waits for it.
    pub launcher: Child,
    /// The process that compiles.
    pub compiler: u32,
    /// The last one to go.
    pub cluster: Cluster,
}

impl HeldJob {
    /// Starts it, and returns when its compiler runs.
    #[must_use]
    pub fn start(cluster: Cluster) -> Self {
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.c"), "int answer(void) { return 42; }\n").unwrap();
        let gate = Gate::new(&dir);
        let launcher = start(cluster.launcher(&dir).arg(gate.compiler()).args(["-c", "a.c", "-o", "a.o"]));
        let compiler = gate.wait_running(1)[0];
        Self { dir, gate, launcher, compiler, cluster }
    }

    /// Lets it go on to its end, which has to be a good one and leave what the compiler leaves without anybody between.
    /// What the launchers noted.
    #[must_use]
    pub fn finish(&mut self) -> String {
        self.gate.open();
        assert!(wait_for_child(&mut self.launcher, "the launcher").success());
        let mut direct = self.cluster.command("gcc");
        assert_eq!(run(direct.current_dir(&self.dir).args(["-c", "a.c", "-o", "direct.o"])).exit, 0);
        let read = |name: &str| std::fs::read(self.dir.join(name)).unwrap();
        assert!(read("a.o") == read("direct.o"));
        self.cluster.take_notes()
    }

    /// The same for one that took place at this worker.
    pub fn finish_at(&mut self, worker: &str) {
        let notes = self.finish();
        assert!(notes.contains(&format!("ran on {worker}")), "{notes}");
    }
}
