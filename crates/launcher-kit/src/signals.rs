//! The signals that end a launcher: they take its jobs back first.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for the signals that a terminal, a build tool or a session's end sends.
pub struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Starts listening to INT, TERM, HUP and QUIT, but for those that were ignored when we were started (`nohup`).
    ///
    /// # Errors
    /// When the runtime cannot install a handler.
    pub fn listen() -> io::Result<Self> {
        let ending = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
        let heard = ending.into_iter().filter(|&number| !is_ignored(number));
        let listen = |number| Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Self(heard.map(listen).collect::<io::Result<_>>()?))
    }

    /// The next signal's number. Cancel safe.
    pub async fn next(&mut self) -> i32 {
        poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if let Poll::Ready(Some(())) = signal.poll_recv(context) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn is_ignored(number: i32) -> bool {
    // SAFETY: an all-zero sigaction is a valid value to be overwritten; a null new action only asks.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &raw mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}
