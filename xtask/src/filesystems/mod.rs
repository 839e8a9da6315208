//! `test-filesystems`: the product on real shared filesystems. Several hosts on this machine, each with a mount and caches
//! of its own; what one has written the others see as late as that filesystem lets them.

mod bench;
mod building;
mod cephfs;
mod chain;
mod clocks;
mod fleet;
mod gluster;
mod hosts;
mod looks;
mod nfs;
mod stalefs;
mod torture;
mod vain;
mod waits;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::bench::isolation;
use crate::fetch;
use crate::flags::{Filesystem, Generator, Part, StaleMode, TestFilesystems};
use crate::prerequisites;
use crate::process;
use crate::project::{Recipe, catalogue};
use crate::workspace::Workspace;
use bench::Bench;
use building::{Place, Site};
use cephfs::Ceph;
use fleet::{Fleet, HOME, Introduction, Plan, WORKERS, worker_host};
use gluster::Gluster;
use hosts::Hosts;
use torture::{Score, Size};

/// Slots of each worker.
const SLOTS: usize = 1;
/// Of a build at a time.
const JOBS: usize = WORKERS * SLOTS + 1;
/// Of all jobs of a build on CephFS, so many may wait for a look that the filesystem blocks.
const LONG_WAITS: f64 = 0.01;
/// A look that takes so many milliseconds waits for the filesystem's journal, which is written every 5 s.
const BLOCKED: f64 = 300.0;
/// A hidden setting of workers.
const BLIND: &str = "coherence = false\n";
/// So many seeds are tried until blind workers fail one.
const BITES: usize = 6;
/// Of NFS: the one that most sites have, and the one that remembers most.
const NFS_VERSIONS: [&str; 2] = ["3", "4.2"];
/// The project that needs no sources.
const SMALL: &str = "small";
/// A host is lost when so many jobs have run.
const LOSE_AFTER: usize = 3;

/// Whether hosts can be made here.
pub(crate) fn is_possible() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 && Path::new("/dev/fuse").exists() }
}

/// Tests on every filesystem that is asked for; success when nothing failed, differs or is wrong.
pub(crate) fn run(workspace: &Workspace, flags: &TestFilesystems) -> anyhow::Result<ExitCode> {
    if !is_possible() {
        bail!("hosts are namespaces with mounts of their own here: run this as root, and with /dev/fuse");
    }
    prerequisites::ensure(prerequisites::NETWORK)?;
    prerequisites::ensure(prerequisites::C)?;
    let binaries = match &flags.binaries {
        Some(dir) => dir.canonicalize().with_context(|| format!("there is no {}", dir.display()))?,
        None => workspace.release_binaries()?,
    };
    let scratch = workspace.scratch("filesystems")?;
    let verdict = all(workspace, &binaries, scratch.path(), flags);
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    }
    let complaints = verdict?;
    complaints.iter().for_each(|complaint| println!("FAILED: {complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn all(workspace: &Workspace, binaries: &Path, scratch: &Path, flags: &TestFilesystems) -> anyhow::Result<Vec<String>> {
    let asked = match &flags.filesystems[..] {
        [] => &[Filesystem::Stalefs, Filesystem::Cephfs],
        asked => asked,
    };
    let mut complaints = Vec::new();
    for filesystem in asked {
        // Where a compile takes a second, any real project takes hours.
        let usual = if *filesystem == Filesystem::Nfs { SMALL } else { "taglib" };
        let recipe = recipe(flags.project.as_deref().unwrap_or(usual))?;
        let sources = match builds(flags) {
            false => Vec::new(),
            true => {
                recipe.install_needs()?;
                fetch::debian_source(workspace, &recipe.source)?
            }
        };
        let test = Test { workspace, binaries, scratch, recipe: &recipe, sources: &sources, flags };
        complaints.extend(match filesystem {
            Filesystem::Stalefs => test.stalefs()?,
            Filesystem::Cephfs => test.cephfs()?,
            Filesystem::Gluster => test.gluster()?,
            Filesystem::Nfs => test.nfs()?,
        });
    }
    Ok(complaints)
}

/// Whether a project is built.
fn builds(flags: &TestFilesystems) -> bool {
    !matches!(flags.only, Some(Part::Torture | Part::Looks | Part::Clocks | Part::Isolation))
}

fn recipe(name: &str) -> anyhow::Result<Recipe> {
    match name {
        "taglib" => Ok(catalogue::taglib(Generator::Ninja)),
        "re2" => Ok(catalogue::re2(Generator::Ninja)),
        SMALL => Ok(catalogue::small()),
        _ => {
            let known = catalogue::all().into_iter().find(|recipe| recipe.name == name && recipe.is_idle_twice());
            known.with_context(|| format!("{name} is no project that is built with Ninja"))
        }
    }
}

struct Test<'a> {
    workspace: &'a Workspace,
    binaries: &'a Path,
    scratch: &'a Path,
    recipe: &'a Recipe,
    sources: &'a [PathBuf],
    flags: &'a TestFilesystems,
}

