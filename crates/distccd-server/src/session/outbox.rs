//! What waits for a peer: bounded in bytes, never waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// Bytes that may wait for one peer. A stopped launcher (Ctrl-Z) does not read; its build's warnings fit easily.
const CAPACITY: usize = 64 << 20;

/// The sending side, held by the driver; dropping it ends the peer's stream.
pub struct Outbox<T> {
    queue: mpsc::UnboundedSender<Queued<T>>,
    waiting: Arc<AtomicUsize>,
}

/// A message and its size, or the word that ends the conversation.
type Queued<T> = Result<(T, usize), Status>;

/// The peer cannot be told any more: it is gone, or let too much wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff;

impl<T: Message> Outbox<T> {
    /// Queues a message.
    ///
    /// # Errors
    /// When the peer is gone, or more than 64 MiB wait for it.
    pub fn send(&self, message: T) -> Result<(), CutOff> {
        let size = message.encoded_len();
        if self.waiting.fetch_add(size, Ordering::Relaxed) + size > CAPACITY {
            return Err(CutOff);
        }
        self.queue.send(Ok((message, size))).map_err(|_| CutOff)
    }
}

impl<T> Outbox<T> {
    /// The right to end the conversation with a reason, which does not keep it open.
    #[must_use]
    pub fn refusal(&self) -> Refusal<T> {
        Refusal(self.queue.downgrade())
    }
}

/// See [`Outbox::refusal`].
pub struct Refusal<T>(mpsc::WeakUnboundedSender<Queued<T>>);

impl<T> Refusal<T> {
    /// Ends the conversation: after what was queued before, the peer gets this status.
    pub fn refuse(&self, status: Status) {
        if let Some(queue) = self.0.upgrade() {
            // A peer that is gone needs no reason.
            let _ = queue.send(Err(status));
        }
    }
}

/// The receiving side: the stream of a gRPC response. Runs `on_drop` when the transport lets go of it, which is the
/// first sure sign that the peer is gone.
pub struct Outgoing<T> {
    queue: mpsc::UnboundedReceiver<Queued<T>>,
    waiting: Arc<AtomicUsize>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

/// An outbox and the stream it feeds.
#[must_use]
pub fn outbox<T>() -> (Outbox<T>, Outgoing<T>) {
    let (sender, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { queue: sender, waiting: Arc::clone(&waiting) }, Outgoing { queue, waiting, on_drop: None })
}

impl<T> Outgoing<T> {
    /// Has `action` run when the transport lets go of the stream.
    #[must_use]
    pub fn on_drop(mut self, action: impl FnOnce() + Send + 'static) -> Self {
        self.on_drop = Some(Box::new(action));
        self
    }
}

impl<T> Stream for Outgoing<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|next| {
            next.map(|queued| {
                let (message, size) = queued?;
                self.waiting.fetch_sub(size, Ordering::Relaxed);
                Ok(message)
            })
        })
    }
}

impl<T> Drop for Outgoing<T> {
    fn drop(&mut self) {
        if let Some(action) = self.on_drop.take() {
            action();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::{LauncherReply, OutputChunk, launcher_reply};

    fn chunk(bytes: usize) -> LauncherReply {
        let chunk = OutputChunk { data: vec![0; bytes].into(), ..Default::default() };
        LauncherReply { message: Some(launcher_reply::Message::Output(chunk)) }
    }

    #[test]
    fn a_peer_that_never_reads_is_cut_off_and_memory_stays_bounded() {
        let (outbox, _outgoing) = outbox();

        let accepted = (0..1000).take_while(|_| outbox.send(chunk(1 << 20)).is_ok()).count();

        assert_eq!(accepted, 63);
    }

    #[test]
    fn a_peer_that_is_gone_is_cut_off() {
        let (outbox, outgoing) = outbox();
        drop(outgoing);

        assert_eq!(outbox.send(chunk(1)), Err(CutOff));
    }
}
