//! `stalefs`: a filesystem of our own (FUSE, `stalefs.c`) of which each mount is as blind to the others' doings as a
//! client of NFS may be, for as long as we like.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::fleet::CLIENTS;
use super::hosts::Hosts;
use crate::flags::StaleMode;
use crate::prerequisites::{self, FUSE};
use crate::process::{self, Daemon};

const SOURCE: &str = include_str!("stalefs.c");

/// How long a mount believes what it has seen, in seconds: those of NFS are 3 to 60.
const BELIEVED: u32 = 5;

/// The program, compiled.
pub(super) struct Program(PathBuf);

/// A mount on each host, as long as this lives.
pub(super) struct Mounts {
    _daemons: Vec<Daemon>,
}

impl Program {
    /// Compiles it in `scratch`.
    pub(super) fn compile(scratch: &Path) -> anyhow::Result<Self> {
        prerequisites::ensure(FUSE)?;
        let (source, program) = (scratch.join("stalefs.c"), scratch.join("stalefs"));
        std::fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-Wall", "-D_FILE_OFFSET_BITS=64", "-I/usr/include/fuse3", "-o"]).arg(&program).arg(&source);
        process::run(gcc.args(["-lfuse3", "-lpthread"]))?;
        Ok(Self(program))
    }

    /// Mounts `backing` at `mount` of every host. `clocks` says by how many seconds the clock of each is wrong, as far as
    /// the filesystem can tell.
    pub(super) fn mount(
        &self,
        hosts: &Hosts,
        backing: &Path,
        mount: &Path,
        mode: StaleMode,
        clocks: &[i32],
        logs: &Path,
    ) -> anyhow::Result<Mounts> {
        for dir in [backing, mount, logs] {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let mut daemons = Vec::new();
        for host in 0..CLIENTS {
            let mut command = Command::new(&self.0);
            command.arg("-f").args(["-s", &BELIEVED.to_string(), "-m", mode.name()]);
            command.args(["-o", &clocks.get(host).copied().unwrap_or_default().to_string()]).arg(backing).arg(mount);
            hosts.place(host, &mut command)?;
            let mut daemon = Daemon::start(&mut command, &logs.join(format!("stalefs-{host}.log")))?;
            hosts.await_mount(host, mount, &mut daemon)?;
            daemons.push(daemon);
        }
        Ok(Mounts { _daemons: daemons })
    }
}
