//! What a worker read of its system beyond the toolchain, against what this machine has: another zlib there may have made
//! another object than this machine's would, or an error that is none here. Then the command is run here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proto::v1::SystemFile;

/// A file's time tells versions apart from here on: package managers keep those of the package. Before that it is nobody's
/// choice, but what some systems give to every file.
const TELLING: i64 = 365 * 86_400 * 1_000_000_000;

/// The first of them that is another here, or is not here.
///
/// Size and time tell almost always, for a `stat` each; only where the times differ are contents read.
pub(crate) fn difference(files: &[SystemFile]) -> Option<String> {
    files.iter().find(|file| !is_same(file)).map(|file| String::from_utf8_lossy(&file.path).into_owned())
}

fn is_same(file: &SystemFile) -> bool {
    let path = Path::new(OsStr::from_bytes(&file.path));
    let Ok(facts) = fs::metadata(path) else { return false };
    if !facts.is_file() || facts.len() != file.size {
        return false;
    }
    let mtime_ns = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
    let is_of_one_package = mtime_ns == file.mtime_ns && mtime_ns >= TELLING;
    is_of_one_package || toolchain::content_of(path).is_ok_and(|digest| digest[..] == file.digest[..])
}

/// How tools say that a header or library is missing, up to its name, and what comes behind that.
const MISSING: [(&str, &str, Kind); 4] = [
    ("fatal error: '", "' file not found", Kind::Header),
    ("fatal error: ", ": No such file or directory", Kind::Header),
    ("cannot find -l", ":", Kind::Library),
    ("unable to find library -l", "\n", Kind::Library),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header,
    Library,
}

/// A header or library of which a failed command said that it is missing, and which this machine's system has.
pub(crate) fn missed(said: &[u8]) -> Option<PathBuf> {
    let said = String::from_utf8_lossy(said);
    said.split_inclusive('\n').find_map(|line| {
        let (name, kind) = MISSING.iter().find_map(|&(before, behind, kind)| {
            let name = line.split_once(before)?.1.split_once(behind)?.0;
            Some((name, kind))
        })?;
        candidates(name, kind).into_iter().find(|path| path.is_file())
    })
}

fn candidates(name: &str, kind: Kind) -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    match kind {
        Kind::Header => {
            let dirs =
                ["/usr/local/include".to_owned(), "/usr/include".to_owned(), format!("/usr/include/{multiarch}")];
            // An absolute name is no question of the system's directories.
            dirs.iter().map(|dir| Path::new(dir).join(name)).filter(|_| !name.starts_with('/')).collect()
        }
        Kind::Library => {
            let dirs = ["/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64"].map(str::to_owned);
            let dirs = dirs.into_iter().chain([format!("/usr/lib/{multiarch}"), format!("/lib/{multiarch}")]);
            let name = name.trim_end();
            dirs.flat_map(|dir| ["so", "a"].map(|suffix| Path::new(&dir).join(format!("lib{name}.{suffix}")))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn file(path: &Path, text: &str, time: SystemTime) -> SystemFile {
        fs::write(path, text).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        SystemFile {
            path: path.as_os_str().as_bytes().to_vec().into(),
            size: text.len() as u64,
            mtime_ns: i64::try_from(since.as_nanos()).unwrap(),
            digest: toolchain::content_of(path).unwrap().to_vec().into(),
        }
    }

    #[test]
    fn the_same_package_is_the_same_and_so_is_the_same_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zlib.h");
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let there = file(&path, "one", then);
        assert_eq!(difference(std::slice::from_ref(&there)), None);

        let unpacked_otherwise = SystemFile { mtime_ns: there.mtime_ns + 1, ..there.clone() };
        assert_eq!(difference(&[unpacked_otherwise]), None);

        // Of one size and another time.
        file(&path, "two", then + Duration::from_secs(1));
        assert_eq!(difference(std::slice::from_ref(&there)), Some(path.display().to_string()));
        fs::remove_file(&path).unwrap();
        assert!(difference(&[there]).is_some());
    }

    #[test]
    fn a_time_that_all_files_have_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zlib.h");
        let there = file(&path, "one", SystemTime::UNIX_EPOCH);

        file(&path, "two", SystemTime::UNIX_EPOCH);

        assert!(difference(&[there]).is_some());
    }

    #[test]
    fn what_is_missing_there_and_not_here_is_found_in_what_tools_say() {
        let gcc = b"a.c:1:10: fatal error: stdio.h: No such file or directory\n    1 | #include <stdio.h>\n";
        let clang = b"a.c:1:10: fatal error: 'stdio.h' file not found\n";

        assert_eq!(missed(gcc), Some("/usr/include/stdio.h".into()));
        assert_eq!(missed(clang), Some("/usr/include/stdio.h".into()));
        assert_eq!(missed(b"a.c:1:10: fatal error: no-such.h: No such file or directory\n"), None);
        assert_eq!(missed(b"/usr/bin/ld: cannot find -lno-such: No such file or directory\n"), None);
        let found = missed(b"x.o\n/usr/bin/ld: cannot find -lm: No such file or directory\n").unwrap();
        assert!(found.ends_with("libm.so") || found.ends_with("libm.a"), "{}", found.display());
    }
}
