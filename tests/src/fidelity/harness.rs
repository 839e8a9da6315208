//! Runs cases: each on a fresh copy, direct and then through the launcher, in the same path.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::case::{Case, Place, placed};
use super::material;
use super::observation::Observation;
use super::report::{Report, Verdict};
use crate::binaries;
use crate::cluster::Cluster;

/// How many cases run at a time. Each lane has directories of its own, so no case sees another one's files.
const LANES: usize = 2;

/// A cluster, and what stands in front of the commands.
pub struct Harness {
    cluster: Cluster,
    wrapper: Option<PathBuf>,
}

impl Harness {
    /// Through the launchers, to a cluster of one worker.
    #[must_use]
    pub fn new() -> Self {
        Self::with("auto")
    }

    /// The same with a worker whose setting `isolation` is this.
    #[must_use]
    pub fn with(isolation: &str) -> Self {
        let mut cluster = Cluster::start(&[]);
        cluster.start_worker("ash", &[&format!("--max-jobs={LANES}"), &format!("--isolation={isolation}")]);
        // Other users must get at the mount, and at the launchers wherever they were built.
        let tools = cluster.dir("tools");
        for name in ["cc-launcher", "ld-launcher"] {
            std::fs::copy(binaries::path(name), tools.join(name)).unwrap();
        }
        let root = cluster.mount().parent().unwrap().to_owned();
        for dir in [&root, &cluster.mount(), &tools] {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { cluster, wrapper: None }
    }

    /// Through another command, which gets the case's words as its arguments; where they run is not looked at.
    #[must_use]
    pub fn through(wrapper: &Path) -> Self {
        Self { cluster: Cluster::without_server(), wrapper: Some(wrapper.to_owned()) }
    }

    /// Runs them all.
    #[must_use]
    pub fn run(&self, cases: &[Case]) -> Report {
        let next = AtomicUsize::new(0);
        let verdicts = Mutex::new(Vec::with_capacity(cases.len()));
        std::thread::scope(|scope| {
            for number in 0..LANES {
                let (next, verdicts) = (&next, &verdicts);
                scope.spawn(move || {
                    let lane = Lane::new(self, number);
                    while let Some((index, case)) = at(cases, next.fetch_add(1, Ordering::Relaxed)) {
                        let verdict = lane.judge(case);
                        verdicts.lock().unwrap().push((index, verdict));
                    }
                });
            }
        });
        let mut verdicts = verdicts.into_inner().unwrap();
        verdicts.sort_by_key(|(index, _)| *index);
        Report { verdicts: verdicts.into_iter().map(|(_, verdict)| verdict).collect() }
    }
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

fn at(cases: &[Case], index: usize) -> Option<(usize, &Case)> {
    cases.get(index).map(|case| (index, case))
}

/// A place where one case runs at a time.
struct Lane<'a> {
    harness: &'a Harness,
    dir: PathBuf,
    private: PathBuf,
    log: PathBuf,
}

impl<'a> Lane<'a> {
    fn new(harness: &'a Harness, number: usize) -> Self {
        let root = harness.cluster.mount().parent().unwrap().to_owned();
        Self {
            harness,
            dir: harness.cluster.mount().join(format!("lane{number}")),
            private: root.join(format!("private{number}")),
            log: root.join(format!("notes{number}.log")),
        }
    }

    fn judge(&self, case: &Case) -> Verdict {
        let start = Instant::now();
        let mut verdict = Verdict::new(case);
        // SAFETY: geteuid has no preconditions and cannot fail.
        if case.as_nobody && unsafe { libc::geteuid() } != 0 {
            verdict.skipped = Some("only root can become another user".to_owned());
            return verdict;
        }
        let copies = match self.prepare(case) {
            Ok(copies) => copies,
            Err(said) => {
                verdict.differences = vec![format!("its setup fails: {said}")];
                return verdict;
            }
        };
        let direct = Observation::of(case, self.direct(case), &self.dir, &self.private);
        self.replace(&copies);
        let through = Observation::of(case, self.through(case), &self.dir, &self.private);
        verdict.differences = direct.differences(&through);
        if self.harness.wrapper.is_none() {
            self.judge_place(case, &mut verdict);
        }
        verdict.took = start.elapsed();
        verdict
    }

