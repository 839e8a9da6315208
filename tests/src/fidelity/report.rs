//! What came out of the cases.

use std::fmt;
use std::time::Duration;

use super::case::{Case, Place};

/// Of the cases that touch only the shared mount, so many in a hundred have to run on a worker.
pub const REQUIRED_SHARE: f64 = 95.0;

/// One case's result.
pub(super) struct Verdict {
    pub(super) case: String,
    pub(super) shown: String,
    pub(super) expected: Place,
    /// Whether it ran on a worker; nothing is known of a command that is not a launcher.
    pub(super) on_worker: Option<bool>,
    /// What a launcher noted.
    pub(super) notes: String,
    pub(super) differences: Vec<String>,
    /// The named reason why it was not run at all.
    pub(super) skipped: Option<String>,
    pub(super) took: Duration,
}

impl Verdict {
    pub(super) fn new(case: &Case) -> Self {
        Self {
            case: case.name(),
            shown: case.shown(),
            expected: case.place,
            on_worker: None,
            notes: String::new(),
            differences: Vec::new(),
            skipped: None,
            took: Duration::ZERO,
        }
    }

    fn counts(&self) -> bool {
        self.on_worker.is_some()
            && match self.expected {
                Place::Worker => true,
                Place::Here(why) => why.counts(),
            }
    }
}

/// All results, in the order of the cases.
pub struct Report {
    pub(super) verdicts: Vec<Verdict>,
}

impl Report {
    /// How many cases were run.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.verdicts.len() - self.skipped()
    }

    /// How many were not, for a reason.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.skipped.is_some()).count()
    }

    /// How many differ, or did not run where they have to.
    #[must_use]
    pub fn differing(&self) -> usize {
        self.verdicts.iter().filter(|verdict| !verdict.differences.is_empty()).count()
    }

    /// The names of those.
    #[must_use]
    pub fn differing_names(&self) -> Vec<&str> {
        let differing = self.verdicts.iter().filter(|verdict| !verdict.differences.is_empty());
        differing.map(|verdict| verdict.case.as_str()).collect()
    }

    /// Of the cases that touch only the shared mount, how many ran on a worker, and how many there are.
    #[must_use]
    pub fn share(&self) -> (usize, usize) {
        let counted = || self.verdicts.iter().filter(|verdict| verdict.counts());
        (counted().filter(|verdict| verdict.on_worker == Some(true)).count(), counted().count())
    }

    /// Whether nothing differs and enough ran on workers.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.differing() == 0 && self.percent() >= REQUIRED_SHARE
    }

    fn percent(&self) -> f64 {
        let (there, all) = self.share();
        // Without cases nothing stayed that could have left.
        if all == 0 {
            100.0
        } else {
            100.0 * f64::from(u32::try_from(there).unwrap()) / f64::from(u32::try_from(all).unwrap())
        }
    }

    /// The slowest cases, for whoever wonders where the time went.
    #[must_use]
    pub fn slowest(&self, count: usize) -> Vec<(Duration, &str)> {
        let mut times: Vec<_> = self.verdicts.iter().map(|verdict| (verdict.took, verdict.case.as_str())).collect();
        times.sort_by(|left, right| right.cmp(left));
        times.truncate(count);
        times
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verdict in &self.verdicts {
            if let Some(why) = &verdict.skipped {
                writeln!(f, "skipped  {} | {why}", verdict.case)?;
            } else if verdict.on_worker == Some(false) {
                let uncounted = if verdict.counts() { "" } else { " (does not count)" };
                writeln!(f, "here     {} | {}{uncounted}", verdict.case, verdict.notes.trim().replace('\n', "; "))?;
            }
        }
        for verdict in self.verdicts.iter().filter(|verdict| !verdict.differences.is_empty()) {
            writeln!(f, "DIFFERS  {} | {}\n{}", verdict.case, verdict.shown, indented(&verdict.differences))?;
        }
        let (there, all) = self.share();
        if self.skipped() > 0 {
            writeln!(f, "{} cases skipped", self.skipped())?;
        }
        writeln!(f, "{} cases, {} differ", self.cases(), self.differing())?;
        write!(f, "{there} of {all} cases that touch only the shared mount ran on a worker ({:.1} %)", self.percent())
    }
}

fn indented(texts: &[String]) -> String {
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
