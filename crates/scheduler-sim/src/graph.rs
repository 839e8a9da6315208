//! Build graphs recorded from real builds (`cargo xtask record-graph`), in `data/`: what each command of the build is,
//! what it costs, what it waits for.
//!
//! A file is lines of text. The first says what it is (`distccd build graph 1`); `#` starts a comment, the provenance
//! first of all; `dir PATH` and `needs EDGES` name a directory and a set of edges (`1-3 7`) by the number of such lines
//! before; `edge KIND CPU_MS PEAK_MIB INPUT_KIB DIR/OUTPUT SOURCE_DIR NEEDS` is a command, in an order in which they
//! can be run, `-` standing for no directory or no needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::ids::DirKey;
use model::job::JobKind;

/// A recorded build.
#[derive(Clone, Debug)]
pub struct BuildGraph {
    /// A short name.
    pub name: String,
    /// Where it comes from and how it was recorded.
    pub about: String,
    /// Its commands; each comes after those that it needs.
    pub edges: Vec<Edge>,
}

/// One command of a build.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Where it may run.
    pub kind: EdgeKind,
    /// What it takes on a machine like the one that recorded it.
    pub work: Duration,
    /// Largest resident set of one of its processes, in bytes.
    pub peak_memory: u64,
    /// Size of its first source, in bytes.
    pub input_bytes: u64,
    /// Its most important output.
    pub output: DirKey,
    /// The directories of its output and of its first source.
    pub dirs: Vec<DirKey>,
    /// The edges that must be done before it.
    pub needs: Arc<[usize]>,
}

/// Where a command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// On a worker.
    Remote(JobKind),
    /// On the machine that builds: generators, scripts.
    Local,
    /// Nowhere: a name for others.
    Phony,
}

/// The recorded graphs.
///
/// # Panics
/// If a file that was compiled in cannot be read: a test reads them all.
#[must_use]
pub fn recorded() -> Vec<BuildGraph> {
    let read = |(name, text): &(&str, &str)| {
        BuildGraph::read(name, text).unwrap_or_else(|error| panic!("data/{name}.graph: {error}"))
    };
    FILES.iter().map(read).collect()
}

const FILES: &[(&str, &str)] = &[
    ("libuv", include_str!("../data/libuv.graph")),
    ("protobuf", include_str!("../data/protobuf.graph")),
    ("systemd", include_str!("../data/systemd.graph")),
];

/// A line that does not mean anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    line: usize,
    what: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Unreadable {}

impl BuildGraph {
    /// Reads a graph from its file's text.
    ///
    /// # Errors
    /// The first line that is none of a build graph's, or that names what did not come before.
    pub fn read(name: &str, text: &str) -> Result<Self, Unreadable> {
        let mut reader = Reader::default();
        let mut lines = text.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line != "distccd build graph 1") {
            return Err(Unreadable { line: 1, what: "this is no build graph of version 1" });
        }
        for (line, number) in lines {
            reader.line(line).map_err(|what| Unreadable { line: number, what })?;
        }
        Ok(Self { name: name.to_owned(), about: reader.about, edges: reader.edges })
    }

    /// Commands that workers may run.
    #[must_use]
    pub fn remote_edges(&self) -> usize {
        self.edges.iter().filter(|edge| matches!(edge.kind, EdgeKind::Remote(_))).count()
    }

    /// What all commands take together, of those for which `which` holds.
    pub fn work(&self, which: impl Fn(EdgeKind) -> bool) -> Duration {
        self.edges.iter().filter(|edge| which(edge.kind)).map(|edge| edge.work).sum()
    }

    /// The longest way to the end from the start of each edge, itself included, when `cost` is what an edge takes.
    #[must_use]
    pub fn to_the_end(&self, cost: impl Fn(&Edge) -> Duration) -> Vec<Duration> {
        let mut longest = vec![Duration::ZERO; self.edges.len()];
        for (index, edge) in self.edges.iter().enumerate().rev() {
            // Those that need it come after it, so what follows is complete here.
            longest[index] += cost(edge);
            for &need in edge.needs.iter() {
                longest[need] = longest[need].max(longest[index]);
            }
        }
        longest
    }

    /// Edges on the longest chain, phony ones not counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        let one = |edge: &Edge| Duration::from_secs(u64::from(edge.kind != EdgeKind::Phony));
        let depth = self.to_the_end(one).into_iter().max().unwrap_or_default();
        usize::try_from(depth.as_secs()).unwrap_or(usize::MAX)
    }

    /// `copies` of this build beside each other, in directories of their own: a larger project than we could record.
    #[must_use]
    pub fn replicated(&self, copies: usize) -> Self {
        let mut edges = Vec::with_capacity(self.edges.len() * copies);
        for copy in 0..copies {
            let offset = copy * self.edges.len();
            edges.extend(self.edges.iter().map(|edge| edge.moved(offset, copy)));
        }
        Self { name: format!("{} x{copies}", self.name), about: self.about.clone(), edges }
    }
}

