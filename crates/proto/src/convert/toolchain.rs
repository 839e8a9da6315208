//! What must be the same of a toolchain for a job to run on another machine.

use core::fmt;
use core::str::FromStr;

use model::ids::ToolchainKey;

use crate::v1;

/// How alike two toolchains at one path must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sameness {
    /// All contents.
    #[default]
    Exact,
    /// What the program says of its version and target.
    Version,
    /// The path is enough.
    Off,
}

impl Sameness {
    const ALL: [(Self, &str); 3] = [(Self::Exact, "exact"), (Self::Version, "version"), (Self::Off, "off")];

    /// The key by which a toolchain is matched: equal keys may stand in for each other.
    #[must_use]
    pub fn key(self, wire: &v1::Toolchain) -> ToolchainKey {
        let key = self.own_key(wire);
        wire.linker.as_ref().map_or(key, |linker| key.with_linker(self.own_key(linker)))
    }

    /// Without the linker that a job says besides.
    fn own_key(self, wire: &v1::Toolchain) -> ToolchainKey {
        let sameness = match self {
            // A peer of before there were fingerprints: by size, as then, and never the same as one that has one.
            Self::Exact if wire.fingerprint.is_empty() => wire.size.to_le_bytes().to_vec(),
            Self::Exact => wire.fingerprint.to_vec(),
            Self::Version => [wire.version.as_bytes(), b"\n", wire.target.as_bytes()].concat(),
            Self::Off => Vec::new(),
        };
        ToolchainKey::of_program(&wire.path, &sameness)
    }
}

impl fmt::Display for Sameness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(sameness, _)| sameness == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Sameness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(sameness, _)| *sameness);
        found.ok_or_else(|| "must be `exact`, `version` or `off`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gcc(fingerprint: u8, version: &str) -> v1::Toolchain {
        let (path, size) = ("/usr/bin/gcc".into(), u64::from(fingerprint));
        v1::Toolchain {
            path,
            size,
            version: version.into(),
            fingerprint: vec![fingerprint; 16].into(),
            ..Default::default()
        }
    }

    #[test]
    fn each_sameness_looks_at_less_than_the_one_before() {
        let (one, patched, newer) = (gcc(1, "12.2"), gcc(2, "12.2"), gcc(3, "13.1"));
        let same = |sameness: Sameness, other: &v1::Toolchain| sameness.key(&one) == sameness.key(other);

        assert!(!same(Sameness::Exact, &patched) && !same(Sameness::Exact, &newer));
        assert!(same(Sameness::Version, &patched) && !same(Sameness::Version, &newer));
        assert!(same(Sameness::Off, &patched) && same(Sameness::Off, &newer));
        let elsewhere = v1::Toolchain { path: "/opt/gcc".into(), ..one.clone() };
        assert!(!same(Sameness::Off, &elsewhere));
    }

    #[test]
    fn a_peer_without_fingerprints_meets_only_its_like() {
        let old = v1::Toolchain { fingerprint: Default::default(), ..gcc(1, "12.2") };

        assert_ne!(Sameness::Exact.key(&old), Sameness::Exact.key(&gcc(1, "12.2")));
        assert_eq!(Sameness::Exact.key(&old), Sameness::Exact.key(&old.clone()));
    }

    #[test]
    fn a_linker_that_is_said_has_to_be_the_same_too() {
        let with = |linker| v1::Toolchain { linker: Some(Box::new(linker)), ..gcc(1, "12.2") };
        let gold = v1::Toolchain { path: "/usr/bin/ld.gold".into(), ..gcc(7, "") };
        let other = v1::Toolchain { path: "/usr/bin/ld.gold".into(), ..gcc(8, "") };

        assert_ne!(Sameness::Exact.key(&with(gold.clone())), Sameness::Exact.key(&gcc(1, "12.2")));
        assert_ne!(Sameness::Exact.key(&with(gold)), Sameness::Exact.key(&with(other)));
    }

    #[test]
    fn settings_read_back_as_they_are_shown() {
        for (sameness, name) in Sameness::ALL {
            assert_eq!(name.parse(), Ok(sameness));
            assert_eq!(sameness.to_string(), name);
        }
        assert!("nearly".parse::<Sameness>().unwrap_err().contains("exact"));
    }
}
