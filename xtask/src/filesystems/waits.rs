//! How long launchers waited until they saw what a worker had written, as they noted it.

use std::path::Path;

use anyhow::Context;

/// Between the answer and the look that showed everything, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Waits(Vec<f64>);

/// A wait that somebody notices.
const LONG: f64 = 100.0;

/// How a note begins and ends: `saw 2 files and 0 removals after 41 us`.
const SAID: (&str, &str) = (" removals after ", " us");

impl Waits {
    /// Reads the notes of launchers; those that do not say it count for nothing.
    pub(super) fn read(notes: &Path) -> anyhow::Result<Self> {
        let bytes = match std::fs::read(notes) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", notes.display())),
        };
        Ok(Self::of(&String::from_utf8_lossy(&bytes)))
    }

    fn of(text: &str) -> Self {
        let waits = text.lines().filter_map(|line| {
            let (_, said) = line.split_once(SAID.0)?;
            let micros: f64 = said.strip_suffix(SAID.1)?.parse().ok()?;
            Some(micros / 1000.0)
        });
        let mut waits: Vec<f64> = waits.collect();
        waits.sort_by(f64::total_cmp);
        Self(waits)
    }

    /// How many jobs told it.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many waited long.
    pub(super) fn long(&self) -> usize {
        self.0.iter().filter(|&&wait| wait > LONG).count()
    }

    /// The longest.
    pub(super) fn longest(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The share of long ones.
    pub(super) fn long_share(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.long() as f64 / self.count() as f64 }
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.get(self.0.len() / 2), self.0.last()) {
            (Some(median), Some(longest)) => write!(
                f,
                "outputs seen after {median:.2} ms (median), {longest:.0} ms (longest); {} of {} jobs waited more than \
                 {LONG:.0} ms ({:.1} %)",
                self.long(),
                self.count(),
                100.0 * self.long_share()
            ),
            _ => f.write_str("the launchers do not say how long they waited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_waits_count_as_such() {
        let waits = Waits::of(
            "cc-launcher[1]: ran on ash (link)\ncc-launcher[1]: saw 1 files and 0 removals after 210 us\n\
             cc-launcher[2]: saw 2 files and 1 removals after 5003000 us\n\
             cc-launcher[3]: saw 1 files and 0 removals after 99000 us\n",
        );

        assert_eq!((waits.count(), waits.long()), (3, 1));
        assert!((waits.longest() - 5003.0).abs() < 1.0);
        assert!(waits.to_string().starts_with("outputs seen after 99.00 ms (median), 5003 ms (longest)"));
        assert!(Waits::default().long_share().abs() < f64::EPSILON);
    }
}
