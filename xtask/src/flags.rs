//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The project's tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
pub(crate) struct Xtask {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Measure, beside a direct run and beside others of the trade
    #[command(subcommand)]
    Bench(Bench),
    /// Build a real project on several hosts while daemons are killed, stopped and cut off, and compare every file
    Chaos(Chaos),
    /// Build a real project on several workers, then directly, and compare every output
    Demo(Demo),
    /// Put binaries, manual pages, units and sample configurations into a directory and a tarball
    Dist(Dist),
    /// Run hundreds of command lines direct and through the launchers, and compare all that can be seen
    Fidelity(Fidelity),
    /// Let a fuzzer at the command-line parser, or at the scheduler
    Fuzz(Fuzz),
    /// Copy binaries and manual pages to where they are found
    Install(Install),
    /// Check the launchers: static, small on disk, small in memory
    Launchers,
    /// Change the scheduler in many small ways, and see whether its tests notice: cargo-mutants
    Mutants(Mutants),
    /// Plant bugs in a copy of the scheduler, and see whether they are noticed from outside
    PlantedBugs(PlantedBugs),
    /// Build real projects of every build system directly, then through the launchers, and compare every file and line
    RealBuilds(RealBuilds),
    /// Run a ninja build command by command and write down its graph, with what each command cost
    RecordGraph(RecordGraph),
    /// Live through journals again: `distccd-server --journal`, `sim --journal`
    Replay(Replay),
    /// Run simulated worlds that try to break the scheduler
    Sim(Sim),
    /// All that proves the product; what CI runs
    Test(Test),
    /// Build and torture on real shared filesystems, several hosts with a client each
    TestFilesystems(TestFilesystems),
    /// Check the arrows between the crates, and the code map
    Tidy,
    /// Compile a sample of GCC's own tests directly and through cc-launcher, and compare all that comes of it
    Torture(Torture),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// What isolating an attempt costs before its command can start
    Isolation(Isolation),
    /// How long recorded builds take on simulated fleets, under the scheduler and under what others do
    Makespan(Makespan),
    /// What launcher and worker ask of the shared filesystem for one compile
    Metadata(Metadata),
    /// What a launcher adds to a job: wall time, CPU time, memory
    Overhead(Overhead),
    /// What a job costs the scheduler, by the size of the fleet and of the queue
    Scheduler(SchedulerCost),
    /// How many commands of a real build go to workers that are warm for their directory, with and without preference
    Warmth(Warmth),
}

/// Flags of `bench isolation`.
#[derive(Debug, Args)]
pub(crate) struct Isolation {
    /// The directory to isolate, such as one on a shared filesystem; without it a new one below target/
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<std::path::PathBuf>,
}

/// Flags of `bench metadata`.
#[derive(Debug, Args)]
pub(crate) struct Metadata {
    /// Show every call
    #[arg(long)]
    pub(crate) show: bool,
    /// Put the table into docs/filesystems.md
    #[arg(long)]
    pub(crate) write: bool,
    /// Take the product's binaries from there [default: build them in release]
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
    /// Leave the scratch directory (traces)
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Flags of `bench warmth`.
#[derive(Debug, Args)]
pub(crate) struct Warmth {
    /// Builds of each sort, in turns
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) rounds: usize,
    /// Put the table into docs/scheduling.md
    #[arg(long)]
    pub(crate) write: bool,
}

/// Flags of `bench overhead`.
#[derive(Debug, Args)]
pub(crate) struct Overhead {
    /// Jobs of each variant in each round, one after the other; with 16 in flight four times as many
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) jobs: usize,
    /// Rounds; each runs every variant, in turns forwards and backwards
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
}

