//! The identity of a toolchain: which parts it has, and the fingerprint over them.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::ask::first_line;
use crate::digest::Digests;
use crate::gathering::{Gathering, Heed};
use crate::headers::{self, KERNEL_DIRS, Owner, Walk};
use crate::known::{Fingerprint, Known, Part};
use crate::mark::Seen;
use crate::search::{self, Found, SearchDirs};

/// What a driver executes. What it lacks is no part, and so two hosts differ of which one has no C++.
const PROGRAMS: [&str; 8] = ["as", "cc1", "cc1plus", "collect2", "ld", "lto-wrapper", "lto1", "objcopy"];
/// And a driver for Fortran besides.
const FORTRAN: &str = "f951";

/// What is linked without being named, by the part that it belongs to.
const LINKED: [(&str, &[&str]); 7] = [
    (
        "startup files",
        &[
            "crt1.o",
            "Scrt1.o",
            "rcrt1.o",
            "gcrt1.o",
            "grcrt1.o",
            "Mcrt1.o",
            "crti.o",
            "crtn.o",
            "crtbegin.o",
            "crtbeginS.o",
            "crtbeginT.o",
            "crtend.o",
            "crtendS.o",
            "crtfastmath.o",
        ],
    ),
    (
        "libgcc",
        &[
            "libgcc.a",
            "libgcc_eh.a",
            "libgcc_s.so",
            "libgcc_s.so.1",
            "libgcov.a",
            "libssp_nonshared.a",
            "libatomic.a",
            "libatomic.so",
        ],
    ),
    (
        "libc",
        &[
            "libc.so",
            "libc.so.6",
            "libc.a",
            "libc_nonshared.a",
            "libm.so",
            "libm.so.6",
            "libm.a",
            "libmvec.so",
            "libmvec.so.1",
            "libmvec.a",
            "libpthread.so",
            "libpthread.a",
            "libdl.so",
            "libdl.a",
            "librt.so",
            "librt.a",
            "libutil.a",
        ],
    ),
    (
        "C++ library",
        &[
            "libstdc++.so",
            "libstdc++.so.6",
            "libstdc++.a",
            "libsupc++.a",
            "libstdc++fs.a",
            "libstdc++exp.a",
            "libc++.so",
            "libc++.so.1",
            "libc++.a",
            "libc++abi.so",
            "libc++abi.a",
        ],
    ),
    ("libgomp", &["libgomp.so", "libgomp.a", "libitm.so", "libitm.a"]),
    (
        "sanitizers",
        &[
            "libasan.so",
            "libasan.a",
            "libasan_preinit.o",
            "libubsan.so",
            "libubsan.a",
            "libtsan.so",
            "libtsan.a",
            "libtsan_preinit.o",
            "liblsan.so",
            "liblsan.a",
            "liblsan_preinit.o",
        ],
    ),
    ("specs", &["specs", "libgomp.spec", "libitm.spec", "libsanitizer.spec"]),
];

/// A toolchain that was read, and how all of it looked then.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) known: Known,
    pub(crate) soon: Vec<Seen>,
    pub(crate) later: Vec<Seen>,
}

impl Identity {
    /// Reads the toolchain of a program: a driver with all that it executes and reads, another tool with its libraries.
    /// `program` is its canonical path. Takes some tenths of a second for what `digests` does not know yet.
    ///
    /// # Errors
    /// When a part cannot be read, or changes meanwhile.
    pub fn of(program: &Path, digests: &Digests) -> Result<Self, Error> {
        let mut gathering = Gathering::new(digests);
        gathering.program("driver", program)?;
        // What the loader would load instead.
        gathering.look(Path::new("/etc/ld.so.cache"), Heed::AtOnce);
        gathering.look(Path::new("/etc/ld.so.preload"), Heed::AtOnce);
        let name = program.file_name().unwrap_or_default().as_bytes();
        let is_driver = search::is_driver(name);
        let by_path = if is_driver { driver(&mut gathering, program)? } else { Vec::new() };
        if !is_driver {
            archiver(&mut gathering, program)?;
        }
        let (parts, soon, later) = gathering.finish();
        let parts: Vec<Part> = parts.iter().map(|(name, contents)| Part::new(name, contents)).collect();
        let known = Known {
            fingerprint: Fingerprint::over(&parts),
            parts,
            version: first_line(program, "--version"),
            target: if is_driver { first_line(program, "-dumpmachine") } else { String::new() },
            by_path,
        };
        Ok(Self { known, soon, later })
    }

