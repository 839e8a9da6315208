//! Identities. None converts from a bare integer by accident, and none has arithmetic.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// A job's identity: 128 random bits made by the launcher, so that submitting a job twice is one job whatever
/// happened to the connection or the server in between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId([u8; 16]);

impl JobId {
    /// Takes the 16 bytes that the launcher drew.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight hex digits tell jobs apart in a log line; the whole id is what `Display` prints.
        write_hex(f, &self.0[..4])
    }
}

/// One run of a daemon: a random id, so that a restarted worker or server is recognised as another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation([u8; 16]);

impl Incarnation {
    /// Takes the 16 bytes that the daemon drew at start.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as they travel.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// A registered worker, numbered by the server in the order of first registration. The same incarnation keeps its
/// number when it reconnects; another incarnation of the same host gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(u32);

impl WorkerId {
    /// The `number`th worker that this server met.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, for logs and tables.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// A build: the jobs of one user under one build directory. A digest of the directory's path; see `design.md` section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(u64);

impl BuildId {
    /// Wraps the digest of the build directory.
    #[must_use]
    pub const fn new(digest: u64) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(self) -> u64 {
        self.0
    }
}

/// The user who submitted a job, by numeric uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(u32);

impl UserId {
    /// Wraps a uid of the operating system.
    #[must_use]
    pub const fn new(uid: u32) -> Self {
        Self(uid)
    }

    /// The uid.
    #[must_use]
    pub const fn uid(self) -> u32 {
        self.0
    }
}

/// A directory for the purposes of warmth: a digest of its path, so the scheduler never handles path bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirKey(u64);

impl DirKey {
    /// The key of the directory with this absolute path (bytes, no trailing slash). FNV-1a, 64 bits: stable over
    /// versions and machines, which is all that is asked of it; a collision only misjudges warmth.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        Self(fnv1a(path))
    }

    /// Wraps a digest made elsewhere.
    #[must_use]
    pub const fn new(digest: u64) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(self) -> u64 {
        self.0
    }
}

/// What a job makes, whatever the build directory: a digest of its primary output's path below the build directory, by
/// which history remembers how long it took and how much memory it needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputKey(u64);

impl OutputKey {
    /// The key of this output; `path` and `build_dir` are absolute. An output elsewhere counts by its whole path.
    ///
    /// `dir/../` is left out, as if no directory were a symbolic link: whoever writes a file and whoever reads it may
    /// name it from different directories, and two keys of one file cost a prediction, no more.
    #[must_use]
    pub fn of_path(path: &[u8], build_dir: &[u8]) -> Self {
        let (path, build_dir) = (&*without_dots(path), &*without_dots(build_dir));
        let below = path.strip_prefix(build_dir).and_then(|rest| rest.strip_prefix(b"/"));
        Self(fnv1a(below.unwrap_or(path)))
    }

    /// Wraps a digest made elsewhere.
    #[must_use]
    pub const fn new(digest: u64) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn digest(self) -> u64 {
        self.0
    }
}

/// An absolute path without `.`, `..` and doubled slashes.
fn without_dots(path: &[u8]) -> Cow<'_, [u8]> {
    let has_dots = path.windows(2).any(|two| matches!(two, b"/." | b"//"));
    if !has_dots {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    Cow::Owned(parts.iter().flat_map(|part| [b"/", *part]).flatten().copied().collect())
}

/// A toolchain as the scheduler knows it: equal keys may stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolchainKey(u64);

impl ToolchainKey {
    /// The key of a compiler, linker or archiver by the canonical path of its program and what has to be the same of it
    /// besides: its fingerprint, or less where the operator is content with less.
    #[must_use]
    pub fn of_program(canonical_path: &[u8], sameness: &[u8]) -> Self {
        // No path holds a zero byte.
        let parts = [canonical_path, &[0], sameness].into_iter().flatten();
        Self(parts.fold(fnv1a(&[]), |digest, &byte| fnv1a_step(digest, byte)))
    }

