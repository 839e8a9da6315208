//! The ways to put the launchers in front of a build's commands, each as the README has it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::system::Tools;
use crate::install;

/// How a build is told of the launchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// By words before each tool: `CC="cc-launcher gcc"`, or CMake's variables `CMAKE_<LANG>_COMPILER_LAUNCHER` and
    /// `CMAKE_<LANG>_LINKER_LAUNCHER` in the environment, so that CMake's own probes go through them too.
    Launchers,
    /// By the same variables of CMake, on its command line.
    Options,
    /// Compiles as with [`Front::Launchers`], links and archives by CMake's property `RULE_LAUNCH_LINK`.
    Rules,
    /// Not at all: links named like the tools come first on the PATH.
    Masquerade,
}

impl Front {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Launchers => "launchers before each tool",
            Self::Options => "launchers by -D options",
            Self::Rules => "links and archives by RULE_LAUNCH_LINK",
            Self::Masquerade => "masquerade",
        }
    }
}

/// CMake's languages that we build; Fortran has no linker launcher.
const LANGUAGES: [&str; 3] = ["C", "CXX", "Fortran"];

/// From where a project's CMakeLists.txt takes the property of that name.
pub(super) const RULE: &str = "RULE_LAUNCH_LINK";

/// The launchers as a build is told of them.
pub(crate) struct Wrapped {
    /// The directory of the launchers, which goes on the PATH.
    binaries: PathBuf,
    /// The directory of links named like the tools.
    masquerade: PathBuf,
    /// Where every launcher notes what became of its command.
    pub(crate) notes: PathBuf,
}

impl Wrapped {
    /// Makes the links in `masquerade`; notes go to `logs`.
    pub(crate) fn new(binaries: &Path, masquerade: &Path, logs: &Path) -> anyhow::Result<Self> {
        install::masquerade(binaries, masquerade)?;
        Ok(Self { binaries: binaries.to_owned(), masquerade: masquerade.to_owned(), notes: logs.join("notes.log") })
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
        // config.status quotes its arguments where they are several words, as CC is only with us.
        words.extend(["CC=gcc", "CXX=g++", "AR=ar"].map(|plain| (format!("'\\''{plain}'\\''"), plain)));
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
            let [compile, link] = ["COMPILER", "LINKER"].map(|job| format!("CMAKE_{language}_{job}_LAUNCHER"));
            match front {
                Front::Options => cmake.arg(format!("-D{compile}=cc-launcher")).arg(format!("-D{link}=ld-launcher")),
                // In the environment not ld-launcher: see the README, "CMake".
                Front::Launchers => cmake.env(compile, "cc-launcher").env(link, "cc-launcher"),
                Front::Rules => cmake.env(compile, "cc-launcher").env(RULE, "ld-launcher"),
                Front::Masquerade => cmake,
            };
        }
        if front != Front::Rules {
            // Archives have no launcher variable: there the links stand in for the tools.
            for (variable, tool) in [("CMAKE_AR", "ar"), ("CMAKE_RANLIB", "ranlib")] {
                cmake.arg(format!("-D{variable}={}/{tool}", self.masquerade.display()));
            }
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
