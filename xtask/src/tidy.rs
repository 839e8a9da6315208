//! `tidy`: the arrows between the crates (house-style.md section 2), and what else architecture promises.
//! Architecture deserves a check, taste does not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Package};

use crate::workspace::Workspace;

/// Every crate of the product, and the crates of the product that it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("cluster-file", &["model"]),
    ("cmdline", &["model"]),
    ("proto", &["model"]),
    ("scheduler-core", &["model"]),
    ("journal", &["model", "scheduler-core"]),
    ("scheduler-sim", &["model", "scheduler-core", "journal"]),
    ("cpu-class", &["model"]),
    ("commit", &["model"]),
    ("daemon-kit", &["model"]),
    ("distccd-ctl", &["proto", "cluster-file", "daemon-kit", "launcher-kit", "toolchain"]),
    ("distccd-server", &["model", "proto", "scheduler-core", "journal", "cluster-file", "daemon-kit"]),
    ("toolchain", &[]),
    ("distccd-worker", &["model", "proto", "cluster-file", "commit", "cpu-class", "daemon-kit", "toolchain"]),
    ("launcher-kit", &["model", "cluster-file", "cmdline", "commit", "cpu-class", "proto", "toolchain"]),
    ("cc-launcher", &["launcher-kit"]),
    ("ld-launcher", &["launcher-kit"]),
    ("e2e", &["distccd-server", "distccd-worker"]),
    ("xtask", &[]),
];

/// Crates that decide and compute, and so need nothing but `alloc`: they import no crate at all from outside.
const PURE: [&str; 3] = ["model", "cmdline", "scheduler-core"];

/// Names under which everything ends up.
const NO_ROOMS: [&str; 6] = ["common", "core", "helpers", "misc", "shared", "utils"];

/// Every check; all that is wrong is said at once.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    check_arrows(&workspace.packages(), &mut wrong);
    for name in ["model", "scheduler-core"] {
        check_no_std(workspace, name, &mut wrong)?;
    }
    check_code_map(workspace, &mut wrong)?;
    if wrong.is_empty() {
        println!("{} crates, every arrow points up", workspace.packages().len());
        return Ok(());
    }
    bail!("{} things are not as the map says:\n  {}", wrong.len(), wrong.join("\n  "));
}

fn check_arrows(packages: &[&Package], wrong: &mut Vec<String>) {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in packages {
        let name = package.name.as_str();
        if NO_ROOMS.contains(&name) {
            wrong.push(format!("a crate called {name}: name it for what it does"));
        }
        let Some(allowed) = arrows.get(name) else {
            wrong.push(format!("{name} is not on the map: give it arrows in xtask/src/tidy.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // Tests and build scripts may look wherever they like, except that purity is for tests too.
            let counts = dependency.kind == DependencyKind::Normal;
            if counts && ours.contains(to) && !allowed.contains(&to) {
                wrong.push(format!("{name} must not import {to}"));
            }
            if counts && !ours.contains(to) && PURE.contains(&name) {
                wrong.push(format!("{name} is pure and must not import {to}"));
            }
        }
    }
    for (name, _) in ARROWS.iter().filter(|(name, _)| !ours.contains(name)) {
        wrong.push(format!("{name} is on the map but not in the workspace"));
    }
}

/// `#![no_std]` turns purity from a promise into a compile error.
fn check_no_std(workspace: &Workspace, name: &str, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let path = workspace.root().join("crates").join(name).join("src/lib.rs");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let pure = text.lines().any(|line| line.trim() == "#![no_std]" || line.trim() == "#![cfg_attr(not(test), no_std)]");
    if !pure {
        wrong.push(format!("{name} is not #![no_std]"));
    }
    Ok(())
}

/// The README's code map names every crate, once there is a README.
fn check_code_map(workspace: &Workspace, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let path = workspace.root().join("README.md");
    if !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for package in workspace.packages() {
        let dir = package.manifest_path.parent().and_then(|dir| dir.file_name()).unwrap_or(package.name.as_str());
        let named = [package.name.as_str(), dir]
            .iter()
            .any(|name| text.contains(&format!("{name}/")) || text.contains(&format!("`{name}`")));
        if !named {
            wrong.push(format!("the code map of README.md does not name {}", package.name));
        }
    }
    Ok(())
}
