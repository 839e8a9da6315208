//! What ran where, as the launchers noted it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Compile,
    Link,
    Archive,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Compile, Self::Link, Self::Archive];

    fn heading(self) -> &'static str {
        match self {
            Self::Compile => "compiles",
            Self::Link => "links",
            Self::Archive => "archives",
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

/// Jobs by worker and kind; those that stayed, by reason.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    ran: BTreeMap<(String, Kind), usize>,
    stayed: BTreeMap<String, usize>,
}

impl Ledger {
    /// Reads the notes and moves them away, so that the next phase starts with none; `None` when there are none.
    pub(crate) fn take(notes: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = match std::fs::read(notes) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", notes.display())),
        };
        let mut ledger = Self::default();
        ledger.read(&String::from_utf8_lossy(&bytes));
        // Kept for the reader of the logs.
        std::fs::rename(notes, notes.with_extension(format!("{}.log", fresh())))?;
        Ok(Some(ledger))
    }

    fn read(&mut self, text: &str) {
        for line in text.lines() {
            let note = line.split_once("]: ").map_or(line, |(_, note)| note);
            if let Some((worker, kind)) = note.strip_prefix("ran on ").and_then(place_and_kind) {
                *self.ran.entry((worker.to_owned(), kind)).or_default() += 1;
            } else if let Some(reason) = reason_to_stay(note) {
                *self.stayed.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }

    /// How many jobs of a kind ran on workers.
    pub(crate) fn ran(&self, kind: Kind) -> usize {
        self.ran.iter().filter(|((_, ran), _)| *ran == kind).map(|(_, count)| count).sum()
    }

    /// How many jobs ran on workers.
    pub(crate) fn away(&self) -> usize {
        self.ran.values().sum()
    }

    /// How many jobs ran on this machine instead.
    pub(crate) fn here(&self) -> usize {
        self.stayed.values().sum()
    }

    /// How many workers ran anything.
    pub(crate) fn workers(&self) -> usize {
        self.ran.keys().map(|(worker, _)| worker).collect::<BTreeSet<_>>().len()
    }

    /// One line, and one for each reason to stay, the most frequent first.
    pub(crate) fn summary(&self) -> String {
        let (away, here) = (self.away(), self.here());
        let mut text = format!("{away} jobs on workers, {here} here ({:.1} % away)", percent(away, away + here));
        let mut reasons: Vec<_> = self.stayed.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (reason, count) in reasons {
            let _ = write!(text, "\n  {count} here: {reason}");
        }
        text
    }

    /// A row for each worker, one for all of them, and why the rest stayed.
    pub(crate) fn table(&self, workers: &[String]) -> String {
        let mut text = format!("{:<10}", "ran on");
        for kind in Kind::ALL {
            let _ = write!(text, "{:>16}", kind.heading());
        }
        let mut row = |name: &str, count: &dyn Fn(Kind) -> usize| {
            let _ = write!(text, "\n{name:<10}");
            for kind in Kind::ALL {
                let _ = write!(text, "{:>16}", count(kind));
            }
        };
        for worker in workers {
            row(worker, &|kind| self.ran.get(&(worker.clone(), kind)).copied().unwrap_or_default());
        }
        row("all", &|kind| self.ran(kind));
        for (reason, count) in &self.stayed {
            let _ = write!(text, "\n  {count} here: {reason}");
        }
        text
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// `ash (link)`.
fn place_and_kind(place: &str) -> Option<(&str, Kind)> {
    let (worker, kind) = place.strip_suffix(')')?.rsplit_once(" (")?;
    Some((worker, Kind::named(kind)?))
}

fn reason_to_stay(note: &str) -> Option<&str> {
    let told = note.strip_prefix("runs here: ").or_else(|| note.strip_prefix("not at the cluster: "));
    told.or_else(|| note.ends_with(": runs here").then_some(note))
}

/// Another number at each call.
fn fresh() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_counted_by_worker_and_kind() {
        let mut ledger = Ledger::default();

        ledger.read(
            "cc-launcher[1]: ran on ash (archive)\ncc-launcher[2]: ran on ash (link)\n\
             cc-launcher[3]: runs here: it is a probe\ncc-launcher[4]: ran on birch (compile)\n\
             cc-launcher[5]: ran on ash (link)\ncc-launcher[6]: something else\n",
        );

        assert_eq!([Kind::Compile, Kind::Link, Kind::Archive].map(|kind| ledger.ran(kind)), [1, 2, 1]);
        assert_eq!((ledger.workers(), ledger.away(), ledger.here()), (2, 4, 1));
        assert!(ledger.summary().starts_with("4 jobs on workers, 1 here (80.0 % away)\n  1 here: it is a probe"));
    }
}
