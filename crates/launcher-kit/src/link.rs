//! One conversation with the server: HTTP/2 over one TCP connection, driven on this thread.
//!
//! tonic's own channel brings a balancer, buffers and name resolution on a second thread; a launcher lives for one
//! job, so it speaks through hyper's HTTP/2 connection directly and resolves names before the runtime starts.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use proto::limits::MAX_MESSAGE_BYTES;
use proto::v1::{self, LauncherMessage, LauncherReply, launcher_message, submission_client::SubmissionClient};
use proto::version::{HelloError, check_hello};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address does not resolve.
    #[error("`{0}` does not resolve: {1}")]
    Unresolved(String, std::io::Error),
    /// Nobody answers there.
    #[error("no connection to the server at {addresses}: {error}", addresses = joined(.addresses))]
    Connect {
        /// Where it was looked for.
        addresses: Vec<SocketAddr>,
        /// What the last of them said.
        error: std::io::Error,
    },
    /// It took longer than it may.
    #[error("no answer from the server within {0:?}")]
    Timeout(Duration),
    /// HTTP/2 broke.
    #[error("the connection to the server broke: {0}")]
    Http(#[from] hyper::Error),
    /// The server refused or ended the conversation.
    #[error("the server says: {}", .0.message())]
    Refused(#[from] Box<tonic::Status>),
    /// It speaks another protocol.
    #[error("{0}")]
    Version(HelloError),
    /// No conversation with it lasts.
    #[error("the server's connections break soon after they were made")]
    Flapping,
    /// The server ended the conversation without a word.
    #[error("the server closed the connection")]
    Closed,
}

/// Resolves `HOST:PORT`. `localhost` is known without asking, as RFC 6761 section 6.3 wants it.
///
/// # Errors
/// When the name does not resolve.
pub fn resolve(address: &str) -> Result<Vec<SocketAddr>, LinkError> {
    let unresolved = |error| LinkError::Unresolved(address.to_owned(), error);
    if let Some(port) = address.strip_prefix("localhost:") {
        let port = port.parse().map_err(|error| unresolved(std::io::Error::other(error)))?;
        return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))]);
    }
    Ok(address.to_socket_addrs().map_err(unresolved)?.collect())
}

fn joined(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// An open conversation: both sides have introduced themselves.
pub struct Link {
    to_server: mpsc::UnboundedSender<LauncherMessage>,
    from_server: tonic::Streaming<LauncherReply>,
}

impl Link {
    /// Opens a conversation; for the connection there is `timeout`, for the server's hello another one that is as many
    /// times longer as `patience` says. Nothing is submitted before the server has answered our hello: when this fails, nothing of
    /// ours has reached anybody who could act on it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open(
        addresses: Vec<SocketAddr>,
        hello: v1::Hello,
        timeout: Duration,
        patience: u32,
    ) -> Result<Self, LinkError> {
        let connecting = tokio::time::timeout(timeout, connect(&addresses)).await;
        let connected = connecting.map_err(|_| LinkError::Timeout(timeout))?;
        let stream = connected.map_err(|error| LinkError::Connect { addresses, error })?;
        let timeout = timeout.saturating_mul(patience);
        let greeting = tokio::time::timeout(timeout, Self::greet(stream, hello)).await;
        greeting.unwrap_or(Err(LinkError::Timeout(timeout)))
    }

    async fn greet(stream: TcpStream, hello: v1::Hello) -> Result<Self, LinkError> {
        let us = hello.software.clone();
        let transport = Transport::start(stream).await?;
        let (to_server, queue) = mpsc::unbounded_channel();
        let mut client = SubmissionClient::with_origin(transport, http::Uri::from_static("http://distccd"))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // Its receiver is right here.
        let _ = to_server.send(LauncherMessage { message: Some(launcher_message::Message::Hello(hello)) });
        let reply = client.submit(UnboundedReceiverStream::new(queue)).await.map_err(Box::new)?;
        let mut link = Self { to_server, from_server: reply.into_inner() };
        let first = link.receive().await?;
        let theirs = if let v1::launcher_reply::Message::Hello(hello) = &first { Some(hello) } else { None };
        check_hello(theirs, &us).map_err(LinkError::Version)?;
        Ok(link)
    }

    /// Sends a message; it is lost if the conversation is over, which [`Link::receive`] then tells.
    pub fn send(&self, message: launcher_message::Message) {
        let _ = self.to_server.send(LauncherMessage { message: Some(message) });
    }

    /// The next message of the server. Cancel safe.
    ///
    /// # Errors
    /// When the conversation is over.
    pub async fn receive(&mut self) -> Result<v1::launcher_reply::Message, LinkError> {
        loop {
            let reply = self.from_server.message().await.map_err(Box::new)?.ok_or(LinkError::Closed)?;
            // A message that a newer minor version added is passed over.
            if let Some(message) = reply.message {
                return Ok(message);
            }
        }
    }
}

async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// hyper's connection in the shape that the generated client wants.
struct Transport(SendRequest<tonic::body::Body>);

impl Transport {
    async fn start(stream: TcpStream) -> Result<Self, hyper::Error> {
        // The pings find out about a server that vanished without a FIN; nothing times the job itself.
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(10))
            .handshake(TokioIo::new(stream))
            .await?;
        // Its end shows as the end of the replies.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self(sender))
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Transport {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
