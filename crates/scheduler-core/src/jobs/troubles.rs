//! What went wrong with a job. With most nothing does, so it is kept apart from them.

use alloc::vec::Vec;

use model::ids::WorkerId;
use model::outcome::AttemptFailure;

#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Attempts that failed so as to count.
    pub(crate) spent: u32,
    /// Workers on which it failed.
    pub(crate) tried: Vec<WorkerId>,
    /// Of these, the one that is under suspicion for it: the first that failed it, as long as no other did.
    pub(crate) suspect: Option<WorkerId>,
    /// Workers that were lost with it.
    pub(crate) losses: u32,
    /// Workers that could not publish what it wrote.
    pub(crate) unpublished: u32,
    pub(crate) last_failure: Option<AttemptFailure>,
}

impl Troubles {
    /// Of a job that had none.
    pub(super) const NONE: &'static Self =
        &Self { spent: 0, tried: Vec::new(), suspect: None, losses: 0, unpublished: 0, last_failure: None };
}
