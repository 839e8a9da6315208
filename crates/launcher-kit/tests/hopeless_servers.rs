//! Servers that are there and no good: a launcher tries for a while, and then runs the command itself.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use launcher_kit::answer::Answer;
use launcher_kit::log::Log;
use launcher_kit::session::Session;
use launcher_kit::settings::Settings;
use proto::v1::submission_server::{Submission, SubmissionServer};
use proto::v1::{self, launcher_reply};
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// How a server disappoints.
#[derive(Clone, Copy)]
enum Manner {
    /// Says hello and hangs up.
    HangsUp,
    /// Says hello, and then that this user may not.
    Forbids,
}

struct Disappointing {
    manner: Manner,
    calls: Arc<Calls>,
}

/// How often it was called, and when last.
#[derive(Default)]
struct Calls {
    count: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

#[tonic::async_trait]
impl Submission for Disappointing {
    type SubmitStream = Pin<Box<dyn Stream<Item = Result<v1::LauncherReply, Status>> + Send>>;

    async fn submit(
        &self,
        _request: Request<Streaming<v1::LauncherMessage>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        self.calls.count.fetch_add(1, Ordering::Relaxed);
        *self.calls.last.lock().unwrap() = Some(Instant::now());
        let hello = launcher_reply::Message::Hello(proto::version::hello("test", [1; 16], "here"));
        let mut replies = vec![Ok(v1::LauncherReply { message: Some(hello) })];
        if let Manner::Forbids = self.manner {
            replies.push(Err(Status::permission_denied("not you")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }
}

async fn serve(manner: Manner) -> (SocketAddr, Arc<Calls>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(Calls::default()));
    let service = SubmissionServer::new(Disappointing { manner, calls: Arc::clone(&calls) });
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)),
    );
    (address, calls)
}

/// What a launcher makes of it: why it runs the command itself, how long after it was last heard, and how often it asked.
async fn disappointed(manner: Manner) -> (String, Duration, usize) {
    let (address, calls) = serve(manner).await;
    let settings = Settings { reattach_timeout: Duration::from_millis(600), ..Settings::default() };
    let log = Log::open("test", &settings);
    let mut session = Session::new(&settings, &log, "test", vec![address]);
    session.submit(vec![v1::Job { id: vec![1; 16].into(), ..Default::default() }]);
    match session.next().await {
        (_, Answer::Locally(why)) => {
            let last = calls.last.lock().unwrap().unwrap();
            (why, last.elapsed(), calls.count.load(Ordering::Relaxed))
        }
        (_, Answer::Done(_)) => panic!("done by nobody"),
    }
}

#[tokio::test]
async fn one_that_hangs_up_each_time_is_given_up_when_nobody_can_be_running_our_jobs_any_more() {
    let (why, after, calls) = disappointed(Manner::HangsUp).await;

    assert!(why.contains("break soon") || why.contains("closed the connection"), "{why}");
    assert!(after >= Duration::from_millis(590), "{after:?} after it had last been told that we want them");
    assert!((2..50).contains(&calls), "{calls} tries");
}

#[tokio::test]
async fn one_that_forbids_is_given_up_at_once() {
    let (why, _, calls) = disappointed(Manner::Forbids).await;

    assert!(why.contains("not you"), "{why}");
    assert_eq!(calls, 1);
}

/// As one that is stopped (SIGSTOP): the kernel still completes connections for it.
#[tokio::test]
async fn one_that_never_says_hello_has_got_nothing_of_ours_and_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings { connect_timeout: Duration::from_millis(50), ..Settings::default() };
    let log = Log::open("test", &settings);
    let mut session = Session::new(&settings, &log, "test", vec![listener.local_addr().unwrap()]);
    session.submit(vec![v1::Job { id: vec![1; 16].into(), ..Default::default() }]);

    let (_, answer) = session.next().await;

    assert!(matches!(&answer, Answer::Locally(why) if why.contains("no answer from the server within 250ms")));
}
