//! May this job leave the machine? Decided by what the command means and by where things really are
//! (design.md section 5.1); in doubt it stays, and the reason is kept for `--explain`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use cmdline::{Files, Meaning, Unit};
use model::command::{CommandSpec, Identity, ResourceLimit, Terminal};
use model::job::JobKind;
use proto::convert::kind_to;
use proto::v1;

use crate::environment::Environment;
use crate::places::{Place, Places, canonical};
use crate::program;
use crate::settings::Settings;

/// With fewer file descriptors than this (`ulimit -n`) there may be none left for a connection and an event loop.
const FEW_DESCRIPTORS: u64 = 32;

/// Most directories that a job names for warmth; the first ones matter.
const MAX_WARM_DIRS: usize = 16;

/// A command about to be run: what the user typed, and what it resolves to.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The argument vector as typed.
    pub argv: Vec<OsString>,
    /// The program that `argv[0]` means here.
    pub program: PathBuf,
    /// The working directory, by the name that compilers will record.
    pub cwd: PathBuf,
    /// The `PATH` that it shall see in place of ours: in masquerade one without us.
    pub path: Option<OsString>,
}

impl Invocation {
    /// The arguments without `argv[0]`, as bytes.
    fn args(&self) -> Vec<Vec<u8>> {
        self.argv.iter().skip(1).map(|arg| arg.as_bytes().to_vec()).collect()
    }
}

/// Why a job stays; one clear sentence for `--explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stays(pub String);

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job that may leave.
#[derive(Clone, Debug)]
pub struct Travels {
    /// What it does.
    pub kind: JobKind,
    /// The command as one job.
    pub whole: v1::Job,
    /// The jobs to submit: the whole, or its units when it can be split, one per source in the sources' order.
    pub jobs: Vec<v1::Job>,
}

/// What judging a command needs to know.
pub struct Judge<'a> {
    /// What the launcher was told.
    pub settings: &'a Settings,
    /// The environment that the command will see.
    pub environment: &'a Environment,
    /// The mounts.
    pub places: &'a Places,
}

