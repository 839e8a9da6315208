//! The jobs that the scheduler knows: what each waits for ([`state`]), which of its attempts may be executing
//! ([`attempts`]), what is kept of its facts ([`facts`]), what went wrong with it ([`troubles`]) and all of them
//! ([`table`]).

pub(crate) mod attempts;
mod facts;
pub(crate) mod state;
pub(crate) mod table;
mod troubles;

pub(crate) use attempts::{Live, Note};
pub(crate) use facts::KeptFacts;
pub(crate) use state::{Answer, Hold, JobState, Next, Progress};
pub(crate) use table::{Job, JobTable, Known, Past, Turn};
pub(crate) use troubles::Troubles;
