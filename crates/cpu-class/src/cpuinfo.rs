//! `/proc/cpuinfo`, which is what compilers read on other architectures than x86.

use std::collections::BTreeSet;

/// Lines that differ from core to core or from moment to moment.
const VOLATILE: [&str; 8] = ["processor", "bogomips", "cpu mhz", "clock", "timebase", "serial", "physical id", "hart"];

/// All other lines, each once: machines with several kinds of cores list them all.
pub(crate) fn answers() -> Option<Vec<u8>> {
    steady(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn steady(text: &str) -> Option<Vec<u8>> {
    let volatile = |line: &str| {
        let line = line.to_ascii_lowercase();
        VOLATILE.iter().any(|name| line.starts_with(name))
    };
    let lines: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty() && !volatile(line)).collect();
    let lines: Vec<&str> = lines.into_iter().collect();
    (!lines.is_empty()).then(|| lines.join("\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_numbers_a_core_does_not_count_and_its_kind_does() {
        let core = |number: u32, part: &str| {
            format!("processor\t: {number}\nBogoMIPS\t: {number}\nFeatures\t: fp asimd\nCPU part\t: {part}\n\n")
        };
        let two = core(0, "0xd0c") + &core(1, "0xd0c");

        assert_eq!(steady(&two), steady(&core(7, "0xd0c")));
        assert_ne!(steady(&two), steady(&(core(0, "0xd0c") + &core(1, "0xd0b"))));
        assert_eq!(steady(""), None);
    }
}