    fn judge_place(&self, case: &Case, verdict: &mut Verdict) {
        verdict.notes = std::fs::read_to_string(&self.log).unwrap_or_default();
        let notes = &verdict.notes;
        let on_worker =
            notes.contains("ran on ") && !notes.contains("runs here") && !notes.contains("not at the cluster");
        verdict.on_worker = Some(on_worker);
        if on_worker != (case.place == Place::Worker) {
            verdict.differences.push(format!("should have run: {:?}; notes:\n{notes}", case.place));
        }
    }

    /// Makes the case's files, and copies of them for the second run.
    fn prepare(&self, case: &Case) -> Result<[(PathBuf, PathBuf); 2], String> {
        for dir in [&self.dir, &self.private] {
            remove(dir);
            std::fs::create_dir(dir).unwrap();
            if case.as_nobody {
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
            }
        }
        material::write(&self.dir);
        if !case.setup.is_empty() {
            let mut shell = self.environment(case, "sh");
            // What the case's environment does to a compiler must not be done to those of the setup.
            case.env.iter().for_each(|(name, _)| _ = shell.env_remove(name));
            shell.env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(&self.dir);
            let done = shell.arg("-ec").arg(self.placed(case.setup.as_bytes())).output().unwrap();
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).into_owned());
            }
        }
        Ok([&self.dir, &self.private].map(|dir| {
            let copy = dir.with_extension("copy");
            remove(&copy);
            let done = Command::new("cp").arg("--archive").arg(dir).arg(&copy).status().unwrap();
            assert!(done.success());
            (dir.clone(), copy)
        }))
    }

    fn replace(&self, copies: &[(PathBuf, PathBuf)]) {
        for (dir, copy) in copies {
            remove(dir);
            std::fs::rename(copy, dir).unwrap();
        }
        // Without notes of an earlier case there is no file. It is everybody's, because cases run as other users.
        let _ = std::fs::remove_file(&self.log);
        std::fs::write(&self.log, "").unwrap();
        std::fs::set_permissions(&self.log, std::fs::Permissions::from_mode(0o666)).unwrap();
    }

    fn direct(&self, case: &Case) -> Command {
        let mut command = self.environment(case, self.placed(case.argv[0].as_bytes()));
        command.args(case.argv[1..].iter().map(|word| self.placed(word.as_bytes())));
        command
    }

    fn through(&self, case: &Case) -> Command {
        let words = case.argv.iter().map(|word| self.placed(word.as_bytes()));
        let mut command = match &self.harness.wrapper {
            Some(wrapper) => self.environment(case, wrapper),
            None => {
                let cluster = &self.harness.cluster;
                let mut command = self.environment(case, cluster.mount().join("tools").join(launcher_of(case)));
                command.env("DISTCCD_SERVER_ADDR", cluster.address()).env("DISTCCD_FS_MOUNT", cluster.mount());
                command.env("DISTCCD_LOG_FILE", &self.log).arg("--");
                command
            }
        };
        command.args(words);
        command
    }

    /// The case's environment and working directory: the name that a shell would have for it included.
    fn environment(&self, case: &Case, program: impl AsRef<Path>) -> Command {
        let cwd = self.dir.join(case.below);
        let mut command = self.harness.cluster.command(program);
        command.current_dir(&cwd).env("PWD", self.dir.join(case.below).as_os_str());
        command.envs(case.env.iter().map(|(name, value)| (name, self.placed(value.as_bytes()))));
        command
    }

    fn placed(&self, text: &[u8]) -> std::ffi::OsString {
        placed(text, &self.dir, &self.private)
    }
}

/// What a build would put in front: one launcher for compilers, the other for what is no compiler.
fn launcher_of(case: &Case) -> &'static str {
    let words = case.argv.iter().map(|word| word.as_bytes());
    let links = words.clone().any(|word| word.ends_with(b".o")) && !words.clone().any(|word| word == b"-c");
    if links { "ld-launcher" } else { "cc-launcher" }
}

fn remove(dir: &Path) {
    // Files that nobody may write to are no obstacle to root; a test of another user has to open them first.
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        result => result.unwrap_or_else(|error| panic!("cannot remove {}: {error}", dir.display())),
    }
}
