//! Files that a failed command has not found on its worker, and that this machine has beside the shared mount: in the system's
//! own directories, or where a link on the mount leads. Then the command is run here. What lies on the mount itself is the
//! worker's to see: a command that does not find it there does not look there (`-iquote`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cmdline::Meaning;
use proto::v1;
use toolchain::usual;

use crate::decide::FilesFrom;

/// How tools say that a header or library is missing, up to its name, and what comes behind that. The first one that fits.
const MISSING: [(&str, &str, Kind); 7] = [
    ("fatal error: '", "' file not found", Kind::File),
    ("fatal error: ", ": No such file or directory", Kind::File),
    ("cannot find -l", ":", Kind::Library),
    ("unable to find library -l", "\n", Kind::Library),
    ("cannot find ", ": No such file or directory", Kind::File),
    ("file not found: ", "\n", Kind::File),
    ("error opening thin archive member: ", ": No such file or directory", Kind::File),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Library,
}

/// The first file that a failed command named as missing and that is here, off this mount.
pub(crate) fn here(said: &[u8], command: &v1::Command, mount: &[u8]) -> Option<PathBuf> {
    let said = String::from_utf8_lossy(said);
    let mut missing = said.split_inclusive('\n').filter_map(missing_in).peekable();
    missing.peek()?;
    let dirs = Dirs::of(command);
    let mount = Path::new(OsStr::from_bytes(mount)).canonicalize().ok();
    missing.find_map(|missing| dirs.candidates(&missing).into_iter().find(|path| is_file_off(path, mount.as_deref())))
}

fn is_file_off(path: &Path, mount: Option<&Path>) -> bool {
    let is_off = |real: PathBuf| mount.is_none_or(|mount| !real.starts_with(mount));
    path.is_file() && path.canonicalize().is_ok_and(is_off)
}

/// What one line misses.
struct Missing<'a> {
    name: &'a str,
    kind: Kind,
    /// The file that asks for it, where the line begins with one.
    asker: &'a str,
}

fn missing_in(line: &str) -> Option<Missing<'_>> {
    MISSING.iter().find_map(|&(before, behind, kind)| {
        let name = line.split_once(before)?.1.split_once(behind)?.0.trim_end();
        let asker = line.split(':').next().unwrap_or_default();
        Some(Missing { name, kind, asker })
    })
}

/// Where a command looks for files.
struct Dirs {
    cwd: PathBuf,
    named: Vec<PathBuf>,
    /// In the system's directories, at their usual places.
    in_system: bool,
}

impl Dirs {
    fn of(command: &v1::Command) -> Self {
        let cwd = PathBuf::from(OsStr::from_bytes(&command.cwd));
        let named = named(command, &cwd).unwrap_or_default();
        // They lie elsewhere then, or are not searched.
        let moves = |arg: &[u8]| arg.starts_with(b"--sysroot") || arg.starts_with(b"-isysroot") || arg == b"-nostdinc";
        let in_system = !command.argv.iter().any(|arg| moves(arg));
        Self { cwd, named, in_system }
    }

    fn candidates(&self, missing: &Missing<'_>) -> Vec<PathBuf> {
        let Missing { name, kind, asker } = *missing;
        let system = match kind {
            Kind::File => usual::include_dirs().to_vec(),
            Kind::Library => usual::library_dirs(),
        };
        let beside = self.cwd.join(asker).parent().map(Path::to_owned);
        let own = self.named.iter().cloned().chain([self.cwd.clone()]).chain(beside);
        let dirs = own.chain(system.into_iter().filter(|_| self.in_system));
        match kind {
            Kind::File => dirs.map(|dir| dir.join(name)).collect(),
            Kind::Library => {
                dirs.flat_map(|dir| ["so", "a"].map(|suffix| dir.join(format!("lib{name}.{suffix}")))).collect()
            }
        }
    }
}

