//! This machine beside the server and its workers: filesystems, clocks, releases, tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proto::v1::{Status, Toolchain, WorkerStatus};
use toolchain::{Digests, Fingerprint, Identity};

use super::trial::{Report, now_ms, skew_finding};
use super::{Finding, Severity};
use crate::show;

/// What builds call. Each counts only if this machine has it.
const TOOLS: [&str; 10] = ["gcc", "g++", "cc", "c++", "clang", "clang++", "as", "ld", "ar", "ranlib"];
/// Most workers that are named in one finding.
const NAMED: usize = 5;

/// Compares this machine with what the server says.
#[must_use]
pub fn examine(status: &Status, reports: &[(PathBuf, Report)], clock_offset: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(reports.iter().filter_map(|(mount, report)| identity(status, mount, report)));
    findings.extend(reports.iter().filter_map(|(mount, _)| holders(status, mount)));
    if status.time_ms > 0 {
        let theirs = i64::try_from(status.time_ms).unwrap_or(i64::MAX);
        findings.push(skew_finding("clock", "the server's", now_ms() + clock_offset - theirs));
    }
    findings.extend(releases(status));
    findings.extend(workers(status));
    findings.extend(tools(status));
    findings.extend(headers(status));
    findings
}

/// Whether workers have this machine's mount, by its name.
fn holders(status: &Status, mount: &Path) -> Option<Finding> {
    let has = |worker: &&WorkerStatus| worker.mounts.iter().any(|it| it.path == mount.as_os_str().as_encoded_bytes());
    let lacking: Vec<&WorkerStatus> = status.workers.iter().filter(|worker| !has(worker)).collect();
    if lacking.is_empty() {
        return None;
    }
    let severity = severity_of_lack(status, &lacking);
    let text = format!("is no shared mount of {}: jobs there do not go to them", names(&lacking));
    let remedy = "name it in `fs_mount` on them too; it has the same path everywhere";
    Some(Finding::new(severity, &mount.display().to_string(), text, remedy))
}

fn identity(status: &Status, mount: &Path, report: &Report) -> Option<Finding> {
    let subject = mount.display().to_string();
    let here = status.mounts.iter().find(|known| known.path == mount.as_os_str().as_encoded_bytes())?;
    let theirs = show::hex(&here.identity);
    Some(match &report.identity {
        Some(ours) if *ours == theirs => Finding::fine(&subject, "is the server's filesystem"),
        Some(_) => Finding::new(
            Severity::Error,
            &subject,
            "is another filesystem than the server has at the same path",
            "mount the same export everywhere; jobs from here would read and write other files",
        ),
        None => Finding::new(
            Severity::Error,
            &subject,
            "is not the server's filesystem: .distccd/mount.id is missing",
            "mount the shared filesystem there; perhaps this is the empty mount point",
        ),
    })
}

fn releases(status: &Status) -> Vec<Finding> {
    let version = |software: &str| software.rsplit(' ').next().unwrap_or_default().to_owned();
    let ours = env!("CARGO_PKG_VERSION");
    let server = status.server.as_ref().map(|hello| version(&hello.software)).unwrap_or_default();
    let differ = |worker: &&WorkerStatus| !worker.software.is_empty() && version(&worker.software) != server;
    let others: Vec<&WorkerStatus> = status.workers.iter().filter(differ).collect();
    let mut findings = Vec::new();
    if server != ours {
        let text = format!("the server is release {server}, and this machine has {ours}");
        findings.push(Finding::new(Severity::Warning, "versions", text, "install one release everywhere"));
    }
    if !others.is_empty() {
        let text = format!("the server is release {server}, and these workers are not: {}", names(&others));
        findings.push(Finding::new(Severity::Warning, "versions", text, "install one release everywhere"));
    }
    if findings.is_empty() {
        findings.push(Finding::fine("versions", format!("all are release {ours}")));
    }
    findings
}

