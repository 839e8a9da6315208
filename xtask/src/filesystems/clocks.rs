//! Hosts whose clocks are wrong: what they write bears times of five seconds ago, or that are yet to come. Build tools
//! compare those with times of the machine that they are on, and still have to build what has changed, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::Context;

use super::fleet::Introduction;
use crate::prerequisites;
use crate::process;
use crate::workspace::Workspace;

/// By how many seconds the clocks of the hosts are wrong: home's is right, as is one worker's.
pub(super) const WRONG_BY: [i32; 4] = [0, 5, -5, 0];

/// Sources of the project besides its main one.
const SOURCES: usize = 6;
/// So often something is edited right after a build.
const EDITS: usize = 4;
/// Ninja records other times from this release on.
const LATER_NINJA: &str = "ninja>=1.12";

/// A build tool.
struct Tool {
    name: String,
    program: PathBuf,
    /// What its file is called.
    file: &'static str,
    /// What that has in it.
    text: fn(&str) -> String,
    /// What it says when there is nothing to do.
    idle: &'static str,
}

/// The tools that have to cope: Debian's ninja (1.11), a later one, and GNU make.
pub(super) struct Tools(Vec<Tool>);

impl Tools {
    /// Finds them, and installs what is missing.
    pub(super) fn install(workspace: &Workspace) -> anyhow::Result<Self> {
        prerequisites::ensure(prerequisites::BUILD_TOOLS)?;
        let ninja = |program: PathBuf| -> anyhow::Result<Tool> {
            let version = process::capture(Command::new(&program).arg("--version"))?;
            let (name, idle) = (format!("ninja {}", version.trim()), "no work to do");
            Ok(Tool { name, program, file: "build.ninja", text: build_ninja, idle })
        };
        let version = process::capture(Command::new("make").arg("--version"))?;
        let name = version.lines().next().unwrap_or_default().to_owned();
        let idle = "Nothing to be done";
        let make = Tool { name, program: "make".into(), file: "Makefile", text: makefile, idle };
        Ok(Self(vec![ninja("ninja".into())?, ninja(later_ninja(workspace)?)?, make]))
    }
}

/// From the Python Package Index, into an environment of its own.
fn later_ninja(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let environment = workspace.target().join("xtask/ninja");
    let program = environment.join("bin/ninja");
    if !program.exists() {
        process::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        process::run(pip.args(["install", "--quiet", "--disable-pip-version-check", LATER_NINJA]))
            .with_context(|| format!("cannot install {LATER_NINJA} from PyPI"))?;
    }
    Ok(program)
}

/// Every tool builds a project in a directory of `mount`, again and again. To be called where the build is. What is wrong.
pub(super) fn run(
    tools: &Tools,
    binaries: &Path,
    introduction: &Introduction,
    mount: &Path,
) -> anyhow::Result<Vec<String>> {
    let (mut complaints, mut met) = (Vec::new(), Met::default());
    for (number, tool) in tools.0.iter().enumerate() {
        let dir = mount.join(format!("clocks-{number}"));
        std::fs::create_dir(&dir)?;
        let notes = introduction.run.join(format!("clocks-{number}.notes"));
        let project = Project { dir, launcher: binaries.join("cc-launcher"), notes, introduction, tool };
        complaints.extend(project.work()?.map(|complaint| format!("{}: {complaint}", tool.name)));
        met.add(&project.notes)?;
    }
    println!(
        "  {} jobs; times of {} were in the future and of {} too early, and were put right",
        met.jobs, met.late, met.early
    );
    if met.late == 0 || met.early == 0 {
        complaints.push("no wrong times came: nothing was tested".to_owned());
    }
    Ok(complaints)
}

/// What launchers met.
#[derive(Default)]
struct Met {
    jobs: usize,
    late: usize,
    early: usize,
}

impl Met {
    fn add(&mut self, notes: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(notes).context("the launchers left no notes")?;
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        self.jobs += count(": ran on ");
        self.late += count("in the future");
        self.early += count("before the command began");
        Ok(())
    }
}

struct Project<'a> {
    dir: PathBuf,
    launcher: PathBuf,
    notes: PathBuf,
    introduction: &'a Introduction,
    tool: &'a Tool,
}

