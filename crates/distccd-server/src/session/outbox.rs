//! What waits for a peer: bounded in bytes, never waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// Bytes that may wait for one peer. A stopped launcher (Ctrl-Z) does not read; its build's warnings fit easily.
const CAPACITY: usize = 64 << 20;

/// Where more than this waits, whoever has more for the peer holds it back, if he can.
const MUCH: usize = 4 << 20;

/// Where no more than this waits, he goes on.
const LITTLE: usize = MUCH / 2;

/// The sending side, held by the driver; dropping it ends the peer's stream.
pub struct Outbox<T> {
    queue: mpsc::UnboundedSender<Queued<T>>,
    backlog: Arc<Backlog>,
}

/// A message and its size, or the word that ends the conversation.
type Queued<T> = Result<(T, usize), Status>;

#[derive(Default)]
struct Backlog {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Somebody holds something back until little waits.
    is_awaited: AtomicBool,
}

/// Why the peer cannot be told any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// It is gone.
    Gone,
    /// It let too much wait. Its conversation ends, with a reason, after what waits already.
    TooSlow,
}

impl<T: Message> Outbox<T> {
    /// Queues a message.
    ///
    /// # Errors
    /// When the peer is gone, or more than 64 MiB would wait for it: whoever asks must drop this outbox then.
    pub fn send(&self, message: T) -> Result<(), CutOff> {
        let size = message.encoded_len();
        if self.backlog.waiting.fetch_add(size, Ordering::SeqCst) + size > CAPACITY {
            let reason = format!("more than {} MiB waited to be read", CAPACITY >> 20);
            // It may be gone as well.
            let _ = self.queue.send(Err(Status::resource_exhausted(reason)));
            return Err(CutOff::TooSlow);
        }
        self.queue.send(Ok((message, size))).map_err(|_| CutOff::Gone)
    }
}

impl<T> Outbox<T> {
    /// Whether more than 4 MiB wait; if so, [`Outgoing::on_little`] says when that is over.
    #[must_use]
    pub fn holds_much(&self) -> bool {
        if self.backlog.waiting.load(Ordering::SeqCst) <= MUCH {
            return false;
        }
        self.backlog.is_awaited.store(true, Ordering::SeqCst);
        // It may have been over before that could be seen.
        self.backlog.waiting.load(Ordering::SeqCst) > LITTLE
    }

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

/// The receiving side: the stream of a gRPC response.
pub struct Outgoing<T> {
    queue: mpsc::UnboundedReceiver<Queued<T>>,
    backlog: Arc<Backlog>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
    on_little: Option<Box<dyn Fn() + Send>>,
}

/// An outbox and the stream it feeds.
#[must_use]
pub fn outbox<T>() -> (Outbox<T>, Outgoing<T>) {
    let (sender, queue) = mpsc::unbounded_channel();
    let backlog = Arc::new(Backlog::default());
    (
        Outbox { queue: sender, backlog: Arc::clone(&backlog) },
        Outgoing { queue, backlog, on_drop: None, on_little: None },
    )
}

impl<T> Outgoing<T> {
    /// Has `action` run when the transport lets go of the stream, which is the first sure sign that the peer is gone.
    #[must_use]
    pub fn on_drop(mut self, action: impl FnOnce() + Send + 'static) -> Self {
        self.on_drop = Some(Box::new(action));
        self
    }

    /// Has `action` run whenever the peer has taken so much that little waits, if somebody has asked since the last time
    /// ([`Outbox::holds_much`]).
    #[must_use]
    pub fn on_little(mut self, action: impl Fn() + Send + 'static) -> Self {
        self.on_little = Some(Box::new(action));
        self
    }

    fn on_taken(&self, size: usize) {
        let left = self.backlog.waiting.fetch_sub(size, Ordering::SeqCst).saturating_sub(size);
        if left <= LITTLE
            && let Some(action) = &self.on_little
            && self.backlog.is_awaited.swap(false, Ordering::SeqCst)
        {
            action();
        }
    }
}

impl<T> Stream for Outgoing<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|next| {
            next.map(|queued| {
                let (message, size) = queued?;
                self.on_taken(size);
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
    use tokio_stream::StreamExt;

    fn chunk(bytes: usize) -> LauncherReply {
        let chunk = OutputChunk { data: vec![0; bytes].into(), ..Default::default() };
        LauncherReply { message: Some(launcher_reply::Message::Output(chunk)) }
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_is_cut_off_after_what_waits_and_memory_stays_bounded() {
        let (outbox, outgoing) = outbox();

        let accepted = (0..1000).take_while(|_| outbox.send(chunk(1 << 20)).is_ok()).count();
        drop(outbox);

        assert_eq!(accepted, 63);
        let received: Vec<_> = outgoing.collect().await;
        assert!(received.len() == 64 && received[..63].iter().all(Result::is_ok));
        let reason = received[63].as_ref().unwrap_err();
        assert!(reason.code() == tonic::Code::ResourceExhausted && reason.message().contains("64 MiB"), "{reason}");
    }

    #[test]
    fn a_peer_that_is_gone_is_cut_off() {
        let (outbox, outgoing) = outbox();
        drop(outgoing);

        assert_eq!(outbox.send(chunk(1)), Err(CutOff::Gone));
    }

    #[tokio::test]
    async fn whoever_found_that_much_waits_is_told_once_when_that_is_over() {
        let (outbox, outgoing) = outbox();
        let (tell, told) = std::sync::mpsc::channel();
        let mut outgoing = outgoing.on_little(move || tell.send(()).unwrap());
        assert!(!outbox.holds_much());
        for _ in 0..5 {
            outbox.send(chunk(1 << 20)).unwrap();
        }
        assert!(outbox.holds_much());

        for _ in 0..2 {
            outgoing.next().await.unwrap().unwrap();
        }
        assert!(told.try_recv().is_err(), "more than half of it waits");
        for _ in 0..3 {
            outgoing.next().await.unwrap().unwrap();
        }

        assert!(told.try_iter().count() == 1 && !outbox.holds_much());
    }
}
