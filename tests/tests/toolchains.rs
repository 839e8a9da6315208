//! A job runs only where its compiler is the very same, down to what the driver executes and the headers of the system.
//!
//! Another host is played by a mount namespace in which another file is mounted over a part of the compiler: the path, the
//! driver and the package database are the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::binaries;
use e2e::cluster::Cluster;
use e2e::run::{Seen, run};

/// The file that the system's driver uses by this name.
fn part(question: &str, name: &str) -> PathBuf {
    let said = Command::new("g++").arg(format!("-print-{question}-name={name}")).output().unwrap().stdout;
    Path::new(String::from_utf8(said).unwrap().trim()).canonicalize().unwrap()
}

fn is_root() -> bool {
    // SAFETY: asks who we are.
    unsafe { libc::geteuid() == 0 }
}

/// A program that becomes another one on such a host: behind it the altered file, the part, and the program.
fn on_another_host() -> Vec<&'static str> {
    let unshare =
        if is_root() { &["unshare", "--mount"][..] } else { &["unshare", "--user", "--map-root-user", "--mount"] };
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    [unshare, &["sh", "-c", script, "sh"]].concat()
}

/// A cluster, a directory with a source, and an altered copy of a part of the compiler.
struct Site {
    cluster: Cluster,
    dir: PathBuf,
    part: PathBuf,
    altered: PathBuf,
}

impl Site {
    fn new(part: PathBuf) -> Self {
        Self::with_server(&[], part)
    }

    fn with_server(flags: &[&str], part: PathBuf) -> Self {
        let mut cluster = Cluster::without_server();
        cluster.start_server_with(flags);
        let dir = cluster.dir("build");
        std::fs::write(dir.join("a.cpp"), "#include <vector>\nint f() { return std::vector<int>(3).size(); }\n")
            .unwrap();
        let altered = cluster.private_dir().join("altered");
        std::fs::copy(&part, &altered).unwrap();
        // Behind the end of a program or of a header a blank means nothing to anybody.
        let mut bytes = std::fs::read(&altered).unwrap();
        bytes.push(b'\n');
        std::fs::write(&altered, bytes).unwrap();
        Self { cluster, dir, part, altered }
    }

    fn start_altered_worker(&mut self, name: &str) {
        let mut wrapper = on_another_host();
        let (altered, part) = (self.altered.display().to_string(), self.part.display().to_string());
        wrapper.extend([altered.as_str(), part.as_str()]);
        self.cluster.start_worker_under(&wrapper, name, &["--max-jobs=2"]);
    }

    /// Compiles, on this host; what was seen, and what the launcher notes.
    fn compile(&self, output: &str) -> (Seen, String) {
        let mut command = self.cluster.launcher(&self.dir);
        command.args(["g++", "-O1", "-c", "a.cpp", "-o", output]);
        let seen = run(&mut command);
        (seen, self.cluster.take_notes())
    }

    fn assert_as_if_compiled_here(&self, output: &str) {
        let mut direct = Command::new("g++");
        direct.args(["-O1", "-c", "a.cpp", "-o", "direct.o"]).current_dir(&self.dir);
        assert!(direct.status().unwrap().success());
        let read = |name: &str| std::fs::read(self.dir.join(name)).unwrap();
        assert!(read(output) == read("direct.o"), "{output}");
    }
}

#[test]
fn a_worker_whose_cc1plus_is_another_gets_no_jobs_and_the_launcher_is_told_what_differs() {
    let mut site = Site::new(part("prog", "cc1plus"));
    site.start_altered_worker("odd");

    let (seen, notes) = site.compile("a.o");
    assert_eq!(seen.exit, 0, "{}", seen.err());
    assert!(notes.contains("on odd, ") && notes.contains("cc1plus differs from the clients'"), "{notes}");
    assert!(!notes.contains("ran on "), "{notes}");

    site.cluster.start_worker("ash", &["--max-jobs=1"]);
    for output in ["b.o", "c.o", "d.o"] {
        let (seen, notes) = site.compile(output);
        assert_eq!((seen.exit, seen.err()), (0, String::new()));
        assert!(notes.contains("ran on ash"), "{notes}");
        site.assert_as_if_compiled_here(output);
    }
}

