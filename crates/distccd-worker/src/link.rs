//! The connection to the server: made again for ever.
//!
//! A task of its own, so that waiting for a name server or a handshake never keeps the agent from its leases. It
//! carries messages and knows nothing of what they mean.

use std::error::Error as _;
use std::time::Duration;

use proto::limits::MAX_MESSAGE_BYTES;
use proto::v1::fleet_client::FleetClient;
use proto::v1::{WorkerMessage, WorkerOrder};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::backoff::Backoff;
use crate::config::ServerAddr;
use crate::whereabouts::Whereabouts;

/// What the agent hears of the connection, in order: connected, orders, lost, connected, ...
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// There is a connection: the first message on it must be the registration. Cancelling `hang_up` ends it.
    Connected { server: ServerAddr, outgoing: mpsc::Sender<WorkerMessage>, hang_up: CancellationToken },
    /// The server said something.
    Order(Box<WorkerOrder>),
    /// The connection is gone and is being made again.
    Lost,
    /// The server will never take this worker as it is.
    Refused(String),
}

/// Messages that may wait for the network: few, so that a heartbeat is never far behind.
const OUTGOING: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server answers a registration at once, or it is none of ours.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed within two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A connection that lasted so long was a good one: the next retry is immediate again. A server that welcomes and hangs
/// up is not retried in a tight loop.
const STABLE: Duration = Duration::from_secs(10);

/// The endpoint of a server.
pub(crate) fn endpoint(server: &ServerAddr) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{server}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}

/// Connects, carries orders to the agent, and connects again, until the agent is gone.
///
/// `leaving` says that the end of the connection is what the agent wants.
pub(crate) async fn keep_connected(
    mut whereabouts: Whereabouts,
    events: mpsc::Sender<LinkEvent>,
    leaving: CancellationToken,
) {
    let (mut backoff, mut said) = (Backoff::default(), String::new());
    while !events.is_closed() {
        let began = Instant::now();
        let end = match whereabouts.look().await {
            Ok(server) => attend(server, &events).await,
            Err(why) => End::Unreachable(why),
        };
        if began.elapsed() > STABLE {
            backoff.reset();
        }
        let event = match &end {
            End::Refused(why) => LinkEvent::Refused(why.clone()),
            End::Unreachable(_) | End::Lost(_) | End::HungUp => LinkEvent::Lost,
        };
        if events.send(event).await.is_err() || leaving.is_cancelled() {
            return;
        }
        log(&end, &mut said);
        tokio::time::sleep(backoff.next()).await;
    }
}

enum End {
    Unreachable(String),
    Lost(String),
    HungUp,
    Refused(String),
}

/// Says what changed; a server that stays away is not said again and again above the debug level.
fn log(end: &End, said: &mut String) {
    let now = match end {
        End::Unreachable(why) => format!("cannot reach the server, trying on: {why}"),
        End::Lost(why) => format!("lost the server, connecting again: {why}"),
        End::Refused(why) => format!("the server refuses this worker: {why}"),
        End::HungUp => String::new(),
    };
    if *said == now {
        tracing::debug!("{now}");
    } else if !now.is_empty() {
        tracing::warn!("{now}");
    }
    *said = now;
}

async fn attend(server: ServerAddr, events: &mpsc::Sender<LinkEvent>) -> End {
    let connecting = async { endpoint(&server)?.connect().await };
    let channel = match connecting.await {
        Ok(channel) => channel,
        Err(error) => return End::Unreachable(format!("{server}: {}", whole_story(&error))),
    };
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let hang_up = CancellationToken::new();
    if events.send(LinkEvent::Connected { server, outgoing, hang_up: hang_up.clone() }).await.is_err() {
        return End::HungUp;
    }
    tokio::select! {
        () = hang_up.cancelled() => End::HungUp,
        end = carry(channel, messages, events) => end,
    }
}

async fn carry(channel: Channel, messages: mpsc::Receiver<WorkerMessage>, events: &mpsc::Sender<LinkEvent>) -> End {
    let mut client = FleetClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let greeting = async {
        let mut orders = client.attach(ReceiverStream::new(messages)).await?.into_inner();
        let first = orders.message().await?;
        Ok::<_, tonic::Status>((orders, first))
    };
    let (mut orders, mut next) = match timeout(GREETING_TIMEOUT, greeting).await {
        Ok(Ok((orders, first))) => (orders, Ok(first)),
        Ok(Err(status)) => return end_of(&status),
        Err(_) => return End::Lost(format!("no answer to the registration within {GREETING_TIMEOUT:?}")),
    };
    loop {
        match next {
            Ok(Some(order)) => {
                if events.send(LinkEvent::Order(Box::new(order))).await.is_err() {
                    return End::HungUp;
                }
            }
            Ok(None) => return End::Lost("the server ended the stream".to_owned()),
            Err(status) => return end_of(&status),
        }
        next = orders.message().await;
    }
}

/// A failed precondition is the server's word for a protocol of another major version.
fn end_of(status: &tonic::Status) -> End {
    match status.code() {
        tonic::Code::FailedPrecondition => End::Refused(status.message().to_owned()),
        code => End::Lost(format!("{code}: {}", status.message())),
    }
}

/// An error with its causes: tonic's own text is "transport error".
fn whole_story(error: &tonic::transport::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}
