//! A directory of sources, commands run in it, and the names foretold held against the files that appear.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cmdline::{Files, Job, Meaning, tool_of, understand};

/// A directory of sources, removed afterwards.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("cmdline-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::create_dir_all(root.join("out")).unwrap();
        let place = Self(root);
        let main = "int f(void) { return 1; } int main(void) { return f(); }\n";
        let texts = [
            ("a.c", main),
            ("dir/a.c", main),
            ("b.c", "int g(void) { return 2; }\n"),
            ("c.d.c", "int h(void) { return 3; }\n"),
            ("n.cc", "int n() { return 4; }\n"),
            ("p.i", "int p(void) { return 5; }\n"),
            ("h.h", "int f(void);\n"),
            ("dir/h.h", "int f(void);\n"),
            ("q.s", "\n"),
            ("r.S", "\n"),
            ("args", "-c dir/a.c @more"),
            ("more", "-o 'out/x.o'"),
            ("v.map", "{ global: *; };\n"),
        ];
        texts.iter().for_each(|(path, text)| fs::write(place.0.join(path), text).unwrap());
        place
    }

    pub(crate) fn run(&self, words: &[Vec<u8>]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let words: Vec<&std::ffi::OsStr> = words.iter().map(|word| std::ffi::OsStr::from_bytes(word)).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("the tool starts").success()
    }

    pub(crate) fn files(&self) -> BTreeSet<String> {
        ["", "dir/", "out/"].iter().flat_map(|directory| self.files_in(directory)).collect()
    }

    fn files_in(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(directory)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| format!("{directory}{}", entry.file_name().to_str().unwrap())).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Disk<'a>(&'a Path);

impl Files for Disk<'_> {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        fs::read(self.0.join(std::str::from_utf8(path).ok()?)).ok()
    }
}

pub(crate) fn words(command: &str) -> Vec<Vec<u8>> {
    command.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

pub(crate) fn job(place: &Place, command: &str) -> Job {
    let words = words(command);
    let tool = tool_of(&words[0]).expect("a tool of ours");
    match understand(&tool, &words[1..], &Disk(&place.0)) {
        Meaning::Job(job) => job,
        Meaning::Local(reason) => panic!("{command} stays local: {reason}"),
    }
}

/// Runs each command in a fresh place and compares. `before` are commands that prepare it.
pub(crate) fn foretells(name: &str, before: &[&str], commands: &[&str]) {
    for (number, command) in commands.iter().enumerate() {
        let place = Place::new(&format!("{name}-{number}"));
        before.iter().for_each(|command| assert!(place.run(&words(command)), "{command}"));
        let job = job(&place, command);
        let already = place.files();

        assert!(place.run(&words(command)), "{command} failed");

        let appeared: BTreeSet<String> = place.files().difference(&already).cloned().collect();
        let foretold = job.outputs.iter().map(|file| String::from_utf8(file.clone()).unwrap());
        let foretold: BTreeSet<String> = foretold.filter(|file| !already.contains(file)).collect();
        assert_eq!(appeared, foretold, "{command}");
        assert!(job.outputs_complete, "{command} is foretold in full");
    }
}

/// Runs commands of which we say ourselves that not all names are known: it has to be true, or we are too modest.
#[allow(dead_code, reason = "not every test has such commands")]
pub(crate) fn admits(name: &str, commands: &[&str]) {
    for (number, command) in commands.iter().enumerate() {
        let place = Place::new(&format!("{name}-{number}"));
        let job = job(&place, command);
        let already = place.files();

        assert!(place.run(&words(command)), "{command} failed");

        let appeared: BTreeSet<String> = place.files().difference(&already).cloned().collect();
        let foretold: BTreeSet<String> =
            job.outputs.iter().map(|file| String::from_utf8(file.clone()).unwrap()).collect();
        assert!(!job.outputs_complete, "{command} makes {appeared:?}, which is not foretold: {foretold:?}");
        assert_ne!(appeared, foretold, "{command}");
    }
}

/// Whether this machine has the tool; says so if not.
#[allow(dead_code, reason = "every machine has GCC and binutils")]
pub(crate) fn has(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").stdin(Stdio::null()).output().is_ok();
    if !there {
        println!("skipped: {tool} is not installed");
    }
    there
}
