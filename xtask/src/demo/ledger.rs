//! What ran where, as the launchers noted it: one log file for each way in which the build calls them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Compile,
    Link,
    Archive,
    /// Through the compiler driver, and the note does not say more.
    Driver,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Compile, Self::Link, Self::Archive, Self::Driver];

    fn heading(self) -> &'static str {
        match self {
            Self::Compile => "compiles",
            Self::Link => "links",
            Self::Archive => "archives",
            Self::Driver => "compiles+links",
        }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "compile" | "assemble" | "preprocess" => Some(Self::Compile),
            "link" => Some(Self::Link),
            "archive" => Some(Self::Archive),
            _ => None,
        }
    }
}

/// A file of notes, and what its jobs are unless a note says so itself.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// Jobs by worker and kind; those that stayed, by reason.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    ran: BTreeMap<(String, Kind), usize>,
    stayed: BTreeMap<(Kind, String), usize>,
}

impl Ledger {
    /// Reads the notes and removes them, so that the next phase starts with none; `None` when there are none.
    pub(crate) fn take(notes: &[Notes]) -> anyhow::Result<Option<Self>> {
        let mut ledger = Self::default();
        let mut any = false;
        for Notes { path, kind } in notes {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            };
            any = true;
            ledger.read(&String::from_utf8_lossy(&bytes), *kind);
            // Kept for the reader of the logs.
            let read = path.with_extension(format!("{}.log", std::process::id() + fresh()));
            std::fs::rename(path, read)?;
        }
        Ok(any.then_some(ledger))
    }

    fn read(&mut self, text: &str, kind: Kind) {
        for line in text.lines() {
            let note = line.split_once("]: ").map_or(line, |(_, note)| note);
            if let Some(place) = note.strip_prefix("ran on ") {
                let (worker, kind) = place_and_kind(place, kind);
                *self.ran.entry((worker.to_owned(), kind)).or_default() += 1;
            } else if let Some(reason) = reason_to_stay(note) {
                *self.stayed.entry((kind, reason.to_owned())).or_default() += 1;
            }
        }
    }

    /// How many jobs of a kind ran on workers.
    pub(crate) fn ran(&self, kind: Kind) -> usize {
        self.ran.iter().filter(|((_, ran), _)| *ran == kind).map(|(_, count)| count).sum()
    }

    /// How many jobs ran on workers.
    pub(crate) fn on_workers(&self) -> usize {
        self.ran.values().sum()
    }

    /// How many jobs ran on this machine instead.
    pub(crate) fn here(&self) -> usize {
        self.stayed.values().sum()
    }

    /// How many workers ran anything.
    pub(crate) fn workers(&self) -> usize {
        let mut names: Vec<&str> = self.ran.keys().map(|(worker, _)| worker.as_str()).collect();
        names.dedup();
        names.len()
    }

    /// One line.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("{} jobs on workers, {} here", self.on_workers(), self.here());
        for ((_, reason), count) in &self.stayed {
            let _ = write!(text, "\n  {count} here: {reason}");
        }
        text
    }

    /// A row for each worker, one for what stayed, and why it did.
    pub(crate) fn table(&self, workers: &[String]) -> String {
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| *kind != Kind::Driver || self.ran(*kind) > 0).collect();
        let mut text = format!("{:<10}", "ran on");
        for kind in &kinds {
            let _ = write!(text, "{:>16}", kind.heading());
        }
        let mut row = |name: &str, count: &dyn Fn(Kind) -> usize| {
            let _ = write!(text, "\n{name:<10}");
            for kind in &kinds {
                let _ = write!(text, "{:>16}", count(*kind));
            }
        };
        for worker in workers {
            row(worker, &|kind| self.ran.get(&(worker.clone(), kind)).copied().unwrap_or_default());
        }
        row("all", &|kind| self.ran(kind));
        row("here", &|kind| {
            self.stayed.iter().filter(|((stayed, _), _)| *stayed == kind).map(|(_, count)| count).sum()
        });
        for ((kind, reason), count) in &self.stayed {
            let _ = write!(text, "\n  here, {} {}: {reason}", count, kind.heading());
        }
        text
    }
}

/// `ash`, or `ash (link)`.
fn place_and_kind(place: &str, otherwise: Kind) -> (&str, Kind) {
    let told = place.strip_suffix(')').and_then(|place| place.rsplit_once(" ("));
    match told.map(|(worker, kind)| (worker, Kind::named(kind))) {
        Some((worker, kind)) => (worker, kind.unwrap_or(otherwise)),
        None => (place, otherwise),
    }
}

fn reason_to_stay(note: &str) -> Option<&str> {
    let told = note.strip_prefix("runs here: ").or_else(|| note.strip_prefix("not at the cluster: "));
    told.or_else(|| note.ends_with(": runs here").then_some(note))
}

/// Another number at each call.
fn fresh() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_counted_by_worker_and_kind() {
        let mut ledger = Ledger::default();

        ledger.read(
            "cc-launcher[1]: ran on ash\ncc-launcher[2]: ran on ash (link)\ncc-launcher[3]: runs here: it is a probe\n\
             cc-launcher[4]: ran on birch (compile)\ncc-launcher[5]: something else\n",
            Kind::Driver,
        );

        assert_eq!([Kind::Driver, Kind::Link, Kind::Compile, Kind::Archive].map(|kind| ledger.ran(kind)), [1, 1, 1, 0]);
        assert_eq!((ledger.workers(), ledger.here()), (2, 1));
    }
}
