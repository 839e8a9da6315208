//! A server that a test plays by hand, and a worker inside the test's own process.
#![allow(dead_code, unreachable_pub, reason = "each story uses its own part of the kit")]
#![allow(clippy::unwrap_used, reason = "a kit for tests, where an error is a failed test")]

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon_kit::shutdown::Stop;
use distccd_worker::config::{Config, ServerAddr};
use distccd_worker::spawner::Spawner;
use distccd_worker::{Error, Exit};
use proto::v1::fleet_server::{Fleet, FleetServer};
use proto::v1::worker_message::Message;
use proto::v1::worker_order::Message as Order;
use proto::v1::{self, attempt_result};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Far beyond anything that works: a test that waits so long has failed.
pub const FOREVER: Duration = Duration::from_secs(60);

/// One stream of a worker, seen from the server.
pub struct Session {
    incoming: Streaming<v1::WorkerMessage>,
    outgoing: mpsc::Sender<Sent>,
    pub register: v1::Register,
    /// Whether heartbeats are answered.
    pub answers: bool,
    /// Heartbeats and reports of directories seen on the way.
    pub heartbeats: Vec<v1::Heartbeat>,
    pub reports: Vec<v1::DirectoryReport>,
    /// Attempts that were said to have started.
    pub begun: Vec<v1::AttemptRef>,
    /// Those of them that were said to work in place.
    pub in_place: Vec<v1::AttemptRef>,
}

type Sent = Result<v1::WorkerOrder, Status>;
type Attached = (Streaming<v1::WorkerMessage>, mpsc::Sender<Sent>);

struct Fake {
    sessions: mpsc::Sender<Attached>,
}

#[tonic::async_trait]
impl Fleet for Fake {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::WorkerOrder, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outgoing, orders) = mpsc::channel(64);
        self.sessions.send((request.into_inner(), outgoing)).await.map_err(|_| Status::unavailable("test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(orders))))
    }
}

/// Listens for workers.
pub struct Server {
    pub addr: SocketAddr,
    sessions: mpsc::Receiver<Attached>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, sessions) = mpsc::channel(8);
        let service = FleetServer::new(Fake { sessions: sender }).max_decoding_message_size(64 << 20);
        let serving = tonic::transport::Server::builder().add_service(service);
        let task = tokio::spawn(async move {
            serving.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { addr, sessions, task }
    }

    /// Dies as if killed.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await; // only then is nobody listening
    }

    /// The next stream, after its registration; not yet welcomed.
    pub async fn attached(&mut self) -> Session {
        let next = tokio::time::timeout(FOREVER, self.sessions.recv()).await;
        let (mut incoming, outgoing) = next.expect("no worker came").unwrap();
        let first = incoming.message().await.unwrap().unwrap().message.unwrap();
        let Message::Register(register) = first else { panic!("no registration: {first:?}") };
        Session {
            incoming,
            outgoing,
            register,
            answers: true,
            heartbeats: Vec::new(),
            reports: Vec::new(),
            begun: Vec::new(),
            in_place: Vec::new(),
        }
    }

    /// The next stream, welcomed with an ample lease.
    pub async fn registered(&mut self) -> Session {
        let mut session = self.attached().await;
        session.welcome(Duration::from_secs(60), Duration::from_millis(50)).await;
        session
    }
}

impl Session {
    pub async fn welcome(&mut self, lease: Duration, heartbeat: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        self.order(Order::Welcome(v1::Welcome {
            hello: Some(proto::version::hello("fake-server 0", [9; 16], "test")),
            worker_id: 1,
            lease_us: micros(lease),
            heartbeat_us: micros(heartbeat),
            ..Default::default()
        }))
        .await;
    }

    pub async fn order(&mut self, order: Order) {
        self.outgoing.send(Ok(v1::WorkerOrder { message: Some(order) })).await.unwrap();
    }

    pub async fn assign(&mut self, jobs: Vec<v1::Assignment>) {
        self.order(Order::Assign(v1::AssignBatch { assignments: jobs })).await;
    }

