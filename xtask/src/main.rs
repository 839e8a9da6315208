//! `cargo xtask TASK`: what a developer or CI does with this repository, one file per task.
//!
//! Tasks run the product as its users do: as binaries. None of its crates is imported here (`tidy` checks that).

mod bench;
mod chaos;
mod cluster;
mod demo;
mod dist;
mod elf;
mod excerpt;
mod fetch;
mod fidelity;
mod filesystems;
mod flags;
mod fuzz;
mod install;
mod launchers;
mod mutants;
mod planted_bugs;
mod prerequisites;
mod process;
mod project;
mod real_builds;
mod record_graph;
mod replay;
mod sim;
mod test;
mod tidy;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::flags::{Bench, Task, Xtask};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    process::catch_interrupts();
    match run(Xtask::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    if let Task::TestFilesystems(flags) = &task
        && let Some(dir) = &flags.here
    {
        // Where there may be no cargo.
        return filesystems::here(dir, flags);
    }
    let workspace = Workspace::find()?;
    match task {
        Task::Bench(Bench::Makespan(flags)) => bench::makespan(&workspace, &flags)?,
        Task::Bench(Bench::Isolation(flags)) => bench::isolation(&workspace, &flags)?,
        Task::Bench(Bench::Metadata(flags)) => bench::metadata(&workspace, &flags)?,
        Task::Bench(Bench::Overhead(flags)) => bench::overhead(&workspace, &flags)?,
        Task::Bench(Bench::Scheduler(flags)) => bench::scheduler(&workspace, &flags)?,
        Task::Bench(Bench::Warmth(flags)) => bench::warmth(&workspace, &flags)?,
        Task::Chaos(flags) => return chaos::run(&workspace, &flags),
        Task::Demo(flags) => return demo::run(&workspace, &flags),
        Task::Dist(flags) => dist::run(&workspace, &flags)?,
        Task::Fidelity(flags) => fidelity::run(&workspace, &flags)?,
        Task::Fuzz(flags) => fuzz::run(&workspace, &flags)?,
        Task::Install(flags) => install::run(&workspace, &flags)?,
        Task::Launchers => launchers::run(&workspace)?,
        Task::Mutants(flags) => mutants::run(&workspace, &flags)?,
        Task::PlantedBugs(flags) => return planted_bugs::run(&workspace, &flags),
        Task::RealBuilds(flags) => return real_builds::run(&workspace, &flags),
        Task::RecordGraph(flags) => record_graph::run(&flags)?,
        Task::Replay(flags) => replay::run(&workspace, &flags)?,
        Task::Sim(flags) => sim::run(&workspace, &flags)?,
        Task::Test(flags) => return test::run(&workspace, &flags),
        Task::TestFilesystems(flags) => return filesystems::run(&workspace, &flags),
        Task::Tidy => tidy::run(&workspace)?,
        Task::Torture(flags) => return torture::run(&workspace, &flags),
    }
    Ok(ExitCode::SUCCESS)
}
