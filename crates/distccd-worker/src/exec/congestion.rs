//! How many commits are on one filesystem at a time. A metadata server beyond its knee answers nobody sooner for being asked
//! by more: when commits take much longer than they did, fewer begin at once, and more again when that has helped.
//!
//! As TCP does (additive increase, multiplicative decrease), with delay for the signal, as in TCP Vegas. No limit is felt
//! while the filesystem keeps its pace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Commits that may always run at once: one that hangs must not stop all others.
const FEWEST: f64 = 2.0;
/// No worker has more slots in use than this at the same moment of their lives.
const MOST: f64 = 1024.0;
/// Commits take so many times longer than the quickest of late: the filesystem is beyond its knee.
const SLOW: u32 = 4;
/// Differences below this are noise of this machine's own.
const NOISE: Duration = Duration::from_millis(5);
/// What is left of the limit at each decrease.
const DECREASE: f64 = 0.75;
/// Weight of the latest commit in the smoothed time.
const WEIGHT: f64 = 0.2;
/// For how long the quickest commit counts, at least; and at most twice as long. A filesystem may have become another.
const MEMORY: Duration = Duration::from_secs(60);
/// A commit of more is a matter of bytes, not of metadata, and says nothing.
const MOST_BYTES: u64 = 1 << 20;
/// Between two looks at whether somebody still wants a commit that waits for its turn.
const PATIENCE: Duration = Duration::from_millis(100);

/// The commits of this worker, by filesystem.
#[derive(Clone, Debug, Default)]
pub struct Congestion(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ways: Mutex<BTreeMap<PathBuf, Way>>,
    changed: Condvar,
}

/// The right to commit, given back when it is dropped.
pub(super) struct Turn<'a> {
    congestion: &'a Congestion,
    mount: PathBuf,
    began: Instant,
    /// How long the commit of so many names and bytes took, if it was one.
    done: Option<(Duration, u64)>,
}

impl Congestion {
    /// Waits for a turn on this mount; none when it is not wanted any more.
    pub(super) fn turn(&self, mount: &Path, is_wanted: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut ways = self.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
        while !ways.entry(mount.to_owned()).or_default().begin() {
            if !is_wanted() {
                return None;
            }
            ways = self.0.changed.wait_timeout(ways, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(Turn { congestion: self, mount: mount.to_owned(), began: Instant::now(), done: None })
    }
}

impl Turn<'_> {
    /// The commit is done, of so many names with so many bytes.
    pub(super) fn on_done(&mut self, names: usize, bytes: u64) {
        let names = u32::try_from(names.max(1)).unwrap_or(u32::MAX);
        self.done = Some((self.began.elapsed() / names, bytes));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut ways = self.congestion.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let way = ways.entry(std::mem::take(&mut self.mount)).or_default();
        let took = self.done.filter(|(_, bytes)| *bytes <= MOST_BYTES).map(|(took, _)| took);
        let before = way.limit;
        way.end(took, Instant::now());
        if way.limit < before {
            let (limit, usual) = (way.limit.floor(), way.usual().unwrap_or_default());
            tracing::info!(limit, took = ?way.recent, ?usual, "commits take long: fewer at a time on this filesystem");
        }
        drop(ways);
        self.congestion.0.changed.notify_all();
    }
}

/// One filesystem. Knows no clock.
#[derive(Debug)]
struct Way {
    limit: f64,
    running: u32,
    /// The smoothed time of a commit.
    recent: Duration,
    /// The quickest of the present and of the last span of [`MEMORY`].
    quickest: [Option<Duration>; 2],
    span_began: Option<Instant>,
    /// Commits to come that have begun under an earlier limit, and say nothing about this one.
    stale: u32,
}

impl Default for Way {
    fn default() -> Self {
        Self { limit: MOST, running: 0, recent: Duration::ZERO, quickest: [None; 2], span_began: None, stale: 0 }
    }
}

impl Way {
    fn begin(&mut self) -> bool {
        let may = f64::from(self.running) + 1.0 <= self.limit;
        self.running += u32::from(may);
        may
    }

    fn end(&mut self, took: Option<Duration>, now: Instant) {
        let running = self.running;
        self.running = self.running.saturating_sub(1);
        let is_stale = self.stale > 0;
        self.stale = self.stale.saturating_sub(1);
        let Some(took) = took else { return };
        self.note(took, now);
        if is_stale {
            return;
        }
        let usual = self.usual().unwrap_or(took);
        if self.recent > usual * SLOW + NOISE && running > 1 {
            // From what was really running: a limit that nobody felt is none.
            self.limit = (self.limit.min(f64::from(running)) * DECREASE).max(FEWEST);
            self.stale = self.running;
        } else if f64::from(running) + 1.0 > self.limit {
            self.limit = (self.limit + 1.0 / self.limit).min(MOST);
        }
    }

