//! Commands: bytes on both sides.

use bytes::Bytes;
use model::command::{CommandSpec, Identity, ResourceLimit, Terminal};

use super::DecodeError;
use crate::v1;

impl From<CommandSpec> for v1::Command {
    fn from(spec: CommandSpec) -> Self {
        Self {
            program: spec.program.into(),
            argv: spec.argv.into_iter().map(Bytes::from).collect(),
            cwd: spec.cwd.into(),
            env: spec
                .env
                .into_iter()
                .map(|(name, value)| v1::EnvVar { name: name.into(), value: value.into() })
                .collect(),
            umask: spec.umask,
            limits: spec.limits.into_iter().map(limit_to).collect(),
            identity: Some(v1::Identity {
                uid: spec.identity.uid,
                gid: spec.identity.gid,
                groups: spec.identity.groups,
            }),
            one_output: spec.one_output,
            stderr_terminal: spec
                .terminal
                .map(|terminal| v1::Terminal { columns: terminal.columns.into(), rows: terminal.rows.into() }),
        }
    }
}

impl TryFrom<v1::Command> for CommandSpec {
    type Error = DecodeError;

    fn try_from(wire: v1::Command) -> Result<Self, DecodeError> {
        if wire.program.first() != Some(&b'/') {
            return Err(DecodeError::bad("command.program", "must be an absolute path"));
        }
        if wire.cwd.first() != Some(&b'/') {
            return Err(DecodeError::bad("command.cwd", "must be an absolute path"));
        }
        if wire.argv.is_empty() {
            return Err(DecodeError::bad("command.argv", "must hold at least argv[0]"));
        }
        let identity = wire.identity.ok_or(DecodeError::missing("command.identity"))?;
        let spec = Self {
            program: wire.program.into(),
            argv: wire.argv.into_iter().map(Vec::from).collect(),
            cwd: wire.cwd.into(),
            env: wire.env.into_iter().map(|var| (var.name.into(), var.value.into())).collect(),
            umask: wire.umask,
            limits: wire.limits.into_iter().map(limit_from).collect(),
            identity: Identity { uid: identity.uid, gid: identity.gid, groups: identity.groups },
            terminal: wire.stderr_terminal.map(terminal_from),
            one_output: wire.one_output,
        };
        refuse_nul(&spec)?;
        Ok(spec)
    }
}

/// No argument of `execve(2)` can hold a NUL byte; found here, it is the sender's error and not a crash later.
fn refuse_nul(spec: &CommandSpec) -> Result<(), DecodeError> {
    let texts = [&spec.program, &spec.cwd].into_iter().chain(&spec.argv);
    let texts = texts.chain(spec.env.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().any(|text| text.contains(&0)) {
        return Err(DecodeError::bad("command", "must not contain a NUL byte"));
    }
    Ok(())
}

/// A terminal wider than 65535 is one that does not know.
fn terminal_from(wire: v1::Terminal) -> Terminal {
    let size = |number: u32| u16::try_from(number).unwrap_or(0);
    Terminal { columns: size(wire.columns), rows: size(wire.rows) }
}

fn limit_to(limit: ResourceLimit) -> v1::ResourceLimit {
    v1::ResourceLimit { resource: limit.resource, soft: limit.soft, hard: limit.hard }
}

fn limit_from(wire: v1::ResourceLimit) -> ResourceLimit {
    ResourceLimit { resource: wire.resource, soft: wire.soft, hard: wire.hard }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> CommandSpec {
        CommandSpec {
            program: b"/usr/bin/g++".to_vec(),
            argv: vec![b"g++".to_vec(), b"-c".to_vec(), b"caf\xe9.cpp".to_vec()],
            cwd: b"/mnt/cephfs/\xff".to_vec(),
            env: vec![(b"LANG".to_vec(), b"\xfe".to_vec())],
            umask: 0o27,
            limits: vec![ResourceLimit { resource: 3, soft: 1, hard: u64::MAX }],
            identity: Identity { uid: 1, gid: 2, groups: vec![3] },
            terminal: Some(Terminal { columns: 132, rows: 0 }),
            one_output: true,
        }
    }

    #[test]
    fn a_command_of_arbitrary_bytes_survives_the_wire() {
        assert_eq!(CommandSpec::try_from(v1::Command::from(spec())), Ok(spec()));
    }

    #[test]
    fn a_relative_program_is_refused() {
        let wire = v1::Command::from(CommandSpec { program: b"g++".to_vec(), ..spec() });

        assert_eq!(CommandSpec::try_from(wire).unwrap_err().field, "command.program");
    }

    #[test]
    fn a_nul_byte_is_refused() {
        let wire = v1::Command::from(CommandSpec { argv: vec![b"g++\0".to_vec()], ..spec() });

        assert_eq!(CommandSpec::try_from(wire).unwrap_err().field, "command");
    }
}
