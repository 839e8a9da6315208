//! A journal of everything that the scheduler was told, with its time, and of what it ordered: enough to live through
//! an incident again. [`replay`] feeds a new scheduler the same steps and compares its orders bit for bit.
//!
//! # Format, version 8
//! The line `distccd journal 8`, then frames: the length of the payload (4 bytes, little endian), a digest (8 bytes) of
//! the payload and the digest before it, the payload. So a frame that was changed, lost or put elsewhere is noticed
//! where it stands. The first frame holds the scheduler's settings, the second the history that it began with, each other
//! one a step: microseconds, the input, the digest of the actions. A server that dies leaves half a frame at the end; that
//! is no damage.
//!
//! Commands, paths and outputs are not in it: the scheduler never sees them. What it holds are ids, digests, sizes,
//! times, uids, and the texts of failures.
//!
//! ```
//! use model::time::Timestamp;
//! use scheduler_core::{Config, Input, Scheduler};
//!
//! let config = Config::default();
//! let (mut scheduler, mut actions) = (Scheduler::new(config.clone())?, Vec::new());
//! let mut journal = journal::Writer::start(Vec::new(), &config, &[])?;
//!
//! let (now, input) = (Timestamp::from_millis(3), Input::Wake);
//! let step = journal.before(now, &input);
//! scheduler.step(now, input, &mut actions);
//! journal.after(step, &actions)?;
//!
//! assert_eq!(journal::replay(&journal.into_inner()[..])?.steps, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod history;
mod records;
mod replay;
mod writer;

pub use history::{HistoryError, decode_history, encode_history};
pub use replay::{ReplayError, Replayed, replay};
pub use writer::{Step, Writer};

/// The first line of every journal.
const HEADER: &[u8] = b"distccd journal 8\n";

/// No payload is larger; a length above it is damage, and nothing is allocated for it.
const MAX_PAYLOAD: u32 = 64 << 20;

/// The digest of a payload that follows a frame with the digest `before`.
fn chain(before: u64, payload: &[u8]) -> u64 {
    model::ids::fnv1a_more(before, payload)
}
