//! Hosts on this machine: network namespaces behind a switch, and links that can be cut. They share every file.
//!
//! A namespace lives as long as an open descriptor of it, so nothing stays behind, however this task ends.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};

use crate::process;

/// Nobody outside these namespaces sees the addresses.
const NETWORK: [u8; 3] = [10, 77, 0];

/// The number by which the switch has its address, where it has one.
const SWITCH: usize = 199;

/// Hosts that reach each other through a switch.
pub(crate) struct Network {
    switch: File,
    hosts: Vec<File>,
}

impl Network {
    /// Makes `hosts` of them, all connected.
    pub(crate) fn new(hosts: usize) -> anyhow::Result<Self> {
        let switch = namespace()?;
        ip(&switch, "link add br0 type bridge")?;
        ip(&switch, "link set br0 up")?;
        let mut network = Self { switch, hosts: Vec::new() };
        for host in 0..hosts {
            network.add(host)?;
        }
        Ok(network)
    }

    fn add(&mut self, host: usize) -> anyhow::Result<()> {
        let namespace = namespace()?;
        let switch = format!("/proc/{}/fd/{}", std::process::id(), self.switch.as_raw_fd());
        ip(&namespace, "link set lo up")?;
        ip(&namespace, &format!("link add eth0 type veth peer name p{host} netns {switch}"))?;
        ip(&namespace, &format!("addr add {}/24 dev eth0", address(host)))?;
        ip(&namespace, "link set eth0 up")?;
        ip(&self.switch, &format!("link set p{host} master br0 up"))?;
        self.hosts.push(namespace);
        Ok(())
    }

    /// A virtual machine's link: a device `t0`, `t1`, ... at the switch, for a process that is placed there.
    ///
    /// # Errors
    /// When the kernel has no such devices.
    pub(crate) fn add_tap(&self, machine: usize) -> anyhow::Result<()> {
        ip(&self.switch, &format!("tuntap add dev t{machine} mode tap"))?;
        ip(&self.switch, &format!("link set t{machine} master br0 up"))
    }

    /// Where the switch is; with an address of its own, given once.
    ///
    /// # Errors
    /// When this process is out of file descriptors, or the address was given before.
    pub(crate) fn at_switch(&self) -> anyhow::Result<Placer> {
        ip(&self.switch, "link set lo up")?;
        ip(&self.switch, &format!("addr add {}/24 dev br0", address(SWITCH)))?;
        Ok(Placer(self.switch.try_clone()?))
    }

    /// SIGKILL to all that runs at the switch.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn kill_at_switch(&self) -> anyhow::Result<()> {
        for process in processes_in(&self.switch)? {
            // SAFETY: no memory is involved; the process was in a namespace of ours a moment ago.
            unsafe { libc::kill(process.pid, libc::SIGKILL) };
        }
        Ok(())
    }

    /// Has `command` run on that host.
    pub(crate) fn place(&self, host: usize, command: &mut Command) {
        enter(&self.hosts[host], command);
    }

    /// Puts commands onto that host, from another thread.
    ///
    /// # Errors
    /// When this process is out of file descriptors.
    pub(crate) fn placer(&self, host: usize) -> anyhow::Result<Placer> {
        Ok(Placer(self.hosts[host].try_clone()?))
    }

    /// Takes a host's link away: what it sends is lost, and nobody tells it.
    pub(crate) fn cut(&self, host: usize) -> anyhow::Result<()> {
        ip(&self.switch, &format!("link set p{host} nomaster"))
    }

    /// What one host sends to another is lost from now on, and nobody tells it; the other way is open.
    pub(crate) fn mute(&self, host: usize, towards: usize) -> anyhow::Result<()> {
        // To the address of a card that nobody has.
        let neighbour = format!("neigh replace {} lladdr 02:00:00:00:00:01 dev eth0 nud permanent", address(towards));
        ip(&self.hosts[host], &neighbour)
    }

    /// It is heard again.
    pub(crate) fn unmute(&self, host: usize, towards: usize) -> anyhow::Result<()> {
        ip(&self.hosts[host], &format!("neigh del {} dev eth0", address(towards)))
    }

    /// Gives it back.
    pub(crate) fn heal(&self, host: usize) -> anyhow::Result<()> {
        ip(&self.switch, &format!("link set p{host} master br0"))
    }

    /// Breaks every connection of a host, with a reset to both ends.
    pub(crate) fn reset_connections(&self, host: usize) -> anyhow::Result<()> {
        let mut ss = Command::new("ss");
        ss.args(["--kill", "--tcp", "--numeric", "state", "established"]);
        self.place(host, &mut ss);
        process::run(&mut ss).context("cannot break connections")
    }

    /// Processes that run on a host.
    pub(crate) fn processes(&self, host: usize) -> anyhow::Result<Vec<Process>> {
        processes_in(&self.hosts[host])
    }

    /// Sends a signal to all that runs on a host.
    pub(crate) fn signal_all(&self, host: usize, signal: libc::c_int) -> anyhow::Result<()> {
        for process in self.processes(host)? {
            // SAFETY: no memory is involved; the process was in a namespace of ours a moment ago.
            unsafe { libc::kill(process.pid, signal) };
        }
        Ok(())
    }
}

/// A host for commands.
pub(crate) struct Placer(File);

impl Placer {
    /// Has `command` run there.
    pub(crate) fn place(&self, command: &mut Command) {
        enter(&self.0, command);
    }

    /// Has the calling thread, and what it starts, be there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        // SAFETY: a bare system call on a descriptor that is open.
        match unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).context("cannot go to a host's network"),
        }
    }
}

/// A process on one of the hosts.
pub(crate) struct Process {
    pid: libc::pid_t,
    /// Its command line.
    pub(crate) shown: String,
}

fn processes_in(namespace: &File) -> anyhow::Result<Vec<Process>> {
    let here = namespace.metadata()?.ino();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<libc::pid_t>().ok()) else { continue };
        // A process may end while it is looked at; and a zombie has no namespaces.
        let entered = std::fs::metadata(format!("/proc/{pid}/ns/net"));
        if entered.is_ok_and(|entered| entered.ino() == here) {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let shown = String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned();
            found.push(Process { pid, shown });
        }
    }
    Ok(found)
}

/// A host's address.
pub(crate) fn address(host: usize) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, u8::try_from(host + 1).unwrap_or(u8::MAX))
}

/// A new network namespace. Made by a thread of its own, which ends in it: this one stays where it is.
fn namespace() -> anyhow::Result<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: no memory is involved.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot make a network namespace");
        }
        File::open("/proc/thread-self/ns/net").context("cannot open a network namespace")
    });
    match made.join() {
        Ok(result) => result,
        Err(_) => bail!("the thread that makes a network namespace panicked"),
    }
}

fn ip(namespace: &File, words: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    enter(namespace, &mut command);
    process::run(&mut command)
}

fn enter(namespace: &File, command: &mut Command) {
    let namespace: RawFd = namespace.as_raw_fd();
    // SAFETY: a bare system call between fork and exec; the descriptor is open as long as the network lives, and the
    // child has a copy of it.
    unsafe {
        command.pre_exec(move || match libc::setns(namespace, libc::CLONE_NEWNET) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}
