//! The lines of a roster.

use std::time::Duration;

use super::{Incarnation, Member, fnv1a};

/// The first word of the first line.
const NAME: &str = "distccd-roster-1";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The boot of the machine in which it was written.
    Header(String),
    /// Workers may be missing.
    Incomplete,
    /// Is to be welcomed.
    Worker(Incarnation, Member),
    /// Nothing of it runs.
    Gone(Incarnation),
}

impl Line {
    pub(super) fn encode(&self) -> String {
        let text = match self {
            Self::Header(boot) => format!("{NAME} {boot}"),
            Self::Incomplete => "incomplete".to_owned(),
            Self::Worker(id, Member { key, lease, server, .. }) => {
                format!("worker {id} {server} {} {}", lease.as_micros(), hex(key))
            }
            Self::Gone(id) => format!("gone {id}"),
        };
        format!("{text} {:016x}\n", fnv1a(text.as_bytes()))
    }

    /// A line without its end.
    pub(super) fn decode(line: &str) -> Option<Self> {
        let (text, digest) = line.rsplit_once(' ')?;
        if digest != format!("{:016x}", fnv1a(text.as_bytes())) {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            [NAME, boot] => Some(Self::Header(boot.to_owned())),
            ["incomplete"] => Some(Self::Incomplete),
            ["gone", id] => Some(Self::Gone(incarnation(id)?)),
            ["worker", id, server, lease, key] => {
                let lease = Duration::from_micros(lease.parse().ok()?);
                let member = Member { key: unhex(key)?, lease, server: incarnation(server)?, entry: 0 };
                Some(Self::Worker(incarnation(id)?, member))
            }
            _ => None,
        }
    }
}

fn incarnation(text: &str) -> Option<Incarnation> {
    Some(Incarnation::from_bytes(unhex(text)?.try_into().ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}
