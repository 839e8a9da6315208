//! Whom to believe: the address that a mount gives for its server (design.md sections 3 and 9).

use std::io;
use std::net::IpAddr;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::{ClusterFile, ReadError, opened, path_on};

/// Who may have written a file that is believed, beside root and the user who asks: the name in the server's unit.
pub const SERVICE_USER: &str = "distccd-server";

/// Whose files are believed, and what is understood.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The server's user, by name (as `/etc/passwd` has it) or number.
    pub service_user: &'a str,
    /// The major version of the protocol that the asker speaks.
    pub protocol: u32,
}

/// Why a file that is there is passed over.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Anybody may have written it.
    #[error(
        "it belongs to user {owner}, and neither to root nor to the service user ({service_user}); set service_user if that is the server's"
    )]
    Foreign {
        /// Its owner.
        owner: u32,
        /// Who it might belong to.
        service_user: String,
    },
    /// Its server speaks otherwise.
    #[error("its server speaks protocol {theirs} and this release {ours}: install the server's release")]
    Protocol {
        /// The major version of the server.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// Its address is known on another machine alone.
    #[error("its server listens for {host} alone ({server_addr}): start it with an address that other machines reach")]
    Elsewhere {
        /// That machine.
        host: String,
        /// The address.
        server_addr: String,
    },
}

/// What a mount says of its server, as far as it is to be believed; nothing when it says nothing. One file is opened, and
/// that may hang as the filesystem does.
///
/// # Errors
/// When there is a file that is not to be believed.
pub fn find(mount: &Path, trust: Trust<'_>) -> Result<Option<ClusterFile>, Doubt> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let Some(found) = opened(rustix::fs::open(path_on(mount), flags, Mode::empty()), None)? else { return Ok(None) };
    if !trust.believes(found.owner) {
        return Err(Doubt::Foreign { owner: found.owner, service_user: trust.service_user.to_owned() });
    }
    let file = found.file;
    if file.protocol.0 != trust.protocol {
        return Err(Doubt::Protocol { theirs: file.protocol.0, ours: trust.protocol });
    }
    if is_loopback(&file.server_addr) && !is_this_machine(&file) {
        return Err(Doubt::Elsewhere { host: file.host, server_addr: file.server_addr });
    }
    Ok(Some(file))
}

impl Trust<'_> {
    /// Whoever asks believes oneself.
    fn believes(self, owner: u32) -> bool {
        owner == 0
            || owner == rustix::process::geteuid().as_raw()
            || self.service_user.parse().ok().or_else(|| uid_of(self.service_user).ok().flatten()) == Some(owner)
    }
}

/// By `/etc/passwd` alone: the launchers are linked statically, without the C library's name services.
fn uid_of(name: &str) -> io::Result<Option<u32>> {
    let text = std::fs::read("/etc/passwd")?;
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let mut entries = lines.map(|line| line.split(':').collect::<Vec<_>>());
    Ok(entries.find(|entry| entry.len() > 2 && entry[0] == name).and_then(|entry| entry[2].parse().ok()))
}

/// Whether an address is of use on its own machine only.
#[must_use]
pub fn is_loopback(server_addr: &str) -> bool {
    let host = server_addr.rsplit_once(':').map_or(server_addr, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Names of hosts repeat (`localhost`, containers); ids of boots do not.
fn is_this_machine(file: &ClusterFile) -> bool {
    let host = rustix::system::uname();
    let same_boot = || file.boot.is_none() || file.boot == boot_id();
    host.nodename().to_bytes() == file.host.as_bytes() && same_boot()
}

/// This boot of this machine; nothing where `/proc` is not there.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{file, mode};
    use crate::{print, publish};

    const TRUST: Trust<'static> = Trust { service_user: "12345", protocol: 1 };

    fn here() -> ClusterFile {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        ClusterFile { server_addr: "localhost:7".to_owned(), host, boot: boot_id(), ..file(1) }
    }

    /// What is found where this file lies.
    fn found(file: &ClusterFile) -> Result<Option<ClusterFile>, Doubt> {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), file).unwrap();
        find(mount.path(), TRUST)
    }

    #[test]
    fn a_mount_says_where_its_server_is() {
        let mount = tempfile::tempdir().unwrap();
        assert!(find(mount.path(), TRUST).unwrap().is_none());
        assert!(find(Path::new("/no/such/mount"), TRUST).unwrap().is_none());

        publish(mount.path(), &file(1)).unwrap();

        assert_eq!(find(mount.path(), TRUST).unwrap(), Some(file(1)));
    }

    #[test]
    fn loopback_is_where_the_server_is_and_nowhere_else() {
        assert!(found(&here()).unwrap().is_some());
        assert!(found(&ClusterFile { boot: None, ..here() }).unwrap().is_some(), "an older server says no boot");
        for elsewhere in [
            ClusterFile { host: "elsewhere".to_owned(), ..here() },
            ClusterFile { boot: Some("another".to_owned()), ..here() },
        ] {
            let doubt = found(&elsewhere).unwrap_err();
            assert!(matches!(&doubt, Doubt::Elsewhere { host, .. } if *host == elsewhere.host), "{doubt}");
        }
        assert!(["localhost:1", "127.0.0.2:1", "[::1]:1"].into_iter().all(is_loopback));
        assert!(!["build1:1", "192.0.2.7:1", "[2001:db8::1]:1"].into_iter().any(is_loopback));
    }

    #[test]
    fn a_protocol_of_another_major_version_is_named() {
        let doubt = found(&ClusterFile { protocol: (2, 0), ..file(1) }).unwrap_err();

        assert!(doubt.to_string().contains("protocol 2"), "{doubt}");
        assert!(found(&ClusterFile { protocol: (1, 99), ..file(1) }).unwrap().is_some());
    }

    #[test]
    fn strangers_are_not_believed_whatever_they_write() {
        let me = rustix::process::geteuid().as_raw();
        let other = if me == 0 { 4711 } else { me + 1 };

        assert!(TRUST.believes(0) && TRUST.believes(me) && TRUST.believes(12345) && !TRUST.believes(other));
        assert!(!Trust { service_user: "no-such-user", ..TRUST }.believes(other));
        assert_eq!(uid_of("root").unwrap(), Some(0));
        assert_eq!(uid_of("no-such-user").unwrap(), None);
        let doubt = Doubt::Foreign { owner: other, service_user: "12345".to_owned() };
        assert!(doubt.to_string().contains(&format!("user {other}")), "{doubt}");
    }

    #[test]
    fn what_is_broken_is_named() {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), &file(1)).unwrap();
        let path = path_on(mount.path());

        mode(&path, 0o666);
        assert!(matches!(find(mount.path(), TRUST), Err(Doubt::Read(ReadError::Unsafe(_)))));
        mode(&path, 0o644);
        std::fs::write(&path, print(&file(1)).replacen("format = 1", "format = 2", 1)).unwrap();
        assert!(matches!(find(mount.path(), TRUST), Err(Doubt::Read(ReadError::Later(2)))));
        std::fs::write(&path, "certainly not TOML").unwrap();
        assert!(matches!(find(mount.path(), TRUST), Err(Doubt::Read(ReadError::Malformed(_)))));
    }
}
