//! Prints the tables of `cargo xtask bench makespan`.

use clap::Parser;

use scheduler_sim::graph;
use scheduler_sim::makespan::report;

/// Recorded builds on simulated fleets, under several schedulers.
#[derive(Debug, Parser)]
#[command(name = "makespan", version)]
struct Args {
    /// Fleets of each size
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The first of them: others than the tables', to see whether they hold on fleets that nobody looked at
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only builds whose name contains this
    #[arg(long)]
    only: Option<String>,
}

fn main() {
    let args = Args::parse();
    let mut graphs = graph::recorded();
    // What we could not record: the same build several times beside each other.
    let larger: Vec<_> = graphs.iter().map(|graph| graph.replicated(8)).collect();
    graphs.extend(larger);
    graphs.retain(|graph| args.only.as_ref().is_none_or(|only| graph.name.contains(only)));
    print!("{}", report::tables(&graphs, args.from..args.from.saturating_add(args.seeds)));
}
