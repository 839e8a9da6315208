//! A real GlusterFS of Debian's packages without its management daemon: one brick on a host of its own, and a client
//! process on each of the others.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::fleet::{CLIENTS, HOME};
use super::hosts::Hosts;
use crate::chaos::network::address;
use crate::prerequisites::{self, GLUSTER};
use crate::process::Daemon;

/// The host of the brick.
const STORAGE: usize = CLIENTS;
/// All hosts.
pub(super) const HOSTS: usize = CLIENTS + 1;

const PORT: u16 = 49152;
const START: Duration = Duration::from_secs(60);

/// How long a client believes what it has seen, and that a name is missing, in seconds. By default 1 and 0.
const BELIEVED: u32 = 3;

/// It runs as long as this lives. Clients end first: fields are dropped in order.
pub(super) struct Gluster {
    _clients: Vec<Daemon>,
    _brick: Daemon,
}

impl Gluster {
    /// Starts it, with all its state in `dir`, and mounts it at `mount` of every host but its own.
    pub(super) fn start(hosts: &Hosts, dir: &Path, mount: &Path) -> anyhow::Result<Self> {
        prerequisites::ensure(GLUSTER)?;
        let files = dir.join("brick");
        for dir in [&files, mount] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let (server, client) = (dir.join("brick.vol"), dir.join("client.vol"));
        std::fs::write(&server, brick_volume(&files))?;
        std::fs::write(&client, client_volume())?;

        let mut command = volume("glusterfsd", &server, &dir.join("brick.log"));
        hosts.place(STORAGE, &mut command)?;
        let mut brick = Daemon::start(&mut command, &dir.join("brick.out"))?;
        let listens = || hosts.visit(HOME, || Ok(std::net::TcpStream::connect((address(STORAGE), PORT))?)).is_ok();
        brick.wait_until(START, listens).context("the brick does not listen")?;
        let mount_on = |host: usize| {
            let mut command = volume("glusterfs", &client, &dir.join(format!("client-{host}.log")));
            for what in ["entry", "attribute", "negative"] {
                command.arg(format!("--{what}-timeout={BELIEVED}"));
            }
            command.arg("--fuse-mountopts=allow_other").arg(mount);
            hosts.place(host, &mut command)?;
            let mut daemon = Daemon::start(&mut command, &dir.join(format!("client-{host}.out")))?;
            hosts.await_mount(host, mount, &mut daemon)?;
            Ok(daemon)
        };
        let clients = (0..CLIENTS).map(mount_on).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { _clients: clients, _brick: brick })
    }
}

fn volume(program: &str, file: &Path, log: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-N").arg("-f").arg(file).arg("-l").arg(log);
    command
}

fn brick_volume(files: &Path) -> String {
    format!(
        "volume posix
  type storage/posix
  option directory {}
end-volume
volume locks
  type features/locks
  subvolumes posix
end-volume
volume iot
  type performance/io-threads
  subvolumes locks
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.socket.bind-address {}
  option transport.socket.listen-port {PORT}
  option auth.addr.iot.allow *
  subvolumes iot
end-volume
",
        files.display(),
        address(STORAGE)
    )
}

fn client_volume() -> String {
    format!(
        "volume c
  type protocol/client
  option transport-type tcp
  option remote-host {}
  option remote-port {PORT}
  option remote-subvolume iot
end-volume
volume wb
  type performance/write-behind
  subvolumes c
end-volume
volume mdc
  type performance/md-cache
  option md-cache-timeout {BELIEVED}
  subvolumes wb
end-volume
",
        address(STORAGE)
    )
}
