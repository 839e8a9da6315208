//! The third-party projects, and how each is built: as any user of it would, with or without the launchers.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::ledger::{Kind, Notes};
use crate::cluster;
use crate::fetch::{self, SourcePackage};
use crate::flags::{Generator, Project};
use crate::prerequisites::{self, CMAKE, PLAIN_MAKE, RE2_TABLES};
use crate::process;

/// A project and how to build it.
pub(crate) struct Recipe {
    pub(crate) title: &'static str,
    pub(crate) source: SourcePackage,
    system: System,
    prepare: fn(&Path) -> anyhow::Result<()>,
}

enum System {
    CMake {
        generator: Generator,
        options: &'static [&'static str],
    },
    /// `make -C DIR TARGET`.
    Make {
        dir: &'static str,
        target: &'static str,
    },
}

/// One build.
pub(crate) struct How<'a> {
    pub(crate) tree: &'a Path,
    pub(crate) logs: &'a Path,
    /// Jobs at a time.
    pub(crate) jobs: usize,
    /// The launchers, unless it is a direct build.
    pub(crate) wrapped: Option<&'a Wrapped>,
}

impl Recipe {
    pub(crate) fn of(project: Project, generator: Generator) -> Self {
        match project {
            Project::Taglib => Self {
                title: "TagLib 1.13",
                source: SourcePackage {
                    name: "taglib",
                    version: "1.13-2+deb12u1",
                    files: &[(
                        "taglib_1.13.orig.tar.gz",
                        "58f08b4db3dc31ed152c04896ee9172d22052bc7ef12888028c01d8b1d60ade0",
                    )],
                },
                // Debug information holds every path: the two builds must agree on those as well.
                system: System::CMake {
                    generator,
                    options: &[
                        "-DCMAKE_BUILD_TYPE=Debug",
                        "-DBUILD_SHARED_LIBS=OFF",
                        "-DBUILD_EXAMPLES=ON",
                        "-DBUILD_TESTING=OFF",
                        "-DWITH_ZLIB=OFF",
                    ],
                },
                prepare: |_| Ok(()),
            },
            Project::Re2 => Self {
                title: "RE2 2022-06-01",
                source: SourcePackage {
                    name: "re2",
                    version: "20220601+dfsg-1",
                    files: &[(
                        "re2_20220601+dfsg.orig.tar.xz",
                        "3bc61251da3b0b97be40a8a127818c517c62516e4eda11fc901d29496663df54",
                    )],
                },
                system: System::CMake { generator, options: &["-DCMAKE_BUILD_TYPE=Release"] },
                prepare: make_re2_tables,
            },
            Project::Lua => Self {
                title: "Lua 5.4.4",
                source: SourcePackage {
                    name: "lua5.4",
                    version: "5.4.4-3+deb12u1",
                    files: &[(
                        "lua5.4_5.4.4.orig.tar.gz",
                        "164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61",
                    )],
                },
                system: System::Make { dir: "src", target: "linux-noreadline" },
                prepare: |_| Ok(()),
            },
        }
    }

    /// How it is built, in words.
    pub(crate) fn way(&self) -> &'static str {
        match self.system {
            System::CMake { generator: Generator::Ninja, .. } => "CMake + Ninja",
            System::CMake { generator: Generator::Make, .. } => "CMake + Unix Makefiles",
            System::Make { .. } => "plain make",
        }
    }

    /// Installs what building it needs.
    pub(crate) fn install_needs(&self) -> anyhow::Result<()> {
        match self.system {
            System::CMake { .. } => prerequisites::ensure(CMAKE),
            System::Make { .. } => prerequisites::ensure(PLAIN_MAKE),
        }?;
        if self.source.name == "re2" { prerequisites::ensure(RE2_TABLES) } else { Ok(()) }
    }

    /// Lays the sources out in `tree`.
    pub(crate) fn unpack(&self, sources: &[PathBuf], tree: &Path) -> anyhow::Result<()> {
        sources.iter().try_for_each(|tarball| fetch::unpack(tarball, tree))?;
        (self.prepare)(tree).with_context(|| format!("cannot prepare {}", self.title))
    }

    /// Configures; `adjust` has the last word on each command.
    pub(crate) fn configure(&self, how: &How<'_>, adjust: impl Fn(&mut Command)) -> anyhow::Result<()> {
        let System::CMake { generator, options } = &self.system else { return Ok(()) };
        let mut cmake = command("cmake");
        cmake.arg("-S").arg(how.tree).arg("-B").arg(how.tree.join("build")).args(*options);
        cmake.arg(match generator {
            Generator::Ninja => "-GNinja",
            Generator::Make => "-GUnix Makefiles",
        });
        if let Some(wrapped) = how.wrapped {
            cmake.args(wrapped.cmake_options());
        }
        adjust(&mut cmake);
        process::run_logged(&mut cmake, &how.log("configure"))
    }

    /// Builds; `adjust` has the last word on each command.
    pub(crate) fn build(&self, how: &How<'_>, adjust: impl Fn(&mut Command)) -> anyhow::Result<()> {
        let mut build = match &self.system {
            System::CMake { .. } => {
                let mut build = command("cmake");
                build.arg("--build").arg(how.tree.join("build"));
                build
            }
            System::Make { dir, target } => {
                let mut make = command("make");
                make.arg("-C").arg(how.tree.join(dir)).arg(target);
                make.args(how.wrapped.map(Wrapped::make_variables).unwrap_or_default());
                make
            }
        };
        build.arg(format!("-j{}", how.jobs));
        adjust(&mut build);
        process::run_logged(&mut build, &how.log("build"))
    }
}

