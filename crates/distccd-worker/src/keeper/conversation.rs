//! What an attempt's thread and its keeper say to each other: one request, then orders of one byte down and replies up.
//! Both are this very program, so nothing here is for other releases to understand.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use bytes::Bytes;
use model::command::{CommandSpec, Identity};
use model::ids::{Attempt, JobId};
use model::outcome::{AttemptFailure, ExitStatus, ResourceUsage};
use prost::Message;
use proto::v1;

/// Longest message; a request holds what one `execve(2)` takes, and that is bounded by the kernel.
const MOST: usize = proto::limits::MAX_MESSAGE_BYTES;

/// What a keeper is to do. On its way it is protobuf, because the command is that already.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    /// Empty for a trial of the isolation alone.
    #[prost(message, optional, tag = "1")]
    pub(crate) command: Option<v1::Command>,
    /// Who to become; empty to stay who we are.
    #[prost(message, optional, tag = "2")]
    pub(crate) identity: Option<v1::Identity>,
    /// The mounts to isolate; none is in place.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(crate) mounts: Vec<Vec<u8>>,
    /// The named outputs, absolute.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(crate) outputs: Vec<Vec<u8>>,
    /// What an attempt may write before it is published, in bytes.
    #[prost(uint64, tag = "5")]
    pub(crate) scratch_limit: u64,
    /// Whether what is published is to be on disk before the result.
    #[prost(bool, tag = "6")]
    pub(crate) durable: bool,
    /// Those of the mounts where a rename makes readers wait.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(crate) slow_rename: Vec<Vec<u8>>,
    /// For each of `outputs`, the word of the command that is to name another place; empty for none.
    #[prost(uint32, repeated, tag = "12")]
    pub(crate) redirects: Vec<u32>,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) job: Vec<u8>,
    #[prost(uint32, tag = "8")]
    pub(crate) number: u32,
    /// Directories as they were seen last: of mounts that are isolated, and those that lead to outputs.
    #[prost(message, repeated, tag = "13")]
    pub(crate) known: Vec<Directory>,
    /// Whether to say what the command wrote.
    #[prost(bool, tag = "10")]
    pub(crate) audited: bool,
    /// For a trial: whether it starts a process, as one in a control group does.
    #[prost(bool, tag = "11")]
    pub(crate) starts: bool,
}

impl Request {
    pub(crate) fn set_attempt(&mut self, attempt: Attempt) {
        self.job = attempt.job.as_bytes().to_vec();
        self.number = attempt.number;
    }

    pub(super) fn attempt(&self) -> Attempt {
        let job = <[u8; 16]>::try_from(self.job.as_slice()).unwrap_or_default();
        Attempt { job: JobId::from_bytes(job), number: self.number }
    }

    pub(super) fn spec(&self) -> Result<Option<CommandSpec>, AttemptFailure> {
        let command = self.command.clone().map(CommandSpec::try_from).transpose();
        command.map_err(|error| AttemptFailure::Refused(error.to_string()))
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        let identity = self.identity.as_ref()?;
        Some(Identity { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() })
    }

    pub(super) fn mounts(&self) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| super::path_of(mount)).collect()
    }
}

/// What the thread asks of a keeper that runs a command. The end of the conversation asks for the end of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// SIGTERM to the command's group.
    Ask = b'A',
    /// SIGKILL to all.
    Kill = b'K',
    /// Publish what the command wrote.
    Commit = b'C',
    /// Let it go.
    Discard = b'D',
}

impl Order {
    fn of(byte: u8) -> Option<Self> {
        [Self::Ask, Self::Kill, Self::Commit, Self::Discard].into_iter().find(|order| *order as u8 == byte)
    }
}

/// What a keeper says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// The command runs. For a trial: the isolation works.
    Started,
    /// There is no outcome, and nothing was published, or not all.
    Failed(AttemptFailure),
    /// The command has ended, and nothing of it runs any more.
    Ended(Ended),
    /// Something of the command survives SIGKILL.
    Stuck,
    /// All is published.
    Committed(Published),
}

/// How what was published looks; all paths are absolute.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Published {
    /// Files that were made or replaced.
    #[prost(message, repeated, tag = "1")]
    pub(crate) stamps: Vec<v1::Stamp>,
    /// Names that are gone.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) removed: Vec<Bytes>,
    /// Directories that were looked at.
    #[prost(message, repeated, tag = "3")]
    pub(crate) directories: Vec<Directory>,
    /// Directories and symbolic links that were made.
    #[prost(message, repeated, tag = "4")]
    pub(crate) made: Vec<v1::MadeName>,
}

/// A directory of a shared filesystem, as somebody saw it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Directory {
    /// Absolute.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) path: Vec<u8>,
    /// Permissions with set-id and sticky bits.
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    /// Its owner and group; of a mount's root alone.
    #[prost(uint32, tag = "3")]
    pub(crate) uid: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) gid: u32,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) exit: ExitStatus,
    pub(crate) usage: ResourceUsage,
    /// Says so if what it wrote has filled the scratch.
    pub(crate) full: Option<String>,
    /// What it wrote, if that was asked for and can be said.
    pub(crate) digests: Vec<v1::FileDigest>,
    /// The files of the system that it opened, where that can be said.
    pub(crate) opened: Vec<Bytes>,
    /// Whether the out-of-memory killer has ended something of it; `None` where nobody counts for an attempt alone.
    pub(crate) oom_struck: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct WireReply {
    #[prost(oneof = "wire_reply::Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<wire_reply::Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEnded {
    #[prost(message, optional, tag = "1")]
    exit: Option<v1::ExitStatus>,
    #[prost(message, optional, tag = "2")]
    usage: Option<v1::ResourceUsage>,
    #[prost(string, optional, tag = "3")]
    full: Option<String>,
    #[prost(message, repeated, tag = "4")]
    digests: Vec<v1::FileDigest>,
    #[prost(bool, optional, tag = "5")]
    oom_struck: Option<bool>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    opened: Vec<Bytes>,
}

