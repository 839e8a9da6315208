//! Limits of the control group that the worker lives in, version 2 or 1, read from files and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

/// Where this process's limits are written.
#[derive(Clone, Debug, Default)]
pub struct Cgroup {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    root: PathBuf,
}

impl Cgroup {
    /// The group of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::parse(&text, Path::new("/sys/fs/cgroup"))
    }

    /// Reads the lines of `/proc/self/cgroup`; each is number, controllers, path.
    fn parse(text: &str, root: &Path) -> Self {
        let mut found = Self { root: root.to_owned(), ..Self::default() };
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let below = |mount: &str| Some(root.join(mount).join(path.trim_start_matches('/')));
            match controllers {
                "" => found.unified = below(""),
                list if list.split(',').any(|name| name == "memory") => found.memory = below("memory"),
                list if list.split(',').any(|name| name == "cpu") => found.cpu = below("cpu"),
                _ => {}
            }
        }
        found
    }

    /// CPUs that the quota pays for, rounded up; the tightest of the group and those above it.
    #[must_use]
    pub fn cpu_quota(&self) -> Option<u32> {
        let unified = self.tightest(self.unified.as_deref(), |group| {
            let text = fs::read_to_string(group.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            whole_cpus(quota.parse().ok()?, period.parse().ok()?)
        });
        let split = self.tightest(self.cpu.as_deref(), |group| {
            whole_cpus(number(&group.join("cpu.cfs_quota_us"))?, number(&group.join("cpu.cfs_period_us"))?)
        });
        let cpus = unified.into_iter().chain(split).min()?;
        Some(u32::try_from(cpus).unwrap_or(u32::MAX))
    }

    /// The memory limit in bytes; version 1 writes a very large number for none, which the caller's minimum swallows.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        let unified = self.tightest(self.unified.as_deref(), |group| number(&group.join("memory.max")));
        let split = self.tightest(self.memory.as_deref(), |group| number(&group.join("memory.limit_in_bytes")));
        unified.into_iter().chain(split).min()
    }

    /// What is left under the limit, counting page cache that can be dropped as free.
    #[must_use]
    pub fn memory_left(&self) -> Option<u64> {
        let unified = self.tightest(self.unified.as_deref(), |group| left(group, "memory.max", "memory.current"));
        let split = self
            .tightest(self.memory.as_deref(), |group| left(group, "memory.limit_in_bytes", "memory.usage_in_bytes"));
        unified.into_iter().chain(split).min()
    }

    /// The text that holds this group's `oom_kill` counter.
    #[must_use]
    pub fn events(&self) -> Option<String> {
        let unified = self.unified.as_ref().map(|group| group.join("memory.events"));
        let split = self.memory.as_ref().map(|group| group.join("memory.oom_control"));
        unified.into_iter().chain(split).find_map(|path| fs::read_to_string(path).ok())
    }

    /// The smallest value of a group and of all above it, since each of them limits.
    fn tightest(&self, group: Option<&Path>, value: impl Fn(&Path) -> Option<u64>) -> Option<u64> {
        let above = group?.ancestors().take_while(|path| path.starts_with(&self.root));
        above.filter_map(value).min()
    }
}

fn whole_cpus(quota: u64, period: u64) -> Option<u64> {
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

fn left(group: &Path, limit: &str, usage: &str) -> Option<u64> {
    let limit = number(&group.join(limit))?;
    let used = number(&group.join(usage))?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let droppable = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(droppable.unwrap_or(0))))
}

/// A file that holds one number; `max` and `-1`, which mean no limit, are none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("a/cpu.max"), "150000 100000\n");
        write(&root.path().join("a/b/cpu.max"), "max 100000\n");
        write(&root.path().join("a/memory.max"), "1000\n");
        write(&root.path().join("a/memory.current"), "900\n");
        write(&root.path().join("a/memory.stat"), "anon 1\ninactive_file 500\n");
        write(&root.path().join("a/b/memory.max"), "max\n");

        let cgroup = Cgroup::parse("0::/a/b\n", root.path());

        assert_eq!(cgroup.cpu_quota(), Some(2));
        assert_eq!(cgroup.memory_limit(), Some(1000));
        assert_eq!(cgroup.memory_left(), Some(600));
    }

    #[test]
    fn version_one_has_a_folder_for_each_controller() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("cpu/x/cpu.cfs_quota_us"), "400000\n");
        write(&root.path().join("cpu/x/cpu.cfs_period_us"), "100000\n");
        write(&root.path().join("memory/y/memory.limit_in_bytes"), "77\n");

        let cgroup = Cgroup::parse("4:memory:/y\n3:cpu,cpuacct:/x\n", root.path());

        assert_eq!(cgroup.cpu_quota(), Some(4));
        assert_eq!(cgroup.memory_limit(), Some(77));
    }

    #[test]
    fn no_limit_is_none() {
        let root = tempfile::tempdir().unwrap();

        assert_eq!(Cgroup::parse("0::/\n", root.path()).cpu_quota(), None);
    }
}
