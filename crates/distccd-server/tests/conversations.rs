//! What the doors of the server let in, and what they say to the rest.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::net::SocketAddr;
use std::time::Duration;

use daemon_kit::shutdown::Stop;
use distccd_server::config::Config;
use proto::v1::{self, admin_client::AdminClient, fleet_client::FleetClient, launcher_message, launcher_reply};
use proto::v1::{obituaries_client::ObituariesClient, submission_client::SubmissionClient, worker_message};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

struct Server {
    address: SocketAddr,
    stop: Stop,
    ended: tokio::task::JoinHandle<Result<(), distccd_server::Error>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    async fn start_with(config: Config) -> Self {
        let config = Config { server_addr: "127.0.0.1:0".to_owned(), ..config };
        let listener = distccd_server::listen(&config).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        let ended = tokio::spawn(distccd_server::run(config, listener, stop.clone()));
        Self { address, stop, ended }
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn submit(&self, messages: Vec<launcher_message::Message>) -> Result<Streaming<v1::LauncherReply>, Status> {
        let messages: Vec<_> =
            messages.into_iter().map(|message| v1::LauncherMessage { message: Some(message) }).collect();
        // The conversation stays open after the last message, as a launcher's does.
        let stream = tokio_stream::iter(messages).chain(tokio_stream::pending());
        SubmissionClient::new(self.channel().await).submit(stream).await.map(tonic::Response::into_inner)
    }

    async fn attach(&self, register: v1::Register) -> Result<Streaming<v1::WorkerOrder>, Status> {
        self.attach_until(register, std::future::pending()).await
    }

    /// A worker that says no more after its registration, and hangs up when `end` is there.
    async fn attach_until(
        &self,
        register: v1::Register,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Streaming<v1::WorkerOrder>, Status> {
        let message = v1::WorkerMessage { message: Some(worker_message::Message::Register(register)) };
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            // Nobody reads it when the server refuses the call.
            let _ = sender.send(message).await;
            end.await;
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        FleetClient::new(self.channel().await).attach(stream).await.map(tonic::Response::into_inner)
    }
}

fn hello(major: u32) -> v1::Hello {
    v1::Hello {
        protocol: Some(v1::ProtocolVersion { major, minor: 7 }),
        software: "test 1".into(),
        ..proto::version::hello("test 1", [1; 16], "here")
    }
}

fn job(uid: u32) -> v1::Job {
    let identity = v1::Identity { uid, gid: uid, groups: Vec::new() };
    let command = v1::Command {
        program: "/usr/bin/gcc".into(),
        argv: vec!["gcc".into()],
        cwd: "/".into(),
        identity: Some(identity),
        ..Default::default()
    };
    v1::Job { id: vec![7; 16].into(), command: Some(command), kind: v1::JobKind::Compile.into(), ..Default::default() }
}

/// A worker that takes whatever there is, one at a time.
fn ash() -> v1::Register {
    v1::Register { hello: Some(hello(1)), name: "ash".to_owned(), slots: 1, any_user: true, ..Default::default() }
}

fn batch(jobs: Vec<v1::Job>) -> launcher_message::Message {
    launcher_message::Message::Submit(v1::SubmitBatch { jobs, batch_size: 1, batch_timeout_us: 0 })
}

/// The status that ends a conversation.
async fn end_of(mut replies: Streaming<v1::LauncherReply>) -> Status {
    loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the conversation ended without a reason"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_peer_of_another_major_version_is_told_both_versions() {
    let server = Server::start().await;

    let launcher = server.submit(vec![launcher_message::Message::Hello(hello(9))]).await.unwrap_err();
    let worker = server.attach(v1::Register { hello: Some(hello(9)), ..Default::default() }).await.unwrap_err();

    for status in [launcher, worker] {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("9.7") && status.message().contains("speaks 1."), "{status:?}");
    }
}

#[tokio::test]
async fn a_launcher_that_does_not_introduce_itself_is_told_to() {
    let server = Server::start().await;

    let status = server.submit(vec![batch(vec![])]).await.unwrap_err();

    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("hello"), "{status:?}");
}