impl Edge {
    fn moved(&self, offset: usize, copy: usize) -> Self {
        let key = |key: &DirKey| DirKey::of_path(format!("{key:?} of copy {copy}").as_bytes());
        Self {
            output: key(&self.output),
            dirs: self.dirs.iter().map(key).collect(),
            needs: self.needs.iter().map(|need| need + offset).collect(),
            ..self.clone()
        }
    }
}

#[derive(Default)]
struct Reader {
    about: String,
    dirs: Vec<DirKey>,
    paths: Vec<String>,
    needs: Vec<Arc<[usize]>>,
    edges: Vec<Edge>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let (word, rest) = line.split_once(' ').ok_or("a line of one word")?;
        match word {
            "#" => {
                self.about.push_str(rest);
                self.about.push('\n');
            }
            "dir" => {
                self.dirs.push(DirKey::of_path(rest.as_bytes()));
                self.paths.push(rest.to_owned());
            }
            "needs" => self.needs.push(edges(rest)?.into()),
            "edge" => {
                let edge = self.edge(&rest.split(' ').collect::<Vec<_>>())?;
                if edge.needs.iter().any(|&need| need >= self.edges.len()) {
                    return Err("an edge needs one that comes later");
                }
                self.edges.push(edge);
            }
            _ => return Err("a word that starts no line"),
        }
        Ok(())
    }

    fn edge(&self, words: &[&str]) -> Result<Edge, &'static str> {
        let [kind, cpu, peak, input, output, source, needs] = words else {
            return Err("an edge has seven words");
        };
        let (parent, name) = output.split_once('/').ok_or("an output without a directory")?;
        let parent = index(parent)?;
        let output_dir = *self.dirs.get(parent).ok_or("no such directory")?;
        let path = format!("{}/{name}", self.paths[parent]);
        let source = match *source {
            "-" => None,
            number => Some(*self.dirs.get(index(number)?).ok_or("no such directory")?),
        };
        let needs = match *needs {
            "-" => Arc::from([]),
            number => self.needs.get(index(number)?).ok_or("no such needs")?.clone(),
        };
        Ok(Edge {
            kind: kind_of(kind)?,
            work: Duration::from_millis(index(cpu)? as u64),
            peak_memory: (index(peak)? as u64) << 20,
            input_bytes: (index(input)? as u64) << 10,
            output: DirKey::of_path(path.as_bytes()),
            dirs: std::iter::once(output_dir).chain(source.filter(|&source| source != output_dir)).collect(),
            needs,
        })
    }
}

fn kind_of(word: &str) -> Result<EdgeKind, &'static str> {
    match word {
        "phony" => Ok(EdgeKind::Phony),
        "local" => Ok(EdgeKind::Local),
        _ => {
            let kind = JobKind::ALL.into_iter().find(|kind| kind.name() == word);
            kind.map(EdgeKind::Remote).ok_or("no such kind")
        }
    }
}

fn edges(ranges: &str) -> Result<Vec<usize>, &'static str> {
    let mut edges = Vec::new();
    for range in ranges.split(' ') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        edges.extend(index(first)?..=index(last)?);
    }
    Ok(edges)
}

fn index(word: &str) -> Result<usize, &'static str> {
    word.parse().map_err(|_| "no number where one belongs")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "distccd build graph 1\n# a test\ndir build\ndir src\n\
        edge compile 100 5 1 0/a.o 1 -\nedge compile 300 5 1 0/b.o 1 -\nneeds 0-1\nedge link 50 9 0 0/app - 0\n";

    #[test]
    fn a_file_becomes_a_graph() {
        let graph = BuildGraph::read("small", SMALL).expect("the example of the module's text");

        assert_eq!(graph.remote_edges(), 3);
        assert_eq!(graph.edges[2].needs.as_ref(), [0, 1]);
        assert_eq!(graph.edges[0].dirs, [DirKey::of_path(b"build"), DirKey::of_path(b"src")]);
        assert_eq!((graph.depth(), graph.to_the_end(|edge| edge.work)[1]), (2, Duration::from_millis(350)));
    }

    #[test]
    fn what_comes_later_cannot_be_needed() {
        let wrong = SMALL.replace("needs 0-1", "needs 0-2");

        let error = BuildGraph::read("wrong", &wrong).expect_err("edge 2 would need itself");

        assert_eq!(error.to_string(), "line 8: an edge needs one that comes later");
    }

    #[test]
    fn copies_share_neither_needs_nor_directories() {
        let graph = BuildGraph::read("small", SMALL).expect("the example").replicated(2);

        assert_eq!(graph.edges[5].needs.as_ref(), [3, 4]);
        assert_ne!(graph.edges[0].dirs, graph.edges[3].dirs);
    }

    #[test]
    fn every_recorded_graph_is_that_of_a_real_build() {
        for graph in recorded() {
            assert!(graph.remote_edges() >= 150, "{} has {} commands for workers", graph.name, graph.remote_edges());
            assert!(graph.depth() >= 3 && !graph.about.is_empty(), "{}", graph.name);
        }
    }
}