    fn note(&mut self, took: Duration, now: Instant) {
        let began = *self.span_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= MEMORY {
            self.quickest = [None, self.quickest[0]];
            self.span_began = Some(now);
        }
        self.quickest[0] = Some(self.quickest[0].map_or(took, |quickest| quickest.min(took)));
        let first = self.recent.is_zero();
        self.recent = if first { took } else { self.recent.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT) };
    }

    fn usual(&self) -> Option<Duration> {
        self.quickest.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;

    /// A filesystem that serves so many at once at its pace; beyond, each takes longer by the square of the excess.
    struct Knee {
        at: u32,
        pace: Duration,
    }

    impl Knee {
        fn takes(&self, running: u32) -> Duration {
            let excess = (f64::from(running) / f64::from(self.at)).max(1.0);
            self.pace.mul_f64(excess * excess)
        }
    }

    /// So many clients commit again and again until the time is over; gives how many commits were done.
    fn live(way: &mut Way, knee: &Knee, clients: u32, from: Instant, span: Duration) -> u32 {
        let mut ends: BinaryHeap<Reverse<(Instant, Duration)>> = BinaryHeap::new();
        let (mut now, mut done) = (from, 0);
        while now < from + span {
            while way.running < clients && way.begin() {
                let takes = knee.takes(way.running);
                ends.push(Reverse((now + takes, takes)));
            }
            let Reverse((end, took)) = ends.pop().unwrap();
            now = end;
            way.end(Some(took), now);
            done += 1;
        }
        for Reverse((end, took)) in ends {
            way.end(Some(took), end);
        }
        done
    }

    #[test]
    fn a_filesystem_that_keeps_its_pace_is_not_limited() {
        let (mut way, knee) = (Way::default(), Knee { at: 1000, pace: Duration::from_millis(3) });

        live(&mut way, &knee, 200, Instant::now(), Duration::from_secs(10));

        assert!(way.limit >= MOST, "{way:?}");
    }

    #[test]
    fn beyond_the_knee_fewer_run_at_once_and_more_is_done() {
        let (mut way, knee) = (Way::default(), Knee { at: 8, pace: Duration::from_millis(10) });
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        // A quiet time, from which the pace is known.
        live(&mut way, &knee, 1, start, Duration::from_secs(1));

        let done = live(&mut way, &knee, 64, start + Duration::from_secs(1), minute);

        // 64 at once take 64 times as long: 100 a second. At the knee it is 800.
        assert!(way.limit < 24.0, "{way:?}");
        assert!(done > 20_000, "{done}");
    }

    #[test]
    fn when_the_filesystem_recovers_so_does_the_limit() {
        let (mut way, start) = (Way::default(), Instant::now());
        let second = Duration::from_secs(1);
        let (narrow, wide) =
            (Knee { at: 2, pace: Duration::from_millis(10) }, Knee { at: 100, pace: Duration::from_millis(10) });
        live(&mut way, &wide, 1, start, second);
        live(&mut way, &narrow, 64, start + second, second * 20);
        let low = way.limit;

        live(&mut way, &wide, 64, start + second * 21, second * 30);

        assert!(low < 12.0 && way.limit > 60.0, "{low} {way:?}");
    }

    #[test]
    fn a_filesystem_that_is_slow_for_good_is_the_usual_after_a_while() {
        let (mut way, start) = (Way::default(), Instant::now());
        live(&mut way, &Knee { at: 100, pace: Duration::from_millis(1) }, 8, start, Duration::from_secs(1));
        let slow = Knee { at: 100, pace: Duration::from_millis(50) };
        live(&mut way, &slow, 16, start + Duration::from_secs(1), Duration::from_secs(20));
        assert!(way.limit <= 12.0, "{way:?}");

        live(&mut way, &slow, 16, start + Duration::from_secs(21), MEMORY * 3);

        assert!(way.limit > 15.0, "{way:?}");
    }

    #[test]
    fn who_is_not_wanted_any_more_does_not_wait_for_a_turn() {
        let (congestion, mount) = (Congestion::default(), Path::new("/mnt"));
        congestion.0.ways.lock().unwrap().entry(mount.to_owned()).or_default().limit = FEWEST;
        let turns = [congestion.turn(mount, || true), congestion.turn(mount, || true)];

        assert!(turns.iter().all(Option::is_some));
        assert!(congestion.turn(mount, || false).is_none());
        assert!(congestion.turn(Path::new("/other"), || false).is_some(), "another filesystem has its own limit");
        drop(turns);
        assert!(congestion.turn(mount, || false).is_some());
    }
}