fn workers(status: &Status) -> Vec<Finding> {
    if status.workers.is_empty() {
        let remedy = "start distccd-worker on the build machines";
        return vec![Finding::new(Severity::Warning, "workers", "none is attached", remedy)];
    }
    let mut findings = Vec::new();
    for worker in &status.workers {
        for report in show::problems(worker) {
            let text = format!(
                "{} gets no jobs of {}: it {}",
                worker.name,
                String::from_utf8_lossy(&report.path),
                report.problem
            );
            findings.push(Finding::new(
                Severity::Error,
                "workers",
                text,
                "mend the mount on that machine; run doctor there",
            ));
        }
        if let Some(off) = show::clock_trouble(worker) {
            let remedy = "have chrony or systemd-timesyncd keep the time there";
            findings.push(Finding::new(Severity::Warning, "clock", format!("{}: {off}", worker.name), remedy));
        }
        if matches!(worker.state.as_str(), "benched" | "silent") {
            let text = format!("{} is {}", worker.name, worker.state);
            findings.push(Finding::new(Severity::Warning, "workers", text, "see its log, and run doctor there"));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("workers", format!("{} attached", status.workers.len())));
    }
    findings
}

/// Whether workers have this machine's tools, as jobs ask for them: at the same path, with the same content of all that
/// they execute and read.
fn tools(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut same = Vec::new();
    for (path, own) in own_tools() {
        let is_same = |tool: &Toolchain| tool.path == path.as_os_str().as_encoded_bytes() && own.is_like(tool);
        let has = |worker: &&WorkerStatus| worker.toolchains.iter().any(is_same);
        let lacking: Vec<&WorkerStatus> = status.workers.iter().filter(|worker| !has(worker)).collect();
        if lacking.is_empty() {
            same.push(path.display().to_string());
            continue;
        }
        let severity = severity_of_lack(status, &lacking);
        let text = format!("{} is missing, or is another, on {}", path.display(), names(&lacking));
        let remedy = "install the same package in the same version there; until then such jobs run elsewhere or here";
        findings.push(Finding::new(severity, "tools", text, remedy));
    }
    if findings.is_empty() && !status.workers.is_empty() {
        findings.push(Finding::fine("tools", format!("all workers have {}", same.join(" "))));
    }
    findings
}

/// A tool of this machine.
struct Own {
    size: u64,
    /// None when its parts cannot be read: then nobody is told to have another.
    fingerprint: Option<Fingerprint>,
}

impl Own {
    fn is_like(&self, theirs: &Toolchain) -> bool {
        match &self.fingerprint {
            Some(ours) if !theirs.fingerprint.is_empty() => ours.0[..] == theirs.fingerprint[..],
            _ => self.size == theirs.size,
        }
    }
}

/// The tools of this machine by where they really are.
fn own_tools() -> BTreeMap<PathBuf, Own> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |tool: &&str| std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.is_file());
    let real = TOOLS.iter().filter_map(|tool| fs::canonicalize(find(tool)?).ok());
    let digests = Digests::default();
    let look = |file: PathBuf| {
        let size = fs::metadata(&file).ok()?.len();
        let identity = Identity::of(&file, &digests).ok();
        Some((file, Own { size, fingerprint: identity.map(|identity| identity.known().fingerprint()) }))
    };
    real.collect::<BTreeSet<_>>().into_iter().filter_map(look).collect()
}

fn headers(status: &Status) -> Option<Finding> {
    let ours = daemon_kit::system_headers::digest()?.to_be_bytes();
    let differ = |worker: &&WorkerStatus| !worker.headers.is_empty() && worker.headers != ours[..];
    let others: Vec<&WorkerStatus> = status.workers.iter().filter(differ).collect();
    if others.is_empty() {
        return None;
    }
    let text = format!("the C library's headers in /usr/include are others on {}", names(&others));
    let remedy = "install the same version of libc6-dev (glibc-headers) there: objects of both do not go together";
    Some(Finding::new(Severity::Error, "tools", text, remedy))
}

/// How bad it is that these workers lack something that jobs from here need.
fn severity_of_lack(status: &Status, lacking: &[&WorkerStatus]) -> Severity {
    if lacking.len() == status.workers.len() { Severity::Error } else { Severity::Warning }
}

fn names(workers: &[&WorkerStatus]) -> String {
    let mut named: Vec<&str> = workers.iter().take(NAMED).map(|worker| worker.name.as_str()).collect();
    let more = format!("{} more", workers.len().saturating_sub(NAMED));
    if workers.len() > NAMED {
        named.push(&more);
    }
    named.join(", ")
}