#[tokio::test]
async fn a_malformed_job_ends_the_conversation_with_the_name_of_the_field() {
    let server = Server::start().await;
    let hello = || launcher_message::Message::Hello(hello(1));
    let broken = [
        (v1::Job { command: None, ..job(0) }, "job.command"),
        (v1::Job { id: "short".into(), ..job(0) }, "job.id"),
        (v1::Job { kind: 99, ..job(0) }, "job.kind"),
    ];

    for (job, field) in broken {
        let replies = server.submit(vec![hello(), batch(vec![job])]).await.unwrap();
        let status = end_of(replies).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(field), "{status:?}");
    }
}

#[tokio::test]
async fn a_user_may_submit_own_jobs_and_nobody_those_of_others() {
    let server = Server::start().await;
    let me = rustix::process::geteuid().as_raw();
    let hello = || launcher_message::Message::Hello(hello(1));

    let mut own = server.submit(vec![hello(), batch(vec![job(me)])]).await.unwrap();
    let foreign =
        server.submit(vec![hello(), batch(vec![v1::Job { id: vec![8; 16].into(), ..job(me + 1) }])]).await.unwrap();

    // Without a worker the job is sent home, so it was let in.
    let answers = async {
        loop {
            if let Some(launcher_reply::Message::RunLocally(local)) = own.message().await.unwrap().unwrap().message {
                return local;
            }
        }
    };
    assert!(answers.await.reason.contains("no worker"));
    assert_eq!(end_of(foreign).await.code(), Code::PermissionDenied);
}

/// What the first answer is to the second of two jobs of a user who may have one waiting.
async fn answer_beyond_the_limit(minor: u32) -> launcher_reply::Message {
    let mut config = Config::default();
    config.scheduler.max_queued_per_user = 1;
    first_answer(config, minor, [0, 0]).await
}

/// What the first answer is when two jobs with so many bytes of environment come and there is no worker.
async fn first_answer(mut config: Config, minor: u32, bytes: [usize; 2]) -> launcher_reply::Message {
    config.scheduler.ask_again = Duration::from_millis(300);
    // They wait for as long as the story takes.
    config.scheduler.fleet_grace = Duration::from_secs(3600);
    let server = Server::start_with(config).await;
    let me = rustix::process::geteuid().as_raw();
    let hello = v1::Hello { protocol: Some(v1::ProtocolVersion { major: 1, minor }), ..hello(1) };
    let jobs = [(1, bytes[0]), (2, bytes[1])].map(|(id, bytes)| {
        let mut job = v1::Job { id: vec![id; 16].into(), ..job(me) };
        let env = v1::EnvVar { name: "A".into(), value: vec![b'x'; bytes].into() };
        job.command.as_mut().unwrap().env.push(env);
        job
    });
    let hello = launcher_message::Message::Hello(hello);
    let mut replies = server.submit(vec![hello, batch(jobs.to_vec())]).await.unwrap();
    loop {
        match replies.message().await.unwrap().unwrap().message {
            Some(launcher_reply::Message::Hello(_)) | None => {}
            Some(answer) => return answer,
        }
    }
}

#[tokio::test]
async fn a_user_with_too_many_jobs_waiting_is_told_when_to_come_again() {
    let told = answer_beyond_the_limit(1).await;

    let expected = v1::Wait { job: vec![2; 16].into(), delay_us: 300_000, longest_us: 2_400_000 };
    assert_eq!(told, launcher_reply::Message::Wait(expected));
}

#[tokio::test]
async fn a_user_whose_jobs_fill_half_of_the_books_is_told_when_to_come_again() {
    let config = Config { max_kept_mib: 1, ..Config::default() };

    let told = first_answer(config, 1, [400 << 10, 400 << 10]).await;

    let expected = v1::Wait { job: vec![2; 16].into(), delay_us: 300_000, longest_us: 2_400_000 };
    assert_eq!(told, launcher_reply::Message::Wait(expected));
}

