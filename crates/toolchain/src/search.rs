//! Where a driver looks for what it executes and links: what it says of that itself.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::ask::{Much, STANDARD_PATH, Stream, ask};

/// The names of drivers, with a target before them or a version behind: GCC's and Clang's, which answer
/// `-print-search-dirs`. Others must not be asked: `as` takes such words for options of its own.
const DRIVERS: [&str; 16] = [
    "c++",
    "c89",
    "c99",
    "cc",
    "clang",
    "clang++",
    "cpp",
    "f77",
    "f95",
    "flang",
    "flang-new",
    "g++",
    "g77",
    "gcc",
    "gdc",
    "gfortran",
];

/// Whether a program of this name is a driver.
pub(crate) fn is_driver(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let base = without_version(name);
    // `x86_64-linux-gnu-g++`, `clang-cpp`, Debian's script `c89-gcc`.
    DRIVERS.contains(&base.rsplit('-').next().unwrap_or(base)) || base.ends_with("flang-new")
}

/// Whether a driver is one for Fortran.
pub(crate) fn is_of_fortran(driver: &Path) -> bool {
    let name = driver.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ["fortran", "flang", "f77", "f95", "g77"].iter().any(|fortran| name.contains(fortran))
}

/// `gcc-12`, `gcc-12.2` and `clang14` without the number.
pub(crate) fn without_version(name: &str) -> &str {
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    if stem.len() == name.len() { name } else { stem.strip_suffix('-').unwrap_or(stem) }
}

/// The directories that a driver searches, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchDirs {
    /// For programs: `cc1`, `as`.
    pub(crate) programs: Vec<PathBuf>,
    /// For what is linked: `crt1.o`, `libgcc.a`.
    pub(crate) libraries: Vec<PathBuf>,
}

impl SearchDirs {
    /// What a driver answers; nothing if it is none after all.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn of(driver: &Path) -> io::Result<Self> {
        ask(driver, &["-print-search-dirs".as_ref()], Stream::Out, Much::All).map(|said| Self::understood(&said))
    }

    fn understood(said: &[u8]) -> Self {
        let dirs = |title: &[u8]| {
            let mut lines = said.split(|&byte| byte == b'\n');
            let list = lines.find_map(|line| line.strip_prefix(title)).unwrap_or_default();
            // Clang begins the list with `=` as GCC does.
            let list = list.trim_ascii().strip_prefix(b"=").unwrap_or_default();
            let dirs = std::env::split_paths(OsStr::from_bytes(list)).filter(|dir| dir.is_absolute());
            let mut once: Vec<PathBuf> = Vec::new();
            dirs.for_each(|dir| {
                if !once.contains(&dir) {
                    once.push(dir);
                }
            });
            once
        };
        Self { programs: dirs(b"programs:"), libraries: dirs(b"libraries:") }
    }
}

/// Where a name is found, and in which directories it was looked for in vain before.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: Option<PathBuf>,
    pub(crate) missed: Vec<PathBuf>,
    /// By the `PATH`, as a shell would find it.
    pub(crate) by_path: bool,
}

/// A program as a driver finds it: in its own directories, and then on the `PATH`.
pub(crate) fn program(name: &str, dirs: &[PathBuf]) -> Found {
    let mut found = look(name, dirs, is_executable);
    if found.path.is_none() {
        let on_path: Vec<PathBuf> = STANDARD_PATH.split(':').map(PathBuf::from).collect();
        let Found { path, missed, .. } = look(name, &on_path, is_executable);
        found.missed.extend(missed);
        found = Found { by_path: path.is_some(), path, ..found };
    }
    found
}

/// A file as a driver finds it.
pub(crate) fn file(name: &str, dirs: &[PathBuf]) -> Found {
    look(name, dirs, Path::is_file)
}

fn look(name: &str, dirs: &[PathBuf], fits: impl Fn(&Path) -> bool) -> Found {
    let at = dirs.iter().position(|dir| fits(&dir.join(name)));
    let missed = dirs[..at.unwrap_or(dirs.len())].to_vec();
    Found { path: at.map(|at| dirs[at].join(name)), missed, by_path: false }
}

pub(crate) fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_known_with_target_and_version() {
        for name in
            ["gcc", "x86_64-linux-gnu-g++-12", "clang++-14", "clang14", "clang-cpp-14", "c89-gcc", "gfortran-12.2"]
        {
            assert!(is_driver(name.as_bytes()), "{name}");
        }
        for name in ["ar", "gcc-ar-12", "as", "ld.lld", "collect2", "cc1plus", "llvm-ar-14", "strip", "", "12"] {
            assert!(!is_driver(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_answers_of_gcc_and_clang_are_understood() {
        let said = b"install: /usr/lib/gcc/x/12/\nprograms: =/p/12/:/p/12/:/p/\nlibraries: =/l/../lib/:relative:/l/\n";

        let dirs = SearchDirs::understood(said);

        assert_eq!(dirs.programs, ["/p/12/", "/p/"].map(PathBuf::from));
        assert_eq!(dirs.libraries, ["/l/../lib/", "/l/"].map(PathBuf::from));
        assert_eq!(SearchDirs::understood(b"usage: ar\n"), SearchDirs::default());
    }

    #[test]
    fn the_first_that_fits_is_found_and_the_others_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = ["a", "b", "c"].map(|name| dir.path().join(name));
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        std::fs::write(dirs[1].join("crt1.o"), "").unwrap();
        std::fs::write(dirs[2].join("crt1.o"), "").unwrap();

        let found = file("crt1.o", &dirs);
        assert_eq!((found.path, found.missed), (Some(dirs[1].join("crt1.o")), vec![dirs[0].clone()]));
        assert_eq!(program("crt1.o", &dirs).path, None, "it is not executable");
        let shell = program("sh", &dirs);
        assert!(shell.by_path && shell.path.is_some());
    }
}
