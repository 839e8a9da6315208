//! A chain of commands: each includes the header that the last one left, in a directory that was searched in vain before.
//!
//! The chain is gone through twice under the same names with other values and in other places, so that what is old is not
//! missing but wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::bench::Bench;
use super::torture::{DEPTH, Manner, Score, search_dir};
use crate::process;

const MAIN: &str =
    "#include <stdio.h>\n#include \"step.h\"\nint main(void) { printf(\"%u\\n\", link_value()); return 0; }\n";

const MODULUS: u32 = 1_000_003;

/// Goes through it in `root`, a new directory: `steps` in both passes together.
pub(super) fn run(bench: &Bench, root: &Path, seed: u64, steps: usize) -> anyhow::Result<Score> {
    let mut random = fastrand::Rng::with_seed(seed);
    for depth in 0..DEPTH {
        let dir = search_dir(root, depth);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let mut chain = Chain { root: root.to_owned(), places: vec![None; steps / 2 + 1], value: 0, last_worker: None };
    let mut score = Score::default();
    for _ in 0..2 {
        chain.value = random.u32(1..MODULUS);
        chain.define(0, random.usize(..DEPTH), Manner::draw(&mut random))?;
        for step in 1..=steps / 2 {
            process::check_interrupted()?;
            score.add(chain.step(bench, step, &mut random)?);
        }
    }
    Ok(score)
}

struct Chain {
    root: PathBuf,
    /// Where each link's header is.
    places: Vec<Option<usize>>,
    /// What the last link defines.
    value: u32,
    last_worker: Option<String>,
}

impl Chain {
    fn header(&self, link: usize, depth: usize) -> PathBuf {
        search_dir(&self.root, depth).join(format!("link{link}.h"))
    }

    /// A header is to be at `depth`: what there is of it elsewhere goes away.
    fn make_room(&mut self, link: usize, depth: usize) -> anyhow::Result<PathBuf> {
        if let Some(old) = self.places[link].replace(depth)
            && old != depth
        {
            let path = self.header(link, old);
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(self.header(link, depth))
    }

    /// Written here.
    fn define(&mut self, link: usize, depth: usize, manner: Manner) -> anyhow::Result<()> {
        let path = self.make_room(link, depth)?;
        manner.write(&path, &format!("enum {{ LINK{link} = {:7} }};\n", self.value))
    }

    fn step(&mut self, bench: &Bench, step: usize, random: &mut fastrand::Rng) -> anyhow::Result<Score> {
        let (factor, depth) = (random.u32(10..40), random.usize(..DEPTH));
        let before = step - 1;
        self.value = self.value * factor % MODULUS;
        let source = format!("step{step}.c");
        let text = format!(
            "#include \"link{before}.h\"\nenum {{ LINK{step} = (unsigned long long)LINK{before} * {factor}u % {MODULUS}u }};\n"
        );
        Manner::draw(random).write(&self.root.join(&source), &text)?;
        // A build tool looks for what is to be made.
        let _ = self.header(step, depth).metadata();
        if random.u32(..4) > 0 {
            self.preprocess(bench, step, depth, &source)
        } else {
            self.print(bench, step, depth, &source, Manner::draw(random))
        }
    }

    /// A worker writes the header.
    fn preprocess(&mut self, bench: &Bench, step: usize, depth: usize, source: &str) -> anyhow::Result<Score> {
        let path = self.make_room(step, depth)?;
        let mut gcc = self.gcc();
        gcc.args(["-E", "-P", source, "-o"]).arg(&path);
        let score = self.job(bench, &mut gcc)?;
        if score.failed > 0 {
            self.define(step, depth, Manner::Anew)?;
        }
        Ok(score)
    }

    /// Workers make a program, by way of an archive; what it prints is written here.
    fn print(
        &mut self,
        bench: &Bench,
        step: usize,
        depth: usize,
        source: &str,
        manner: Manner,
    ) -> anyhow::Result<Score> {
        let mut score = Score::default();
        std::fs::write(self.root.join("step.h"), "unsigned link_value(void);\n")?;
        manner.write(&self.root.join("main.c"), MAIN)?;
        manner.write(
            &self.root.join("value.c"),
            &format!("#include \"{source}\"\nunsigned link_value(void) {{ return LINK{step}; }}\n"),
        )?;
        for words in [["-c", "value.c", "-o", "value.o"], ["-c", "main.c", "-o", "main.o"]] {
            score.add(self.job(bench, self.gcc().args(words))?);
        }
        let mut ar = Command::new("ar");
        score.add(self.job(bench, ar.current_dir(&self.root).args(["rcs", "libvalue.a", "value.o"]))?);
        let mut link = Command::new("gcc");
        link.current_dir(&self.root).args(["main.o", "-L.", "-lvalue", "-o", "print"]);
        score.add(self.job(bench, &mut link)?);
        let printed = bench.print(&self.root.join("print")).and_then(|text| text.trim().parse::<u32>().ok());
        if score.failed == 0 && printed != Some(self.value) {
            bench.tell(&format!("link {step} says {printed:?} and not {}", self.value));
            score.wrong += 1;
        }
        self.define(step, depth, manner)?;
        Ok(score)
    }

    fn gcc(&self) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.current_dir(&self.root);
        gcc.args((0..DEPTH).map(|depth| format!("-I{}", search_dir(Path::new(""), depth).display())));
        gcc
    }

    fn job(&mut self, bench: &Bench, command: &mut Command) -> anyhow::Result<Score> {
        let (mut score, worker) = bench.run_told(command)?;
        if worker.is_some() {
            score.handovers += usize::from(self.last_worker.is_some() && self.last_worker != worker);
            self.last_worker = worker;
        }
        Ok(score)
    }
}
