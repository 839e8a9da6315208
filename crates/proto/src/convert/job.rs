//! What scheduling may look at.

use core::time::Duration;

use bytes::Bytes;
use model::ids::{BuildId, CpuClass, DirKey, OutputKey, UserId, fnv1a};
use model::job::{BatchHint, JobFacts, JobKind, Priority};
use model::speed::Speed;

use super::DecodeError;
use super::toolchain::Sameness;
use crate::{limits, v1};

/// Writes a kind.
#[must_use]
pub const fn kind_to(kind: JobKind) -> v1::JobKind {
    match kind {
        JobKind::Compile => v1::JobKind::Compile,
        JobKind::Assemble => v1::JobKind::Assemble,
        JobKind::Preprocess => v1::JobKind::Preprocess,
        JobKind::Link => v1::JobKind::Link,
        JobKind::Archive => v1::JobKind::Archive,
    }
}

/// Reads a kind.
///
/// # Errors
/// When it is unspecified or one that this build does not know.
pub fn kind_from(wire: i32) -> Result<JobKind, DecodeError> {
    match v1::JobKind::try_from(wire) {
        Ok(v1::JobKind::Compile) => Ok(JobKind::Compile),
        Ok(v1::JobKind::Assemble) => Ok(JobKind::Assemble),
        Ok(v1::JobKind::Preprocess) => Ok(JobKind::Preprocess),
        Ok(v1::JobKind::Link) => Ok(JobKind::Link),
        Ok(v1::JobKind::Archive) => Ok(JobKind::Archive),
        Ok(v1::JobKind::Unspecified) | Err(_) => Err(DecodeError::bad("job.kind", "is unspecified or unknown")),
    }
}

/// A CPU class as it travels: 0 is none.
#[must_use]
pub fn cpu_class(wire: u64) -> Option<CpuClass> {
    (wire != 0).then(|| CpuClass::new(wire))
}

/// A worker's speed as it travels: 0 is none.
#[must_use]
pub fn speed(wire: u32) -> Option<Speed> {
    Speed::new(wire)
}

/// The keys of paths, of those beyond [`limits::MAX_DIRS`] none.
#[must_use]
pub fn dir_keys(paths: &[Bytes]) -> Vec<DirKey> {
    paths.iter().take(limits::MAX_DIRS).map(|path| DirKey::of_path(path)).collect()
}

/// The keys of all paths of a field.
fn all_dir_keys(field: &'static str, paths: &[Bytes]) -> Result<Vec<DirKey>, DecodeError> {
    if paths.len() > limits::MAX_DIRS {
        return Err(DecodeError::bad(field, "holds more than 10000 directories"));
    }
    Ok(dir_keys(paths))
}

impl v1::Job {
    /// What the scheduler may know of this job, with the company hints of its batch, when toolchains have to be exactly
    /// the same.
    ///
    /// # Errors
    /// Names the field that is missing or wrong.
    pub fn facts(&self, hint: BatchHint) -> Result<JobFacts, DecodeError> {
        let command = self.command.as_ref().ok_or(DecodeError::missing("job.command"))?;
        let identity = command.identity.as_ref().ok_or(DecodeError::missing("job.command.identity"))?;
        let kind = kind_from(self.kind)?;
        Ok(JobFacts {
            user: UserId::new(identity.uid),
            build: BuildId::new(fnv1a(&self.build_dir)),
            kind,
            toolchain: self.toolchain.as_ref().map(|toolchain| Sameness::Exact.key(toolchain)),
            cpu_class: cpu_class(self.cpu_class),
            mounts: all_dir_keys("job.mounts", &self.mounts)?,
            dirs: all_dir_keys("job.dirs", &self.dirs)?,
            input_bytes: self.input_bytes,
            batch: hint,
            repeatable: self.repeatable,
            priority: Priority::from_nice(self.priority),
            output: self.outputs.first().map(|path| OutputKey::of_path(path, &self.build_dir)),
            inputs: self.built_inputs(kind),
        })
    }

    /// The inputs that other jobs may make.
    fn built_inputs(&self, kind: JobKind) -> Vec<OutputKey> {
        match kind {
            JobKind::Link | JobKind::Archive => {
                let known = self.inputs.iter().take(limits::MAX_JOB_INPUTS);
                known.map(|input| OutputKey::of_path(&input.path, &self.build_dir)).collect()
            }
            JobKind::Compile | JobKind::Assemble | JobKind::Preprocess => Vec::new(),
        }
    }
}

impl v1::SubmitBatch {
    /// The launcher's wishes about company.
    #[must_use]
    pub fn hint(&self) -> BatchHint {
        BatchHint { size: self.batch_size.max(1), timeout: Duration::from_micros(self.batch_timeout_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in JobKind::ALL {
            assert_eq!(kind_from(kind_to(kind) as i32), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_kind_is_named() {
        assert_eq!(kind_from(99).unwrap_err().to_string(), "field `job.kind` is unspecified or unknown");
    }

    #[test]
    fn a_job_without_a_command_is_named() {
        let error = v1::Job::default().facts(BatchHint::default()).unwrap_err();

        assert_eq!(error.to_string(), "field `job.command` is missing");
    }

    #[test]
    fn only_of_links_and_archives_the_scheduler_hears_what_they_read() {
        let input = |path: &'static [u8]| v1::Stamp { path: path.into(), ..v1::Stamp::default() };
        let job = |kind: JobKind| v1::Job {
            command: Some(v1::Command { identity: Some(v1::Identity::default()), ..v1::Command::default() }),
            kind: kind_to(kind).into(),
            build_dir: b"/b".as_slice().into(),
            inputs: vec![input(b"/b/app/../lib/x.a"); limits::MAX_JOB_INPUTS + 1],
            ..v1::Job::default()
        };
        let inputs = |kind| job(kind).facts(BatchHint::default()).unwrap().inputs;

        assert_eq!(inputs(JobKind::Link), vec![OutputKey::of_path(b"/b/lib/x.a", b"/b"); limits::MAX_JOB_INPUTS]);
        assert_eq!(inputs(JobKind::Archive).len(), limits::MAX_JOB_INPUTS);
        assert_eq!(inputs(JobKind::Compile), []);
    }
}