impl Judge<'_> {
    /// Decides over one command.
    ///
    /// # Errors
    /// The reason why it stays on this machine.
    pub fn decide(&self, invocation: &Invocation) -> Result<Travels, Stays> {
        self.check_switches()?;
        let tool = cmdline::tool_of(invocation.argv[0].as_bytes());
        let tool = tool.ok_or_else(|| stays(format!("`{}` is no tool we know", shown(&invocation.argv[0]))))?;
        let meaning = cmdline::understand(&tool, &invocation.args(), &FilesFrom(&invocation.cwd));
        let job = match meaning {
            Meaning::Job(job) => job,
            Meaning::Local(reason) => return Err(stays(reason.to_string())),
        };
        if job.native {
            return Err(stays("`native` means this machine's own CPU"));
        }
        let mut survey = Survey::new(self.places, &invocation.cwd);
        survey.visit_cwd()?;
        let toolchain = survey.toolchain(&invocation.program)?;
        job.inputs.iter().try_for_each(|input| survey.visit_input(input))?;
        job.outputs.iter().try_for_each(|output| survey.visit_output(output))?;
        job.dirs.iter().try_for_each(|dir| survey.visit_dir(dir))?;
        self.search_paths().try_for_each(|dir| survey.visit_dir(&dir))?;
        let draft = Draft { judge: self, invocation, job: &job, survey: &survey, toolchain };
        let whole = draft.whole();
        // Drivers differ in what they still do when one of several sources is missing: then it stays one job.
        let all_there = job.units.iter().all(|unit| survey.has_seen(&unit.input));
        let units: Vec<v1::Job> = job.units.iter().filter(|_| all_there).map(|unit| draft.unit(unit)).collect();
        let jobs = if units.is_empty() { vec![whole.clone()] } else { units };
        Ok(Travels { kind: job.kind, whole, jobs })
    }

    fn check_switches(&self) -> Result<(), Stays> {
        if self.settings.disabled {
            return Err(stays("DISTCCD_DISABLE is set"));
        }
        if let Some(name) = self.environment.pinning() {
            return Err(stays(format!("{name} is set, and what it names exists only here")));
        }
        if !self.environment.has_standard_streams() {
            return Err(stays("a standard stream is closed"));
        }
        if limit(libc::RLIMIT_NOFILE).is_some_and(|limit| limit.soft < FEW_DESCRIPTORS) {
            return Err(stays("too few file descriptors are allowed for a conversation with the server"));
        }
        Ok(())
    }

    /// The environment without the names of directories for temporary files that only this machine has: the worker's
    /// own serve as well, and Clang fails where GCC would fall back to `/tmp`.
    fn portable_environment(&self) -> Environment {
        let private = |name: &&str| {
            let dir = self.environment.get(name).filter(|dir| !dir.is_empty());
            let place = dir.map(|dir| self.places.of_dir(Path::new(""), Path::new(&dir)));
            place.is_some_and(|place| !matches!(place, Place::Shared(_)))
        };
        let named = ["TMPDIR", "TMP", "TEMP"].into_iter().filter(private);
        named.fold(self.environment.clone(), |environment, name| environment.without(name))
    }

    /// Directories that the compiler searches because the environment says so (GCC manual 3.21).
    fn search_paths(&self) -> impl Iterator<Item = Vec<u8>> {
        const VARIABLES: [&str; 7] = [
            "CPATH",
            "C_INCLUDE_PATH",
            "CPLUS_INCLUDE_PATH",
            "OBJC_INCLUDE_PATH",
            "LIBRARY_PATH",
            "COMPILER_PATH",
            "GCC_EXEC_PREFIX",
        ];
        let values = VARIABLES.iter().filter_map(|name| self.environment.get(name));
        values.flat_map(|value| {
            let dirs: Vec<Vec<u8>> = std::env::split_paths(&value).map(|dir| dir.into_os_string().into_vec()).collect();
            dirs.into_iter().filter(|dir| !dir.is_empty())
        })
    }
}

/// Reads files for the command-line room, relative to the command's directory.
struct FilesFrom<'a>(&'a Path);

impl Files for FilesFrom<'_> {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(OsStr::from_bytes(path))).ok()
    }
}

/// What was found on the way through a command's files.
struct Survey<'a> {
    places: &'a Places,
    cwd: &'a Path,
    mounts: Vec<usize>,
    inputs: Vec<(Vec<u8>, v1::Stamp)>,
}

impl<'a> Survey<'a> {
    fn new(places: &'a Places, cwd: &'a Path) -> Self {
        Self { places, cwd, mounts: Vec::new(), inputs: Vec::new() }
    }