/// Flags of `chaos`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Chaos {
    /// What to draw the faults by
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// So many seeds, from that one on
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seeds: u64,
    /// So long for each seed; the last build is let end
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) minutes: u64,
    /// What to build
    #[arg(long, value_enum, default_value_t = Project::Taglib)]
    pub(crate) project: Project,
    /// Workers to start
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) workers: usize,
    /// Slots of each
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) slots: usize,
    /// Jobs at a time
    #[arg(short, long, value_name = "N", default_value_t = 24)]
    pub(crate) jobs: usize,
    /// Take the product's binaries from there [default: build them in release]
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
    /// Binaries of another release: daemons and launchers are of the one and of the other by turns, as in an upgrade
    #[arg(long, value_name = "DIR")]
    pub(crate) mix_with: Option<PathBuf>,
    /// Leave the scratch directory (the direct build, all logs, what went wrong)
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// What to build
    #[arg(long, value_enum, default_value_t = Project::Taglib)]
    pub(crate) project: Project,
    /// For projects with CMake: what runs the build
    #[arg(long, value_enum, default_value_t = Generator::Ninja)]
    pub(crate) generator: Generator,
    /// Workers to start
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) workers: usize,
    /// Slots of each
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) slots: usize,
    /// Leave the scratch directory (both builds, all logs)
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A third-party project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Project {
    /// TagLib 1.13: C++ and CMake, 108 translation units, 2 archives, 5 executables
    Taglib,
    /// RE2 2022-06-01: C++ and CMake, 72 translation units, 2 archives, 21 executables
    Re2,
    /// Lua 5.4.4: C and plain make, 34 translation units, 1 archive, 2 executables
    Lua,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generator {
    /// Ninja
    Ninja,
    /// Unix Makefiles
    Make,
}

/// Flags of `dist`.
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// Where to put it [default: dist below cargo's target directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// What to let it at
    #[arg(long, value_enum, default_value_t = FuzzTarget::Commands)]
    pub(crate) target: FuzzTarget,
    /// For so long
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) minutes: u64,
    /// Afterwards put few inputs that reach most of the code into the repository, in the place of those there
    #[arg(long)]
    pub(crate) renew_corpus: bool,
}

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FuzzTarget {
    /// The command-line parser: what it parses prints back identically
    Commands,
    /// The scheduler: whatever is said to it, its promises hold, and it does what a reference model does
    Histories,
}

/// Flags of `mutants`.
#[derive(Debug, Args)]
pub(crate) struct Mutants {
    /// The K-th of N parts of all mutants, from 0
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<String>,
    /// Only mutants whose place or change matches this
    #[arg(long, value_name = "REGEX")]
    pub(crate) only: Option<String>,
    /// Name the mutants and try none
    #[arg(long)]
    pub(crate) list: bool,
}

/// Flags of `planted-bugs`.
#[derive(Debug, Args)]
pub(crate) struct PlantedBugs {
    /// Only the bugs whose area and name contain this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Worlds at the most that are to notice one
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(crate) seeds: u64,
    /// Name the bugs and plant none
    #[arg(long)]
    pub(crate) list: bool,
}

/// Flags of `fidelity`.
#[derive(Debug, Args)]
pub(crate) struct Fidelity {
    /// Only the cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// How the worker keeps what commands write from others: its own setting
    #[arg(long, value_name = "auto|overlay|redirect|off", default_value = "auto")]
    pub(crate) isolation: String,
}

/// Flags of `install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Binaries go to bin, manual pages to share/man below it
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    pub(crate) prefix: PathBuf,
    /// Also make links named like compilers and archivers there: put it first on the PATH
    #[arg(long, value_name = "DIR")]
    pub(crate) masquerade: Option<PathBuf>,
}

/// Flags of `real-builds`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RealBuilds {
    /// Only these projects; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Vec<String>,
    /// Name the projects and build none
    #[arg(long)]
    pub(crate) list: bool,
    /// Leave the scratch directory (both trees of each project, all logs)
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Flags of `sim`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sim {
    /// So many worlds
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) seeds: u64,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) from: u64,
    /// Only this world, and tell what became of it
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    pub(crate) seed: Option<u64>,
    /// With --seed: write the journal of each run of its server into this directory
    #[arg(long, value_name = "DIR", requires = "seed")]
    pub(crate) journal: Option<PathBuf>,
}

/// Flags of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only the steps whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Name the steps and run none
    #[arg(long)]
    pub(crate) list: bool,
}

