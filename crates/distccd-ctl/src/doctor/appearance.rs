//! How long this machine takes to see what another has made, where it had looked before in vain: as builds do, which ask
//! for outputs before they exist.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster_file::probe::time_of;
use serde::{Deserialize, Serialize};

use super::trial::MOST_SKEW_MS;
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
    /// It was not there then.
    since: SystemTime,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How long that took.
    took: Duration,
    /// By how many milliseconds at least its time is later than this machine's, or earlier.
    ahead_ms: i64,
}

/// Looks until it is seen; nothing if it was not. May hang as the filesystem does.
#[must_use]
pub fn run(look: &Look) -> Option<Seen> {
    let began = Instant::now();
    loop {
        if let Some(time) = time_of(&look.mount, &look.name) {
            let ahead_ms = ahead_ms(time, look.since, SystemTime::now());
            return Some(Seen { took: began.elapsed(), ahead_ms });
        }
        if began.elapsed() >= look.patience {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// How far the time of a file is off that was made between two moments of this machine.
fn ahead_ms(time: SystemTime, since: SystemTime, until: SystemTime) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match (time.duration_since(until), since.duration_since(time)) {
        (Ok(late), _) => millis(late),
        (_, Ok(early)) => -millis(early),
        _ => 0,
    }
}

/// Has the server make a file, and these workers; how long it takes to see each, and whose clock it bears.
pub async fn examine(server: &mut Server, mount: &Path, workers: &[&str]) -> Vec<Finding> {
    let makers = std::iter::once(None).chain(workers.iter().take(MOST_WORKERS).map(|&worker| Some(worker)));
    let (mut findings, mut quick) = (Vec::new(), Quick::default());
    for maker in makers {
        let subject = mount.display().to_string();
        let who = maker.unwrap_or("the server");
        match measure(server, mount, maker).await {
            Ok(Some(seen)) => {
                findings.extend(of_clock(&subject, who, seen.ahead_ms));
                match seen.took < SLOW {
                    true => quick.note(who, seen.took),
                    false => findings.push(slow(&subject, who, Some(seen.took))),
                }
            }
            Ok(None) => findings.push(slow(&subject, who, None)),
            Err(why) => findings.push(unmeasured(&subject, who, &why)),
        }
    }
    findings.extend(quick.finding(&mount.display().to_string()));
    findings
}

/// What is seen of what somebody makes; nothing if it is not.
async fn measure(server: &mut Server, mount: &Path, maker: Option<&str>) -> Result<Option<Seen>, String> {
    let since = SystemTime::now();
    let now = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{:x}x{:x}", std::process::id(), now.as_nanos());
    let look = |patience| Look { mount: mount.to_owned(), name: name.clone(), patience, since };
    // In vain.
    let ask = |patience, limit| helper::ask::<Option<Seen>>(Task::Look, &look(patience), limit);
    ask(Duration::ZERO, LONGEST).map_err(|error| error.to_string())?;
    server.appear(mount, &name, maker).await?;
    ask(LONGEST, LONGEST * 2).map_err(|error| error.to_string())
}

fn of_clock(subject: &str, who: &str, ahead_ms: i64) -> Option<Finding> {
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let seconds = Duration::from_millis(ahead_ms.unsigned_abs()).as_secs_f64();
    let text = format!("what {who} makes bears a time {seconds:.1} s {way} this machine's");
    let remedy = "have chrony or systemd-timesyncd keep the time on all machines, the filesystem's servers included";
    (ahead_ms.abs() > MOST_SKEW_MS).then(|| Finding::new(Severity::Warning, subject, text, remedy))
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
        let (mount_path, patience, since) = (mount.path(), Duration::ZERO, SystemTime::now());
        let look = |name: &str| Look { mount: mount_path.to_owned(), name: name.to_owned(), patience, since };
        cluster_file::probe::appear(mount.path(), "a").unwrap();

        assert!(run(&look("a")).unwrap().ahead_ms.abs() < MOST_SKEW_MS);
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
    fn a_time_from_before_or_after_is_off_by_what_is_certain() {
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(ahead_ms(at(15), at(10), at(20)), 0);
        assert_eq!(ahead_ms(at(25), at(10), at(20)), 5_000);
        assert_eq!(ahead_ms(at(7), at(10), at(20)), -3_000);
        assert!(of_clock("/x", "ash", 5_000).unwrap().text.contains("5.0 s ahead of"));
        assert!(of_clock("/x", "ash", -900).is_none());
    }

    #[test]
    fn slow_is_worth_a_word() {
        assert_eq!(slow("/x", "ash", Some(Duration::from_secs(5))).severity, Severity::Warning);
        assert!(slow("/x", "ash", None).text.contains("not seen"));
    }
}