    fn visit_cwd(&mut self) -> Result<(), Stays> {
        match self.places.of_dir(Path::new(""), self.cwd) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => {
                return Err(stays(format!("the working directory {} is not on a shared mount", shown(self.cwd))));
            }
            Place::Private(why) => return Err(stays(format!("the working directory {} {why}", shown(self.cwd)))),
        }
        Ok(())
    }

    /// `None` when the tool lies on a shared mount and so is everywhere.
    fn toolchain(&mut self, program: &Path) -> Result<Option<v1::Toolchain>, Stays> {
        let real = canonical(program).map_err(|error| stays(format!("{}: {error}", shown(program))))?;
        // A link to something else by a compiler's name (ccache, distcc, a script of another name) does its own thing.
        if cmdline::tool_of(real.as_os_str().as_bytes()).is_none() {
            return Err(stays(format!("{} is really {}, which is no tool we know", shown(program), shown(&real))));
        }
        match self.places.of_file(Path::new(""), &real) {
            Place::Shared(mount) => {
                self.touch(mount);
                Ok(None)
            }
            Place::System => {
                let size = std::fs::metadata(&real).map_or(0, |metadata| metadata.len());
                let path = real.into_os_string().into_vec().into();
                Ok(Some(v1::Toolchain { path, size, ..Default::default() }))
            }
            Place::Private(why) => Err(stays(format!("the tool {} {why}", shown(program)))),
        }
    }

    fn visit_input(&mut self, input: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(input));
        // What is not there has no stamp. It may be found on a search path (`-include config.h`, `-specs=`), be made by
        // the command itself (`ar rcs new.a`), or be missing on the worker too, and then the tool says so.
        let metadata = std::fs::metadata(self.cwd.join(path)).ok();
        let Some(metadata) = metadata.filter(|metadata| !is_dev_null(metadata)) else { return Ok(()) };
        if metadata.is_dir() {
            return self.visit_dir(input);
        }
        if !metadata.is_file() {
            return Err(stays(format!("the input {} is not a regular file", shown(path))));
        }
        match self.places.of_file(self.cwd, path) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => {}
            Place::Private(why) => return Err(stays(format!("the input {} {why}", shown(path)))),
        }
        self.inputs.push((input.to_vec(), stamp(&self.cwd.join(path), &metadata)));
        Ok(())
    }

    fn has_seen(&self, input: &[u8]) -> bool {
        self.inputs.iter().any(|(name, _)| name == input)
    }

    fn visit_output(&mut self, output: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(output));
        let whole = self.cwd.join(path);
        if let Ok(metadata) = std::fs::metadata(&whole) {
            if is_dev_null(&metadata) {
                return Ok(());
            }
            if !metadata.is_file() {
                return Err(stays(format!("the output {} is not a regular file", shown(path))));
            }
        }
        if !whole.parent().is_some_and(Path::is_dir) {
            return Err(stays(format!("the directory of the output {} does not exist", shown(path))));
        }
        match self.places.of_file(self.cwd, path) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => return Err(stays(format!("the output {} is not on a shared mount", shown(path)))),
            Place::Private(why) => return Err(stays(format!("the output {} {why}", shown(path)))),
        }
        Ok(())
    }

    fn visit_dir(&mut self, dir: &[u8]) -> Result<(), Stays> {
        let path = Path::new(OsStr::from_bytes(dir));
        match self.places.of_dir(self.cwd, path) {
            Place::Shared(mount) => self.touch(mount),
            Place::System => {}
            Place::Private(why) => return Err(stays(format!("the directory {} {why}", shown(path)))),
        }
        Ok(())
    }

    fn touch(&mut self, mount: usize) {
        if !self.mounts.contains(&mount) {
            self.mounts.push(mount);
        }
    }
}

/// Puts the wire form of a judged command together.
struct Draft<'a> {
    judge: &'a Judge<'a>,
    invocation: &'a Invocation,
    job: &'a cmdline::Job,
    survey: &'a Survey<'a>,
    toolchain: Option<v1::Toolchain>,
}

