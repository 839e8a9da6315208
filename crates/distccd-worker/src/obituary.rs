//! How the spawner of a killed worker proves to the server that nothing of the worker runs any more, so that its jobs
//! need not wait for the end of a lease.
//!
//! # Why the server may believe it
//! An obituary says: no process that this incarnation of the worker started, and no thread of the worker itself, will
//! write a file any more.
//! - *The worker is dead, all of it.* The spawner goes to work when the last writing end of its socket is closed. Only
//!   the worker has that end, and its threads share one table of descriptors, which the kernel closes when the last of
//!   them has left it on its way out: a thread that still sits in a system call, a write to a filesystem that hangs for
//!   instance, keeps the table and so the socket open.
//! - *What it ran is dead.* All of it descends from the spawner's keepers. Each has been sent SIGKILL and was reaped, and
//!   the first process of a PID namespace is reaped only when all others in it are gone; what keepers without one leave
//!   behind is inherited by the spawner (a "subreaper", prctl(2)), which kills and reaps that too. A process in
//!   uninterruptible sleep outlives SIGKILL, and is waited for; if that takes too long nothing is said, and the lease
//!   decides as if there were no obituary.
//! - *It is not about another worker.* It names the incarnation, which is drawn anew at every start, and carries the key
//!   that the worker drew with it and gave to the server, when it registered, and to this spawner.
//!
//! A worker that ends in order has said goodbye, and takes its will away first.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::Duration;

use model::ids::fnv1a;
use proto::v1;
use proto::v1::obituaries_client::ObituariesClient;
use rustix::fs::MemfdFlags;
use tokio::time::timeout;

use crate::config::ServerAddr;
use crate::link;

/// So long the server is tried: it may be starting again. After that leases are over.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// One try to tell it.
const ONE_CALL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);

/// No will is longer: an address is a host name and a port.
const LONGEST: usize = 512;

/// What is to be said when the worker is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// To whom.
    pub(crate) server: ServerAddr,
    /// Who died.
    pub(crate) incarnation: [u8; 16],
    /// What proves that it is said by the spawner.
    pub(crate) key: [u8; 16],
}

/// Where the worker leaves its last words: a file without a name, which is the spawner's standard error.
#[derive(Debug)]
pub(crate) struct Will(File);

impl Will {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(File::from(rustix::fs::memfd_create(c"distccd-will", MemfdFlags::CLOEXEC)?)))
    }

    /// The spawner's end.
    pub(crate) fn for_spawner(&self) -> io::Result<Stdio> {
        Ok(OwnedFd::from(self.0.try_clone()?).into())
    }

    /// Writes it. One that is torn by the worker's death is none: its digest is wrong.
    pub(crate) fn write(&self, words: &LastWords) -> io::Result<()> {
        self.0.write_all_at(&words.encode(), 0)
    }

    /// Takes it away.
    pub(crate) fn tear(&self) -> io::Result<()> {
        self.0.set_len(0)
    }

    /// The spawner's own hold on it.
    pub(crate) fn left_at(end: BorrowedFd<'_>) -> io::Result<Self> {
        end.try_clone_to_owned().map(|file| Self(File::from(file)))
    }

    fn read(&self) -> Option<LastWords> {
        let mut bytes = [0; LONGEST];
        let length = self.0.read_at(&mut bytes, 0).ok()?;
        LastWords::decode(&bytes[..length])
    }
}

impl LastWords {
    fn encode(&self) -> Vec<u8> {
        let body = [&self.incarnation[..], &self.key, self.server.to_string().as_bytes()].concat();
        [&fnv1a(&body).to_le_bytes()[..], &body].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, body) = bytes.split_first_chunk()?;
        if u64::from_le_bytes(*digest) != fnv1a(body) {
            return None;
        }
        let (&incarnation, rest) = body.split_first_chunk()?;
        let (&key, server) = rest.split_first_chunk()?;
        let server = ServerAddr::parse(str::from_utf8(server).ok()?).ok()?;
        Some(Self { server, incarnation, key })
    }
}

/// Tells the server that the worker is dead, if it has left a will. Call it when nothing is left of it.
pub(crate) fn announce(will: &Will) {
    let Some(words) = will.read() else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    // Whether or not it was told, there is nothing left to do.
    let _ = runtime.block_on(async { timeout(TOLD_WITHIN, tell(&words)).await });
}

/// Tells the server, again and again until it has heard, or will not.
async fn tell(words: &LastWords) {
    use tonic::Code::{PermissionDenied, Unauthenticated, Unimplemented};
    loop {
        match timeout(ONE_CALL, call(words)).await {
            Ok(Ok(())) => return,
            Ok(Err(status)) if matches!(status.code(), PermissionDenied | Unauthenticated | Unimplemented) => return,
            Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn call(words: &LastWords) -> Result<(), tonic::Status> {
    let unreachable = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
    let channel = link::endpoint(&words.server).map_err(unreachable)?.connect().await.map_err(unreachable)?;
    let obituary = v1::Obituary { incarnation: words.incarnation.to_vec().into(), key: words.key.to_vec().into() };
    ObituariesClient::new(channel).publish(obituary).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> LastWords {
        let server = ServerAddr::parse("build1.example.org:50051").unwrap();
        LastWords { server, incarnation: [1; 16], key: [2; 16] }
    }

    #[test]
    fn a_will_is_read_as_it_was_written() {
        let will = Will::new().unwrap();
        assert_eq!(will.read(), None, "there is none yet");

        will.write(&words()).unwrap();
        assert_eq!(will.read(), Some(words()));

        will.tear().unwrap();
        assert_eq!(will.read(), None);
    }

    #[test]
    fn a_torn_will_is_none() {
        let whole = words().encode();

        for length in 0..whole.len() {
            assert_eq!(LastWords::decode(&whole[..length]), None, "{length}");
        }
    }
}
