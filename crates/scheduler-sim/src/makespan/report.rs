//! The tables of `cargo xtask bench makespan`, as Markdown.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use super::engine::BAD_MOMENT;
use super::{Trial, Twice, Who};
use crate::graph::{BuildGraph, EdgeKind};

/// Fleets, by workers.
const FLEETS: [usize; 3] = [4, 16, 64];

/// Those compared by makespan.
const RIVALS: [Who; 4] = [Who::Ours, Who::FirstFit, Who::Icecream, Who::Random];

/// Those compared by warmth.
const WARM: [Who; 5] = [Who::Ours, Who::OursWithoutWarmth, Who::FirstFit, Who::Icecream, Who::Random];

/// Those compared when some commands strike a bad moment.
const STRUCK: [Who; 5] = [Who::Ours, Who::OursTwice, Who::FirstFit, Who::Icecream, Who::Random];
/// The fleet for that, by workers, and how many strike one.
const STRAGGLERS_FLEET: usize = 16;
const ONE_IN: u64 = 100;

/// Means over the seeds of one graph on one size of fleet.
#[derive(Clone, Debug)]
pub struct Row {
    graph: String,
    workers: usize,
    slots: f64,
    /// Seconds.
    bound: Twice<f64>,
    /// Seconds.
    plan: Twice<f64>,
    /// Seconds.
    list: Twice<f64>,
    /// Our makespan over that of the list schedule that leaves no slot idle.
    over_busy: Twice<f64>,
    /// Makespan over that of the list schedule, in the order of [`Who::ALL`].
    ratio: Vec<Twice<f64>>,
    /// Share of commands that found their directory warm, likewise.
    warm: Vec<Twice<f64>>,
}

impl Row {
    /// Runs everybody on a fleet of this size for each seed.
    #[must_use]
    pub fn measure(graph: &BuildGraph, workers: usize, seeds: Range<u64>) -> Self {
        Self::of(graph, workers, seeds, |trial| trial)
    }

    /// The same, with some commands that take far too long.
    #[must_use]
    pub fn unlucky(graph: &BuildGraph, workers: usize, seeds: Range<u64>) -> Self {
        Self::of(graph, workers, seeds, |trial| trial.with_one_unlucky_in(ONE_IN))
    }

    fn of<'a>(
        graph: &'a BuildGraph,
        workers: usize,
        seeds: Range<u64>,
        change: impl Fn(Trial<'a>) -> Trial<'a>,
    ) -> Self {
        let mut row = Self {
            graph: graph.name.clone(),
            workers,
            slots: 0.0,
            bound: [0.0; 2],
            plan: [0.0; 2],
            list: [0.0; 2],
            over_busy: [0.0; 2],
            ratio: vec![[0.0; 2]; Who::ALL.len()],
            warm: vec![[0.0; 2]; Who::ALL.len()],
        };
        let share = 1.0 / (seeds.end - seeds.start).max(1) as f64;
        for seed in seeds {
            let trial = change(Trial::new(graph, workers, seed));
            let yardstick = trial.yardstick();
            row.slots += share * trial.slots() as f64;
            let runs = Who::ALL.map(|who| trial.run(who));
            for time in [0, 1] {
                let list = yardstick.list[time].as_secs_f64();
                row.bound[time] += share * yardstick.bound[time].as_secs_f64();
                row.plan[time] += share * yardstick.plan[time].as_secs_f64();
                row.list[time] += share * list;
                for (who, run) in runs.iter().map(|twice| twice[time]).enumerate() {
                    if Who::ALL[who] == Who::Ours {
                        let busy = yardstick.busy[time].as_secs_f64();
                        row.over_busy[time] += share * run.makespan.as_secs_f64() / busy;
                    }
                    row.ratio[who][time] += share * run.makespan.as_secs_f64() / list;
                    row.warm[who][time] += share * run.warm as f64 / run.remote.max(1) as f64;
                }
            }
        }
        row
    }

    fn ratio(&self, who: Who, time: usize) -> f64 {
        Who::ALL.iter().position(|&other| other == who).map_or(f64::NAN, |index| self.ratio[index][time])
    }

    fn warm(&self, who: Who, time: usize) -> f64 {
        Who::ALL.iter().position(|&other| other == who).map_or(f64::NAN, |index| self.warm[index][time])
    }
}

