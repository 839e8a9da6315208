//! Modification times that this machine's build tools can live with: `make` and `ninja` compare those of outputs with
//! those of inputs, and with when they started the command, by the clock of the machine that they are on.
//!
//! A worker's files bear its clock's time (or that of the filesystem's server, as on NFS). Where that lies in this
//! machine's future, a source that is edited soon afterwards looks older than its object; where it lies before the
//! command was started, the object looks older than its inputs. Then the outputs are given the time that they would have
//! if they had been written here, now. `UTIME_NOW` leaves it to the filesystem whose clock that is (utimensat(2)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proto::v1::Stamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use rustix::time::{ClockId, clock_gettime};

/// Now as files are stamped: the clock that goes in steps (`current_time` in Linux's `fs/inode.c`).
#[must_use]
pub fn stamp_of_now() -> i64 {
    nanos(clock_gettime(ClockId::RealtimeCoarse))
}

/// How far the times of what a command wrote are off, in nanoseconds: positive is in the future, negative before the
/// command was handed over. Nothing where they are right, or the command has chosen them.
#[must_use]
pub fn off_by(stamps: &[Stamp], handed_over: i64, now: i64) -> Option<i64> {
    let off = |stamp: &Stamp| match stamp.mtime_ns {
        late if late > now => late - now,
        early if early < handed_over => early - handed_over,
        _ => 0,
    };
    stamps.iter().filter(|stamp| stamp.fresh).map(off).filter(|&off| off != 0).max_by_key(|off| off.abs())
}

/// Gives what a command wrote the present time if that which it has is off, as [`off_by`] says: all of it, in the order
/// in which it was published, so that none gets another place among the others. Files whose times the command has chosen
/// keep them.
///
/// # Errors
/// The first file that could not be changed, for people; or that it made no difference, because the filesystem's own clock
/// is wrong: then a command that runs here fares no better.
pub fn put_right(stamps: &[Stamp], handed_over: i64) -> Result<Option<i64>, String> {
    let off = off_by(stamps, handed_over, nanos(clock_gettime(ClockId::Realtime)));
    if off.is_none() {
        return Ok(None);
    }
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let now = Timestamps { last_access: omit, last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW } };
    for stamp in stamps.iter().filter(|stamp| stamp.fresh) {
        let path = Path::new(OsStr::from_bytes(&stamp.path));
        let set = utimensat(CWD, path, &now, AtFlags::empty());
        set.map_err(|error| format!("the time of {} cannot be put right: {error}", path.display()))?;
        let given = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let given = given.mtime().saturating_mul(1_000_000_000).saturating_add(given.mtime_nsec());
        let as_given = [Stamp { mtime_ns: given, fresh: true, ..Stamp::default() }];
        if off_by(&as_given, handed_over, nanos(clock_gettime(ClockId::Realtime))).is_some() {
            return Err(format!("the filesystem of {} stamps files by a clock that is wrong", path.display()));
        }
    }
    Ok(off)
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;

    use super::*;

    fn stamp(mtime_ns: i64, fresh: bool) -> Stamp {
        Stamp { mtime_ns, fresh, ..Stamp::default() }
    }

    #[test]
    fn times_between_the_handing_over_and_now_are_right() {
        assert_eq!(off_by(&[stamp(10, true), stamp(15, true), stamp(20, true)], 10, 20), None);
        assert_eq!(off_by(&[], 10, 20), None);
    }

    #[test]
    fn of_several_the_one_that_is_off_the_most_counts() {
        assert_eq!(off_by(&[stamp(12, true), stamp(21, true), stamp(5, true)], 10, 20), Some(-5));
        assert_eq!(off_by(&[stamp(9, true), stamp(27, true)], 10, 20), Some(7));
    }

    #[test]
    fn what_was_not_written_or_was_given_a_time_does_not_count() {
        assert_eq!(off_by(&[stamp(1, false), stamp(99, false)], 10, 20), None);
    }

    /// Files of these ages in seconds, and their stamps.
    fn files(dir: &Path, ages: &[(&str, i64, bool)]) -> Vec<Stamp> {
        let make = |&(name, age, fresh): &(&str, i64, bool)| {
            let path = dir.join(name);
            fs::write(&path, name).unwrap();
            let age_of = Duration::from_secs(age.unsigned_abs());
            let time = if age < 0 { SystemTime::now() + age_of } else { SystemTime::now() - age_of };
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            let name = Bytes::copy_from_slice(path.as_os_str().as_bytes());
            let since =
                fs::metadata(&path).unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            Stamp { path: name, mtime_ns: i64::try_from(since.as_nanos()).unwrap(), fresh, ..Stamp::default() }
        };
        ages.iter().map(make).collect()
    }

    fn time_of(stamp: &Stamp) -> SystemTime {
        fs::metadata(PathBuf::from(OsStr::from_bytes(&stamp.path))).unwrap().modified().unwrap()
    }

    #[test]
    fn what_is_off_gets_the_present_time_and_what_was_chosen_stays() {
        for age in [3600, -3600] {
            let dir = tempfile::tempdir().unwrap();
            let handed_over = stamp_of_now();
            let stamps = files(dir.path(), &[("a.d", age, true), ("copy", 7200, false), ("a.o", age, true)]);
            let chosen = time_of(&stamps[1]);

            let off = put_right(&stamps, handed_over).unwrap().unwrap();

            assert_eq!(off > 0, age < 0, "{off}");
            assert!((3_590_000_000_000..3_610_000_000_000).contains(&off.abs()), "{off}");
            let times: Vec<SystemTime> = stamps.iter().map(time_of).collect();
            assert_eq!(times[1], chosen);
            assert!(times[0] <= times[2] && times[2] <= SystemTime::now(), "{times:?}");
            assert!(times[0] >= SystemTime::UNIX_EPOCH + Duration::from_nanos(handed_over as u64), "{times:?}");
        }
    }

    #[test]
    fn what_is_right_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let stamps = files(dir.path(), &[("a.o", 10, true)]);
        let before = time_of(&stamps[0]);

        assert_eq!(put_right(&stamps, stamps[0].mtime_ns), Ok(None));
        assert_eq!(time_of(&stamps[0]), before);
    }

    #[test]
    fn a_file_that_is_gone_is_named() {
        let gone = Stamp { path: "/nonexistent/a.o".into(), mtime_ns: i64::MAX, fresh: true, ..Stamp::default() };

        assert!(put_right(&[gone], 0).unwrap_err().contains("/nonexistent/a.o"));
    }
}
