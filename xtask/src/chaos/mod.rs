//! `chaos`: a real build on several hosts while daemons are killed, stopped and cut off at random times, over and over,
//! each one compared with the direct build at the same path. Nothing of it may be seen in what the build leaves.

mod faults;
mod fleet;
pub(crate) mod network;
mod releases;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cluster;
use crate::fetch;
use crate::flags::{Chaos, Generator, Project};
use crate::prerequisites;
use crate::process;
use crate::project::ledger::Ledger;
use crate::project::speech::Words;
use crate::project::tree;
use crate::project::{How, Recipe, Wrapped, catalogue};
use crate::workspace::Workspace;
use faults::Storm;
pub(crate) use fleet::keep_mounts_private;
use fleet::{CLIENT, Fleet, Plan};
use releases::Releases;

/// How often faults are looked after.
const TICK: Duration = Duration::from_millis(20);
/// A build that takes longer hangs.
const HANGS: Duration = Duration::from_secs(600);
/// What names of our temporary files have in them.
const OURS: &str = ".distccd";
/// So many differences are shown of each build; all are counted.
const SHOWN: usize = 10;

/// What all seeds showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    faults: usize,
    builds: usize,
    failed: usize,
    differing: usize,
    leftovers: usize,
}

impl Totals {
    fn are_clean(&self) -> bool {
        self.faults > 0 && self.builds > 0 && self.failed + self.differing + self.leftovers == 0
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { faults, builds, failed, differing, leftovers } = self;
        write!(f, "faults {faults}, builds {builds}, failed {failed}, differing {differing}, leftovers {leftovers}")
    }
}

/// Whether hosts can be made here.
pub(crate) fn is_possible() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Runs every seed that is asked for; success when no build failed or differs and nothing is left.
pub(crate) fn run(workspace: &Workspace, flags: &Chaos) -> anyhow::Result<ExitCode> {
    if !is_possible() {
        bail!("hosts are network namespaces here: run this as root");
    }
    prerequisites::ensure(prerequisites::NETWORK)?;
    keep_mounts_private()?;
    let recipe = match flags.project {
        Project::Taglib => catalogue::taglib(Generator::Ninja),
        Project::Re2 => catalogue::re2(Generator::Ninja),
        Project::Lua => catalogue::lua(),
    };
    let releases = Releases::of(workspace, flags)?;
    let scratch = workspace.scratch("chaos")?;
    let totals = campaign(workspace, &releases, scratch.path(), &recipe, flags);
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    } else if totals.is_ok() {
        let shown = scratch.path().display().to_string();
        scratch.close().with_context(|| format!("cannot remove {shown}"))?;
    }
    let totals = totals?;
    println!("{totals}");
    Ok(if totals.are_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where it happens.
struct Site<'a> {
    mount: PathBuf,
    /// The project's tree on the mount.
    tree: PathBuf,
    /// What the direct build left.
    direct: PathBuf,
    /// The tree configured with the launchers, and not yet built.
    configured: PathBuf,
    logs: PathBuf,
    releases: &'a Releases,
    /// What the build calls: of one release or of the other.
    launchers: PathBuf,
    wrapped: Wrapped,
}

fn campaign(
    workspace: &Workspace,
    releases: &Releases,
    scratch: &Path,
    recipe: &Recipe,
    flags: &Chaos,
) -> anyhow::Result<Totals> {
    let site = prepare(workspace, releases, scratch, recipe)?;
    let mut totals = Totals::default();
    for seed in flags.seed..flags.seed + flags.seeds {
        println!("==> seed {seed}: {} workers with {} slots, -j{}", flags.workers, flags.slots, flags.jobs);
        let run = scratch.join(format!("seed-{seed}"));
        std::fs::create_dir_all(run.join("state"))?;
        let plan = Plan { releases, mount: &site.mount, run: &run, workers: flags.workers, slots: flags.slots };
        rage(&site, plan, recipe, flags, seed, &mut totals)?;
        println!("after seed {seed}: {totals}\n");
    }
    Ok(totals)
}

