//! What arrives, turned into what this crate works with.

use bytes::Bytes;
use model::command::CommandSpec;
use model::ids::Attempt;
use model::job::JobKind;
use proto::convert::{DecodeError, attempt_from, kind_from};
use proto::v1;

use crate::revalidation::Tick;

/// One assignment without its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    /// What to run.
    pub(crate) command: CommandSpec,
    /// Whether it is a link, which this worker may not take.
    pub(crate) is_link: bool,
    /// Where its warmth is.
    pub(crate) dirs: Vec<Bytes>,
    /// How its named inputs looked to the launcher.
    pub(crate) inputs: Vec<v1::Stamp>,
    /// What it is known to write.
    pub(crate) outputs: Vec<Bytes>,
    /// For each of `outputs`, the word of the command that names it, where the command may be told another name.
    pub(crate) redirects: Vec<u32>,
    /// The directories that it searches, as they looked to the launcher.
    pub(crate) searched: Vec<v1::Stamp>,
    /// Whether more may have changed than the server has told.
    pub(crate) is_unsure: bool,
    /// When it came.
    pub(crate) arrived: Tick,
    /// Whether another attempt of its job may be executing elsewhere, so that this one must not commit unasked.
    pub(crate) when_permitted: bool,
    /// Whether its outcome is to say what it wrote.
    pub(crate) is_audited: bool,
    /// Whether that is all that is wanted of it: it ends without asking, and what it wrote is let go.
    pub(crate) is_shadow: bool,
    /// The fingerprint of the toolchain that it was matched by; empty where it need not be the very same.
    pub(crate) toolchain: Bytes,
    /// The linker that it says besides, with its fingerprint.
    pub(crate) linker: Option<(Bytes, Bytes)>,
}

/// Reads the number of an assignment, and what it asks for; the second may be wrong on its own and is then an answer.
pub(crate) fn assignment(wire: v1::Assignment) -> Result<(Attempt, Result<Task, DecodeError>), DecodeError> {
    let attempt = attempt_from(wire.attempt.as_ref())?;
    Ok((attempt, task(wire)))
}

fn task(wire: v1::Assignment) -> Result<Task, DecodeError> {
    let audit = wire.audit();
    let command = wire.command.unwrap_or_default().try_into()?;
    let is_link = kind_from(wire.kind)? == JobKind::Link;
    let toolchain = wire.toolchain.unwrap_or_default();
    Ok(Task {
        command,
        toolchain: toolchain.fingerprint,
        linker: toolchain.linker.map(|linker| (linker.path, linker.fingerprint)),
        is_link,
        dirs: wire.dirs,
        inputs: wire.inputs,
        outputs: wire.outputs,
        redirects: wire.redirects,
        searched: wire.searched,
        is_unsure: wire.changes_unknown,
        arrived: Tick::default(),
        when_permitted: wire.when_permitted || audit == v1::Audit::Shadow,
        is_audited: audit != v1::Audit::None,
        is_shadow: audit == v1::Audit::Shadow,
    })
}

/// Reads a list of attempts; those that are malformed are said and skipped, since they can be nothing that we hold.
pub(crate) fn attempts(wire: &v1::Attempts) -> Vec<Attempt> {
    wire.attempts.iter().filter_map(|wire| attempt(Some(wire))).collect()
}

/// One that the server names, if it names one.
pub(crate) fn attempt(wire: Option<&v1::AttemptRef>) -> Option<Attempt> {
    attempt_from(wire).inspect_err(|error| tracing::warn!("the server names no attempt: {error}")).ok()
}