/// The directories that the command names, and those of the files that it names.
fn named(command: &v1::Command, cwd: &Path) -> Option<Vec<PathBuf>> {
    let (program, args) = command.argv.split_first()?;
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let Meaning::Job(job) = cmdline::understand(&cmdline::tool_of(program)?, &args, &FilesFrom(cwd)) else {
        return None;
    };
    let path = |bytes: &Vec<u8>| cwd.join(OsStr::from_bytes(bytes));
    let beside = job.inputs.iter().filter_map(|input| Some(path(input).parent()?.to_owned()));
    Some(job.dirs.iter().map(path).chain(beside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(cwd: &Path, words: &str) -> v1::Command {
        v1::Command {
            cwd: cwd.as_os_str().as_bytes().to_vec().into(),
            argv: words.split(' ').map(|word| word.to_owned().into()).collect(),
            ..v1::Command::default()
        }
    }

    fn of_system(said: &[u8]) -> Option<PathBuf> {
        here(said, &v1::Command::default(), b"")
    }

    #[test]
    fn what_is_missing_there_and_not_here_is_found_in_what_tools_say() {
        let gcc = b"a.c:1:10: fatal error: stdio.h: No such file or directory\n    1 | #include <stdio.h>\n";
        let clang = b"a.c:1:10: fatal error: 'stdio.h' file not found\n";

        assert_eq!(of_system(gcc), Some("/usr/include/stdio.h".into()));
        assert_eq!(of_system(clang), Some("/usr/include/stdio.h".into()));
        assert_eq!(of_system(b"a.c:1:10: fatal error: no-such.h: No such file or directory\n"), None);
        assert_eq!(of_system(b"/usr/bin/ld: cannot find -lno-such: No such file or directory\n"), None);
        let found = of_system(b"x.o\n/usr/bin/ld: cannot find -lm: No such file or directory\n").unwrap();
        assert!(found.ends_with("libm.so") || found.ends_with("libm.a"), "{}", found.display());
    }

    #[test]
    fn nothing_is_looked_for_in_the_systems_directories_that_the_command_does_not_look_for_there() {
        let said = b"a.c:1:10: fatal error: stdio.h: No such file or directory\n";
        let of = |words: &str| here(said, &command(Path::new("/"), words), b"/no/such");

        assert_eq!(of("gcc -c a.c"), Some("/usr/include/stdio.h".into()));
        for elsewhere in ["--sysroot=/sr", "--sysroot /sr", "-isysroot /sr", "-nostdinc"] {
            assert_eq!(of(&format!("gcc {elsewhere} -c a.c")), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_a_command_looks_for_in_its_own_directories_is_found_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["inc/x.h", "lib/libx.a", "src/gen/y.h", "z.o"] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        }
        let of = |words: &str, said: String| here(said.as_bytes(), &command(dir.path(), words), b"/no/such");

        let header = "a.c:1:10: fatal error: x.h: No such file or directory\n".to_owned();
        assert_eq!(of("gcc -Iinc -c a.c", header.clone()), Some(at("inc/x.h")));
        assert_eq!(of("gcc -Ilib -c a.c", header), None);
        let library = "ld: cannot find -lx: No such file or directory\n".to_owned();
        assert_eq!(of("gcc a.o -Llib -lx", library), Some(at("lib/libx.a")));
        let beside = "src/a.h:3:10: fatal error: gen/y.h: No such file or directory\n".to_owned();
        assert_eq!(of("gcc -c a.c", beside), Some(at("src/gen/y.h")));
        let absolute = format!("/usr/bin/ld: cannot find {}: No such file or directory\n", at("z.o").display());
        assert_eq!(of("gcc a.o -o a", absolute.clone()), Some(at("z.o")));
        let mount = dir.path().as_os_str().as_bytes();
        let on_mount = here(absolute.as_bytes(), &command(dir.path(), "gcc a.o -o a"), mount);
        assert_eq!(on_mount, None, "the worker has it too");
    }
}
