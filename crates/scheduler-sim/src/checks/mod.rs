//! What must never be seen, told from outside the scheduler: by what really runs ([`executions`]), by what launchers
//! are told ([`answers`]), by the orders that the server gives ([`ledger`]) and by those that it does not give
//! ([`waiting`]). Each panics at the first breach.

pub(crate) mod answers;
pub(crate) mod audits;
pub(crate) mod executions;
pub(crate) mod ledger;
pub(crate) mod waiting;

use answers::Answers;
use executions::Executions;

/// The judges that see the whole world; ledger and waiting belong to one server.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) executions: Executions,
    pub(crate) answers: Answers,
}
