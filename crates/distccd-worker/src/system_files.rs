//! What a command read of the system beyond its toolchain: zlib's header, `libboost_system.so`. No fingerprint has that, or a
//! developer's machine would find no worker like it; so a worker says what it was, and the launcher compares it with its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use proto::v1;
use toolchain::Digests;

use crate::toolchains::Parts;

/// Those of the opened files that are no part of the toolchain. One that cannot be read any more is told of
/// without contents, which nobody has.
pub(crate) fn beyond(parts: &Parts, opened: &[Bytes], digests: &Digests) -> Vec<v1::SystemFile> {
    let judge = |path: &Bytes| {
        let place = Path::new(OsStr::from_bytes(path));
        let Ok(facts) = fs::metadata(place) else {
            return Some(v1::SystemFile { path: path.clone(), ..v1::SystemFile::default() });
        };
        if !facts.is_file() || parts.have(&facts) {
            return None;
        }
        let mtime_ns = facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec());
        let digest = digests.content(place).map_or_else(|_| Bytes::new(), |digest| Bytes::copy_from_slice(&digest));
        Some(v1::SystemFile { path: path.clone(), size: facts.len(), mtime_ns, digest })
    };
    opened.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_toolchain_has_is_told_with_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zlib.h");
        fs::write(&path, "#define ZLIB 1\n").unwrap();
        let name = |path: &Path| Bytes::copy_from_slice(path.as_os_str().as_bytes());
        let opened = [name(&path), name(dir.path()), name(&dir.path().join("gone.h"))];

        let told = beyond(&Parts::of(&[], &[]), &opened, &Digests::default());

        assert_eq!(told.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), [name(&path), opened[2].clone()]);
        assert_eq!((told[0].size, told[0].digest.len()), (15, 32));
        assert!(told[1].digest.is_empty());
    }
}
