//! Every scheduling decision, and nothing else: queueing, locality, retry. (Crate docs: written with the implementation.)

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod action;
pub mod config;
pub mod input;

pub use action::{Action, LocalReason, Unmet};
pub use config::Config;
pub use input::{ClientId, Input, SubmittedJob, WorkerFacts, WorkerLoad};