/// Everything, with a fleet of each size for each seed.
#[must_use]
pub fn tables(graphs: &[BuildGraph], seeds: Range<u64>) -> String {
    let rows: Vec<Row> =
        graphs.iter().flat_map(|graph| FLEETS.map(|workers| Row::measure(graph, workers, seeds.clone()))).collect();
    let stragglers: Vec<Row> =
        graphs.iter().map(|graph| Row::unlucky(graph, STRAGGLERS_FLEET, seeds.clone())).collect();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "{}\n{}\n{}\n{}\n{}",
        graph_table(graphs),
        makespan_table(&rows, 0),
        makespan_table(&rows, 1),
        warmth_table(&rows),
        straggler_table(&stragglers)
    );
    out
}

fn graph_table(graphs: &[BuildGraph]) -> String {
    let mut out = String::from("| build | commands | to workers | depth | CPU | longest | critical path | largest |\n");
    out.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for graph in graphs {
        let real = graph.edges.iter().filter(|edge| edge.kind != EdgeKind::Phony);
        let longest = real.clone().map(|edge| edge.work).max().unwrap_or_default();
        let largest = real.clone().map(|edge| edge.peak_memory >> 20).max().unwrap_or_default();
        let path = graph.to_the_end(|edge| edge.work).into_iter().max().unwrap_or_default();
        let (name, count, remote, depth) = (&graph.name, real.count(), graph.remote_edges(), graph.depth());
        let (work, longest, path) = (seconds(graph.work(|_| true)), seconds(longest), seconds(path));
        let _ = writeln!(
            out,
            "| {name} | {count} | {remote} | {depth} | {work} s | {longest} s | {path} s | {largest} MiB |"
        );
    }
    out
}

fn makespan_table(rows: &[Row], time: usize) -> String {
    let mut out = String::from(match time {
        0 => "First build: no history, cold caches.\n\n",
        _ => "Second build: history and caches of the first.\n\n",
    });
    let names: Vec<&str> = RIVALS.iter().map(|who| who.name()).collect();
    let _ = writeln!(out, "| build | workers (slots) | bound | plan | list | {} | over *busy* |", names.join(" | "));
    let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: |{} ---: |", " ---: |".repeat(names.len()));
    for row in rows {
        let (graph, workers, slots) = (&row.graph, row.workers, row.slots);
        let (bound, plan, list) = (row.bound[time], row.plan[time], row.list[time]);
        let ratios = RIVALS.map(|who| format!("{:.2}", row.ratio(who, time))).join(" | ");
        let over_busy = row.over_busy[time];
        let _ = writeln!(
            out,
            "| {graph} | {workers} ({slots:.0}) | {bound:.2} s | {plan:.2} s | {list:.2} s | {ratios} | {over_busy:.2} |"
        );
    }
    out
}

fn warmth_table(rows: &[Row]) -> String {
    let mut out = String::from("Commands that found the directory of their output warm, first and second build.\n\n");
    let _ = writeln!(out, "| build | workers | {} |", WARM.map(Who::name).join(" | "));
    let _ = writeln!(out, "| --- | ---: |{}", " ---: |".repeat(WARM.len()));
    for row in rows {
        let share = |who, time| row.warm(who, time) * 100.0;
        let shares = WARM.map(|who| format!("{:.0} %, {:.0} %", share(who, 0), share(who, 1))).join(" | ");
        let _ = writeln!(out, "| {} | {} | {shares} |", row.graph, row.workers);
    }
    out
}

fn straggler_table(rows: &[Row]) -> String {
    let mut out = format!(
        "Second build, one command in {ONE_IN} taking {BAD_MOMENT} times as long where it runs first: makespan over the \
         list schedule's of a build without such.\n\n"
    );
    let names: Vec<&str> = STRUCK.iter().map(|who| who.name()).collect();
    let _ = writeln!(out, "| build | workers (slots) | {} |", names.join(" | "));
    let _ = writeln!(out, "| --- | ---: |{}", " ---: |".repeat(names.len()));
    for row in rows {
        let ratios = STRUCK.map(|who| format!("{:.2}", row.ratio(who, 1))).join(" | ");
        let _ = writeln!(out, "| {} | {} ({:.0}) | {ratios} |", row.graph, row.workers, row.slots);
    }
    out
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}