    /// What is known of it.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The first of the files that an upgrade always touches which looks otherwise than when it was read; some thirty
    /// calls of stat(2).
    #[must_use]
    pub fn changed(&self) -> Option<&Path> {
        changed(&self.soon)
    }

    /// The same for all the others: thousands, headers mostly.
    #[must_use]
    pub fn changed_behind(&self) -> Option<&Path> {
        changed(&self.later)
    }

    /// The files that were read for it, by device and inode; and directories.
    #[must_use]
    pub fn inodes(&self) -> HashSet<(u64, u64)> {
        let marks = self.soon.iter().chain(&self.later).filter_map(|seen| seen.mark);
        marks.map(|mark| (mark.device, mark.inode)).collect()
    }

    /// Whether every later change will show.
    pub(crate) fn is_settled(&self) -> bool {
        self.soon.iter().chain(&self.later).all(Seen::is_settled)
    }
}

pub(crate) fn changed(all: &[Seen]) -> Option<&Path> {
    all.iter().find(|seen| !seen.is_unchanged()).map(|seen| seen.path.as_path())
}

/// The parts of a driver besides itself; returns what it finds on the `PATH`.
fn driver(gathering: &mut Gathering<'_>, driver: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    behind_script(gathering, driver)?;
    configuration(gathering, driver)?;
    let dirs = SearchDirs::of(driver).map_err(|error| Error::new(driver, error))?;
    if dirs.programs.is_empty() && dirs.libraries.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_path = Vec::new();
    let is_fortran = search::is_of_fortran(driver);
    for name in PROGRAMS.into_iter().chain(is_fortran.then_some(FORTRAN)) {
        let found = search::program(name, &dirs.programs);
        let Some(path) = remember(gathering, &found) else { continue };
        gathering.program(name, path)?;
        if found.by_path {
            by_path.push((name.to_owned(), path.to_owned()));
        }
    }
    plugin(gathering, &dirs)?;
    linked(gathering, &dirs)?;
    match is_fortran {
        // There need be no C compiler beside it, whose headers it could tell of.
        true => modules(gathering, &dirs)?,
        false => included(gathering, driver, &dirs)?,
    }
    Ok(by_path)
}

/// `c89` is a script that executes `gcc`.
fn behind_script(gathering: &mut Gathering<'_>, driver: &Path) -> Result<(), Error> {
    let mut start = [0; 2];
    let read = File::open(driver).and_then(|mut file| file.read_exact(&mut start));
    if read.is_err() || start != *b"#!" {
        return Ok(());
    }
    let found = search::program("gcc", &[]);
    remember(gathering, &found).map_or(Ok(()), |path| gathering.program("gcc", path))
}

/// Clang reads files of options: beside itself, and in `/etc/clang` (Clang manual, "Configuration files").
fn configuration(gathering: &mut Gathering<'_>, driver: &Path) -> Result<(), Error> {
    let name = driver.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains("clang") {
        return Ok(());
    }
    let names = [format!("{name}.cfg"), "clang.cfg".to_owned(), "clang++.cfg".to_owned(), "clang-cpp.cfg".to_owned()];
    let mut files = Vec::new();
    for dir in [driver.parent().unwrap_or(Path::new("/")), Path::new("/etc/clang")] {
        for name in &names {
            let path = dir.join(name);
            gathering.look(&path, Heed::Later);
            if path.is_file() {
                files.push((name.as_str(), path));
            }
        }
    }
    gathering.group("configuration", &files)
}

