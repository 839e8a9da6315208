//! `bench`: measurements that others can repeat. Variants run in turns in one go, so that a busy machine hurts all.

mod document;
pub(crate) mod isolation;
mod makespan;
mod metadata;
mod runner;
mod scheduler;
mod table;
pub(crate) mod tools;
mod warmth;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::cluster::{self, Cluster, Plan};
use crate::flags::Overhead;
use crate::prerequisites::{self, C, DISTCC};
use crate::process::{self, Daemon, free_port};
use crate::workspace::Workspace;
pub(crate) use isolation::isolation;
pub(crate) use makespan::makespan;
pub(crate) use metadata::metadata;
pub(crate) use scheduler::scheduler;
use table::{Sample, table};
use tools::Tools;
pub(crate) use warmth::warmth;

/// Jobs in flight in the second half of each round.
const IN_FLIGHT: usize = 16;

/// Jobs with so many in flight, for each one in sequence.
const BURST: usize = 4;

/// How long distccd may take to listen.
const START: Duration = Duration::from_secs(20);

/// `bench overhead`.
pub(crate) fn overhead(workspace: &Workspace, flags: &Overhead) -> anyhow::Result<()> {
    prerequisites::ensure(C)?;
    prerequisites::ensure(DISTCC)?;
    let binaries = workspace.release_binaries()?;
    let scratch = workspace.scratch("bench")?;
    let tools = Tools::build(scratch.path())?;
    let bench = Bench::start(scratch.path(), &binaries, &tools)?;

    // First runs fill caches and find toolchains.
    for variant in &VARIANTS {
        bench.measure(variant, 4, 1)?;
    }
    let mut samples: Vec<Vec<Sample>> = VARIANTS.iter().map(|_| Vec::new()).collect();
    for round in 0..flags.rounds {
        let mut turn: Vec<usize> = (0..VARIANTS.len()).collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for index in turn {
            let variant = &VARIANTS[index];
            let sequence = bench.measure(variant, flags.jobs, 1)?;
            let burst = bench.measure(variant, flags.jobs * BURST, IN_FLIGHT)?;
            samples[index].push(Sample::of(&sequence, &burst));
        }
    }
    let jobs = flags.jobs;
    println!(
        "{jobs} jobs in sequence and {} with {IN_FLIGHT} in flight, {} rounds in turns;",
        jobs * BURST,
        flags.rounds
    );
    println!(
        "medians of the rounds (least-greatest); x: ratio to direct, +: difference to direct, of the same round\n"
    );
    for compiler in [Compiler::Fake, Compiler::Gcc] {
        let of_it = VARIANTS.iter().zip(&samples).filter(|(variant, _)| variant.compiler == compiler);
        let rows: Vec<(&str, &[Sample])> =
            of_it.map(|(variant, samples)| (variant.way.name(), samples.as_slice())).collect();
        println!("{}\n{}", compiler.title(), table(&rows));
    }
    for way in [Way::Distcc, Way::Launcher] {
        println!("peak memory of {}: {} KiB (fake compiler, wait4)", way.name(), bench.peak(way)?);
    }
    bench.check_all_ran_there()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compiler {
    Fake,
    Gcc,
}

impl Compiler {
    fn title(self) -> &'static str {
        match self {
            Self::Fake => "a static compiler that does nothing (`gcc -c t.c`)",
            Self::Gcc => "the machine's `gcc -c t.c` (`int x;`)",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Distcc,
    Launcher,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Distcc => "distcc",
            Self::Launcher => "cc-launcher",
        }
    }
}

struct Variant {
    compiler: Compiler,
    way: Way,
}

const VARIANTS: [Variant; 6] = [
    Variant { compiler: Compiler::Fake, way: Way::Direct },
    Variant { compiler: Compiler::Fake, way: Way::Distcc },
    Variant { compiler: Compiler::Fake, way: Way::Launcher },
    Variant { compiler: Compiler::Gcc, way: Way::Direct },
    Variant { compiler: Compiler::Gcc, way: Way::Distcc },
    Variant { compiler: Compiler::Gcc, way: Way::Launcher },
];

/// Everything that runs while it is measured.
struct Bench {
    cluster: Cluster,
    _distccd: Daemon,
    distcc_hosts: String,
    distcc_dir: PathBuf,
    mount: PathBuf,
    launcher: PathBuf,
    fake_gcc: PathBuf,
    peak: PathBuf,
    notes: PathBuf,
}

