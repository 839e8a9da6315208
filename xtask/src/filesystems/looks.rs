//! How long the first look at a new file takes, by the manner in which another host has published it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::fleet::{HOME, worker_host};
use super::hosts::Hosts;

/// Of each manner.
const LOOKS: usize = 8;
/// A look that was blocked.
const BLOCKED: Duration = Duration::from_millis(100);

type Publish = fn(&Path, &Path) -> std::io::Result<()>;

/// A temporary name in the same directory, then this; and whether a third host prompts while others look.
const MANNERS: [(&str, Publish, bool); 4] = [
    ("temporary name and rename", |temporary, name| std::fs::rename(temporary, name), false),
    (
        "temporary name and rename, then changed and synced",
        |temporary, name| {
            std::fs::rename(temporary, name)?;
            change_and_sync(name)
        },
        false,
    ),
    ("temporary name and rename, and another host prompts", |temporary, name| std::fs::rename(temporary, name), true),
    (
        "temporary name and link",
        |temporary, name| {
            std::fs::hard_link(temporary, name)?;
            std::fs::remove_file(temporary)
        },
        false,
    ),
];

/// Publishes from a worker's host, looks from [`HOME`], and prints what it took.
pub(super) fn show(hosts: &Hosts, mount: &Path) -> anyhow::Result<()> {
    for (number, (manner, publish, is_prompted)) in MANNERS.into_iter().enumerate() {
        let mut took = Vec::new();
        for look in 0..LOOKS {
            let dir = mount.join(format!("looks-{number}-{look}"));
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
            took.push(if is_prompted { look_and_prompt(hosts, mount, &name)? } else { first_look(hosts, &name)? });
        }
        let blocked = took.iter().filter(|took| **took > BLOCKED).count();
        let longest = took.iter().max().copied().unwrap_or_default();
        println!(
            "  {manner}: {blocked} of {LOOKS} first looks took more than {} ms, the longest {:.3} s",
            BLOCKED.as_millis(),
            longest.as_secs_f64()
        );
    }
    Ok(())
}

fn first_look(hosts: &Hosts, name: &Path) -> anyhow::Result<Duration> {
    hosts.visit(HOME, || {
        let start = Instant::now();
        std::fs::read(name)?;
        Ok(start.elapsed())
    })
}

/// Looks, and has a third host change and sync a file of its own in another directory when that has begun.
fn look_and_prompt(hosts: &Hosts, mount: &Path, name: &Path) -> anyhow::Result<Duration> {
    hosts.visit(worker_host(1), || Ok(std::fs::write(mount.join("prompt"), "")?))?;
    std::thread::scope(|scope| {
        let look = scope.spawn(|| first_look(hosts, name));
        hosts.visit(worker_host(1), || {
            std::thread::sleep(BLOCKED / 2);
            Ok(change_and_sync(&mount.join("prompt"))?)
        })?;
        look.join().map_err(|_| anyhow::anyhow!("the look panicked"))?
    })
}

/// As `cluster_file::journal` does.
fn change_and_sync(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::options().write(true).open(path)?;
    file.set_modified(SystemTime::now())?;
    file.sync_all()
}
