//! Real builds under ninja: interrupted, mended, and robbed of their machines.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::daemon::wait_for_child;
use e2e::gate::{Gate, wait_gone};
use e2e::run::run;

/// A project of `count` sources and one program, and how ninja builds it with this compiler.
struct Project {
    dir: PathBuf,
    count: usize,
}

impl Project {
    fn new(dir: &Path, count: usize) -> Self {
        for n in 0..count {
            let text = format!("#include <vector>\nint f{n}() {{ return int(std::vector<int>({n}, 1).size()); }}\n");
            std::fs::write(dir.join(format!("f{n}.cpp")), text).unwrap();
        }
        std::fs::write(dir.join("main.cpp"), "int f0();\nint main() { return f0(); }\n").unwrap();
        Self { dir: dir.to_owned(), count }
    }

    /// Writes a `build.ninja` that calls `prefix compiler`.
    fn plan(&self, prefix: &str, compiler: &str) {
        let mut text = format!(
            "rule cc\n  command = {prefix} {compiler} -O1 -g -Wall -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n\
             rule ld\n  command = {prefix} g++ $in -o $out\n"
        );
        let mut objects = String::new();
        for name in (0..self.count).map(|n| format!("f{n}")).chain(["main".to_owned()]) {
            text += &format!("build {name}.o: cc {name}.cpp\n");
            objects += &format!(" {name}.o");
        }
        text += &format!("build prog: ld{objects}\n");
        std::fs::write(self.dir.join("build.ninja"), text).unwrap();
    }

    /// The bytes of all objects and of the program.
    fn products(&self) -> Vec<(String, Vec<u8>)> {
        let names = (0..self.count).map(|n| format!("f{n}.o")).chain(["main.o".to_owned(), "prog".to_owned()]);
        names.map(|name| (name.clone(), std::fs::read(self.dir.join(&name)).unwrap())).collect()
    }

    /// Builds directly, from nothing, and takes the products away again.
    fn built_directly(&self, cluster: &Cluster) -> Vec<(String, Vec<u8>)> {
        self.plan("", "g++");
        let seen = run(cluster.command("ninja").current_dir(&self.dir).arg("-j4"));
        assert_eq!(seen.exit, 0, "{seen:?}");
        let products = self.products();
        for (name, _) in &products {
            std::fs::remove_file(self.dir.join(name)).unwrap();
        }
        for state in [".ninja_log", ".ninja_deps"] {
            std::fs::remove_file(self.dir.join(state)).unwrap();
        }
        products
    }
}

fn launcher() -> String {
    format!("{} --", binaries::path("cc-launcher").display())
}

/// Starts ninja in a process group of its own, as a shell with job control does.
fn ninja(cluster: &Cluster, dir: &Path) -> Child {
    let environment = cluster.launcher(dir);
    let mut command = Command::new("ninja");
    command.arg("-j8").current_dir(dir).env_clear();
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().expect("ninja is installed")
}

fn gated(dir: &Path) -> (Gate, String) {
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let gate = Gate::new_for(&bin, "g++");
    let compiler = gate.compiler().display().to_string();
    (gate, compiler)
}

#[test]
fn after_ctrl_c_on_ninja_no_compiler_runs_anywhere() {
    let cluster = Cluster::start(&[("ash", 2), ("birch", 2)]);
    let dir = cluster.dir("build");
    let project = Project::new(&dir, 8);
    let (gate, compiler) = gated(&dir);
    project.plan(&launcher(), &compiler);
    let mut build = ninja(&cluster, &dir);
    let _ = gate.wait_running(4);

    let group = libc::pid_t::try_from(build.id()).unwrap();
    // SAFETY: a plain system call; the group is ninja's own.
    assert_eq!(unsafe { libc::killpg(group, libc::SIGINT) }, 0);

    let pids = gate.pids();
    pids.iter().for_each(|&pid| wait_gone(pid, Duration::from_secs(2)));
    assert!(!wait_for_child(&mut build, "ninja").success());
    // What was prefetched is not started afterwards.
    gate.pids().iter().for_each(|&pid| wait_gone(pid, Duration::from_secs(2)));
}

#[test]
fn a_build_that_loses_a_worker_is_the_same_build() {
    let mut cluster = Cluster::start(&[("ash", 2), ("birch", 2), ("cedar", 2)]);
    let dir = cluster.dir("build");
    let project = Project::new(&dir, 12);
    let expected = project.built_directly(&cluster);
    let (gate, compiler) = gated(&dir);
    project.plan(&launcher(), &compiler);
    let mut build = ninja(&cluster, &dir);
    let _ = gate.wait_running(6);

    cluster.worker("birch").crash();
    gate.open();

    assert!(wait_for_child(&mut build, "ninja").success());
    assert!(project.products() == expected, "the products differ");
}

#[test]
fn a_build_that_loses_the_server_for_a_while_is_the_same_build() {
    let mut cluster = Cluster::start(&[("ash", 2), ("birch", 2)]);
    let dir = cluster.dir("build");
    let project = Project::new(&dir, 12);
    let expected = project.built_directly(&cluster);
    let (gate, compiler) = gated(&dir);
    project.plan(&launcher(), &compiler);
    let mut build = ninja(&cluster, &dir);
    let _ = gate.wait_running(4);

    cluster.server_mut().crash();
    cluster.start_server();
    gate.open();

    assert!(wait_for_child(&mut build, "ninja").success());
    assert!(project.products() == expected, "the products differ");
}

#[test]
fn an_error_is_shown_as_the_compiler_shows_it_and_the_next_build_succeeds() {
    let cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.dir("build");
    let project = Project::new(&dir, 3);
    let build = |prefix: &str| {
        project.plan(prefix, "g++");
        let environment = cluster.launcher(&dir);
        let mut command = Command::new("ninja");
        command.args(["-j1", "-k0", "--quiet"]).current_dir(&dir).env_clear();
        command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(&mut command)
    };
    std::fs::write(dir.join("f1.cpp"), "int f1() { int unused; return \"x\" }\n").unwrap();

    let direct = build("");
    for name in ["f0.o", "f2.o", "main.o", ".ninja_log", ".ninja_deps"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    let launched = build(&launcher());
    let shown = |text: String| {
        text.lines()
            .filter(|line| !line.starts_with("FAILED") && !line.contains("-c f1.cpp"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    std::fs::write(dir.join("f1.cpp"), "int f1() { return 1; }\n").unwrap();
    let mended = build(&launcher());

    assert_eq!(shown(direct.out()), shown(launched.out()));
    assert!(launched.out().contains("error: "), "{launched:?}");
    assert_eq!((direct.exit, launched.exit, mended.exit), (1, 1, 0), "{mended:?}");
    assert!(dir.join("prog").exists());
}

#[test]
fn a_second_run_of_ninja_finds_nothing_to_do() {
    let cluster = Cluster::start(&[("ash", 2)]);
    let dir = cluster.dir("build");
    let project = Project::new(&dir, 4);
    project.plan(&launcher(), "g++");
    assert!(wait_for_child(&mut ninja(&cluster, &dir), "ninja").success());

    let again = run(cluster.command("ninja").current_dir(&dir));

    assert!(again.out().contains("no work to do"), "{again:?}");
}
