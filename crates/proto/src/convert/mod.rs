//! The only door between wire types and the model, one file per direction of thought: `ids`, `command`, `job`,
//! `outcome`. Going out cannot fail; coming in names the field that is missing or wrong.

mod command;
mod ids;
mod job;
mod outcome;
mod register;
mod toolchain;

pub use ids::{attempt_from, attempt_ref, job_id_from};
pub use job::{cpu_class, dir_keys, kind_from, kind_to, speed};
pub use toolchain::Sameness;

/// A message that lacks a field, or holds an impossible value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` {problem}")]
pub struct DecodeError {
    /// Path of the field inside its message.
    pub field: &'static str,
    /// What is wrong with it, to be read after the field's name.
    pub problem: &'static str,
}

impl DecodeError {
    pub(crate) const fn missing(field: &'static str) -> Self {
        Self { field, problem: "is missing" }
    }

    pub(crate) const fn bad(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}