    pub async fn acknowledge(&mut self, attempt: &v1::AttemptRef) {
        self.order(Order::ResultsReceived(list(attempt))).await;
    }

    /// The next message that is neither heartbeat nor report; `None` at the end of the stream. Heartbeats that are read
    /// when the worker has hung up already have nobody to answer to.
    pub async fn next(&mut self) -> Option<Message> {
        let deadline = Instant::now() + FOREVER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = tokio::time::timeout(left, self.incoming.message()).await.expect("the worker is silent");
            match message.ok()??.message.unwrap() {
                Message::Heartbeat(heartbeat) => {
                    if self.answers {
                        let answer = Order::HeartbeatAck(v1::HeartbeatAck { sequence: heartbeat.sequence });
                        let _ = self.outgoing.send(Ok(v1::WorkerOrder { message: Some(answer) })).await;
                    }
                    self.heartbeats.push(heartbeat);
                }
                Message::Directories(report) => self.reports.push(report),
                message => {
                    if let Message::Output(chunk) = &message {
                        let taken = v1::OutputTaken { attempt: chunk.attempt.clone(), chunks: chunk.sequence + 1 };
                        let word = v1::WorkerOrder { message: Some(Order::OutputTaken(taken)) };
                        // As with heartbeats.
                        let _ = self.outgoing.send(Ok(word)).await;
                    }
                    if let Message::Started(started) = &message {
                        self.begun.extend_from_slice(&started.attempts);
                        self.in_place.extend_from_slice(&started.in_place);
                    }
                    return Some(message);
                }
            }
        }
    }

    /// Waits until this attempt runs.
    pub async fn started(&mut self, attempt: &v1::AttemptRef) {
        while !self.begun.contains(attempt) {
            if let Message::Results(results) = self.next().await.expect("the stream ended") {
                panic!("ended without a start: {results:?}");
            }
        }
    }

    /// Everything about one attempt until its result, not acknowledged.
    pub async fn finished(&mut self, attempt: &v1::AttemptRef) -> Ended {
        self.finished_here(attempt).await.expect("the stream ended")
    }

    /// The same; `None` if the worker hangs up before it says the result.
    pub async fn finished_here(&mut self, attempt: &v1::AttemptRef) -> Option<Ended> {
        let mut ended = Ended::default();
        loop {
            match self.next().await? {
                Message::Output(chunk) if chunk.attempt.as_ref() == Some(attempt) => ended.print(&chunk),
                Message::Results(results) => {
                    if let Some(result) = results.results.into_iter().find(|one| one.attempt.as_ref() == Some(attempt))
                    {
                        ended.result = result.result;
                        return Some(ended);
                    }
                }
                _ => {}
            }
        }
    }

    /// Runs one command to its end.
    pub async fn run(&mut self, command: v1::Command) -> Ended {
        let job = job(rand_number(), command);
        let attempt = job.attempt.clone().unwrap();
        self.assign(vec![job]).await;
        let ended = self.finished(&attempt).await;
        self.acknowledge(&attempt).await;
        ended
    }
}

fn rand_number() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(100);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn list(attempt: &v1::AttemptRef) -> v1::Attempts {
    v1::Attempts { attempts: vec![attempt.clone()] }
}

/// What came of an attempt.
#[derive(Debug, Default)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub chunks: u64,
    pub result: Option<attempt_result::Result>,
}

impl Ended {
    fn print(&mut self, chunk: &v1::OutputChunk) {
        assert_eq!(chunk.sequence, self.chunks, "chunks are numbered in the order they come");
        assert!(chunk.data.len() <= 64 << 10);
        self.chunks += 1;
        match chunk.stream() {
            v1::OutputStream::Stdout => self.stdout.extend_from_slice(&chunk.data),
            v1::OutputStream::Stderr => self.stderr.extend_from_slice(&chunk.data),
            v1::OutputStream::Unspecified => panic!("a chunk of no stream"),
        }
    }

    pub fn outcome(&self) -> &v1::Outcome {
        match &self.result {
            Some(attempt_result::Result::Outcome(outcome)) => {
                assert_eq!(outcome.chunks, self.chunks);
                outcome
            }
            other => panic!("no outcome: {other:?}; {}", String::from_utf8_lossy(&self.stderr)),
        }
    }

