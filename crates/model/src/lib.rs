//! The nouns that every room shares: who is who ([`ids`]), when ([`time`]), what a job is for the scheduler
//! ([`job`]), what is run ([`command`]) and how it ended ([`outcome`]), how fast a machine is ([`speed`]).
//!
//! Deliberately not serialisable: wire types stop at the door of the crate that receives them (`proto::convert`),
//! and nothing here can be sent anywhere by accident. `no_std`, so that the scheduler can stay pure.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod ids;
pub mod job;
pub mod outcome;
pub mod speed;
pub mod time;