/// The direct build, and a tree that is ready to be built through the launchers.
fn prepare<'a>(
    workspace: &Workspace,
    releases: &'a Releases,
    scratch: &Path,
    recipe: &Recipe,
) -> anyhow::Result<Site<'a>> {
    recipe.install_needs()?;
    let sources = fetch::debian_source(workspace, &recipe.source)?;
    let mount = scratch.join("shared");
    let (tree, logs, masquerade) = (mount.join("project"), scratch.join("logs"), mount.join("bin"));
    let launchers = scratch.join("launchers");
    for dir in [&tree, &logs, &masquerade, &launchers] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    releases.point(&launchers, 0)?;
    let wrapped = Wrapped::new(&launchers, &masquerade, &logs)?;
    let (direct, configured) = (scratch.join("direct"), scratch.join("configured"));
    let site = Site { direct, configured, mount, tree, logs, releases, launchers, wrapped };

    recipe.unpack(&sources, &site.tree)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let how = How { tree: &site.tree, logs: &site.logs, jobs, wrapped: None };
    recipe.configure(&how, |_| {})?;
    recipe.build(&how, |_| {})?;
    std::fs::rename(&site.tree, &site.direct)?;

    recipe.unpack(&sources, &site.tree)?;
    let how = How { wrapped: Some(&site.wrapped), ..how };
    recipe.configure(&how, |command| {
        cluster::scrub(command);
        command.env("DISTCCD_DISABLE", "1");
    })?;
    std::fs::rename(&site.tree, &site.configured)?;
    Ok(site)
}

/// Builds for as long as asked, in a storm.
fn rage(
    site: &Site<'_>,
    plan: Plan<'_>,
    recipe: &Recipe,
    flags: &Chaos,
    seed: u64,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60 * flags.minutes);
    let builds = Builds { site, recipe, jobs: flags.jobs, run: plan.run.to_owned(), building: AtomicBool::new(false) };
    let mut fleet = Fleet::start(plan)?;
    let mut storm = Storm::new(seed, flags.workers);
    let place = fleet.network.placer(CLIENT)?;
    let found = std::thread::scope(|scope| {
        let builder = scope.spawn(|| builds.until(deadline, &place));
        let weathered = weather(&mut fleet, &mut storm, &builds, deadline, || builder.is_finished());
        let found = builder.join().map_err(|_| anyhow::anyhow!("the building thread panicked"))?;
        weathered.and(found)
    })?;
    totals.faults += storm.faults;
    totals.builds += found.len();
    for build in found {
        totals.failed += usize::from(build.failure.is_some());
        totals.differing += build.differences;
        totals.leftovers += build.leftovers;
    }
    let left = fleet.stop()?;
    left.iter().for_each(|what| println!("  LEFT: {what}"));
    totals.leftovers += left.len();
    Ok(())
}