    /// The key of a driver together with a linker that it is told to use.
    #[must_use]
    pub fn with_linker(self, linker: Self) -> Self {
        Self(linker.0.to_le_bytes().into_iter().fold(self.0, fnv1a_step))
    }

    /// Wraps a digest made elsewhere.
    #[must_use]
    pub const fn new(digest: u64) -> Self {
        Self(digest)
    }

    /// The digest, as it travels.
    #[must_use]
    pub const fn digest(self) -> u64 {
        self.0
    }
}

/// Machines that a compiler would take for the same CPU: equal classes give equal bytes for `-march=native`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuClass(u64);

impl CpuClass {
    /// The class of a machine that gives these answers to a compiler's questions. FNV-1a, 64 bits: answers are facts
    /// about processors on the market, chosen by nobody.
    #[must_use]
    pub fn of_answers(answers: &[u8]) -> Self {
        Self(fnv1a(answers))
    }

    /// Wraps a digest made elsewhere.
    #[must_use]
    pub const fn new(digest: u64) -> Self {
        Self(digest)
    }

    /// The digest, as it travels.
    #[must_use]
    pub const fn digest(self) -> u64 {
        self.0
    }
}

/// The FNV-1a hash of `bytes`, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_more(0xcbf2_9ce4_8422_2325, bytes)
}

/// The hash of what `digest` is the hash of, followed by `bytes`.
#[must_use]
pub fn fnv1a_more(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, &byte| fnv1a_step(digest, byte))
}

fn fnv1a_step(digest: u64, byte: u8) -> u64 {
    (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// One execution of a job on one worker. Its number counts from 1 within the job; orders, reports and temporary files
/// name it, so that late echoes of an earlier attempt are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// Which job.
    pub job: JobId,
    /// Which try, from 1.
    pub number: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_job_id_prints_whole_for_people_and_short_for_logs() {
        let id = JobId::from_bytes([0xab; 16]);

        assert_eq!(format!("{id}"), "ab".repeat(16));
        assert_eq!(format!("{id:?}"), "abababab");
    }

    #[test]
    fn the_digest_is_the_published_one() {
        // Test vectors of the FNV reference distribution.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn an_output_is_known_again_in_another_build_directory() {
        let here = OutputKey::of_path(b"/home/ann/tree/out/a.o", b"/home/ann/tree");
        let there = OutputKey::of_path(b"/home/bob/tree2/out/a.o", b"/home/bob/tree2");

        assert_eq!(here, there);
        assert_ne!(here, OutputKey::of_path(b"/home/ann/tree/out/a.o", b"/home/ann/tre"));
    }

    #[test]
    fn an_output_is_the_same_from_whichever_directory_it_is_named() {
        let made = OutputKey::of_path(b"/b/lib/x.a", b"/b");

        for name in ["/b/app/../lib/x.a", "/b/./lib//x.a", "/b/app/sub/../../lib/x.a", "/../b/lib/.hid/../x.a"] {
            assert_eq!(OutputKey::of_path(name.as_bytes(), b"/b"), made, "{name}");
        }
        assert_ne!(OutputKey::of_path(b"/b/lib/..x.a", b"/b"), OutputKey::of_path(b"/b/x.a", b"/b"));
    }

    #[test]
    fn path_sameness_and_linker_make_a_toolchain() {
        let gcc = ToolchainKey::of_program(b"/usr/bin/gcc", b"12");
        let others = [
            ToolchainKey::of_program(b"/usr/bin/gcc", b"13"),
            ToolchainKey::of_program(b"/usr/bin/gcc1", b"2"),
            gcc.with_linker(ToolchainKey::of_program(b"/usr/bin/ld.gold", b"")),
            gcc.with_linker(ToolchainKey::of_program(b"/usr/bin/ld.bfd", b"")),
        ];

        assert!(!others.contains(&gcc));
        assert_ne!(others[2], others[3]);
    }
}
