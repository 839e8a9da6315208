//! The server on the shared mounts: it publishes where it is (`cluster-file`), and does not start where another serves.
//!
//! Two servers by mistake on one mount each believe that no attempt but theirs writes there. A file that a dead server
//! left behind hinders nobody: its address does not answer. All that touches a mount is bounded in time, for a mount may
//! hang, and nothing but the refusal keeps the server from starting.
//!
//! Two that start at the same moment each find nobody and publish. So a server goes on looking, and when the file names
//! another that lives, it is the one that leaves: whoever published last stays, and finds its own file.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_file::ClusterFile;
use cluster_file::discovery::{boot_id, is_loopback};
use cluster_file::mount_id::{self, MountId};
use model::ids::Incarnation;
use proto::v1::GetStatusRequest;
use proto::v1::admin_client::AdminClient;
use proto::version::PROTOCOL;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::Error;
use crate::config::Config;
use crate::peer;

/// A filesystem that takes longer is left alone.
const MOUNT_PATIENCE: Duration = Duration::from_secs(2);
/// A server that takes longer to answer is none.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How often a server looks whether another has published itself in its place.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Makes sure that no other server serves the mounts.
///
/// # Errors
/// When one does, unless this one is to take over.
pub async fn check_alone(config: &Config) -> Result<(), Error> {
    for mount in &config.fs_mount {
        let Some(other) = read(mount).await else { continue };
        if !answers(&other).await {
            tracing::info!(mount = %mount.display(), address = other.server_addr, host = other.host, "a server that is gone was here");
        } else if config.take_over {
            tracing::warn!(mount = %mount.display(), address = other.server_addr, host = other.host, "taking over the mount from a server that lives; stop that one");
        } else {
            let (address, host) = (other.server_addr, other.host);
            return Err(Error::SecondServer { mount: mount.clone(), address, host });
        }
    }
    Ok(())
}

/// What a server has published.
#[derive(Debug)]
pub struct Publication {
    mounts: Vec<PathBuf>,
    identities: BTreeMap<PathBuf, MountId>,
    incarnation: Incarnation,
}

impl Publication {
    /// Publishes on every mount that is there and can be written where this server listens.
    pub async fn publish(config: &Config, listening: SocketAddr, incarnation: Incarnation) -> Self {
        let host = peer::host_name();
        let file = ClusterFile {
            server_addr: reachable(&config.server_addr, listening, &host),
            host,
            protocol: (PROTOCOL.major, PROTOCOL.minor),
            incarnation,
            boot: boot_id(),
            mount: None,
        };
        let (mut mounts, mut identities) = (Vec::new(), BTreeMap::new());
        for mount in &config.fs_mount {
            let shown = mount.clone();
            let identity = identify(mount).await;
            identities.extend(identity.map(|id| (mount.clone(), id)));
            let file = ClusterFile { mount: identity, ..file.clone() };
            match at_mount(mount, move |mount| cluster_file::publish(mount, &file)).await {
                Ok(()) => {
                    tracing::info!(mount = %shown.display(), address = reachable(&config.server_addr, listening, ""), "published on the mount");
                    mounts.push(shown);
                    sweep(mount).await;
                }
                Err(error) => tracing::info!(mount = %shown.display(), %error, "not published on the mount"),
            }
        }
        Self { mounts, identities, incarnation }
    }

    /// What the mounts are known by, as far as that can be told: a worker that finds something else at the same path has
    /// another filesystem there.
    #[must_use]
    pub fn identities(&self) -> BTreeMap<PathBuf, MountId> {
        self.identities.clone()
    }

    /// Waits until another server that lives is published in this one's place on some mount, and says which.
    pub async fn displaced(&self) -> Error {
        let mut watches = JoinSet::new();
        for mount in &self.mounts {
            watches.spawn(displaced_from(mount.clone(), self.incarnation));
        }
        match watches.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(_)) | None => pending().await,
        }
    }

    /// Takes it back.
    pub async fn withdraw(self) {
        for mount in &self.mounts {
            let incarnation = self.incarnation;
            sweep(mount).await;
            if let Err(error) = at_mount(mount, move |mount| cluster_file::withdraw(mount, incarnation)).await {
                tracing::warn!(mount = %mount.display(), %error, "what was published stays on the mount");
            }
        }
    }
}

