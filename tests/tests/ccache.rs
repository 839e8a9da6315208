//! The real ccache in front of us, behind us, and both as masquerades: what it has runs no job, what it has not
//! travels where it can, and the result is the compiler's either way.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::run::{Seen, run};

/// A compile with a warning, which ccache must keep as well.
const COMPILE: [&str; 7] = ["gcc", "-Wall", "-g", "-c", "a.c", "-o", "a.o"];

/// A cluster, a source, and a cache that is not on the mount.
struct Desk {
    cluster: Cluster,
    dir: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let cluster = Cluster::start(&[("ash", 1)]);
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.c"), "int f(void) { int unused; return 0; }\n").unwrap();
        Self { cluster, dir }
    }

    /// `argv` in the environment of a launcher, found on a PATH that begins with `first`.
    fn call(&self, first: &[&Path], argv: &[&str], settings: &[(&str, &str)]) -> Seen {
        let launcher = self.cluster.launcher(&self.dir);
        // env(1) looks for its program on the PATH that it is given.
        let mut command = Command::new("env");
        command.args(argv).current_dir(&self.dir).env_clear();
        command.envs(launcher.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = std::env::var_os("PATH").unwrap();
        let dirs = first.iter().map(|dir| dir.to_path_buf()).chain(std::env::split_paths(&path));
        // Debian's own masquerade, where a user has it on the PATH, would make another story of each.
        let dirs = dirs.filter(|dir| dir != Path::new("/usr/lib/ccache"));
        command.env("PATH", std::env::join_paths(dirs).unwrap());
        command.env("CCACHE_DIR", self.cluster.private_dir().join("cache"));
        run(command.envs(settings.iter().copied()))
    }

    /// What a call printed and made, and what the launchers noted; the object is removed.
    fn seen_by(&self, first: &[&Path], argv: &[&str], settings: &[(&str, &str)]) -> (Seen, Vec<u8>, String) {
        let seen = self.call(first, argv, settings);
        let object = self.dir.join("a.o");
        let bytes = std::fs::read(&object).unwrap_or_else(|error| panic!("no object ({error}): {seen:?}"));
        std::fs::remove_file(&object).unwrap();
        (seen, bytes, self.cluster.take_notes())
    }

    /// Runs `argv` twice after a direct run of the compiler; both must be the same as that. What was noted each time.
    fn twice(&self, first: &[&Path], argv: &[&str], settings: &[(&str, &str)]) -> [String; 2] {
        let (direct, expected, _) = self.seen_by(&[], &COMPILE, &[]);
        assert!(direct.exit == 0 && direct.err().contains("unused variable"), "{direct:?}");
        [(); 2].map(|()| {
            let (seen, bytes, notes) = self.seen_by(first, argv, settings);
            assert_eq!(seen, direct, "{argv:?}");
            assert!(bytes == expected, "{argv:?} made another object");
            notes
        })
    }

    /// How often ccache had, and had not, what was asked for.
    fn hits_and_misses(&self) -> (usize, usize) {
        let statistics = self.call(&[], &["ccache", "--print-stats"], &[]).out();
        let number = |name: &str| -> usize {
            let mut lines = statistics.lines().filter_map(|line| line.split_once('\t'));
            lines.find(|(key, _)| *key == name).map_or(0, |(_, value)| value.parse().unwrap())
        };
        (number("direct_cache_hit") + number("preprocessed_cache_hit"), number("cache_miss"))
    }

    /// A directory on the mount with one link, named like the compiler.
    fn masquerade(&self, name: &str, target: &Path) -> PathBuf {
        let links = self.cluster.dir(name);
        symlink(target, links.join("gcc")).unwrap();
        links
    }

    fn our_masquerade(&self) -> PathBuf {
        self.masquerade("ours", &binaries::path("cc-launcher"))
    }

    fn their_masquerade(&self) -> PathBuf {
        self.masquerade("theirs", &program("ccache"))
    }
}

/// A program of this machine, by its path.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| file.is_file());
    found.next().unwrap_or_else(|| panic!("this story needs {name}: cargo xtask test installs it"))
}

fn launcher() -> String {
    binaries::path("cc-launcher").display().to_string()
}

