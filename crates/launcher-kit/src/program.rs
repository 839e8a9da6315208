//! Which program a command means: what `execvp(3)` would find, and in masquerade the next one that is not ourselves.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A command whose program cannot be run; the message and the exit code are a shell's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// Nothing of that name: a shell's 127.
    #[error("{0}: command not found")]
    NotFound(String),
    /// A path without a file: a shell's 127.
    #[error("{0}: No such file or directory")]
    NoSuchFile(String),
    /// A file that may not be executed: a shell's 126.
    #[error("{0}: Permission denied")]
    NotExecutable(String),
    /// A directory: a shell's 126.
    #[error("{0}: Is a directory")]
    Directory(String),
}

impl ProgramError {
    /// The code a shell exits with (POSIX.1-2017, Shell Command Language 2.8.2).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::NoSuchFile(_) => 127,
            Self::NotExecutable(_) | Self::Directory(_) => 126,
        }
    }
}

/// Names of our own binaries: a file that resolves to one of these is a launcher, whichever build of it.
const LAUNCHERS: [&str; 2] = ["cc-launcher", "ld-launcher"];

/// Finds the program of `argv0`.
///
/// # Errors
/// As a shell would say it.
pub fn find(argv0: &OsStr, path: Option<&OsStr>, masquerade: bool) -> Result<PathBuf, ProgramError> {
    // Called by a path, a masquerade link has no next one but what the PATH holds under its name.
    let name = if masquerade { Path::new(argv0).file_name().unwrap_or(argv0) } else { argv0 };
    if name.as_bytes().contains(&b'/') {
        return check(Path::new(name));
    }
    search(name, path, masquerade)
}

/// Finds the program of `argv0` for a command that is to run in another directory than ours: an absolute path.
///
/// # Errors
/// As a shell would say it.
pub fn find_in(directory: &Path, argv0: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, ProgramError> {
    if argv0.as_bytes().contains(&b'/') {
        return check(&directory.join(argv0));
    }
    search(argv0, path, false).map(|program| directory.join(program))
}

fn search(name: &OsStr, path: Option<&OsStr>, masquerade: bool) -> Result<PathBuf, ProgramError> {
    // glibc's default when PATH is unset is "/bin:/usr/bin" (confstr(3), _CS_PATH).
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let mut denied = None;
    for dir in std::env::split_paths(path) {
        let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
        let candidate = dir.join(name);
        let Ok(metadata) = std::fs::metadata(&candidate) else { continue };
        if masquerade && is_launcher(&candidate, &metadata) {
            continue;
        }
        match check_file(&candidate, &metadata) {
            Ok(()) => return Ok(candidate),
            Err(error @ ProgramError::NotExecutable(_)) => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| ProgramError::NotFound(name.to_string_lossy().into_owned())))
}

/// The rest of the `PATH` behind the directory in which `argv0`'s name is a launcher. A driver that was called without
/// a slash finds itself on the PATH to locate its parts (GCC: `make_relative_prefix`), and must not find us there; and
/// what comes before us (another masquerade, ccache's for one) has called us and is not to be called again.
#[must_use]
pub fn path_behind_masquerade(argv0: &OsStr, path: &OsStr) -> OsString {
    let name = Path::new(argv0).file_name().unwrap_or(argv0);
    let holds_launcher = |dir: &PathBuf| {
        let candidate = dir.join(name);
        std::fs::metadata(&candidate).is_ok_and(|metadata| is_launcher(&candidate, &metadata))
    };
    let dirs: Vec<PathBuf> = std::env::split_paths(path).collect();
    let ours = dirs.iter().position(holds_launcher).map_or(0, |at| at + 1);
    let behind = dirs[ours..].iter().filter(|dir| !holds_launcher(dir));
    // What was split at colons can be joined with them.
    std::env::join_paths(behind).unwrap_or_else(|_| path.to_owned())
}

fn check(program: &Path) -> Result<PathBuf, ProgramError> {
    match std::fs::metadata(program) {
        Ok(metadata) => check_file(program, &metadata).map(|()| program.to_owned()),
        Err(_) => Err(ProgramError::NoSuchFile(program.to_string_lossy().into_owned())),
    }
}

fn check_file(program: &Path, metadata: &Metadata) -> Result<(), ProgramError> {
    let name = || program.to_string_lossy().into_owned();
    if metadata.is_dir() {
        return Err(ProgramError::Directory(name()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(ProgramError::NotExecutable(name()));
    }
    Ok(())
}

/// Whether a file is this very executable, or another copy of a launcher.
pub(crate) fn is_launcher(file: &Path, metadata: &Metadata) -> bool {
    let own = std::fs::metadata("/proc/self/exe");
    if own.is_ok_and(|own| own.dev() == metadata.dev() && own.ino() == metadata.ino()) {
        return true;
    }
    let resolved = std::fs::canonicalize(file);
    resolved.is_ok_and(|path| path.file_name().is_some_and(|name| LAUNCHERS.iter().any(|own| name == OsStr::new(own))))
}

/// Makes a program's path absolute without resolving anything: what is run is what was named.
#[must_use]
pub fn absolute(program: &Path, cwd: &Path) -> OsString {
    if program.is_absolute() { program.into() } else { cwd.join(program).into_os_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn executable(path: &Path) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn masquerade_finds_the_next_one_that_is_no_launcher() {
        let dir = tempfile::tempdir().unwrap();
        let (links, copies, real) = (dir.path().join("links"), dir.path().join("copies"), dir.path().join("real"));
        for each in [&links, &copies, &real] {
            std::fs::create_dir(each).unwrap();
        }
        symlink(std::env::current_exe().unwrap(), links.join("g++")).unwrap();
        executable(&copies.join("cc-launcher"));
        symlink("cc-launcher", copies.join("g++")).unwrap();
        executable(&real.join("g++"));
        let caller = dir.path().join("caller");
        std::fs::create_dir(&caller).unwrap();
        executable(&caller.join("g++"));
        let path = std::env::join_paths([&caller, &links, &copies, &real]).unwrap();

        let behind = path_behind_masquerade(OsStr::new("/anywhere/g++"), &path);
        let found = find(OsStr::new("/anywhere/g++"), Some(&behind), true);

        assert_eq!(behind, real.as_os_str());
        assert_eq!(found, Ok(real.join("g++")));
    }

    #[test]
    fn a_relative_program_is_that_of_the_commands_directory() {
        let dir = tempfile::tempdir().unwrap();
        executable(&dir.path().join("gcc"));

        let found = find_in(dir.path(), OsStr::new("./gcc"), None);
        let missing = find_in(dir.path(), OsStr::new("./g++"), None);

        assert_eq!(found, Ok(dir.path().join("./gcc")));
        assert!(matches!(missing, Err(ProgramError::NoSuchFile(name)) if name.ends_with("/./g++")));
    }

    #[test]
    fn what_is_missing_or_denied_is_said_as_a_shell_says_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cc"), "").unwrap();
        let path = dir.path().as_os_str();

        let missing = find(OsStr::new("no-such-cc"), Some(path), false).unwrap_err();
        let absent = find(OsStr::new("/no/such/cc"), Some(path), false).unwrap_err();
        let denied = find(OsStr::new("cc"), Some(path), false).unwrap_err();

        assert_eq!((missing.to_string(), missing.exit_code()), ("no-such-cc: command not found".into(), 127));
        assert_eq!((absent.to_string(), absent.exit_code()), ("/no/such/cc: No such file or directory".into(), 127));
        assert!(denied.to_string().ends_with("cc: Permission denied") && denied.exit_code() == 126);
    }
}
