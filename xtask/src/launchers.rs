//! `launchers`: what a launcher is allowed to cost before it has done anything (README, "Launchers").

use std::process::Command;

use anyhow::{Context, bail};

use crate::bench::tools::Tools;
use crate::cluster::{Cluster, Plan};
use crate::prerequisites::{self, C};
use crate::workspace::Workspace;
use crate::{elf, process};

const MIB: u64 = 1 << 20;
const MAX_SIZE: u64 = 3 * MIB;
const MAX_PEAK_RSS: u64 = 4 * MIB;
/// Of the one that reads what a toolchain consists of, for all that come after it on its machine.
const MAX_PEAK_RSS_OF_FIRST: u64 = 32 * MIB;
const LAUNCHERS: [&str; 2] = ["cc-launcher", "ld-launcher"];

/// Checks both, with a real job on a real worker.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    prerequisites::ensure(C)?;
    let binaries = workspace.release_binaries()?;
    let scratch = workspace.scratch("launchers")?;
    let tools = Tools::build(scratch.path())?;
    let mut wrong = Vec::new();

    let mount = scratch.path().join("shared");
    std::fs::create_dir(&mount)?;
    std::fs::write(mount.join("t.c"), "int main(void) { return 0; }\n")?;
    let plan = Plan::new(&binaries, &mount, scratch.path(), 1, 1);
    let cluster = Cluster::start(&plan)?;
    let first = peak_rss(&tools, &cluster, &mount, &binaries.join(LAUNCHERS[0]))?;
    println!("the first, which reads the toolchain unless an earlier run has: peak memory {} KiB", first / 1024);
    if first > MAX_PEAK_RSS_OF_FIRST {
        wrong.push(format!("the first launcher needs more than {MAX_PEAK_RSS_OF_FIRST} bytes of memory"));
    }
    for name in LAUNCHERS {
        let path = binaries.join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = u64::try_from(bytes.len())?;
        let needs = elf::dynamic(&bytes).with_context(|| format!("{name} is no 64-bit ELF file"))?;
        let peak = peak_rss(&tools, &cluster, &mount, &path)?;
        println!(
            "{name}: {size} bytes, peak memory {} KiB, interpreter {}, shared libraries {}",
            peak / 1024,
            if needs.interpreter { "yes" } else { "none" },
            needs.needed
        );
        if needs.interpreter || needs.needed > 0 {
            wrong.push(format!("{name} is not statically linked"));
        }
        if size > MAX_SIZE {
            wrong.push(format!("{name} is larger than {MAX_SIZE} bytes"));
        }
        if peak > MAX_PEAK_RSS {
            wrong.push(format!("{name} needs more than {MAX_PEAK_RSS} bytes of memory"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

/// Peak memory, in bytes, of a launcher whose job ran on a worker: the greatest of a compile's and a link's.
fn peak_rss(
    tools: &Tools,
    cluster: &Cluster,
    mount: &std::path::Path,
    launcher: &std::path::Path,
) -> anyhow::Result<u64> {
    let mut greatest = 0;
    for job in [&["gcc", "-c", "t.c", "-o", "t.o"][..], &["gcc", "t.o", "-o", "t"]] {
        let notes = mount.join("notes.log");
        let mut command = Command::new(&tools.peak);
        command.arg(launcher).arg(format!("--log-file={}", notes.display())).arg("--").args(job).current_dir(mount);
        cluster.introduce(&mut command);
        let printed = process::capture(&mut command)?;
        let said = std::fs::read_to_string(&notes).unwrap_or_default();
        if !said.contains("ran on ash") {
            bail!("`{}` did not run on the worker: {said}", job.join(" "));
        }
        std::fs::remove_file(&notes)?;
        let kibibytes: u64 = printed.trim().parse().with_context(|| format!("no number: {printed}"))?;
        greatest = greatest.max(kibibytes * 1024);
    }
    Ok(greatest)
}
