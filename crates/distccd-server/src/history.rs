//! What jobs took before, kept from one run of the server to the next: one file in `state_dir`. It is a help and no
//! more: whatever is wrong with it, the server warns and goes on without.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{HistoryError, decode_history, encode_history};
use model::time::Timestamp;
use scheduler_core::HistoryEntry;
use tokio::task::JoinHandle;

/// How long what was learned may be lost by a crash.
pub const SAVE_EVERY: Duration = Duration::from_secs(300);

/// No file that is larger is read; the entries that the scheduler remembers take less than a quarter of this.
const MAX_BYTES: u64 = 16 << 20;

/// The file.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    save_at: Timestamp,
    has_changed: bool,
    saving: Option<JoinHandle<()>>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    History(#[from] HistoryError),
}

impl Store {
    /// The store in this directory, which is made if it is not there, and what it holds. Nothing to keep it in when
    /// the directory cannot be made, and nothing in it when the file is damaged or of a later version: both with a
    /// warning.
    #[must_use]
    pub fn open(dir: &Path) -> (Option<Self>, Vec<HistoryEntry>) {
        if let Err(error) = std::fs::create_dir_all(dir) {
            tracing::warn!(dir = %dir.display(), %error, "no history: state_dir cannot be made");
            return (None, Vec::new());
        }
        let file = dir.join("history");
        let entries = read(&file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "the history is not read; it begins anew");
            Vec::new()
        });
        tracing::info!(file = %file.display(), entries = entries.len(), "history read");
        let store = Self { file, save_at: Timestamp::ZERO + SAVE_EVERY, has_changed: false, saving: None };
        (Some(store), entries)
    }

    /// Notes that something was learned.
    pub fn note_change(&mut self) {
        self.has_changed = true;
    }

    /// When [`Store::save`] is wanted; `None` while there is nothing new.
    #[must_use]
    pub fn save_at(&self) -> Option<Timestamp> {
        self.has_changed.then_some(self.save_at)
    }

    /// Writes the entries on another thread, unless the write before still hangs: then the next one has them.
    pub fn save(&mut self, now: Timestamp, entries: Vec<HistoryEntry>) {
        self.save_at = now + SAVE_EVERY;
        if self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return;
        }
        self.has_changed = false;
        let file = self.file.clone();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            match write(&file, &entries) {
                Ok(()) => tracing::debug!(file = %file.display(), entries = entries.len(), "history saved"),
                Err(error) => tracing::warn!(file = %file.display(), %error, "the history is not saved"),
            };
        }));
    }

    /// Writes the entries if there is anything new, after the write before, and waits for that.
    pub async fn finish(mut self, now: Timestamp, entries: Vec<HistoryEntry>) {
        self.settle().await;
        if self.has_changed {
            self.save(now, entries);
            self.settle().await;
        }
    }

    async fn settle(&mut self) {
        if let Some(Err(error)) = match self.saving.take() {
            Some(saving) => Some(saving.await),
            None => None,
        } {
            tracing::warn!(%error, "the history is not saved");
        }
    }
}

fn read(file: &Path) -> Result<Vec<HistoryEntry>, ReadError> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(opened) => opened.take(MAX_BYTES + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    Ok(decode_history(&bytes)?)
}

/// All or nothing: whoever opens the file finds the old history or the new one, even after the power failed.
fn write(file: &Path, entries: &[HistoryEntry]) -> io::Result<()> {
    let new = file.with_extension("tmp");
    let mut opened = File::create(&new)?;
    opened.write_all(&encode_history(entries))?;
    opened.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u64) -> HistoryEntry {
        HistoryEntry { key, duration: Duration::from_secs(1), memory: 1 << 20, reader: 0 }
    }

    fn opened(dir: &Path) -> (Store, Vec<HistoryEntry>) {
        let (store, entries) = Store::open(dir);
        (store.unwrap(), entries)
    }

    #[tokio::test]
    async fn what_was_saved_is_there_for_the_next_server() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("made/of/need");
        let (mut store, nothing) = opened(&state_dir);
        assert_eq!((nothing, store.save_at()), (Vec::new(), None));

        store.note_change();
        assert_eq!(store.save_at(), Some(Timestamp::ZERO + SAVE_EVERY));
        store.save(Timestamp::ZERO, vec![entry(1)]);
        assert_eq!(store.save_at(), None);
        store.note_change();
        store.finish(Timestamp::ZERO, vec![entry(1), entry(2)]).await;

        assert_eq!(opened(&state_dir).1, [entry(1), entry(2)]);
        assert_eq!(std::fs::read_dir(&state_dir).unwrap().count(), 1, "nothing else is left there");
    }

    #[tokio::test]
    async fn nothing_new_is_not_written() {
        let dir = tempfile::tempdir().unwrap();

        opened(dir.path()).0.finish(Timestamp::ZERO, vec![entry(1)]).await;

        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_damaged_or_huge_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("history");
        std::fs::write(&file, b"distccd history 1\nand then something else").unwrap();

        let (mut store, entries) = opened(dir.path());
        assert_eq!(entries, []);
        store.note_change();
        store.finish(Timestamp::ZERO, vec![entry(3)]).await;
        assert_eq!(opened(dir.path()).1, [entry(3)]);

        File::create(&file).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(&file), Err(ReadError::TooLarge)));
        assert_eq!(opened(dir.path()).1, []);
    }

    #[test]
    fn without_a_directory_there_is_no_history() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "").unwrap();

        let (store, entries) = Store::open(&file.join("below"));

        assert!(store.is_none() && entries.is_empty());
    }
}