/// The plugin through which linker and archivers read GCC's intermediate code.
fn plugin(gathering: &mut Gathering<'_>, dirs: &SearchDirs) -> Result<(), Error> {
    const PLUGIN: &str = "liblto_plugin.so";
    let found = search::file(PLUGIN, &dirs.programs);
    let found = if found.path.is_some() { found } else { search::file(PLUGIN, &dirs.libraries) };
    found.path.map_or(Ok(()), |path| gathering.file(PLUGIN, &path))
}

fn linked(gathering: &mut Gathering<'_>, dirs: &SearchDirs) -> Result<(), Error> {
    if let Some(first) = dirs.libraries.first() {
        gathering.look(first, Heed::AtOnce);
    }
    for (part, names) in LINKED {
        let mut files = Vec::new();
        for name in names {
            let found = search::file(name, &dirs.libraries);
            let Some(path) = remember(gathering, &found) else { continue };
            if *name == "libc.so" {
                // Where a new one appears by a rename.
                gathering.look(path.parent().unwrap_or(path), Heed::AtOnce);
            }
            files.extend(script_inputs(path));
            files.push(((*name).to_owned(), path.to_owned()));
        }
        gathering.group(part, &files)?;
    }
    // Clang's own run-time library.
    let Some(own) = own_dirs(dirs).into_iter().find(|dir| dir.components().any(|part| part.as_os_str() == "clang"))
    else {
        return Ok(());
    };
    let lib = own.join("lib");
    gathering.look(&lib, Heed::Later);
    if lib.is_dir() {
        let files = walk(gathering, &lib)?.into_iter().collect();
        gathering.headers("compiler-rt", &files)?;
    }
    Ok(())
}

/// `libc.so` is a text that names the files to be linked (GNU ld manual, "Implicit linker scripts").
fn script_inputs(path: &Path) -> Vec<(String, PathBuf)> {
    const LONGEST: u64 = 4096;
    if !std::fs::metadata(path).is_ok_and(|facts| facts.len() <= LONGEST) {
        return Vec::new();
    }
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let words = text.split(|letter: char| letter.is_whitespace() || "(),".contains(letter));
    let files = words.filter(|word| word.starts_with('/') && Path::new(word).is_file());
    files.map(|word| (word.to_owned(), PathBuf::from(word))).collect()
}

/// The compiler's own directories, resolved.
fn own_dirs(dirs: &SearchDirs) -> Vec<PathBuf> {
    let own = dirs.libraries.first().and_then(|first| std::fs::canonicalize(first).ok());
    let is_own = |dir: &PathBuf| {
        dir.components().any(|part| ["gcc", "gcc-cross", "clang"].iter().any(|name| part.as_os_str() == *name))
    };
    own.into_iter().filter(is_own).collect()
}

fn included(gathering: &mut Gathering<'_>, driver: &Path, dirs: &SearchDirs) -> Result<(), Error> {
    let own = own_dirs(dirs);
    let mut headers: [BTreeSet<PathBuf>; 4] = Default::default();
    let [compiler, cpp, libc, kernel] = &mut headers;
    for named in headers::include_dirs(driver).map_err(|error| Error::new(driver, error))? {
        gathering.look(&named, Heed::AtOnce);
        let Ok(dir) = std::fs::canonicalize(&named) else { continue };
        match headers::owner_of(&dir, &own) {
            Owner::Compiler => compiler.extend(walk(gathering, &dir)?),
            Owner::Cpp => cpp.extend(walk(gathering, &dir)?),
            Owner::Everybody => {
                let (files, dirs) = headers::of_libc(&dir);
                libc.extend(files);
                for below in dirs {
                    libc.extend(walk(gathering, &below)?);
                }
                for below in KERNEL_DIRS.map(|name| dir.join(name)) {
                    gathering.look(&below, Heed::Later);
                    if below.is_dir() {
                        kernel.extend(walk(gathering, &below)?);
                    }
                }
            }
        }
    }
    let names = ["compiler's headers", "C++ headers", "libc headers", "kernel headers"];
    names.iter().zip(&headers).try_for_each(|(name, files)| gathering.headers(name, files))
}