mod wire_reply {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Kind {
        #[prost(bool, tag = "1")]
        Started(bool),
        #[prost(message, tag = "2")]
        Failed(super::v1::Failure),
        #[prost(message, tag = "3")]
        Ended(super::WireEnded),
        #[prost(bool, tag = "4")]
        Stuck(bool),
        #[prost(message, tag = "5")]
        Committed(super::Published),
    }
}

/// Sends the request; it may be long, and the keeper reads it.
pub(crate) fn send_request(mut to: &UnixStream, request: &Request) -> io::Result<()> {
    send(&mut to, request)
}

pub(super) fn receive_request(from: &mut UnixStream) -> io::Result<Request> {
    receive(from)
}

pub(crate) fn send_order(mut to: &UnixStream, order: Order) -> io::Result<()> {
    to.write_all(&[order as u8])
}

/// The next order; `None` when the conversation is over.
pub(super) fn receive_order(from: &mut UnixStream) -> Option<Order> {
    let mut byte = [0];
    loop {
        return match from.read(&mut byte) {
            Ok(1) => Order::of(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => None,
        };
    }
}

pub(super) fn send_reply(to: &mut UnixStream, reply: Reply) -> io::Result<()> {
    use wire_reply::Kind;
    let kind = match reply {
        Reply::Started => Kind::Started(true),
        Reply::Failed(failure) => Kind::Failed((&failure).into()),
        Reply::Ended(ended) => {
            let (exit, usage) = (Some(ended.exit.into()), Some(ended.usage.into()));
            let Ended { full, digests, oom_struck, opened, .. } = ended;
            Kind::Ended(WireEnded { exit, usage, full, digests, oom_struck, opened })
        }
        Reply::Stuck => Kind::Stuck(true),
        Reply::Committed(published) => Kind::Committed(published),
    };
    send(to, &WireReply { kind: Some(kind) })
}

/// The next reply.
///
/// # Errors
/// When the keeper is gone.
pub(crate) fn receive_reply(mut from: &UnixStream) -> io::Result<Reply> {
    use wire_reply::Kind;
    let odd = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    Ok(match receive::<WireReply>(&mut from)?.kind.ok_or_else(|| odd("an empty reply".to_owned()))? {
        Kind::Started(_) => Reply::Started,
        Kind::Failed(failure) => Reply::Failed(failure.try_into().map_err(|error| odd(format!("{error}")))?),
        Kind::Ended(ended) => Reply::Ended(Ended {
            exit: ended.exit.unwrap_or_default().try_into().map_err(|error| odd(format!("{error}")))?,
            usage: ended.usage.unwrap_or_default().into(),
            full: ended.full,
            digests: ended.digests,
            opened: ended.opened,
            oom_struck: ended.oom_struck,
        }),
        Kind::Stuck(_) => Reply::Stuck,
        Kind::Committed(published) => Reply::Committed(published),
    })
}

fn send(to: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let length = message.encoded_len();
    let prefix = u32::try_from(length).ok().filter(|_| length <= MOST).ok_or(io::ErrorKind::InvalidInput)?;
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.extend_from_slice(&prefix.to_ne_bytes());
    message.encode(&mut bytes).map_err(io::Error::other)?;
    to.write_all(&bytes)
}

fn receive<M: Message + Default>(from: &mut impl Read) -> io::Result<M> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let length = usize::try_from(u32::from_ne_bytes(prefix)).ok().filter(|length| *length <= MOST);
    let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut bytes)?;
    M::decode(Bytes::from(bytes)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reply_arrives_as_it_was_said() {
        let (mut keeper, thread) = UnixStream::pair().unwrap();
        let usage = ResourceUsage { wall: Duration::from_micros(5), peak_memory: 7, ..ResourceUsage::default() };
        let file = v1::FileDigest { path: "a.o".into(), digest: vec![7; 32].into() };
        let said = [
            Reply::Started,
            Reply::Failed(AttemptFailure::NoSpace("disk".into())),
            Reply::Ended(Ended {
                exit: ExitStatus::Signal(11),
                usage,
                full: Some("full".into()),
                digests: vec![file],
                opened: vec!["/usr/include/zlib.h".into()],
                oom_struck: Some(false),
            }),
            Reply::Stuck,
            Reply::Committed(Published {
                stamps: vec![v1::Stamp { path: "/fs/a.d".into(), inode: 1, size: 2, mtime_ns: 3, fresh: true }],
                removed: vec!["/fs/a.tmp".into()],
                made: vec![v1::MadeName { path: "/fs/link".into(), target: "a.d".into() }],
                directories: vec![Directory { path: "/fs".into(), mode: 0o755, uid: 1, gid: 2 }],
            }),
        ];

        for reply in said {
            send_reply(&mut keeper, reply.clone()).unwrap();
            assert_eq!(receive_reply(&thread).unwrap(), reply);
        }
    }

    #[test]
    fn the_end_of_the_conversation_is_no_order() {
        let (mut keeper, thread) = UnixStream::pair().unwrap();
        send_order(&thread, Order::Kill).unwrap();
        drop(thread);

        assert_eq!(receive_order(&mut keeper), Some(Order::Kill));
        assert_eq!(receive_order(&mut keeper), None);
    }
}
