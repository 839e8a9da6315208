//! Which peers understand each other.

use crate::v1;

/// This build's protocol: same major, understood; minors only add.
pub const PROTOCOL: v1::ProtocolVersion = v1::ProtocolVersion { major: 1, minor: 4 };

/// The first minor version in which launchers know the answer `Wait`.
const WAITS_SINCE: u32 = 1;

/// The first minor version in which workers say who welcomed them last.
const NAMES_ITS_SERVER_SINCE: u32 = 1;

/// The first minor version in which servers say what of an attempt's output they have passed on.
const ASKS_FOR_OUTPUT_SINCE: u32 = 4;

/// Whether a launcher that said this can be told to wait.
#[must_use]
pub fn knows_waiting(hello: &v1::Hello) -> bool {
    speaks(hello, WAITS_SINCE)
}

/// Whether a worker that said this would have said who welcomed it last.
#[must_use]
pub fn names_its_server(hello: &v1::Hello) -> bool {
    speaks(hello, NAMES_ITS_SERVER_SINCE)
}

/// Whether a server that said this says how much of an attempt's output it can take.
#[must_use]
pub fn asks_for_output(hello: &v1::Hello) -> bool {
    speaks(hello, ASKS_FOR_OUTPUT_SINCE)
}

fn speaks(hello: &v1::Hello, minor: u32) -> bool {
    hello.protocol.as_ref().is_some_and(|theirs| theirs.minor >= minor)
}

/// Why a peer's hello is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The peer speaks another major version.
    #[error(
        "{peer} speaks protocol {theirs_major}.{theirs_minor}, {us} speaks {}.{}: install the same release on both",
        PROTOCOL.major,
        PROTOCOL.minor
    )]
    MajorDiffers {
        /// The peer's software.
        peer: String,
        /// Our software.
        us: String,
        /// The peer's major version.
        theirs_major: u32,
        /// The peer's minor version.
        theirs_minor: u32,
    },
    /// The first message was no hello, or the hello lacks its version.
    #[error("the peer did not introduce itself: the first message must be a hello with a protocol version")]
    Missing,
}

/// Makes the hello of a program: its name and version, its random incarnation and the host's name, for people.
#[must_use]
pub fn hello(software: &str, incarnation: [u8; 16], host: &str) -> v1::Hello {
    v1::Hello {
        protocol: Some(PROTOCOL),
        software: software.to_owned(),
        incarnation: incarnation.to_vec().into(),
        host: host.to_owned(),
    }
}

/// Accepts a peer of the same major version.
///
/// # Errors
/// Names both versions when the majors differ, or says that the hello is missing.
pub fn check_hello(hello: Option<&v1::Hello>, us: &str) -> Result<(), HelloError> {
    let hello = hello.ok_or(HelloError::Missing)?;
    let theirs = hello.protocol.as_ref().ok_or(HelloError::Missing)?;
    if theirs.major == PROTOCOL.major {
        return Ok(());
    }
    Err(HelloError::MajorDiffers {
        peer: hello.software.clone(),
        us: us.to_owned(),
        theirs_major: theirs.major,
        theirs_minor: theirs.minor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_major_version_is_refused_by_an_error_that_names_both() {
        let mut theirs = hello("distccd-worker 9.0.0", [0; 16], "ash");
        theirs.protocol = Some(v1::ProtocolVersion { major: 9, minor: 3 });

        let error = check_hello(Some(&theirs), "distccd-server 0.1.0").unwrap_err().to_string();

        let ours = format!("{}.{}", PROTOCOL.major, PROTOCOL.minor);
        assert!(error.contains("9.3") && error.contains(&ours), "{error}");
        assert!(error.contains("distccd-worker 9.0.0") && error.contains("distccd-server 0.1.0"), "{error}");
    }

    #[test]
    fn a_newer_minor_version_is_welcome() {
        let mut theirs = hello("distccd-worker 0.2.0", [0; 16], "ash");
        theirs.protocol = Some(v1::ProtocolVersion { major: PROTOCOL.major, minor: PROTOCOL.minor + 7 });

        assert_eq!(check_hello(Some(&theirs), "us"), Ok(()));
    }

    #[test]
    fn a_launcher_of_the_first_release_cannot_be_told_to_wait() {
        let mut theirs = hello("distccd-launcher 0.1.0", [0; 16], "ash");
        assert!(knows_waiting(&theirs));

        theirs.protocol = Some(v1::ProtocolVersion { major: PROTOCOL.major, minor: 0 });

        assert!(!knows_waiting(&theirs));
    }

    #[test]
    fn a_hello_without_a_version_is_none() {
        assert_eq!(check_hello(Some(&v1::Hello::default()), "us"), Err(HelloError::Missing));
    }
}
