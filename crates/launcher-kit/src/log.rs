//! What a launcher does, said only where it was asked for: stderr with `--verbose`, a file with `--log-file`.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::settings::Settings;

/// Where notes go.
pub struct Log {
    name: &'static str,
    verbose: bool,
    file: Option<File>,
}

impl Log {
    /// Opens the log file, if there is to be one. One that cannot be written costs the notes, not the build.
    #[must_use]
    pub fn open(name: &'static str, settings: &Settings) -> Self {
        let open = |path| OpenOptions::new().create(true).append(true).open(path).ok();
        Self { name, verbose: settings.verbose, file: settings.log_file.as_ref().and_then(open) }
    }

    /// Notes one line.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if !self.verbose && self.file.is_none() {
            return;
        }
        let line = format!("{}[{}]: {}\n", self.name, std::process::id(), text());
        if self.verbose {
            eprint!("{line}");
        }
        if let Some(mut file) = self.file.as_ref() {
            // One write, so that lines of launchers that share the file do not mix; a full disk costs the note.
            let _ = file.write_all(line.as_bytes());
        }
    }
}