impl Draft<'_> {
    fn whole(&self) -> v1::Job {
        self.job(self.invocation.args(), &self.job.inputs, &self.job.outputs)
    }

    fn unit(&self, unit: &Unit) -> v1::Job {
        let sources: Vec<&Vec<u8>> = self.job.units.iter().map(|unit| &unit.input).collect();
        // What is read besides the sources (`-include`, `@file`) is read by every unit.
        let shared = self.job.inputs.iter().filter(|input| !sources.contains(input));
        let inputs: Vec<Vec<u8>> = std::iter::once(&unit.input).chain(shared).cloned().collect();
        self.job(unit.args.clone(), &inputs, std::slice::from_ref(&unit.output))
    }

    fn job(&self, args: Vec<Vec<u8>>, inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> v1::Job {
        let stamps = self.survey.inputs.iter().filter(|(name, _)| inputs.contains(name));
        let stamps: Vec<v1::Stamp> = stamps.map(|(_, stamp)| stamp.clone()).collect();
        v1::Job {
            id: fresh_id().to_vec().into(),
            command: Some(self.command(args).into()),
            kind: kind_to(self.job.kind).into(),
            build_dir: self.build_dir().into(),
            toolchain: self.toolchain.clone(),
            mounts: self.survey.mounts.iter().map(|&mount| bytes_of(self.judge.places.mount(mount)).into()).collect(),
            dirs: self.warm_dirs(outputs, inputs).into_iter().map(Into::into).collect(),
            input_bytes: stamps.iter().map(|stamp| stamp.size).sum(),
            repeatable: self.job.repeatable,
            inputs: stamps,
            outputs: outputs.iter().map(|output| self.absolute(output).into()).collect(),
            resubmitted: false,
        }
    }

    fn command(&self, args: Vec<Vec<u8>>) -> CommandSpec {
        let program = program::absolute(&self.invocation.program, &self.invocation.cwd).into_vec();
        let argv0 = self.invocation.argv[0].as_bytes().to_vec();
        CommandSpec {
            program,
            argv: std::iter::once(argv0).chain(args).collect(),
            cwd: bytes_of(&self.invocation.cwd),
            env: self.judge.portable_environment().passed(&self.judge.settings.pass_env),
            umask: umask(),
            limits: limits(),
            identity: identity(),
            terminal: terminal(),
        }
    }

    fn build_dir(&self) -> Vec<u8> {
        bytes_of(self.judge.settings.build_dir.as_deref().unwrap_or(&self.invocation.cwd))
    }

    /// The directories it writes and reads, the output's first.
    fn warm_dirs(&self, outputs: &[Vec<u8>], inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut dirs = Vec::new();
        for file in outputs.iter().chain(inputs) {
            let whole = self.absolute(file);
            let slash = whole.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            let dir = whole[..slash.max(1)].to_vec();
            if dirs.len() < MAX_WARM_DIRS && !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }

    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        self.invocation.cwd.join(OsStr::from_bytes(path)).into_os_string().into_vec()
    }
}

fn stays(reason: impl Into<String>) -> Stays {
    Stays(reason.into())
}

fn shown(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// `/dev/null` is the same everywhere: character device 1:3 (Linux admin-guide/devices.txt).
fn is_dev_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == libc::makedev(1, 3)
}

/// How a file looks from here.
#[must_use]
pub fn stamp(path: &Path, metadata: &Metadata) -> v1::Stamp {
    v1::Stamp {
        path: bytes_of(path).into(),
        inode: metadata.ino(),
        size: metadata.size(),
        mtime_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
    }
}

/// 16 random bytes.
#[must_use]
pub fn fresh_id() -> [u8; 16] {
    let mut id = [0; 16];
    // Fewer than 256 bytes are never returned in part, but before the machine's start is over it may be interrupted
    // (getrandom(2)). Without a random source there are no distinct ids, and two jobs would be one.
    while rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()) != Ok(16) {}
    id
}

fn umask() -> u32 {
    // The mask can only be read by setting it; the launcher has one thread.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}

fn identity() -> Identity {
    let groups = rustix::process::getgroups().unwrap_or_default();
    Identity {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
    }
}

/// The terminal that our standard error is, if it is one.
fn terminal() -> Option<Terminal> {
    let stderr = std::io::stderr();
    rustix::termios::isatty(&stderr).then(|| {
        let size = rustix::termios::tcgetwinsize(&stderr);
        size.map_or(Terminal::default(), |size| Terminal { columns: size.ws_col, rows: size.ws_row })
    })
}

/// The limits that change what a compiler does: stack depth, data size, file size, address space, CPU time, core dumps.
fn limits() -> Vec<ResourceLimit> {
    const CARRIED: [libc::__rlimit_resource_t; 6] = [
        libc::RLIMIT_CPU,
        libc::RLIMIT_FSIZE,
        libc::RLIMIT_DATA,
        libc::RLIMIT_STACK,
        libc::RLIMIT_CORE,
        libc::RLIMIT_AS,
    ];
    CARRIED.iter().filter_map(|&resource| limit(resource)).collect()
}

fn limit(resource: libc::__rlimit_resource_t) -> Option<ResourceLimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    let ok = unsafe { libc::getrlimit(resource, &raw mut limit) } == 0;
    ok.then_some(ResourceLimit { resource, soft: limit.rlim_cur, hard: limit.rlim_max })
}