async fn displaced_from(mount: PathBuf, us: Incarnation) -> Error {
    loop {
        sleep(LOOK_AGAIN).await;
        let looked_at = mount.clone();
        // As long as it takes: of a mount that hangs, one look hangs.
        let found = spawn_blocking(move || cluster_file::read(&looked_at)).await;
        // What cannot be read, or is gone, tells of nobody.
        let Ok(Ok(Some(found))) = found else { continue };
        if found.file.incarnation != us && answers(&found.file).await {
            let (address, host) = (found.file.server_addr, found.file.host);
            return Error::SecondServer { mount, address, host };
        }
    }
}

/// What the mount is known by; the first server that may write there says it.
async fn identify(mount: &Path) -> Option<MountId> {
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).ok()?;
    match at_mount(mount, move |mount| mount_id::establish(mount, MountId::from_bytes(fresh))).await {
        Ok(identity) => Some(identity),
        Err(error) => {
            tracing::info!(mount = %mount.display(), %error, "the mount is not marked: whether workers see the same filesystem is not checked");
            None
        }
    }
}

/// Removes probes that nobody will remove any more.
async fn sweep(mount: &Path) {
    if let Err(error) = at_mount(mount, cluster_file::probe::sweep).await {
        tracing::warn!(mount = %mount.display(), %error, "probes may stay on the mount");
    }
}

async fn read(mount: &Path) -> Option<ClusterFile> {
    match at_mount(mount, |mount| cluster_file::read(mount).map_err(std::io::Error::other)).await {
        Ok(found) => found.map(|found| found.file),
        Err(error) => {
            let file = cluster_file::path_on(mount);
            tracing::warn!(file = %file.display(), %error, "cannot tell whether another server serves the mount");
            None
        }
    }
}

/// Does something with a mount on a thread of its own, which is left behind when it hangs.
pub(crate) async fn at_mount<T: Send + 'static>(
    mount: &Path,
    act: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let mount = mount.to_owned();
    let acting = spawn_blocking(move || act(&mount));
    match timeout(MOUNT_PATIENCE, acting).await {
        Ok(acted) => acted.map_err(std::io::Error::other)?,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// Whether the server that published that answers there, and not another that has its address by now.
async fn answers(other: &ClusterFile) -> bool {
    if is_loopback(&other.server_addr) && other.host != peer::host_name() {
        tracing::warn!(
            host = other.host,
            address = other.server_addr,
            "whether the server of that host lives cannot be asked from here"
        );
        return false;
    }
    let asking = async {
        let channel = Endpoint::from_shared(format!("http://{}", other.server_addr)).ok()?.connect().await.ok()?;
        AdminClient::new(channel).get_status(GetStatusRequest {}).await.ok()
    };
    let Ok(Some(status)) = timeout(ANSWER_PATIENCE, asking).await else { return false };
    let hello = status.into_inner().server;
    hello.is_none_or(|hello| hello.incarnation[..] == other.incarnation.as_bytes()[..])
}

/// The address under which others reach a server: as it was configured, with the real port; this host's name when it
/// listens on all addresses.
fn reachable(configured: &str, listening: SocketAddr, host: &str) -> String {
    let named = configured.rsplit_once(':').map_or(configured, |(host, _)| host);
    let shown = if listening.ip().is_unspecified() { host } else { named };
    format!("{shown}:{}", listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_one_that_others_can_use() {
        let listening = |text: &str| text.parse().unwrap();

        assert_eq!(reachable("build1:0", listening("192.0.2.7:40001"), "ash"), "build1:40001");
        assert_eq!(reachable("0.0.0.0:50051", listening("0.0.0.0:50051"), "ash"), "ash:50051");
        assert_eq!(reachable("[::]:50051", listening("[::]:50051"), "ash"), "ash:50051");
        assert_eq!(reachable("[::1]:50051", listening("[::1]:50051"), "ash"), "[::1]:50051");
    }
}
