//! One release of the product, or two of which every daemon and every build has one by turns: what a cluster looks like
//! while it is upgraded, and when the upgrade is taken back.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::flags::Chaos;
use crate::workspace::Workspace;

const LAUNCHERS: [&str; 2] = ["cc-launcher", "ld-launcher"];

pub(super) struct Releases {
    ours: PathBuf,
    other: Option<PathBuf>,
}

impl Releases {
    pub(super) fn of(workspace: &Workspace, flags: &Chaos) -> anyhow::Result<Self> {
        let found = |dir: &PathBuf| dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()));
        let ours = flags.binaries.as_ref().map(found).unwrap_or_else(|| workspace.release_binaries())?;
        Ok(Self { ours, other: flags.mix_with.as_ref().map(found).transpose()? })
    }

    /// Where the binaries are whose turn it is.
    pub(super) fn at(&self, turn: usize) -> &Path {
        match &self.other {
            Some(other) if turn.is_multiple_of(2) => other,
            _ => &self.ours,
        }
    }

    /// Which of the two that is; nothing where there is no choice.
    pub(super) fn word(&self, turn: usize) -> Option<&'static str> {
        let word = if turn.is_multiple_of(2) { "of the other release" } else { "of ours" };
        self.other.as_ref().map(|_| word)
    }

    /// Makes the names of the launchers in `dir` stand for those of that turn.
    pub(super) fn point(&self, dir: &Path, turn: usize) -> anyhow::Result<()> {
        for name in LAUNCHERS {
            let (link, new) = (dir.join(name), dir.join(format!("{name}.new")));
            symlink(self.at(turn).join(name), &new).with_context(|| format!("cannot make {}", new.display()))?;
            std::fs::rename(&new, &link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_releases_take_turns_and_one_is_always_the_same() {
        let two = Releases { ours: PathBuf::from("/ours"), other: Some(PathBuf::from("/other")) };
        assert_eq!([0, 1, 2].map(|turn| two.at(turn)), [Path::new("/other"), Path::new("/ours"), Path::new("/other")]);
        let one = Releases { ours: PathBuf::from("/ours"), other: None };
        assert_eq!([0, 1, 2].map(|turn| one.at(turn)), [Path::new("/ours"); 3]);
    }

    #[test]
    fn the_launchers_names_stand_for_those_of_the_turn() {
        let dir = tempfile::tempdir().unwrap();
        let two = Releases { ours: PathBuf::from("/ours"), other: Some(PathBuf::from("/other")) };
        for (turn, whose) in [(0, "/other"), (1, "/ours")] {
            two.point(dir.path(), turn).unwrap();
            let target = std::fs::read_link(dir.path().join("cc-launcher")).unwrap();
            assert_eq!(target, Path::new(whose).join("cc-launcher"));
        }
    }
}
