//! From an assignment to a running attempt, or to the reason why not.

use model::outcome::AttemptFailure;
use proto::v1;

use super::Agent;
use crate::{runner, tools, wire};

impl Agent {
    pub(super) fn on_assignment(&mut self, assignment: v1::Assignment) {
        // Whatever becomes of the assignment: what it tells, no later one will.
        let identity = assignment.command.as_ref().and_then(|command| command.identity.as_ref());
        let uid = identity.map_or(0, |identity| identity.uid);
        let arrived = self.executor.revalidation.on_assignment(uid, &assignment.changed);
        let (attempt, task) = match wire::assignment(assignment) {
            Ok(read) => read,
            Err(error) => return tracing::warn!("dropped an assignment: {error}"),
        };
        let refusal = match task {
            Err(error) => Some(AttemptFailure::Refused(error.to_string())),
            Ok(_) if self.takes_nothing() => Some(AttemptFailure::HandedBack),
            Ok(task) => match self.refusal(&task) {
                None => {
                    let task = wire::Task { arrived, ..task };
                    let new = self.books.on_assigned(attempt, task);
                    tracing::debug!(%attempt, new, "assigned");
                    None
                }
                refusal => refusal,
            },
        };
        if let Some(failure) = refusal {
            tracing::info!(%attempt, "not taken: {failure}");
            self.books.on_refused(attempt, &failure);
        }
    }

    /// What the configuration does not let this worker run.
    fn refusal(&self, task: &wire::Task) -> Option<AttemptFailure> {
        if task.is_link && !self.config.linking {
            return Some(AttemptFailure::Refused("this worker takes no links (--disable-linking)".to_owned()));
        }
        if task.when_permitted && !self.executor.isolation.is_on() {
            return Some(AttemptFailure::Refused("this worker does not isolate what its attempts write".to_owned()));
        }
        if tools::is_allowed(&task.command.program, &self.config.allowed_tools) {
            return None;
        }
        let program = String::from_utf8_lossy(&task.command.program);
        Some(AttemptFailure::Refused(format!(
            "{program} is no compiler, linker or archiver that this worker knows: see allowed_tools"
        )))
    }

    /// Starts what waits while there are slots.
    pub(super) fn fill_slots(&mut self) {
        while self.busy < self.usable_slots()
            && let Some((attempt, task)) = self.books.next_waiting()
        {
            self.warmth.touch(&task.dirs);
            let name = self.config.name.clone();
            let tools = self.registration.toolchains();
            let when_permitted = task.when_permitted;
            match runner::spawn(attempt, task, name, tools, self.executor.clone(), self.events.clone()) {
                Ok(canceller) => {
                    self.busy += 1;
                    self.books.on_running(attempt, canceller, when_permitted);
                }
                Err(error) => {
                    tracing::error!(%attempt, "cannot start a thread: {error}");
                    self.books.on_refused(attempt, &AttemptFailure::SpawnFailed(error.to_string()));
                }
            }
        }
    }

    pub(super) const fn usable_slots(&self) -> usize {
        self.config.slots.saturating_sub(self.lost) as usize
    }
}