/// Lets faults happen while builds go on.
fn weather(
    fleet: &mut Fleet<'_>,
    storm: &mut Storm,
    builds: &Builds<'_>,
    deadline: Instant,
    is_finished: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut killed_hung = false;
    while !is_finished() {
        let raging = Instant::now() < deadline;
        if raging {
            storm.tick(fleet, builds.building.load(Ordering::Relaxed))?;
        } else {
            storm.calm(fleet)?;
        }
        if Instant::now() > deadline + HANGS && !killed_hung {
            println!("  HUNG: the build does not end; on its host run");
            for process in fleet.network.processes(CLIENT)? {
                println!("    {}", process.shown);
            }
            fleet.network.signal_all(CLIENT, libc::SIGKILL)?;
            killed_hung = true;
        }
        std::thread::sleep(TICK);
    }
    while !storm.is_over() {
        storm.calm(fleet)?;
        process::check_interrupted()?;
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// What became of one build.
struct Found {
    failure: Option<String>,
    differences: usize,
    leftovers: usize,
}

/// The builds of one seed, one after the other.
struct Builds<'a> {
    site: &'a Site<'a>,
    recipe: &'a Recipe,
    jobs: usize,
    run: PathBuf,
    /// Whether one is under way just now.
    building: AtomicBool,
}

impl Builds<'_> {
    fn until(&self, deadline: Instant, place: &network::Placer) -> anyhow::Result<Vec<Found>> {
        let mut found = Vec::new();
        while found.is_empty() || Instant::now() < deadline {
            process::check_interrupted()?;
            found.push(self.one(found.len(), place)?);
        }
        Ok(found)
    }

    fn one(&self, number: usize, place: &network::Placer) -> anyhow::Result<Found> {
        let Site { tree, configured, direct, logs, releases, launchers, wrapped, mount } = self.site;
        releases.point(launchers, number)?;
        let mut copy = Command::new("cp");
        process::run(copy.arg("--archive").arg(configured).arg(tree))?;
        let how = How { tree, logs, jobs: self.jobs, wrapped: Some(wrapped) };
        let start = Instant::now();
        self.building.store(true, Ordering::Relaxed);
        let result = self.recipe.build(&how, |command| {
            cluster::scrub(command);
            command.env("DISTCCD_LOG_FILE", &wrapped.notes);
            command.env("DISTCCD_SERVER_ADDR", Fleet::server_address()).env("DISTCCD_FS_MOUNT", mount);
            command.env("XDG_CONFIG_HOME", &self.run).env("XDG_RUNTIME_DIR", &self.run);
            place.place(command);
        });
        self.building.store(false, Ordering::Relaxed);
        process::check_interrupted()?;
        let ledger = Ledger::take(&wrapped.notes)?.map_or("no launcher was called".to_owned(), |all| all.summary());
        let launchers = releases.word(number).map_or(String::new(), |release| format!(" by launchers {release}"));
        println!("  built in {:.1} s{launchers}: {ledger}", start.elapsed().as_secs_f64());
        let failure = result.err().map(|error| format!("{error:#}"));
        let mut found = Found { failure, differences: 0, leftovers: 0 };
        match &found.failure {
            Some(failure) => println!("  FAILED: {failure}"),
            None => {
                let comparison = tree::compare(direct, tree, &Words(wrapped.words()))?;
                for name in comparison.differences.keys() {
                    let left = name.to_string_lossy().contains(OURS);
                    found.leftovers += usize::from(left);
                    found.differences += usize::from(!left);
                }
                for (name, how) in comparison.differences.iter().take(SHOWN) {
                    println!("  DIFFERS: {} {how}", name.display());
                }
            }
        }
        self.put_away(&found)?;
        Ok(found)
    }

    /// What went wrong is kept beside the logs, the rest makes room for the next one.
    fn put_away(&self, found: &Found) -> anyhow::Result<()> {
        let tree = &self.site.tree;
        if found.failure.is_none() && found.differences + found.leftovers == 0 {
            return std::fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()));
        }
        let kept = tempfile::Builder::new().prefix("wrong-").tempdir_in(&self.run)?.keep();
        std::fs::rename(tree, kept.join("project"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_without_faults_or_builds_shows_nothing() {
        let clean = Totals { faults: 9, builds: 2, ..Totals::default() };
        assert!(clean.are_clean());
        assert!(!Totals { faults: 0, ..clean }.are_clean());
        assert!(!Totals { builds: 0, ..Totals { faults: 9, ..Totals::default() } }.are_clean());
        assert!(!Totals { leftovers: 1, faults: 9, builds: 2, ..Totals::default() }.are_clean());
        let totals = Totals { faults: 9, builds: 2, ..Totals::default() };
        assert_eq!(totals.to_string(), "faults 9, builds 2, failed 0, differing 0, leftovers 0");
    }
}
