//! Which toolchain a command has, for a worker to have the very same.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use model::job::JobKind;
use proto::v1;
use toolchain::{Cache, Known, STANDARD_PATH};

use crate::decide::{Invocation, Judge, Stays, stays};
use crate::places::{Place, canonical};
use crate::program::is_launcher;
use crate::slots;

/// The toolchain of a tool that lies outside the mounts, by its canonical path.
///
/// # Errors
/// When it cannot be read, or the command would execute something else with it.
pub(crate) fn toolchain(
    judge: &Judge<'_>,
    invocation: &Invocation,
    job: &cmdline::Job,
    program: &Path,
) -> Result<v1::Toolchain, Stays> {
    let cache = match slots::own_runtime_directory(judge.runtime_dir.clone()) {
        Ok(dir) => Cache::at(&dir),
        Err(_) => Cache::nowhere(),
    };
    let identify = |program: &Path| cache.identify(program).map_err(|error| stays(format!("the toolchain: {error}")));
    let known = identify(program)?;
    let path = judge.environment.get("PATH").unwrap_or_else(|| STANDARD_PATH.into());
    if let Some(other) = known.missed_by_path(&path, |found| is_no_matter(judge, found)) {
        let other = other.display();
        return Err(stays(format!(
            "the PATH leads to {other}, which no worker would take instead of the compiler's own"
        )));
    }
    let linker = if job.kind == JobKind::Link { said_linker(invocation) } else { None };
    let linker = linker.map(|said| linker_of(judge, &said, program, &known, &path)).transpose()?.flatten();
    let linker = linker.map(|linker| identify(&linker).map(|known| wire(&linker, &known))).transpose()?;
    Ok(v1::Toolchain { linker: linker.map(Box::new), ..wire(program, &known) })
}

/// What lies on a shared mount is the same everywhere; and a launcher is none of the two programs that are meant.
fn is_no_matter(judge: &Judge<'_>, found: &Path) -> bool {
    let is_shared = || matches!(judge.places.of_file(Path::new(""), found), Place::Shared(_));
    is_shared() || std::fs::metadata(found).is_ok_and(|facts| is_launcher(found, &facts))
}

/// The word behind the last `-fuse-ld=`.
fn said_linker(invocation: &Invocation) -> Option<OsString> {
    let words = invocation.argv.iter().rev().map(|word| word.as_bytes());
    let said = words.filter_map(|word| word.strip_prefix(b"-fuse-ld=")).next()?;
    Some(OsStr::from_bytes(said).to_owned())
}

/// Where a driver finds the linker of this name (GCC's collect2.cc, Clang's `ToolChain::GetLinkerPath`): with its target's
/// name in its own directory, or on the `PATH`. None when it is on a shared mount.
fn linker_of(
    judge: &Judge<'_>,
    said: &OsStr,
    program: &Path,
    known: &Known,
    path: &OsStr,
) -> Result<Option<PathBuf>, Stays> {
    let name = OsString::from_vec([b"ld.", said.as_bytes()].concat());
    let own = program.with_file_name(OsString::from_vec([known.target().as_bytes(), b"-", name.as_bytes()].concat()));
    let candidates: Vec<PathBuf> = match said.as_bytes().contains(&b'/') {
        true => vec![said.into()],
        false => std::iter::once(own).chain(std::env::split_paths(path).map(|dir| dir.join(&name))).collect(),
    };
    let found = candidates.iter().find(|candidate| candidate.is_file());
    let found = found.ok_or_else(|| stays(format!("the linker {} is not found", said.display())))?;
    match judge.places.of_file(Path::new(""), found) {
        Place::Shared(_) => Ok(None),
        Place::System => canonical(found).map(Some).map_err(|error| stays(format!("{}: {error}", found.display()))),
        Place::Private(why) => Err(stays(format!("the linker {} {why}", found.display()))),
    }
}

fn wire(program: &Path, known: &Known) -> v1::Toolchain {
    v1::Toolchain {
        path: program.as_os_str().as_bytes().to_vec().into(),
        size: std::fs::metadata(program).map_or(0, |facts| facts.len()),
        version: known.version().to_owned(),
        target: known.target().to_owned(),
        fingerprint: known.fingerprint().0.to_vec().into(),
        parts: known.parts().iter().map(toolchain::Part::code).collect(),
        part_names: Vec::new(),
        linker: None,
    }
}
