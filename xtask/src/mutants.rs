//! `mutants`: cargo-mutants on the scheduler, with the tests of its own crate.
//!
//! It works on an excerpt of the workspace in which all of them are one program: a mutant costs a compilation, and seventeen
//! test programs would cost seventeen.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::flags::Mutants;
use crate::workspace::Workspace;
use crate::{excerpt, process};

/// Compiling costs more than testing: without optimisation it takes a quarter of the time.
const PROFILE: &str = "
[profile.mutants]
inherits = \"test\"
opt-level = 0
debug = \"none\"
";

/// Tries the mutants; survivors are listed, and below the target directory is all that came of it.
pub(crate) fn run(workspace: &Workspace, flags: &Mutants) -> anyhow::Result<()> {
    if !process::on_path("cargo-mutants") {
        println!("cargo-mutants is not there: installing it");
        process::run_shown(workspace.cargo().args(["install", "--locked", "--quiet", "cargo-mutants"]))?;
    }
    let root = excerpt::make(workspace, "mutants", &["model", "scheduler-core"], PROFILE)?;
    join_tests(&root.join("crates/scheduler-core/tests"))?;
    let mut cargo = workspace.cargo();
    cargo.env_remove("CARGO_TARGET_DIR");
    let status = process::wait(cargo_mutants(&mut cargo, &root, flags))?;
    match status.code() {
        Some(0) => Ok(()),
        // What it found is no failure of its own.
        Some(2 | 3) => {
            println!("survivors are to be killed by a test, or argued for in docs/scheduling.md");
            Ok(())
        }
        _ => bail!("cargo-mutants: {status}"),
    }
}

fn cargo_mutants<'a>(cargo: &'a mut Command, root: &Path, flags: &Mutants) -> &'a mut Command {
    cargo.arg("mutants").arg("--dir").arg(root).arg("--output").arg(root);
    cargo.args(["--in-place", "--package=scheduler-core", "--cargo-arg=--offline"]);
    if flags.list {
        cargo.arg("--list");
    } else {
        cargo.args(["--profile=mutants", "--no-shuffle"]);
        // It ends at the first failure.
        cargo.args(process::on_path("cargo-nextest").then_some("--test-tool=nextest"));
    }
    cargo.args(flags.shard.iter().map(|shard| format!("--shard={shard}")));
    cargo.args(flags.only.iter().map(|only| format!("--re={only}")))
}

/// Makes one test program, `all`, of those in this directory: each becomes a module of it.
fn join_tests(dir: &Path) -> anyhow::Result<()> {
    let (mut main, mut moves) = (String::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).context("a name")?.to_owned();
        writeln!(main, "mod {name};")?;
        moves.push((path, name));
    }
    let all = dir.join("all");
    std::fs::create_dir_all(&all)?;
    for (path, name) in moves {
        if path.is_dir() {
            std::fs::rename(&path, all.join(&name))?;
            continue;
        }
        let joined = as_module(&std::fs::read_to_string(&path)?);
        std::fs::write(all.join(format!("{name}.rs")), joined)?;
        std::fs::remove_file(&path)?;
    }
    std::fs::write(all.join("main.rs"), main).context("cannot write main.rs")
}

/// The text of a test program as a module beside others: the modules that it had of its own are the others' too.
fn as_module(text: &str) -> String {
    let own = |line: &str| match line {
        "mod world;" => "use crate::world;".to_owned(),
        "mod reference;" => "use crate::reference;".to_owned(),
        "mod observers;" => "use crate::reference::observers;".to_owned(),
        // Where the program had it from.
        line if line.starts_with("#[path") => String::new(),
        line => line.to_owned(),
    };
    text.lines().map(|line| own(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_become_modules_of_one() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("world")).expect("a directory");
        std::fs::write(dir.path().join("world/mod.rs"), "pub fn f() {}\n").expect("a file");
        std::fs::write(dir.path().join("retry.rs"), "//! Retry.\n\nmod world;\nuse world::f;\n").expect("a file");

        join_tests(dir.path()).expect("joined");

        let read = |name: &str| std::fs::read_to_string(dir.path().join("all").join(name)).expect(name);
        assert_eq!(read("retry.rs"), "//! Retry.\n\nuse crate::world;\nuse world::f;\n");
        assert!(read("main.rs").contains("mod retry;\n") && read("main.rs").contains("mod world;\n"));
        assert!(!dir.path().join("retry.rs").exists() && dir.path().join("all/world/mod.rs").exists());
    }
}
