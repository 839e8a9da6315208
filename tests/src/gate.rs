//! A compiler that waits: it says that it runs, and goes on when the story opens its gate.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::daemon::{eventually, within};

/// A directory with a compiler that compiles only once its gate is open.
pub struct Gate {
    dir: PathBuf,
    name: String,
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
        let shown = dir.display();
        let script = format!(
            "#!/bin/sh\necho $$ >> '{shown}/running'\n\
             while [ ! -e '{shown}/open' ]; do sleep 0.02; done\nexec {name} \"$@\"\n"
        );
        write_executable(&dir.join(name), &script);
        Self { dir: dir.to_owned(), name: name.to_owned() }
    }

    /// The compiler's path.
    #[must_use]
    pub fn compiler(&self) -> PathBuf {
        self.dir.join(&self.name)
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
        let text = std::fs::read_to_string(self.dir.join("running")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Lets them go on.
    pub fn open(&self) {
        std::fs::write(self.dir.join("open"), "").unwrap();
    }
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