#[tokio::test]
async fn a_job_that_is_too_large_is_refused_by_name_and_the_others_of_its_batch_are_not() {
    let told = first_answer(Config::default(), 1, [10, 25 << 20]).await;

    let refused = |local: &v1::RunLocally| local.job == vec![2; 16] && local.reason.contains("larger than 24 MiB");
    assert!(matches!(&told, launcher_reply::Message::RunLocally(local) if refused(local)), "{told:?}");
}

#[tokio::test]
async fn a_launcher_that_cannot_be_told_to_wait_runs_the_job_at_home() {
    let told = answer_beyond_the_limit(0).await;

    assert!(matches!(&told, launcher_reply::Message::RunLocally(local) if local.job == vec![2; 16]), "{told:?}");
}

#[tokio::test]
async fn status_shows_the_workers() {
    let server = Server::start().await;
    let register = |name: &str, incarnation: u8| v1::Register {
        hello: Some(proto::version::hello("test", [incarnation; 16], "here")),
        name: name.to_owned(),
        slots: 3,
        linking: true,
        ..Default::default()
    };
    let mut orders = Vec::new();
    for (name, incarnation) in [("ash", 1), ("ash", 2)] {
        let mut stream = server.attach(register(name, incarnation)).await.unwrap();
        assert!(stream.message().await.unwrap().is_some(), "a welcome");
        orders.push(stream);
    }

    let status =
        AdminClient::new(server.channel().await).get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();

    let seen: Vec<_> =
        status.workers.iter().map(|worker| (worker.name.as_str(), worker.state.as_str(), worker.slots)).collect();
    assert_eq!(seen, [("ash", "up", 3), ("ash#2", "up", 3)]);
}