/// Flags of `test-filesystems`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestFilesystems {
    /// Which [default: stalefs and cephfs]
    #[arg(value_enum, value_name = "FILESYSTEM")]
    pub(crate) filesystems: Vec<Filesystem>,
    /// What to draw the torture by
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// So many seeds for each filesystem, from that one on; those of stalefs take its modes in turn
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) seeds: u64,
    /// Modes of stalefs [default: all]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: Vec<StaleMode>,
    /// What to build [default: taglib, on nfs small]
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Only this part of it
    #[arg(long, value_enum)]
    pub(crate) only: Option<Part>,
    /// Workers get the hidden setting `coherence = false`: this has to fail
    #[arg(long)]
    pub(crate) without_coherence: bool,
    /// On stalefs in mode `hard` chains too: each of their jobs may wait for all of the five seconds
    #[arg(long)]
    pub(crate) patient: bool,
    /// With cephfs: also lose a worker's host in mid-build
    #[arg(long)]
    pub(crate) lose_host: bool,
    /// Take the product's binaries from there [default: build them in release]
    #[arg(long, value_name = "DIR")]
    pub(crate) binaries: Option<PathBuf>,
    /// Only the torture, and the project where --project says small, in a directory of a shared filesystem that is there
    /// already, through the server at --server-addr
    #[arg(long, value_name = "DIR", requires = "server_addr", requires = "binaries")]
    pub(crate) here: Option<PathBuf>,
    /// With --here
    #[arg(long, value_name = "HOST:PORT", requires = "here")]
    pub(crate) server_addr: Option<String>,
    /// Less of everything: what `cargo xtask test` runs
    #[arg(long)]
    pub(crate) short: bool,
    /// Leave the scratch directory (logs)
    #[arg(long)]
    pub(crate) keep: bool,
}

impl TestFilesystems {
    /// What every run of CI does.
    pub(crate) fn short(filesystem: Filesystem) -> Self {
        let modes = if filesystem == Filesystem::Stalefs { StaleMode::ALL.to_vec() } else { Vec::new() };
        Self {
            filesystems: vec![filesystem],
            seed: 1,
            seeds: modes.len().max(1) as u64,
            mode: modes,
            project: Some("yaml-cpp".to_owned()),
            only: None,
            without_coherence: false,
            patient: false,
            lose_host: false,
            binaries: None,
            here: None,
            server_addr: None,
            short: true,
            keep: false,
        }
    }
}

/// A shared filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Filesystem {
    /// One of our own, as blind to what other machines do as NFS, and blinder
    Stalefs,
    /// Ceph's, with a ceph-fuse for each host
    Cephfs,
    /// Linux's own server and clients, on virtual machines (user-mode Linux)
    Nfs,
    /// Gluster's, told to believe for three seconds that a name is missing
    Gluster,
}

/// How blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StaleMode {
    /// Opening a directory or a file looks afresh
    Nfs,
    /// But a file that was replaced still opens with its old content
    Knfsd,
    /// Only time helps
    Hard,
}

impl StaleMode {
    pub(crate) const ALL: [Self; 3] = [Self::Nfs, Self::Knfsd, Self::Hard];

    /// As stalefs takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nfs => "nfs",
            Self::Knfsd => "knfsd",
            Self::Hard => "hard",
        }
    }
}

/// A part of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// A project made to be seen wrongly
    Torture,
    /// A real project
    Project,
    /// With stalefs: workers whose clocks are five seconds off
    Clocks,
    /// With cephfs: how long the first look at a new file takes, by how it was published
    Looks,
    /// What isolation costs an attempt there; not with nfs
    Isolation,
}

/// Flags of `torture`.
#[derive(Debug, Args)]
pub(crate) struct Torture {
    /// What to draw the sample by
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// So many tests
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) count: usize,
    /// Only tests whose path contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Tests at a time
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    pub(crate) jobs: usize,
    /// Workers to start
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) workers: usize,
    /// Leave the scratch directory (logs, the last test of each lane)
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Flags of `record-graph`.
#[derive(Debug, Args)]
pub(crate) struct RecordGraph {
    /// A directory with a build.ninja, configured and not yet built
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where the sources are [default: above DIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// What to build
    #[arg(long, value_name = "TARGET", default_value = "all")]
    pub(crate) target: String,
    /// Commands at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) jobs: usize,
    /// What it is and how it was configured: the head of the file
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) about: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// What to live through
    #[arg(value_name = "JOURNAL", required = true)]
    pub(crate) journals: Vec<PathBuf>,
}

/// Flags of `bench scheduler`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerCost {
    /// Write the table into docs/scheduling.md
    #[arg(long)]
    pub(crate) write: bool,
}

/// Flags of `bench makespan`.
#[derive(Debug, Args)]
pub(crate) struct Makespan {
    /// Fleets of each size; figures are means over them
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) seeds: u64,
    /// Put the tables into docs/scheduling.md
    #[arg(long)]
    pub(crate) write: bool,
}
