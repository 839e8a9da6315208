//! Runs simulated worlds: `sim --seed 7` for one, `sim --seeds 10000 --from 1` for many.

use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use scheduler_sim::Manner;

/// Seeded worlds that try to break the scheduler.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Args {
    /// Run this one world and tell what became of it.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// With --seed: write the journal of each run of its server into this directory, for `replay`.
    #[arg(long, value_name = "DIR", requires = "seed", conflicts_with_all = ["outside_only", "restless"])]
    journal: Option<PathBuf>,
    /// Run so many worlds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The scheduler does not check itself: what is wrong must be seen from outside.
    #[arg(long)]
    outside_only: bool,
    /// Servers die more often.
    #[arg(long)]
    restless: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let manner = Manner { outside_only: args.outside_only, restless: args.restless, ..Manner::default() };
    if let Some(seed) = args.seed {
        return run_one(seed, manner, args.journal.as_deref());
    }
    let (mut started, mut doubled, mut completed, mut sent_home, mut faults) = (0, 0, 0, 0, 0);
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let report = scheduler_sim::run_as(seed, manner);
        started += report.started;
        doubled += report.doubled;
        completed += report.completed;
        sent_home += report.sent_home;
        faults += report.faults;
    }
    let seeds = args.seeds;
    println!(
        "{seeds} worlds: {started} commands started ({doubled} as second ones), {completed} jobs completed, {sent_home} sent home, {faults} faults"
    );
    Ok(())
}

fn run_one(seed: u64, manner: Manner, journal: Option<&Path>) -> io::Result<()> {
    let Some(dir) = journal else {
        println!("seed {seed}: {:?}", scheduler_sim::run_as(seed, manner));
        return Ok(());
    };
    let (report, journals) = scheduler_sim::run_recorded(seed);
    println!("seed {seed}: {report:?}");
    for (number, journal) in (1..).zip(&journals) {
        let path = dir.join(format!("seed-{seed}-server-{number}.journal"));
        std::fs::write(&path, journal)?;
        println!("{}", path.display());
    }
    Ok(())
}
