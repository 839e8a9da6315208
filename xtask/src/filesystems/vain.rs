//! What every worker's machine has looked for in vain a moment ago, and the next command needs: it is remembered there as
//! missing, and where only time helps no look at the directory ends that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::bench::Bench;
use super::fleet::{HOME, WORKERS, worker_host};
use super::hosts::Hosts;
use super::torture::Score;
use crate::process;

const ROUNDS: usize = 2;

/// Goes through it in `root`, a new directory.
pub(super) fn run(bench: &Bench, hosts: &Hosts, root: &Path) -> anyhow::Result<Score> {
    let vain = Vain { bench, hosts, root: root.to_owned() };
    let mut score = hosts.visit(HOME, || vain.lay_out())?;
    for round in 0..ROUNDS {
        let header = root.join(format!("include/asked{round}.h"));
        vain.ask_everywhere(&header)?;
        score.add(hosts.visit(HOME, || vain.include(&header, round))?);
        let archive = root.join(format!("lib/libasked{round}.a"));
        vain.ask_everywhere(&archive)?;
        score.add(hosts.visit(HOME, || vain.link(&archive, round))?);
    }
    Ok(score)
}

struct Vain<'a> {
    bench: &'a Bench,
    hosts: &'a Hosts,
    root: PathBuf,
}

impl Vain<'_> {
    fn lay_out(&self) -> anyhow::Result<Score> {
        for dir in ["include", "lib"] {
            let dir = self.root.join(dir);
            std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        self.write("main.c", "int asked(void);\nint main(void) { return asked(); }\n")?;
        self.write("archived.c", "int asked(void) { return 0; }\n")?;
        // Made here: what blind workers fail to leave shall not keep the archives from being made.
        process::run(self.gcc().args(["-c", "archived.c", "-o", "archived.o"]))?;
        self.bench.run(self.gcc().args(["-c", "main.c", "-o", "main.o"]))
    }

    fn ask_everywhere(&self, path: &Path) -> anyhow::Result<()> {
        for index in 0..WORKERS {
            let is_there = self.hosts.visit(worker_host(index), || Ok(path.exists()))?;
            ensure!(!is_there, "{} is there before it was made", path.display());
        }
        Ok(())
    }

    fn include(&self, header: &Path, round: usize) -> anyhow::Result<Score> {
        std::fs::write(header, "enum { ASKED = 1 };\n")
            .with_context(|| format!("cannot write {}", header.display()))?;
        let (source, object) = (format!("unit{round}.c"), format!("unit{round}.o"));
        self.write(&source, &format!("#include \"asked{round}.h\"\nint asked(void) {{ return ASKED - 1; }}\n"))?;
        self.bench.run(self.gcc().args(["-Iinclude", "-c", &source, "-o", &object]))
    }

    fn link(&self, archive: &Path, round: usize) -> anyhow::Result<Score> {
        process::run(Command::new("ar").current_dir(&self.root).arg("rcs").arg(archive).arg("archived.o"))?;
        let (library, program) = (format!("-lasked{round}"), format!("program{round}"));
        self.bench.run(self.gcc().args(["main.o", "-Llib", &library, "-o", &program]))
    }

    fn gcc(&self) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.current_dir(&self.root);
        gcc
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.root.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
