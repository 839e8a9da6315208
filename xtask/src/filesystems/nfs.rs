//! Linux's own NFS server and clients, which this machine's kernel need not have: each on a virtual machine of user-mode
//! Linux, a kernel that is a process. Its root is this machine's own, so all programs are there; every new process costs
//! some thirty times of what it costs here.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::fleet::WORKERS;
use crate::chaos::network::{Network, Placer, address};
use crate::cluster;
use crate::prerequisites::{self, USER_MODE_LINUX};
use crate::process::{self, Daemon};

/// The machine of the NFS server, then that of the build, then those of the workers.
const SERVER: usize = 0;
pub(super) const HOME: usize = 1;
const MACHINES: usize = 2 + WORKERS;

/// Where every client has it.
pub(super) const MOUNT: &str = "/mnt/shared";

/// Where one has it besides, with options that let it believe too much.
const CARELESS: &str = "/mnt/careless";

const AGENT_PORT: u16 = 7000;
/// How long a machine may take to start.
const BOOT: Duration = Duration::from_secs(180);
const MEMORY: &str = "mem=384M";
/// What the agent ends its answer with.
const END: &[u8] = b"\n\x1eRC=";

/// The machines, as long as this lives.
pub(super) struct Machines {
    network: Network,
    switch: Placer,
    daemons: Vec<Daemon>,
}

