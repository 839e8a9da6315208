//! Where a command's `-l` leads on this machine, against what a worker has read. Two machines may have the same files, and
//! `libblas.so` leads to one of them here and to another there (update-alternatives(1)); or one of them lacks the library that
//! stands first, and has another of its name behind it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cmdline::Family;
use proto::v1;
use toolchain::usual;

/// The first library of a `-l` that is another here than the one of its name that was read.
pub(crate) fn other(command: &v1::Command, read: &[PathBuf]) -> Option<PathBuf> {
    let words: Vec<&[u8]> = command.argv.iter().map(|word| &word[..]).collect();
    if read.is_empty() || !is_plain(&words) {
        return None;
    }
    let cwd = Path::new(OsStr::from_bytes(&command.cwd));
    let named = behind(&words, b"-L").map(|dir| cwd.join(OsStr::from_bytes(dir)));
    let (named, system): (Vec<PathBuf>, _) = (named.collect(), usual::library_dirs());
    behind(&words, b"-l").find_map(|name| first(name, &named, &system, read))
}

/// Whether a command looks for libraries where drivers look, in their order, and for shared ones first.
fn is_plain(words: &[&[u8]]) -> bool {
    let Some(tool) = words.first().and_then(|program| cmdline::tool_of(program)) else { return false };
    let is_native = tool.prefix.is_empty() || tool.prefix == usual::multiarch().as_bytes();
    let is_driver = is_native && matches!(tool.family, Family::Gcc | Family::Clang);
    // For another machine, in another system; and which of `.so` and `.a` is meant may depend on the place of the word.
    let elsewhere: [&[u8]; 7] = [b"-m32", b"-mx32", b"-target", b"--target", b"--sysroot", b"-isysroot", b"-B"];
    let is_odd = |word: &&[u8]| {
        elsewhere.iter().any(|flag| word.starts_with(flag)) || word.windows(6).any(|part| part == b"static")
    };
    is_driver && !words.iter().any(is_odd)
}

/// The library that this machine's linker takes, if it is of the system and was not read.
fn first(name: &[u8], named: &[PathBuf], system: &[PathBuf], read: &[PathBuf]) -> Option<PathBuf> {
    let stem = [b"lib", name, b"."].concat();
    let is_of_name = |path: &PathBuf| path.file_name().is_some_and(|file| file.as_bytes().starts_with(&stem));
    // One of the toolchain's, or of the project's own.
    if !read.iter().any(is_of_name) {
        return None;
    }
    let file = |dir: &PathBuf, suffix: &[u8]| dir.join(OsStr::from_bytes(&[&stem[..], suffix].concat()));
    let mut places = named.iter().chain(system).flat_map(|dir| [file(dir, b"so"), file(dir, b"a")]);
    let (path, real) = places.find_map(|path| path.canonicalize().ok().map(|real| (path, real)))?;
    let is_of_system = system.iter().any(|dir| path.starts_with(dir));
    (is_of_system && !read.contains(&real)).then_some(path)
}

/// What stands behind this letter: in the same word, or in the next.
fn behind<'w>(words: &'w [&[u8]], letter: &'static [u8]) -> impl Iterator<Item = &'w [u8]> {
    let values = words.iter().enumerate().filter_map(move |(at, word)| match word.strip_prefix(letter)? {
        [] => words.get(at + 1).copied(),
        value => Some(value),
    });
    values.filter(|value| !value.starts_with(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two directories of the system, of which the first has `libx.so` -> `libx.so.1` beside `libx.so.2`, and the second
    /// `libx.a`; and one of a project's.
    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Self {
            let site = Self(tempfile::tempdir().unwrap());
            for name in ["one/libx.so.1", "one/libx.so.2", "two/libx.a", "own/libx.so"] {
                std::fs::create_dir_all(site.at(name).parent().unwrap()).unwrap();
                std::fs::write(site.at(name), "").unwrap();
            }
            std::os::unix::fs::symlink("libx.so.1", site.at("one/libx.so")).unwrap();
            site
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn other(&self, name: &str, named: &[&str], read: &str) -> Option<PathBuf> {
            let named: Vec<PathBuf> = named.iter().map(|dir| self.at(dir)).collect();
            first(name.as_bytes(), &named, &[self.at("one"), self.at("two")], &[self.at(read)])
        }
    }

    #[test]
    fn a_link_of_the_system_is_to_lead_to_the_library_that_was_read() {
        let site = Site::new();

        assert_eq!(site.other("x", &[], "one/libx.so.1"), None);
        assert_eq!(site.other("x", &[], "one/libx.so.2"), Some(site.at("one/libx.so")), "the link leads elsewhere");
        assert_eq!(site.other("x", &[], "two/libx.a"), Some(site.at("one/libx.so")), "it stands behind it here");
        assert_eq!(site.other("x", &["two"], "two/libx.a"), None, "it was named first");
        assert_eq!(site.other("x", &["own"], "one/libx.so.1"), None, "the project has one of its own");
        assert_eq!(site.other("x", &[], "one/liby.so"), None, "it is the toolchain's, or lies on the mount");
    }

    #[test]
    fn names_and_directories_stand_in_one_word_or_in_two() {
        let words: [&[u8]; 6] = [b"gcc", b"-lx", b"-l", b"y", b"-l:libz.a", b"-l"];

        assert_eq!(behind(&words, b"-l").collect::<Vec<_>>(), [b"x", b"y"]);
    }

    #[test]
    fn a_link_that_looks_elsewhere_is_not_judged() {
        let words = |words: &str| v1::Command {
            argv: words.split(' ').map(|word| word.to_owned().into()).collect(),
            cwd: "/".into(),
            ..v1::Command::default()
        };
        let real = usual::library_dirs().into_iter().find_map(|dir| dir.join("libm.so.6").canonicalize().ok()).unwrap();
        let read = [real.with_file_name("libm.other")];

        assert!(other(&words("/usr/bin/gcc-12 a.o -lm"), &read).is_some());
        for odd in
            ["gcc a.o -Wl,-Bstatic", "gcc -m32 a.o", "clang --target=x a.o", "ld a.o", "aarch64-linux-gnu-gcc a.o"]
        {
            assert_eq!(other(&words(&format!("{odd} -lm")), &read), None, "{odd}");
        }
        assert_eq!(other(&words("gcc a.o -lm"), &[]), None);
    }
}
