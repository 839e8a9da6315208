//! The ways to put the launchers in front of a build's commands, each as the README has it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::system::Tools;
use crate::install;

/// How a build is told of the launchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// By words before each tool: `CC="cc-launcher gcc"`, or CMake's variables `CMAKE_<LANG>_COMPILER_LAUNCHER` and
    /// `CMAKE_<LANG>_LINKER_LAUNCHER` in the environment, so that its probes go through them too.
    Launchers,
    /// As before, but links and archives by CMake's property `RULE_LAUNCH_LINK`.
    Rules,
    /// Not at all: links named like the tools come first on the PATH.
    Masquerade,
}

impl Front {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Launchers => "launchers before each tool",
            Self::Rules => "links and archives by RULE_LAUNCH_LINK",
            Self::Masquerade => "masquerade",
        }
    }
}

/// CMake's languages that we build; Fortran has no linker launcher.
const LANGUAGES: [&str; 3] = ["C", "CXX", "Fortran"];

/// The launchers as a build is told of them.
pub(crate) struct Wrapped {
    /// The directory of the launchers, which goes on the PATH.
    binaries: PathBuf,
    /// The directory of links named like the tools.
    masquerade: PathBuf,
    /// A CMake file that sets the rules.
    rules: PathBuf,
    /// Where every launcher notes what became of its command.
    pub(crate) notes: PathBuf,
}

impl Wrapped {
    /// Lays out what a build needs besides the launchers: in `masquerade` links, in `logs` the rest.
    pub(crate) fn new(binaries: &Path, masquerade: &Path, logs: &Path) -> anyhow::Result<Self> {
        install::masquerade(binaries, masquerade)?;
        let rules = logs.join("launcher-rules.cmake");
        std::fs::write(&rules, "set_property(GLOBAL PROPERTY RULE_LAUNCH_LINK ld-launcher)\n")
            .with_context(|| format!("cannot write {}", rules.display()))?;
        Ok(Self {
            binaries: binaries.to_owned(),
            masquerade: masquerade.to_owned(),
            rules,
            notes: logs.join("notes.log"),
        })
    }

    /// What stands in a build's files and logs because of us, and what would stand there without.
    pub(crate) fn words(&self) -> Vec<(String, &'static str)> {
        let (binaries, masquerade) = (self.binaries.display(), self.masquerade.display());
        let mut words = vec![(format!("{masquerade}/"), "/usr/bin/")];
        for launcher in ["cc-launcher", "ld-launcher"] {
            words.push((format!("{binaries}/{launcher} "), ""));
            words.push((format!("{launcher} "), ""));
            // Meson writes lists of words.
            words.push((format!("\"{launcher}\", "), ""));
        }
        words
    }

    /// Dresses a command that configures or builds.
    pub(super) fn put_in_front(&self, front: Front, tools: &Tools, command: &mut Command) -> anyhow::Result<()> {
        command.env("DISTCCD_LOG_FILE", &self.notes);
        if front == Front::Masquerade {
            command.env("PATH", behind(&self.masquerade)?);
            tools.give(command, str::to_owned);
            return Ok(());
        }
        command.env("PATH", behind(&self.binaries)?);
        tools.give(command, dressed);
        if command.get_program() == "cmake" {
            self.tell_cmake(front, command);
        }
        Ok(())
    }

    fn tell_cmake(&self, front: Front, cmake: &mut Command) {
        for language in LANGUAGES {
            cmake.env(format!("CMAKE_{language}_COMPILER_LAUNCHER"), "cc-launcher");
        }
        if front == Front::Rules {
            cmake.arg(format!("-DCMAKE_PROJECT_TOP_LEVEL_INCLUDES={}", self.rules.display()));
            return;
        }
        for language in LANGUAGES {
            cmake.env(format!("CMAKE_{language}_LINKER_LAUNCHER"), "ld-launcher");
        }
        // Archives have no launcher variable: there the links stand in for the tools.
        for (variable, tool) in [("CMAKE_AR", "ar"), ("CMAKE_RANLIB", "ranlib")] {
            cmake.arg(format!("-D{variable}={}/{tool}", self.masquerade.display()));
        }
    }
}

/// A tool with its launcher before it.
fn dressed(tool: &str) -> String {
    let launcher = if tool.starts_with("ar") || tool.starts_with("ranlib") { "ld-launcher" } else { "cc-launcher" };
    format!("{launcher} {tool}")
}

/// The PATH behind one more directory.
fn behind(dir: &Path) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path)))?)
}
