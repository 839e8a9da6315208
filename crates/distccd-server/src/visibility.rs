//! How long launchers wait until their machines see what workers have written, by mount: what filesystems cost a build
//! beside their own operations, for people to see.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::v1;

/// Upper bounds of the classes into which waits are sorted, in microseconds; what is longer is in one more.
const BOUNDS_US: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
/// Mounts that are counted: launchers name them, and a cluster has few.
const MOST_MOUNTS: usize = 64;
/// Bytes of the name of a filesystem's type that are kept.
const LONGEST_NAME: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Visibility(BTreeMap<Bytes, Waits>);

#[derive(Debug, Default)]
struct Waits {
    filesystem: String,
    by_class: [u64; BOUNDS_US.len() + 1],
    longest_us: u64,
    given_up: u64,
}

impl Visibility {
    /// A launcher was given an outcome. It has not waited, unless it says so.
    pub fn on_done(&mut self, mount: &Bytes) {
        if let Some(waits) = self.of(mount) {
            waits.by_class[0] += 1;
        }
    }

    /// A launcher says that it has waited.
    pub fn on_seen(&mut self, seen: v1::Seen) {
        let Some(waits) = self.of(&seen.mount) else { return };
        let class = BOUNDS_US.iter().position(|&bound| seen.waited_us <= bound).unwrap_or(BOUNDS_US.len());
        // Of a job that an earlier server answered nothing is known here.
        waits.by_class[0] = waits.by_class[0].saturating_sub(1);
        waits.by_class[class] += 1;
        waits.longest_us = waits.longest_us.max(seen.waited_us);
        waits.given_up += u64::from(seen.given_up);
        waits.filesystem = seen.filesystem.chars().filter(|c| c.is_ascii_graphic()).take(LONGEST_NAME).collect();
    }

    /// For people and their tools.
    #[must_use]
    pub fn told(&self) -> Vec<v1::Visibility> {
        let told = |(mount, waits): (&Bytes, &Waits)| v1::Visibility {
            mount: mount.clone(),
            filesystem: waits.filesystem.clone(),
            waits: waits.by_class.to_vec(),
            longest_us: waits.longest_us,
            given_up: waits.given_up,
        };
        self.0.iter().map(told).collect()
    }

    fn of(&mut self, mount: &Bytes) -> Option<&mut Waits> {
        let has_room = self.0.len() < MOST_MOUNTS || self.0.contains_key(mount);
        (has_room && !mount.is_empty()).then(|| self.0.entry(mount.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(waited_us: u64, given_up: bool) -> v1::Seen {
        v1::Seen { mount: "/mnt/nfs".into(), filesystem: "nfs4\n".to_owned(), waited_us, given_up }
    }

    #[test]
    fn each_job_is_counted_once_by_how_long_it_waited() {
        let mut visibility = Visibility::default();
        (0..4).for_each(|_| visibility.on_done(&"/mnt/nfs".into()));
        visibility.on_seen(seen(5_000, false));
        visibility.on_seen(seen(100_001, false));
        visibility.on_seen(seen(60_000_000, true));

        let told = visibility.told();

        assert_eq!(told[0].waits, [1, 1, 0, 1, 0, 1]);
        assert_eq!((told[0].longest_us, told[0].given_up, &*told[0].filesystem), (60_000_000, 1, "nfs4"));
    }

    #[test]
    fn launchers_cannot_fill_the_server_with_mounts() {
        let mut visibility = Visibility::default();
        (0..1000).for_each(|number| visibility.on_done(&Bytes::from(format!("/mnt/{number}"))));

        assert_eq!(visibility.told().len(), MOST_MOUNTS);
    }
}