/// A filesystem under test.
struct Ground<'a> {
    name: String,
    hosts: &'a Hosts,
    /// Where every host has it.
    mount: &'a Path,
    run: PathBuf,
    seeds: Vec<u64>,
    size: Size,
    /// Whether the project is built there.
    builds: bool,
    /// Looks are blocked there for some ways to publish.
    blocks_looks: bool,
}

impl Test<'_> {
    fn seeds(&self) -> Vec<u64> {
        (self.flags.seed..self.flags.seed + self.flags.seeds).collect()
    }

    fn size(&self) -> Size {
        if self.flags.short { Size::SHORT } else { Size::FULL }
    }

    fn stalefs(&self) -> anyhow::Result<Vec<String>> {
        let program = stalefs::Program::compile(self.scratch)?;
        if self.flags.only == Some(Part::Clocks) {
            return self.clocks(&program);
        }
        let modes = if self.flags.mode.is_empty() { &StaleMode::ALL[..] } else { &self.flags.mode };
        let mut complaints = Vec::new();
        for (turn, mode) in modes.iter().enumerate() {
            let run = self.scratch.join(format!("stalefs-{}", mode.name()));
            let mount = run.join("shared");
            let hosts = Hosts::new(fleet::CLIENTS, |host| fleet::prepare_host(&run, host))?;
            let _mounts = program.mount(&hosts, &run.join("backing"), &mount, *mode, &[], &run)?;
            let seeds = self.seeds().into_iter().skip(turn).step_by(modes.len()).collect();
            let size = if *mode == StaleMode::Hard && !self.flags.patient { Size::SHORTEST } else { self.size() };
            let name = format!("stalefs, mode {}", mode.name());
            let builds = !self.flags.short || turn == 0;
            let ground = Ground { name, hosts: &hosts, mount: &mount, run, seeds, size, blocks_looks: false, builds };
            complaints.extend(self.on(&ground)?);
            if self.flags.short && *mode == StaleMode::Nfs {
                complaints.extend(self.must_bite(&ground)?);
            }
        }
        if self.flags.only.is_none() {
            complaints.extend(self.clocks(&program)?);
        }
        Ok(complaints)
    }

    /// Workers whose clocks are wrong, as the filesystem shows it: each host's files bear its own time.
    fn clocks(&self, program: &stalefs::Program) -> anyhow::Result<Vec<String>> {
        println!("==> stalefs, clocks off by {:?} s", clocks::WRONG_BY);
        let tools = clocks::Tools::install(self.workspace)?;
        let run = self.scratch.join("stalefs-clocks");
        let mount = run.join("shared");
        let hosts = Hosts::new(fleet::CLIENTS, |host| fleet::prepare_host(&run, host))?;
        let _mounts = program.mount(&hosts, &run.join("backing"), &mount, StaleMode::Nfs, &clocks::WRONG_BY, &run)?;
        let (binaries, worker) = (self.binaries, self.worker_settings());
        let fleet = Fleet::start(&Plan { hosts: &hosts, binaries, mount: &mount, run: &run, slots: SLOTS, worker })?;
        hosts.visit(HOME, || clocks::run(&tools, binaries, &fleet.introduction(), &mount))
    }

    /// A torture that is survived by workers that look at nothing afresh tests nothing.
    fn must_bite(&self, ground: &Ground<'_>) -> anyhow::Result<Option<String>> {
        println!("==> {}, with blind workers", ground.name);
        let fleet = Fleet::start(&self.plan(ground, BLIND))?;
        let dir = ground.mount.join("blind");
        ground.hosts.visit(HOME, || Ok(std::fs::create_dir(&dir)?))?;
        // On a busy machine one seed may take so long that there is little left to be blind to.
        for seed in (ground.seeds.first().copied().unwrap_or(self.flags.seed)..).take(BITES) {
            let found = self.torture(ground, &fleet, &dir, &[seed])?;
            if !found.is_empty() {
                println!("  it bites, as it has to");
                return Ok(None);
            }
        }
        Ok(Some(format!("{}: blind workers survive the torture", ground.name)))
    }

    fn cephfs(&self) -> anyhow::Result<Vec<String>> {
        let run = self.scratch.join("cephfs");
        let hosts = Hosts::new(cephfs::HOSTS, |host| {
            fleet::prepare_host(&run, host)?;
            cephfs::prepare_host()
        })?;
        let start = Instant::now();
        let _ceph = Ceph::start(&hosts, &run.join("ceph"))?;
        println!("CephFS is up after {}", seconds(start.elapsed()));
        if self.flags.only == Some(Part::Looks) {
            looks::show(&hosts, Path::new(cephfs::MOUNT))?;
            return Ok(Vec::new());
        }
        let ground = Ground {
            name: "CephFS".to_owned(),
            hosts: &hosts,
            mount: Path::new(cephfs::MOUNT),
            run,
            seeds: self.seeds(),
            size: self.size(),
            blocks_looks: true,
            builds: true,
        };
        self.on(&ground)
    }

    fn gluster(&self) -> anyhow::Result<Vec<String>> {
        let run = self.scratch.join("gluster");
        let mount = run.join("shared");
        let hosts = Hosts::new(gluster::HOSTS, |host| fleet::prepare_host(&run, host))?;
        let _gluster = Gluster::start(&hosts, &run.join("gluster"), &mount)?;
        let name = "GlusterFS".to_owned();
        let (seeds, size) = (self.seeds(), self.size());
        self.on(&Ground { name, hosts: &hosts, mount: &mount, run, seeds, size, blocks_looks: false, builds: true })
    }

    /// A small project, and less of the torture: a machine needs half a second for a compile.
    fn nfs(&self) -> anyhow::Result<Vec<String>> {
        if self.flags.only == Some(Part::Isolation) {
            bail!("--only=isolation is not for nfs: its workers are on machines of their own");
        }
        let mut complaints = Vec::new();
        let this = std::env::current_exe().context("this program has no path")?;
        for version in NFS_VERSIONS {
            println!("==> NFS {version}");
            let run = self.scratch.join(format!("nfs-{version}"));
            std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
            let machines = nfs::Machines::start(&run)?;
            machines.mount(&run, version)?;
            machines.start_fleet(self.binaries, &run, self.worker_settings())?;
            let only = self.flags.only.and_then(|part| part.to_possible_value());
            let only = only.map_or_else(String::new, |part| format!("--only={}", part.get_name()));
            let script = format!(
                "cd {run}; export TMPDIR=/dev/shm; {this} test-filesystems --short --here={mount} --server-addr={server} \
                 --binaries={binaries} --seed={seed} --seeds={seeds} --project={project} {only}",
                run = run.display(),
                this = this.display(),
                mount = nfs::MOUNT,
                server = nfs::server_address(),
                binaries = self.binaries.display(),
                seed = self.flags.seed,
                seeds = self.flags.seeds,
                project = self.recipe.name,
            );
            let run = machines.run_shown(nfs::HOME, &script);
            let careless = || machines.show_careless_mount(self.binaries, version).context("the doctor");
            if let Err(error) = run.and_then(|()| careless()) {
                process::check_interrupted()?;
                complaints.push(format!("NFS {version}: {error:#}"));
            }
        }
        Ok(complaints)
    }

    fn worker_settings(&self) -> &'static str {
        if self.flags.without_coherence { BLIND } else { "" }
    }

    /// The project, then the torture, on one fleet.
    fn on(&self, ground: &Ground<'_>) -> anyhow::Result<Vec<String>> {
        println!("==> {}", ground.name);
        if self.flags.only == Some(Part::Isolation) {
            ground.hosts.visit(worker_host(0), || isolation::probe(self.binaries, ground.mount))?;
            return Ok(Vec::new());
        }
        let site = match builds(self.flags) && ground.builds {
            false => None,
            true => {
                let (place, logs) = (Place::Home(ground.hosts), ground.run.join("logs"));
                Some(Site::prepare(place, self.recipe, self.sources, self.binaries, ground.mount, &logs, JOBS)?)
            }
        };
        let mut fleet = Fleet::start(&self.plan(ground, self.worker_settings()))?;
        let mut complaints = Vec::new();
        if self.flags.only != Some(Part::Project) {
            complaints.extend(self.torture(ground, &fleet, ground.mount, &ground.seeds)?);
        }
        if let Some(site) = &site {
            complaints.extend(self.build(ground, &mut fleet, site)?);
        }
        Ok(complaints.into_iter().map(|complaint| format!("{}: {complaint}", ground.name)).collect())
    }

    fn build(&self, ground: &Ground<'_>, fleet: &mut Fleet, site: &Site<'_>) -> anyhow::Result<Vec<String>> {
        let introduction = fleet.introduction();
        let built = site.build(&introduction, |notes| {
            if self.flags.lose_host { lose_a_host(fleet, ground.hosts, notes) } else { Ok(()) }
        })?;
        let mut complaints = built.told(self.recipe);
        // Of few jobs a single one is more than a hundredth; one that is late because the machine is busy is not blocked.
        let is_one_late = built.waits.long() == 1 && built.waits.longest() < BLOCKED;
        let is_blocked = built.waits.long_share() > LONG_WAITS && !is_one_late;
        if ground.blocks_looks && !self.flags.lose_host && is_blocked {
            complaints.push(format!("looks are blocked: {}", built.waits));
        }
        Ok(complaints)
    }

    fn plan<'b>(&'b self, ground: &'b Ground<'_>, worker: &'b str) -> Plan<'b> {
        let (hosts, mount, run) = (ground.hosts, ground.mount, &ground.run);
        Plan { hosts, binaries: self.binaries, mount, run, slots: SLOTS, worker }
    }

    fn torture(&self, ground: &Ground<'_>, fleet: &Fleet, dir: &Path, seeds: &[u64]) -> anyhow::Result<Vec<String>> {
        // The same seed may be gone through twice, in two directories.
        let notes = ground.run.join("notes").join(dir.file_name().unwrap_or_default());
        let bench = |name: &str| -> anyhow::Result<Bench> {
            let notes = notes.join(name);
            std::fs::create_dir_all(&notes)?;
            Ok(Bench::new(self.binaries, fleet.introduction(), &notes))
        };
        let of_seed = |seed: u64| bench(&seed.to_string());
        let mut complaints = ground.hosts.visit(HOME, || torture_all(&of_seed, dir, seeds, ground.size))?;
        if !seeds.is_empty() {
            let bench = bench("vain")?;
            let score = vain::run(&bench, ground.hosts, &dir.join("vain"))?;
            println!("  looked for in vain before: {score}; the longest job {}", seconds(bench.longest()));
            complaints.extend((!score.is_clean()).then(|| format!("looked for in vain before: {score}")));
        }
        Ok(complaints)
    }
}

