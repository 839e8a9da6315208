//! Who might decide: the scheduler itself ([`ours`]), and what others do ([`central`]).

pub mod central;
pub mod ours;