impl Project<'_> {
    /// The first thing that is wrong, if anything.
    fn work(&self) -> anyhow::Result<Option<String>> {
        let launcher = self.launcher.display().to_string();
        self.write(self.tool.file, &(self.tool.text)(&launcher))?;
        self.write("common.h", "enum { COMMON = 1 };\n")?;
        let mut values = [0; SOURCES];
        for number in 0..SOURCES {
            self.edit(number, 0)?;
        }
        self.write("main.c", &main_source())?;
        for edit in 1..=EDITS {
            if let Some(complaint) = self.build_and_look(SOURCES + values.iter().sum::<usize>())? {
                return Ok(Some(format!("before edit {edit}: {complaint}")));
            }
            // Right after the build: what has just been written may seem to be from the future.
            let number = edit % SOURCES;
            values[number] = edit;
            self.edit(number, edit)?;
        }
        let complaint = self.build_and_look(SOURCES + values.iter().sum::<usize>())?;
        if complaint.is_none() {
            println!(
                "  {}: {} builds, each right, and each followed by one that had nothing to do",
                self.tool.name,
                EDITS + 1
            );
        }
        Ok(complaint)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn edit(&self, number: usize, value: usize) -> anyhow::Result<()> {
        let text = format!("#include \"common.h\"\nint part{number}(void) {{ return COMMON + {value}; }}\n");
        self.write(&format!("part{number}.c"), &text)
    }

    fn build_and_look(&self, expected: usize) -> anyhow::Result<Option<String>> {
        self.build()?;
        let printed = process::capture(&mut Command::new(self.dir.join("program")))?;
        if printed.trim() != expected.to_string() {
            return Ok(Some(format!(
                "the program prints {} and not {expected}: something was not built",
                printed.trim()
            )));
        }
        if let Some(odd) = self.odd_time()? {
            return Ok(Some(odd));
        }
        let said = self.build()?;
        Ok((!said.contains(self.tool.idle)).then(|| format!("an immediate second run has something to do:\n{said}")))
    }

    fn build(&self) -> anyhow::Result<String> {
        let mut build = Command::new(&self.tool.program);
        build.args(["-j4", "-C"]).arg(&self.dir);
        self.introduction.give(&mut build);
        build.env("DISTCCD_LOG_FILE", &self.notes).env("LC_ALL", "C.UTF-8");
        let said = process::capture(&mut build)?;
        process::check_interrupted()?;
        Ok(said)
    }

    /// An object that is older than its source, or of a time that is yet to come.
    fn odd_time(&self) -> anyhow::Result<Option<String>> {
        let time = |name: &str| anyhow::Ok(std::fs::metadata(self.dir.join(name))?.modified()?);
        let now = SystemTime::now();
        for number in 0..SOURCES {
            let (source, object) = (time(&format!("part{number}.c"))?, time(&format!("part{number}.o"))?);
            if object < source || object > now {
                return Ok(Some(format!(
                    "part{number}.o is of {object:?}, its source of {source:?}, and now is {now:?}"
                )));
            }
        }
        Ok((time("program")? > now).then(|| "the program is from the future".to_owned()))
    }
}

fn main_source() -> String {
    let declarations: String = (0..SOURCES).map(|number| format!("int part{number}(void);\n")).collect();
    let sum: Vec<String> = (0..SOURCES).map(|number| format!("part{number}()")).collect();
    format!("#include <stdio.h>\n{declarations}int main(void) {{ printf(\"%d\\n\", {}); }}\n", sum.join(" + "))
}

fn parts(suffix: &str) -> Vec<String> {
    (0..SOURCES).map(|number| format!("part{number}.{suffix}")).collect()
}

fn build_ninja(launcher: &str) -> String {
    let mut text = format!(
        "rule cc\n  command = {launcher} gcc -MMD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  deps = gcc\n\
         rule ar\n  command = rm -f $out && {launcher} ar crs $out $in\n\
         rule link\n  command = {launcher} gcc $in -o $out\n\
         build main.o: cc main.c\nbuild libparts.a: ar {}\nbuild program: link main.o libparts.a\n",
        parts("o").join(" ")
    );
    (0..SOURCES).for_each(|number| text.push_str(&format!("build part{number}.o: cc part{number}.c\n")));
    text
}

fn makefile(launcher: &str) -> String {
    format!(
        "all: program\nprogram: main.o libparts.a\n\t{launcher} gcc main.o libparts.a -o $@\n\
         libparts.a: {}\n\trm -f $@ && {launcher} ar crs $@ $^\n\
         %.o: %.c\n\t{launcher} gcc -MMD -MP -c $< -o $@\n-include $(wildcard *.d)\n",
        parts("o").join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_builds_the_project_and_then_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (file, text, program) in
            [("build.ninja", build_ninja("env"), "ninja"), ("Makefile", makefile("env"), "make")]
        {
            if !process::on_path(program) {
                eprintln!("no {program}");
                continue;
            }
            let dir = dir.path().join(program);
            std::fs::create_dir(&dir).expect("a directory");
            std::fs::write(dir.join(file), text).expect("a build file");
            std::fs::write(dir.join("main.c"), main_source()).expect("a source");
            std::fs::write(dir.join("common.h"), "enum { COMMON = 1 };\n").expect("a header");
            for number in 0..SOURCES {
                let text = format!("#include \"common.h\"\nint part{number}(void) {{ return COMMON; }}\n");
                std::fs::write(dir.join(format!("part{number}.c")), text).expect("a source");
            }
            let build = || process::capture(Command::new(program).arg("-C").arg(&dir)).expect("a build");
            let _ = build();
            let again = build();
            assert!(again.contains("no work to do") || again.contains("Nothing to be done"), "{again}");
            assert_eq!(process::capture(&mut Command::new(dir.join("program"))).expect("it runs").trim(), "6");
        }
    }
}
