//! A real CephFS of Debian's packages, without systemd: monitor, object store (in memory) and metadata server on a host of
//! their own, and a `ceph-fuse` on each of the others, which is a client with caches of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::fleet::CLIENTS;
use super::hosts::{Hosts, mount_tmpfs};
use crate::chaos::network::address;
use crate::prerequisites::{self, CEPHFS};
use crate::process::{self, Daemon};

/// Where every host has it: the product's default.
pub(super) const MOUNT: &str = "/mnt/cephfs";

/// The host of its servers.
const STORAGE: usize = CLIENTS;
/// All hosts.
pub(super) const HOSTS: usize = CLIENTS + 1;

const MONITOR_PORT: u16 = 3300;
/// How long the servers may take to be ready.
const START: Duration = Duration::from_secs(120);
/// What the store may hold, in bytes.
const CAPACITY: u64 = 4 << 30;

/// It runs as long as this lives. Clients end first: fields are dropped in order.
pub(super) struct Ceph {
    clients: Vec<Daemon>,
    _servers: [Daemon; 3],
}

/// What a host needs before the filesystem can be mounted: a `/mnt` that is not the machine's.
pub(super) fn prepare_host() -> anyhow::Result<()> {
    mount_tmpfs(Path::new("/mnt"))?;
    std::fs::create_dir(MOUNT).with_context(|| format!("cannot make {MOUNT}"))
}

impl Ceph {
    /// Starts a cluster, all of whose state is in `dir`, and mounts it on every host but its own.
    pub(super) fn start(hosts: &Hosts, dir: &Path) -> anyhow::Result<Self> {
        prerequisites::ensure(CEPHFS)?;
        let place = Place { hosts, dir, config: dir.join("ceph.conf") };
        place.lay_out()?;
        let address = address(STORAGE);
        let addresses = format!("[v2:{address}:{MONITOR_PORT}]");
        let (map, keys) = (dir.join("monmap"), dir.join("keyring"));
        let fsid = uuid()?;
        let mut monmap = Command::new("monmaptool");
        monmap.args(["--create", "--clobber", "--fsid", &fsid, "--addv", "a", &addresses]).arg(&map);
        place.run(&mut monmap)?;
        std::fs::write(&place.config, configuration(dir, &fsid, address))?;
        let mut monitor = place.tool("ceph-mon");
        place.run(monitor.args(["--mkfs", "-i", "a", "--monmap"]).arg(&map).arg("--keyring").arg(&keys))?;
        let monitor = place.serve("ceph-mon", "a")?;

        let store = uuid()?;
        place.create_filesystem(&store)?;
        place.run(place.tool("ceph-osd").args(["-i", "0", "--mkfs", "--osd-uuid", &store]))?;
        let servers = [place.serve("ceph-mds", "a")?, place.serve("ceph-osd", "0")?, monitor];

        let mut ceph = Self { clients: Vec::new(), _servers: servers };
        for host in 0..CLIENTS {
            ceph.clients.push(place.mount(host)?);
        }
        Ok(ceph)
    }
}

struct Place<'a> {
    hosts: &'a Hosts,
    dir: &'a Path,
    config: PathBuf,
}

impl Place<'_> {
    fn lay_out(&self) -> anyhow::Result<()> {
        for sub in ["mon", "osd", "mds", "log", "run", "crash"] {
            let dir = self.dir.join(sub);
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        std::fs::write(self.dir.join("keyring"), "").context("cannot write a keyring")
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config);
        command
    }

    /// Runs a command where the servers are.
    fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        self.hosts.place(STORAGE, command)?;
        process::run(command)
    }

    fn serve(&self, program: &str, id: &str) -> anyhow::Result<Daemon> {
        let mut command = self.tool(program);
        command.args(["-i", id, "-f"]);
        self.hosts.place(STORAGE, &mut command)?;
        Daemon::start(&mut command, &self.dir.join(format!("log/{program}.out")))
    }

    /// One run of the command-line tool, which is slow to start, takes all commands.
    fn create_filesystem(&self, store: &str) -> anyhow::Result<()> {
        let commands = self.dir.join("commands");
        std::fs::write(
            &commands,
            format!("osd new {store}\nosd pool create meta 8\nosd pool create data 8\nfs new cephfs meta data\n"),
        )?;
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec timeout 120 ceph -c \"$0\" <\"$1\""]).arg(&self.config).arg(&commands);
        self.run(&mut shell).context("the monitor did not answer")
    }

    /// A client gives up at once while no metadata server is active yet: it is started again then.
    fn mount(&self, host: usize) -> anyhow::Result<Daemon> {
        let deadline = Instant::now() + START;
        loop {
            let mut command = self.tool("ceph-fuse");
            command.args(["--id", "admin", "-f", MOUNT, "--client_mount_timeout=60"]);
            self.hosts.place(host, &mut command)?;
            let mut client = Daemon::start(&mut command, &self.dir.join(format!("log/fuse-{host}.out")))?;
            match self.hosts.await_mount(host, Path::new(MOUNT), &mut client) {
                Ok(()) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => process::check_interrupted()?,
            }
        }
    }
}

fn uuid() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel draws no uuid")?;
    Ok(text.trim().to_owned())
}

/// One of everything, no authentication, and Ceph's defaults in all that clients could notice.
fn configuration(dir: &Path, fsid: &str, address: Ipv4Addr) -> String {
    let dir = dir.display();
    format!(
        "[global]
fsid = {fsid}
mon host = [v2:{address}:{MONITOR_PORT}]
public addr = {address}
cluster addr = {address}
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
keyring = {dir}/keyring
log file = {dir}/log/$name.log
admin socket = {dir}/run/$name.$pid.asok
pid file =
run dir = {dir}/run
crash dir = {dir}/crash
log max recent = 100
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {dir}/mon
mon data avail crit = 1
mon data avail warn = 1
mon warn on pool no redundancy = false
mon warn on insecure global id reclaim = false
mon warn on insecure global id reclaim allowed = false
mon cluster log file = {dir}/log/cluster.log
mon initial members = a
paxos propose interval = 0.05
paxos min wait = 0.02
mds beacon interval = 1
osd data = {dir}/osd
osd objectstore = memstore
osd memory target = 939524096
memstore device bytes = {CAPACITY}
mds data = {dir}/mds
[client]
log file = {dir}/log/$name.$pid.log
public addr =
admin socket =
fuse disable pagecache = false
"
    )
}