#[test]
fn another_header_of_the_c_library_makes_another_toolchain() {
    let mut site = Site::new("/usr/include/stdio.h".into());
    site.start_altered_worker("odd");

    let (seen, notes) = site.compile("a.o");

    assert_eq!(seen.exit, 0);
    assert!(notes.contains("libc headers differs from the clients'") && !notes.contains("ran on "), "{notes}");
}

#[test]
fn another_shared_library_of_the_compiler_makes_another_toolchain() {
    let libraries = Command::new("ldd").arg(part("prog", "cc1plus")).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    let library = libraries.lines().find_map(|line| line.trim().strip_prefix("libmpfr.so")?.split(' ').nth(2));
    let mut site = Site::new(Path::new(library.expect("GCC computes with MPFR")).canonicalize().unwrap());
    site.start_altered_worker("odd");

    let (seen, notes) = site.compile("a.o");

    assert_eq!(seen.exit, 0);
    assert!(notes.contains("libmpfr.so") && notes.contains("differs from the clients'"), "{notes}");
    assert!(!notes.contains("ran on "), "{notes}");
}

#[test]
fn a_client_that_was_upgraded_finds_no_worker_like_it() {
    let mut site = Site::new(part("prog", "cc1plus"));
    site.cluster.start_worker("ash", &["--max-jobs=1"]);
    assert!(site.compile("a.o").1.contains("ran on ash"));

    let words = on_another_host();
    let mut command = site.cluster.command(words[0]);
    command.args(&words[1..]).arg(&site.altered).arg(&site.part).arg(binaries::path("cc-launcher"));
    let environment = site.cluster.launcher(&site.dir);
    command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&site.dir);
    let seen = run(command.args(["g++", "-O1", "-c", "a.cpp", "-o", "b.o"]));

    let notes = site.cluster.take_notes();
    assert_eq!(seen.exit, 0, "{}", seen.err());
    assert!(notes.contains("on ash, ") && notes.contains("cc1plus differs from the clients'"), "{notes}");
    assert!(site.compile("c.o").1.contains("ran on ash"), "the first host is as it was");
}

#[test]
fn an_upgrade_of_a_worker_in_mid_build_is_noticed_and_its_jobs_run_elsewhere() {
    let mut site = Site::new(part("prog", "cc1plus"));
    // A namespace of its own, and nothing mounted over anything yet.
    let (itself, altered) = (site.part.display().to_string(), site.altered.display().to_string());
    let mut wrapper = on_another_host();
    wrapper.extend([itself.as_str(), itself.as_str()]);
    site.cluster.start_worker_under(&wrapper, "odd", &["--max-jobs=1"]);
    assert!(site.compile("a.o").1.contains("ran on odd"));

    let pid = site.cluster.worker("odd").pid().to_string();
    let mut upgrade = Command::new("nsenter");
    if !is_root() {
        upgrade.args(["--preserve-credentials", "--user"]);
    }
    upgrade.args(["--mount", "--target", &pid]);
    upgrade.args(["mount", "--bind", &altered, &itself]);
    assert!(upgrade.status().unwrap().success());
    let (seen, notes) = site.compile("b.o");

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(!notes.contains("ran on "), "{notes}");
    site.assert_as_if_compiled_here("b.o");
    let odd = site.cluster.worker("odd");
    let _ = odd.wait_for_line("noticed", |line| line.contains("was replaced by another: cc1plus"));
    let _ = odd.wait_for_line("rescan", |line| line.contains("looked for toolchains again"));

    site.cluster.start_worker("ash", &["--max-jobs=1"]);
    assert!(site.compile("c.o").1.contains("ran on ash"));
}

#[test]
fn less_sameness_is_the_operators_choice() {
    for (choice, because) in [("version", "the driver says the same"), ("off", "nobody asks")] {
        let mut site = Site::with_server(&[&format!("--toolchain-match={choice}")], part("prog", "cc1plus"));
        site.start_altered_worker("odd");

        let (seen, notes) = site.compile("a.o");

        assert_eq!((seen.exit, seen.err()), (0, String::new()));
        assert!(notes.contains("ran on odd"), "{choice}, {because}: {notes}");
    }
}

/// A worker and a launcher's host that have another directory in one place of their systems, and what is compiled on the
/// latter.
struct TwoSystems {
    cluster: Cluster,
    dir: PathBuf,
    place: &'static str,
    ours: PathBuf,
    theirs: PathBuf,
}

impl TwoSystems {
    fn new() -> Self {
        Self::with("/usr/local/include")
    }

