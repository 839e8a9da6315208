//! The server: accepts jobs, owns the scheduler, drives the workers.
//!
//! ```text
//! launchers <-> service/submit --facts--> driver (owns Scheduler and books) --replies, orders--> outboxes
//! workers   <-> service/fleet  --facts-->   "
//! ```
//!
//! One task, [`driver`], owns the [`scheduler_core::Scheduler`] and everything it refers to; the services translate
//! between the wire and [`fact::Fact`]s and decide nothing. Nothing ever waits for a slow peer: what is for it queues in a
//! bounded [`session::outbox`], and a peer that lets it overflow is cut off.

pub mod appearances;
pub mod audits;
pub mod books;
pub mod clocks;
pub mod config;
pub mod descriptors;
pub mod directory_book;
pub mod dispatch;
pub mod door;
pub mod driver;
pub mod explanation;
pub mod fact;
pub mod history;
pub mod journal;
pub mod mount_check;
pub mod peer;
mod people;
pub mod publication;
pub mod roster;
pub mod service;
pub mod session;
pub mod state_dir;
pub mod status;
pub mod toolchains;
pub mod visibility;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use daemon_kit::clock::Clock;
use daemon_kit::shutdown::Stop;
use daemon_kit::{exit, systemd};
use proto::limits::MAX_MESSAGE_BYTES;
use proto::v1::admin_server::AdminServer;
use proto::v1::fleet_server::FleetServer;
use proto::v1::obituaries_server::ObituariesServer;
use proto::v1::submission_server::SubmissionServer;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::Config;
use crate::door::Door;
use crate::driver::Driver;
use crate::publication::Publication;
use crate::service::Gate;

/// Name and version, as peers see them.
pub const SOFTWARE: &str = concat!("distccd-server ", env!("CARGO_PKG_VERSION"));

/// Facts that may wait for the driver; a full inbox slows the peers down through HTTP/2's flow control.
const INBOX: usize = 4096;

/// How long the last replies may take to leave once the server is done.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address does not resolve.
    #[error("server_addr `{0}` does not resolve ({1}); give a host name or address of this machine")]
    Unresolved(String, io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; is another distccd-server running? Choose another port with --server-addr")]
    Bind(SocketAddr, io::Error),
    /// The address is reachable from elsewhere, and nothing protects it.
    #[error(
        "{0} can be reached from other machines, and who reaches it can run compilers here: listen on localhost, or \
         accept that on a trusted network with --insecure"
    )]
    Exposed(SocketAddr),
    /// Another server serves the mount.
    #[error(
        "another distccd-server serves {}: {address} on {host} answers, and two on one mount know nothing of each other's \
         jobs; stop that one, name another mount with --fs-mount, or insist with --take-over",
        mount.display()
    )]
    SecondServer {
        /// Which mount.
        mount: std::path::PathBuf,
        /// Where the other listens.
        address: String,
        /// The host of the other.
        host: String,
    },
    /// The scheduler's configuration is impossible.
    #[error("{0}")]
    Scheduler(#[from] scheduler_core::config::ConfigError),
    /// The journal cannot be begun.
    #[error("cannot write the journal {0}: {1}; name another file with --journal, or none")]
    Journal(std::path::PathBuf, io::Error),
    /// The transport failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The system failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// The exit code that goes with it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unresolved(..) | Self::Exposed(_) | Self::Scheduler(_) | Self::Journal(..) => exit::CONFIG,
            Self::Bind(..) | Self::SecondServer { .. } | Self::Transport(_) | Self::Io(_) => exit::UNAVAILABLE,
        }
    }
}

/// Opens the listener that the configuration asks for.
///
/// # Errors
/// When the address does not resolve, is exposed without `insecure`, or is taken.
pub async fn listen(config: &Config) -> Result<TcpListener, Error> {
    let unresolved = |error| Error::Unresolved(config.server_addr.clone(), error);
    let addresses: Vec<SocketAddr> = lookup_host(&config.server_addr).await.map_err(unresolved)?.collect();
    // Of `localhost` the IPv4 address, which every launcher and worker tries first.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let address = *address.ok_or_else(|| unresolved(io::Error::other("no address")))?;
    if !address.ip().is_loopback() {
        if !config.insecure {
            return Err(Error::Exposed(address));
        }
        tracing::warn!(%address, "INSECURE: without authentication or encryption, whoever reaches this port can run compilers as any user, root included");
    }
    TcpListener::bind(address).await.map_err(|error| Error::Bind(address, error))
}

/// Serves until `stop` is asked for and what ran has finished, its grace is over, or `stop` is insisted on; or until another
/// server has taken its place on a mount, which is as if `stop` had been asked for.
///
/// # Errors
/// When serving fails, or there is another server.
pub async fn run(config: Config, door: impl Into<Door>, stop: Stop) -> Result<(), Error> {
    let door = door.into();
    let address = door.listener().local_addr()?;
    let (facts, inbox) = mpsc::channel(INBOX);
    let mut driver = Driver::new(&config, address.port(), Clock::start())?;
    let incarnation = driver.incarnation();
    let gate = Gate::new(facts, incarnation, driver.roster(), config.insecure);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<SubmissionServer<service::submit::Submit>>().await;
    health.set_serving::<FleetServer<service::fleet::FleetService>>().await;

    let closed = CancellationToken::new();
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(health_service)
        .add_service(
            SubmissionServer::new(service::submit::Submit::new(gate.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            FleetServer::new(service::fleet::FleetService::new(gate.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(ObituariesServer::new(service::obituaries::ObituariesService::new(gate.clone())))
        .add_service(AdminServer::new(service::admin::AdminService::new(gate, config.fs_mount.clone())));
    let serving = tokio::spawn(server.serve_with_incoming_shutdown(door.open(), closed.clone().cancelled_owned()));

    let publication = Publication::publish(&config, address, incarnation).await;
    // No worker has been let in yet.
    driver.know_mounts(publication.identities());
    tracing::info!(%address, incarnation = %incarnation, "serving");
    systemd::ready(&format!("listening on {address}"));
    let displaced = {
        let mut driving = pin!(driver.run(inbox, &stop, config.stop_grace));
        tokio::select! {
            () = &mut driving => None,
            other = publication.displaced() => {
                tracing::error!("{other}");
                stop.asked.cancel();
                driving.await;
                Some(other)
            }
        }
    };

    publication.withdraw().await;
    // The driver dropped every outbox with its end, so the streams end and the connections close.
    health.set_not_serving::<SubmissionServer<service::submit::Submit>>().await;
    closed.cancel();
    match tokio::time::timeout(FAREWELL, serving).await {
        Ok(Ok(result)) => result?,
        Ok(Err(error)) => return Err(io::Error::other(error).into()),
        Err(_) => tracing::debug!("some peers are slow to leave"),
    }
    tracing::info!("stopped");
    displaced.map_or(Ok(()), Err)
}