#[tokio::test]
async fn status_says_what_differs_where_toolchains_do() {
    let server = Server::start().await;
    let register = |name: &str, cc1: u64| v1::Register {
        hello: Some(proto::version::hello("test", [cc1 as u8; 16], "here")),
        name: name.to_owned(),
        slots: 1,
        any_user: true,
        toolchains: vec![v1::Toolchain {
            path: "/usr/bin/gcc".into(),
            fingerprint: vec![cc1.min(2) as u8; 16].into(),
            parts: vec![1 << 32 | 5, 2 << 32 | cc1.min(2)],
            part_names: vec!["as".to_owned(), "cc1".to_owned()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut streams = Vec::new();
    for (name, cc1) in [("odd", 1), ("ash", 2), ("birch", 3)] {
        let mut stream = server.attach(register(name, cc1)).await.unwrap();
        assert!(stream.message().await.unwrap().is_some(), "a welcome");
        streams.push(stream);
    }

    let status =
        AdminClient::new(server.channel().await).get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();

    let told: Vec<_> = status
        .workers
        .iter()
        .map(|worker| (worker.name.as_str(), worker.differences.iter().map(|it| it.text.as_str()).collect::<Vec<_>>()))
        .collect();
    assert_eq!(told[0], ("odd", vec!["/usr/bin/gcc: cc1 differs from most workers'"]));
    assert!(told[1..].iter().all(|(_, differences)| differences.is_empty()), "{told:?}");
    let listed = &status.workers[0].toolchains[0];
    assert!(listed.parts.is_empty() && listed.fingerprint.len() == 16, "a list of a thousand workers stays small");
}

#[tokio::test]
async fn a_worker_is_gone_when_its_own_spawner_says_so_and_its_last_words_have_been_heard() {
    let mut config = Config::default();
    config.scheduler.lease = Duration::from_secs(3600);
    let server = Server::start_with(config).await;
    let register = v1::Register { obituary_key: vec![5; 16].into(), ..ash() };
    let (hang_up, hung_up) = tokio::sync::oneshot::channel::<()>();
    let end = async { drop(hung_up.await) };
    let mut orders = server.attach_until(register, end).await.unwrap();
    assert!(orders.message().await.unwrap().is_some(), "a welcome");
    let incarnation: Vec<u8> = hello(1).incarnation.into();
    let (mut spawner, mut admin) =
        (ObituariesClient::new(server.channel().await), AdminClient::new(server.channel().await));
    let mut workers = async || admin.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().workers.len();

    for (incarnation, key) in
        [(incarnation.clone(), vec![6; 16]), (incarnation.clone(), vec![]), (vec![7; 16], vec![5; 16])]
    {
        let forged = v1::Obituary { incarnation: incarnation.into(), key: key.into() };
        spawner.publish(forged).await.unwrap();
    }
    let own = v1::Obituary { incarnation: incarnation.into(), key: vec![5; 16].into() };
    spawner.publish(own).await.unwrap();
    assert_eq!(workers().await, 1, "what it sent before it died may still be on its way");

    drop(hang_up);
    let gone = async {
        while workers().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), gone).await.is_ok(), "its lease is an hour");
}

#[tokio::test]
async fn people_are_told_why_a_job_is_where_it_is() {
    let mut config = Config::default();
    // The worker says nothing for as long as the story takes.
    config.scheduler.lease = Duration::from_secs(3600);
    let server = Server::start_with(config).await;
    let me = rustix::process::geteuid().as_raw();
    let mut orders = server.attach(ash()).await.unwrap();
    let hello = launcher_message::Message::Hello(hello(1));
    let sent = (1..=6).map(|id| v1::Job { id: vec![id; 16].into(), ..job(me) }).collect();
    let _replies = server.submit(vec![hello, batch(sent)]).await.unwrap();
    // A slot and what is sent ahead of it: the sixth waits.
    let mut assigned = 0;
    while assigned < 5 {
        let order = orders.message().await.unwrap().unwrap().message;
        if let Some(v1::worker_order::Message::Assign(assign)) = order {
            assigned += assign.assignments.len();
        }
    }
    let mut admin = AdminClient::new(server.channel().await);
    let mut explain = async |id: Vec<u8>| {
        let answer = admin.explain(v1::ExplainRequest { job: id.into() }).await;
        answer.map(tonic::Response::into_inner)
    };

    let first = explain(vec![1; 16]).await.unwrap();
    let place = first.placement.unwrap();
    assert_eq!((first.state.as_str(), place.worker.as_str(), place.attempt), ("sent", "ash", 1));
    assert_eq!((place.why.as_str(), first.obstacles), ("idle slot", None));
    assert!(first.text.starts_with("sent; attempt 1 at ash (idle slot"), "{}", first.text);

    let sixth = explain(vec![6; 16]).await.unwrap();
    let obstacles = sixth.obstacles.unwrap();
    assert_eq!((sixth.state.as_str(), obstacles.workers, obstacles.busy), ("waiting", 1, 1));
    assert_eq!(sixth.placement, None);
    assert!(sixth.text.contains("of 1 workers, 1 are busy; before it: 0 users"), "{}", sixth.text);

    assert_eq!(explain(vec![9; 16]).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(explain(vec![9; 3]).await.unwrap_err().code(), Code::InvalidArgument);
}

/// A job that prints at a worker, for a launcher that does not read yet.
struct Printing {
    _server: Server,
    says: tokio::sync::mpsc::Sender<v1::WorkerMessage>,
    orders: Streaming<v1::WorkerOrder>,
    replies: Streaming<v1::LauncherReply>,
    attempt: v1::AttemptRef,
}

impl Printing {
    async fn start() -> Self {
        let mut config = Config::default();
        // The worker's heart does not beat.
        config.scheduler.lease = Duration::from_secs(3600);
        let server = Server::start_with(config).await;
        let (says, heard) = tokio::sync::mpsc::channel(1);
        let register = v1::WorkerMessage { message: Some(worker_message::Message::Register(ash())) };
        says.try_send(register).unwrap();
        let stream = tokio_stream::wrappers::ReceiverStream::new(heard);
        let orders = FleetClient::new(server.channel().await).attach(stream).await.unwrap().into_inner();
        let me = rustix::process::geteuid().as_raw();
        let hello = launcher_message::Message::Hello(hello(1));
        let replies = server.submit(vec![hello, batch(vec![job(me)])]).await.unwrap();
        let attempt = v1::AttemptRef::default();
        let mut printing = Self { _server: server, says, orders, replies, attempt };
        while printing.attempt.number == 0 {
            if let v1::worker_order::Message::Assign(assign) = printing.order().await {
                printing.attempt = assign.assignments[0].attempt.clone().unwrap();
            }
        }
        printing
    }

    async fn order(&mut self) -> v1::worker_order::Message {
        self.orders.message().await.unwrap().unwrap().message.unwrap()
    }

    async fn print(&self, chunks: std::ops::Range<u64>) {
        for sequence in chunks {
            let data = vec![b'x'; proto::limits::MAX_CHUNK_BYTES].into();
            let stream = v1::OutputStream::Stderr.into();
            let chunk = v1::OutputChunk { attempt: Some(self.attempt.clone()), sequence, stream, data };
            let message = v1::WorkerMessage { message: Some(worker_message::Message::Output(chunk)) };
            self.says.send(message).await.unwrap();
        }
    }

    /// How many pieces the worker is told to have been taken, next.
    async fn taken(&mut self) -> u64 {
        loop {
            if let v1::worker_order::Message::OutputTaken(word) = self.order().await {
                return word.chunks;
            }
        }
    }

    /// Has the launcher read until the conversation ends or it has heard as many pieces.
    async fn read(&mut self, most: u64) -> Result<u64, Status> {
        let mut heard = 0;
        while heard < most {
            match self.replies.message().await?.and_then(|reply| reply.message) {
                Some(launcher_reply::Message::Output(_)) => heard += 1,
                Some(_) => {}
                None => break,
            }
        }
        Ok(heard)
    }
}

#[tokio::test]
async fn a_launcher_that_does_not_read_holds_up_what_its_job_prints_until_it_does() {
    let mut printing = Printing::start().await;
    let mut sent = 0;
    let mut taken = 0;
    // As a worker does, until it hears no more. What the transport takes for a launcher that does not read is little.
    let held_up = loop {
        assert!(sent < 1000, "{} MiB were taken for a launcher that does not read", sent / 16);
        printing.print(sent..taken + proto::limits::OUTPUT_WINDOW).await;
        sent = taken + proto::limits::OUTPUT_WINDOW;
        // It is never answered once much waits, and at once before.
        match tokio::time::timeout(Duration::from_secs(2), printing.taken()).await {
            Ok(now) => taken = now,
            Err(_) => break sent,
        }
    };

    assert_eq!(printing.read(held_up).await.unwrap(), held_up);

    while taken < held_up {
        taken = printing.taken().await;
    }
    assert_eq!(taken, held_up, "all of it");
}

#[tokio::test]
async fn a_launcher_for_which_too_much_waits_hears_the_end_of_its_conversation() {
    let mut printing = Printing::start().await;

    // A worker of an older release does not wait to be asked.
    printing.print(0..(80 << 20) / proto::limits::MAX_CHUNK_BYTES as u64).await;

    let ended = printing.read(u64::MAX).await.unwrap_err();
    assert!(ended.code() == Code::ResourceExhausted && ended.message().contains("64 MiB"), "{ended:?}");
}

#[tokio::test]
async fn asked_to_stop_without_work_it_stops() {
    let server = Server::start().await;

    server.stop.asked.cancel();

    let ended = tokio::time::timeout(Duration::from_secs(10), server.ended).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
}