    fn with(place: &'static str) -> Self {
        let mut cluster = Cluster::without_server();
        cluster.start_server_with(&[]);
        let (dir, private) = (cluster.dir("build"), cluster.private_dir());
        let (ours, theirs) = (private.join("ours"), private.join("theirs"));
        for dir in [&ours, &theirs] {
            std::fs::create_dir(dir).unwrap();
        }
        let wrapper = Self::host_with(&theirs, place);
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        cluster.start_worker_under(&words, "ash", &["--max-jobs=1"]);
        Self { cluster, dir, place, ours, theirs }
    }

    /// Becomes a host that has this directory in that place.
    fn host_with(dir: &Path, place: &str) -> Vec<String> {
        let mut words: Vec<String> = on_another_host().into_iter().map(str::to_owned).collect();
        words.extend([dir.display().to_string(), place.to_owned()]);
        words
    }

    /// Compiles what includes `header`, and says what was seen and noted, and the object; `by` is the compiler with what
    /// goes before it.
    fn compile(&self, header: &str, by: &[&Path]) -> (Seen, String, Vec<u8>) {
        self.compile_text(&format!("#include <{header}>\nint value = VALUE;\n"), by)
    }

    fn compile_text(&self, text: &str, by: &[&Path]) -> (Seen, String, Vec<u8>) {
        std::fs::write(self.dir.join("a.c"), text).unwrap();
        self.run("gcc -MD -c a.c -o a.o", by)
    }

    /// Runs what makes `a.o`.
    fn run(&self, compiler: &str, by: &[&Path]) -> (Seen, String, Vec<u8>) {
        let words = Self::host_with(&self.ours, self.place);
        let environment = self.cluster.launcher(&self.dir);
        let mut command = self.cluster.command(&words[0]);
        command.args(&words[1..]).args(by).args(compiler.split(' '));
        command.envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&self.dir);
        let seen = run(&mut command);
        let object = std::fs::read(self.dir.join("a.o")).unwrap_or_default();
        (seen, self.cluster.take_notes(), object)
    }
}

