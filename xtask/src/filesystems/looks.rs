//! How long the first look at a new file takes, by the manner in which another host has published it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fleet::{HOME, worker_host};
use super::hosts::Hosts;

/// Of each manner.
const LOOKS: usize = 8;
/// A look that was blocked.
const BLOCKED: Duration = Duration::from_millis(100);

type Publish = fn(&Path, &Path) -> std::io::Result<()>;

/// A temporary name in the same directory, then this.
const MANNERS: [(&str, Publish); 2] = [
    ("temporary name and rename", |temporary, name| std::fs::rename(temporary, name)),
    ("temporary name and link", |temporary, name| {
        std::fs::hard_link(temporary, name)?;
        std::fs::remove_file(temporary)
    }),
];

/// Publishes from a worker's host, looks from [`HOME`], and prints what it took.
pub(super) fn show(hosts: &Hosts, mount: &Path) -> anyhow::Result<()> {
    for (manner, publish) in MANNERS {
        let mut took = Vec::new();
        for look in 0..LOOKS {
            let dir = mount.join(format!("looks-{}-{look}", manner.len()));
            let name = dir.join("a.o");
            hosts.visit(HOME, || {
                std::fs::create_dir(&dir)?;
                // A build tool looks for what is to be made.
                let _ = name.metadata();
                Ok(())
            })?;
            hosts.visit(worker_host(0), || {
                let temporary = dir.join(".a.o.new");
                std::fs::write(&temporary, "an object")?;
                Ok(publish(&temporary, &name)?)
            })?;
            took.push(hosts.visit(HOME, || {
                let start = Instant::now();
                std::fs::read(&name)?;
                Ok(start.elapsed())
            })?);
        }
        let blocked = took.iter().filter(|took| **took > BLOCKED).count();
        let longest = took.iter().max().copied().unwrap_or_default();
        println!(
            "  {manner}: {blocked} of {LOOKS} first looks took more than {} ms, the longest {:.2} s",
            BLOCKED.as_millis(),
            longest.as_secs_f64()
        );
    }
    Ok(())
}
