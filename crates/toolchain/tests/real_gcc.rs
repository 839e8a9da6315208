//! A real GCC, copied to a prefix of its own: what makes it another toolchain, and what does not.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use toolchain::{Digests, Identity, Known};

fn answer(question: &str) -> PathBuf {
    let said = Command::new("g++").arg(question).output().unwrap().stdout;
    PathBuf::from(String::from_utf8(said).unwrap().trim()).canonicalize().unwrap()
}

/// A prefix with a driver and its own directory; the system's assembler, linker and headers are the same for all.
struct Prefix {
    root: tempfile::TempDir,
    own: PathBuf,
}

impl Prefix {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let cc1 = answer("-print-prog-name=cc1plus");
        let system = cc1.parent().unwrap();
        // GCC finds its parts from its own place on, by the way that leads from `bin` to them.
        let usr = Path::new("/usr");
        let own = root.path().join(system.strip_prefix(usr).expect("GCC is a package of the system"));
        fs::create_dir_all(root.path().join("bin")).unwrap();
        fs::create_dir_all(own.join("include")).unwrap();
        fs::copy(fs::canonicalize("/usr/bin/g++").unwrap(), root.path().join("bin/g++")).unwrap();
        for name in ["cc1plus", "collect2", "crtbegin.o", "libgcc.a"] {
            fs::copy(system.join(name), own.join(name)).unwrap();
        }
        fs::copy(system.join("include/stddef.h"), own.join("include/stddef.h")).unwrap();
        Self { root, own }
    }

    fn read(&self) -> Known {
        let driver = self.root.path().join("bin/g++").canonicalize().unwrap();
        Identity::of(&driver, &Digests::default()).unwrap().known().clone()
    }

    /// Changes one byte in the middle, and nothing of the size.
    fn alter(&self, name: &str) {
        let path = self.own.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// The same contents in other inodes with other times.
    fn install_again(&self) {
        let names = ["cc1plus", "collect2", "crtbegin.o", "libgcc.a", "include/stddef.h"];
        for path in names.map(|name| self.own.join(name)) {
            let copy = path.with_extension("copy");
            fs::copy(&path, &copy).unwrap();
            fs::File::options().write(true).open(&copy).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            fs::rename(&copy, &path).unwrap();
        }
    }
}

#[test]
fn a_toolchain_is_its_contents_down_to_the_byte_and_nothing_else() {
    let prefix = Prefix::new();
    let first = prefix.read();
    let names: Vec<&str> = first.parts().iter().map(|part| part.name()).collect();
    for name in ["driver", "cc1plus", "collect2", "as", "ld", "startup files", "libgcc", "libc", "libmpfr.so.6"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for name in ["compiler's headers", "libc headers", "kernel headers"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }

    prefix.install_again();
    assert_eq!(prefix.read(), first, "inodes and times are no content");

    let parts = [
        ("cc1plus", "cc1plus"),
        ("collect2", "collect2"),
        ("crtbegin.o", "startup files"),
        ("include/stddef.h", "compiler's headers"),
    ];
    for (file, part) in parts {
        prefix.alter(file);
        assert_eq!(prefix.read().differences(&first), [part]);
        prefix.alter(file);
    }
    assert_eq!(prefix.read(), first, "all bytes are back");
}

#[test]
fn what_is_added_to_a_compilers_own_directory_counts_too() {
    let prefix = Prefix::new();
    let first = prefix.read();

    symlink("cc1plus", prefix.own.join("cc1")).unwrap();
    fs::write(prefix.own.join("include/new.h"), "").unwrap();

    let differences = prefix.read().differences(&first);
    assert_eq!(differences, ["cc1", "compiler's headers"]);
}
