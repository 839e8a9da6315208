//! A project made to be seen wrongly: headers and archives that appear, change and vanish on long search paths right before
//! they are needed, and chains in which every step needs what the last one left, whichever machine did it.
//!
//! Every value that a source or header defines is known to this task, and the program that is built prints what it was
//! built from: an object made of an old header is told from a right one. Texts that change keep their size.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::bench::Bench;
use super::chain;
use crate::process;

/// Directories on the search path of each compile, one inside the other.
pub(super) const DEPTH: usize = 8;
/// Directories on the search path of each link.
const SHELVES: usize = 3;
/// Translation units, in two archives.
const UNITS: usize = 6;
/// How much of it one seed is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Edits and builds.
    pub(super) rounds: usize,
    /// Chains at a time.
    pub(super) chains: usize,
    /// Steps of each, in two passes.
    pub(super) steps: usize,
}

impl Size {
    /// More chains than slots, so that none stays with its worker.
    pub(super) const FULL: Self = Self { rounds: 8, chains: 4, steps: 50 };
    /// For every run of CI, and for slow machines.
    pub(super) const SHORT: Self = Self { rounds: 4, chains: 4, steps: 12 };
    /// Where nothing but time helps, every job may wait for all of it.
    pub(super) const SHORTEST: Self = Self { rounds: 2, chains: 0, steps: 0 };
}

/// Values have as many digits, all of them.
const VALUES: std::ops::Range<u32> = 100_000..1_000_000;

/// What one seed, or several, showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) jobs: usize,
    /// Jobs that failed, though the files are right.
    pub(super) failed: usize,
    /// Values that a program printed and that are not those of the sources.
    pub(super) wrong: usize,
    /// Jobs that no worker ran.
    pub(super) here: usize,
    /// Steps of chains that another worker ran than the one before.
    pub(super) handovers: usize,
}

impl Score {
    pub(super) fn add(&mut self, other: Self) {
        let Self { jobs, failed, wrong, here, handovers } = other;
        self.jobs += jobs;
        self.failed += failed;
        self.wrong += wrong;
        self.here += here;
        self.handovers += handovers;
    }

    /// Nothing failed, nothing is wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.jobs > 0 && self.failed + self.wrong == 0
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { jobs, failed, wrong, here, handovers } = self;
        write!(f, "{jobs} jobs, {here} of them here, {handovers} handovers; {failed} failures, {wrong} wrong values")
    }
}

/// One seed, from an empty directory of the filesystem. To be called on the host where the build is.
pub(super) fn run(bench: &Bench, root: &Path, seed: u64, size: Size) -> anyhow::Result<Score> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut score = Score::default();
    let mut project = Project::lay_out(root, &mut random)?;
    for round in 0..size.rounds {
        process::check_interrupted()?;
        if round > 0 {
            for _ in 0..random.usize(1..=4) {
                score.add(project.edit(bench, &mut random)?);
            }
        }
        score.add(project.build(bench)?);
    }
    let seeds: Vec<u64> = (0..size.chains).map(|_| random.u64(..)).collect();
    let chains: Vec<anyhow::Result<Score>> = std::thread::scope(|scope| {
        let start = |(lane, &seed): (usize, &u64)| {
            let dir = root.join(format!("chain-{lane}"));
            scope.spawn(move || chain::run(bench, &dir, seed, size.steps))
        };
        let lanes: Vec<_> = seeds.iter().enumerate().map(start).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a chain panicked")))).collect()
    });
    for chain in chains {
        score.add(chain?);
    }
    Ok(score)
}

/// How a file gets other contents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Written over.
    InPlace,
    /// A new file takes its name.
    Rename,
    /// Removed, and made again.
    Anew,
}

impl Manner {
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        [Self::InPlace, Self::Rename, Self::Anew][random.usize(..3)]
    }

    pub(super) fn write(self, path: &Path, text: &str) -> anyhow::Result<()> {
        let written = match self {
            Self::InPlace => std::fs::write(path, text),
            Self::Rename => {
                let beside = path.with_extension("new");
                std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path))
            }
            Self::Anew => {
                // It need not be there.
                let _ = std::fs::remove_file(path);
                std::fs::write(path, text)
            }
        };
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The n-th directory of the search path below `root`.
pub(super) fn search_dir(root: &Path, depth: usize) -> PathBuf {
    (0..=depth).fold(root.join("include"), |path, level| path.join(format!("level{level}")))
}

/// A header, wherever on the path it is: the first one counts.
#[derive(Clone, Debug, Default)]
struct Header([Option<u32>; DEPTH]);

impl Header {
    fn value(&self) -> u32 {
        self.0.iter().flatten().next().copied().unwrap_or_default()
    }

