//! The file of a recorded build; `crates/scheduler-sim/src/graph/` reads it and describes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use super::graph::Edge;
use super::measure::Cost;
use crate::flags::RecordGraph;

/// The whole file.
pub(crate) fn text(flags: &RecordGraph, dir: &Path, source: &Path, edges: &[Edge], costs: &[Cost]) -> String {
    let mut writer = Writer::new(dir, source);
    let _ = writeln!(writer.out, "distccd build graph 1");
    for line in flags.about.lines() {
        let _ = writeln!(writer.out, "# {line}");
    }
    let _ = writeln!(writer.out, "# cargo xtask record-graph --target={} --jobs={} DIR", flags.target, flags.jobs);
    let _ = writeln!(writer.out, "# edge KIND CPU_MS PEAK_MIB INPUT_KIB OUTPUT SOURCE_DIR NEEDS");
    for (edge, cost) in edges.iter().zip(costs) {
        writer.edge(edge, *cost);
    }
    writer.out
}

/// Names of directories and sets of needs are written once and named by their number afterwards.
struct Writer<'a> {
    out: String,
    dir: &'a Path,
    source: &'a Path,
    dirs: BTreeMap<PathBuf, usize>,
    needs: BTreeMap<String, usize>,
}

impl<'a> Writer<'a> {
    fn new(dir: &'a Path, source: &'a Path) -> Self {
        Self { out: String::new(), dir, source, dirs: BTreeMap::new(), needs: BTreeMap::new() }
    }

    fn edge(&mut self, edge: &Edge, cost: Cost) {
        let output = edge.outputs.first().map(|output| self.place(output)).unwrap_or_default();
        let name = output.file_name().unwrap_or_default().to_string_lossy().replace(' ', "_");
        let parent = self.dir_number(output.parent().unwrap_or(Path::new("")));
        let from = edge.sources.first().map(|first| self.place(first));
        let from = from.map(|path| self.dir_number(path.parent().unwrap_or(Path::new(""))));
        let from = from.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let needs = self.needs_number(&ranges(edge.needs.iter().copied()));
        let size = |source: &String| std::fs::metadata(self.dir.join(source)).map_or(0, |data| data.len());
        let input_kib = edge.sources.iter().take(1).map(size).sum::<u64>().div_ceil(1024);
        let (kind, cpu, peak) = (kind(edge), cost.cpu.as_millis(), cost.peak_kib.div_ceil(1024));
        let _ = writeln!(self.out, "edge {kind} {cpu} {peak} {input_kib} {parent}/{name} {from} {needs}");
    }

    /// A path in terms of the source or of the build directory, whichever holds it.
    fn place(&self, path: &str) -> PathBuf {
        let path = tidy(&self.dir.join(path));
        match (path.strip_prefix(self.dir), path.strip_prefix(self.source)) {
            (Ok(below), _) => Path::new("build").join(below),
            (_, Ok(below)) => Path::new("src").join(below),
            _ => path,
        }
    }

    fn dir_number(&mut self, dir: &Path) -> usize {
        let next = self.dirs.len();
        let number = *self.dirs.entry(dir.to_owned()).or_insert(next);
        if number == next {
            let _ = writeln!(self.out, "dir {}", dir.display());
        }
        number
    }

    fn needs_number(&mut self, ranges: &str) -> String {
        if ranges.is_empty() {
            return "-".to_owned();
        }
        let next = self.needs.len();
        let number = *self.needs.entry(ranges.to_owned()).or_insert(next);
        if number == next {
            let _ = writeln!(self.out, "needs {ranges}");
        }
        number.to_string()
    }
}

/// Without `.` and `..`, by the text alone.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    tidy
}

fn kind(edge: &Edge) -> &'static str {
    let rule = &edge.rule;
    match () {
        () if edge.command.is_empty() => "phony",
        () if rule.contains("COMPILER") => "compile",
        () if rule.contains("STATIC") && rule.contains("LINKER") => "archive",
        () if rule.contains("LINKER") => "link",
        () => "local",
    }
}

/// `1-3 7` for 1, 2, 3 and 7; they come in order.
fn ranges(numbers: impl Iterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|&(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges([1, 2, 3, 7, 9, 10].into_iter()), "1-3 7 9-10");
    }

    #[test]
    fn a_path_above_the_build_directory_is_the_sources() {
        let writer = Writer::new(Path::new("/w/b"), Path::new("/w"));

        assert_eq!(writer.place("../lib/a.c"), Path::new("src/lib/a.c"));
        assert_eq!(writer.place("lib/a.o"), Path::new("build/lib/a.o"));
    }
}
