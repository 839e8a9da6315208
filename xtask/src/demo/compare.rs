//! Are the outputs of two builds the same, byte for byte?

use std::fmt;
use std::path::Path;

use crate::project::outputs::{self, Outputs, Sort};

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) objects: usize,
    pub(crate) archives: usize,
    /// Executables and shared objects.
    pub(crate) programs: usize,
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, archives, programs, differences } = self;
        write!(f, "{objects} objects, {archives} archives, {programs} executables: ")?;
        match differences.len() {
            0 => f.write_str("all byte-identical"),
            count => write!(f, "{count} differ"),
        }
    }
}

/// Compares every object, archive, executable and shared object of two trees, except those at paths of `probes`.
pub(crate) fn trees(left: &Path, right: &Path, probes: &Outputs) -> anyhow::Result<Comparison> {
    let (mut ours, mut theirs) = (outputs::below(left)?, outputs::below(right)?);
    for found in [&mut ours, &mut theirs] {
        found.retain(|path, _| !probes.contains_key(path));
    }
    let mut comparison = Comparison::default();
    for (path, sort) in &ours {
        match sort {
            Sort::Object => comparison.objects += 1,
            Sort::Archive => comparison.archives += 1,
            Sort::Program => comparison.programs += 1,
        }
        if !theirs.contains_key(path) {
            comparison.differences.push(format!("{} was made on workers only", path.display()));
        } else if let Some(at) = first_difference(&left.join(path), &right.join(path))? {
            comparison.differences.push(format!("{} differs from byte {at} on", path.display()));
        }
    }
    let missing = theirs.keys().filter(|path| !ours.contains_key(*path));
    comparison.differences.extend(missing.map(|path| format!("{} was made directly only", path.display())));
    Ok(comparison)
}

fn first_difference(left: &Path, right: &Path) -> anyhow::Result<Option<usize>> {
    let (left, right) = (std::fs::read(left)?, std::fs::read(right)?);
    if left == right {
        return Ok(None);
    }
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    Ok(Some(same))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn differing_and_missing_outputs_are_named() {
        let (left, right) = (tempfile::tempdir().expect("left"), tempfile::tempdir().expect("right"));
        for (dir, name, bytes) in [
            (&left, "same.a", "!<arch>\nx"),
            (&right, "same.a", "!<arch>\nx"),
            (&left, "other.a", "!<arch>\nx"),
            (&right, "other.a", "!<arch>\ny"),
            (&left, "more.a", "!<arch>\n"),
            (&left, "probe.a", "!<arch>\nx"),
            (&right, "probe.a", "!<arch>\ny"),
            (&left, "notes.txt", "left"),
            (&right, "notes.txt", "right"),
        ] {
            std::fs::write(dir.path().join(name), bytes).expect("a temporary file");
        }

        let probes = Outputs::from([(PathBuf::from("probe.a"), Sort::Archive)]);

        let comparison = trees(left.path(), right.path(), &probes).expect("both can be read");

        assert_eq!(comparison.archives, 3);
        assert_eq!(comparison.differences, ["more.a was made on workers only", "other.a differs from byte 8 on"]);
    }
}
