//! The jobs that the scheduler knows: what each waits for ([`state`]) and all of them ([`table`]).

pub(crate) mod state;
pub(crate) mod table;

pub(crate) use state::{Answer, Hold, JobState, Next, Progress};
pub(crate) use table::{Job, JobTable, Turn};
