//! Attempts: what workers are told of each, what they say of it, and who is told in turn.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::ids::{Attempt, JobId, WorkerId};
use model::outcome::AttemptFailure;
use proto::convert::{Sameness, attempt_ref};
use proto::v1::{self, worker_order};
use scheduler_core::{Commit, HeldAttempt};

use super::{Dispatch, attempts};
use crate::books::Entry;
use crate::directory_book::{DirectoryBook, Reader};
use crate::fact::Seat;

impl Dispatch {
    pub(super) fn assign(&mut self, worker: WorkerId, assigned: &[Attempt], commit: Commit) {
        let assignments = assigned.iter().filter_map(|&attempt| self.assignment(worker, attempt, commit)).collect();
        self.order(worker, worker_order::Message::Assign(v1::AssignBatch { assignments }));
    }

    fn assignment(&mut self, worker: WorkerId, attempt: Attempt, commit: Commit) -> Option<v1::Assignment> {
        let job = self.books.get(attempt.job)?.job()?;
        Some(v1::Assignment {
            attempt: Some(attempt_ref(attempt)),
            when_permitted: commit == Commit::WhenPermitted,
            audit: self.audits.of(attempt.job, job).into(),
            toolchain: job.toolchain.clone().filter(|_| self.sameness == Sameness::Exact),
            ..assignment_of(job, worker, &mut self.directories)
        })
    }

    /// Keeps what was done, for it to be done again.
    pub(super) fn keep_for_audit(&mut self, of: Attempt) {
        if let Some((_, outcome)) = self.books.get(of.job).and_then(|entry| entry.outcome.as_ref()) {
            self.audits.keep(of, outcome);
        }
    }

    pub(super) fn audit(&mut self, worker: WorkerId, shadow: Attempt, of: Attempt) {
        let nothing = v1::Job::default();
        // A worker refuses to run nothing, and so the audit ends: silence would keep the slot for ever.
        let job = self.audits.job(of).unwrap_or(&nothing);
        let assignment = v1::Assignment {
            attempt: Some(attempt_ref(shadow)),
            when_permitted: true,
            audit: v1::Audit::Shadow.into(),
            toolchain: job.toolchain.clone().filter(|_| self.sameness == Sameness::Exact),
            ..assignment_of(job, worker, &mut self.directories)
        };
        self.order(worker, worker_order::Message::Assign(v1::AssignBatch { assignments: vec![assignment] }));
    }

    /// Makes room for what a worker will say of the attempts that it brings along, which may be another server's. The
    /// scheduler says when to forget them.
    pub fn note_held(&mut self, holding: &[HeldAttempt]) {
        for held in holding {
            self.books.entry(held.attempt.job);
        }
    }

    /// Keeps the outcome of an attempt, for the scheduler to say what becomes of it.
    pub fn keep_outcome(&mut self, seat: Seat, attempt: Attempt, mut outcome: v1::Outcome) {
        outcome.worker = self.worker_name(seat.worker);
        if self.audits.take(attempt, &outcome) {
            return;
        }
        self.note_commit(seat, attempt, &outcome);
        self.books.put_outcome(seat.worker, attempt, outcome);
    }

    /// Before anybody hears of the outcome, and may submit what depends on it.
    fn note_commit(&mut self, seat: Seat, attempt: Attempt, outcome: &v1::Outcome) {
        let job = self.books.get(attempt.job).and_then(Entry::job);
        let user = job.and_then(user_of);
        let cwd = job.and_then(|job| job.command.as_ref()).map_or(Bytes::new(), |command| command.cwd.clone());
        let written = outcome.outputs.iter().map(|stamp| &stamp.path).chain(&outcome.removed);
        let written = written.chain(outcome.made.iter().map(|made| &made.path));
        let files: Vec<Vec<u8>> = written.map(|path| absolute(&cwd, path)).collect();
        self.directories.note_files(seat.worker, user, files.iter().map(Vec::as_slice));
    }

    /// An attempt that failed may have published a part of what it was to write; or all, if it could not say so any more.
    pub fn note_failure(&mut self, attempt: Attempt, failure: &AttemptFailure) {
        use AttemptFailure::{HandedBack, InputsNotVisible, Refused};
        let Some(job) = self.books.get(attempt.job).and_then(Entry::job) else { return };
        if matches!(failure, HandedBack | InputsNotVisible(_) | Refused(_)) {
            return;
        }
        let cwd = job.command.as_ref().map_or(Bytes::new(), |command| command.cwd.clone());
        let files = job.outputs.iter().map(|output| absolute(&cwd, output));
        let mut dirs: BTreeSet<Vec<u8>> = files.filter_map(parent).collect();
        dirs.insert(cwd.to_vec());
        self.directories.note_directories(user_of(job), dirs.iter().map(Vec::as_slice));
    }

    /// After the scheduler absorbed an attempt's end: the worker need not keep what nobody will ask for. An outcome is
    /// acknowledged later, when its launcher has left: until then only the worker can tell it to another server.
    pub fn settle(&mut self, seat: Seat, attempt: Attempt) {
        let waits = self.books.get(attempt.job).is_some_and(|entry| {
            // An orphan's launcher may come yet; one that came and left will not.
            let expected = entry.client.is_none_or(|client| self.clients.contains_key(&client));
            expected && entry.unacknowledged == Some((seat.worker, attempt))
        });
        if !waits {
            self.order(seat.worker, worker_order::Message::ResultsReceived(attempts(&[attempt])));
        }
    }

    pub(super) fn acknowledge_outcome(&mut self, job: JobId) {
        let waiting = self.books.get_mut(job).and_then(|entry| entry.unacknowledged.take());
        if let Some((worker, attempt)) = waiting {
            self.order(worker, worker_order::Message::ResultsReceived(attempts(&[attempt])));
        }
    }
}

/// What any attempt of the job is told, and its worker by the way.
fn assignment_of(job: &v1::Job, worker: WorkerId, directories: &mut DirectoryBook) -> v1::Assignment {
    let searched = job.searched.iter().map(|stamp| stamp.path.clone());
    let near: Vec<Bytes> = job.dirs.iter().cloned().chain(searched).collect();
    let user = user_of(job).unwrap_or_default();
    let told = directories.tell(&Reader { worker, user, near: &near, below: &job.build_dir });
    v1::Assignment {
        changed: told.changed,
        changes_unknown: told.is_unsure,
        searched: job.searched.clone(),
        command: job.command.clone(),
        kind: job.kind,
        dirs: job.dirs.clone(),
        inputs: job.inputs.clone(),
        outputs: job.outputs.clone(),
        redirects: job.redirects.clone(),
        ..v1::Assignment::default()
    }
}

pub(super) fn user_of(job: &v1::Job) -> Option<u32> {
    Some(job.command.as_ref()?.identity.as_ref()?.uid)
}

fn absolute(cwd: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { [cwd, b"/", path].concat() }
}

fn parent(mut path: Vec<u8>) -> Option<Vec<u8>> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.truncate(slash.max(1));
    Some(path)
}
