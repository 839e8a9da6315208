//! Identities.

use bytes::Bytes;
use model::ids::{Attempt, JobId};

use super::DecodeError;
use crate::v1;

/// Reads a job id.
///
/// # Errors
/// When it is not 16 bytes.
pub fn job_id_from(bytes: &[u8]) -> Result<JobId, DecodeError> {
    let id = bytes.try_into().map_err(|_| DecodeError::bad("job.id", "must be 16 bytes"))?;
    Ok(JobId::from_bytes(id))
}

/// Writes an attempt.
#[must_use]
pub fn attempt_ref(attempt: Attempt) -> v1::AttemptRef {
    v1::AttemptRef { job: Bytes::copy_from_slice(attempt.job.as_bytes()), number: attempt.number }
}

/// Reads an attempt.
///
/// # Errors
/// When it is missing, its job id is not 16 bytes, or it is numbered 0.
pub fn attempt_from(wire: Option<&v1::AttemptRef>) -> Result<Attempt, DecodeError> {
    let wire = wire.ok_or(DecodeError::missing("attempt"))?;
    if wire.number == 0 {
        return Err(DecodeError::bad("attempt.number", "must count from 1"));
    }
    Ok(Attempt { job: job_id_from(&wire.job)?, number: wire.number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_survives_the_wire() {
        let attempt = Attempt { job: JobId::from_bytes([7; 16]), number: 2 };

        assert_eq!(attempt_from(Some(&attempt_ref(attempt))), Ok(attempt));
    }

    #[test]
    fn a_short_job_id_is_named() {
        let wire = v1::AttemptRef { job: Bytes::from_static(b"short"), number: 1 };

        assert_eq!(attempt_from(Some(&wire)).unwrap_err().to_string(), "field `job.id` must be 16 bytes");
    }
}
