//! A third-party project, built on a shared filesystem directly, then through the launchers at the same path.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::fleet::{HOME, Introduction};
use super::hosts::Hosts;
use super::waits::Waits;
use crate::project::ledger::Ledger;
use crate::project::speech::Words;
use crate::project::tree;
use crate::project::{How, Recipe, Wrapped};

/// So many differences are shown; all are counted.
const SHOWN: usize = 10;

/// Where builds are done.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// On [`HOME`] of these.
    Home(&'a Hosts),
    /// On the machine that we are on.
    Here,
}

impl Place<'_> {
    fn visit<T: Send>(self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        match self {
            Self::Home(hosts) => hosts.visit(HOME, work),
            Self::Here => work(),
        }
    }
}

/// A project on the filesystem, built directly and ready to be built again.
pub(super) struct Site<'a> {
    place: Place<'a>,
    recipe: &'a Recipe,
    /// The project's tree, on the filesystem.
    tree: PathBuf,
    /// What the direct build left.
    direct: PathBuf,
    logs: PathBuf,
    wrapped: Wrapped,
    jobs: usize,
}

/// What a build showed.
pub(super) struct Built {
    took: Duration,
    away: usize,
    here: usize,
    pub(super) waits: Waits,
    /// What speaks against success.
    complaints: Vec<String>,
}

impl Built {
    /// Says how it went; returns what speaks against success.
    pub(super) fn told(&self, recipe: &Recipe) -> Vec<String> {
        println!(
            "  {} built through the launchers in {:.1} s: {} jobs on workers, {} here; {}",
            recipe.title,
            self.took.as_secs_f64(),
            self.away,
            self.here,
            self.waits
        );
        let mut complaints = self.complaints.clone();
        if self.away == 0 {
            complaints.push("no worker ran anything".to_owned());
        }
        if self.waits.count() == 0 {
            complaints.push(self.waits.to_string());
        }
        complaints
    }
}

impl<'a> Site<'a> {
    /// Builds directly, and configures a second tree with the launchers.
    pub(super) fn prepare(
        place: Place<'a>,
        recipe: &'a Recipe,
        sources: &[PathBuf],
        binaries: &Path,
        mount: &Path,
        logs: &Path,
        jobs: usize,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let (tree, direct, masquerade) = (mount.join("project"), mount.join("direct"), mount.join("bin"));
        let wrapped = place.visit(|| {
            std::fs::create_dir_all(&masquerade).with_context(|| format!("cannot make {}", masquerade.display()))?;
            Wrapped::new(binaries, &masquerade, logs)
        })?;
        let site = Self { place, recipe, tree, direct, logs: logs.to_owned(), wrapped, jobs };
        place.visit(|| site.build_directly(sources))?;
        Ok(site)
    }

    fn build_directly(&self, sources: &[PathBuf]) -> anyhow::Result<()> {
        let how = How { tree: &self.tree, logs: &self.logs, jobs: self.jobs, wrapped: None };
        self.recipe.unpack(sources, &self.tree)?;
        self.recipe.configure(&how, |_| {})?;
        self.recipe.build(&how, |_| {})?;
        std::fs::rename(&self.tree, &self.direct)?;
        self.recipe.unpack(sources, &self.tree)?;
        // What a developer changes is changed right before the build: nothing here waits for anything.
        self.recipe.configure(&How { wrapped: Some(&self.wrapped), ..how }, |command| {
            crate::cluster::scrub(command);
            command.env("DISTCCD_DISABLE", "1");
        })?;
        let _ = Ledger::take(&self.wrapped.notes)?;
        Ok(())
    }

    /// Builds through the launchers and compares. `meanwhile` is done while the build runs.
    pub(super) fn build(
        &self,
        introduction: &Introduction,
        meanwhile: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Built> {
        let how = How { tree: &self.tree, logs: &self.logs, jobs: self.jobs, wrapped: Some(&self.wrapped) };
        let introduce = |command: &mut Command| introduction.give(command);
        let with_notes = |command: &mut Command| {
            introduce(command);
            command.env("DISTCCD_LOG_FILE", &self.wrapped.notes);
        };
        let start = Instant::now();
        let result = std::thread::scope(|scope| {
            let builder = scope.spawn(|| self.place.visit(|| self.recipe.build(&how, with_notes)));
            let done = meanwhile(&self.wrapped.notes);
            match builder.join() {
                Ok(built) => built.and(done),
                Err(_) => Err(anyhow::anyhow!("the building thread panicked")),
            }
        });
        let took = start.elapsed();
        result?;
        let waits = Waits::read(&self.wrapped.notes)?;
        let ledger =
            Ledger::take(&self.wrapped.notes)?.context("the launchers left no notes: did the build use them?")?;
        println!("  {}", ledger.summary());
        let mut complaints = self.place.visit(|| self.compare())?;
        complaints.extend(self.build_again(&how, with_notes)?);
        Ok(Built { took, away: ledger.away(), here: ledger.here(), waits, complaints })
    }

    fn compare(&self) -> anyhow::Result<Vec<String>> {
        let mut comparison = tree::compare(&self.direct, &self.tree, &Words(self.wrapped.words()))?;
        for (name, reason) in self.recipe.unrepeatable {
            if comparison.differences.remove(Path::new(name)).is_some() {
                println!("  not compared: {name} ({reason})");
            }
        }
        println!(
            "  {} files compared, {} of them objects, archives and executables: {} differ",
            comparison.files,
            comparison.outputs,
            comparison.differences.len()
        );
        let mut complaints: Vec<String> =
            comparison.differences.iter().map(|(name, how)| format!("{} {how}", name.display())).collect();
        if comparison.outputs == 0 {
            complaints.push("the build made nothing".to_owned());
        }
        let more = complaints.len().saturating_sub(SHOWN);
        complaints.truncate(SHOWN);
        if more > 0 {
            complaints.push(format!("and {more} more differ"));
        }
        Ok(complaints)
    }

    /// A build tool that finds anything to do in an immediate second run has seen other times than we left.
    fn build_again(&self, how: &How<'_>, adjust: impl Fn(&mut Command) + Sync) -> anyhow::Result<Option<String>> {
        let how = How { logs: &self.logs.join("again"), ..*how };
        std::fs::create_dir_all(how.logs)?;
        self.place.visit(|| self.recipe.build(&how, &adjust))?;
        let said = std::fs::read_to_string(how.log("build"))?;
        let did = Ledger::take(&self.wrapped.notes)?;
        Ok(match (said.contains("no work to do"), did) {
            (true, None) => None,
            _ => Some(format!(
                "the second run was not idle:\n{}",
                said.lines().take(SHOWN).collect::<Vec<_>>().join("\n")
            )),
        })
    }
}
