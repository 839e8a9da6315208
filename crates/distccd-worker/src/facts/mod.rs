//! What the machine has: CPUs, memory, and how busy it is with work that is not ours.

pub mod cgroup;
pub mod speed;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use cgroup::Cgroup;
use model::ids::CpuClass;

/// What does not change while the worker runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Memory that this worker may use, in bytes.
    pub memory: u64,
    /// CPUs that this worker may use.
    pub cpus: u32,
    /// As `/proc/cpuinfo` calls it.
    pub cpu_model: String,
    /// What `-march=native` would find here.
    pub cpu_class: Option<CpuClass>,
}

impl Host {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        Self {
            name: host_name(),
            memory: usable_memory(),
            cpus: usable_cpus(),
            cpu_model: cpu_model().unwrap_or_default(),
            cpu_class: cpu_class::of_this_machine(),
        }
    }
}

/// The machine's memory, or what the cgroup allows of it, in bytes.
#[must_use]
pub fn usable_memory() -> u64 {
    let memory = meminfo("MemTotal").unwrap_or(0);
    Cgroup::of_this_process().memory_limit().map_or(memory, |limit| limit.min(memory))
}

/// The host's name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// One per CPU of the cpuset, and no more than the CPU quota pays for; at least 1.
#[must_use]
pub fn usable_cpus() -> u32 {
    let set = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    let quota = Cgroup::of_this_process().cpu_quota().unwrap_or(set);
    set.min(quota).max(1)
}

/// Memory that could be had now, in bytes: the machine's, or what is left under the cgroup's limit.
#[must_use]
pub fn memory_available() -> u64 {
    let machine = meminfo("MemAvailable").unwrap_or(0);
    Cgroup::of_this_process().memory_left().map_or(machine, |left| left.min(machine))
}

/// The time of day, in microseconds since 1970. Nothing here goes by it: it is told, for others to see whether it is right.
#[must_use]
pub fn clock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn meminfo(field: &str) -> Option<u64> {
    field_of_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

fn field_of_meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("CPU part"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Smooths the number of runnable tasks that are not ours.
#[derive(Debug, Default)]
pub struct ForeignLoad(f64);

/// Weight of the newest sample: about ten samples, and so some ten heartbeats, of memory.
const NEWEST: f64 = 0.2;

impl ForeignLoad {
    /// Takes a sample while `ours` attempts run, and gives the smoothed load in hundredths of a task.
    pub fn sample(&mut self, ours: usize) -> u32 {
        let running = fs::read_to_string("/proc/stat").ok().and_then(|text| procs_running(&text)).unwrap_or(0);
        // One of them is this very thread.
        let foreign = running.saturating_sub(1 + ours as u64);
        self.0 += NEWEST * (foreign as f64 - self.0);
        (self.0 * 100.0) as u32
    }
}

fn procs_running(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("procs_running "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_field_and_not_one_that_merely_begins_alike() {
        let text = "MemTotal:       16 kB\nMemAvailable:    8 kB\nMem:  1 kB\n";

        assert_eq!(field_of_meminfo(text, "MemAvailable"), Some(8192));
        assert_eq!(field_of_meminfo(text, "Swap"), None);
    }

    #[test]
    fn this_machine_has_something() {
        let host = Host::look();

        assert!(host.memory > 0 && host.cpus > 0 && !host.name.is_empty());
        assert!(memory_available() > 0);
    }

    #[test]
    fn finds_the_running_tasks() {
        assert_eq!(procs_running("cpu 1 2\nprocs_running 7\nprocs_blocked 1\n"), Some(7));
    }
}
