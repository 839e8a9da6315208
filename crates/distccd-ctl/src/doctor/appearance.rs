//! How long this machine takes to see what another has made, where it had looked before in vain: as builds do, which ask
//! for outputs before they exist.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster_file::probe::is_seen;
use serde::{Deserialize, Serialize};

use super::{Finding, Severity};
use crate::cli::Task;
use crate::helper;
use crate::server::Server;

/// Longer is not waited for.
const LONGEST: Duration = Duration::from_secs(10);
/// Slower costs builds time.
const SLOW: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// What is looked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Look {
    mount: PathBuf,
    name: String,
    patience: Duration,
}

/// Looks until it is seen; how long that took, nothing if it was not seen. May hang as the filesystem does.
#[must_use]
pub fn run(look: &Look) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if is_seen(&look.mount, &look.name) {
            return Some(began.elapsed());
        }
        if began.elapsed() >= look.patience {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Has the server make a file, and sees it. Nothing to say where the server cannot.
pub async fn examine(server: &mut Server, mount: &Path) -> Option<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:x}x{:x}", std::process::id(), now.as_nanos());
    let look = |patience| Look { mount: mount.to_owned(), name: name.clone(), patience };
    // In vain.
    helper::ask::<Option<Duration>>(Task::Look, &look(Duration::ZERO), LONGEST).ok()?;
    if !server.appear(mount, &name).await {
        return None;
    }
    let seen = helper::ask::<Option<Duration>>(Task::Look, &look(LONGEST), LONGEST * 2).ok()?;
    Some(judge(&mount.display().to_string(), seen))
}

fn judge(subject: &str, seen: Option<Duration>) -> Finding {
    let remedy = "mount it with lookupcache=positive (NFS) or without entry_timeout and negative_timeout (FUSE); launchers \
                  and workers refresh their view, which costs each job time";
    match seen {
        Some(time) if time < SLOW => {
            Finding::fine(subject, format!("what the server makes is seen here after {time:.1?}"))
        }
        Some(time) => {
            let text = format!("what the server makes is seen here only after {time:.1?}");
            Finding::new(Severity::Warning, subject, text, remedy)
        }
        None => {
            let text = format!("what the server makes is not seen here within {LONGEST:?}");
            Finding::new(Severity::Warning, subject, text, remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_is_seen_and_what_does_not_is_given_up() {
        let mount = tempfile::tempdir().unwrap();
        let look =
            |name: &str| Look { mount: mount.path().to_owned(), name: name.to_owned(), patience: Duration::ZERO };
        cluster_file::probe::appear(mount.path(), "a").unwrap();

        assert!(run(&look("a")).is_some());
        assert!(run(&look("b")).is_none());
    }

    #[test]
    fn slow_is_worth_a_word() {
        assert_eq!(judge("/x", Some(Duration::from_millis(3))).severity, Severity::Fine);
        assert_eq!(judge("/x", Some(Duration::from_secs(5))).severity, Severity::Warning);
        assert_eq!(judge("/x", None).severity, Severity::Warning);
    }
}