fn after<'a>(prefix: &[&'a str]) -> Vec<&'a str> {
    prefix.iter().chain(&COMPILE).copied().collect()
}

#[test]
fn behind_ccache_a_miss_travels_and_a_hit_is_no_job() {
    let desk = Desk::new();

    let [miss, hit] = desk.twice(&[], &after(&["ccache"]), &[("CCACHE_PREFIX", &launcher())]);

    assert_eq!(miss.matches("ran on ash (compile)").count(), 1, "{miss}");
    assert_eq!((hit.as_str(), desk.hits_and_misses()), ("", (1, 1)));
}

#[test]
fn behind_ccaches_masquerade_our_prefix_travels() {
    let desk = Desk::new();
    let theirs = desk.their_masquerade();

    let [miss, hit] = desk.twice(&[&theirs], &COMPILE, &[("CCACHE_PREFIX", &launcher())]);

    assert_eq!(miss.matches("ran on ash (compile)").count(), 1, "{miss}");
    assert_eq!((hit.as_str(), desk.hits_and_misses()), ("", (1, 1)));
}

#[test]
fn with_both_masquerades_ours_runs_what_theirs_has_not() {
    let desk = Desk::new();
    let (theirs, ours) = (desk.their_masquerade(), desk.our_masquerade());
    let settings = [("CCACHE_COMPILERCHECK", "%compiler% -v")];

    let [miss, hit] = desk.twice(&[&theirs, &ours], &COMPILE, &settings);

    assert_eq!(miss.matches("ran on ash (compile)").count(), 1, "{miss}");
    // The question who the compiler is comes each time, and stays here.
    assert!(!hit.contains("ran on"), "{hit}");
    assert_eq!(desk.hits_and_misses(), (1, 1));
}

#[test]
fn a_compiler_behind_our_masquerade_is_still_known_to_ccache() {
    let desk = Desk::new();
    let (theirs, ours) = (desk.their_masquerade(), desk.our_masquerade());
    let compilers = desk.cluster.dir("compilers");
    let settings = [("CCACHE_COMPILERCHECK", "%compiler% -v")];
    let path: [&Path; 3] = [&theirs, &ours, &compilers];
    let install = |version: &str| {
        let real = program("gcc");
        let script =
            format!("#!/bin/sh\n[ \"$1\" = -v ] && echo {version}\nexec {} -D{version} \"$@\"\n", real.display());
        e2e::gate::write_executable(&compilers.join("gcc"), &script);
    };

    install("one");
    let (first, _, _) = desk.seen_by(&path, &COMPILE, &settings);
    install("two");
    let (second, _, _) = desk.seen_by(&path, &COMPILE, &settings);

    assert_eq!((first.exit, second.exit), (0, 0));
    assert_eq!(desk.hits_and_misses(), (0, 2), "an upgraded compiler is another one");
}

#[test]
fn before_ccache_we_stay_out_of_its_way() {
    let desk = Desk::new();
    let (theirs, ours) = (desk.their_masquerade(), desk.our_masquerade());

    let prefixed = desk.twice(&[], &after(&[&launcher(), "ccache"]), &[]);
    let masked = desk.twice(&[&ours, &theirs], &COMPILE, &[]);

    for notes in prefixed.iter().chain(&masked) {
        assert_eq!((notes.matches("runs here").count(), notes.matches("ran on").count()), (1, 0), "{notes}");
    }
    assert_eq!(desk.hits_and_misses(), (3, 1), "ccache works as without us");
}

#[test]
fn around_itself_a_launcher_is_one() {
    let desk = Desk::new();
    let ours = desk.our_masquerade();
    let launcher = launcher();

    let twice = desk.twice(&[], &after(&[&launcher, &launcher]), &[]);
    let masked = desk.twice(&[&ours], &after(&[&launcher]), &[]);
    let cached = desk.twice(&[&ours], &after(&["ccache"]), &[("CCACHE_PREFIX", &launcher)]);

    for notes in twice.iter().chain(&masked).chain([&cached[0]]) {
        assert_eq!(notes.matches("ran on ash (compile)").count(), 1, "{notes}");
    }
    assert_eq!(cached[1], "");
}
