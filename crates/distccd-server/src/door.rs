//! The door: lets connections in, and shows those out that say nothing.
//!
//! A client speaks first in HTTP/2, so whoever has not said a word after a while never will; a connection that is kept
//! costs a descriptor. Where there are none left, accepting fails until one is given back: it is tried again at intervals,
//! for the listener goes on saying that somebody waits.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

/// How long a connection may say nothing at first. A client's first word leaves with its connecting; this allows for a
/// machine under load, and for packets that are sent again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// Failures to accept are told of at most once in so long.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that have spoken and wait to be served; the transport takes them at once.
const INSIDE: usize = 64;

/// Where connections come in.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    patience: Duration,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self::with_patience(listener, PATIENCE)
    }
}

impl Door {
    /// A door at which a connection may say nothing for so long.
    #[must_use]
    pub const fn with_patience(listener: TcpListener, patience: Duration) -> Self {
        Self { listener, patience }
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Opens it. The connections that have spoken; nobody is let in any more once the stream is dropped.
    pub(crate) fn open(self) -> impl Stream<Item = io::Result<TcpStream>> {
        let (inside, incoming) = mpsc::channel(INSIDE);
        tokio::spawn(self.keep(inside));
        ReceiverStream::new(incoming).map(Ok)
    }

    async fn keep(self, inside: mpsc::Sender<TcpStream>) {
        let mut waiting = JoinSet::new();
        let mut complaints = Complaints::default();
        loop {
            tokio::select! {
                () = inside.closed() => return,
                // Who has gone may have made room, so that it is worth another try at once.
                Some(_) = waiting.join_next() => {}
                stream = accept(&self.listener, &mut complaints) => {
                    waiting.spawn(let_in(stream, self.patience, inside.clone()));
                }
            }
        }
    }
}

/// Waits for the first word of a connection.
async fn let_in(stream: TcpStream, patience: Duration, inside: mpsc::Sender<TcpStream>) {
    let spoke = timeout(patience, stream.peek(&mut [0])).await;
    if matches!(spoke, Ok(Ok(1..))) {
        // Nobody is there to serve it once the server stops.
        let _ = inside.send(stream).await;
    }
}

async fn accept(listener: &TcpListener, complaints: &mut Complaints) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small messages go at once. Where that cannot be had they come later, and that is all.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                if complaints.is_due(Instant::now()) {
                    tracing::error!(%error, "cannot accept connections; clients wait, or run their jobs themselves");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Keeps a log readable while the same fails again and again.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= SILENCE);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_long_is_said_once_in_a_while() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        let said: Vec<u64> = (0..250).filter(|n| complaints.is_due(start + PAUSE * *n)).map(u64::from).collect();
        assert_eq!(said, [0, 100, 200]);
    }
}
