//! Who connects and says nothing is shown out, and keeps nobody else out meanwhile.

#![allow(clippy::unwrap_used, reason = "an error is a failed test")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use daemon_kit::shutdown::Stop;
use distccd_server::config::Config;
use distccd_server::door::Door;
use proto::v1::{GetStatusRequest, admin_client::AdminClient};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

async fn server(patience: Duration) -> SocketAddr {
    let config = Config { server_addr: "127.0.0.1:0".to_owned(), ..Config::default() };
    let listener = distccd_server::listen(&config).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(distccd_server::run(config, Door::with_patience(listener, patience), Stop::new()));
    address
}

async fn admin(address: SocketAddr) -> AdminClient<Channel> {
    AdminClient::new(Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap())
}

async fn is_closed(mut idle: TcpStream) -> bool {
    matches!(idle.read(&mut [0]).await, Ok(0))
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_one_that_spoke_once_is_not() {
    let address = server(Duration::from_millis(100)).await;
    let mut talking = admin(address).await;
    talking.get_status(GetStatusRequest {}).await.unwrap();

    // Later than the other, so when its time is up the other's would be too.
    let idle = TcpStream::connect(address).await.unwrap();

    assert!(is_closed(idle).await);
    talking.get_status(GetStatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn those_who_say_nothing_hold_up_nobody() {
    let address = server(FOR_EVER).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }

    admin(address).await.get_status(GetStatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn who_hangs_up_without_a_word_is_no_trouble() {
    let address = server(FOR_EVER).await;
    drop(TcpStream::connect(address).await.unwrap());

    admin(address).await.get_status(GetStatusRequest {}).await.unwrap();
}

/// A server of its own process, that may open few files.
struct Poor {
    _mount: tempfile::TempDir,
    child: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Poor {
    fn with_limits(limits: &str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        let script = format!("{limits}; exec \"$0\" --server-addr=127.0.0.1:0 --fs-mount=\"$1\" --state-dir=off");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_distccd-server")]).arg(mount.path());
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { _mount: mount, child, log }
    }

    fn wait_for_line(&mut self, wanted: &str) -> String {
        self.log.by_ref().map(Result::unwrap).find(|line| line.contains(wanted)).expect("it ended without the line")
    }

    fn address(&mut self) -> SocketAddr {
        let line = self.wait_for_line("serving");
        line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn one_out_of_descriptors_says_so_and_serves_again_when_there_are_some() {
    let mut server = Poor::with_limits("ulimit -n 64");
    let address = server.address();

    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    server.wait_for_line("Too many open files");
    drop(idle);

    admin(address).await.get_status(GetStatusRequest {}).await.unwrap();
}

#[test]
fn it_takes_as_many_descriptors_as_it_may() {
    let mut server = Poor::with_limits("ulimit -Sn 64; ulimit -Hn 200");
    server.wait_for_line("serving");

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();

    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().filter(|word| *word == "200").count(), 2, "{open_files}");
}
