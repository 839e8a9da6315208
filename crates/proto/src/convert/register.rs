//! What workers say of themselves.

use super::DecodeError;
use crate::{limits, v1};

impl v1::Register {
    /// Finds a claim that is beyond all measure.
    ///
    /// # Errors
    /// Names the field.
    pub fn check_claims(&self) -> Result<(), DecodeError> {
        if self.holding.len() > limits::MAX_HELD || self.unpermitted.len() > limits::MAX_HELD {
            return Err(DecodeError::bad("register.holding", "holds more than 20000 attempts"));
        }
        if self.toolchains.len() > limits::MAX_OFFERED {
            return Err(DecodeError::bad("register.toolchains", "holds more than 10000 toolchains"));
        }
        if self.mounts.len() > limits::MAX_OFFERED {
            return Err(DecodeError::bad("register.mounts", "holds more than 10000 mounts"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_claims_beyond_all_measure_is_refused_by_name() {
        let (held, toolchain) = (v1::AttemptRef::default(), v1::Toolchain::default());
        let register = v1::Register {
            holding: vec![held.clone(); limits::MAX_HELD],
            toolchains: vec![toolchain.clone(); limits::MAX_OFFERED],
            mounts: vec!["/m".into(); limits::MAX_OFFERED],
            ..Default::default()
        };
        assert_eq!(register.check_claims(), Ok(()));
        let told = |change: fn(&mut v1::Register)| {
            let mut register = register.clone();
            change(&mut register);
            register.check_claims().expect_err("too much").to_string()
        };

        let more = [
            told(|it| it.holding.push(v1::AttemptRef::default())),
            told(|it| it.toolchains.push(v1::Toolchain::default())),
            told(|it| it.mounts.push("/m".into())),
        ];

        assert!(more[0].contains("`register.holding` holds more than 20000 attempts"), "{more:?}");
        assert!(more[1].contains("`register.toolchains` holds more than 10000"), "{more:?}");
        assert!(more[2].contains("`register.mounts` holds more than 10000"), "{more:?}");
    }
}
