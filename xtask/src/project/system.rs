//! The build systems: the commands that configure and build, and how each is told of its tools.

use std::path::Path;
use std::process::Command;

use crate::flags::Generator;
use crate::prerequisites::{AUTOTOOLS, CMAKE, MESON, Need, PLAIN_MAKE, SCONS};

/// What builds a project.
pub(crate) enum System {
    CMake {
        generator: Generator,
        options: &'static [&'static str],
        targets: &'static [&'static str],
    },
    Meson {
        options: &'static [&'static str],
    },
    /// `./configure && make` in the source tree.
    Configure {
        name: &'static str,
        options: &'static [&'static str],
    },
    /// `make -C DIR ARGUMENTS`, with variables that name tools.
    Make {
        dir: &'static str,
        arguments: &'static [&'static str],
        tools: &'static [(&'static str, &'static str)],
    },
    SCons {
        arguments: &'static [&'static str],
    },
}

/// How a build is told which tools to use.
pub(crate) enum Tools {
    /// It finds them itself; CMake has variables of its own for what stands in front.
    Found,
    /// Variables of the environment.
    Environment(&'static [(&'static str, &'static str)]),
    /// Variables on the command line.
    Arguments(&'static [(&'static str, &'static str)]),
}

const USUAL: &[(&str, &str)] = &[("CC", "gcc"), ("CXX", "g++"), ("AR", "ar")];

impl System {
    /// In words.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CMake { generator: Generator::Ninja, .. } => "CMake + Ninja",
            Self::CMake { generator: Generator::Make, .. } => "CMake + Unix Makefiles",
            Self::Meson { .. } => "Meson",
            Self::Configure { name, .. } => name,
            Self::Make { .. } => "plain make",
            Self::SCons { .. } => "SCons",
        }
    }

    pub(super) fn needs(&self) -> &'static [Need] {
        match self {
            Self::CMake { .. } => CMAKE,
            Self::Meson { .. } => MESON,
            Self::Configure { .. } => AUTOTOOLS,
            Self::Make { .. } => PLAIN_MAKE,
            Self::SCons { .. } => SCONS,
        }
    }

    pub(super) fn tools(&self) -> Tools {
        match self {
            Self::CMake { .. } => Tools::Found,
            Self::Meson { .. } | Self::Configure { .. } | Self::SCons { .. } => Tools::Environment(USUAL),
            Self::Make { tools, .. } => Tools::Arguments(tools),
        }
    }

    /// The command that configures, where there is one.
    pub(super) fn configure(&self, tree: &Path) -> Option<Command> {
        let build = tree.join("build");
        match self {
            Self::CMake { generator, options, .. } => {
                let mut cmake = Command::new("cmake");
                // Every language gets its launcher variables, whichever the project has.
                cmake.arg("--no-warn-unused-cli").arg("-S").arg(tree).arg("-B").arg(build).args(*options);
                cmake.arg(match generator {
                    Generator::Ninja => "-GNinja",
                    Generator::Make => "-GUnix Makefiles",
                });
                Some(cmake)
            }
            Self::Meson { options } => {
                let mut meson = Command::new("meson");
                meson.arg("setup").args(*options).arg(build).arg(tree);
                Some(meson)
            }
            Self::Configure { options, .. } => {
                let mut configure = Command::new("./configure");
                configure.current_dir(tree).args(*options);
                Some(configure)
            }
            Self::Make { .. } | Self::SCons { .. } => None,
        }
    }

    /// The command that builds. It shows every command line, and what each job says in one piece.
    pub(super) fn build(&self, tree: &Path, jobs: usize) -> Command {
        let build = tree.join("build");
        let jobs = format!("-j{jobs}");
        match self {
            Self::CMake { generator: Generator::Ninja, targets, .. } => ninja(&build, &jobs, targets),
            Self::CMake { generator: Generator::Make, targets, .. } => {
                let mut make = make(&build, &jobs, targets);
                make.arg("VERBOSE=1");
                make
            }
            Self::Meson { .. } => ninja(&build, &jobs, &[]),
            Self::Configure { .. } => make(tree, &jobs, &["V=1"]),
            Self::Make { dir, arguments, .. } => make(&tree.join(dir), &jobs, arguments),
            Self::SCons { arguments } => {
                let mut scons = Command::new("scons");
                scons.current_dir(tree).arg(jobs).args(*arguments);
                scons
            }
        }
    }
}

impl Tools {
    /// Tells `command` of each tool, as `dressed` turns it.
    pub(super) fn give(&self, command: &mut Command, dressed: impl Fn(&str) -> String) {
        match self {
            Self::Found => {}
            Self::Environment(tools) => {
                command.envs(tools.iter().map(|(variable, tool)| (variable, dressed(tool))));
            }
            Self::Arguments(tools) => {
                command.args(tools.iter().map(|(variable, tool)| format!("{variable}={}", dressed(tool))));
            }
        }
    }
}

fn ninja(build: &Path, jobs: &str, targets: &[&str]) -> Command {
    let mut ninja = Command::new("ninja");
    ninja.arg("-C").arg(build).args(["-v", jobs]).args(targets);
    ninja
}

fn make(dir: &Path, jobs: &str, arguments: &[&str]) -> Command {
    let mut make = Command::new("make");
    make.arg("-C").arg(dir).args([jobs, "--output-sync=target", "--no-print-directory"]).args(arguments);
    make
}
