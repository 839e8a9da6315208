//! What must never be seen, told from outside the scheduler: by what really runs ([`executions`]), by what launchers
//! are told ([`answers`]), and by the orders that the server gives ([`ledger`]). Each panics at the first breach.

pub(crate) mod answers;
pub(crate) mod executions;
pub(crate) mod ledger;

use answers::Answers;
use executions::Executions;

/// The judges that see the whole world; the ledger belongs to one server.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) executions: Executions,
    pub(crate) answers: Answers,
}
