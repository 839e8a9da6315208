//! Who is on the other end of a connection, as far as the kernel can prove it.
//!
//! A TCP connection within one machine has its other end in the kernel's own tables, with the uid of the process that
//! made it: `sock_diag(7)` tells it for one connection, `/proc/net/tcp` for all. So on loopback nobody can run
//! compilers as somebody else, without any secret. Beyond loopback nothing is proven yet (`--insecure`).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What is known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The kernel says that this user made the connection.
    User(u32),
    /// Nothing.
    None,
}

impl Proof {
    /// Whether the peer may submit jobs of this user. Not even root for another: in a user namespace a process takes
    /// itself for somebody else than the kernel does, and its files are not where it thinks. Of an unproven peer any
    /// claim is taken: the operator chose `--insecure`, which says so at every start.
    #[must_use]
    pub const fn allows(self, uid: u32) -> bool {
        match self {
            Self::User(proven) => proven == uid,
            Self::None => true,
        }
    }

    /// Whether the peer may attach a worker: only root and the server's own user, for a worker's word decides what
    /// users take for the result of their command.
    #[must_use]
    pub fn may_be_worker(self) -> bool {
        match self {
            Self::User(proven) => proven == 0 || proven == rustix::process::geteuid().as_raw(),
            Self::None => true,
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::None => f.write_str("an unproven peer"),
        }
    }
}

/// Finds out who made the connection from `theirs` to `ours`.
#[must_use]
pub fn prove(theirs: SocketAddr, ours: SocketAddr) -> Proof {
    let (theirs, ours) = (unmapped(theirs), unmapped(ours));
    if !theirs.ip().is_loopback() || !ours.ip().is_loopback() {
        return Proof::None;
    }
    let found = ask_kernel(theirs, ours).or_else(|error| {
        tracing::debug!(%error, "sock_diag does not answer; reading /proc/net/tcp");
        read_table(theirs, ours)
    });
    found.map_or(Proof::None, Proof::User)
}

/// The name of this host, for people.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// An IPv4 connection that came through an IPv6 socket is still one.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The request and answer of `sock_diag(7)`, as `linux/inet_diag.h` lays them out.
mod wire {
    pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
    pub(super) const NO_COOKIE: [u8; 8] = [0xff; 8];
    /// netlink header (16), `inet_diag_req_v2` (56).
    pub(super) const REQUEST: usize = 72;
    /// Of the answer: netlink header (16), `inet_diag_msg` up to and with `idiag_uid`.
    pub(super) const UID_AT: usize = 16 + 64;
    pub(super) const NLMSG_ERROR: u16 = 2;
}

fn ask_kernel(theirs: SocketAddr, ours: SocketAddr) -> io::Result<u32> {
    // SAFETY: a plain system call; the descriptor is owned from here on.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let request = request(theirs, ours);
    let mut answer = [0_u8; 512];
    // SAFETY: both buffers outlive the calls, and their true lengths are given.
    let received = unsafe {
        if libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    uid_of(&answer[..received])
}

/// Asks for exactly one socket: the peer's, whose own side is `theirs`.
fn request(theirs: SocketAddr, ours: SocketAddr) -> [u8; wire::REQUEST] {
    let mut bytes = [0; wire::REQUEST];
    let family = if theirs.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let length = u32::try_from(wire::REQUEST).unwrap_or(0);
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&wire::SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    let flags = u16::try_from(libc::NLM_F_REQUEST).unwrap_or(1);
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[16] = u8::try_from(family).unwrap_or(0);
    bytes[17] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    bytes[20..24].copy_from_slice(&u32::MAX.to_ne_bytes()); // any state
    bytes[24..26].copy_from_slice(&theirs.port().to_be_bytes());
    bytes[26..28].copy_from_slice(&ours.port().to_be_bytes());
    put_ip(&mut bytes[28..44], theirs.ip());
    put_ip(&mut bytes[44..60], ours.ip());
    bytes[64..72].copy_from_slice(&wire::NO_COOKIE);
    bytes
}

fn put_ip(place: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => place[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => place[..16].copy_from_slice(&ip.octets()),
    }
}

fn uid_of(answer: &[u8]) -> io::Result<u32> {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    if kind == Some(wire::NLMSG_ERROR) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no such connection"));
    }
    let uid = answer.get(wire::UID_AT..wire::UID_AT + 4).and_then(|uid| uid.try_into().ok()).map(u32::from_ne_bytes);
    uid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "short answer"))
}

/// Finds the connection in `/proc/net/tcp` or `tcp6` (proc(5)): slower, but always there.
fn read_table(theirs: SocketAddr, ours: SocketAddr) -> io::Result<u32> {
    let file = if theirs.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let table = std::fs::read_to_string(file)?;
    let (theirs, ours) = (in_hex(theirs), in_hex(ours));
    let line = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut line = line.filter(|words| words.len() > 7 && words[1] == theirs && words[2] == ours);
    let uid = line.next().and_then(|words| words[7].parse().ok());
    uid.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such connection"))
}

/// An address as the table prints it: each 32-bit word of the address in the host's order, in capitals.
fn in_hex(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let ip: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// Both ends of a connection, and their addresses.
    fn connection(address: &str) -> ([TcpStream; 2], SocketAddr, SocketAddr) {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, theirs) = listener.accept().unwrap();
        let ours = server.local_addr().unwrap();
        ([client, server], theirs, ours)
    }

    #[test]
    fn the_kernel_tells_who_made_a_loopback_connection() {
        let me = rustix::process::geteuid().as_raw();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (_both_ends, theirs, ours) = connection(address);

            assert_eq!(prove(theirs, ours), Proof::User(me));
            assert_eq!(ask_kernel(theirs, ours).unwrap(), me);
            assert_eq!(read_table(theirs, ours).unwrap(), me);
        }
    }

    #[test]
    fn a_connection_from_elsewhere_proves_nothing() {
        assert_eq!(prove("192.0.2.1:9".parse().unwrap(), "127.0.0.1:1".parse().unwrap()), Proof::None);
    }

    #[test]
    fn nobody_proven_acts_for_others() {
        assert!(Proof::User(0).allows(0) && Proof::User(1000).allows(1000));
        assert!(!Proof::User(0).allows(1000) && !Proof::User(1000).allows(1001) && !Proof::User(1000).allows(0));
        assert!(Proof::None.allows(1000) && Proof::None.allows(0));
    }
}
