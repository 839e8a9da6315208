//! Who might decide: the scheduler itself ([`ours`]), what others do ([`central`]), and one who knows everything
//! beforehand ([`foresight`]).

pub mod central;
pub mod foresight;
pub mod ours;
