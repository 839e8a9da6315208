//! Whether the kernel's out-of-memory killer has been at work: the counters of this worker's cgroup and of the machine.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::facts::cgroup::Cgroup;

/// Remembers how many processes it had killed when last looked. Reading the counters costs more than the start of a
/// small command, so they are read only when one was killed.
#[derive(Clone, Debug)]
pub struct OomWatch {
    seen: Arc<AtomicU64>,
}

impl OomWatch {
    /// Counts from now.
    #[must_use]
    pub fn start() -> Self {
        Self { seen: Arc::new(AtomicU64::new(kills())) }
    }

    /// Whether it has struck since the last look, or the start.
    pub(super) fn has_struck(&self) -> bool {
        let now = kills();
        self.seen.swap(now, Ordering::Relaxed) < now
    }
}

/// How many processes it has killed so far, by any counter that can be read; only a difference means something.
fn kills() -> u64 {
    let cgroup = Cgroup::of_this_process().events().map_or(0, |events| counter(&events));
    let machine = fs::read_to_string("/proc/vmstat").map_or(0, |vmstat| counter(&vmstat));
    cgroup + machine
}

fn counter(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == "oom_kill")
        .and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_counter_among_others() {
        assert_eq!(counter("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(counter("low 0\n"), 0);
    }
}
