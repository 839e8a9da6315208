//! Who is next: the jobs that wait for a worker ([`ready`], [`build`], [`lane`]), what of them may go ([`opening`]), whose
//! turn it is ([`shares`]) and what a turn costs ([`weights`]).

mod build;
pub(crate) mod lane;
pub(crate) mod opening;
pub(crate) mod ready;
pub(crate) mod shares;
pub(crate) mod weights;

pub(crate) use opening::Readiness;
pub(crate) use ready::{Asking, Place, ReadyQueue};
