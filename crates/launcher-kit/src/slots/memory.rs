//! What memory this host has left: `MemAvailable` of proc_meminfo(5), and the stall information of
//! Documentation/accounting/psi.rst where the kernel has it.

use std::fs;

/// More of the last ten seconds than this in which somebody waited for memory: the host is short of it, whatever is
/// said to be available.
const STALLED_PERCENT: f64 = 10.0;

/// A host's memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// Bytes; `None` when the kernel does not say.
    pub(super) available: Option<u64>,
    /// The share of the last ten seconds in which some process waited for memory.
    pub(super) stalled_percent: f64,
}

impl Memory {
    /// As it is now.
    pub(super) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            available: available(&text("/proc/meminfo")),
            stalled_percent: stalled(&text("/proc/pressure/memory")).unwrap_or(0.0),
        }
    }

    /// Whether a command that needs `need` bytes may begin while `promised` bytes will yet be taken by others.
    pub(super) fn has_room(&self, need: u64, promised: u64) -> bool {
        self.stalled_percent <= STALLED_PERCENT
            && self.available.is_none_or(|available| available >= need.saturating_add(promised))
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn stalled(pressure: &str) -> Option<f64> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    some.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        let meminfo = "MemTotal:       24544212 kB\nMemFree:         1044152 kB\nMemAvailable:   22022228 kB\n";
        let pressure =
            "some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n";

        assert_eq!(available(meminfo), Some(22_022_228 * 1024));
        assert_eq!(available("MemAvailable: much\n"), None);
        assert_eq!(stalled(pressure), Some(12.34));
        assert_eq!(stalled(""), None);
        assert!(Memory::read().available.is_some(), "this kernel says it");
    }

    #[test]
    fn promises_count_and_stalls_stop_all() {
        let memory = Memory { available: Some(100), stalled_percent: 0.0 };

        assert!(memory.has_room(60, 40) && !memory.has_room(60, 41));
        assert!(!Memory { stalled_percent: 10.5, ..memory }.has_room(1, 0));
        assert!(Memory { available: None, ..memory }.has_room(u64::MAX, u64::MAX));
    }
}
