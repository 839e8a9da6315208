//! What was found out about toolchains, kept for the next program of this user on this host.
//!
//! An entry is read and believed while the thirty files and directories that an upgrade always touches look as they did; that is all that a
//! launcher pays for a job. Every few seconds one of them also looks at the thousands behind, headers mostly. Who finds no
//! entry, or a wrong one, reads the toolchain, one at a time: `make -j200` reads it once.

use std::ffi::OsStr;
use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::Error;
use crate::bytes::{Reader, Writer};
use crate::digest::Digests;
use crate::identity::{Identity, changed};
use crate::known::{Fingerprint, Known, Part};
use crate::mark::Seen;
use crate::own_file;

const MAGIC: &[u8; 8] = b"dctch01\n";
/// For how long a thorough look is good.
pub const THOROUGH: Duration = Duration::from_secs(10);

/// A directory of entries. It must be the user's own, of one host, and gone when the host starts anew: device numbers
/// and inodes mean something only there.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
}

/// The files of one toolchain.
struct Entry {
    /// What every job reads; its time of modification is that of the last thorough look.
    front: PathBuf,
    /// All that a thorough look looks at.
    back: PathBuf,
    lock: PathBuf,
}

impl Cache {
    /// A cache in this directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: Some(dir.to_owned()) }
    }

    /// No cache at all: every toolchain is read every time.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { dir: None }
    }

    /// What is known of a program, by its canonical path; found out if nobody has yet.
    ///
    /// # Errors
    /// As [`Identity::of`]. A cache that cannot be written is none: then it is found out each time.
    pub fn identify(&self, program: &Path) -> Result<Known, Error> {
        let Some(dir) = &self.dir else {
            return Identity::of(program, &Digests::default()).map(|identity| identity.known().clone());
        };
        let entry = Entry::of(dir, program);
        if let Some(known) = entry.current(program, Age::Recent) {
            return Ok(known);
        }
        // Held until we are done. Without a lock several do the same work, and come to the same end.
        let _alone = lock(&entry.lock);
        if let Some(known) = entry.current(program, Age::Recent) {
            return Ok(known);
        }
        if let Some(known) = entry.current(program, Age::Any).filter(|known| entry.is_unchanged_behind(known)) {
            entry.touch();
            return Ok(known);
        }
        let kept = dir.join("digests");
        let digests = Digests::load(&kept);
        let identity = find_out(program, &digests, &entry)?;
        // Whatever is not kept is found out again.
        let _ = digests.save(&kept);
        Ok(identity.known)
    }

    /// The whole identity of a program, after a thorough look at all of its files; read again if anything looks otherwise.
    ///
    /// # Errors
    /// As [`Identity::of`].
    pub fn read(&self, program: &Path, digests: &Digests) -> Result<Identity, Error> {
        let Some(dir) = &self.dir else { return Identity::of(program, digests) };
        let entry = Entry::of(dir, program);
        let kept = entry.whole(program).filter(|kept| kept.changed().is_none() && kept.changed_behind().is_none());
        kept.map_or_else(|| find_out(program, digests, &entry), Ok)
    }
}

fn find_out(program: &Path, digests: &Digests, entry: &Entry) -> Result<Identity, Error> {
    let identity = Identity::of(program, digests)?;
    if identity.is_settled() {
        // As above.
        let _ = entry.write(program, &identity);
    }
    Ok(identity)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Recent,
    Any,
}

impl Entry {
    fn of(dir: &Path, program: &Path) -> Self {
        let key = blake3::hash(program.as_os_str().as_bytes()).to_hex();
        let file = |suffix: &str| dir.join(format!("toolchain-{}{suffix}", &key[..16]));
        Self { front: file(""), back: file(".all"), lock: file(".lock") }
    }

    /// What it says, if it is about this program and nothing looks otherwise.
    fn current(&self, program: &Path, age: Age) -> Option<Known> {
        let file = own_file::open(&self.front)?;
        if age == Age::Recent && !is_recent(&file) {
            return None;
        }
        let (known, soon) = decode(&read(file)?, program)?;
        changed(&soon).is_none().then_some(known)
    }

    fn is_unchanged_behind(&self, known: &Known) -> bool {
        self.later(known).is_some_and(|later| changed(&later).is_none())
    }

    /// What is looked at from time to time.
    fn later(&self, known: &Known) -> Option<Vec<Seen>> {
        let bytes = own_file::read(&self.back)?;
        let mut reader = Reader::unsealed(&bytes, MAGIC)?;
        // Of another reading, if somebody died between the two files.
        (reader.raw()? == known.fingerprint.0).then(|| reader.seen())?
    }

    /// All that was written down, whether it still holds or not.
    fn whole(&self, program: &Path) -> Option<Identity> {
        let (known, soon) = decode(&own_file::read(&self.front)?, program)?;
        let later = self.later(&known)?;
        Some(Identity { known, soon, later })
    }

    fn touch(&self) {
        let now = FileTimes::new().set_modified(SystemTime::now());
        let _ = own_file::open(&self.front).map(|file| file.set_times(now));
    }

    fn write(&self, program: &Path, identity: &Identity) -> io::Result<()> {
        let mut back = Writer::new(MAGIC);
        back.raw(&identity.known().fingerprint.0);
        back.seen(&identity.later);
        own_file::replace(&self.back, &back.sealed())?;
        own_file::replace(&self.front, &encode(program, identity))
    }
}

fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).ok()?;
    while flock(&file, FlockOperation::LockExclusive) == Err(rustix::io::Errno::INTR) {}
    Some(file)
}

fn read(mut file: File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A time that is yet to come is of a clock that was set back.
fn is_recent(file: &File) -> bool {
    let looked = file.metadata().and_then(|facts| facts.modified());
    looked.is_ok_and(|looked| SystemTime::now().duration_since(looked).is_ok_and(|age| age < THOROUGH))
}

fn encode(program: &Path, identity: &Identity) -> Vec<u8> {
    let known = identity.known();
    let mut writer = Writer::new(MAGIC);
    writer.string(program.as_os_str().as_bytes());
    writer.raw(&known.fingerprint.0);
    writer.string(known.version.as_bytes());
    writer.string(known.target.as_bytes());
    writer.number(known.by_path.len() as u64);
    for (name, path) in &known.by_path {
        writer.string(name.as_bytes());
        writer.string(path.as_os_str().as_bytes());
    }
    writer.number(known.parts.len() as u64);
    for part in &known.parts {
        writer.string(part.name.as_bytes());
        writer.raw(&part.digest);
    }
    writer.seen(&identity.soon);
    writer.sealed()
}

fn decode(bytes: &[u8], program: &Path) -> Option<(Known, Vec<Seen>)> {
    let mut reader = Reader::unsealed(bytes, MAGIC)?;
    if reader.string()? != program.as_os_str().as_bytes() {
        return None;
    }
    let fingerprint = Fingerprint(reader.raw()?);
    let (version, target) = (reader.text()?, reader.text()?);
    let count = reader.number()?;
    let by_path: Option<Vec<_>> =
        (0..count).map(|_| Some((reader.text()?, PathBuf::from(OsStr::from_bytes(reader.string()?))))).collect();
    let count = reader.number()?;
    let parts: Option<Vec<_>> =
        (0..count).map(|_| Some(Part { name: reader.text()?, digest: reader.raw()? })).collect();
    Some((Known { fingerprint, parts: parts?, version, target, by_path: by_path? }, reader.seen()?))
}

#[cfg(test)]
mod tests;
