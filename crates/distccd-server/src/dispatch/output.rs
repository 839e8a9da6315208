//! What attempts print, on its way from worker to launcher: no faster than the launcher takes it.
//!
//! A worker keeps what an attempt prints, on its disk if that is much, and sends a piece only when the server has asked
//! for it: so many beyond the last that was taken (`proto::limits::OUTPUT_WINDOW`). Nobody else on the way keeps much.

use std::collections::BTreeMap;

use model::ids::{Attempt, WorkerId};
use proto::convert::attempt_ref;
use proto::limits::OUTPUT_WINDOW;
use proto::v1::{self, launcher_reply, worker_order};
use scheduler_core::ClientId;

use super::Dispatch;

/// After so many pieces the worker is told to go on: early enough that it need not stop.
const STRIDE: u64 = OUTPUT_WINDOW / 4;

/// The attempts of which no more is asked for until the launcher has taken what waits for it, and how much was taken.
pub(super) type HeldUp = BTreeMap<Attempt, (WorkerId, u64)>;

impl Dispatch {
    /// Passes on what an attempt prints. Of a job that is forgotten nobody wants to hear.
    pub fn pass_output(&mut self, worker: WorkerId, attempt: Attempt, chunk: v1::OutputChunk) {
        let taken = chunk.sequence.saturating_add(1);
        let told = self.books.take_chunk(attempt, chunk).map(|(client, chunk)| {
            self.reply(client, launcher_reply::Message::Output(chunk));
            client
        });
        let slow = told.and_then(|client| self.clients.get_mut(&client));
        let slow = slow.filter(|client| client.replies.as_ref().is_some_and(|replies| replies.holds_much()));
        if let Some(client) = slow {
            client.held_up.insert(attempt, (worker, taken));
        } else if taken.is_multiple_of(STRIDE) {
            self.ask_on(worker, attempt, taken);
        }
    }

    /// Little waits for this launcher, or nothing will be told it any more.
    pub fn let_go_on(&mut self, client: ClientId) {
        let held_up = self.clients.get_mut(&client).map(|client| std::mem::take(&mut client.held_up));
        for (attempt, (worker, taken)) in held_up.into_iter().flatten() {
            self.ask_on(worker, attempt, taken);
        }
    }

    fn ask_on(&mut self, worker: WorkerId, attempt: Attempt, taken: u64) {
        let word = v1::OutputTaken { attempt: Some(attempt_ref(attempt)), chunks: taken };
        self.order(worker, worker_order::Message::OutputTaken(word));
    }
}
