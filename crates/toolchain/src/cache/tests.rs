use super::*;
use crate::mark::Mark;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A compiler made of scripts, in a directory of its own.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let root = host.0.path().display().to_string();
        for dir in ["lib/gcc", "bin", "lib/gcc/include", "cache"] {
            std::fs::create_dir_all(host.path(dir)).unwrap();
        }
        host.write("lib/gcc/cc1", "one");
        host.write("lib/gcc/include/stddef.h", "size_t");
        std::fs::set_permissions(host.path("lib/gcc/cc1"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let answers = format!(
            "echo $1 >> {root}/asked; case $1 in -print-search-dirs) echo programs: ={root}/lib/gcc/; echo libraries: ={root}/lib/gcc/;; \
             -E) echo '#include <...> search starts here:' >&2; echo ' {root}/lib/gcc/include' >&2;; \
             -dumpmachine) echo a-b-c;; --version) echo gcc nine;; esac"
        );
        // By another process: a fork of another test would hold the file open for writing ("text file busy").
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        let driver = host.path("bin/gcc");
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&driver).arg(answers).status().unwrap().success());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn identify(&self) -> Known {
        Cache::at(&self.path("cache")).identify(&self.path("bin/gcc")).unwrap()
    }

    /// How often the driver was asked since the last time.
    fn times_asked(&self) -> usize {
        let asked = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("asked"));
        asked.lines().count()
    }

    /// Lets all files be of some moments ago, so that an entry is kept.
    fn settle(&self) {
        let newest = [self.path("bin"), self.path("lib/gcc/cc1"), self.path("lib/gcc/include/stddef.h")];
        let settled = || newest.iter().all(|path| Mark::of_path(path).unwrap().is_settled());
        while !settled() {
            std::thread::yield_now();
        }
    }

    /// Lets the time of the last thorough look pass.
    fn wait(&self) {
        let entry = Entry::of(&self.path("cache"), &self.path("bin/gcc"));
        let long_ago = SystemTime::now() - 2 * THOROUGH;
        File::options().write(true).open(entry.front).unwrap().set_modified(long_ago).unwrap();
    }
}

#[test]
fn a_toolchain_is_read_once() {
    let host = Host::new();
    host.settle();

    let first = host.identify();
    assert_eq!((first.version(), first.target()), ("gcc nine", "a-b-c"));
    assert!(host.times_asked() > 0);

    assert_eq!(host.identify(), first);
    host.wait();
    assert_eq!(host.identify(), first);
    assert_eq!(host.times_asked(), 0);
}

#[test]
fn a_replaced_compiler_behind_the_same_driver_is_noticed_at_once() {
    let host = Host::new();
    host.settle();
    let first = host.identify();

    host.write("new", "two");
    std::fs::set_permissions(host.path("new"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(host.path("new"), host.path("lib/gcc/cc1")).unwrap();

    assert_eq!(host.identify().differences(&first), ["cc1"]);
}

#[test]
fn an_edited_header_is_noticed_by_the_next_thorough_look() {
    let host = Host::new();
    host.settle();
    let first = host.identify();

    host.write("lib/gcc/include/stddef.h", "SIZE_T");
    host.wait();

    assert_eq!(host.identify().differences(&first), ["compiler's headers"]);
}

#[test]
fn many_at_once_read_it_once() {
    let host = Host::new();
    host.settle();

    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| host.identify().fingerprint())).collect();
        let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    });

    let asked = std::fs::read_to_string(host.path("asked")).unwrap();
    assert_eq!(asked.lines().filter(|line| *line == "-dumpmachine").count(), 1, "{asked}");
}

#[test]
fn a_damaged_or_foreign_entry_is_not_believed() {
    let host = Host::new();
    host.settle();
    let first = host.identify();
    let entry = Entry::of(&host.path("cache"), &host.path("bin/gcc"));
    let whole = std::fs::read(&entry.front).unwrap();

    for damaged in [&b""[..], b"nonsense", &whole[..whole.len() / 2]] {
        std::fs::write(&entry.front, damaged).unwrap();
        assert_eq!(host.identify(), first);
    }
    std::fs::set_permissions(&entry.front, std::fs::Permissions::from_mode(0o666)).unwrap();
    host.times_asked();
    assert_eq!(host.identify(), first);
    assert!(host.times_asked() > 0, "anybody could have written it");
}

#[test]
fn without_a_directory_for_it_it_is_found_out_each_time() {
    let host = Host::new();

    let one = Cache::nowhere().identify(&host.path("bin/gcc")).unwrap();

    let unwritable = Cache::at(Path::new("/proc/no/such"));
    assert_eq!(unwritable.identify(&host.path("bin/gcc")).unwrap(), one);
    assert_eq!(host.identify(), one);
}

#[test]
fn a_daemon_reads_a_toolchain_again_only_when_any_file_of_it_looks_otherwise() {
    let host = Host::new();
    host.settle();
    let (cache, digests) = (Cache::at(&host.path("cache")), Digests::default());
    let first = cache.read(&host.path("bin/gcc"), &digests).unwrap();
    assert!(host.times_asked() > 0);

    let again = cache.read(&host.path("bin/gcc"), &digests).unwrap();
    assert_eq!((again.known(), &again.later), (first.known(), &first.later));
    assert_eq!(host.times_asked(), 0);

    host.write("lib/gcc/include/stddef.h", "SIZE_T");
    let edited = cache.read(&host.path("bin/gcc"), &digests).unwrap();
    assert_eq!(edited.known().differences(first.known()), ["compiler's headers"]);
}
