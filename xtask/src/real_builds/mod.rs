//! `real-builds`: third-party projects of every build system, built directly, then through the launchers at the very
//! same path, configuring included; every file of the tree and every line of the logs is compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cluster::{Cluster, Plan};
use crate::fetch;
use crate::flags::RealBuilds;
use crate::process;
use crate::project::ledger::Ledger;
use crate::project::speech::{Lines, Words};
use crate::project::tree::{self, Comparison};
use crate::project::{How, Recipe, Wrapped, catalogue};
use crate::workspace::Workspace;

const WORKERS: usize = 3;
const SLOTS: usize = 2;

/// Jobs at a time, in either build: logs may tell it.
const JOBS: usize = WORKERS * SLOTS;

/// So many differences are shown of each sort; all are counted.
const SHOWN: usize = 20;

/// Builds every project that is asked for; success when nothing differs.
pub(crate) fn run(workspace: &Workspace, flags: &RealBuilds) -> anyhow::Result<ExitCode> {
    let recipes = wanted(&flags.project)?;
    if flags.list {
        for recipe in &recipes {
            println!("{:<10} {}: {}; {}", recipe.name, recipe.title, recipe.system.name(), recipe.front.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let binaries = workspace.release_binaries()?;
    let scratch = workspace.scratch("real-builds")?;
    let totals = build_all(workspace, &binaries, scratch.path(), &recipes);
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    }
    let totals = totals?;
    println!("{totals}");
    Ok(if totals.are_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wanted(names: &[String]) -> anyhow::Result<Vec<Recipe>> {
    let mut recipes = catalogue::all();
    if let Some(unknown) = names.iter().find(|name| recipes.iter().all(|recipe| recipe.name != name.as_str())) {
        bail!("no project is called {unknown}; --list names them");
    }
    recipes.retain(|recipe| names.is_empty() || names.iter().any(|name| name == recipe.name));
    Ok(recipes)
}

fn build_all(workspace: &Workspace, binaries: &Path, scratch: &Path, recipes: &[Recipe]) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    for recipe in recipes {
        println!("==> {}: {}, {}; {}", recipe.name, recipe.title, recipe.system.name(), recipe.front.name());
        let site = Site::lay_out(&scratch.join(recipe.name))?;
        // A project that cannot be built does not hide the next ones.
        match build_twice(workspace, binaries, &site, recipe) {
            Ok(found) => {
                println!("{found}\n");
                totals.add(&found);
            }
            Err(error) => {
                process::check_interrupted()?;
                println!("FAILED: {error:#}\n");
                totals.failed += 1;
            }
        }
    }
    Ok(totals)
}

/// Where a project is built.
struct Site {
    /// The shared mount.
    mount: PathBuf,
    /// The project's tree on it.
    tree: PathBuf,
    /// Where the direct build is moved to.
    aside: PathBuf,
    /// And a second one, where we know that the two will differ.
    again: PathBuf,
    logs: PathBuf,
    /// Links named like the tools.
    masquerade: PathBuf,
}

impl Site {
    fn lay_out(root: &Path) -> anyhow::Result<Self> {
        let mount = root.join("shared");
        let site = Self {
            tree: mount.join("project"),
            aside: root.join("direct"),
            again: root.join("direct-again"),
            logs: root.join("logs"),
            masquerade: mount.join("bin"),
            mount,
        };
        for dir in [&site.tree, &site.logs, &site.masquerade] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(site)
    }
}

/// What one project showed.
struct Found {
    configuring: Option<Ledger>,
    building: Ledger,
    /// Configuring and building: directly, and through the launchers.
    took: [Duration; 2],
    /// CPU time of the direct run: what it costs on whatever machine, busy or not.
    cpu: Duration,
    comparison: Comparison,
    lines: usize,
    warnings: usize,
    /// Lines of the logs that were lost or added.
    changes: Vec<String>,
}

fn build_twice(workspace: &Workspace, binaries: &Path, site: &Site, recipe: &Recipe) -> anyhow::Result<Found> {
    recipe.install_needs()?;
    let sources = fetch::debian_source(workspace, &recipe.source)?;

    recipe.unpack(&sources, &site.tree)?;
    let how = How { tree: &site.tree, logs: &site.logs, jobs: JOBS, wrapped: None };
    let (start, before) = (Instant::now(), process::cpu_of_children());
    recipe.configure(&how, |_| {})?;
    recipe.build(&how, |_| {})?;
    let (directly, cpu) = (start.elapsed(), process::cpu_of_children() - before);
    let direct = logs(&how)?;

    // A build may write anywhere in its tree, so each has a tree of its own, at the very same path.
    std::fs::rename(&site.tree, &site.aside)?;
    recipe.unpack(&sources, &site.tree)?;
    if !recipe.unrepeatable.is_empty() {
        recipe.configure(&how, |_| {})?;
        recipe.build(&how, |_| {})?;
        std::fs::rename(&site.tree, &site.again)?;
        recipe.unpack(&sources, &site.tree)?;
    }
    let plan = Plan::new(binaries, &site.mount, &site.logs, WORKERS, SLOTS);
    let mut cluster = Cluster::start(&plan)?;
    let wrapped = Wrapped::new(binaries, &site.masquerade, &site.logs)?;
    let how = How { wrapped: Some(&wrapped), ..how };
    let start = Instant::now();
    recipe.configure(&how, |command| cluster.introduce(command))?;
    let configuring = Ledger::take(&wrapped.notes)?;
    recipe.build(&how, |command| cluster.introduce(command))?;
    let distributed = start.elapsed();
    cluster.check_alive()?;
    let building = Ledger::take(&wrapped.notes)?.context("the launchers left no notes: did the build use them?")?;

    let words = Words(wrapped.words());
    let mut comparison = tree::compare(&site.aside, &site.tree, &words)?;
    if !recipe.unrepeatable.is_empty() {
        comparison.excuse(recipe.unrepeatable, &tree::compare(&site.aside, &site.again, &words)?);
    }
    let (direct, ours) = (Lines::of(&direct, &words), Lines::of(&logs(&how)?, &words));
    Ok(Found {
        configuring,
        building,
        took: [directly, distributed],
        cpu,
        comparison,
        lines: direct.count(),
        warnings: direct.with(b"arning:"),
        changes: Lines::changes(&direct, &ours),
    })
}

/// What configuring and building said.
fn logs(how: &How<'_>) -> anyhow::Result<Vec<u8>> {
    let mut said = Vec::new();
    for log in ["configure", "build"].map(|step| how.log(step)) {
        match std::fs::read(&log) {
            Ok(bytes) => said.extend(bytes),
            // Not every project is configured.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", log.display())),
        }
    }
    Ok(said)
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [directly, distributed, cpu] = [self.took[0], self.took[1], self.cpu].map(|took| took.as_secs_f64());
        writeln!(f, "directly in {directly:.1} s ({cpu:.1} s of CPU), through the launchers in {distributed:.1} s")?;
        match &self.configuring {
            Some(ledger) => writeln!(f, "configuring: {}", ledger.summary())?,
            None => writeln!(f, "configuring: no launcher was called")?,
        }
        writeln!(f, "building: {}", self.building.summary())?;
        let Comparison { files, outputs, worded, not_compared, differences } = &self.comparison;
        writeln!(
            f,
            "compared: {files} files, {outputs} of them objects, archives and executables; {worded} texts are equal but \
             for the launchers' words; {} differ",
            differences.len()
        )?;
        for (name, reason) in not_compared {
            writeln!(f, "  not compared: {name} ({reason})")?;
        }
        for (name, how) in differences.iter().take(SHOWN) {
            writeln!(f, "  DIFFERS: {} {how}", name.display())?;
        }
        write!(f, "log: {} lines, {} warnings; {} lost or added", self.lines, self.warnings, self.changes.len())?;
        for change in self.changes.iter().take(SHOWN) {
            write!(f, "\n  {change}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Totals {
    projects: usize,
    failed: usize,
    objects: usize,
    differ: usize,
    changes: usize,
    away: usize,
    here: usize,
}

impl Totals {
    fn add(&mut self, found: &Found) {
        self.projects += 1;
        self.objects += found.comparison.outputs;
        self.differ += found.comparison.differences.len();
        self.changes += found.changes.len();
        self.away += found.building.away();
        self.here += found.building.here();
    }

    fn are_clean(&self) -> bool {
        self.projects > 0 && self.objects > 0 && self.failed + self.differ + self.changes == 0
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { projects, failed, objects, differ, changes, away, here } = self;
        writeln!(
            f,
            "while building, {away} jobs ran on workers and {here} here; {failed} projects could not be built"
        )?;
        write!(f, "{projects} projects, {objects} objects compared, {differ} differ, {changes} log lines lost or added")
    }
}