impl How<'_> {
    fn log(&self, step: &str) -> PathBuf {
        let sort = if self.wrapped.is_some() { "distributed" } else { "direct" };
        self.logs.join(format!("{step}-{sort}.log"))
    }
}

/// The launchers as a build is told of them.
pub(crate) struct Wrapped {
    cc: PathBuf,
    ld: PathBuf,
    masquerade: PathBuf,
    compile: PathBuf,
    link: PathBuf,
    archive: PathBuf,
    driver: PathBuf,
    /// Where each way of calling them is noted.
    pub(crate) notes: Vec<Notes>,
}

impl Wrapped {
    /// Makes the links named `ar` and `ranlib`.
    pub(crate) fn new(binaries: &Path, masquerade: &Path, logs: &Path) -> anyhow::Result<Self> {
        let ld = binaries.join("ld-launcher");
        for name in ["ar", "ranlib"] {
            symlink(&ld, masquerade.join(name)).with_context(|| format!("cannot make a link named {name}"))?;
        }
        let [compile, link, archive, driver] =
            ["compile", "link", "archive", "driver"].map(|name| logs.join(format!("notes-{name}.log")));
        let notes =
            [(&compile, Kind::Compile), (&link, Kind::Link), (&archive, Kind::Archive), (&driver, Kind::Driver)];
        let notes = notes.map(|(path, kind)| Notes { path: path.clone(), kind }).into();
        let cc = binaries.join("cc-launcher");
        Ok(Self { cc, ld, masquerade: masquerade.to_owned(), compile, link, archive, driver, notes })
    }

    /// The environment of launchers that get no flags: the links.
    pub(crate) fn introduce(&self, command: &mut Command) {
        command.env("DISTCCD_LOG_FILE", &self.archive);
    }

    /// Compilers and linkers have a launcher variable. Archives have none: there the links stand in for the tools.
    fn cmake_options(&self) -> Vec<String> {
        let (cc, ld) = (self.cc.display(), self.ld.display());
        let (compile, link, masquerade) = (self.compile.display(), self.link.display(), self.masquerade.display());
        let mut options = vec![format!("-DCMAKE_AR={masquerade}/ar"), format!("-DCMAKE_RANLIB={masquerade}/ranlib")];
        for language in ["C", "CXX"] {
            options.push(format!("-DCMAKE_{language}_COMPILER_LAUNCHER={cc};--log-file={compile}"));
            options.push(format!("-DCMAKE_{language}_LINKER_LAUNCHER={ld};--log-file={link}"));
        }
        options
    }

    /// `make CC="cc-launcher -- gcc"`: the links go through the same wrapper.
    fn make_variables(&self) -> Vec<String> {
        let (cc, masquerade) = (self.cc.display(), self.masquerade.display());
        vec![
            format!("CC={cc} --log-file={} -- gcc -std=gnu99", self.driver.display()),
            format!("AR={masquerade}/ar rcu"),
            format!("RANLIB={masquerade}/ranlib"),
        ]
    }
}

/// A build tool, with none of the user's settings that change what a build is.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    cluster::scrub(&mut command);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CMAKE_GENERATOR"] {
        command.env_remove(name);
    }
    command
}

/// Debian ships RE2 without its generated tables, and generates them from its own copy of Unicode's data.
fn make_re2_tables(tree: &Path) -> anyhow::Result<()> {
    let dir = tree.join("re2");
    let script = dir.join("unicode.py");
    let text = std::fs::read_to_string(&script)?
        .replace("https://www.unicode.org/Public/14.0.0/ucd", "/usr/share/unicode")
        .replace("from six.moves import urllib", "import urllib.request");
    std::fs::write(&script, text)?;
    for (interpreter, script, table) in [
        ("/usr/bin/python3", "make_unicode_groups.py", "unicode_groups.cc"),
        ("/usr/bin/python3", "make_unicode_casefold.py", "unicode_casefold.cc"),
        ("perl", "make_perl_groups.pl", "perl_groups.cc"),
    ] {
        let made = process::capture(Command::new(interpreter).arg(script).current_dir(&dir))?;
        std::fs::write(dir.join(table), made)?;
    }
    Ok(())
}
