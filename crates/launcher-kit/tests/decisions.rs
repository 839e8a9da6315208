//! What may leave the machine and what stays, and the reason that `--explain` gives.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use launcher_kit::decide::{Invocation, Judge, Travels};
use launcher_kit::environment::Environment;
use launcher_kit::places::Places;
use launcher_kit::settings::Settings;

/// A mount with a source on it, and a private directory with another.
struct Land {
    root: tempfile::TempDir,
    vars: Vec<(OsString, OsString)>,
}

impl Land {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["mount/build", "mount/inc", "private/inc"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        for source in ["mount/build/a.c", "mount/build/b.c", "private/p.c"] {
            std::fs::write(root.path().join(source), "int x;\n").unwrap();
        }
        Self { root, vars: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.vars.push((name.into(), value.into()));
        self
    }

    /// Decides over a command of the system's gcc in `mount/build`; the reason, or what travels.
    fn decide(&self, words: &str) -> Result<Travels, String> {
        self.decide_in(&self.path("mount/build"), words)
    }

    fn decide_in(&self, cwd: &Path, words: &str) -> Result<Travels, String> {
        self.decide_with(Settings::default(), cwd, words)
    }

    fn decide_with(&self, settings: Settings, cwd: &Path, words: &str) -> Result<Travels, String> {
        let settings = Settings { fs_mounts: vec![self.path("mount")], ..settings };
        let places = Places::new(&settings.fs_mounts, &settings.system_dirs);
        let environment = Environment::new(self.vars.clone());
        let runtime_dir = Some(self.path("private"));
        let judge = Judge { settings: &settings, environment: &environment, places: &places, runtime_dir };
        let argv: Vec<OsString> =
            words.replace("PRIVATE", self.path("private").to_str().unwrap()).split(' ').map(OsString::from).collect();
        let program = Path::new("/usr/bin").join(&argv[0]);
        judge.decide(&Invocation { argv, program, cwd: cwd.to_owned(), path: None }).map_err(|stays| stays.to_string())
    }

    fn assert_stays(&self, words: &str, because: &str) {
        let reason = self.decide(words).err();
        assert!(reason.as_ref().is_some_and(|reason| reason.contains(because)), "{words}: {reason:?}");
    }
}

#[test]
fn what_is_on_the_mount_and_the_systems_own_travels() {
    let land = Land::new();

    let travels = land.decide("gcc -I../inc -I/usr/include -c a.c -o a.o").unwrap();

    let job = &travels.jobs[0];
    assert_eq!(travels.jobs.len(), 1);
    assert_eq!(job.outputs[0], land.path("mount/build/a.o").to_str().unwrap().as_bytes());
    assert_eq!((job.inputs.len(), job.inputs[0].size), (1, 7));
    assert_eq!(job.mounts[0], land.path("mount").to_str().unwrap().as_bytes());
    assert!(job.repeatable);
    let toolchain = job.toolchain.as_ref().unwrap();
    assert_eq!((toolchain.fingerprint.len(), toolchain.linker.as_ref()), (16, None));
    assert!(!toolchain.parts.is_empty() && !toolchain.target.is_empty());
}

#[test]
fn every_job_of_a_command_has_the_priority_that_was_set() {
    let land = Land::new();
    let settings = Settings { priority: -7, ..Settings::default() };

    let travels = land.decide_with(settings, &land.path("mount/build"), "gcc -c a.c b.c").unwrap();

    let jobs = travels.jobs.iter().chain([&travels.whole]);
    assert_eq!(jobs.map(|job| job.priority).collect::<Vec<_>>(), [-7; 3]);
}

#[test]
fn each_thing_that_only_this_machine_has_keeps_a_command_here() {
    let land = Land::new();
    symlink(land.path("private/p.c"), land.path("mount/build/linked.c")).unwrap();

    land.assert_stays("gcc -c PRIVATE/p.c -o p.o", "the input");
    land.assert_stays("gcc -c linked.c", "the input linked.c");
    land.assert_stays("gcc -c a.c -o PRIVATE/a.o", "the output");
    land.assert_stays("gcc -IPRIVATE/inc -c a.c", "the directory");
    land.assert_stays("gcc -include PRIVATE/p.c -c a.c", "the input");
    land.assert_stays("gcc a.c -LPRIVATE -o prog", "the directory");
    land.assert_stays("gcc -c a.c -o no/where/a.o", "the directory of the output");
    assert!(land.decide_in(&land.path("private"), "gcc -c p.c").unwrap_err().contains("the working directory"));
}

#[test]
fn what_is_written_beside_the_outputs_keeps_a_command_here_where_only_this_machine_would_find_it() {
    let land = Land::new();
    for words in [
        "gcc -c a.c -g -gsplit-dwarf -dumpdir PRIVATE/inc/",
        "gcc -c a.c -fstack-usage -dumpdir PRIVATE/inc/x-",
        "gcc -c a.c -fdump-tree-optimized=PRIVATE/t",
        "gcc -c a.c --coverage -fprofile-note=PRIVATE/n",
        "gcc -c a.c -fdump-tree-optimized=../../private/t",
        "gcc a.o -Wl,-o,PRIVATE/p",
        "gcc a.o -Wl,-Map=PRIVATE/inc/",
    ] {
        land.assert_stays(words, "private");
    }
    land.assert_stays("gcc -c a.c -fdump-tree-optimized=/usr/lib/t", "it writes into /usr/lib/");
    land.assert_stays("gcc -c a.c -time=times", "-time=");
    land.decide("gcc -c a.c -fdump-tree-optimized=t -dumpdir x-").unwrap();
    land.decide("gcc -c a.c -fdump-tree-optimized=../inc/t").unwrap();
}

#[test]
fn a_search_path_of_the_environment_counts_like_a_flag() {
    let land = Land::new();
    let private = land.path("private/inc");

    land.with("CPATH", private).assert_stays("gcc -c a.c", "the directory");
}

#[test]
fn a_preloaded_library_keeps_everything_here() {
    Land::new().with("LD_PRELOAD", "/usr/lib/libfakeroot.so").assert_stays("gcc -c a.c", "LD_PRELOAD");
}

#[test]
fn several_sources_are_units_unless_one_is_missing() {
    let land = Land::new();

    let units = land.decide("gcc -O1 -c a.c b.c").unwrap();
    let whole = land.decide("gcc -O1 -c a.c missing.c b.c").unwrap();

    assert_eq!(units.jobs.len(), 2);
    assert_eq!(units.jobs[1].inputs.len(), 1);
    assert_eq!(whole.jobs.len(), 1);
    assert_eq!(whole.jobs[0].command.as_ref().unwrap().argv.len(), 6);
}

#[test]
fn appending_to_an_archive_is_done_once() {
    let land = Land::new();
    std::fs::write(land.path("mount/build/a.o"), "").unwrap();

    assert!(!land.decide("ar q lib.a a.o").unwrap().whole.repeatable);
    assert!(land.decide("ar rcs lib.a a.o").unwrap().whole.repeatable);

    let archive = std::fs::File::create(land.path("mount/build/lib.a")).unwrap();
    assert!(land.decide("ar q lib.a a.o").is_ok());
    archive.set_len((16 << 20) + 1).unwrap();

    let stays = land.decide("ar q lib.a a.o").unwrap_err();
    assert!(stays.contains("it adds to lib.a, which is too large to be put back"), "{stays}");
    assert!(land.decide("ar rcs lib.a a.o").is_ok());
}

#[test]
fn a_job_says_how_the_directories_look_that_it_searches() {
    use std::os::unix::fs::MetadataExt;
    let land = Land::new();

    let job = land.decide("gcc -I../inc -Imissing -I/usr/include -c a.c -o a.o").unwrap().whole;

    let facts = std::fs::metadata(land.path("mount/inc")).unwrap();
    let dirs: Vec<_> = job.searched.iter().map(|stamp| (&stamp.path[..], stamp.mtime_ns)).collect();
    let build = land.path("mount/build");
    let mtime = |facts: &std::fs::Metadata| facts.mtime() * 1_000_000_000 + facts.mtime_nsec();
    assert_eq!(
        dirs,
        [
            (build.to_str().unwrap().as_bytes(), mtime(&std::fs::metadata(&build).unwrap())),
            (build.join("../inc").to_str().unwrap().as_bytes(), mtime(&facts)),
        ]
    );
}