/// `--here`: the small project and the torture on a filesystem and a fleet that are there already.
pub(crate) fn here(dir: &Path, flags: &TestFilesystems) -> anyhow::Result<ExitCode> {
    let (Some(server), Some(binaries)) = (&flags.server_addr, &flags.binaries) else {
        bail!("--here needs --server-addr and --binaries");
    };
    let run = tempfile::tempdir().context("cannot make a directory for notes")?;
    let bench = |seed: u64| -> anyhow::Result<Bench> {
        let notes = run.path().join(seed.to_string());
        std::fs::create_dir_all(&notes)?;
        let introduction = Introduction { server: server.clone(), mount: dir.to_owned(), run: run.path().to_owned() };
        Ok(Bench::new(binaries, introduction, &notes))
    };
    let mut complaints = Vec::new();
    if flags.project.is_some() && builds(flags) {
        complaints.extend(build_here(dir, run.path(), flags, binaries, server)?);
    }
    if flags.only != Some(Part::Project) {
        let seeds: Vec<u64> = (flags.seed..flags.seed + flags.seeds).collect();
        let size = if flags.short { Size::SHORT } else { Size::FULL };
        complaints.extend(torture_all(&bench, dir, &seeds, size)?);
    }
    complaints.iter().for_each(|complaint| println!("FAILED: {complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build_here(
    dir: &Path,
    run: &Path,
    flags: &TestFilesystems,
    binaries: &Path,
    server: &str,
) -> anyhow::Result<Vec<String>> {
    let recipe = recipe(flags.project.as_deref().unwrap_or(SMALL))?;
    if !recipe.source.files.is_empty() {
        bail!("--here builds {SMALL} alone: there may be no network for the sources of {}", recipe.title);
    }
    let site = Site::prepare(Place::Here, &recipe, &[], binaries, dir, &run.join("logs"), JOBS)?;
    let introduction = Introduction { server: server.to_owned(), mount: dir.to_owned(), run: run.to_owned() };
    Ok(site.build(&introduction, |_| Ok(()))?.told(&recipe))
}

/// Every seed, in directories of `mount`. To be called where the build is.
fn torture_all(
    bench: &dyn Fn(u64) -> anyhow::Result<Bench>,
    mount: &Path,
    seeds: &[u64],
    size: Size,
) -> anyhow::Result<Vec<String>> {
    let (mut total, mut longest) = (Score::default(), Duration::ZERO);
    for &seed in seeds {
        let bench = bench(seed)?;
        let start = Instant::now();
        let score = torture::run(&bench, &mount.join(format!("torture-{seed}")), seed, size)?;
        let took = seconds(start.elapsed());
        println!("  seed {seed}: {score}; {took}, the longest job {}", seconds(bench.longest()));
        total.add(score);
        longest = longest.max(bench.longest());
    }
    println!("  torture, {} seeds: {total}; the longest job {}", seeds.len(), seconds(longest));
    let sound = seeds.is_empty() || (total.is_clean() && (size.chains == 0 || total.handovers > 0));
    Ok(if sound { Vec::new() } else { vec![format!("torture: {total}")] })
}

/// Loses the host of a worker when the build is well under way.
fn lose_a_host(fleet: &mut Fleet, hosts: &Hosts, notes: &Path) -> anyhow::Result<()> {
    let ran = || std::fs::read_to_string(notes).map_or(0, |text| text.matches("ran on").count());
    while ran() < LOSE_AFTER {
        process::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    fleet.lose(hosts, WORKERS - 1)?;
    println!("  the host of a worker is gone after {} jobs", ran());
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
