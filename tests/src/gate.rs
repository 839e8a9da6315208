//! A compiler that waits: it says that it runs, and goes on when the story opens its gate.
//!
//! They speak over an abstract socket (unix(7)). What an isolated attempt writes to the mount is seen by nobody before
//! its commit, and what appears there meanwhile need not be seen by the attempt; nor does it know the number that others
//! have for it: the kernel tells us that.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::daemon::{eventually, within};

/// A directory with a compiler that compiles only once its gate is open.
pub struct Gate {
    compiler: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: bool,
    waiting: Vec<(u32, UnixStream)>,
    pids: Vec<u32>,
}

impl Gate {
    /// Puts such a `gcc` into `dir`, which is on the mount.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self::new_for(dir, "gcc")
    }

    /// Puts such a compiler into `dir`; it then runs the one of this name on the `PATH`.
    #[must_use]
    pub fn new_for(dir: &Path, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let address = format!("distccd-gate-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let listener = SocketAddr::from_abstract_name(&address).and_then(|address| UnixListener::bind_addr(&address));
        let state = Arc::new(Mutex::new(State::default()));
        let keeper = Arc::clone(&state);
        let listener = listener.unwrap();
        // It ends with the test's process.
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| arrive(&keeper, stream)));
        let compiler = dir.join(name);
        std::fs::write(compiler.with_added_extension("gate"), format!("{address}\n{name}\n")).unwrap();
        std::fs::copy(program(), &compiler).unwrap();
        Self { compiler, state }
    }

    /// The compiler's path.
    #[must_use]
    pub fn compiler(&self) -> PathBuf {
        self.compiler.clone()
    }

    /// Waits until `count` of them have started; their pids, in the order of their starts.
    #[must_use]
    pub fn wait_running(&self, count: usize) -> Vec<u32> {
        eventually(&format!("{count} waiting compilers"), || {
            let pids = self.pids();
            (pids.len() >= count).then_some(pids)
        })
    }

    /// The pids of all that have started so far.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pids.clone()
    }

    /// Lets them go on, and those that come later.
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = true;
        state.waiting.drain(..).for_each(|(_, stream)| let_through(stream));
    }

    /// Lets only this one go on.
    pub fn open_for(&self, pid: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.extract_if(.., |(waiting, _)| *waiting == pid).for_each(|(_, stream)| let_through(stream));
    }

    /// Has those that come later wait again.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open = false;
    }
}

fn arrive(state: &Mutex<State>, stream: UnixStream) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = peer(&stream);
    state.pids.push(pid);
    if state.open { let_through(stream) } else { state.waiting.push((pid, stream)) }
}

fn let_through(mut stream: UnixStream) {
    // Whoever was killed meanwhile does not hear it.
    let _ = stream.write_all(b"!");
}

/// The pid of the process at the other end, as this process knows it.
fn peer(stream: &UnixStream) -> u32 {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).expect("a small size");
    // SAFETY: `peer` is live and of the length that is said.
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    u32::try_from(peer.pid).expect("a pid")
}

/// The waiting compiler, a binary of this package: Cargo builds it for every test of it.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/PROFILE/deps/THIS-TEST
    test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps").join("gate")
}

/// Writes an executable file.
pub fn write_executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whether a process runs (a zombie does not).
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until a process is gone, no longer than `limit`.
pub fn wait_gone(pid: u32, limit: std::time::Duration) {
    within(limit, &format!("end of process {pid}"), || (!is_running(pid)).then_some(()));
}
