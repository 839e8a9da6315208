//! `doctor`: what is wrong on this machine, and what would mend it. Bounded in time, whatever hangs.

pub mod appearance;
pub mod cluster;
pub mod options;
pub mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::v1::{Status, WorkerStatus};
use serde::{Deserialize, Serialize};

use crate::cli::{Cli, Doctor, Format, Task};
use crate::helper::{self, NoAnswer};
use crate::server::{self, Server, Trouble};
use trial::{Report, Trial};

/// All trials of one mount.
const TRIAL_PATIENCE: Duration = Duration::from_secs(20);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Costs speed or safety.
    Warning,
    /// Jobs fail, or stay at home.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a mount, `server`, `tools`, `clock`.
    pub subject: String,
    /// What was seen.
    pub text: String,
    /// What would mend it; empty when nothing is to be mended.
    pub remedy: String,
}

impl Finding {
    /// Something to be mended.
    #[must_use]
    pub fn new(severity: Severity, subject: &str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity, subject: subject.to_owned(), text: text.into(), remedy: remedy.into() }
    }

    /// Something that is as it should be.
    #[must_use]
    pub fn fine(subject: &str, text: impl Into<String>) -> Self {
        Self::new(Severity::Fine, subject, text, "")
    }
}

/// Examines; the exit code.
///
/// # Errors
/// When the settings are wrong. A server that does not answer is a finding.
pub async fn run(cli: &Cli, asked: &Doctor) -> Result<u8, Trouble> {
    let settings = server::settings(cli)?;
    let mut findings = Vec::new();
    let mut reports: Vec<(PathBuf, Report)> = Vec::new();
    for mount in &settings.fs_mounts {
        let subject = mount.display().to_string();
        match helper::ask::<Report>(Task::Try, &trial_of(mount, asked), TRIAL_PATIENCE) {
            Ok(report) => {
                findings.extend(report.findings.iter().cloned());
                reports.push((mount.clone(), report));
                // Only a mount that answers is asked again.
                if let Ok(server::Found { doubt: Some(doubt), .. }) = server::search_bounded(&settings, mount) {
                    let file = cluster_file::path_on(mount).display().to_string();
                    findings.push(Finding::new(
                        Severity::Error,
                        &subject,
                        format!("{file} is passed over: {doubt}"),
                        "have the server write it anew: remove it and restart the server, or set service_user",
                    ));
                }
            }
            Err(NoAnswer::Hangs(patience)) => findings.push(Finding::new(
                Severity::Error,
                &subject,
                format!("does not answer within {patience:?}"),
                "check the filesystem's servers and the network; unmount it (umount -l) and mount it again",
            )),
            Err(NoAnswer::Broken(why)) => findings.push(Finding::new(
                Severity::Error,
                &subject,
                format!("cannot be examined: {why}"),
                "report this as a bug of distccd-ctl",
            )),
        }
    }
    let whereabouts = server::whereabouts(&settings);
    let (address, by) = (whereabouts.address.clone(), whereabouts.by.clone());
    let mut server = Server::at(whereabouts)?;
    match server.status().await {
        Err(trouble) => findings.push(Finding::new(
            Severity::Error,
            "server",
            trouble.to_string().replace('\n', "; "),
            "start distccd-server, open its port between the machines, or correct server_addr; without it all runs here",
        )),
        Ok(status) => {
            findings.push(Finding::fine("server", format!("{address} answers ({by})")));
            findings.extend(cluster::examine(&status, &reports, asked.clock_offset));
            for (mount, report) in &reports {
                // Where it is the same filesystem.
                let theirs = status.mounts.iter().find(|known| known.path == mount.as_os_str().as_encoded_bytes());
                if theirs.is_some_and(|theirs| report.identity == Some(crate::show::hex(&theirs.identity))) {
                    let workers: Vec<&str> = sound_workers(&status, mount).collect();
                    findings.extend(appearance::examine(&mut server, mount, &workers).await);
                }
            }
        }
    }
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine);
    crate::print(&show(&findings, cli.format));
    Ok(u8::from(worst >= Severity::Warning))
}

/// The workers that see the very mount, by name.
fn sound_workers<'a>(status: &'a Status, mount: &Path) -> impl Iterator<Item = &'a str> {
    let mount = mount.as_os_str().as_encoded_bytes().to_vec();
    let sees = move |worker: &&WorkerStatus| {
        worker.mounts.iter().any(|report| report.path == mount && report.problem.is_empty())
    };
    status.workers.iter().filter(|worker| worker.state != "silent").filter(sees).map(|worker| worker.name.as_str())
}

fn trial_of(mount: &Path, asked: &Doctor) -> Trial {
    let cwd = std::env::var_os("PWD").map(PathBuf::from).filter(|cwd| cwd.starts_with(mount));
    let named = asked.dir.clone().filter(|dir| dir.starts_with(mount));
    Trial {
        mount: mount.to_owned(),
        dir: named.or(cwd).unwrap_or_else(|| mount.to_owned()),
        mountinfo: asked.mountinfo.clone().unwrap_or_else(|| PathBuf::from("/proc/self/mountinfo")),
        clock_offset: asked.clock_offset,
    }
}

fn show(findings: &[Finding], format: Format) -> String {
    if format == Format::Json {
        return format!("{}\n", serde_json::json!(findings));
    }
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Fine => "ok     ",
            Severity::Note => "note   ",
            Severity::Warning => "warning",
            Severity::Error => "ERROR  ",
        };
        text.push_str(&format!("{mark}  {}: {}\n", finding.subject, finding.text));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("         -> {}\n", finding.remedy));
        }
    }
    let wrong = findings.iter().filter(|finding| finding.severity >= Severity::Warning).count();
    text.push_str(&match wrong {
        0 => "nothing is wrong\n".to_owned(),
        1 => "1 thing is wrong\n".to_owned(),
        _ => format!("{wrong} things are wrong\n"),
    });
    text
}
