//! The wire form of a command that may leave.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use cmdline::{Family, Unit};
use model::command::{CommandSpec, Terminal};
use model::ids::CpuClass;
use proto::convert::kind_to;
use proto::v1;

use crate::circumstances::{identity, input_columns, limits, one_output, terminal, umask};
use crate::decide::{Invocation, Judge};
use crate::environment::Environment;
use crate::program;
use crate::survey::Survey;

/// Most directories that a job names for warmth; the first ones matter.
const MAX_WARM_DIRS: usize = 16;

/// Puts the wire form of a judged command together.
pub(crate) struct Draft<'a> {
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) invocation: &'a Invocation,
    pub(crate) job: &'a cmdline::Job,
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) toolchain: Option<v1::Toolchain>,
    pub(crate) cpu_class: Option<CpuClass>,
}

impl Draft<'_> {
    pub(crate) fn whole(&self) -> v1::Job {
        let whole = self.job(self.invocation.args(), &self.job.inputs, &self.job.outputs);
        // `argv[0]` comes first there.
        let redirects = self.job.redirects.iter().map(|place| u32::try_from(place + 1)).collect::<Result<_, _>>();
        v1::Job { redirects: redirects.unwrap_or_default(), ..whole }
    }

    pub(crate) fn unit(&self, unit: &Unit) -> v1::Job {
        let sources: Vec<&Vec<u8>> = self.job.units.iter().map(|unit| &unit.input).collect();
        // What is read besides the sources (`-include`, `@file`) is read by every unit.
        let shared = self.job.inputs.iter().filter(|input| !sources.contains(input));
        let inputs: Vec<Vec<u8>> = std::iter::once(&unit.input).chain(shared).cloned().collect();
        self.job(unit.args.clone(), &inputs, std::slice::from_ref(&unit.output))
    }

    fn job(&self, args: Vec<Vec<u8>>, inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> v1::Job {
        // A link may have ten thousands of them.
        let inputs_by_name: HashSet<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let stamps = self.survey.inputs.iter().filter(|(name, _)| inputs_by_name.contains(name.as_slice()));
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
            cpu_class: self.cpu_class.map_or(0, CpuClass::digest),
            priority: self.judge.settings.priority,
            searched: self.survey.searched(),
            redirects: Vec::new(),
        }
    }

    fn command(&self, args: Vec<Vec<u8>>) -> CommandSpec {
        let program = program::absolute(&self.invocation.program, &self.invocation.cwd).into_vec();
        let argv0 = self.invocation.argv[0].as_bytes().to_vec();
        let terminal = terminal();
        CommandSpec {
            program,
            argv: std::iter::once(argv0).chain(args).collect(),
            cwd: bytes_of(&self.invocation.cwd),
            env: self.environment(terminal).passed(&self.judge.settings.pass_env),
            umask: umask(),
            limits: limits(),
            identity: identity(),
            terminal,
            one_output: one_output(),
        }
    }

    /// A worker's command has no terminal as standard input, by which GCC would know how wide ours is. Clang asks no terminal,
    /// but would heed the variable.
    fn environment(&self, terminal: Option<Terminal>) -> Environment {
        let environment = self.judge.portable_environment();
        match terminal.and_then(|_| input_columns()) {
            Some(columns) if !says_columns(&environment) && is_gcc(&self.invocation.program) => {
                environment.with("COLUMNS", columns.to_string().into())
            }
            _ => environment,
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

/// By its real name: `cc` may be either.
fn is_gcc(program: &Path) -> bool {
    let real = program.canonicalize().ok().and_then(|real| cmdline::tool_of(real.as_os_str().as_bytes()));
    real.is_some_and(|tool| tool.family == Family::Gcc)
}

/// As GCC reads it: a number above zero.
fn says_columns(environment: &Environment) -> bool {
    let columns = environment.get("COLUMNS").and_then(|text| text.to_str()?.trim_start().parse::<u32>().ok());
    columns.is_some_and(|columns| columns > 0)
}

/// 16 random bytes.
#[must_use]
pub(crate) fn fresh_id() -> [u8; 16] {
    let mut id = [0; 16];
    // Fewer than 256 bytes are never returned in part, but before the machine's start is over it may be interrupted
    // (getrandom(2)). Without a random source there are no distinct ids, and two jobs would be one.
    while rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()) != Ok(16) {}
    id
}

fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}
