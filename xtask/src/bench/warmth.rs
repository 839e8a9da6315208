//! `bench warmth`: in a real build on real daemons, how many commands go to a worker that has written into the directory
//! of their output before; with the scheduler's preference for such workers, and without.

use std::path::Path;

use anyhow::Context;

use crate::bench::document;
use crate::cluster::{self, Cluster, Plan};
use crate::fetch;
use crate::flags::Warmth;
use crate::process;
use crate::project::{How, Recipe, Wrapped, catalogue};
use crate::workspace::Workspace;

const WORKERS: usize = 16;
const SLOTS: usize = 2;
/// Enough that some wait at the server: a slot that falls free has several commands to choose from.
const JOBS: usize = 3 * WORKERS * SLOTS;
/// Without preference: no price for a cold directory, and no look for a warm job beyond the one whose turn it is.
const INDIFFERENT: &str = "cold_directory = \"0s\"\nlook_ahead = 0\n";

/// How one build's commands were spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spread {
    sent: u64,
    warm: u64,
}

/// Prints the table; with `--write`, into the document as well.
pub(crate) fn warmth(workspace: &Workspace, flags: &Warmth) -> anyhow::Result<()> {
    let binaries = workspace.release_binaries()?;
    let recipe = catalogue::lua_copies();
    recipe.install_needs()?;
    let sources = fetch::debian_source(workspace, &recipe.source)?;
    let mut sums = [Spread::default(); 2];
    for round in 0..flags.rounds {
        for (sum, settings) in sums.iter_mut().zip(["", INDIFFERENT]) {
            let scratch = workspace.scratch("bench-warmth")?;
            recipe.unpack(&sources, &scratch.path().join("shared/project"))?;
            let spread = build(workspace, &binaries, scratch.path(), &recipe, settings)?;
            println!("round {}: {} of {} commands on warm workers", round + 1, spread.warm, spread.sent);
            sum.sent += spread.sent;
            sum.warm += spread.warm;
        }
    }
    let table = table(&recipe, &sums);
    print!("{table}");
    if flags.write { document::write(workspace, document::SCHEDULING, "warmth", &table) } else { Ok(()) }
}

fn build(
    workspace: &Workspace,
    binaries: &Path,
    scratch: &Path,
    recipe: &Recipe,
    settings: &str,
) -> anyhow::Result<Spread> {
    let (mount, logs) = (scratch.join("shared"), scratch.join("logs"));
    let (tree, masquerade, journal) = (mount.join("project"), mount.join("bin"), scratch.join("journal"));
    for dir in [&logs, &masquerade] {
        std::fs::create_dir_all(dir)?;
    }
    let wrapped = Wrapped::new(binaries, &masquerade, &logs)?;
    let how = How { tree: &tree, logs: &logs, jobs: JOBS, wrapped: Some(&wrapped) };
    recipe.configure(&how, |command| {
        cluster::scrub(command);
        command.env("DISTCCD_DISABLE", "1");
    })?;
    let plan = Plan { server: settings, journal: Some(&journal), ..Plan::new(binaries, &mount, &logs, WORKERS, SLOTS) };
    let mut cluster = Cluster::start(&plan)?;
    recipe.build(&how, |command| cluster.introduce(command))?;
    cluster.check_alive()?;
    // The journal is whole when its server has ended.
    drop(cluster);
    spread(workspace, &journal)
}

/// What replaying a journal says of it.
fn spread(workspace: &Workspace, journal: &Path) -> anyhow::Result<Spread> {
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--package", "journal", "--bin", "replay", "--"]).arg(journal);
    let said = process::capture(&mut cargo)?;
    parse(&said).with_context(|| format!("replay did not say how many attempts were warm:\n{said}"))
}

fn parse(said: &str) -> Option<Spread> {
    let line = said.lines().find(|line| line.contains(" attempts sent, "))?;
    let mut numbers = line.rsplit_once(": ")?.1.split(' ').filter_map(|word| word.parse().ok());
    Some(Spread { sent: numbers.next()?, warm: numbers.next()? })
}

fn table(recipe: &Recipe, sums: &[Spread; 2]) -> String {
    let mut text = format!(
        "| {} on {WORKERS} workers with {SLOTS} slots, {JOBS} commands under way | commands | on warm workers |\n| --- | ---: | ---: |\n",
        recipe.title
    );
    for (name, Spread { sent, warm }) in ["warmth preferred", "warmth ignored"].into_iter().zip(sums) {
        let percent = 100.0 * *warm as f64 / (*sent).max(1) as f64;
        text.push_str(&format!("| {name} | {sent} | {percent:.0} % |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replay_says_is_understood() {
        let said = "/x/j: 9 steps in 1 s led to the same 7 actions\n\
                    /x/j: 117 attempts sent, 90 of them to workers that were warm for their output's directory\n";

        assert_eq!(parse(said), Some(Spread { sent: 117, warm: 90 }));
        assert_eq!(parse("/x/j: nothing\n"), None);
    }
}
