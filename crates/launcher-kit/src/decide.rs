//! May this job leave the machine? Decided by what the command means and by where things really are
//! (design.md section 5.1); in doubt it stays, and the reason is kept for `--explain`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use cmdline::{Files, Meaning};
use model::ids::CpuClass;
use model::job::JobKind;
use proto::v1;

use crate::circumstances::{is_root_in_name_only, limit};
use crate::configure;
use crate::draft::Draft;
use crate::environment::Environment;
use crate::identity;
use crate::places::{Place, Places};
use crate::settings::Settings;
use crate::survey::Survey;

/// With fewer file descriptors than this (`ulimit -n`) there may be none left for a connection and an event loop.
const FEW_DESCRIPTORS: u64 = 32;

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
    pub(crate) fn args(&self) -> Vec<Vec<u8>> {
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
    /// The user's runtime directory, for what is known of toolchains.
    pub runtime_dir: Option<PathBuf>,
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
        if configure::is_probe(&invocation.cwd, &job.inputs) {
            return Err(stays("it is a configure step's probe, which is done sooner here"));
        }
        let cpu_class = self.cpu_class(&job)?;
        let mut survey = Survey::new(self.places, &invocation.cwd);
        survey.visit_cwd()?;
        let program = survey.tool(&invocation.program)?;
        job.inputs.iter().try_for_each(|input| survey.visit_input(input))?;
        job.outputs.iter().try_for_each(|output| survey.visit_output(output))?;
        job.written_near.iter().try_for_each(|beginning| survey.visit_written_near(beginning))?;
        if !job.repeatable {
            job.outputs.iter().try_for_each(|output| survey.can_be_undone(output))?;
        }
        job.dirs.iter().try_for_each(|dir| survey.visit_dir(dir))?;
        self.search_paths().try_for_each(|dir| survey.visit_dir(&dir))?;
        // Last, for of a command that stays nobody need know it.
        let toolchain = program.map(|program| identity::toolchain(self, invocation, &job, &program)).transpose()?;
        let draft = Draft { judge: self, invocation, job: &job, survey: &survey, toolchain, cpu_class };
        let whole = draft.whole();
        // Drivers differ in what they still do when one of several sources is missing: then it stays one job.
        let all_there = job.units.iter().all(|unit| survey.has_seen(&unit.input));
        let units: Vec<v1::Job> = job.units.iter().filter(|_| all_there).map(|unit| draft.unit(unit)).collect();
        let jobs = if units.is_empty() { vec![whole.clone()] } else { units };
        Ok(Travels { kind: job.kind, whole, jobs })
    }

    /// The class of machine that a job with `native` in it has to run on, lest it be another program.
    fn cpu_class(&self, job: &cmdline::Job) -> Result<Option<CpuClass>, Stays> {
        if !job.native {
            return Ok(None);
        }
        let class = cpu_class::of_this_machine();
        class.map(Some).ok_or_else(|| stays("`native` means a CPU that differs from core to core here"))
    }

    fn check_switches(&self) -> Result<(), Stays> {
        if self.settings.disabled {
            return Err(stays("DISTCCD_DISABLE is set"));
        }
        if let Some(name) = self.environment.pinning() {
            return Err(stays(format!("{name} is set, and what it names exists only here")));
        }
        if let Some(name) = self.environment.gathering() {
            return Err(stays(format!("{name} is set, and every command adds to the file that it names")));
        }
        if !self.environment.has_standard_streams() {
            return Err(stays("a standard stream is closed"));
        }
        if is_root_in_name_only() {
            return Err(stays("it is root's, without root's capabilities, which a worker would have"));
        }
        if limit(libc::RLIMIT_NOFILE).is_some_and(|limit| limit.soft < FEW_DESCRIPTORS) {
            return Err(stays("too few file descriptors are allowed for a conversation with the server"));
        }
        Ok(())
    }

    /// The environment without the names of directories for temporary files that only this machine has: the worker's
    /// own serve as well, and Clang fails where GCC would fall back to `/tmp`.
    pub(crate) fn portable_environment(&self) -> Environment {
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
pub(crate) struct FilesFrom<'a>(pub(crate) &'a Path);

impl Files for FilesFrom<'_> {
    fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(OsStr::from_bytes(path))).ok()
    }
}

/// Says why.
pub(crate) fn stays(reason: impl Into<String>) -> Stays {
    Stays(reason.into())
}

fn shown(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}