impl Machines {
    /// Starts them; what they need is put into `dir`.
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        prerequisites::ensure(USER_MODE_LINUX)?;
        for sub in ["mod/lib", "ids"] {
            std::fs::create_dir_all(dir.join(sub)).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        std::os::unix::fs::symlink("/usr/lib/uml/modules", dir.join("mod/lib/modules"))?;
        let init = dir.join("init.sh");
        let agent = compile(dir, "agent", include_str!("agent.c"), "-static")?;
        let registers = compile(dir, "wide_registers.so", include_str!("wide_registers.c"), "-shared")?;
        std::fs::write(&init, include_str!("guest_init.sh"))?;
        std::fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755))?;

        let network = Network::new(0)?;
        let switch = network.at_switch()?;
        let mut machines = Self { network, switch, daemons: Vec::new() };
        for machine in 0..MACHINES {
            machines.network.add_tap(machine)?;
            let mut command = Command::new("linux.uml");
            command.args([
                &format!("umid=g{machine}"),
                MEMORY,
                "root=/dev/root",
                "rootfstype=hostfs",
                "rootflags=/",
                "rw",
            ]);
            command.env("LD_PRELOAD", &registers);
            command.arg(format!("uml_dir={}", dir.join("ids").display())).arg(format!("init={}", init.display()));
            let mac = format!("02:00:0a:4d:00:{machine:02x}");
            command.arg(format!("vec0:transport=tap,ifname=t{machine},depth=128,gro=1,mac={mac}"));
            command.args(["con=null", "con0=null,fd:1", "quiet", &format!("GUEST={machine}")]);
            command.arg(format!("ADDRESS={}", address(machine))).arg(format!("AGENT={}", agent.display()));
            machines.switch.place(&mut command);
            machines.daemons.push(Daemon::start(&mut command, &dir.join(format!("machine-{machine}.log")))?);
        }
        for machine in 0..MACHINES {
            machines.await_start(machine)?;
        }
        Ok(machines)
    }

    fn await_start(&self, machine: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + BOOT;
        while let Err(error) = self.ask(machine, "true") {
            process::check_interrupted()?;
            if Instant::now() > deadline {
                return Err(error.context(format!("machine {machine} does not start")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Serves a filesystem from one machine and mounts it on the others, by `version` of NFS.
    pub(super) fn mount(&self, dir: &Path, version: &str) -> anyhow::Result<()> {
        let modules = dir.join("mod");
        let modules = modules.display();
        self.ask(
            SERVER,
            &format!(
                "set -e; modprobe -d {modules} nfsd; mkdir -p /mnt/export
                 mount -t tmpfs -o size=256m,mode=777 export /mnt/export; mount -t nfsd nfsd /proc/fs/nfsd
                 mkdir -p /run/nfs/sm /run/nfs/v4recovery; mount -t tmpfs x /var/lib/nfs
                 mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs
                 : >/var/lib/nfs/etab; : >/var/lib/nfs/rmtab; rpcbind -w || true
                 exportfs -i -o rw,no_root_squash,no_subtree_check,insecure,fsid=0 '*:/mnt/export'
                 rpc.nfsd -G 10 -L 10 4; rpc.mountd"
            ),
        )?;
        for machine in HOME..MACHINES {
            let mount = mount_words(machine, version, "actimeo=5", MOUNT);
            self.ask(
                machine,
                &format!(
                    "set -e; modprobe -d {modules} nfsv3 || true; modprobe -d {modules} nfsv4
                     modprobe -d {modules} overlay || true; rpcbind -w || true; {mount}"
                ),
            )?;
        }
        Ok(())
    }

    /// Starts the server and the workers; waits until all have joined. Logs go to `run`.
    pub(super) fn start_fleet(&self, binaries: &Path, run: &Path, worker: &str) -> anyhow::Result<()> {
        let (binaries, logs) = (binaries.display(), run.display());
        std::fs::write(run.join("server.toml"), "")?;
        std::fs::write(run.join("worker.toml"), worker)?;
        let start = |machine: usize, name: &str, command: &str| {
            let words = format!("--server-addr={} --insecure --fs-mount={MOUNT}", server_address());
            self.ask(machine, &format!("setsid {binaries}/{command} {words} >{logs}/{name}.log 2>&1 </dev/null &"))
        };
        start(HOME, "server", &format!("distccd-server --config={logs}/server.toml --state-dir=off"))?;
        for index in 0..WORKERS {
            let name = cluster::worker_name(index);
            let flags = format!("--config={logs}/worker.toml --name={name} --max-jobs=1 --scratch=/dev/shm");
            start(HOME + 1 + index, &name, &format!("distccd-worker {flags}"))?;
        }
        let deadline = Instant::now() + BOOT;
        let log = run.join("server.log");
        while std::fs::read_to_string(&log).map_or(0, |text| text.matches("worker joined").count()) < WORKERS {
            process::check_interrupted()?;
            if Instant::now() > deadline {
                bail!("not every worker joined: see {logs}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Mounts it once more on [`HOME`], as nobody should, and has `distccd-ctl doctor` find that.
    pub(super) fn show_careless_mount(&self, binaries: &Path, version: &str) -> anyhow::Result<()> {
        let mount = mount_words(HOME, version, "nocto,actimeo=600", CARELESS);
        let (ctl, server) = (binaries.join("distccd-ctl"), server_address());
        let ctl = ctl.display();
        self.run_shown(
            HOME,
            &format!(
                "mkdir -p {CARELESS}; {mount} || exit
                 said=$({ctl} doctor --server-addr={server} --fs-mount={CARELESS})
                 [ $? = 1 ] && [[ $said == *nocto* && $said == *acdirmax=600* ]] || {{ echo \"$said\"; exit 1; }}
                 echo '  the doctor finds nocto and actimeo=600'"
            ),
        )
    }

    /// Runs a script of bash on a machine, to a successful end; what it says is shown as it comes.
    pub(super) fn run_shown(&self, machine: usize, script: &str) -> anyhow::Result<()> {
        self.converse(machine, script, |said| print!("{}", String::from_utf8_lossy(said)))
    }

    /// Runs a script of bash on a machine, to a successful end.
    fn ask(&self, machine: usize, script: &str) -> anyhow::Result<()> {
        let mut said = Vec::new();
        let result = self.converse(machine, script, |more| said.extend_from_slice(more));
        result.with_context(|| format!("on machine {machine}:\n{}", String::from_utf8_lossy(&said)))
    }

    fn converse(&self, machine: usize, script: &str, mut hear: impl FnMut(&[u8]) + Send) -> anyhow::Result<()> {
        let talk = || {
            self.switch.enter()?;
            let to = (address(machine), AGENT_PORT).into();
            let mut agent = TcpStream::connect_timeout(&to, Duration::from_secs(20))?;
            agent.set_read_timeout(Some(Duration::from_millis(200)))?;
            agent.write_all(script.as_bytes())?;
            agent.shutdown(Shutdown::Write)?;
            let status = listen(&mut agent, &mut hear)?;
            if status == 0 { Ok(()) } else { bail!("exit status {status}") }
        };
        std::thread::scope(|scope| match scope.spawn(talk).join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that talks to a machine panicked"),
        })
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // A machine is several processes, and has nothing to lose.
        let _ = self.network.kill_at_switch();
        self.daemons.clear();
    }
}

/// Mounts the server's filesystem on a machine.
fn mount_words(machine: usize, version: &str, options: &str, at: &str) -> String {
    let server = address(SERVER);
    if version.starts_with('3') {
        return format!("mount -t nfs -o vers={version},{options},nolock {server}:/mnt/export {at}");
    }
    let client = address(machine);
    format!("mount -i -t nfs4 -o addr={server},clientaddr={client},vers={version},{options} {server}:/ {at}")
}

/// Makes a program or library for the machines.
fn compile(dir: &Path, name: &str, text: &str, how: &str) -> anyhow::Result<PathBuf> {
    let (made, source) = (dir.join(name), dir.join(name).with_extension("c"));
    std::fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    process::run(Command::new("gcc").args(["-O2", "-fPIC", how, "-o"]).arg(&made).arg(&source).arg("-ldl"))?;
    Ok(made)
}

/// Where launchers find the server.
pub(super) fn server_address() -> String {
    format!("{}:50051", address(HOME))
}

/// Hands on what the agent sends, and returns the exit status that comes last.
fn listen(agent: &mut TcpStream, hear: &mut impl FnMut(&[u8])) -> anyhow::Result<i32> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        process::check_interrupted()?;
        match agent.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => kept.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("the machine went away"),
        }
        // The last line may be our own: it is held back until the end.
        if let Some(end) = kept.iter().rposition(|&byte| byte == b'\n') {
            hear(&kept[..end]);
            kept.drain(..end);
        }
    }
    let status = kept.strip_prefix(END).and_then(|status| std::str::from_utf8(status).ok());
    status.and_then(|status| status.parse().ok()).context("the machine went away")
}
