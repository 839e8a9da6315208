//! Failures to `tonic::Status`, once.

use proto::convert::DecodeError;
use proto::version::HelloError;
use tonic::Status;

/// A peer that we do not understand, or that did not introduce itself.
#[must_use]
pub fn of_hello(error: &HelloError) -> Status {
    Status::failed_precondition(error.to_string())
}

/// A message that lacks a field or holds an impossible value.
#[must_use]
pub fn of_decode(error: &DecodeError) -> Status {
    Status::invalid_argument(error.to_string())
}
