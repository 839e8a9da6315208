//! `<fs-mount>/.distccd/cluster.toml`: what a server publishes on the shared mount, and how anybody reads it
//! (design.md section 9). Readable by all, writable by its owner alone.
//!
//! The server writes it and asks of it whether another server serves the mount; discovery reads the same file. Reading
//! says who owns the file; whom to believe is the reader's to decide ([`discovery`]). Beside it lies what the filesystem
//! is known by ([`mount_id`]).

pub mod discovery;
pub mod journal;
pub mod mount_id;
pub mod probe;

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use model::ids::Incarnation;
use mount_id::MountId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// The directory of a mount that holds what the cluster keeps there.
pub const DIRECTORY: &str = ".distccd";
/// The file in it.
pub const NAME: &str = "cluster.toml";
/// The only format so far. A later one may add keys without being another; a reader passes over what it does not know.
pub const FORMAT: i64 = 1;

/// No such file is larger.
const MAX_BYTES: u64 = 64 << 10;

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFile {
    /// Where the server listens: `HOST:PORT`, as others reach it. With a loopback address only the server's own host does.
    pub server_addr: String,
    /// The host that it runs on.
    pub host: String,
    /// Major and minor version of its protocol.
    pub protocol: (u32, u32),
    /// Which run of the server wrote it.
    pub incarnation: Incarnation,
    /// The boot of that host, by which a machine knows itself; not every server says it.
    pub boot: Option<String>,
    /// What the filesystem is known by, if the server could tell.
    pub mount: Option<MountId>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says.
    pub file: ClusterFile,
    /// Who can write it: its owner, and nobody else.
    pub owner: u32,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no regular file, or others than its owner may write it or its directory.
    #[error("{0}; remove it")]
    Unsafe(&'static str),
    /// It is not what a server writes.
    #[error("{0}; remove it, the server writes it anew when it starts")]
    Malformed(String),
    /// A later release wrote it in a format that this one does not know.
    #[error("it has format {0}, and this release knows {FORMAT}: install the server's release")]
    Later(i64),
}

/// Where the file is, for people.
#[must_use]
pub fn path_on(mount: &Path) -> PathBuf {
    mount.join(DIRECTORY).join(NAME)
}

/// Reads the file of a mount; nothing when there is none. May hang as the filesystem does.
///
/// # Errors
/// When there is one that cannot be believed, whoever owns it.
pub fn read(mount: &Path) -> Result<Option<Found>, ReadError> {
    let directory = match open_directory(mount) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    // No device or FIFO holds us up, and no link leads elsewhere.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    opened(openat(&directory, NAME, flags, Mode::empty()), Some(&directory))
}

/// Reads what was opened, and whose it is.
fn opened(file: rustix::io::Result<OwnedFd>, directory: Option<&OwnedFd>) -> Result<Option<Found>, ReadError> {
    let file = match file {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(ReadError::Unsafe("it is a symbolic link")),
        file => file.map_err(io::Error::from)?,
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::Unsafe("it is no regular file"));
    }
    let around = directory.map(fstat).transpose().map_err(io::Error::from)?;
    if is_open_to_others(stat.st_mode) || around.is_some_and(|around| is_open_to_others(around.st_mode)) {
        return Err(ReadError::Unsafe("others than its owner may write it or its directory"));
    }
    // In one piece: a launcher pays for every call.
    let mut text = String::with_capacity(4096);
    match std::fs::File::from(file).take(MAX_BYTES).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(ReadError::Malformed("it is not text".to_owned()))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Some(Found { file: parse(&text)?, owner: stat.st_uid })),
    }
}

/// Writes the file of a mount, whole or not at all, and its directory if there is none. May hang as the filesystem does.
///
/// # Errors
/// When the system says so, or others may write the directory.
pub fn publish(mount: &Path, file: &ClusterFile) -> io::Result<()> {
    let directory = directory_for_writing(mount)?;
    replace(&directory, NAME, &format!("{NAME}.{}", file.incarnation), print(file).as_bytes())
}

/// Gives `name` this content, by way of the name `new`, which is nobody else's; or leaves it as it is.
fn replace(directory: &OwnedFd, name: &str, new: &str, bytes: &[u8]) -> io::Result<()> {
    let written = write_new(directory, new, bytes);
    match written.and_then(|file| Ok(renameat(directory, new, directory, name).map(|()| file)?)) {
        // Else the first who looks on CephFS may wait for 5 s. The file is there already, so an error is none.
        Ok(file) => {
            let _ = journal::change_and_sync(file);
            Ok(())
        }
        Err(error) => {
            // It is of no use to anybody.
            let _ = unlinkat(directory, new, AtFlags::empty());
            Err(error)
        }
    }
}

/// Removes the file of a mount if this run of the server wrote it.
///
/// # Errors
/// When the system says so.
pub fn withdraw(mount: &Path, incarnation: Incarnation) -> io::Result<()> {
    match read(mount) {
        Ok(Some(found)) if found.file.incarnation == incarnation => {
            Ok(unlinkat(open_directory(mount)?, NAME, AtFlags::empty())?)
        }
        // Somebody else's, or none.
        _ => Ok(()),
    }
}

fn open_directory(mount: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(mount.join(DIRECTORY), flags, Mode::empty())?)
}

/// The directory, made if there is none, and safe from others.
fn directory_for_writing(mount: &Path) -> io::Result<OwnedFd> {
    let directory = match open_directory(mount) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let at = rustix::fs::open(mount, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            mkdirat(&at, DIRECTORY, Mode::from_raw_mode(0o755))?;
            open_directory(mount)?
        }
        directory => directory?,
    };
    if is_open_to_others(fstat(&directory)?.st_mode) {
        return Err(io::Error::other("others than its owner may write the directory"));
    }
    Ok(directory)
}

