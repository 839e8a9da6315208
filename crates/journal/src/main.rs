//! `replay JOURNAL`: lives through a journal again and says whether everything went as recorded.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

/// Feed the scheduler a journal and compare what it orders, step by step.
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
struct Args {
    /// What the server wrote with --journal, or `sim --journal`
    #[arg(value_name = "JOURNAL", required = true)]
    journals: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    for path in Args::parse().journals {
        let shown = path.display();
        let file = File::open(&path).with_context(|| format!("cannot open {shown}"))?;
        let replayed = journal::replay(BufReader::new(file)).with_context(|| format!("{shown}"))?;
        let (steps, actions, seconds) = (replayed.steps, replayed.actions, replayed.lasted.as_micros() / 1_000_000);
        println!("{shown}: {steps} steps in {seconds} s led to the same {actions} actions");
        let (sent, warm) = (replayed.sent, replayed.warm);
        println!(
            "{shown}: {sent} attempts sent, {warm} of them to workers that were warm for their output's directory"
        );
        if replayed.is_torn {
            println!("{shown}: it ends in the middle of a step, as when its server was killed");
        }
    }
    Ok(())
}
