//! The server and the workers, each on a host of its own, and what can be done to them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::network::{Network, address};
use super::releases::Releases;
use crate::cluster;
use crate::process::Daemon;

const PORT: u16 = 50051;
/// Host numbers: the server's, the one where the build runs, and of the first worker.
pub(super) const SERVER: usize = 0;
pub(super) const CLIENT: usize = 1;
const FIRST_WORKER: usize = 2;

/// How long a daemon may take to be ready, on a machine that is busy.
const START: Duration = Duration::from_secs(60);
/// How long processes may take to be gone after the daemons have ended.
const GONE: Duration = Duration::from_secs(10);
/// The size of a worker's scratch: enough for every job of the projects here, quick to fill.
const SCRATCH_BYTES: u64 = 512 << 20;

/// What a fleet is like.
pub(super) struct Plan<'a> {
    pub(super) releases: &'a Releases,
    pub(super) mount: &'a Path,
    /// Where logs, scratches and the server's state go.
    pub(super) run: &'a Path,
    pub(super) workers: usize,
    pub(super) slots: usize,
}

/// One daemon, over all its incarnations.
struct Post {
    name: String,
    host: usize,
    arguments: Vec<String>,
    program: &'static str,
    incarnations: usize,
    daemon: Option<Daemon>,
}

pub(super) struct Fleet<'a> {
    pub(super) network: Network,
    plan: Plan<'a>,
    /// The server's, then the workers'.
    posts: Vec<Post>,
}

impl<'a> Fleet<'a> {
    /// Starts it and waits until every worker has joined.
    pub(super) fn start(plan: Plan<'a>) -> anyhow::Result<Self> {
        let network = Network::new(FIRST_WORKER + plan.workers)?;
        std::fs::write(plan.run.join("empty.toml"), "")?;
        let mut posts = vec![Post {
            name: "server".to_owned(),
            host: SERVER,
            arguments: vec![format!("--state-dir={}", plan.run.join("state").display())],
            program: "distccd-server",
            incarnations: 0,
            daemon: None,
        }];
        for index in 0..plan.workers {
            posts.push(worker(&plan, index)?);
        }
        let mut fleet = Self { network, plan, posts };
        for post in 0..fleet.posts.len() {
            fleet.restart(post)?;
        }
        fleet.await_workers()?;
        Ok(fleet)
    }

    fn await_workers(&mut self) -> anyhow::Result<()> {
        let workers = self.plan.workers;
        let server = self.posts[0].daemon.as_mut().context("the server was not started")?;
        let log = server.log().to_owned();
        let joined =
            || std::fs::read_to_string(&log).is_ok_and(|text| text.matches("worker joined").count() >= workers);
        server.wait_until(START, joined).context("not every worker joined")
    }

    /// What a daemon is called.
    pub(super) fn name(&self, post: usize) -> &str {
        &self.posts[post].name
    }

    /// Where a daemon runs.
    pub(super) fn host(&self, post: usize) -> usize {
        self.posts[post].host
    }

    /// The server's address.
    pub(super) fn server_address() -> String {
        format!("{}:{PORT}", address(SERVER))
    }

    /// Starts a daemon that does not run.
    pub(super) fn restart(&mut self, post: usize) -> anyhow::Result<()> {
        let number = post;
        let post = &mut self.posts[number];
        // Neighbours are of different releases, and whoever comes again is of the other.
        let turn = number + post.incarnations;
        post.incarnations += 1;
        let mut command = Command::new(self.plan.releases.at(turn).join(post.program));
        cluster::scrub(&mut command);
        command.arg("--config").arg(self.plan.run.join("empty.toml"));
        command.arg(format!("--server-addr={}", Self::server_address())).arg("--insecure");
        command.arg(format!("--fs-mount={}", self.plan.mount.display())).args(&post.arguments);
        self.network.place(post.host, &mut command);
        let log = self.plan.run.join(format!("{}.{}.log", post.name, post.incarnations));
        post.daemon = Some(Daemon::start(&mut command, &log)?);
        if let Some(release) = self.plan.releases.word(turn) {
            println!("            {} is {release}", post.name);
        }
        Ok(())
    }