    fn copies(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

struct Project {
    root: PathBuf,
    /// What each unit says itself.
    own: [u32; UNITS],
    /// Each unit's header, and behind those the one that all include.
    headers: [Header; UNITS + 1],
    /// On which shelf each archive is.
    shelves: [usize; 2],
    dirty: [bool; UNITS],
    /// Archives that have to be made from nothing.
    bare: [bool; 2],
}

/// The header that all include.
const SHARED: usize = UNITS;

impl Project {
    fn lay_out(root: &Path, random: &mut fastrand::Rng) -> anyhow::Result<Self> {
        let deepest = search_dir(root, DEPTH - 1);
        let shelves: Vec<PathBuf> = (0..SHELVES).map(|shelf| shelf_dir(root, shelf)).collect();
        for dir in shelves.iter().chain([&deepest]) {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let mut project = Self {
            root: root.to_owned(),
            own: [0; UNITS],
            headers: std::array::from_fn(|_| Header::default()),
            shelves: [SHELVES - 1; 2],
            dirty: [true; UNITS],
            bare: [true; 2],
        };
        for unit in 0..UNITS {
            project.own[unit] = random.u32(VALUES);
            project.write_source(unit, Manner::InPlace)?;
        }
        for header in 0..=SHARED {
            let value = random.u32(VALUES);
            project.headers[header].0[DEPTH - 1] = Some(value);
            Manner::InPlace.write(&project.header_path(header, DEPTH - 1), &definition(header, value))?;
        }
        std::fs::write(root.join("main.c"), main_source())?;
        Ok(project)
    }

    fn write_source(&self, unit: usize, manner: Manner) -> anyhow::Result<()> {
        let own = self.own[unit];
        let text = format!(
            "#include \"header{unit}.h\"\n#include \"header{SHARED}.h\"\n\
             unsigned unit{unit}(void) {{ return HEADER{unit} * 31u + HEADER{SHARED} * 17u + {own}u; }}\n"
        );
        manner.write(&self.root.join(format!("unit{unit}.c")), &text)
    }

    fn header_path(&self, header: usize, depth: usize) -> PathBuf {
        search_dir(&self.root, depth).join(format!("header{header}.h"))
    }

    /// Something changes, here or by a command on a worker.
    fn edit(&mut self, bench: &Bench, random: &mut fastrand::Rng) -> anyhow::Result<Score> {
        let manner = Manner::draw(random);
        match random.usize(..6) {
            0 => {
                let unit = random.usize(..UNITS);
                self.own[unit] = random.u32(VALUES);
                self.dirty[unit] = true;
                self.write_source(unit, manner)?;
            }
            1 => {
                // The other shelf is searched before or behind; the linker has looked there for it already.
                let archive = random.usize(..2);
                let old = archive_path(&self.root, self.shelves[archive], archive);
                let _ = std::fs::remove_file(old);
                self.shelves[archive] = random.usize(..SHELVES);
                self.bare[archive] = true;
            }
            2 => {
                let header = random.usize(..=SHARED);
                self.remove_first(header)?;
                self.touch_users(header);
            }
            3 => return self.generate(bench, random),
            _ => {
                let (header, depth, value) = (random.usize(..=SHARED), random.usize(..DEPTH), random.u32(VALUES));
                self.headers[header].0[depth] = Some(value);
                self.touch_users(header);
                manner.write(&self.header_path(header, depth), &definition(header, value))?;
            }
        }
        Ok(Score::default())
    }

    /// A header made by a preprocessor on a worker.
    fn generate(&mut self, bench: &Bench, random: &mut fastrand::Rng) -> anyhow::Result<Score> {
        let (header, depth, value) = (random.usize(..=SHARED), random.usize(..DEPTH), random.u32(VALUES));
        let template = self.root.join(format!("header{header}.in.c"));
        // A directive cannot be had from a preprocessor; a constant will do.
        std::fs::write(&template, format!("#define VALUE {value}u\nenum {{ HEADER{header} = VALUE }};\n"))?;
        let path = self.header_path(header, depth);
        let mut gcc = Command::new("gcc");
        gcc.current_dir(&self.root).args(["-E", "-P"]).arg(&template).arg("-o").arg(&path);
        let score = bench.run(&mut gcc)?;
        if score.failed > 0 {
            std::fs::write(&path, definition(header, value))?;
        }
        self.headers[header].0[depth] = Some(value);
        self.touch_users(header);
        Ok(score)
    }

    /// What was hidden behind it counts again.
    fn remove_first(&mut self, header: usize) -> anyhow::Result<()> {
        if self.headers[header].copies() < 2 {
            return Ok(());
        }
        let Some(depth) = self.headers[header].0.iter().position(Option::is_some) else { return Ok(()) };
        self.headers[header].0[depth] = None;
        let path = self.header_path(header, depth);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    fn touch_users(&mut self, header: usize) {
        match header {
            SHARED => self.dirty = [true; UNITS],
            unit => self.dirty[unit] = true,
        }
    }

    fn build(&mut self, bench: &Bench) -> anyhow::Result<Score> {
        let mut score = Score::default();
        let units: Vec<usize> = (0..UNITS).filter(|&unit| self.dirty[unit]).collect();
        let main = std::iter::once(self.compile("main"));
        let compiles: Vec<Command> =
            units.iter().map(|unit| self.compile(&format!("unit{unit}"))).chain(main).collect();
        score.add(bench.run_all(compiles)?);
        let archives: Vec<Command> = (0..2).filter_map(|archive| self.archive(archive)).collect();
        score.add(bench.run_all(archives)?);
        let mut link = Command::new("gcc");
        link.current_dir(&self.root).arg("main.o");
        link.args((0..SHELVES).map(|shelf| format!("-Lshelf{shelf}"))).args([
            "-larchive0",
            "-larchive1",
            "-o",
            "program",
        ]);
        score.add(bench.run(&mut link)?);
        let failed = score.failed > 0;
        score.wrong += self.count_wrong(bench)?;
        // What went wrong is made anew, so that it counts once.
        let sound = !failed && score.wrong == 0;
        self.dirty = [!sound; UNITS];
        self.bare = [!sound; 2];
        Ok(score)
    }

    fn compile(&self, name: &str) -> Command {
        let mut gcc = Command::new("gcc");
        gcc.current_dir(&self.root);
        gcc.args((0..DEPTH).map(|depth| format!("-I{}", search_dir(Path::new(""), depth).display())));
        gcc.args(["-c", &format!("{name}.c"), "-o", &format!("{name}.o")]);
        gcc
    }

    /// Puts in what has changed; everything, where there was no archive.
    fn archive(&self, archive: usize) -> Option<Command> {
        let members: Vec<usize> =
            (0..UNITS).filter(|unit| unit % 2 == archive && (self.bare[archive] || self.dirty[*unit])).collect();
        if members.is_empty() {
            return None;
        }
        let mut ar = Command::new("ar");
        ar.current_dir(&self.root).arg("rcs").arg(archive_path(Path::new(""), self.shelves[archive], archive));
        ar.args(members.iter().map(|unit| format!("unit{unit}.o")));
        Some(ar)
    }

    fn count_wrong(&self, bench: &Bench) -> anyhow::Result<usize> {
        let Some(printed) = bench.print(&self.root.join("program")) else {
            return Ok(0);
        };
        let printed: Vec<u32> = printed.lines().filter_map(|line| line.parse().ok()).collect();
        let mut wrong = 0;
        for unit in 0..UNITS {
            let expected = self.expected(unit);
            if printed.get(unit) != Some(&expected) {
                bench.tell(&format!("unit{unit} says {:?} and not {expected}", printed.get(unit)));
                wrong += 1;
            }
        }
        Ok(wrong)
    }

    fn expected(&self, unit: usize) -> u32 {
        let (header, shared) = (self.headers[unit].value(), self.headers[SHARED].value());
        header.wrapping_mul(31).wrapping_add(shared.wrapping_mul(17)).wrapping_add(self.own[unit])
    }
}

fn definition(header: usize, value: u32) -> String {
    format!("#define HEADER{header} {value}u\n")
}

fn shelf_dir(root: &Path, shelf: usize) -> PathBuf {
    root.join(format!("shelf{shelf}"))
}

fn archive_path(root: &Path, shelf: usize, archive: usize) -> PathBuf {
    shelf_dir(root, shelf).join(format!("libarchive{archive}.a"))
}

fn main_source() -> String {
    let mut text = "#include <stdio.h>\n".to_owned();
    // Writing to a String cannot fail.
    for unit in 0..UNITS {
        let _ = writeln!(text, "unsigned unit{unit}(void);");
    }
    text.push_str("int main(void) {\n");
    for unit in 0..UNITS {
        let _ = writeln!(text, "  printf(\"%u\\n\", unit{unit}());");
    }
    text.push_str("  return 0;\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_torture_is_clean_where_every_command_runs_directly() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Bench::direct();

        let score = run(&bench, dir.path(), 7, Size { rounds: 4, chains: 1, steps: 20 }).expect("it runs");

        assert_eq!((score.failed, score.wrong), (0, 0), "{score}");
        assert!(score.jobs > 40, "{score}");
    }

    #[test]
    fn an_old_header_is_found_out() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Bench::direct();
        let mut random = fastrand::Rng::with_seed(1);
        let mut project = Project::lay_out(dir.path(), &mut random).expect("a project");
        assert_eq!(project.build(&bench).expect("a build").wrong, 0);

        // What the task believes has changed, and what compilers see has not.
        project.headers[2].0[3] = Some(123_456);
        project.dirty[2] = true;

        assert_eq!(project.build(&bench).expect("a build").wrong, 1);
    }
}
