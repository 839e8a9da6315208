//! `torture`: GCC's own compile tests, each compiled directly and through `cc-launcher` in the very same directory, and
//! compared in everything that a build could notice.
//!
//! Tests that must not compile are as welcome as those that must: what the compiler complains about is its result.

mod directives;
mod run;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

use crate::cluster::{Cluster, Plan};
use crate::flags::Torture;
use crate::prerequisites::{self, GCC_TESTS};
use crate::project::ledger::Ledger;
use crate::workspace::Workspace;
use run::{Lane, Verdict};
use suite::{Case, Suite};

/// Runs a sample; success when nothing differs and workers were at work.
pub(crate) fn run(workspace: &Workspace, flags: &Torture) -> anyhow::Result<ExitCode> {
    prerequisites::ensure(GCC_TESTS)?;
    let suite = Suite::unpacked(workspace)?;
    let cases = suite.sample(flags.seed, flags.count, flags.only.as_deref())?;
    let binaries = workspace.release_binaries()?;
    let scratch = suite.scratch()?;
    let outcome = torture(&suite, &cases, &binaries, scratch.path(), flags);
    if flags.keep {
        println!("kept: {}", scratch.keep().display());
    }
    Ok(if outcome? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn torture(suite: &Suite, cases: &[Case], binaries: &Path, scratch: &Path, flags: &Torture) -> anyhow::Result<bool> {
    let logs = scratch.join("logs");
    std::fs::create_dir(&logs)?;
    let plan = Plan::new(binaries, suite.mount(), &logs, flags.workers, 2);
    let mut cluster = Cluster::start(&plan)?;
    let lanes = lanes(&cluster, binaries, scratch, flags.jobs.max(1));
    let verdicts = drive(&lanes, cases)?;
    drop(lanes);
    cluster.check_alive()?;

    let ledger = Ledger::take(&notes_of(scratch))?.context("the launchers left no notes")?;
    report(flags.seed, cases, &verdicts, &ledger);
    let differ = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Differs(_))).count();
    Ok(differ == 0 && ledger.away() > 0)
}

/// Where the launchers of every lane note what ran where; each note is one write at the end of the file.
fn notes_of(scratch: &Path) -> PathBuf {
    scratch.join("logs/notes")
}

/// Directories in each of which one test runs at a time.
fn lanes<'a>(cluster: &'a Cluster, binaries: &Path, scratch: &Path, count: usize) -> Vec<Lane<'a>> {
    let lane = |number: usize| Lane {
        dir: scratch.join(format!("lane{number}")),
        notes: notes_of(scratch),
        launcher: binaries.join("cc-launcher"),
        introduce: Box::new(|command| cluster.introduce(command)),
    };
    (0..count).map(lane).collect()
}

/// Every case in some lane; verdicts in the order of the cases.
fn drive(lanes: &[Lane<'_>], cases: &[Case]) -> anyhow::Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(cases.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        let work = |lane: &Lane<'_>| -> anyhow::Result<()> {
            while let Some((number, case)) = take(&next, cases) {
                let verdict = lane.judge(case).with_context(|| case.name.clone())?;
                verdicts.lock().expect("no lane panicked")[number] = Some(verdict);
            }
            Ok(())
        };
        let threads: Vec<_> = lanes.iter().map(|lane| scope.spawn(move || work(lane))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a lane does not panic"))
    })?;
    Ok(verdicts.into_inner().expect("no lane panicked").into_iter().flatten().collect())
}

fn take<'a>(next: &AtomicUsize, cases: &'a [Case]) -> Option<(usize, &'a Case)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    cases.get(number).map(|case| (number, case))
}

fn report(seed: u64, cases: &[Case], verdicts: &[Verdict], ledger: &Ledger) {
    let (mut differ, mut random) = (0, 0);
    for (case, verdict) in cases.iter().zip(verdicts) {
        match verdict {
            Verdict::Same => {}
            Verdict::Random(what) => {
                random += 1;
                println!("random even if compiled directly: {} ({})", case.name, what.join("; "));
            }
            Verdict::Differs(what) => {
                differ += 1;
                println!("DIFFERS: {}\n  {}\n  {}", case.name, case.shown(), what.join("\n  "));
            }
        }
    }
    println!("seed {seed}: {}", ledger.summary());
    if random > 0 {
        println!("{random} tests are random in part even if compiled directly; what is not random in them is equal");
    }
    println!("{} tests, {differ} differ, {} ran on workers", verdicts.len(), ledger.away());
}
