//! Writing a journal, step by step, around the calls of the scheduler.

use std::io::{self, Write};

use model::ids::fnv1a;
use model::time::Timestamp;
use scheduler_core::{Action, Config, HistoryEntry, Input};

use crate::codec::Record;
use crate::records::Written;
use crate::{HEADER, chain};

/// Writes a journal. It does not flush: whoever wants the last steps on disk does.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    digest: u64,
}

/// A step that was begun: the input, before the scheduler consumed it.
#[derive(Debug)]
#[must_use]
pub struct Step(Vec<u8>);

impl<W: Write> Writer<W> {
    /// A new journal of a scheduler with these settings, which has imported this history.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(mut out: W, config: &Config, history: &[HistoryEntry]) -> io::Result<Self> {
        out.write_all(HEADER)?;
        let mut writer = Self { out, digest: fnv1a(HEADER) };
        let mut payload = Vec::new();
        config.put(&mut payload);
        writer.frame(&payload)?;
        payload.clear();
        history.to_vec().put(&mut payload);
        writer.frame(&payload)?;
        Ok(writer)
    }

    /// Notes the input of a step that is about to be taken.
    pub fn before(&self, now: Timestamp, input: &Input) -> Step {
        let mut payload = Vec::new();
        now.put(&mut payload);
        input.put(&mut payload);
        Step(payload)
    }

    /// Writes the step with what came of it.
    ///
    /// # Errors
    /// Those of the output; what was written of the step then is its business, and the journal is to be given up.
    pub fn after(&mut self, step: Step, actions: &[Action]) -> io::Result<()> {
        let Step(mut payload) = step;
        payload.extend_from_slice(&digest(actions).to_le_bytes());
        self.frame(&payload)
    }

    /// The output, everything written.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Passes on what is buffered.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.digest = chain(self.digest, payload);
        let mut frame = Vec::with_capacity(payload.len() + 12);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&self.digest.to_le_bytes());
        frame.extend_from_slice(payload);
        self.out.write_all(&frame)
    }
}

/// What tells the actions of one step from others.
pub(crate) fn digest(actions: &[Action]) -> u64 {
    let mut bytes = Vec::new();
    actions.iter().for_each(|action| action.write(&mut bytes));
    fnv1a(&bytes)
}
