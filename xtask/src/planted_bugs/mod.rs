//! `planted-bugs`: plants bugs in a copy of the scheduler, one after the other, and runs what has to notice each.
//!
//! The scheduler's checks of itself are off in the worlds, so that what is proven is what can be seen from outside. A
//! plant that does not apply any more, or does not compile, is an error and no catch; and before the first is planted,
//! everything that is to notice one has to pass without.

mod catalogue;
mod copy;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;

use crate::flags::PlantedBugs;
use crate::process;
use crate::workspace::Workspace;
use catalogue::{Bug, bugs};
use copy::Copy;

/// Plants them; the last line counts.
pub(crate) fn run(workspace: &Workspace, flags: &PlantedBugs) -> anyhow::Result<ExitCode> {
    let all = bugs()?;
    let wanted = |bug: &&Bug| flags.only.as_ref().is_none_or(|only| bug.name().contains(only));
    let chosen: Vec<&Bug> = all.iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("there is no such bug");
    }
    if flags.list {
        chosen.iter().for_each(|bug| println!("{}  [{}]", bug.name(), bug.by));
        return Ok(ExitCode::SUCCESS);
    }
    let copy = Copy::make(workspace)?;
    for by in chosen.iter().map(|bug| &bug.by).collect::<BTreeSet<_>>() {
        if !copy.passes(by, flags.seeds)?.passed {
            bail!("{by} fail without any bug");
        }
    }
    let (mut caught, mut missed) = (0, Vec::new());
    for bug in &chosen {
        let start = Instant::now();
        let noticed = copy.with(bug, || copy.passes(&bug.by, flags.seeds))?;
        process::check_interrupted()?;
        let word = if noticed.passed { "MISSED" } else { "caught" };
        println!("{word} {:>5.1} s  {}  [{}] {}", start.elapsed().as_secs_f64(), bug.name(), bug.by, noticed.how);
        if noticed.passed { missed.push(bug.name()) } else { caught += 1 }
    }
    println!("\nplanted {}, caught {caught}", chosen.len());
    missed.iter().for_each(|name| println!("missed: {name}"));
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
