//! How long another machine's first look at a committed file takes, by strategy:
//!
//! ```text
//! first_look WRITER READER rename|link new|replaced ROUNDS
//! ```
//!
//! `WRITER` and `READER` are the same directory of a shared filesystem, through two mounts that have caches of their own.
//! Each round the reader has looked before (as `make` does: at a missing name, or at the older file, which it has read
//! too); then the writer commits; then the reader looks, opens and reads, which is timed. Prints how many looks took more
//! than 0.1 s.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use commit::{Durability, Family, Fence, Kernel, Layer, LeaseOver, Request, Strategy, User};
use model::ids::{Attempt, JobId};
use rustix::fs::Timespec;

const BLOCKED: Duration = Duration::from_millis(100);

struct Runs;

impl Fence for Runs {
    fn check(&mut self) -> Result<(), LeaseOver> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [writer, reader, strategy, case, rounds] = arguments.as_slice() else {
        return Err("first_look WRITER READER rename|link new|replaced ROUNDS".into());
    };
    let strategy = match strategy.as_str() {
        "rename" => Strategy::Rename,
        "link" => Strategy::Link,
        other => return Err(format!("no such strategy: {other}").into()),
    };
    let replaced = case == "replaced";
    let folder = format!("first-look-{}", std::process::id());
    let (writer, reader) = (Path::new(writer).join(&folder), Path::new(reader).join(&folder));
    fs::create_dir(&writer)?;
    let mut looks = Vec::new();
    for round in 0..rounds.parse()? {
        looks.push(look(&writer, &reader, strategy, replaced, round)?);
        // Neither in step with the server's timers, nor without rest.
        std::thread::sleep(Duration::from_millis(40 + u64::from(round % 7) * 30));
    }
    looks.sort();
    let blocked = looks.iter().filter(|look| **look > BLOCKED).count();
    let (median, longest) = (looks[looks.len() / 2], looks[looks.len() - 1]);
    println!("{strategy:?} {case}: {blocked} of {} blocked, median {median:?}, longest {longest:?}", looks.len());
    fs::remove_dir_all(&writer)?;
    Ok(())
}

fn look(
    writer: &Path,
    reader: &Path,
    strategy: Strategy,
    replaced: bool,
    round: u32,
) -> Result<Duration, Box<dyn Error>> {
    let name = format!("{round}.o");
    if replaced {
        commit(writer, &name, strategy, &[b'o'; 9_000])?;
        assert_eq!(fs::read(reader.join(&name))?.len(), 9_000);
    } else {
        assert!(fs::metadata(reader.join(&name)).is_err());
    }
    commit(writer, &name, strategy, &[b'n'; 10_000])?;
    let begun = Instant::now();
    let facts = fs::metadata(reader.join(&name))?;
    let bytes = fs::read(reader.join(&name))?;
    let took = begun.elapsed();
    assert!(facts.len() == 10_000 && bytes.iter().all(|byte| *byte == b'n'), "an older file was seen");
    Ok(took)
}

fn commit(real: &Path, name: &str, strategy: Strategy, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let upper = tempfile::tempdir()?;
    fs::write(upper.path().join(name), bytes)?;
    let (upper, real) = (File::open(upper.path())?, File::open(real)?);
    let layers = [Layer {
        upper: upper.as_fd(),
        real: real.as_fd(),
        family: Family::Trusted,
        strategy,
        stale_view: commit::LONGEST_STALE_VIEW,
        known: &BTreeMap::new(),
    }];
    let request = Request {
        layers: &layers,
        attempt: Attempt { job: JobId::from_bytes([7; 16]), number: 1 },
        primary: None,
        user: User { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() },
        began: Timespec { tv_sec: 0, tv_nsec: 0 },
        durability: Durability::None,
    };
    commit::commit(&request, &mut Runs, &mut Kernel)?;
    Ok(())
}