/// Makes a file that all may read, whatever the umask.
fn write_new(directory: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<std::fs::File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

fn is_open_to_others(mode: u32) -> bool {
    mode & 0o022 != 0
}

fn print(file: &ClusterFile) -> String {
    let mut text =
        String::from("# Written by distccd-server when it starts, and removed when it stops; see distccd-server(8).\n");
    let (major, minor) = file.protocol;
    let quoted = |text: &str| toml::Value::from(text).to_string();
    // Writing into a text cannot fail.
    let _ = write!(
        text,
        "format = {FORMAT}\nserver_addr = {}\nhost = {}\nprotocol = \"{major}.{minor}\"\nincarnation = \"{}\"\n",
        quoted(&file.server_addr),
        quoted(&file.host),
        file.incarnation
    );
    if let Some(boot) = &file.boot {
        let _ = writeln!(text, "boot = {}", quoted(boot));
    }
    if let Some(mount) = file.mount {
        let _ = writeln!(text, "mount = \"{mount}\"");
    }
    text
}

fn parse(text: &str) -> Result<ClusterFile, ReadError> {
    let malformed = |what: &str| ReadError::Malformed(what.to_owned());
    let table: toml::Table = text.parse().map_err(|_| malformed("it is not TOML"))?;
    let format = table.get("format").and_then(toml::Value::as_integer).ok_or_else(|| malformed("it has no format"))?;
    if format != FORMAT {
        return Err(ReadError::Later(format));
    }
    let value = |key: &str| {
        let text = table.get(key).and_then(toml::Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| ReadError::Malformed(format!("it has no `{key}`")))
    };
    let protocol = value("protocol")?.split_once('.').and_then(|(major, minor)| {
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        Some((major, minor))
    });
    Ok(ClusterFile {
        server_addr: address(value("server_addr")?).ok_or_else(|| malformed("its server_addr is not HOST:PORT"))?,
        host: value("host")?.to_owned(),
        protocol: protocol.ok_or_else(|| malformed("its protocol is not MAJOR.MINOR"))?,
        incarnation: incarnation(value("incarnation")?)
            .ok_or_else(|| malformed("its incarnation is not 32 hex digits"))?,
        boot: value("boot").ok().map(str::to_owned),
        mount: value("mount").ok().and_then(MountId::parse),
    })
}

fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte));
    (is_host && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| text.to_owned())
}

fn incarnation(text: &str) -> Option<Incarnation> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(Incarnation::from_bytes(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    pub(crate) fn file(number: u8) -> ClusterFile {
        ClusterFile {
            server_addr: "build1.example.org:50051".to_owned(),
            host: "build1".to_owned(),
            protocol: (1, 7),
            incarnation: Incarnation::from_bytes([number; 16]),
            boot: Some("a-boot".to_owned()),
            mount: Some(MountId::from_bytes([number; 16])),
        }
    }

    pub(crate) fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_a_server_publishes_is_read_by_all_and_written_by_it_alone() {
        let mount = tempfile::tempdir().unwrap();
        assert_eq!(read(mount.path()).unwrap(), None);

        publish(mount.path(), &file(1)).unwrap();
        publish(mount.path(), &file(2)).unwrap();

        let metadata = std::fs::metadata(path_on(mount.path())).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o644);
        assert_eq!(read(mount.path()).unwrap(), Some(Found { file: file(2), owner: metadata.uid() }));
        assert_eq!(std::fs::read_dir(mount.path().join(DIRECTORY)).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_server_withdraws_only_what_it_published() {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), &file(2)).unwrap();

        withdraw(mount.path(), file(1).incarnation).unwrap();
        assert!(read(mount.path()).unwrap().is_some());
        withdraw(mount.path(), file(2).incarnation).unwrap();

        assert_eq!(read(mount.path()).unwrap(), None);
    }

    #[test]
    fn what_others_may_write_is_not_believed() {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), &file(1)).unwrap();
        let (directory, path) = (mount.path().join(DIRECTORY), path_on(mount.path()));

        mode(&path, 0o666);
        assert!(matches!(read(mount.path()), Err(ReadError::Unsafe(_))));
        mode(&path, 0o644);
        mode(&directory, 0o777);
        assert!(matches!(read(mount.path()), Err(ReadError::Unsafe(_))));
        assert!(publish(mount.path(), &file(2)).is_err());
        mode(&directory, 0o755);
        assert!(read(mount.path()).is_ok());

        std::fs::rename(&path, directory.join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(matches!(read(mount.path()), Err(ReadError::Unsafe("it is a symbolic link"))));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(read(mount.path()), Err(ReadError::Unsafe("it is no regular file"))));
    }

    #[test]
    fn what_no_server_writes_is_refused_by_name() {
        let good = print(&file(1));
        assert_eq!(parse(&good).unwrap(), file(1));
        let without = |key: &str| good.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");

        for key in ["format", "server_addr", "host", "protocol", "incarnation"] {
            let text = parse(&without(key)).unwrap_err().to_string();
            assert!(text.contains(key), "{text}");
        }
        for (right, wrong) in [
            ("50051", "0"),
            ("build1.", "a b."),
            ("1.7", "17"),
            ("incarnation = \"01", "incarnation = \""),
            ("format = 1", "\u{0}"),
        ] {
            assert!(matches!(parse(&good.replacen(right, wrong, 1)), Err(ReadError::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn a_later_format_is_named_and_new_keys_are_passed_over() {
        let text = print(&file(1));

        assert!(matches!(parse(&text.replacen("format = 1", "format = 2", 1)), Err(ReadError::Later(2))));
        assert_eq!(parse(&format!("{text}certificate = \"...\"\n")).unwrap(), file(1));
    }
}
