//! `record-graph`: a real build as a build graph for `bench makespan`: every command of a ninja build, what it waits
//! for, and what it costs.
//!
//! The commands are ninja's own, run here in an order that the graph allows and each measured with `wait4(2)`, because
//! ninja's log knows wall time alone, and that says little on a machine with other things to do. What is kept as a
//! command's duration is its CPU time.

mod graph;
mod measure;
mod write;

use std::path::Path;

use anyhow::Context;

use crate::flags::RecordGraph;
use crate::prerequisites::{self, CMAKE};

/// Builds `flags.target` in the configured, not yet built directory `flags.dir`, and writes the graph.
pub(crate) fn run(flags: &RecordGraph) -> anyhow::Result<()> {
    prerequisites::ensure(CMAKE)?;
    let dir = flags.dir.canonicalize().with_context(|| format!("cannot find {}", flags.dir.display()))?;
    let source = match &flags.source {
        Some(source) => source.canonicalize().with_context(|| format!("cannot find {}", source.display()))?,
        None => dir.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let edges = graph::read(&dir, &flags.target)?;
    let costs = measure::run_all(&dir, &edges, flags.jobs.max(1))?;
    let text = write::text(flags, &dir, &source, &edges, &costs);
    std::fs::write(&flags.out, &text).with_context(|| format!("cannot write {}", flags.out.display()))?;
    let cpu: f64 = costs.iter().map(|cost| cost.cpu.as_secs_f64()).sum();
    println!("{} edges, {cpu:.0} s of CPU, {} bytes in {}", edges.len(), text.len(), flags.out.display());
    Ok(())
}
