//! What a worker read of its system beyond the toolchain, against what this machine has: another zlib there may have made
//! another object than this machine's would, or an error that is none here. Then the command is run here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
}