/// What Fortran has in place of headers: `omp_lib.mod`.
fn modules(gathering: &mut Gathering<'_>, dirs: &SearchDirs) -> Result<(), Error> {
    let mut files = BTreeSet::new();
    for dir in own_dirs(dirs).into_iter().map(|own| own.join("finclude")).filter(|dir| dir.is_dir()) {
        files.extend(walk(gathering, &dir)?);
    }
    gathering.headers("Fortran modules", &files)
}

fn walk(gathering: &mut Gathering<'_>, root: &Path) -> Result<Vec<PathBuf>, Error> {
    let walk = Walk::through(root).map_err(|error| Error::new(root, error))?;
    // What comes in while the walk is under way is at worst a change that shows at the next look.
    walk.dirs.iter().for_each(|dir| gathering.look(dir, Heed::Later));
    Ok(walk.files)
}

/// `ar`, `nm` and `ranlib` load plugins from `../lib/bfd-plugins`; GCC's wrappers of them execute them.
fn archiver(gathering: &mut Gathering<'_>, tool: &Path) -> Result<(), Error> {
    let dir = tool.parent().unwrap_or(Path::new("/"));
    let plugins = dir.join("../lib/bfd-plugins");
    gathering.look(&plugins, Heed::AtOnce);
    if plugins.is_dir() {
        let files = walk(gathering, &plugins)?;
        let named: Vec<_> =
            files.into_iter().map(|path| (path.file_name().unwrap_or_default().as_bytes().to_vec(), path)).collect();
        gathering.group("bfd-plugins", &named)?;
    }
    let name = tool.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((wrapper, wrapped)) = wrapped_by(&name) else { return Ok(()) };
    let driver = dir.join(wrapper);
    // Without its driver it finds nothing either.
    let dirs = if driver.is_file() { SearchDirs::of(&driver) } else { Ok(SearchDirs::default()) };
    let dirs = dirs.map_err(|error| Error::new(&driver, error))?;
    for name in wrapped {
        let found = search::program(&name, &dirs.programs);
        if let Some(path) = remember(gathering, &found) {
            gathering.program("wrapped tool", path)?;
            break;
        }
    }
    plugin(gathering, &dirs)
}

/// `x86_64-linux-gnu-gcc-ar-12` asks the driver `x86_64-linux-gnu-gcc-12`, and executes `ar` or `x86_64-linux-gnu-ar`.
fn wrapped_by(name: &str) -> Option<(String, Vec<String>)> {
    ["ar", "nm", "ranlib"].into_iter().find_map(|tool| {
        let at = name.find(&format!("gcc-{tool}"))?;
        let (prefix, rest) = (&name[..at], &name[at + 4 + tool.len()..]);
        Some((format!("{prefix}gcc{rest}"), vec![tool.to_owned(), format!("{prefix}{tool}")]))
    })
}

/// Where it was looked for in vain, another one may appear.
fn remember<'f>(gathering: &mut Gathering<'_>, found: &'f Found) -> Option<&'f Path> {
    let heed = if found.by_path { Heed::AtOnce } else { Heed::Later };
    for dir in &found.missed {
        // What a path of a driver's own leads to is rarely there at all.
        let heed = if Path::new(OsStr::new(dir)).is_dir() { heed } else { Heed::Later };
        gathering.look(dir, heed);
    }
    found.path.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gccs_archivers_are_wrappers() {
        let (driver, tools) = wrapped_by("x86_64-linux-gnu-gcc-ar-12").unwrap();

        assert_eq!(driver, "x86_64-linux-gnu-gcc-12");
        assert_eq!(tools, ["ar", "x86_64-linux-gnu-ar"]);
        assert_eq!(wrapped_by("llvm-ar-14"), None);
    }

    #[test]
    fn a_linker_script_names_what_is_linked() {
        let dir = tempfile::tempdir().unwrap();
        let (real, script) = (dir.path().join("libc.so.6"), dir.path().join("libc.so"));
        std::fs::write(&real, "").unwrap();
        let text = format!("/* GNU ld script */ GROUP ( {} AS_NEEDED ( /no/such/ld.so ) )", real.display());
        std::fs::write(&script, text).unwrap();

        assert_eq!(script_inputs(&script), [(real.display().to_string(), real)]);
    }
}
