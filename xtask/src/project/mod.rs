//! Third-party projects, and how each is built: as any user of it would, with or without the launchers.

pub(crate) mod catalogue;
mod front;
pub(crate) mod ledger;
pub(crate) mod outputs;
mod small;
pub(crate) mod speech;
mod system;
pub(crate) mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use front::Front;
pub(crate) use front::Wrapped;
pub(crate) use system::System;

use crate::cluster;
use crate::fetch::{self, SourcePackage};
use crate::flags::Generator;
use crate::prerequisites::{self, Need};
use crate::process;

/// A project and how to build it.
pub(crate) struct Recipe {
    /// What it is called on our command line.
    pub(crate) name: &'static str,
    /// What it is called by its makers, with the version.
    pub(crate) title: &'static str,
    pub(crate) source: SourcePackage,
    pub(crate) system: System,
    /// How the launchers are put in front of its commands.
    pub(crate) front: Front,
    /// What is done to the sources before anything else.
    pub(crate) prepare: fn(&Path) -> anyhow::Result<()>,
    /// Needs beyond those of its build system.
    pub(crate) needs: &'static [Need],
    /// Files that no two direct builds make alike, by their path from the tree, with the reason.
    pub(crate) unrepeatable: &'static [(&'static str, &'static str)],
}

/// One build.
pub(crate) struct How<'a> {
    pub(crate) tree: &'a Path,
    /// Where its own logs go.
    pub(crate) logs: &'a Path,
    /// Jobs at a time.
    pub(crate) jobs: usize,
    /// The launchers, unless it is a direct build.
    pub(crate) wrapped: Option<&'a Wrapped>,
}

impl Recipe {
    /// A project that needs nothing special.
    pub(crate) fn new(name: &'static str, title: &'static str, source: SourcePackage, system: System) -> Self {
        Self {
            name,
            title,
            source,
            system,
            front: Front::Launchers,
            prepare: |_| Ok(()),
            needs: &[],
            unrepeatable: &[],
        }
    }

    /// Installs what building it needs.
    pub(crate) fn install_needs(&self) -> anyhow::Result<()> {
        prerequisites::ensure(self.system.needs())?;
        prerequisites::ensure(self.needs)
    }

    /// Whether it is built by Ninja, which says so when there is nothing to do.
    pub(crate) fn is_idle_twice(&self) -> bool {
        matches!(self.system, System::CMake { generator: Generator::Ninja, .. } | System::Meson { .. })
    }

    /// Lays the sources out in `tree`.
    pub(crate) fn unpack(&self, sources: &[PathBuf], tree: &Path) -> anyhow::Result<()> {
        sources.iter().try_for_each(|tarball| fetch::unpack(tarball, tree))?;
        (self.prepare)(tree).with_context(|| format!("cannot prepare {}", self.title))
    }

    /// Configures; `adjust` has the last word on each command.
    pub(crate) fn configure(&self, how: &How<'_>, adjust: impl Fn(&mut Command)) -> anyhow::Result<()> {
        match self.system.configure(how.tree) {
            Some(command) => self.run(command, how, "configure", adjust),
            None => Ok(()),
        }
    }

    /// Builds; `adjust` has the last word on each command.
    pub(crate) fn build(&self, how: &How<'_>, adjust: impl Fn(&mut Command)) -> anyhow::Result<()> {
        self.run(self.system.build(how.tree, how.jobs), how, "build", adjust)
    }

    fn run(
        &self,
        mut command: Command,
        how: &How<'_>,
        step: &str,
        adjust: impl Fn(&mut Command),
    ) -> anyhow::Result<()> {
        scrub(&mut command);
        let tools = self.system.tools();
        match how.wrapped {
            Some(wrapped) => wrapped.put_in_front(self.front, &tools, &mut command)?,
            None => tools.give(&mut command, |tool| tool.to_owned()),
        }
        adjust(&mut command);
        process::run_logged(&mut command, &how.log(step))
    }
}

impl How<'_> {
    /// Where a step's outputs go.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        let sort = if self.wrapped.is_some() { "distributed" } else { "direct" };
        self.logs.join(format!("{step}-{sort}.log"))
    }
}

/// Takes out what the user has set that changes what a build is.
fn scrub(command: &mut Command) {
    cluster::scrub(command);
    for name in [
        "AR",
        "CC",
        "CFLAGS",
        "CMAKE_GENERATOR",
        "CPPFLAGS",
        "CXX",
        "CXXFLAGS",
        "FC",
        "FFLAGS",
        "LDFLAGS",
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
    ] {
        command.env_remove(name);
    }
    // One language for messages, and one date for all that would write today's.
    command.env("LC_ALL", "C.UTF-8").env("SOURCE_DATE_EPOCH", "1700000000");
}
