//! What touches a mount, in a process of its own: a mount may hang in the kernel, where no signal reaches, and whoever
//! hangs there can neither go on nor end.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::Task;
use crate::doctor::appearance::{self, Look};
use crate::doctor::trial::{self, Trial};
use crate::server::{self, Search};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It took too long, and was left behind.
    #[error("no answer within {0:?}")]
    Hangs(Duration),
    /// It cannot be run, or says nothing sensible.
    #[error("{0}")]
    Broken(String),
}

/// Has a task done by another process, and waits for so long.
///
/// # Errors
/// When there is no answer.
pub fn ask<T: DeserializeOwned>(task: Task, subject: &impl Serialize, patience: Duration) -> Result<T, NoAnswer> {
    let broken = |error: &dyn std::fmt::Display| NoAnswer::Broken(error.to_string());
    let subject = serde_json::to_string(subject).map_err(|error| broken(&error))?;
    let name = task.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut child = Command::new("/proc/self/exe")
        .args(["helper-process", &name, &subject])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| broken(&error))?;
    let (said, hear) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        // Ends with the child, or is left behind with it: reading a pipe holds up nobody's end.
        thread::spawn(move || {
            let mut text = String::new();
            let read: io::Result<usize> = stdout.read_to_string(&mut text);
            let _ = said.send(read.map(|_| text));
        });
    }
    match hear.recv_timeout(patience) {
        Ok(text) => {
            // It has closed its output on its way out.
            let _ = child.wait();
            serde_json::from_str(&text.map_err(|error| broken(&error))?).map_err(|error| broken(&error))
        }
        Err(_) => {
            // If it hangs in the kernel this does not reach it, and it is not waited for.
            let _ = child.kill();
            Err(NoAnswer::Hangs(patience))
        }
    }
}

/// Does a task; its answer as JSON, nothing when the subject is not one.
#[must_use]
pub fn serve(task: Task, subject: &str) -> String {
    let answer = match task {
        Task::Find => serde_json::from_str::<Search>(subject).map(|search| serde_json::json!(server::search(&search))),
        Task::Try => serde_json::from_str::<Trial>(subject).map(|trial| serde_json::json!(trial::run(&trial))),
        Task::Look => serde_json::from_str::<Look>(subject).map(|look| serde_json::json!(appearance::run(&look))),
    };
    answer.map(|answer| answer.to_string()).unwrap_or_default()
}
