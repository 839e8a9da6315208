//! `demo`: a real third-party project, built on several workers, then directly at the very same path, and compared
//! byte for byte.

mod compare;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::{Cluster, Plan};
use crate::fetch;
use crate::flags::{Demo, Project};
use crate::project::ledger::{Kind, Ledger};
use crate::project::outputs::{self, Outputs};
use crate::project::{How, Recipe, Wrapped, catalogue};
use crate::workspace::Workspace;
use compare::Comparison;

/// Builds twice and says what became of it; success when everything ran on workers and nothing differs.
pub(crate) fn run(workspace: &Workspace, flags: &Demo) -> anyhow::Result<ExitCode> {
    let recipe = match flags.project {
        Project::Taglib => catalogue::taglib(flags.generator),
        Project::Re2 => catalogue::re2(flags.generator),
        Project::Lua => catalogue::lua(),
    };
    recipe.install_needs()?;
    let sources = fetch::debian_source(workspace, &recipe.source)?;
    let binaries = workspace.release_binaries()?;

    let scratch = workspace.scratch("demo")?;
    let site = Site::lay_out(scratch.path())?;
    recipe.unpack(&sources, &site.tree)?;
    println!("{}, {}; {} workers with {} slots each", recipe.title, recipe.system.name(), flags.workers, flags.slots);
    let verdict = build_twice(&site, &recipe, &sources, &binaries, flags);
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    }
    Ok(if verdict? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a demo happens.
struct Site {
    /// The shared mount.
    mount: PathBuf,
    /// The project's tree on it.
    tree: PathBuf,
    /// Where the first build is moved to.
    aside: PathBuf,
    logs: PathBuf,
    /// Links named like archivers.
    masquerade: PathBuf,
}

impl Site {
    fn lay_out(scratch: &Path) -> anyhow::Result<Self> {
        let mount = scratch.join("shared");
        let site = Self {
            tree: mount.join("project"),
            aside: scratch.join("distributed"),
            logs: scratch.join("logs"),
            masquerade: mount.join("bin"),
            mount,
        };
        for dir in [&site.tree, &site.logs, &site.masquerade] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(site)
    }
}

fn build_twice(
    site: &Site,
    recipe: &Recipe,
    sources: &[PathBuf],
    binaries: &Path,
    flags: &Demo,
) -> anyhow::Result<bool> {
    let built = build_on_workers(site, recipe, binaries, flags)?;

    // A build may write anywhere in its tree, so each has a tree of its own, at the very same path.
    std::fs::rename(&site.tree, &site.aside)?;
    recipe.unpack(sources, &site.tree)?;
    let start = Instant::now();
    let how = How { tree: &site.tree, logs: &site.logs, jobs: cpus(), wrapped: None };
    recipe.configure(&how, |_| {})?;
    recipe.build(&how, |_| {})?;
    println!("\nbuilt through the launchers in {}, directly in {}", seconds(built.took), seconds(start.elapsed()));

    let comparison = compare::trees(&site.aside, &site.tree, &built.probes)?;
    println!("{comparison}");
    let complaints = complaints(&built.ledger, &comparison, flags);
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    Ok(complaints.is_empty())
}

/// The build through the launchers.
struct Built {
    ledger: Ledger,
    /// Configuring and building.
    took: Duration,
    /// What configuring left: it is there to learn about the compiler, and no output of the build.
    probes: Outputs,
}

fn build_on_workers(site: &Site, recipe: &Recipe, binaries: &Path, flags: &Demo) -> anyhow::Result<Built> {
    let plan = Plan::new(binaries, &site.mount, &site.logs, flags.workers, flags.slots);
    let mut cluster = Cluster::start(&plan)?;
    let wrapped = Wrapped::new(binaries, &site.masquerade, &site.logs)?;
    let jobs = flags.workers * flags.slots;
    let how = How { tree: &site.tree, logs: &site.logs, jobs, wrapped: Some(&wrapped) };
    let introduce = |command: &mut std::process::Command| cluster.introduce(command);

    let start = Instant::now();
    recipe.configure(&how, introduce)?;
    let probing = Ledger::take(&wrapped.notes)?;
    println!("while configuring: {}", probing.map_or("no launcher was called".to_owned(), |ledger| ledger.summary()));
    let probes = outputs::below(&site.tree)?;
    recipe.build(&how, introduce)?;
    let took = start.elapsed();
    cluster.check_alive()?;

    let ledger = Ledger::take(&wrapped.notes)?.context("the launchers left no notes: did the build use them?")?;
    println!("\n{}", ledger.table(cluster.names()));
    Ok(Built { ledger, took, probes })
}

/// All that speaks against success.
fn complaints(ledger: &Ledger, comparison: &Comparison, flags: &Demo) -> Vec<String> {
    let mut complaints = Vec::new();
    if ledger.here() > 0 {
        complaints.push(format!("{} jobs did not run on a worker", ledger.here()));
    }
    for (made, ran, noun) in [
        (comparison.objects, ledger.ran(Kind::Compile), "objects"),
        (comparison.archives, ledger.ran(Kind::Archive), "archives"),
        (comparison.programs, ledger.ran(Kind::Link), "executables"),
    ] {
        if made == 0 {
            complaints.push(format!("the build made no {noun}"));
        } else if ran < made {
            complaints.push(format!("{made} {noun}, but only {ran} such jobs on workers"));
        }
    }
    if ledger.workers() < flags.workers {
        complaints.push(format!("only {} of {} workers ran anything", ledger.workers(), flags.workers));
    }
    complaints.extend(comparison.differences.iter().cloned());
    complaints
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
