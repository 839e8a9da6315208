//! What became of a job: what its command did, or that it is to be done here.

use std::time::Duration;

use model::ids::Attempt;
use model::outcome::ExitStatus;
use proto::v1;

use crate::output::Output;

/// What became of a job.
pub enum Answer {
    /// A worker ran it.
    Done(Box<Done>),
    /// The cluster does not take it; why.
    Locally(String),
}

/// A finished command.
pub struct Done {
    /// How it ended.
    pub exit: ExitStatus,
    /// What it printed.
    pub output: Output,
    /// The files it left, as the worker sees them.
    pub stamps: Vec<v1::Stamp>,
    /// Names that it removed.
    pub removed: Vec<bytes::Bytes>,
    /// Directories and symbolic links that it made.
    pub made: Vec<v1::MadeName>,
    /// What it read of the worker's system beyond the toolchain.
    pub system_files: Vec<v1::SystemFile>,
    /// Headers whose being there its files ask for, and where the worker's system has them.
    pub asked: Vec<v1::AskedHeader>,
    /// Who ran it.
    pub worker: String,
    /// What was run.
    pub command: v1::Command,
    /// When the command was handed over, as this machine stamps files: nanoseconds since 1970.
    pub handed_over: i64,
    /// The first mount that it touches.
    pub mount: bytes::Bytes,
    /// How long this machine took to see the files; nothing before it has looked.
    pub waited: Duration,
    /// How far the files' times were off, in nanoseconds, before they were put right; or why they are not.
    pub times: Result<Option<i64>, String>,
}

impl Done {
    /// What the server says, after all of the output.
    pub(crate) fn read(attempt: Attempt, done: v1::JobDone, mut output: Output) -> Result<Self, String> {
        let outcome = done.outcome.ok_or("the server sent an answer without an outcome")?;
        if !output.settle(attempt, outcome.chunks) {
            return Err("pieces of the output were lost on the way".to_owned());
        }
        let exit = outcome.exit.ok_or("the server sent an outcome without an exit status")?;
        let exit = ExitStatus::try_from(exit).map_err(|error| error.to_string())?;
        let (stamps, removed) = (outcome.outputs, outcome.removed);
        let (made, system_files, asked) = (outcome.made, outcome.system_files, outcome.asked);
        let (worker, mount, waited) = (outcome.worker, bytes::Bytes::new(), Duration::ZERO);
        Ok(Self {
            exit,
            output,
            stamps,
            removed,
            made,
            system_files,
            asked,
            worker,
            command: v1::Command::default(),
            mount,
            handed_over: 0,
            waited,
            times: Ok(None),
        })
    }

    /// One that has done nothing.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self {
            exit: ExitStatus::Code(0),
            output: Output::default(),
            stamps: Vec::new(),
            removed: Vec::new(),
            made: Vec::new(),
            system_files: Vec::new(),
            asked: Vec::new(),
            worker: String::new(),
            command: v1::Command::default(),
            handed_over: 0,
            mount: bytes::Bytes::new(),
            waited: Duration::ZERO,
            times: Ok(None),
        }
    }

    /// For the log: how long what it left took to be seen.
    pub(crate) fn seen(&self) -> String {
        let (files, gone, waited) = (self.stamps.len(), self.removed.len(), self.waited.as_micros());
        format!("saw {files} files and {gone} removals after {waited} us")
    }

    /// For the log: what was wrong with the times of what it left.
    pub(crate) fn about_times(&self) -> Option<String> {
        match &self.times {
            Ok(None) => None,
            Ok(Some(off)) => {
                let seconds = Duration::from_nanos(off.unsigned_abs()).as_secs_f64();
                let place = if *off > 0 { "in the future" } else { "before the command began" };
                Some(format!("the times of its files were {seconds:.3} s {place}, and are put right"))
            }
            Err(why) => Some(why.clone()),
        }
    }
}
