//! A server whose queue is full for this user: a launcher waits and asks again, and runs nothing itself.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;

use launcher_kit::answer::Answer;
use launcher_kit::log::Log;
use launcher_kit::session::Session;
use launcher_kit::settings::Settings;
use proto::v1::submission_server::{Submission, SubmissionServer};
use proto::v1::{self, launcher_message, launcher_reply};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// Takes a job only when it has been submitted a third time, and remembers what was submitted: first byte of the id,
/// and whether as something that others may know.
#[derive(Clone, Default)]
struct Full {
    submitted: Arc<Mutex<Vec<(u8, bool)>>>,
}

impl Full {
    fn answer(&self, job: &v1::Job) -> launcher_reply::Message {
        let mut submitted = self.submitted.lock().unwrap();
        submitted.push((job.id[0], job.resubmitted));
        if submitted.iter().filter(|(id, _)| *id == job.id[0]).count() < 3 {
            let wait = v1::Wait { job: job.id.clone(), delay_us: 20_000, longest_us: 20_000 };
            return launcher_reply::Message::Wait(wait);
        }
        let attempt = v1::AttemptRef { job: job.id.clone(), number: 1 };
        let exit = v1::ExitStatus { how: Some(v1::exit_status::How::Code(0)) };
        let outcome = v1::Outcome { exit: Some(exit), ..Default::default() };
        launcher_reply::Message::Done(v1::JobDone { attempt: Some(attempt), outcome: Some(outcome) })
    }
}

#[tonic::async_trait]
impl Submission for Full {
    type SubmitStream = Pin<Box<dyn Stream<Item = Result<v1::LauncherReply, Status>> + Send>>;

    async fn submit(
        &self,
        request: Request<Streaming<v1::LauncherMessage>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (replies, outgoing) = mpsc::unbounded_channel();
        let reply = |message| Ok(v1::LauncherReply { message: Some(message) });
        let hello = launcher_reply::Message::Hello(proto::version::hello("test", [1; 16], "here"));
        replies.send(reply(hello)).unwrap();
        let (full, mut messages) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if let Some(launcher_message::Message::Submit(batch)) = message.message {
                    batch.jobs.iter().for_each(|job| replies.send(reply(full.answer(job))).unwrap());
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }
}

#[tokio::test]
async fn jobs_that_are_told_to_wait_come_again_until_they_are_taken() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let full = Full::default();
    let service = SubmissionServer::new(full.clone());
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)),
    );
    let settings = Settings::default();
    let log = Log::open("test", &settings);
    let mut session = Session::new(&settings, &log, "test", vec![address]);

    session.submit([1, 2].map(|id| v1::Job { id: vec![id; 16].into(), ..Default::default() }).to_vec());
    let answers = [session.next().await, session.next().await];

    assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::Done(_))));
    let mut submitted = full.submitted.lock().unwrap().clone();
    submitted.sort_unstable();
    // The server has forgotten them each time: nobody need be asked whether he runs them.
    assert_eq!(submitted, [(1, false), (1, false), (1, false), (2, false), (2, false), (2, false)]);
}
