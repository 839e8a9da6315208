//! The journal of the scheduler (`--journal=FILE`), for `cargo xtask replay`: off unless somebody asks for it.

use std::fs::File;
use std::io;
use std::path::Path;

use model::time::Timestamp;
use scheduler_core::{Action, Config, HistoryEntry, Input};

/// Steps on their way into a file.
///
/// Each is one write: it is in the system's hands when the next one is taken, so a server that dies loses none, and
/// the driver waits for no disk.
#[derive(Debug)]
pub struct Journal {
    /// Nothing once writing failed: the server goes on without.
    writer: Option<journal::Writer<File>>,
}

impl Journal {
    /// A new journal in `path`, of a scheduler that begins with this history. The one of the run before is kept as `path` with `.old`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, config: &Config, history: &[HistoryEntry]) -> io::Result<Self> {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        match std::fs::rename(path, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { writer: Some(journal::Writer::start(File::create(path)?, config, history)?) })
    }

    /// Notes what the scheduler is about to be told.
    #[must_use]
    pub fn before(&self, now: Timestamp, input: &Input) -> Option<journal::Step> {
        self.writer.as_ref().map(|writer| writer.before(now, input))
    }

    /// Writes it down with what came of it.
    pub fn after(&mut self, step: Option<journal::Step>, actions: &[Action]) {
        let (Some(writer), Some(step)) = (&mut self.writer, step) else { return };
        if let Err(error) = writer.after(step, actions) {
            tracing::error!(%error, "the journal ends here: it cannot be written");
            self.writer = None;
        }
    }
}