impl Bench {
    fn start(scratch: &Path, binaries: &Path, tools: &Tools) -> anyhow::Result<Self> {
        let (mount, distcc_dir) = (scratch.join("shared"), scratch.join("distcc"));
        for dir in [&mount, &distcc_dir] {
            std::fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        std::fs::write(mount.join("t.c"), "int x;\n")?;
        let fake_gcc = mount.join("gcc");
        std::fs::copy(&tools.fake_gcc, &fake_gcc)?;
        let plan = Plan::new(binaries, &mount, scratch, 1, IN_FLIGHT);
        let cluster = Cluster::start(&plan)?;
        let port = free_port()?;
        let distccd = start_distccd(scratch, port)?;
        Ok(Self {
            cluster,
            _distccd: distccd,
            distcc_hosts: format!("--localslots_cpp={IN_FLIGHT} 127.0.0.1:{port}/{IN_FLIGHT}"),
            distcc_dir,
            launcher: binaries.join("cc-launcher"),
            fake_gcc,
            peak: tools.peak.clone(),
            notes: scratch.join("notes.log"),
            mount,
        })
    }

    fn measure(&self, variant: &Variant, jobs: usize, in_flight: usize) -> anyhow::Result<runner::Costs> {
        runner::run(jobs, in_flight, |job| self.command(variant, job, None))
            .with_context(|| format!("while measuring {}", variant.way.name()))
    }

    /// The command of one job; `under` runs it when given.
    fn command(&self, variant: &Variant, job: usize, under: Option<&Path>) -> Command {
        let gcc = match variant.compiler {
            Compiler::Fake => self.fake_gcc.as_os_str(),
            Compiler::Gcc => "gcc".as_ref(),
        };
        let mut words: Vec<&std::ffi::OsStr> = under.map(Path::as_os_str).into_iter().collect();
        match variant.way {
            Way::Direct => {}
            Way::Distcc => words.push("distcc".as_ref()),
            Way::Launcher => words.extend([self.launcher.as_os_str(), "--fallback=never".as_ref(), "--".as_ref()]),
        }
        words.push(gcc);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["-c", "t.c", "-o"]).arg(format!("o{job}.o")).current_dir(&self.mount);
        match variant.way {
            Way::Launcher => self.cluster.introduce(&mut command),
            _ => cluster::scrub(&mut command),
        }
        if variant.way == Way::Distcc {
            command.env("DISTCC_HOSTS", &self.distcc_hosts).env("DISTCC_DIR", &self.distcc_dir);
            // A job that could not be sent is an error, not a fast job.
            command.env("DISTCC_FALLBACK", "0");
        }
        command
    }

    fn peak(&self, way: Way) -> anyhow::Result<u64> {
        let variant = Variant { compiler: Compiler::Fake, way };
        let printed = process::capture(&mut self.command(&variant, 0, Some(&self.peak)))?;
        printed.trim().parse().with_context(|| format!("no number: {printed}"))
    }

    /// That what we measured was not a local run: `--fallback=never` says so for jobs that the cluster refused, this
    /// for jobs that the launcher would keep.
    fn check_all_ran_there(&self) -> anyhow::Result<()> {
        for compiler in [Compiler::Fake, Compiler::Gcc] {
            let mut command = self.command(&Variant { compiler, way: Way::Launcher }, 0, None);
            command.env("DISTCCD_LOG_FILE", &self.notes);
            process::run(&mut command)?;
            let notes = std::fs::read_to_string(&self.notes)?;
            anyhow::ensure!(notes.contains("ran on ash"), "the launcher kept its job: {notes}");
            std::fs::remove_file(&self.notes)?;
        }
        Ok(())
    }
}

/// One on the loopback that takes jobs from there alone; without the list of allowed compilers, as the fake one is in
/// none.
fn start_distccd(scratch: &Path, port: u16) -> anyhow::Result<Daemon> {
    let mut command = Command::new("distccd");
    command
        .args(["--no-detach", "--daemon", "--allow", "127.0.0.1", "--listen", "127.0.0.1", "--enable-tcp-insecure"])
        .args(["--nice", "0", "--log-stderr", "--log-level", "warning"])
        .arg("--jobs")
        .arg(IN_FLIGHT.to_string())
        .arg("--port")
        .arg(port.to_string());
    let mut daemon = Daemon::start(&mut command, &scratch.join("distccd.log"))?;
    daemon
        .wait_until(START, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
        .context("distccd does not come up")?;
    Ok(daemon)
}