/// A header as a package brings it: with a time of its own, in seconds since 1970.
fn header(path: &Path, text: &str, time: u64) {
    std::fs::write(path, text).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_header_of_another_package_that_differs_on_the_worker_makes_no_object() {
    let site = TwoSystems::new();
    let launcher = binaries::path("cc-launcher");
    header(&site.theirs.join("other.h"), "#define VALUE 1\n", 1_500_000_000);
    header(&site.ours.join("other.h"), "#define VALUE 2\n", 1_600_000_000);

    let (seen, notes, object) = site.compile("other.h", &[&launcher]);

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    let (_, _, direct) = site.compile("other.h", &[]);
    if is_root() {
        assert!(notes.contains("ash ran it with another /usr/local/include/other.h than is here"), "{notes}");
        assert!(object == direct);
    }

    // The same content is the same, whenever it was unpacked.
    header(&site.ours.join("other.h"), "#define VALUE 1\n", 1_700_000_000);
    let (seen, notes, object) = site.compile("other.h", &[&launcher]);
    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(notes.contains("ran on ash"), "{notes}");
    assert!(object == site.compile("other.h", &[]).2);
}

#[test]
fn a_header_that_only_this_machine_has_is_no_error_of_the_build() {
    let site = TwoSystems::new();
    std::fs::write(site.ours.join("only-here.h"), "#define VALUE 3\n").unwrap();

    let (seen, notes, _) = site.compile("only-here.h", &[&binaries::path("cc-launcher")]);

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    assert!(notes.contains("ash has no /usr/local/include/only-here.h"), "{notes}");

    let (seen, notes, _) = site.compile("nowhere.h", &[&binaries::path("cc-launcher")]);
    assert_eq!(seen.exit, 1);
    assert!(seen.err().contains("nowhere.h: No such file") && notes.contains("ran on ash"), "{notes}");
}

#[test]
fn a_header_that_is_only_asked_for_and_only_one_of_the_two_has_makes_no_object() {
    let site = TwoSystems::new();
    let launcher = binaries::path("cc-launcher");
    let optional = "#if __has_include(<optional.h>)\nint value = 2;\n#else\nint value = 1;\n#endif\n";
    std::fs::write(site.dir.join("feature.h"), optional).unwrap();
    // GCC opens what it asks for, Clang does not.
    for compiler in ["gcc", "clang"] {
        let command = format!("{compiler} -MD -c a.c -o a.o");
        let as_here = |text: &str| {
            std::fs::write(site.dir.join("a.c"), text).unwrap();
            let (seen, notes, object) = site.run(&command, &[&launcher]);
            assert_eq!((seen.exit, seen.err()), (0, String::new()));
            assert!(object == site.run(&command, &[]).2, "{notes}");
            notes
        };
        // So that a header of the system tells that the compiler looks there.
        let asks = format!("#include <stdio.h>\n{optional}");
        assert!(as_here(&asks).contains("ran on ash"), "neither has it");

        std::fs::write(site.ours.join("optional.h"), "").unwrap();
        for text in [&asks[..], "#include <stdio.h>\n#include \"feature.h\"\n"] {
            let notes = as_here(text);
            assert!(notes.contains("ash has no /usr/local/include/optional.h"), "{notes}");
        }
        std::fs::write(site.theirs.join("optional.h"), "").unwrap();
        assert!(as_here(&asks).contains("ran on ash"), "both have it");
        std::fs::remove_file(site.ours.join("optional.h")).unwrap();
        let notes = as_here(&asks);
        assert!(notes.contains("/usr/local/include/optional.h") && !notes.contains("ran on ash"), "{notes}");
        std::fs::remove_file(site.theirs.join("optional.h")).unwrap();
    }
}

#[test]
fn a_header_that_takes_the_place_of_another_on_one_of_the_two_makes_no_object() {
    // Of the kernel's, which are everywhere; and of a part of them that no toolchain counts.
    let text = "#include <mtd/mtd-abi.h>\n#ifndef VALUE\n#define VALUE 1\n#endif\nint value = VALUE;\n";
    let site = TwoSystems::new();
    let launcher = binaries::path("cc-launcher");
    assert!(site.compile_text(text, &[&launcher]).1.contains("ran on ash"));
    std::fs::create_dir(site.ours.join("mtd")).unwrap();
    std::fs::write(site.ours.join("mtd/mtd-abi.h"), "#define VALUE 2\n").unwrap();

    let (seen, notes, object) = site.compile_text(text, &[&launcher]);

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    if is_root() {
        assert!(notes.contains("ash has no /usr/local/include/mtd/mtd-abi.h"), "{notes}");
        assert!(object == site.compile_text(text, &[]).2);
    }
}

#[test]
fn a_library_whose_link_leads_elsewhere_on_the_worker_makes_no_program() {
    let site = TwoSystems::with("/usr/local/lib");
    let launcher = binaries::path("cc-launcher");
    std::fs::write(site.dir.join("a.c"), "int two(void);\nint main(void) { return two(); }\n").unwrap();
    std::fs::write(site.dir.join("two.c"), "int two(void) { return 2; }\n").unwrap();
    for name in ["libtwo.so.1", "libtwo.so.2"] {
        let soname = format!("-Wl,-soname,{name}");
        let words = ["-shared", "two.c", &soname, "-o", name];
        assert!(Command::new("gcc").current_dir(&site.dir).args(words).status().unwrap().success());
        for host in [&site.ours, &site.theirs] {
            std::fs::copy(site.dir.join(name), host.join(name)).unwrap();
        }
    }
    let lead = |host: &Path, to: &str| {
        let _ = std::fs::remove_file(host.join("libtwo.so"));
        std::os::unix::fs::symlink(to, host.join("libtwo.so")).unwrap();
    };
    lead(&site.ours, "libtwo.so.1");
    lead(&site.theirs, "libtwo.so.2");

    let (seen, notes, linked) = site.run("gcc a.c -ltwo -o a.o", &[&launcher]);

    assert_eq!((seen.exit, seen.err()), (0, String::new()));
    if is_root() {
        assert!(notes.contains("ash ran it with another /usr/local/lib/libtwo.so than is here"), "{notes}");
        assert!(linked == site.run("gcc a.c -ltwo -o a.o", &[]).2);
    }
    lead(&site.theirs, "libtwo.so.1");
    let (_, notes, linked) = site.run("gcc a.c -ltwo -o a.o", &[&launcher]);
    assert!(notes.contains("ran on ash"), "{notes}");
    assert!(linked == site.run("gcc a.c -ltwo -o a.o", &[]).2);
}
