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
/// More workers are not asked in one examination.
const MOST_WORKERS: usize = 16;
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

/// Has the server make a file, and these workers; how long it takes to see each.
pub async fn examine(server: &mut Server, mount: &Path, workers: &[&str]) -> Vec<Finding> {
    let makers = std::iter::once(None).chain(workers.iter().take(MOST_WORKERS).map(|&worker| Some(worker)));
    let (mut findings, mut quick) = (Vec::new(), Quick::default());
    for maker in makers {
        let subject = mount.display().to_string();
        let who = maker.unwrap_or("the server");
        match measure(server, mount, maker).await {
            Ok(Some(time)) if time < SLOW => quick.note(who, time),
            Ok(seen) => findings.push(slow(&subject, who, seen)),
            Err(why) => findings.push(unmeasured(&subject, who, &why)),
        }
    }
    findings.extend(quick.finding(&mount.display().to_string()));
    findings
}

/// How long it takes to see what somebody makes; nothing if it is not seen.
async fn measure(server: &mut Server, mount: &Path, maker: Option<&str>) -> Result<Option<Duration>, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:x}x{:x}", std::process::id(), now.as_nanos());
    let look = |patience| Look { mount: mount.to_owned(), name: name.clone(), patience };
    // In vain.
    let ask = |patience, limit| helper::ask::<Option<Duration>>(Task::Look, &look(patience), limit);
    ask(Duration::ZERO, LONGEST).map_err(|error| error.to_string())?;
    server.appear(mount, &name, maker).await?;
    ask(LONGEST, LONGEST * 2).map_err(|error| error.to_string())
}

/// Those whose files are seen soon enough.
#[derive(Default)]
struct Quick {
    makers: usize,
    slowest: Option<(String, Duration)>,
}

impl Quick {
    fn note(&mut self, who: &str, time: Duration) {
        self.makers += 1;
        if self.slowest.as_ref().is_none_or(|(_, slowest)| time > *slowest) {
            self.slowest = Some((who.to_owned(), time));
        }
    }

    fn finding(self, subject: &str) -> Option<Finding> {
        let (who, time) = self.slowest?;
        Some(Finding::fine(
            subject,
            match self.makers {
                1 => format!("what {who} makes is seen here after {time:.1?}"),
                many => format!("what {many} machines make is seen here after at most {time:.1?} ({who})"),
            },
        ))
    }
}

fn slow(subject: &str, who: &str, seen: Option<Duration>) -> Finding {
    let remedy = "mount it with lookupcache=positive (NFS) or without entry_timeout and negative_timeout (FUSE); launchers \
                  and workers refresh their view, which costs each job time";
    let text = match seen {
        Some(time) => format!("what {who} makes is seen here only after {time:.1?}"),
        None => format!("what {who} makes is not seen here within {LONGEST:?}"),
    };
    Finding::new(Severity::Warning, subject, text, remedy)
}

fn unmeasured(subject: &str, who: &str, why: &str) -> Finding {
    let text = format!("when that which {who} makes is seen here was not measured: {why}");
    let remedy = "ask again in a minute; .distccd belongs to the server's user, and workers of another than root and him \
                  cannot make anything there";
    Finding::new(Severity::Note, subject, text, remedy)
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
    fn those_that_are_seen_soon_are_one_finding_which_names_the_slowest() {
        let mut quick = Quick::default();
        quick.note("the server", Duration::from_millis(1));
        let one = quick.finding("/x").unwrap();
        assert_eq!(one.text, "what the server makes is seen here after 1.0ms");

        let mut quick = Quick::default();
        quick.note("ash", Duration::from_millis(3));
        quick.note("birch", Duration::from_millis(2));
        let many = quick.finding("/x").unwrap();
        assert_eq!(many.text, "what 2 machines make is seen here after at most 3.0ms (ash)");
        assert!(Quick::default().finding("/x").is_none());
    }

    #[test]
    fn slow_is_worth_a_word() {
        assert_eq!(slow("/x", "ash", Some(Duration::from_secs(5))).severity, Severity::Warning);
        assert!(slow("/x", "ash", None).text.contains("not seen"));
    }
}
