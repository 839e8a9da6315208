//! How attempts ended.

use core::time::Duration;

use model::outcome::{AttemptFailure, ExitStatus, Outcome, ResourceUsage};

use super::DecodeError;
use crate::v1;

impl From<ExitStatus> for v1::ExitStatus {
    fn from(exit: ExitStatus) -> Self {
        let how = match exit {
            ExitStatus::Code(code) => v1::exit_status::How::Code(u32::from(code)),
            ExitStatus::Signal(signal) => v1::exit_status::How::Signal(u32::from(signal)),
        };
        Self { how: Some(how) }
    }
}

impl TryFrom<v1::ExitStatus> for ExitStatus {
    type Error = DecodeError;

    fn try_from(wire: v1::ExitStatus) -> Result<Self, DecodeError> {
        let byte = |number: u32| u8::try_from(number).map_err(|_| DecodeError::bad("exit", "is above 255"));
        match wire.how.ok_or(DecodeError::missing("exit.how"))? {
            v1::exit_status::How::Code(code) => byte(code).map(Self::Code),
            v1::exit_status::How::Signal(signal) => byte(signal).map(Self::Signal),
        }
    }
}

impl From<ResourceUsage> for v1::ResourceUsage {
    fn from(usage: ResourceUsage) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            wall_us: micros(usage.wall),
            user_us: micros(usage.user),
            system_us: micros(usage.system),
            peak_memory: usage.peak_memory,
        }
    }
}

impl From<v1::ResourceUsage> for ResourceUsage {
    fn from(wire: v1::ResourceUsage) -> Self {
        Self {
            wall: Duration::from_micros(wire.wall_us),
            user: Duration::from_micros(wire.user_us),
            system: Duration::from_micros(wire.system_us),
            peak_memory: wire.peak_memory,
        }
    }
}

impl TryFrom<&v1::Outcome> for Outcome {
    type Error = DecodeError;

    fn try_from(wire: &v1::Outcome) -> Result<Self, DecodeError> {
        let exit = wire.exit.ok_or(DecodeError::missing("outcome.exit"))?.try_into()?;
        Ok(Self { exit, usage: wire.usage.unwrap_or_default().into() })
    }
}

impl From<&AttemptFailure> for v1::Failure {
    fn from(failure: &AttemptFailure) -> Self {
        use v1::FailureKind as Kind;
        let (kind, detail, signal) = match failure {
            AttemptFailure::WorkerLost => (Kind::WorkerLost, "", 0),
            AttemptFailure::SpawnFailed(why) => (Kind::SpawnFailed, why.as_str(), 0),
            AttemptFailure::InputsNotVisible(what) => (Kind::InputsNotVisible, what.as_str(), 0),
            AttemptFailure::NoSpace(why) => (Kind::NoSpace, why.as_str(), 0),
            AttemptFailure::OutOfMemory => (Kind::OutOfMemory, "", 0),
            AttemptFailure::KilledByStranger(signal) => (Kind::KilledByStranger, "", u32::from(*signal)),
            AttemptFailure::Refused(why) => (Kind::Refused, why.as_str(), 0),
            AttemptFailure::CommitFailed(why) => (Kind::CommitFailed, why.as_str(), 0),
            AttemptFailure::HandedBack => (Kind::HandedBack, "", 0),
            AttemptFailure::Cancelled => (Kind::Cancelled, "", 0),
        };
        Self { kind: kind as i32, detail: detail.to_owned(), signal }
    }
}

impl TryFrom<v1::Failure> for AttemptFailure {
    type Error = DecodeError;

    fn try_from(wire: v1::Failure) -> Result<Self, DecodeError> {
        use v1::FailureKind as Kind;
        let kind = Kind::try_from(wire.kind).map_err(|_| DecodeError::bad("failure.kind", "is unknown"))?;
        Ok(match kind {
            Kind::Unspecified => return Err(DecodeError::missing("failure.kind")),
            Kind::WorkerLost => Self::WorkerLost,
            Kind::SpawnFailed => Self::SpawnFailed(wire.detail),
            Kind::InputsNotVisible => Self::InputsNotVisible(wire.detail),
            Kind::NoSpace => Self::NoSpace(wire.detail),
            Kind::OutOfMemory => Self::OutOfMemory,
            Kind::KilledByStranger => {
                let signal =
                    u8::try_from(wire.signal).map_err(|_| DecodeError::bad("failure.signal", "is above 255"))?;
                Self::KilledByStranger(signal)
            }
            Kind::Refused => Self::Refused(wire.detail),
            Kind::CommitFailed => Self::CommitFailed(wire.detail),
            Kind::HandedBack => Self::HandedBack,
            Kind::Cancelled => Self::Cancelled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_survives_the_wire() {
        for exit in [ExitStatus::Code(0), ExitStatus::Code(255), ExitStatus::Signal(11)] {
            assert_eq!(ExitStatus::try_from(v1::ExitStatus::from(exit)), Ok(exit));
        }
    }

    #[test]
    fn every_failure_survives_the_wire() {
        let failures = [
            AttemptFailure::WorkerLost,
            AttemptFailure::SpawnFailed("a".into()),
            AttemptFailure::InputsNotVisible("b".into()),
            AttemptFailure::NoSpace("c".into()),
            AttemptFailure::OutOfMemory,
            AttemptFailure::KilledByStranger(9),
            AttemptFailure::Refused("d".into()),
            AttemptFailure::CommitFailed("e".into()),
            AttemptFailure::HandedBack,
            AttemptFailure::Cancelled,
        ];
        for failure in failures {
            assert_eq!(AttemptFailure::try_from(v1::Failure::from(&failure)), Ok(failure));
        }
    }
}