    pub fn code(&self) -> u32 {
        match self.outcome().exit.unwrap().how.unwrap() {
            v1::exit_status::How::Code(code) => code,
            v1::exit_status::How::Signal(signal) => panic!("died of signal {signal}"),
        }
    }

    pub fn failure(&self) -> (v1::FailureKind, String) {
        match &self.result {
            Some(attempt_result::Result::Failure(failure)) => (failure.kind(), failure.detail.clone()),
            other => panic!("no failure: {other:?}"),
        }
    }
}

/// A worker inside this process.
pub struct Worker {
    pub stop: Stop,
    pub task: JoinHandle<Result<Exit, Error>>,
}

impl Worker {
    pub fn start(server: &Server, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            server_addr: ServerAddr::parse(&server.addr.to_string()).unwrap(),
            mounts: vec![PathBuf::from("/")],
            name: "ash".to_owned(),
            ..Config::default()
        };
        // Shells stand in for compilers in most stories.
        config.allowed_tools = ["sh", "printenv", "sleep"].iter().map(|name| tool(name)).collect();
        change(&mut config);
        let stop = Stop::new();
        let spawner = Spawner::start_from(Path::new(env!("CARGO_BIN_EXE_distccd-worker"))).unwrap();
        let task = tokio::spawn(distccd_worker::run(config, spawner, stop.clone(), Arc::default()));
        Self { stop, task }
    }

    pub async fn ended(self) -> Result<Exit, Error> {
        tokio::time::timeout(FOREVER, self.task).await.expect("the worker does not end").unwrap()
    }
}

pub fn tool(name: &str) -> distccd_worker::tools::ToolPattern {
    distccd_worker::tools::ToolPattern::try_new(name).unwrap()
}

/// A worker and its welcomed stream.
pub async fn pair() -> (Server, Worker, Session) {
    let mut server = Server::start().await;
    let worker = Worker::start(&server, |_| {});
    let session = server.registered().await;
    (server, worker, session)
}

/// `program` in `cwd` with these words, `argv[0]` included, and an environment of PATH alone.
pub fn command(program: &str, argv: &[&[u8]], cwd: &Path) -> v1::Command {
    v1::Command {
        program: program.as_bytes().to_vec().into(),
        argv: argv.iter().map(|word| word.to_vec().into()).collect(),
        cwd: cwd.as_os_str().as_bytes().to_vec().into(),
        env: vec![variable(b"PATH", b"/usr/bin:/bin")],
        umask: 0o22,
        limits: Vec::new(),
        identity: Some(v1::Identity { uid: us(), gid: us(), groups: Vec::new() }),
        stderr_terminal: None,
        one_output: false,
    }
}

pub fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn variable(name: &[u8], value: &[u8]) -> v1::EnvVar {
    v1::EnvVar { name: name.to_vec().into(), value: value.to_vec().into() }
}

/// A shell script as a command.
pub fn shell(script: &str, cwd: &Path) -> v1::Command {
    command("/bin/sh", &[b"sh", b"-c", script.as_bytes()], cwd)
}

pub fn attempt(number: u8) -> v1::AttemptRef {
    v1::AttemptRef { job: vec![number; 16].into(), number: 1 }
}

pub fn job(number: u8, command: v1::Command) -> v1::Assignment {
    v1::Assignment {
        attempt: Some(attempt(number)),
        command: Some(command),
        kind: v1::JobKind::Compile.into(),
        ..v1::Assignment::default()
    }
}

/// Looks again until `fact` holds.
pub async fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + FOREVER;
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads a process id that a script writes, whole (it ends with a newline).
pub async fn pid_in(file: &Path) -> i32 {
    let mut pid = None;
    eventually("a process id is written", || {
        let text = fs::read_to_string(file).unwrap_or_default();
        pid = text.strip_suffix('\n').and_then(|text| text.trim().parse().ok());
        pid.is_some()
    })
    .await;
    pid.unwrap()
}

/// Whether a process runs; a zombie does not.
pub fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