    /// SIGKILL to a daemon alone.
    pub(super) fn kill(&mut self, post: usize) {
        if let Some(daemon) = self.posts[post].daemon.take() {
            daemon.kill();
        }
    }

    /// Another signal to a daemon alone.
    pub(super) fn signal(&mut self, post: usize, signal: libc::c_int) {
        if let Some(daemon) = &self.posts[post].daemon {
            daemon.signal(signal);
        }
    }

    /// SIGTERM to a daemon; it is to end in its own time.
    pub(super) fn dismiss(&mut self, post: usize) {
        self.signal(post, libc::SIGTERM);
    }

    /// Whether a daemon runs. One that was dismissed and has ended is forgotten.
    pub(super) fn runs(&mut self, post: usize) -> bool {
        let runs = self.posts[post].daemon.as_mut().is_some_and(|daemon| daemon.check_alive().is_ok());
        if !runs {
            self.posts[post].daemon = None;
        }
        runs
    }

    /// The scratch of a worker.
    pub(super) fn scratch(&self, post: usize) -> PathBuf {
        scratch(self.plan.run, &self.posts[post].name)
    }

    /// Ends every daemon in order, workers first, and says what is left of it: processes, and files on scratches.
    pub(super) fn stop(mut self) -> anyhow::Result<Vec<String>> {
        for post in (0..self.posts.len()).rev() {
            self.posts[post].daemon = None;
        }
        let mut left = Vec::new();
        let deadline = std::time::Instant::now() + GONE;
        for host in 0..FIRST_WORKER + self.plan.workers {
            while !self.network.processes(host)?.is_empty() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            for process in self.network.processes(host)? {
                left.push(format!("a process on host {host}: {}", process.shown));
            }
        }
        for post in 1..self.posts.len() {
            let scratch = self.scratch(post);
            for entry in std::fs::read_dir(&scratch)? {
                left.push(format!("on the scratch of {}: {}", self.name(post), entry?.path().display()));
            }
            unmount(&scratch)?;
        }
        Ok(left)
    }
}

fn worker(plan: &Plan<'_>, index: usize) -> anyhow::Result<Post> {
    let name = cluster::worker_name(index);
    let scratch = scratch(plan.run, &name);
    std::fs::create_dir_all(&scratch)?;
    mount_tmpfs(&scratch)?;
    Ok(Post {
        host: FIRST_WORKER + index,
        arguments: vec![
            format!("--name={name}"),
            format!("--max-jobs={}", plan.slots),
            format!("--scratch={}", scratch.display()),
        ],
        program: "distccd-worker",
        incarnations: 0,
        daemon: None,
        name,
    })
}

fn scratch(run: &Path, worker: &str) -> PathBuf {
    run.join(format!("scratch-{worker}"))
}

/// From here on what this process mounts is its own, and gone with it.
pub(crate) fn keep_mounts_private() -> anyhow::Result<()> {
    // SAFETY: bare system calls on constant strings.
    let refused = unsafe {
        libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) != 0
    };
    match refused {
        false => Ok(()),
        true => Err(std::io::Error::last_os_error()).context("cannot have mounts of our own"),
    }
}

/// What is mounted cannot be removed.
fn unmount(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let target = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: a C string that outlives the call.
    match unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot unmount {}", dir.display())),
    }
}

fn mount_tmpfs(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let target = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    let options = std::ffi::CString::new(format!("size={SCRATCH_BYTES},mode=755"))?;
    // SAFETY: C strings that outlive the call.
    let result = unsafe {
        libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast::<libc::c_void>())
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot mount a tmpfs on {}", dir.display())),
    }
}
