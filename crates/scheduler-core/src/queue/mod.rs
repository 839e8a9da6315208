//! Who is next: the jobs that wait for a worker ([`ready`]) and whose turn it is ([`fair_share`]).

pub(crate) mod fair_share;
pub(crate) mod ready;

pub(crate) use ready::ReadyQueue;
