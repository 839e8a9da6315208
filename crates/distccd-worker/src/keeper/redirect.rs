//! Outputs that are caught without an overlay: the command is told other names for them, in a directory of this machine,
//! and what it wrote there is published as an isolated attempt's would be. Only for commands of which the launcher says
//! that this changes nothing else (`cmdline::Job::redirects`), and for files that can be replaced (`exec::isolation`).
//!
//! A file that is there already is copied first: a compiler that fails removes its old output, one that writes
//! dependencies may leave them alone, and either is to happen to the real file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::command::CommandSpec;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::Pid;

use super::conversation::Request;
use super::path_of;
use super::view::Layer;

/// Where they go in the meantime: every system has it.
const STAGE: &str = "/tmp";

/// See the module.
#[derive(Debug)]
pub(super) struct Redirection {
    scratch: PathBuf,
    /// One for each directory of an output; its path is resolved.
    pub(super) layers: Vec<Layer>,
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Output {
    layer: usize,
    name: OsString,
    /// Its copy, of a file that was there.
    before: Option<Facts>,
}

/// What changes when a file is written or replaced.
type Facts = (u64, u64, i64, i64, i64, i64);

impl Redirection {
    /// Makes room, and tells the command the other names. The outputs belong to whoever this process acts as.
    pub(super) fn prepare(request: &Request, spec: &mut CommandSpec) -> io::Result<Self> {
        let scratch = scratch_of(rustix::process::getpid());
        make_anew(&scratch)?;
        let mut this = Self { scratch, layers: Vec::new(), outputs: Vec::new() };
        for (output, word) in request.outputs.iter().zip(&request.redirects) {
            let elsewhere = this.add(&path_of(output))?;
            if let Some(word) = usize::try_from(*word).ok().and_then(|word| spec.argv.get_mut(word)) {
                *word = elsewhere.into_os_string().into_encoded_bytes();
            }
        }
        Ok(this)
    }

    fn add(&mut self, output: &Path) -> io::Result<PathBuf> {
        let (Some(folder), Some(name)) = (output.parent(), output.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let layer = self.layer(&fs::canonicalize(folder)?)?;
        let elsewhere = self.place(layer, name);
        let before = match fs::copy(output, &elsewhere) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            copied => {
                copied?;
                let modified = fs::metadata(output)?.modified()?;
                fs::File::open(&elsewhere)?.set_modified(modified)?;
                facts(&elsewhere)?
            }
        };
        self.outputs.push(Output { layer, name: name.to_owned(), before });
        Ok(elsewhere)
    }

    fn layer(&mut self, folder: &Path) -> io::Result<usize> {
        if let Some(known) = self.layers.iter().position(|layer| layer.path == folder) {
            return Ok(known);
        }
        let upper = self.upper(self.layers.len());
        make_private(&upper)?;
        let layer = Layer { path: folder.to_owned(), real: open_directory(folder)?, upper: open_directory(&upper)? };
        self.layers.push(layer);
        Ok(self.layers.len() - 1)
    }

    fn upper(&self, layer: usize) -> PathBuf {
        self.scratch.join(layer.to_string())
    }

    fn place(&self, layer: usize, name: &OsStr) -> PathBuf {
        self.upper(layer).join(name)
    }

    /// Makes of what the command left what an overlay would have: what it has not touched is not there, and what it
    /// removed is a whiteout (Documentation/filesystems/overlayfs.rst), which anybody may make.
    pub(super) fn settle(&self) -> io::Result<()> {
        for output in &self.outputs {
            let place = self.place(output.layer, &output.name);
            match (facts(&place)?, output.before) {
                (None, Some(_)) => mknodat(CWD, &place, FileType::CharacterDevice, Mode::empty(), 0)?,
                (Some(now), Some(before)) if now == before => fs::remove_file(&place)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The main output: its layer, and its name there.
    pub(super) fn main(&self) -> Option<(usize, PathBuf)> {
        self.outputs.first().map(|output| (output.layer, PathBuf::from(&output.name)))
    }
}

impl Drop for Redirection {
    fn drop(&mut self) {
        // What stays, the spawner finds.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// Removes what a keeper that was killed has left.
pub(crate) fn sweep(keeper: Pid) {
    let scratch = scratch_of(keeper);
    let ours = rustix::process::geteuid();
    // Root's keepers work as users.
    if fs::symlink_metadata(&scratch).is_ok_and(|facts| ours.is_root() || facts.uid() == ours.as_raw()) {
        let _ = fs::remove_dir_all(&scratch);
    }
}

fn scratch_of(keeper: Pid) -> PathBuf {
    Path::new(STAGE).join(format!("distccd-keeper-{}", keeper.as_raw_nonzero()))
}

/// The same where an earlier keeper of this number may have left its own, of a worker that was killed with it.
fn make_anew(path: &Path) -> io::Result<()> {
    match make_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Somebody else's cannot be removed: that is the error then, for /tmp is sticky.
            fs::remove_dir_all(path)?;
            make_private(path)
        }
        made => made,
    }
}

/// A new directory, so that it is nobody else's.
fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn facts(path: &Path) -> io::Result<Option<Facts>> {
    match fs::symlink_metadata(path) {
        Ok(it) => Ok(Some((it.ino(), it.size(), it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_directory(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    Ok(open(path.as_os_str().as_bytes(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
